//! One transformer layer: attention and a gated feed-forward network, each adding to the residual
//! stream. Forward and backward of each half stand in one file.

mod attention;
mod feed_forward;

use super::batch::Segment;
use super::clock::{Clock, Work};
use super::lora::Layout;
use super::ops::attention::{AttentionMask, Gradients, Heads};
use super::ops::linear::{Dropout, Input, Linear, Packs};
use super::ops::rope::Angles;
use super::ops::{add_scaled, axpy, copy, fit, norm};
use crate::kernels::gemm::{Kernel, PackedLhs};
use crate::kernels::splitmix::splitmix64;
use crate::model::FrozenWeights;
use crate::model::arch::HeadNorm;
use crate::model::spec::{Module, Norm, Rope, Spec};
use crate::threads::{chunks, chunks_mut, for_each};

/// The attention mask and the RoPE angles of a batch, for one kind of layer.
#[derive(Debug)]
pub struct AttentionInputs {
    pub mask: AttentionMask,
    /// Of all tokens, for the keys.
    pub keys: Angles,
    /// Of the query tokens, for the queries.
    pub queries: Angles,
}

impl AttentionInputs {
    /// Those of `queries`, with a window or without.
    pub fn new(
        segments: &[Segment],
        positions: &[usize],
        queries: impl Iterator<Item = usize> + Clone,
        window: Option<usize>,
        rope: &Rope,
    ) -> AttentionInputs {
        AttentionInputs {
            mask: AttentionMask::new(segments, queries.clone(), window),
            keys: Angles::of(positions.iter().copied(), rope),
            queries: Angles::of(queries.map(|q| positions[q]), rope),
        }
    }
}

/// What one layer's backward pass needs of its forward pass; m queries of n tokens.
#[derive(Debug, Default)]
pub struct Saved {
    /// `[n, d]` the layer's input; `[n]` its norm's factors.
    pub x: Vec<f32>,
    rstd: Vec<f32>,
    /// `[m, h·e]`, `[n, g·e]`: queries and keys before their norm, and its factors; only where
    /// they are normalised.
    raw: [Vec<f32>; 2],
    raw_rstd: [Vec<f32>; 2],
    /// `[h, m, e]`, `[g, n, e]`, `[g, n, e]`, after RoPE.
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// `[h, m, e]` and `[h, m]`.
    o: Vec<f32>,
    lse: Vec<f32>,
    joined: BranchOutput,
    /// `[m, d]` the residual stream after attention; `[m]` its norm's factors.
    post_attn: Vec<f32>,
    post_attn_rstd: Vec<f32>,
    /// `[m, f]`
    gate: Vec<f32>,
    up: Vec<f32>,
    ffn_branch: BranchOutput,
    /// `[n or m, r]` A·x of every module.
    t: [Vec<f32>; Module::COUNT],
}

/// A half of a layer: what it adds to the residual stream comes out of `module` and passes through
/// `post_norm`, where the architecture has one.
#[derive(Debug, Clone, Copy)]
struct Branch {
    module: Module,
    post_norm: Norm,
}

impl Branch {
    const ATTENTION: Branch = Branch { module: Module::O, post_norm: Norm::AfterAttention };
    const FEED_FORWARD: Branch = Branch { module: Module::Down, post_norm: Norm::AfterFeedForward };
}

/// Buffers of [`Layer::add_branch`].
struct BranchBuffers<'a> {
    normed: &'a mut Vec<f32>,
    low_rank: &'a mut PackedLhs,
}

/// What a half of a layer adds, before its norm, and the norm's factors; empty without such a norm.
#[derive(Debug, Default)]
struct BranchOutput {
    out: Vec<f32>,
    rstd: Vec<f32>,
}

