//! The named parts of a layer: linear layers, to which adapters apply, and norms.

use crate::{Error, Result};

/// A linear layer, to which a LoRA pair can apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Module {
    /// Query projection.
    #[serde(rename = "attn_q")]
    Q,
    /// Key projection.
    #[serde(rename = "attn_k")]
    K,
    /// Value projection.
    #[serde(rename = "attn_v")]
    V,
    /// Query, key and value projection as one matrix.
    #[serde(rename = "attn_qkv")]
    Qkv,
    /// Attention output projection.
    #[serde(rename = "attn_output")]
    O,
    /// Feed-forward gate.
    #[serde(rename = "ffn_gate")]
    Gate,
    /// Feed-forward up projection; with the gate in the same matrix if an architecture fuses the two.
    #[serde(rename = "ffn_up")]
    Up,
    /// Feed-forward down projection.
    #[serde(rename = "ffn_down")]
    Down,
}

impl Module {
    /// Their number.
    pub const COUNT: usize = 8;

    /// All of them, in the order of the forward pass.
    pub const ALL: [Module; Module::COUNT] =
        [Module::Q, Module::K, Module::V, Module::Qkv, Module::O, Module::Gate, Module::Up, Module::Down];

    /// The name in GGUF files, such as `attn_q`.
    pub fn gguf_name(self) -> &'static str {
        match self {
            Module::Q => "attn_q",
            Module::K => "attn_k",
            Module::V => "attn_v",
            Module::Qkv => "attn_qkv",
            Module::O => "attn_output",
            Module::Gate => "ffn_gate",
            Module::Up => "ffn_up",
            Module::Down => "ffn_down",
        }
    }

    /// The module with the given GGUF name.
    pub fn from_gguf_name(name: &str) -> Option<Module> {
        Module::ALL.into_iter().find(|m| m.gguf_name() == name)
    }

    /// The modules with the given GGUF names, such as `attn_q,attn_v`; all modules for an empty text.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown name, with all names.
    pub fn list(names: &str) -> Result<Vec<Module>> {
        if names.is_empty() {
            return Ok(Module::ALL.to_vec());
        }
        let named = |name: &str| {
            Module::from_gguf_name(name.trim()).ok_or_else(|| {
                let known = Module::ALL.map(Module::gguf_name).join(", ");
                Error::field("modules", format!("no module is called {name:?}; modules: {known}"))
            })
        };
        names.split(',').map(named).collect()
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
