//! The named parts of a layer: linear layers, which carry adapters, and norms.

use crate::{Error, Result};

/// A linear layer that carries a LoRA pair.
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
    /// The three above as one matrix.
    #[serde(rename = "attn_qkv")]
    Qkv,
    /// Attention output projection.
    #[serde(rename = "attn_output")]
    O,
    /// Feed-forward gate.
    #[serde(rename = "ffn_gate")]
    Gate,
    /// Feed-forward up projection; with the gate above it where an architecture fuses the two.
    #[serde(rename = "ffn_up")]
    Up,
    /// Feed-forward down projection.
    #[serde(rename = "ffn_down")]
    Down,
}

impl Module {
    /// How many there are.
    pub const COUNT: usize = 8;

    /// All of them, in the order of the forward pass.
    pub const ALL: [Module; Module::COUNT] =
        [Module::Q, Module::K, Module::V, Module::Qkv, Module::O, Module::Gate, Module::Up, Module::Down];

    /// Its name in a GGUF, such as `attn_q`.
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

    /// The module with this GGUF name.
    pub fn from_gguf_name(name: &str) -> Option<Module> {
        Module::ALL.into_iter().find(|m| m.gguf_name() == name)
    }

    /// The modules with these names, such as `attn_q,attn_v`; all of them for an empty text.
    ///
    /// # Errors
    /// [`Error::Input`] for a name that is none, with those there are.
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

    /// Whether it may have a bias.
    pub fn may_have_bias(self) -> bool {
        matches!(self, Module::Q | Module::K | Module::V | Module::Qkv)
    }
}

/// An RMSNorm of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// Of what attention reads.
    Attention,
    /// Of the queries.
    Query,
    /// Of the keys.
    Key,
    /// Of what attention adds.
    AfterAttention,
    /// Of what the feed-forward layer reads.
    FeedForward,
    /// Of what the feed-forward layer adds.
    AfterFeedForward,
}

impl Norm {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// Its name in a GGUF, such as `attn_norm`.
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
