//! The named parts of a layer: linear layers, to which adapters apply, and norms.

use crate::options::OptionChoice;

crate::options::choices! {
    /// A linear layer, to which a LoRA pair can apply.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum Module: "module" {
        /// Query projection.
        Q = "attn_q",
        /// Key projection.
        K = "attn_k",
        /// Value projection.
        V = "attn_v",
        /// Query, key and value projection as one matrix.
        Qkv = "attn_qkv",
        /// Attention output projection.
        O = "attn_output",
        /// Feed-forward gate.
        Gate = "ffn_gate",
        /// Feed-forward up projection; with the gate in the same matrix if an architecture fuses the two.
        Up = "ffn_up",
        /// Feed-forward down projection.
        Down = "ffn_down",
    }
}

impl Module {
    /// Their number.
    pub const COUNT: usize = 8;

    /// All of them, in the order of the forward pass.
    pub const ALL: [Module; Module::COUNT] =
        [Module::Q, Module::K, Module::V, Module::Qkv, Module::O, Module::Gate, Module::Up, Module::Down];

    /// The name in GGUF files, such as `attn_q`.
    pub fn gguf_name(self) -> &'static str {
        self.name()
    }

    /// The module with the given GGUF name.
    pub fn from_gguf_name(name: &str) -> Option<Module> {
        Module::ALL.into_iter().find(|m| m.gguf_name() == name)
    }

    /// Whether the layer can have a bias.
    pub fn may_have_bias(self) -> bool {
        matches!(self, Module::Q | Module::K | Module::V | Module::Qkv)
    }
}

/// An RMSNorm of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// Of the input of attention.
    Attention,
    /// Of the queries.
    Query,
    /// Of the keys.
    Key,
    /// Of the output of attention.
    AfterAttention,
    /// Of the input of the feed-forward layer.
    FeedForward,
    /// Of the output of the feed-forward layer.
    AfterFeedForward,
}

impl Norm {
    /// Their number.
    pub const COUNT: usize = 6;

    /// The name in GGUF files, such as `attn_norm`.
    pub fn gguf_name(self) -> &'static str {
        match self {
            Norm::Attention => "attn_norm",
            Norm::Query => "attn_q_norm",
            Norm::Key => "attn_k_norm",
            Norm::AfterAttention => "post_attention_norm",
            Norm::FeedForward => "ffn_norm",
            Norm::AfterFeedForward => "post_ffw_norm",
        }
    }
}
