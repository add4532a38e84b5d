//! The specification of a model: its architecture, its sizes, and the names and shapes of its tensors.
//!
//! Reading it is also the check that prevents failed assertions in ggml: every tensor that the forward
//! pass needs must be there with the right shape, and every tensor that is there must be known.

use std::collections::HashSet;

use super::arch::{ARCHITECTURES, Arch, HeadNorm};
pub use super::parts::{Module, Norm};
use crate::gguf::{Gguf, TensorInfo, Value};
use crate::{Error, Result};

/// Sizes and constants of a model.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The architecture.
    pub arch: &'static Arch,
    /// Number of layers.
    pub n_layer: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Number of query heads.
    pub n_head: usize,
    /// Number of key and value heads; divides `n_head`.
    pub n_head_kv: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub n_ff: usize,
    /// Number of tokens in the vocabulary.
    pub n_vocab: usize,
    /// Number of positions for which the model was trained.
    pub n_ctx: usize,
    /// The ε of RMSNorm.
    pub rms_eps: f32,
    /// RoPE of the layers with full attention.
    pub rope: Rope,
    /// Sliding-window attention, if there are layers with it.
    pub window: Option<Window>,
    /// The multiplier of the embeddings.
    pub embedding_scale: f32,
    /// The multiplier of the values that a layer adds to the residual stream.
    pub residual_scale: f32,
    /// The multiplier of the attention scores.
    pub score_scale: f32,
    /// The c of the soft cap c·tanh(s/c) of the scores s; 0 for none.
    pub score_cap: f32,
    /// The multiplier of the logits.
    pub logit_scale: f32,
    /// The c of the soft cap of the logits; 0 for none.
    pub logit_cap: f32,
}

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// The angle per position of each rotated pair, in radians, including frequency scaling.
    pub freqs: Vec<f32>,
    /// The multiplier of the rotated values.
    pub magnitude: f32,
}

/// Sliding-window attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Number of tokens in the window, including the query's own.
    pub len: usize,
    /// Whether each layer has a window.
    pub layers: Vec<bool>,
    /// RoPE of the layers with a window.
    pub rope: Rope,
}

impl Spec {
    /// Reads the sizes of `gguf` and checks that its tensors are complete, known, and of the right shapes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an architecture or a feature that this version does not know;
    /// [`Error::Model`] for metadata or shapes that contradict each other.
    pub fn of(gguf: &Gguf) -> Result<Spec> {
        Reader { gguf, arch: "" }.spec()
    }

    /// The number of inputs and outputs of a module: `ne[0]` and `ne[1]` of its weight.
    pub fn shape(&self, module: Module) -> (usize, usize) {
        let q = self.n_head * self.head_dim;
        let kv = self.n_head_kv * self.head_dim;
        match module {
            Module::Q => (self.n_embd, q),
            Module::K | Module::V => (self.n_embd, kv),
            Module::Qkv => (self.n_embd, q + 2 * kv),
            Module::O => (q, self.n_embd),
            Module::Up if self.arch.fused => (self.n_embd, 2 * self.n_ff),
            Module::Gate | Module::Up => (self.n_embd, self.n_ff),
            Module::Down => (self.n_ff, self.n_embd),
        }
    }

    /// The linear layers that every layer of this model has, in the order of the forward pass.
    pub fn modules(&self) -> &'static [Module] {
        use Module::*;
        if self.arch.fused { &[Qkv, O, Up, Down] } else { &[Q, K, V, O, Gate, Up, Down] }
    }

    /// The norms that every layer of this model has, and their widths.
    pub fn norms(&self) -> Vec<(Norm, usize)> {
        let (d, e) = (self.n_embd, self.head_dim);
        let mut norms = Vec::new();
        if self.arch.pre_norms {
            norms.extend([(Norm::Attention, d), (Norm::FeedForward, d)]);
        }
        if self.arch.post_norms {
            norms.extend([(Norm::AfterAttention, d), (Norm::AfterFeedForward, d)]);
        }
        match self.arch.head_norm {
            HeadNorm::None => {}
            HeadNorm::EachHead => norms.extend([(Norm::Query, e), (Norm::Key, e)]),
            HeadNorm::AllHeads => {
                norms.extend([(Norm::Query, self.n_head * e), (Norm::Key, self.n_head_kv * e)]);
            }
        }
        norms
    }

    /// Whether `layer` has sliding-window attention.
    pub fn is_windowed(&self, layer: usize) -> bool {
        self.window.as_ref().is_some_and(|w| w.layers[layer])
    }

    /// About how much of the forward pass is kept per token, all layers together.
    pub fn activation_bytes(&self, rank: usize) -> u64 {
        let Spec { n_embd: d, n_ff: f, head_dim: e, n_head: h, n_head_kv: g, .. } = *self;
        let branches = if self.arch.post_norms { 2 * d } else { 0 };
        let low_rank = rank * self.modules().len();
        4 * (self.n_layer * (2 * d + 2 * (h + g) * e + 2 * f + branches + low_rank)) as u64
    }

    /// Number of parameters of the linear layers, to which the work of training per token is proportional.
    pub fn linear_parameters(&self) -> usize {
        let layer: usize = self.modules().iter().map(|m| self.shape(*m)).map(|(i, o)| i * o).sum();
        layer * self.n_layer
    }
}

