//! The forward and backward pass of the whole model over one packed batch.
//!
//! The forward pass keeps, per layer, what the backward pass cannot cheaply recompute (the
//! [`Tape`]); norms are recomputed from one number a token, attention from one number a query. The
//! last layer's queries, feed-forward layer and logits run only for tokens that predict a target.

use crate::engine::Token;
use crate::tensor::Gguf;
use crate::tensor::gemm::{Left, Out, Right, View, product};
use crate::{Error, Result};

use super::batch::{Batch, Target};
use super::lora::Layout;
use super::ops::attention::{self, Heads, Reach};
use super::ops::linear::{Linear, Packs};
use super::ops::rope::{self, Angles};
use super::ops::{axpy, fit, loss, norm, swiglu};
use super::spec::{Module, Spec, Weights};

/// Rows of logits held at once; the output layer's weights are read once for every so many.
const LOGIT_ROWS: usize = 128;

/// A frozen model that can be differentiated with respect to its adapter.
#[derive(Debug)]
pub struct Model {
    /// Its sizes.
    pub spec: Spec,
    weights: Weights,
}

/// Buffers that a step reuses from the step before.
#[derive(Debug, Default)]
pub struct Tape {
    layers: Vec<Saved>,
    x: Vec<f32>,
    dx: Vec<f32>,
    scratch: Scratch,
}

/// What one layer's backward pass needs of its forward pass; m queries of n tokens.
#[derive(Debug, Default)]
struct Saved {
    /// `[n, d]` the layer's input; `[n]` its norm's factors.
    x: Vec<f32>,
    rho: Vec<f32>,
    /// `[h, m, e]`, `[g, n, e]`, `[g, n, e]`, after RoPE.
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// `[h, m, e]` and `[h, m]`.
    o: Vec<f32>,
    lse: Vec<f32>,
    /// `[m, d]` the residual stream after attention; `[m]` its norm's factors.
    x2: Vec<f32>,
    rho2: Vec<f32>,
    /// `[m, f]`
    gate: Vec<f32>,
    up: Vec<f32>,
    /// `[n or m, r]` A·x of every module.
    t: [Vec<f32>; 7],
}

#[derive(Debug, Default)]
struct Scratch {
    wide: Vec<f32>,
    normed: Vec<f32>,
    normed_queries: Vec<f32>,
    joined: Vec<f32>,
    d_heads: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
    d_normed: Vec<f32>,
    logits: Vec<f32>,
    left: Left,
    low_rank: Left,
    packs: [Packs; 3],
    attention: attention::Gradients,
}

/// One batch's fixed facts: who attends to whom, and the angles.
struct Plan {
    n: usize,
    /// Of every layer but the last: all tokens. Of the last: those with a loss.
    all: Reach,
    last: Reach,
    angles: Angles,
    last_angles: Angles,
}

impl Model {
    /// Opens the model in `gguf` for training.
    pub fn open(gguf: &Gguf) -> Result<Model> {
        let spec = Spec::of(gguf)?;
        let weights = Weights::open(gguf, &spec);
        Ok(Model { spec, weights })
    }

    /// The logits `[loss tokens, v]` that predict the targets of `batch`.
    pub fn logits(
        &self,
        layout: &Layout,
        params: &[f32],
        batch: &Batch,
        tape: &mut Tape,
    ) -> Result<Vec<f32>> {
        let plan = self.plan(batch)?;
        self.forward(layout, params, batch, &plan, tape);
        let m = batch.loss_tokens.len();
        let mut normed = vec![0.0; m * self.spec.n_embd];
        norm::forward(&tape.x, self.weights.output_norm(), self.spec.rms_eps, &mut normed, &mut vec![0.0; m]);
        let mut logits = vec![0.0; m * self.spec.n_vocab];
        self.output(&normed, m, &mut logits);
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
        let plan = self.plan(batch)?;
        self.forward(layout, params, batch, &plan, tape);
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
        let plan = self.plan(batch)?;
        self.forward(layout, params, batch, &plan, tape);
        Ok(self.head(batch, weight, tape, false))
    }