/// Buffers whose contents nobody relies on from one layer to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    wide: Vec<f32>,
    normed: Vec<f32>,
    gathered: Vec<f32>,
    joined: Vec<f32>,
    added: Vec<f32>,
    d_heads: Vec<f32>,
    /// Gradients of queries, keys and values; of the first two also before their norm.
    d: [Vec<f32>; 3],
    d_raw: Vec<f32>,
    d_normed: Vec<f32>,
    left: PackedLhs,
    low_rank: PackedLhs,
    packs: [Packs; 3],
    attention: Gradients,
    pub clock: Clock,
}

impl Scratch {
    /// Empty buffers for products with `kernel`.
    pub fn new(kernel: &'static Kernel) -> Scratch {
        let left = || PackedLhs::new(kernel);
        Scratch {
            left: left(),
            low_rank: left(),
            packs: std::array::from_fn(|_| Packs::new(kernel)),
            ..Scratch::default()
        }
    }
}

/// One layer: its frozen weights and its adapter.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    pub spec: &'a Spec,
    pub weights: &'a FrozenWeights,
    pub layout: &'a Layout,
    pub params: &'a [f32],
    /// Dropout of this step; of each module it has another seed.
    pub dropout: Option<Dropout>,
    pub index: usize,
}

impl<'a> Layer<'a> {
    /// Reads the residual stream `x[n, d]` and leaves there what the layer made of it: `[m, d]` for
    /// the query tokens.
    pub fn forward(&self, attention: &AttentionInputs, x: &mut Vec<f32>, saved: &mut Saved, s: &mut Scratch) {
        std::mem::swap(&mut saved.x, x);
        self.attention_forward(attention, saved, s);
        copy(&saved.post_attn, x);
        self.feed_forward_forward(x, saved, s);
    }

    /// Turns `dx`, the gradient of the layer's output, into the gradient of its input, and adds the
    /// adapter's to `grads`. Uses `saved` up.
    pub fn backward(
        &self,
        attention: &AttentionInputs,
        dx: &mut Vec<f32>,
        saved: &mut Saved,
        s: &mut Scratch,
        grads: &mut [f32],
    ) {
        self.feed_forward_backward(dx, saved, s, grads);
        self.attention_backward(attention, dx, saved, s, grads);
    }