struct Reader<'a> {
    gguf: &'a Gguf,
    arch: &'a str,
}

impl Reader<'_> {
    fn bad(&self, reason: impl Into<crate::Reason>) -> Error {
        Error::model(self.gguf.path(), reason)
    }

    fn size(&self, key: &str) -> Result<Option<usize>> {
        let full = format!("{}.{key}", self.arch);
        match (self.gguf.value(&full), self.gguf.int(&full)) {
            (None, _) => Ok(None),
            (_, Some(n)) if (1..=1 << 24).contains(&n) => Ok(Some(n as usize)),
            (Some(v), _) => Err(self.bad(format!("{full} is {v:?}; expected one positive integer"))),
        }
    }

    fn need(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| {
            self.bad(format!("metadata \"{}.{key}\" is missing; the model is incomplete", self.arch))
        })
    }

    fn spec(mut self) -> Result<Spec> {
        let name = self.gguf.str("general.architecture").ok_or_else(|| {
            self.bad("metadata \"general.architecture\" is missing; this GGUF holds no model")
        })?;
        self.arch = name;
        let arch = ARCHITECTURES.iter().find(|a| a.name == name).ok_or_else(|| {
            let known: Vec<_> = ARCHITECTURES.iter().map(|a| a.name).collect();
            Error::unsupported(format!(
                "{}: architecture \"{name}\" cannot be trained by this version; supported: {}",
                self.gguf.path().display(),
                known.join(", ")
            ))
        })?;

        let n_layer = self.need("block_count")?;
        let n_embd = self.need("embedding_length")?;
        let n_head = self.need("attention.head_count")?;
        let n_head_kv = self.size("attention.head_count_kv")?.unwrap_or(n_head);
        if n_head % n_head_kv != 0 {
            return Err(self.bad(format!("{n_head} query heads cannot share {n_head_kv} key heads")));
        }
        let head_dim = match self.size("attention.key_length")? {
            Some(n) => n,
            None if n_embd % n_head == 0 => n_embd / n_head,
            None => return Err(self.bad(format!("width {n_embd} does not divide into {n_head} heads"))),
        };
        if self.size("attention.value_length")?.is_some_and(|v| v != head_dim) {
            return Err(Error::unsupported(format!(
                "{}: value heads of another width than key heads are not supported",
                self.gguf.path().display()
            )));
        }
        let rms_eps = self
            .gguf
            .float(&format!("{name}.attention.layer_norm_rms_epsilon"))
            .ok_or_else(|| self.bad("the RMSNorm epsilon is missing; the model is incomplete"))?
            as f32;
        let embedding = self.tensor("token_embd.weight")?;
        let n_ctx = self.need("context_length")?;
        let scored_by = if arch.scale_by_width_at == Some(n_layer) { n_embd / n_head } else { head_dim };
        let multiplier = |key: &str| self.multiplier(arch, key);
        let cap = |key: &str, default: Option<f32>| match default {
            Some(default) => self.number(key).map(|x| x.unwrap_or(default)),
            None => Ok(0.0),
        };
        let spec = Spec {
            arch,
            n_layer,
            n_embd,
            n_head,
            n_head_kv,
            head_dim,
            n_ff: self.need("feed_forward_length")?,
            n_vocab: embedding.elements() / embedding.dims[0],
            n_ctx,
            rms_eps,
            rope: self.rope(head_dim)?,
            window: self.window(arch, n_layer, head_dim)?,
            embedding_scale: if arch.scaled_embeddings {
                (n_embd as f32).sqrt()
            } else {
                multiplier("embedding_scale")?.unwrap_or(1.0)
            },
            residual_scale: multiplier("residual_scale")?.unwrap_or(1.0),
            score_scale: multiplier("attention.scale")?.unwrap_or(1.0 / (scored_by as f32).sqrt()),
            score_cap: cap("attn_logit_softcapping", arch.capped_scores.then_some(50.0))?,
            logit_scale: 1.0 / multiplier("logit_scale")?.unwrap_or(1.0),
            logit_cap: cap("final_logit_softcapping", arch.logit_cap)?,
        };
        let rotated = 2 * spec.rope.freqs.len();
        if rotated != head_dim && !arch.partial_rope {
            return Err(self.bad(format!(
                "RoPE rotates {rotated} of {head_dim} dimensions of a head; \"{name}\" models rotate all"
            )));
        }
        self.check_tensors(&spec)?;
        Ok(spec)
    }

    fn number(&self, key: &str) -> Result<Option<f32>> {
        let full = format!("{}.{key}", self.arch);
        match self.gguf.float(&full) {
            Some(x) if x.is_finite() && x >= 0.0 => Ok(Some(x as f32)),
            None if self.gguf.value(&full).is_none() => Ok(None),
            _ => Err(self.bad(format!("{full} is not a number of at least zero"))),
        }
    }

    /// A multiplier of Granite. 0 means that there is none, as in llama.cpp.
    fn multiplier(&self, arch: &Arch, key: &str) -> Result<Option<f32>> {
        if arch.multipliers { Ok(self.number(key)?.filter(|x| *x > 0.0)) } else { Ok(None) }
    }

    fn rope(&self, head_dim: usize) -> Result<Rope> {
        let unsupported = |why: String| Error::unsupported(format!("{}: {why}", self.gguf.path().display()));
        let scaling = self.gguf.str(&format!("{}.rope.scaling.type", self.arch)).unwrap_or("linear");
        let scale = match scaling {
            "none" => 1.0,
            "linear" | "longrope" => match self.number("rope.scaling.factor")? {
                Some(factor) => factor,
                // `rope.scale_linear` is the key's old name.
                None => self.number("rope.scale_linear")?.unwrap_or(1.0),
            },
            other => {
                return Err(unsupported(format!(
                    "RoPE scaling \"{other}\" is not supported; supported: none, linear, longrope, per-frequency factors"
                )));
            }
        };
        let scale = if scale == 0.0 { 1.0 } else { scale };
        let finetuned = self.gguf.value(&format!("{}.rope.scaling.finetuned", self.arch));
        if self.arch == "granite" && matches!(finetuned, Some(Value::Bool(false))) {
            return Err(unsupported("a granite model without positions is not supported".into()));
        }
        // Long contexts have other factors than short ones; examples are short.
        let factors = ["rope_freqs.weight", "rope_factors_short.weight"]
            .into_iter()
            .find_map(|name| self.gguf.tensor(name));
        if self.gguf.tensor("rope_factors_short.weight").is_none()
            && self.gguf.tensor("rope_factors_long.weight").is_some()
        {
            return Err(self.bad("RoPE factors for long contexts without those for short ones"));
        }
        let base = self.number("rope.freq_base")?.unwrap_or(10_000.0);
        let freqs = self.rope_freqs(head_dim, base, scale, factors)?;
        let magnitude = self.number("rope.scaling.attn_factor")?.unwrap_or(1.0);
        Ok(Rope { freqs, magnitude })
    }

    /// Radians per position of each rotated pair: base^(-2i/dims), scaled as llama.cpp scales it.
    fn rope_freqs(
        &self,
        head_dim: usize,
        base: f32,
        scale: f32,
        factors: Option<&TensorInfo>,
    ) -> Result<Vec<f32>> {
        let dims = self.size("rope.dimension_count")?.unwrap_or(head_dim);
        if dims % 2 != 0 || dims > head_dim {
            return Err(self.bad(format!("RoPE over {dims} of {head_dim} dimensions is impossible")));
        }
        if !(base > 0.0 && scale > 0.0) {
            return Err(self.bad(format!("RoPE base {base} and scale {scale} must be positive")));
        }
        let factors = match factors {
            None => vec![1.0; dims / 2],
            Some(t) if t.elements() == dims / 2 => self.gguf.read_f32(t),
            Some(t) => {
                let (name, n, want) = (&t.name, t.elements(), dims / 2);
                return Err(self.bad(format!("{name} has {n} values, expected {want}")));
            }
        };
        Ok((0..dims / 2).map(|i| base.powf(-2.0 * i as f32 / dims as f32) / scale / factors[i]).collect())
    }

    fn window(&self, arch: &Arch, n_layer: usize, head_dim: usize) -> Result<Option<Window>> {
        let Some(kind) = arch.windowed else { return Ok(None) };
        let key = format!("{}.attention.sliding_window", self.arch);
        let len = match self.gguf.value(&key) {
            None => kind.default_window.unwrap_or(0),
            Some(_) => self.number("attention.sliding_window")?.unwrap_or(0.0) as usize,
        };
        if len == 0 {
            return Ok(None);
        }
        let period = |p: usize| (0..n_layer).map(|l| p == 0 || l % p < p - 1).collect();
        let layers = match self.gguf.value(&format!("{key}_pattern")) {
            None => period(kind.period),
            Some(Value::Array(pattern)) if pattern.len() >= n_layer => {
                pattern[..n_layer].iter().map(|v| !matches!(v, Value::Bool(false) | Value::Int(0))).collect()
            }
            Some(Value::Array(pattern)) => {
                let n = pattern.len();
                return Err(self.bad(format!("{key}_pattern has {n} entries for {n_layer} layers")));
            }
            Some(_) => period(self.number("attention.sliding_window_pattern")?.unwrap_or(0.0) as usize),
        };
        let global = self.number("rope.freq_base")?.unwrap_or(10_000.0);
        let base = self.number("rope.freq_base_swa")?.or(kind.rope_base).unwrap_or(global);
        let scale = if kind.rope_scaled {
            self.number("rope.scaling.factor")?.filter(|x| *x > 0.0).unwrap_or(1.0)
        } else {
            1.0
        };
        let freqs = self.rope_freqs(head_dim, base, scale, None)?;
        Ok(Some(Window { len, layers, rope: Rope { freqs, magnitude: 1.0 } }))
    }

    fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        let tensor = self
            .gguf
            .tensor(name)
            .ok_or_else(|| self.bad(format!("tensor \"{name}\" is missing; the model is incomplete")))?;
        if !tensor.ty.is_readable() {
            return Err(Error::unsupported(format!(
                "{}: tensor \"{name}\" has type {}, which cannot be read as numbers",
                self.gguf.path().display(),
                tensor.ty.name()
            )));
        }
        Ok(tensor)
    }

    fn check_tensors(&self, spec: &Spec) -> Result<()> {
        let mut wanted: Vec<(String, Vec<usize>, bool)> = vec![
            ("token_embd.weight".into(), vec![spec.n_embd, spec.n_vocab], true),
            ("output_norm.weight".into(), vec![spec.n_embd], true),
            ("output.weight".into(), vec![spec.n_embd, spec.n_vocab], false),
        ];
        for layer in 0..spec.n_layer {
            for (norm, width) in spec.norms() {
                wanted.push((format!("blk.{layer}.{}.weight", norm.gguf_name()), vec![width], true));
            }
            for module in spec.modules() {
                let (n_in, n_out) = spec.shape(*module);
                let name = module.gguf_name();
                wanted.push((format!("blk.{layer}.{name}.weight"), vec![n_in, n_out], true));
                if module.may_have_bias() {
                    wanted.push((format!("blk.{layer}.{name}.bias"), vec![n_out], false));
                }
            }
        }
        let mut known: HashSet<&str> =
            HashSet::from(["rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"]);
        for (name, dims, required) in &wanted {
            known.insert(name);
            if !required && self.gguf.tensor(name).is_none() {
                continue;
            }
            let found = self.tensor(name)?;
            if &found.dims != dims {
                return Err(self.bad(format!("tensor \"{name}\" is {:?}, expected {dims:?}", found.dims)));
            }
        }
        match self.gguf.tensors().find(|t| !known.contains(t.name.as_str())) {
            None => Ok(()),
            Some(t) => Err(Error::unsupported(format!(
                "{}: tensor \"{}\" is not part of the supported \"{}\" models (a mixture of experts or another variant)",
                self.gguf.path().display(),
                t.name,
                spec.arch.name
            ))),
        }
    }
}