    fn plan(&self, batch: &Batch) -> Result<Plan> {
        let outside = |t: &Token| *t < 0 || *t as usize >= self.spec.n_vocab;
        let unknown = batch.tokens.iter().copied().chain(batch.targets.iter().map(|t| t.token)).find(outside);
        if let Some(t) = unknown {
            return Err(Error::Training(format!(
                "token {t} is outside the vocabulary of {}",
                self.spec.n_vocab
            )));
        }
        let freqs = &self.spec.rope_freqs;
        Ok(Plan {
            n: batch.tokens.len(),
            all: Reach::new(&batch.segments, 0..batch.tokens.len()),
            last: Reach::new(&batch.segments, batch.loss_tokens.iter().copied()),
            angles: Angles::of(batch.positions.iter().copied(), freqs),
            last_angles: Angles::of(batch.loss_tokens.iter().map(|t| batch.positions[*t]), freqs),
        })
    }

    fn linear<'a>(&'a self, layout: &Layout, params: &'a [f32], layer: usize, module: Module) -> Linear<'a> {
        Linear {
            weight: self.weights.linear(layer, module),
            bias: self.weights.bias(layer, module),
            pair: layout.pair(params, layer, module),
        }
    }

    fn heads(&self, n: usize) -> Heads {
        let s = &self.spec;
        Heads { h: s.n_head, g: s.n_head_kv, e: s.head_dim, n, scale: 1.0 / (s.head_dim as f32).sqrt() }
    }

