//! What a model looks like: its architecture's table entry, its sizes, and its weights by name.
//!
//! Opening a model here is also the check that keeps ggml from asserting: every tensor the forward
//! pass needs must be there with the right shape, and every tensor that is there must be known.

use std::collections::HashSet;

use crate::tensor::{Gguf, Rows, TensorInfo};
use crate::{Error, Result};

/// How RoPE pairs the dimensions of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// Dimension 2i with 2i+1 (llama.cpp's "norm").
    Adjacent,
    /// Dimension i with i + half (llama.cpp's "neox").
    Halves,
}

/// One architecture: everything that differs between the supported ones.
#[derive(Debug)]
pub struct Arch {
    /// `general.architecture`.
    pub name: &'static str,
    /// How RoPE pairs dimensions.
    pub rope_pairs: RopePairs,
}

/// The supported architectures.
pub const ARCHITECTURES: &[Arch] = &[
    Arch { name: "llama", rope_pairs: RopePairs::Adjacent },
    Arch { name: "qwen2", rope_pairs: RopePairs::Halves },
];

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
    /// Attention output projection.
    #[serde(rename = "attn_output")]
    O,
    /// Feed-forward gate.
    #[serde(rename = "ffn_gate")]
    Gate,
    /// Feed-forward up projection.
    #[serde(rename = "ffn_up")]
    Up,
    /// Feed-forward down projection.
    #[serde(rename = "ffn_down")]
    Down,
}

impl Module {
    /// All seven, in the order of the forward pass.
    pub const ALL: [Module; 7] =
        [Module::Q, Module::K, Module::V, Module::O, Module::Gate, Module::Up, Module::Down];

    /// Its name in a GGUF, such as `attn_q`.
    pub fn gguf_name(self) -> &'static str {
        match self {
            Module::Q => "attn_q",
            Module::K => "attn_k",
            Module::V => "attn_v",
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
}

/// Sizes and constants of a model.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The architecture's table entry.
    pub arch: &'static Arch,
    /// Transformer layers.
    pub n_layer: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads; divides `n_head`.
    pub n_head_kv: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub n_ff: usize,
    /// Tokens in the vocabulary.
    pub n_vocab: usize,
    /// Positions the model was trained for.
    pub n_ctx: usize,
    /// RMSNorm's ε.
    pub rms_eps: f32,
    /// Angle per position of each rotated pair, frequency scaling included.
    pub rope_freqs: Vec<f32>,
}

impl Spec {
    /// Reads the sizes of `gguf` and checks that all of its tensors are there, known and fitting.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an architecture or feature outside this version's table;
    /// [`Error::Model`] for metadata or shapes that contradict each other.
    pub fn of(gguf: &Gguf) -> Result<Spec> {
        Reader { gguf, arch: "" }.spec()
    }

    /// Inputs and outputs of a module: `ne[0]` and `ne[1]` of its weight.
    pub fn shape(&self, module: Module) -> (usize, usize) {
        let q = self.n_head * self.head_dim;
        let kv = self.n_head_kv * self.head_dim;
        match module {
            Module::Q => (self.n_embd, q),
            Module::K | Module::V => (self.n_embd, kv),
            Module::O => (q, self.n_embd),
            Module::Gate | Module::Up => (self.n_embd, self.n_ff),
            Module::Down => (self.n_ff, self.n_embd),
        }
    }

    /// Parameters of the linear layers, the measure of training work per token.
    pub fn linear_parameters(&self) -> usize {
        let layer: usize = Module::ALL.iter().map(|m| self.shape(*m)).map(|(i, o)| i * o).sum();
        layer * self.n_layer
    }
}

struct Reader<'a> {
    gguf: &'a Gguf,
    arch: &'a str,
}

