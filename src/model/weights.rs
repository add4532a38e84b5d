//! The frozen weights of a model, found by layer and module.

use super::spec::{Module, Norm, Spec};
use crate::gguf::{Gguf, Rows};

/// The frozen weights: matrices stay in the mapped file as they are stored, vectors are read.
#[derive(Debug, Clone)]
pub struct FrozenWeights {
    gguf: Gguf,
    /// Per layer, empty where there is none.
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
            Module::ALL.map(|m| match m.may_have_bias() {
                true => read(format!("blk.{layer}.{}.bias", m.gguf_name())),
                false => Vec::new(),
            })
        };
        FrozenWeights {
            gguf: gguf.clone(),
            norms: (0..spec.n_layer).map(norms).collect(),
            biases: (0..spec.n_layer).map(biases).collect(),
            output_norm: read("output_norm.weight".into()),
        }
    }

    /// A module's weight, `n_out` rows of `n_in`.
    pub fn linear(&self, layer: usize, module: Module) -> Rows<'_> {
        self.rows(&format!("blk.{layer}.{}.weight", module.gguf_name()))
    }

    /// A module's bias; empty where it has none.
    pub fn bias(&self, layer: usize, module: Module) -> &[f32] {
        &self.biases[layer][module as usize]
    }

    /// A norm's weights; `None` where the layer has no such norm.
    pub fn norm(&self, layer: usize, norm: Norm) -> Option<&[f32]> {
        Some(&self.norms[layer][norm as usize][..]).filter(|w| !w.is_empty())
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