    fn reach<'a>(&self, plan: &'a Plan, layer: usize) -> (&'a Reach, &'a Angles) {
        if layer + 1 == self.spec.n_layer {
            (&plan.last, &plan.last_angles)
        } else {
            (&plan.all, &plan.angles)
        }
    }

    /// Leaves the residual stream of the loss tokens in `tape.x`.
    fn forward(&self, layout: &Layout, params: &[f32], batch: &Batch, plan: &Plan, tape: &mut Tape) {
        let d = self.spec.n_embd;
        tape.layers.resize_with(self.spec.n_layer, Saved::default);
        let embedding = self.weights.embedding();
        let x = fit(&mut tape.x, plan.n * d);
        for (x, token) in x.chunks_exact_mut(d).zip(&batch.tokens) {
            embedding.read(*token as usize, 0, x);
        }
        for layer in 0..self.spec.n_layer {
            self.layer_forward(layout, params, layer, plan, tape);
        }
    }

    fn layer_forward(&self, layout: &Layout, params: &[f32], layer: usize, plan: &Plan, tape: &mut Tape) {
        let Spec { n_embd: d, n_ff: f, rms_eps: eps, head_dim: e, .. } = self.spec;
        let pairs = self.spec.arch.rope_pairs;
        let (reach, angles) = self.reach(plan, layer);
        let (n, m) = (plan.n, reach.queries.len());
        let heads = self.heads(n);
        let linear = |module| self.linear(layout, params, layer, module);
        let Tape { layers, x, scratch: s, .. } = tape;
        let saved = &mut layers[layer];
        std::mem::swap(&mut saved.x, x);
        let [tq, tk, tv, to, tg, tu, td] = &mut saved.t;

        let normed = fit(&mut s.normed, n * d);
        norm::forward(&saved.x, self.weights.attn_norm(layer), eps, normed, fit(&mut saved.rho, n));
        s.left.pack(View::new(normed, n, d), 1.0);
        let kv = heads.g * e;
        for (module, t, rotation, out) in
            [(Module::K, tk, Some((&plan.angles, pairs)), &mut saved.k), (Module::V, tv, None, &mut saved.v)]
        {
            let y = fit(&mut s.wide, n * kv);
            linear(module).forward(&s.left, n, y, false, t, &mut s.low_rank);
            rope::split_heads(y, n, e, rotation, fit(out, n * kv));
        }
        if m < n {
            gather(normed, d, &reach.queries, &mut s.normed_queries);
            s.left.pack(View::new(&s.normed_queries, m, d), 1.0);
        }
        let y = fit(&mut s.wide, m * heads.h * e);
        linear(Module::Q).forward(&s.left, m, y, false, tq, &mut s.low_rank);
        rope::split_heads(y, m, e, Some((angles, pairs)), fit(&mut saved.q, m * heads.h * e));

        let o = fit(&mut saved.o, m * heads.h * e);
        attention::forward(heads, reach, &saved.q, &saved.k, &saved.v, o, fit(&mut saved.lse, heads.h * m));
        let joined = fit(&mut s.joined, m * heads.h * e);
        rope::join_heads(o, m, e, None, joined);
        s.left.pack(View::new(joined, m, heads.h * e), 1.0);
        gather(&saved.x, d, &reach.queries, &mut saved.x2);
        linear(Module::O).forward(&s.left, m, &mut saved.x2, true, to, &mut s.low_rank);

        let normed = fit(&mut s.normed, m * d);
        norm::forward(&saved.x2, self.weights.ffn_norm(layer), eps, normed, fit(&mut saved.rho2, m));
        s.left.pack(View::new(normed, m, d), 1.0);
        linear(Module::Gate).forward(&s.left, m, fit(&mut saved.gate, m * f), false, tg, &mut s.low_rank);
        linear(Module::Up).forward(&s.left, m, fit(&mut saved.up, m * f), false, tu, &mut s.low_rank);
        let hidden = fit(&mut s.wide, m * f);
        swiglu::forward(&saved.gate, &saved.up, hidden);
        s.left.pack(View::new(hidden, m, f), 1.0);
        x.clear();
        x.extend_from_slice(&saved.x2);
        linear(Module::Down).forward(&s.left, m, x, true, td, &mut s.low_rank);
    }

    fn output(&self, normed: &[f32], m: usize, logits: &mut [f32]) {
        let left = Left::of(View::new(normed, m, self.spec.n_embd));
        product(
            Out::new(logits, m, self.spec.n_vocab),
            &[(&left, Right::Forward(self.weights.output()))],
            false,
        );
    }

    /// The loss from `tape.x`; with `differentiate`, its gradient with respect to it in `tape.dx`.
    fn head(&self, batch: &Batch, weight: f32, tape: &mut Tape, differentiate: bool) -> f64 {
        let (d, v) = (self.spec.n_embd, self.spec.n_vocab);
        let m = batch.loss_tokens.len();
        let w = self.weights.output_norm();
        let Tape { x, dx, scratch: s, .. } = tape;
        let mut rho = vec![0.0; m];
        let normed = fit(&mut s.normed, m * d);
        norm::forward(x, w, self.spec.rms_eps, normed, &mut rho);
        let d_normed = fit(&mut s.d_normed, m * d);
        let mut total = 0.0;
        for first in (0..m).step_by(LOGIT_ROWS) {
            let rows = LOGIT_ROWS.min(m - first);
            let block = first * d..(first + rows) * d;
            let logits = fit(&mut s.logits, rows * v);
            self.output(&normed[block.clone()], rows, logits);
            let targets: &[Target] = &batch.targets;
            total += loss::forward_backward(logits, rows, targets, first, weight);
            if differentiate {
                s.left.pack(View::new(logits, rows, v), 1.0);
                let out = Out::new(&mut d_normed[block], rows, d);
                product(out, &[(&s.left, Right::Backward(self.weights.output()))], false);
            }
        }
        if differentiate {
            let dx = fit(dx, m * d);
            dx.fill(0.0);
            norm::backward(d_normed, x, w, &rho, dx);
        }
        total
    }

    fn backward(&self, layout: &Layout, params: &[f32], plan: &Plan, tape: &mut Tape, grads: &mut [f32]) {
        for layer in (0..self.spec.n_layer).rev() {
            self.layer_backward(layout, params, layer, plan, tape, grads);
        }
    }

    /// Turns `tape.dx`, the gradient of the layer's output, into the gradient of its input.
    fn layer_backward(
        &self,
        layout: &Layout,
        params: &[f32],
        layer: usize,
        plan: &Plan,
        tape: &mut Tape,
        grads: &mut [f32],
    ) {
        let Spec { n_embd: d, n_ff: f, head_dim: e, .. } = self.spec;
        let pairs = self.spec.arch.rope_pairs;
        let (reach, angles) = self.reach(plan, layer);
        let (n, m) = (plan.n, reach.queries.len());
        let heads = self.heads(n);
        let (q_width, kv_width) = (heads.h * e, heads.g * e);
        let linear = |module| self.linear(layout, params, layer, module);
        let Tape { layers, dx, scratch: s, .. } = tape;
        let saved = &mut layers[layer];
        let [tq, tk, tv, to, tg, tu, td] = &saved.t;
        let [p0, p1, p2] = &mut s.packs;

        // x3 = x2 + Down(hidden), hidden = swiglu(Gate(normed), Up(normed)), normed = norm(x2)
        let hidden = fit(&mut s.wide, m * f);
        swiglu::forward(&saved.gate, &saved.up, hidden);
        let down = linear(Module::Down);
        down.backward(m, hidden, td, dx, layout.grads(grads, layer, Module::Down), p0);
        product(Out::new(hidden, m, f), &down.dx_terms(p0), false);
        swiglu::backward(hidden, &mut saved.gate, &mut saved.up);
        let normed = fit(&mut s.normed, m * d);
        norm::recompute(&saved.x2, self.weights.ffn_norm(layer), &saved.rho2, normed);
        let (gate, up) = (linear(Module::Gate), linear(Module::Up));
        gate.backward(m, normed, tg, &saved.gate, layout.grads(grads, layer, Module::Gate), p0);
        up.backward(m, normed, tu, &saved.up, layout.grads(grads, layer, Module::Up), p1);
        let d_normed = fit(&mut s.d_normed, m * d);
        product(Out::new(d_normed, m, d), &[gate.dx_terms(p0), up.dx_terms(p1)].concat(), false);
        norm::backward(d_normed, &saved.x2, self.weights.ffn_norm(layer), &saved.rho2, dx);

        // x2 = x + O(attention(q, k, v))
        let joined = fit(&mut s.joined, m * q_width);
        rope::join_heads(&saved.o, m, e, None, joined);
        let o = linear(Module::O);
        o.backward(m, joined, to, dx, layout.grads(grads, layer, Module::O), p0);
        product(Out::new(joined, m, q_width), &o.dx_terms(p0), false);
        let d_heads = fit(&mut s.d_heads, m * q_width);
        rope::split_heads(joined, m, e, None, d_heads);
        let qkv = (&saved.q[..], &saved.k[..], &saved.v[..]);
        attention::backward(heads, reach, qkv, &saved.o, &saved.lse, d_heads, &mut s.attention);
        let (dq, dk, dv) =
            (fit(&mut s.dq, m * q_width), fit(&mut s.dk, n * kv_width), fit(&mut s.dv, n * kv_width));
        rope::join_heads(&s.attention.dq, m, e, Some((angles, pairs)), dq);
        rope::join_heads(&s.attention.dk, n, e, Some((&plan.angles, pairs)), dk);
        rope::join_heads(&s.attention.dv, n, e, None, dv);

        // q, k, v = Q(normed), K(normed), V(normed), normed = norm(x)
        let normed = fit(&mut s.normed, n * d);
        norm::recompute(&saved.x, self.weights.attn_norm(layer), &saved.rho, normed);
        let (q, k, v) = (linear(Module::Q), linear(Module::K), linear(Module::V));
        k.backward(n, normed, tk, dk, layout.grads(grads, layer, Module::K), p1);
        v.backward(n, normed, tv, dv, layout.grads(grads, layer, Module::V), p2);
        let asked = if m < n {
            gather(normed, d, &reach.queries, &mut s.normed_queries);
            &s.normed_queries
        } else {
            &*normed
        };
        q.backward(m, asked, tq, dq, layout.grads(grads, layer, Module::Q), p0);
        if layer == 0 {
            return; // Nothing below the first layer learns.
        }
        let d_normed = fit(&mut s.d_normed, n * d);
        let keys_and_values = [k.dx_terms(p1), v.dx_terms(p2)].concat();
        if m < n {
            product(Out::new(d_normed, n, d), &keys_and_values, false);
            let d_asked = fit(&mut s.wide, m * d);
            product(Out::new(d_asked, m, d), &q.dx_terms(p0), false);
            scatter_add(d_asked, d, &reach.queries, d_normed);
            let d_asked = fit(&mut s.wide, n * d);
            d_asked.fill(0.0);
            scatter_add(dx, d, &reach.queries, d_asked);
            std::mem::swap(dx, &mut s.wide);
        } else {
            product(Out::new(d_normed, n, d), &[q.dx_terms(p0), keys_and_values].concat(), false);
        }
        norm::backward(d_normed, &saved.x, self.weights.attn_norm(layer), &saved.rho, dx);
    }
}

/// Rows `index` of `x[.., d]`, one after the other.
fn gather(x: &[f32], d: usize, index: &[usize], out: &mut Vec<f32>) {
    let out = fit(out, index.len() * d);
    for (out, i) in out.chunks_exact_mut(d).zip(index) {
        out.copy_from_slice(&x[i * d..][..d]);
    }
}

/// `out[index] += x`, row by row.
fn scatter_add(x: &[f32], d: usize, index: &[usize], out: &mut [f32]) {
    for (x, i) in x.chunks_exact(d).zip(index) {
        axpy(1.0, x, &mut out[i * d..][..d]);
    }
}
