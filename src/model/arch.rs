//! The table of supported architectures, with an entry for each.
//!
//! All architectures are the same decoder: embeddings, then layers of attention and a gated feed-forward
//! network on a residual stream, then logits. An entry lists what differs. Its source is the graph that
//! llama.cpp builds for the architecture (`src/models/*.cpp`).

/// How RoPE pairs the dimensions of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// Dimension 2i with 2i+1 (llama.cpp's "norm").
    Adjacent,
    /// Dimension i with i + half (llama.cpp's "neox").
    Halves,
}

/// The activation function of the gate of the feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// z·σ(z)
    Silu,
    /// GELU, in the tanh approximation.
    Gelu,
}

/// RMSNorm of queries and keys before RoPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadNorm {
    /// There is none.
    None,
    /// Of each head separately.
    EachHead,
    /// Of all heads of a token together.
    AllHeads,
}

/// Layers with sliding-window attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Windowed {
    /// All layers but every `period`-th have a window, unless the file has a pattern.
    pub period: usize,
    /// The window if the file has none; with `None`, no layer then has a window.
    pub default_window: Option<usize>,
    /// RoPE base of layers with a window if the file has none; `None` for that of the other layers.
    pub rope_base: Option<f32>,
    /// Whether RoPE scaling applies to layers with a window.
    pub rope_scaled: bool,
}

/// An architecture: all properties in which the supported ones differ.
#[derive(Debug)]
pub struct Arch {
    /// `general.architecture`.
    pub name: &'static str,
    /// How RoPE pairs dimensions.
    pub rope_pairs: RopePairs,
    /// The activation function of the gate.
    pub activation: Activation,
    /// Whether the inputs of attention and of the feed-forward layer are normalized.
    pub pre_norms: bool,
    /// Whether the outputs of attention and of the feed-forward layer are normalized.
    pub post_norms: bool,
    /// Whether and how queries and keys are normalized.
    pub head_norm: HeadNorm,
    /// Whether RoPE can rotate only some of the dimensions of a head. If not, llama.cpp asserts that it
    /// rotates all.
    pub partial_rope: bool,
    /// Whether one matrix holds Q, K and V (`attn_qkv`), and one gate and up (`ffn_up`).
    pub fused: bool,
    /// Whether embeddings are scaled by √d.
    pub scaled_embeddings: bool,
    /// Whether the `*_scale` keys of the file (the multipliers of Granite) apply.
    pub multipliers: bool,
    /// Whether attention scores have a soft cap, which is 50 if the file does not say.
    pub capped_scores: bool,
    /// The default of the soft cap of the logits, if they have one.
    pub logit_cap: Option<f32>,
    /// The number of layers of the one model in the family whose scores llama.cpp scales by 1/√(d/h)
    /// instead of 1/√e.
    pub scale_by_width_at: Option<usize>,
    /// Sliding-window layers, if there can be any.
    pub windowed: Option<Windowed>,
}

/// Llama 2: the entry from which the others are derived.
const LLAMA: Arch = Arch {
    name: "llama",
    rope_pairs: RopePairs::Adjacent,
    activation: Activation::Silu,
    pre_norms: true,
    post_norms: false,
    head_norm: HeadNorm::None,
    partial_rope: false,
    fused: false,
    scaled_embeddings: false,
    multipliers: false,
    capped_scores: false,
    logit_cap: None,
    scale_by_width_at: None,
    windowed: None,
};

const GEMMA2: Arch = Arch {
    name: "gemma2",
    rope_pairs: RopePairs::Halves,
    activation: Activation::Gelu,
    post_norms: true,
    partial_rope: true,
    scaled_embeddings: true,
    capped_scores: true,
    logit_cap: Some(30.0),
    scale_by_width_at: Some(46),
    windowed: Some(Windowed { period: 2, default_window: Some(4096), rope_base: None, rope_scaled: true }),
    ..LLAMA
};

/// The supported architectures. `llama` includes Mistral, Llama 3, SmolLM2 and TinyLlama.
pub const ARCHITECTURES: &[Arch] = &[
    LLAMA,
    Arch { name: "qwen2", rope_pairs: RopePairs::Halves, ..LLAMA },
    Arch { name: "qwen3", rope_pairs: RopePairs::Halves, head_norm: HeadNorm::EachHead, ..LLAMA },
    GEMMA2,
    Arch {
        name: "gemma3",
        head_norm: HeadNorm::EachHead,
        capped_scores: false,
        logit_cap: Some(0.0),
        scale_by_width_at: Some(62),
        windowed: Some(Windowed {
            period: 6,
            default_window: None,
            rope_base: Some(10_000.0),
            rope_scaled: false,
        }),
        ..GEMMA2
    },
    Arch { name: "phi3", rope_pairs: RopePairs::Halves, partial_rope: true, fused: true, ..LLAMA },
    Arch { name: "granite", multipliers: true, ..LLAMA },
    Arch {
        name: "olmo2",
        rope_pairs: RopePairs::Halves,
        pre_norms: false,
        post_norms: true,
        head_norm: HeadNorm::AllHeads,
        windowed: Some(Windowed { period: 4, default_window: None, rope_base: None, rope_scaled: false }),
        ..LLAMA
    },
];
