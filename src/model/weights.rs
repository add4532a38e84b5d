//! The frozen weights of a model, by layer and module.

use super::spec::{Module, Norm, Spec};
use crate::gguf::{Gguf, Rows};

/// The frozen weights of a model. Matrices stay in the mapped file, quantized as they are stored;
/// vectors are read into memory.
#[derive(Debug, Clone)]
pub(crate) struct FrozenWeights {
    gguf: Gguf,
    /// By layer; empty if the layer has no such norm.
    norms: Vec<[Vec<f32>; Norm::COUNT]>,
    biases: Vec<[Vec<f32>; Module::COUNT]>,
    output_norm: Vec<f32>,
}

impl FrozenWeights {
    /// The weights of `gguf`, which must have passed [`Spec::of`].
    pub fn open(gguf: &Gguf, spec: &Spec) -> FrozenWeights {
        let read = |name: String| gguf.tensor(&name).map_or_else(Vec::new, |t| gguf.read_f32(t));
        let norms = |layer| {
            let mut norms: [Vec<f32>; Norm::COUNT] = Default::default();
            for (norm, _) in spec.norms() {
                norms[norm as usize] = read(format!("blk.{layer}.{}.weight", norm.gguf_name()));
            }
            norms
        };
        let biases = |layer| {
            Module::ALL.map(|m| {
                let name = m.may_have_bias().then(|| format!("blk.{layer}.{}.bias", m.gguf_name()));
                name.map_or_else(Vec::new, read)
            })
        };
        FrozenWeights {
            gguf: gguf.clone(),
            norms: (0..spec.n_layer).map(norms).collect(),
            biases: (0..spec.n_layer).map(biases).collect(),
            output_norm: read("output_norm.weight".into()),
        }
    }

    /// The weight of a module: `n_out` rows of `n_in` values.
    pub fn linear(&self, layer: usize, module: Module) -> Rows<'_> {
        self.rows(&format!("blk.{layer}.{}.weight", module.gguf_name()))
    }

    /// The bias of a module; empty if there is none.
    pub fn bias(&self, layer: usize, module: Module) -> &[f32] {
        &self.biases[layer][module as usize]
    }

    /// The weights of a norm; `None` if the layer has no such norm.
    pub fn norm(&self, layer: usize, norm: Norm) -> Option<&[f32]> {
        Some(&self.norms[layer][norm as usize][..]).filter(|w| !w.is_empty())
    }

    /// The norm before the output layer.
    pub fn output_norm(&self) -> &[f32] {
        &self.output_norm
    }

    /// The token embeddings: `n_vocab` rows of `n_embd` values.
    pub fn embedding(&self) -> Rows<'_> {
        self.rows("token_embd.weight")
    }

    /// The output layer; the embeddings if they are tied.
    pub fn output(&self) -> Rows<'_> {
        let tied = self.gguf.tensor("output.weight").is_none();
        self.rows(if tied { "token_embd.weight" } else { "output.weight" })
    }

    fn rows(&self, name: &str) -> Rows<'_> {
        self.gguf.rows(self.gguf.tensor(name).expect("checked by Spec::of"))
    }
}
