//! The first half of a layer: post_attn = x + O(attention(q, k, v)), q, k, v = Q, K, V(norm(x)), of which
//! queries and keys may be normalised once more before they are rotated.

use super::{
    AttentionInputs, Branch, BranchBuffers, BranchOutput, Layer, Saved, Scratch, Work, fit, gather,
    put_columns, scatter_add, take_columns,
};
use crate::kernels::gemm::View;
use crate::model::spec::{Module, Norm};
use crate::train::ops::attention::Qkv;
use crate::train::ops::linear::{Input, gradient_of_input};
use crate::train::ops::rope::{join_heads, split_heads};
use crate::train::ops::{attention, norm};

impl Layer<'_> {
    /// Makes `saved.post_attn` of `saved.x`, for the query tokens.
    pub(super) fn attention_forward(&self, attention: &AttentionInputs, saved: &mut Saved, s: &mut Scratch) {
        let (d, e) = (self.spec.n_embd, self.spec.head_dim);
        let (n, m) = (saved.x.len() / d, attention.mask.queries.len());
        let heads = self.heads(n);
        let (q_width, kv_width) = (heads.h * e, heads.g * e);
        let normed = fit(&mut s.normed, n * d);
        self.pre_norm(Norm::Attention, &saved.x, &mut saved.rstd, normed);
        s.clock.lap(Work::Elementwise);

        let pairs = self.spec.arch.rope_pairs;
        let [q, k, v] = &mut s.d;
        let (q, k, v) = (fit(q, m * q_width), fit(k, n * kv_width), fit(v, n * kv_width));
        s.left.pack(View::new(normed, n, d), 1.0);
        let mut input = Input { values: normed, packed: &s.left };
        let t = &mut saved.t;
        if self.spec.arch.fused {
            let width = q_width + 2 * kv_width;
            let all = fit(&mut s.wide, n * width);
            let t = &mut t[Module::Qkv as usize];
            self.linear(Module::Qkv).forward(input, n, all, false, t, &mut s.low_rank);
            take_columns(all, width, q_width, n, k);
            take_columns(all, width, q_width + kv_width, n, v);
            gather(all, width, &attention.mask.queries, &mut s.gathered);
            take_columns(&s.gathered, width, 0, m, q);
        } else {
            for (module, y) in [(Module::K, &mut *k), (Module::V, &mut *v)] {
                self.linear(module).forward(input, n, y, false, &mut t[module as usize], &mut s.low_rank);
            }
            if m < n {
                gather(normed, d, &attention.mask.queries, &mut s.gathered);
                s.left.pack(View::new(&s.gathered, m, d), 1.0);
                input = Input { values: &s.gathered, packed: &s.left };
            }
            let t = &mut t[Module::Q as usize];
            self.linear(Module::Q).forward(input, m, q, false, t, &mut s.low_rank);
        }
        s.clock.lap(Work::Linear);
        if self.normalises_heads() {
            for (i, (kind, y)) in [(Norm::Query, &mut *q), (Norm::Key, &mut *k)].into_iter().enumerate() {
                let raw = fit(&mut saved.raw[i], y.len());
                raw.copy_from_slice(y);
                self.pre_norm(kind, raw, &mut saved.raw_rstd[i], y);
            }
        }
        let (by_query, by_key) = (Some((&attention.queries, pairs)), Some((&attention.keys, pairs)));
        split_heads(q, m, e, by_query, fit(&mut saved.q, m * q_width));
        split_heads(k, n, e, by_key, fit(&mut saved.k, n * kv_width));
        split_heads(v, n, e, None, fit(&mut saved.v, n * kv_width));

        s.clock.lap(Work::Elementwise);
        let (o, lse) = (fit(&mut saved.o, m * q_width), fit(&mut saved.lse, heads.h * m));
        let qkv = Qkv { q: &saved.q, k: &saved.k, v: &saved.v };
        attention::forward(heads, &attention.mask, qkv, o, lse);
        s.clock.lap(Work::Attention);
        let joined = fit(&mut s.joined, m * q_width);
        join_heads(o, m, e, None, joined);
        s.clock.lap(Work::Elementwise);
        s.left.pack(View::new(joined, m, q_width), 1.0);
        gather(&saved.x, d, &attention.mask.queries, &mut saved.post_attn);
        self.add_branch(
            Branch::ATTENTION,
            Input { values: joined, packed: &s.left },
            m,
            &mut saved.post_attn,
            &mut saved.joined,
            &mut saved.t[Module::O as usize],
            BranchBuffers { normed: &mut s.added, low_rank: &mut s.low_rank },
        );
        s.clock.lap(Work::Linear);
    }

    /// `dx`, on entry the gradient of post_attn of the query tokens, becomes that of x of all tokens.
    pub(super) fn attention_backward(
        &self,
        attention: &AttentionInputs,
        dx: &mut Vec<f32>,
        saved: &mut Saved,
        s: &mut Scratch,
        grads: &mut [f32],
    ) {
        let (d, e) = (self.spec.n_embd, self.spec.head_dim);
        let (n, m) = (saved.x.len() / d, attention.mask.queries.len());
        let heads = self.heads(n);
        let q_width = heads.h * e;
        self.output_backward(m, dx, saved, s, grads);
        s.clock.lap(Work::Linear);
        let qkv = Qkv { q: &saved.q, k: &saved.k, v: &saved.v };
        attention::backward(
            heads,
            &attention.mask,
            qkv,
            &saved.o,
            &saved.lse,
            &s.d_heads[..m * q_width],
            &mut s.attention,
        );
        s.clock.lap(Work::Attention);
        self.rotate_back(attention, saved, s);

        let normed = fit(&mut s.normed, n * d);
        self.pre_norm_recompute(Norm::Attention, &saved.x, &saved.rstd, normed);
        s.clock.lap(Work::Elementwise);
        let needed = self.index > 0; // Nothing below the first layer learns.
        if self.spec.arch.fused {
            self.fused_backward(attention, saved, s, grads);
        } else {
            self.separate_backward(attention, saved, s, grads, needed);
        }
        s.clock.lap(Work::Linear);
        if !needed {
            return;
        }
        if m < n {
            let all = fit(&mut s.wide, n * d);
            all.fill(0.0);
            scatter_add(dx, d, &attention.mask.queries, all);
            std::mem::swap(dx, &mut s.wide);
        }
        self.pre_norm_backward(Norm::Attention, &s.d_normed, &saved.x, &saved.rstd, dx);
        s.clock.lap(Work::Elementwise);
    }

    /// Leaves the gradient of the attention's output in `s.d_heads`.
    fn output_backward(&self, m: usize, dx: &[f32], saved: &Saved, s: &mut Scratch, grads: &mut [f32]) {
        let e = self.spec.head_dim;
        let q_width = self.spec.n_head * e;
        let [pack, ..] = &mut s.packs;
        let joined = fit(&mut s.joined, m * q_width);
        join_heads(&saved.o, m, e, None, joined);
        let kept: &BranchOutput = &saved.joined;
        let d_o = self.branch_backward(Branch::ATTENTION, dx, kept, &mut s.added, &mut s.d_normed);
        let o = self.linear(Module::O);
        o.backward(m, joined, &saved.t[Module::O as usize], d_o, self.grads(grads, Module::O), pack);
        gradient_of_input(joined, m, &[(&o, pack)]);
        split_heads(joined, m, e, None, fit(&mut s.d_heads, m * q_width));
    }

    /// Leaves the gradients of what Q, K and V put out in `s.d`.
    fn rotate_back(&self, attention: &AttentionInputs, saved: &Saved, s: &mut Scratch) {
        let (e, pairs) = (self.spec.head_dim, self.spec.arch.rope_pairs);
        let (n, m) = (saved.x.len() / self.spec.n_embd, attention.mask.queries.len());
        let [dq, dk, dv] = &mut s.d;
        let of = &s.attention;
        join_heads(&of.dq, m, e, Some((&attention.queries, pairs)), fit(dq, of.dq.len()));
        join_heads(&of.dk, n, e, Some((&attention.keys, pairs)), fit(dk, of.dk.len()));
        join_heads(&of.dv, n, e, None, fit(dv, of.dv.len()));
        for (i, (kind, d)) in [(Norm::Query, dq), (Norm::Key, dk)].into_iter().enumerate() {
            if let Some(w) = self.norm(kind) {
                let d_raw = fit(&mut s.d_raw, d.len());
                d_raw.fill(0.0);
                norm::backward(d, &saved.raw[i], w, &saved.raw_rstd[i], d_raw);
                std::mem::swap(d, &mut s.d_raw);
            }
        }
    }

    /// From `s.d` and the input in `s.normed` to its gradient in `s.d_normed`, where it is needed.
    fn separate_backward(
        &self,
        attention: &AttentionInputs,
        saved: &Saved,
        s: &mut Scratch,
        grads: &mut [f32],
        needed: bool,
    ) {
        let d = self.spec.n_embd;
        let (n, m) = (saved.x.len() / d, attention.mask.queries.len());
        let [dq, dk, dv] = &s.d;
        let [p0, p1, p2] = &mut s.packs;
        let normed = &s.normed;
        let asked = if m < n {
            gather(normed, d, &attention.mask.queries, &mut s.gathered);
            &s.gathered
        } else {
            normed
        };
        let [q, k, v] = [Module::Q, Module::K, Module::V].map(|module| self.linear(module));
        let t = |module| &saved.t[module as usize];
        k.backward(n, normed, t(Module::K), dk, self.grads(grads, Module::K), p1);
        v.backward(n, normed, t(Module::V), dv, self.grads(grads, Module::V), p2);
        q.backward(m, asked, t(Module::Q), dq, self.grads(grads, Module::Q), p0);
        if !needed {
            return;
        }
        let d_normed = fit(&mut s.d_normed, n * d);
        if m < n {
            gradient_of_input(d_normed, n, &[(&k, p1), (&v, p2)]);
            let d_asked = fit(&mut s.wide, m * d);
            gradient_of_input(d_asked, m, &[(&q, p0)]);
            scatter_add(d_asked, d, &attention.mask.queries, d_normed);
        } else {
            gradient_of_input(d_normed, n, &[(&q, p0), (&k, p1), (&v, p2)]);
        }
    }

    /// The same where one matrix holds Q, K and V.
    fn fused_backward(&self, attention: &AttentionInputs, saved: &Saved, s: &mut Scratch, grads: &mut [f32]) {
        let (d, e) = (self.spec.n_embd, self.spec.head_dim);
        let n = saved.x.len() / d;
        let (q_width, kv_width) = (self.spec.n_head * e, self.spec.n_head_kv * e);
        let width = q_width + 2 * kv_width;
        let all = fit(&mut s.wide, n * width);
        all.fill(0.0);
        for (q, row) in s.d[0].chunks_exact(q_width).zip(&attention.mask.queries) {
            all[row * width..][..q_width].copy_from_slice(q);
        }
        put_columns(&s.d[1], n, all, width, q_width);
        put_columns(&s.d[2], n, all, width, q_width + kv_width);
        let [pack, ..] = &mut s.packs;
        let qkv = self.linear(Module::Qkv);
        let t = &saved.t[Module::Qkv as usize];
        qkv.backward(n, &s.normed, t, all, self.grads(grads, Module::Qkv), pack);
        gradient_of_input(fit(&mut s.d_normed, n * d), n, &[(&qkv, pack)]);
    }
}