    fn linear(&self, module: Module) -> Linear<'a> {
        Linear {
            weight: self.weights.linear(self.index, module),
            bias: self.weights.bias(self.index, module),
            pair: self.layout.pair(self.params, self.index, module),
            dropout: self.dropout.map(|d| {
                let place = self.index * Module::COUNT + module as usize;
                Dropout { seed: splitmix64(d.seed ^ splitmix64(place as u64)), ..d }
            }),
        }
    }

    fn grads<'g>(&self, grads: &'g mut [f32], module: Module) -> Option<(&'g mut [f32], &'g mut [f32])> {
        self.layout.grads(grads, self.index, module)
    }

    fn norm(&self, norm: Norm) -> Option<&'a [f32]> {
        self.weights.norm(self.index, norm)
    }

    fn heads(&self, n: usize) -> Heads {
        let s = self.spec;
        Heads { h: s.n_head, g: s.n_head_kv, e: s.head_dim, n, scale: s.score_scale, cap: s.score_cap }
    }

    fn normalises_heads(&self) -> bool {
        self.spec.arch.head_norm != HeadNorm::None
    }

    /// What a half of the layer reads: the residual stream, normalised where the architecture does so.
    fn pre_norm(&self, kind: Norm, x: &[f32], rstd: &mut Vec<f32>, normed: &mut [f32]) {
        match self.norm(kind) {
            Some(w) => norm::forward(x, w, self.spec.rms_eps, normed, fit(rstd, x.len() / w.len())),
            None => normed.copy_from_slice(x),
        }
    }

    /// The same again, from the factors kept.
    fn pre_norm_recompute(&self, kind: Norm, x: &[f32], rstd: &[f32], normed: &mut [f32]) {
        match self.norm(kind) {
            Some(w) => norm::recompute(x, w, rstd, normed),
            None => normed.copy_from_slice(x),
        }
    }

    /// `dx +=` the gradient through [`Layer::pre_norm`].
    fn pre_norm_backward(&self, kind: Norm, d_normed: &[f32], x: &[f32], rstd: &[f32], dx: &mut [f32]) {
        match self.norm(kind) {
            Some(w) => norm::backward(d_normed, x, w, rstd, dx),
            None => add_scaled(1.0, d_normed, dx),
        }
    }

    fn adds_without_scaling(&self) -> bool {
        !self.spec.arch.post_norms && self.spec.residual_scale == 1.0
    }

    /// Adds `module` of the packed input to the stream: through its norm and multiplier, if any.
    #[allow(clippy::too_many_arguments)]
    fn add_branch(
        &self,
        branch: Branch,
        input: Input,
        rows: usize,
        stream: &mut [f32],
        kept: &mut BranchOutput,
        t: &mut Vec<f32>,
        buffers: BranchBuffers,
    ) {
        let BranchBuffers { normed, low_rank } = buffers;
        let linear = self.linear(branch.module);
        if self.adds_without_scaling() {
            return linear.forward(input, rows, stream, true, t, low_rank);
        }
        let out = fit(&mut kept.out, stream.len());
        linear.forward(input, rows, out, false, t, low_rank);
        match self.norm(branch.post_norm) {
            None => add_scaled(self.spec.residual_scale, out, stream),
            Some(w) => {
                let normed = fit(normed, stream.len());
                norm::forward(out, w, self.spec.rms_eps, normed, fit(&mut kept.rstd, rows));
                add_scaled(self.spec.residual_scale, normed, stream);
            }
        }
    }

    /// The gradient of what `module` put out, from that of the stream.
    fn branch_backward<'b>(
        &self,
        branch: Branch,
        dx: &'b [f32],
        kept: &BranchOutput,
        scaled: &mut Vec<f32>,
        d_out: &'b mut Vec<f32>,
    ) -> &'b [f32] {
        if self.adds_without_scaling() {
            return dx;
        }
        let out = fit(d_out, dx.len());
        out.fill(0.0);
        match self.norm(branch.post_norm) {
            None => add_scaled(self.spec.residual_scale, dx, out),
            Some(w) => {
                let scaled = fit(scaled, dx.len());
                scaled.fill(0.0);
                add_scaled(self.spec.residual_scale, dx, scaled);
                norm::backward(scaled, &kept.out, w, &kept.rstd, out);
            }
        }
        out
    }
}

/// Rows `index` of `x[.., d]`, one after the other.
fn gather(x: &[f32], d: usize, index: &[usize], out: &mut Vec<f32>) {
    let out = fit(out, index.len() * d);
    for_each((chunks_mut(out, d), chunks(index, 1)), 64, |_, (out, i)| {
        out.copy_from_slice(&x[i[0] * d..][..d]);
    });
}

/// `out[index] += x`, row by row.
fn scatter_add(x: &[f32], d: usize, index: &[usize], out: &mut [f32]) {
    for (x, i) in x.chunks_exact(d).zip(index) {
        axpy(1.0, x, &mut out[i * d..][..d]);
    }
}

/// Columns `from..from + y width` of `x[rows, width]`, as `y[rows, ..]`.
fn take_columns(x: &[f32], width: usize, from: usize, rows: usize, y: &mut [f32]) {
    let w = y.len() / rows;
    for_each((chunks_mut(y, w), chunks(x, width)), 64, |_, (y, x)| {
        y.copy_from_slice(&x[from..from + w]);
    });
}

/// The reverse of [`take_columns`].
fn put_columns(y: &[f32], rows: usize, x: &mut [f32], width: usize, from: usize) {
    let w = y.len() / rows;
    for_each((chunks(y, w), chunks_mut(x, width)), 64, |_, (y, x)| {
        x[from..from + w].copy_from_slice(y);
    });
}