impl Reader<'_> {
    fn bad(&self, why: impl Into<String>) -> Error {
        Error::model(self.gguf.path(), why)
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
            Error::Unsupported(format!(
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
            return Err(Error::Unsupported(format!(
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
        let spec = Spec {
            arch,
            n_layer,
            n_embd,
            n_head,
            n_head_kv,
            head_dim,
            n_ff: self.need("feed_forward_length")?,
            n_vocab: embedding.elements() / embedding.dims[0],
            n_ctx: self.need("context_length")?,
            rms_eps,
            rope_freqs: self.rope_freqs(head_dim)?,
        };
        self.check_tensors(&spec)?;
        Ok(spec)
    }

    /// Radians per position of each rotated pair: base^(-2i/dims), scaled as llama.cpp scales it.
    fn rope_freqs(&self, head_dim: usize) -> Result<Vec<f32>> {
        let key = |k: &str| format!("{}.rope.{k}", self.arch);
        let dims = self.size("rope.dimension_count")?.unwrap_or(head_dim);
        if dims % 2 != 0 || dims > head_dim {
            return Err(self.bad(format!("RoPE over {dims} of {head_dim} dimensions is impossible")));
        }
        let base = self.gguf.float(&key("freq_base")).unwrap_or(10_000.0) as f32;
        let linear = match self.gguf.str(&key("scaling.type")) {
            None | Some("none") => 1.0,
            Some("linear") => self.gguf.float(&key("scaling.factor")).unwrap_or(1.0) as f32,
            Some(other) => {
                return Err(Error::Unsupported(format!(
                    "{}: RoPE scaling \"{other}\" is not supported; supported: none, linear, per-frequency factors",
                    self.gguf.path().display()
                )));
            }
        };
        // `rope.scale_linear` is the key's old name.
        let linear = self.gguf.float(&key("scale_linear")).map_or(linear, |x| x as f32);
        if !(base.is_finite() && base > 0.0 && linear.is_finite() && linear > 0.0) {
            return Err(self.bad(format!("RoPE base {base} and scale {linear} must be positive")));
        }
        let factors = match self.gguf.tensor("rope_freqs.weight") {
            None => vec![1.0; dims / 2],
            Some(t) if t.elements() == dims / 2 => self.gguf.read_f32(t),
            Some(t) => {
                return Err(self.bad(format!(
                    "rope_freqs has {} values, expected {}",
                    t.elements(),
                    dims / 2
                )));
            }
        };
        Ok((0..dims / 2).map(|i| base.powf(-2.0 * i as f32 / dims as f32) / linear / factors[i]).collect())
    }

    fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        let tensor = self
            .gguf
            .tensor(name)
            .ok_or_else(|| self.bad(format!("tensor \"{name}\" is missing; the model is incomplete")))?;
        if !tensor.ty.is_readable() {
            return Err(Error::Unsupported(format!(
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
            for norm in ["attn_norm", "ffn_norm"] {
                wanted.push((format!("blk.{layer}.{norm}.weight"), vec![spec.n_embd], true));
            }
            for module in Module::ALL {
                let (n_in, n_out) = spec.shape(module);
                let name = module.gguf_name();
                wanted.push((format!("blk.{layer}.{name}.weight"), vec![n_in, n_out], true));
                if matches!(module, Module::Q | Module::K | Module::V) {
                    wanted.push((format!("blk.{layer}.{name}.bias"), vec![n_out], false));
                }
            }
        }
        let mut known: HashSet<&str> = HashSet::from(["rope_freqs.weight"]);
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
            Some(t) => Err(Error::Unsupported(format!(
                "{}: tensor \"{}\" is not part of the supported \"{}\" models (a mixture of experts or another variant)",
                self.gguf.path().display(),
                t.name,
                spec.arch.name
            ))),
        }
    }
}

/// The frozen weights, found by layer and module.
#[derive(Debug, Clone)]
pub struct Weights {
    gguf: Gguf,
    /// Per layer: attention norm, feed-forward norm; then the output norm.
    norms: Vec<[Vec<f32>; 2]>,
    output_norm: Vec<f32>,
    /// Per layer: biases of Q, K and V, empty where there are none.
    biases: Vec<[Vec<f32>; 3]>,
}

impl Weights {
    /// The weights of `gguf`, which must have passed [`Spec::of`].
    pub fn open(gguf: &Gguf, spec: &Spec) -> Weights {
        let read = |name: String| gguf.tensor(&name).map_or_else(Vec::new, |t| gguf.read_f32(t));
        let layers = 0..spec.n_layer;
        Weights {
            gguf: gguf.clone(),
            norms: layers
                .clone()
                .map(|l| ["attn_norm", "ffn_norm"].map(|n| read(format!("blk.{l}.{n}.weight"))))
                .collect(),
            output_norm: read("output_norm.weight".into()),
            biases: layers
                .map(|l| ["attn_q", "attn_k", "attn_v"].map(|n| read(format!("blk.{l}.{n}.bias"))))
                .collect(),
        }
    }

    /// A module's weight, `n_out` rows of `n_in`.
    pub fn linear(&self, layer: usize, module: Module) -> Rows<'_> {
        self.rows(&format!("blk.{layer}.{}.weight", module.gguf_name()))
    }

    /// A module's bias; empty where it has none.
    pub fn bias(&self, layer: usize, module: Module) -> &[f32] {
        match module {
            Module::Q | Module::K | Module::V => &self.biases[layer][module as usize],
            _ => &[],
        }
    }

    /// The norm before attention.
    pub fn attn_norm(&self, layer: usize) -> &[f32] {
        &self.norms[layer][0]
    }

    /// The norm before the feed-forward layer.
    pub fn ffn_norm(&self, layer: usize) -> &[f32] {
        &self.norms[layer][1]
    }

    /// The norm before the output layer.
    pub fn output_norm(&self) -> &[f32] {
        &self.output_norm
    }

    /// Token embeddings, `n_vocab` rows of `n_embd`.
    pub fn embedding(&self) -> Rows<'_> {
        self.rows("token_embd.weight")
    }

    /// The output layer; the embeddings where they are tied.
    pub fn output(&self) -> Rows<'_> {
        let tied = self.gguf.tensor("output.weight").is_none();
        self.rows(if tied { "token_embd.weight" } else { "output.weight" })
    }

    fn rows(&self, name: &str) -> Rows<'_> {
        self.gguf.rows(self.gguf.tensor(name).expect("checked by Spec::of"))
    }
}
