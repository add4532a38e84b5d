//! The forward and backward pass of the whole model over one packed batch.
//!
//! The forward pass keeps, per layer, what the backward pass cannot cheaply recompute (the
//! [`Tape`]); norms are recomputed from one number a token, attention from one number a query. The
//! last layer's queries, feed-forward layer and logits run only for tokens that predict a target.
//! A tape that saves memory keeps each layer's input alone and runs the layer's forward pass again
//! before its backward pass (Chen et al. 2016, arXiv 1604.06174): the same numbers, a third more
//! work.

use crate::gguf::{Gguf, Rows};
use crate::kernels::gemm::{Kernel, Out, PackedLhs, Rhs, View, matmul};
use crate::token::Token;
use crate::{Error, Result};

use super::batch::Batch;
use super::clock::{Clock, Work};
use super::layer::{AttentionInputs, Layer, Saved, Scratch};
use super::lora::Layout;
use super::ops::linear::Dropout;
use super::ops::{fit, loss, norm};
use crate::model::FrozenWeights;
use crate::model::spec::{Module, Spec};

/// Rows of logits held at once; the output layer's weights are read once for every so many.
const LOGIT_ROWS: usize = 128;

/// A frozen model that can be differentiated with respect to its adapter.
#[derive(Debug)]
pub struct Transformer {
    /// Its sizes.
    pub spec: Spec,
    weights: FrozenWeights,
}

/// Buffers that a step reuses from the step before.
#[derive(Debug, Default)]
pub struct Tape {
    /// Whether only the input of every layer is kept, and its forward pass runs again.
    recomputes: bool,
    /// Of the adapters, while training.
    pub dropout: Option<Dropout>,
    /// One per layer; where it recomputes, one for all.
    saved: Vec<Saved>,
    /// The input of every layer, where it recomputes.
    inputs: Vec<Vec<f32>>,
    x: Vec<f32>,
    dx: Vec<f32>,
    scratch: Scratch,
    head: Head,
}

impl Tape {
    /// An empty tape that keeps all activations, or `recomputes` them, with matmuls by `kernel`.
    pub fn new(recomputes: bool, kernel: &'static Kernel) -> Tape {
        let head = Head { left: PackedLhs::new(kernel), ..Head::default() };
        Tape { recomputes, scratch: Scratch::new(kernel), head, ..Tape::default() }
    }

    /// Where the time of the passes on this tape went.
    pub fn clock(&mut self) -> &mut Clock {
        &mut self.scratch.clock
    }
}

/// Buffers of the output layer.
#[derive(Debug, Default)]
struct Head {
    rstd: Vec<f32>,
    normed: Vec<f32>,
    d_normed: Vec<f32>,
    logits: Vec<f32>,
    left: PackedLhs,
}

/// One batch's fixed facts: who sees whom, in layers that see everything and in windowed ones.
struct AttentionPlan {
    /// Of every layer but the last, for all tokens.
    all: [Option<AttentionInputs>; 2],
    /// Of the last, for those with a loss.
    last: AttentionInputs,
}

impl Transformer {
    /// Opens the model in `gguf` for training.
    pub fn open(gguf: &Gguf) -> Result<Transformer> {
        let spec = Spec::of(gguf)?;
        let weights = FrozenWeights::open(gguf, &spec);
        Ok(Transformer { spec, weights })
    }

