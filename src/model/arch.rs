//! What differs between the supported architectures: one line of one table for each.
//!
//! All of them are the same decoder: embeddings, then layers of attention and a gated feed-forward
//! network on a residual stream, then logits. Source of every entry: the graph that llama.cpp
//! builds for it (`src/models/*.cpp`).

/// How RoPE pairs the dimensions of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// Dimension 2i with 2i+1 (llama.cpp's "norm").
    Adjacent,
    /// Dimension i with i + half (llama.cpp's "neox").
    Halves,
}

/// What the gate of the feed-forward layer passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// z·σ(z)
    Silu,
    /// GELU in its tanh approximation.
    Gelu,
}

/// RMSNorm of queries and keys before RoPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadNorm {
    /// There is none.
    None,
    /// Each head by itself.
    EachHead,
    /// All heads of a token together.
    AllHeads,
}

/// Layers that see only the last tokens (sliding-window attention).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Windowed {
    /// All but every `period`-th layer are windowed, where the file has no pattern of its own.
    pub period: usize,
    /// The window where the file names none; `None`: then no layer is windowed.
    pub default_window: Option<usize>,
    /// RoPE base of windowed layers where the file names none; `None`: that of the others.
    pub rope_base: Option<f32>,
    /// Whether RoPE scaling is for windowed layers, too.
    pub rope_scaled: bool,
}

/// One architecture: everything that differs between the supported ones.
#[derive(Debug)]
pub struct Arch {
    /// `general.architecture`.
    pub name: &'static str,
    /// How RoPE pairs dimensions.
    pub rope_pairs: RopePairs,
    /// What the gate passes through.
    pub activation: Activation,
    /// Whether attention and feed-forward layer normalise what they read.
    pub pre_norms: bool,
    /// Whether they normalise what they add to the residual stream.
    pub post_norms: bool,
    /// Whether queries and keys are normalised.
    pub head_norm: HeadNorm,
    /// Whether RoPE may leave dimensions of a head as they are. (Where not, llama.cpp asserts it.)
    pub partial_rope: bool,
    /// Whether one matrix holds Q, K and V (`attn_qkv`), and one gate and up (`ffn_up`).
    pub fused: bool,
    /// Whether embeddings are scaled by √d.
    pub scaled_embeddings: bool,
    /// Whether the file's `*_scale` keys (Granite's multipliers) count.
    pub multipliers: bool,
    /// Whether attention scores are capped by tanh; 50 where the file does not say.
    pub capped_scores: bool,
    /// Cap of the logits where the file does not say, if they are capped.
    pub logit_cap: Option<f32>,
    /// Number of layers at which scores are scaled by 1/√(d/h) instead of 1/√e: the one model of
    /// its family that llama.cpp treats so.
    pub scale_by_width_at: Option<usize>,
    /// Sliding-window layers, if it may have any.
    pub windowed: Option<Windowed>,
}

/// Llama 2: the entry that the others differ from.
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

/// The supported architectures. `llama` is also Mistral, Llama 3, SmolLM2, TinyLlama.
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
