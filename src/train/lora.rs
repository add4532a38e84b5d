//! The trainable parameters: one low-rank pair per layer and module, all in one flat vector.
//!
//! Flat, so that the optimiser, gradient clipping and checkpoints are single loops over slices.

use std::ops::Range;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::ops::linear::Pair;
use crate::model::spec::{Module, Spec};
use crate::{Error, Hint, Result};

/// Which low-rank pairs there are and where each lies in a flat vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// r
    pub rank: usize,
    /// α; the adapter's scale is α/r.
    pub alpha: f32,
    pairs: Vec<[Option<PairRanges>; Module::COUNT]>,
    len: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct PairRanges {
    a: Range<usize>,
    bt: Range<usize>,
}

impl Layout {
    /// Pairs of `rank` on those of `modules` that the model has, in every layer.
    pub fn new(spec: &Spec, rank: usize, alpha: f32, modules: &[Module]) -> Layout {
        let mut len = 0;
        let mut take = |n: usize| {
            len += n;
            len - n..len
        };
        let pairs = (0..spec.n_layer)
            .map(|_| {
                Module::ALL.map(|m| {
                    let (n_in, n_out) = spec.shape(m);
                    let wanted = modules.contains(&m) && spec.modules().contains(&m);
                    wanted.then(|| PairRanges { a: take(rank * n_in), bt: take(rank * n_out) })
                })
            })
            .collect();
        Layout { rank, alpha, pairs, len }
    }

    /// Parameters in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// s = α/r
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }

    /// Every pair with its place: layer, module, range of A `[r, n_in]`, range of Bᵀ `[r, n_out]`.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, Module, Range<usize>, Range<usize>)> + '_ {
        self.pairs.iter().enumerate().flat_map(|(layer, pairs)| {
            Module::ALL
                .into_iter()
                .zip(pairs)
                .filter_map(move |(m, slot)| slot.as_ref().map(|s| (layer, m, s.a.clone(), s.bt.clone())))
        })
    }

    /// The parameters as runs that learn equally fast: A once, B `ratio` times as fast as A.
    pub fn groups(&self, ratio: f32) -> Vec<(Range<usize>, f32)> {
        if ratio == 1.0 {
            return vec![(0..self.len, 1.0)];
        }
        self.pairs().flat_map(|(_, _, a, bt)| [(a, 1.0), (bt, ratio)]).collect()
    }

    /// The pair of one module, with values from `params`.
    pub fn pair<'a>(&self, params: &'a [f32], layer: usize, module: Module) -> Option<Pair<'a>> {
        let slot = self.pairs[layer][module as usize].as_ref()?;
        Some(Pair {
            a: &params[slot.a.clone()],
            bt: &params[slot.bt.clone()],
            rank: self.rank,
            scale: self.scale(),
        })
    }

    /// The gradients of one module's A and Bᵀ within `grads`.
    pub fn grads<'a>(
        &self,
        grads: &'a mut [f32],
        layer: usize,
        module: Module,
    ) -> Option<(&'a mut [f32], &'a mut [f32])> {
        let slot = self.pairs[layer][module as usize].as_ref()?;
        let both = &mut grads[slot.a.start..slot.bt.end];
        Some(both.split_at_mut(slot.a.len()))
    }

    /// Fresh parameters: A uniform in ±1/√n_in as PEFT starts it, B zero, so that training starts
    /// at the base model.
    pub fn init(&self, spec: &Spec, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut params = vec![0.0; self.len];
        for (_, module, a, _) in self.pairs() {
            let bound = 1.0 / (spec.shape(module).0 as f32).sqrt();
            params[a].iter_mut().for_each(|x| *x = rng.random_range(-bound..bound));
        }
        params
    }
}

/// An adapter's pairs in memory, as the trainer holds them.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraWeights {
    /// Where each pair lies in `params`.
    pub layout: Layout,
    /// The values.
    pub params: Vec<f32>,
}

impl LoraWeights {
    /// The same adapter with the pairs and the α of `layout`; pairs it does not have yet start as
    /// in `fresh`.
    ///
    /// # Errors
    /// [`Error::Input`] where `layout` has another rank, or leaves a pair out.
    pub fn arranged(&self, layout: &Layout, mut fresh: Vec<f32>) -> Result<Vec<f32>> {
        if self.layout.rank != layout.rank {
            let reason = format!("the adapter has rank {}, training {}", self.layout.rank, layout.rank);
            return Err(Error::field("init_adapter", reason).hint(Hint::set("rank", self.layout.rank)));
        }
        let scale = self.layout.scale() / layout.scale();
        for (layer, module, a, bt) in self.layout.pairs() {
            let Some((to_a, to_bt)) = layout.grads(&mut fresh, layer, module) else {
                let name = module.gguf_name();
                let reason = format!("the adapter has {name}, which training leaves out");
                return Err(Error::field("init_adapter", reason)
                    .hint(Hint::set("modules", format!("a list that includes {name}"))));
            };
            if self.params[a.clone()].iter().all(|x| *x == 0.0) {
                continue;
            }
            to_a.copy_from_slice(&self.params[a]);
            for (to, from) in to_bt.iter_mut().zip(&self.params[bt]) {
                *to = scale * from;
            }
        }
        Ok(fresh)
    }
}