    /// A module's frozen weight.
    pub fn weight(&self, layer: usize, module: Module) -> Rows<'_> {
        self.weights.linear(layer, module)
    }

    /// The logits `[loss tokens, v]` that predict the targets of `batch`.
    pub fn logits(
        &self,
        layout: &Layout,
        params: &[f32],
        batch: &Batch,
        tape: &mut Tape,
    ) -> Result<Vec<f32>> {
        self.forward(layout, params, batch, tape)?;
        let m = batch.loss_tokens.len();
        let mut logits = vec![0.0; m * self.spec.n_vocab];
        let Tape { x, head, .. } = tape;
        self.normed(x, m, head);
        self.output(&head.normed, m, &mut head.left, &mut logits);
        self.logit_shape().apply(&mut logits);
        Ok(logits)
    }

    /// The loss of `batch`, `weight` per target token; adds its gradient to `grads`.
    pub fn loss_and_gradient(
        &self,
        layout: &Layout,
        params: &[f32],
        batch: &Batch,
        weight: f32,
        tape: &mut Tape,
        grads: &mut [f32],
    ) -> Result<f64> {
        let plan = self.forward(layout, params, batch, tape)?;
        let loss = self.head(batch, weight, tape, true);
        self.backward(layout, params, &plan, tape, grads);
        Ok(loss)
    }

    /// The loss of `batch`, `weight` per target token.
    pub fn loss(
        &self,
        layout: &Layout,
        params: &[f32],
        batch: &Batch,
        weight: f32,
        tape: &mut Tape,
    ) -> Result<f64> {
        self.forward(layout, params, batch, tape)?;
        Ok(self.head(batch, weight, tape, false))
    }

    fn plan(&self, batch: &Batch) -> Result<AttentionPlan> {
        let outside = |t: &Token| *t < 0 || *t as usize >= self.spec.n_vocab;
        let unknown = batch.tokens.iter().copied().chain(batch.targets.iter().map(|t| t.token)).find(outside);
        if let Some(t) = unknown {
            return Err(Error::training(format!(
                "token {t} is outside the vocabulary of {}",
                self.spec.n_vocab
            )));
        }
        let everything = (None, &self.spec.rope);
        let windowed = self.spec.window.as_ref().map(|w| (Some(w.len), &w.rope));
        let all = |(window, rope)| {
            AttentionInputs::new(&batch.segments, &batch.positions, 0..batch.tokens.len(), window, rope)
        };
        let last_layer = self.spec.n_layer - 1;
        let (window, rope) = windowed.filter(|_| self.spec.is_windowed(last_layer)).unwrap_or(everything);
        let queries = batch.loss_tokens.iter().copied();
        Ok(AttentionPlan {
            all: [Some(all(everything)), windowed.map(all)],
            last: AttentionInputs::new(&batch.segments, &batch.positions, queries, window, rope),
        })
    }

    fn attention<'p>(&self, plan: &'p AttentionPlan, layer: usize) -> &'p AttentionInputs {
        if layer + 1 == self.spec.n_layer {
            return &plan.last;
        }
        plan.all[usize::from(self.spec.is_windowed(layer))].as_ref().expect("planned for every layer")
    }

    /// The layers, each with its adapter.
    fn layers<'a>(
        &'a self,
        layout: &'a Layout,
        params: &'a [f32],
        dropout: Option<Dropout>,
    ) -> impl DoubleEndedIterator<Item = Layer<'a>> {
        let (spec, weights) = (&self.spec, &self.weights);
        (0..spec.n_layer).map(move |index| Layer { spec, weights, layout, params, dropout, index })
    }

    /// Leaves the residual stream of the loss tokens in `tape.x`.
    fn forward(
        &self,
        layout: &Layout,
        params: &[f32],
        batch: &Batch,
        tape: &mut Tape,
    ) -> Result<AttentionPlan> {
        tape.clock().start();
        let plan = self.plan(batch)?;
        let (d, layers) = (self.spec.n_embd, self.spec.n_layer);
        let one_for_all = tape.recomputes;
        tape.saved.resize_with(if one_for_all { 1 } else { layers }, Saved::default);
        tape.inputs.resize_with(if one_for_all { layers } else { 0 }, Vec::new);
        let Tape { saved, inputs, x, scratch, dropout, .. } = tape;
        let embedding = self.weights.embedding();
        let rows = fit(x, batch.tokens.len() * d);
        for (x, token) in rows.chunks_exact_mut(d).zip(&batch.tokens) {
            embedding.read(*token as usize, 0, x);
        }
        if self.spec.embedding_scale != 1.0 {
            rows.iter_mut().for_each(|x| *x *= self.spec.embedding_scale);
        }
        for layer in self.layers(layout, params, *dropout) {
            if let Some(input) = inputs.get_mut(layer.index) {
                input.clear();
                input.extend_from_slice(x);
            }
            let saved = &mut saved[if one_for_all { 0 } else { layer.index }];
            layer.forward(self.attention(&plan, layer.index), x, saved, scratch);
        }
        Ok(plan)
    }

    /// From the gradient of the residual stream in `tape.dx` to that of the adapter.
    fn backward(
        &self,
        layout: &Layout,
        params: &[f32],
        plan: &AttentionPlan,
        tape: &mut Tape,
        grads: &mut [f32],
    ) {
        let one_for_all = tape.recomputes;
        let Tape { saved, inputs, x, dx, scratch, dropout, .. } = tape;
        for layer in self.layers(layout, params, *dropout).rev() {
            let attention = self.attention(plan, layer.index);
            let saved = &mut saved[if one_for_all { 0 } else { layer.index }];
            if one_for_all && layer.index + 1 < self.spec.n_layer {
                std::mem::swap(x, &mut inputs[layer.index]);
                layer.forward(attention, x, saved, scratch);
            }
            layer.backward(attention, dx, saved, scratch, grads);
        }
    }

    /// Leaves the normalised residual stream `x[m, d]` in `head.normed`.
    fn normed(&self, x: &[f32], m: usize, head: &mut Head) {
        let normed = fit(&mut head.normed, m * self.spec.n_embd);
        let w = self.weights.output_norm();
        norm::forward(x, w, self.spec.rms_eps, normed, fit(&mut head.rstd, m));
    }

    fn output(&self, normed: &[f32], m: usize, left: &mut PackedLhs, logits: &mut [f32]) {
        left.pack(View::new(normed, m, self.spec.n_embd), 1.0);
        let weight = Rhs::Forward(self.weights.output());
        matmul(Out::new(logits, m, self.spec.n_vocab), &[(left, weight)], false);
    }

    fn logit_shape(&self) -> loss::Shape {
        loss::Shape { scale: self.spec.logit_scale, cap: self.spec.logit_cap }
    }

    /// The loss from `tape.x`; with `differentiate`, its gradient with respect to it in `tape.dx`.
    fn head(&self, batch: &Batch, weight: f32, tape: &mut Tape, differentiate: bool) -> f64 {
        let (d, v) = (self.spec.n_embd, self.spec.n_vocab);
        let m = batch.loss_tokens.len();
        let Tape { x, dx, head, scratch, .. } = tape;
        self.normed(x, m, head);
        let Head { rstd, normed, d_normed, logits, left } = head;
        let d_normed = fit(d_normed, m * d);
        let mut total = 0.0;
        for first in (0..m).step_by(LOGIT_ROWS) {
            let rows = LOGIT_ROWS.min(m - first);
            let block = first * d..(first + rows) * d;
            let logits = fit(logits, rows * v);
            self.output(&normed[block.clone()], rows, left, logits);
            total += loss::forward_backward(logits, rows, &batch.targets, first, weight, self.logit_shape());
            if differentiate {
                left.pack(View::new(logits, rows, v), 1.0);
                let out = Out::new(&mut d_normed[block], rows, d);
                matmul(out, &[(left, Rhs::Backward(self.weights.output()))], false);
            }
        }
        if differentiate {
            let dx = fit(dx, m * d);
            dx.fill(0.0);
            norm::backward(d_normed, x, self.weights.output_norm(), rstd, dx);
        }
        scratch.clock.lap(Work::Output);
        total
    }
}
