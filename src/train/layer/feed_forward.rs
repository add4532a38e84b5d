//! The second half of a layer: out = post_attn + Down(φ(Gate(normed)) ⊙ Up(normed)), normed = norm(post_attn).

use super::{Branch, BranchBuffers, Layer, Saved, Scratch, Work, fit, put_columns, take_columns};
use crate::kernels::gemm::View;
use crate::model::spec::{Module, Norm};
use crate::train::ops::glu;
use crate::train::ops::linear::{Input, gradient_of_input};

impl Layer<'_> {
    /// `x`, on entry post_attn, becomes out.
    pub(super) fn feed_forward_forward(&self, x: &mut [f32], saved: &mut Saved, s: &mut Scratch) {
        let (d, f) = (self.spec.n_embd, self.spec.n_ff);
        let m = saved.post_attn.len() / d;
        let normed = fit(&mut s.normed, m * d);
        self.pre_norm(Norm::FeedForward, &saved.post_attn, &mut saved.post_attn_rstd, normed);
        s.clock.lap(Work::Elementwise);
        s.left.pack(View::new(normed, m, d), 1.0);
        let input = Input { values: normed, packed: &s.left };
        let t = &mut saved.t;
        let (gate, up) = (fit(&mut saved.gate, m * f), fit(&mut saved.up, m * f));
        if self.spec.arch.fused {
            let both = fit(&mut s.wide, m * 2 * f);
            let t = &mut t[Module::Up as usize];
            self.linear(Module::Up).forward(input, m, both, false, t, &mut s.low_rank);
            take_columns(both, 2 * f, 0, m, gate);
            take_columns(both, 2 * f, f, m, up);
        } else {
            for (module, y) in [(Module::Gate, &mut *gate), (Module::Up, &mut *up)] {
                self.linear(module).forward(input, m, y, false, &mut t[module as usize], &mut s.low_rank);
            }
        }
        s.clock.lap(Work::Linear);
        let hidden = fit(&mut s.wide, m * f);
        glu::forward(self.spec.arch.activation, gate, up, hidden);
        s.clock.lap(Work::Elementwise);
        s.left.pack(View::new(hidden, m, f), 1.0);
        self.add_branch(
            Branch::FEED_FORWARD,
            Input { values: hidden, packed: &s.left },
            m,
            x,
            &mut saved.ffn_branch,
            &mut t[Module::Down as usize],
            BranchBuffers { normed: &mut s.added, low_rank: &mut s.low_rank },
        );
        s.clock.lap(Work::Linear);
    }

    /// `dx`, on entry the gradient of out, becomes that of post_attn.
    pub(super) fn feed_forward_backward(
        &self,
        dx: &mut [f32],
        saved: &mut Saved,
        s: &mut Scratch,
        grads: &mut [f32],
    ) {
        let (d, f, activation) = (self.spec.n_embd, self.spec.n_ff, self.spec.arch.activation);
        let m = saved.post_attn.len() / d;
        let t = &saved.t;
        let [p0, p1, _] = &mut s.packs;

        let hidden = fit(&mut s.wide, m * f);
        glu::forward(activation, &saved.gate, &saved.up, hidden);
        s.clock.lap(Work::Elementwise);
        let down = self.linear(Module::Down);
        let branch = Branch::FEED_FORWARD;
        let d_down = self.branch_backward(branch, dx, &saved.ffn_branch, &mut s.added, &mut s.d_normed);
        down.backward(m, hidden, &t[Module::Down as usize], d_down, self.grads(grads, Module::Down), p0);
        gradient_of_input(hidden, m, &[(&down, p0)]);
        s.clock.lap(Work::Linear);
        glu::backward(activation, hidden, &mut saved.gate, &mut saved.up);

        let normed = fit(&mut s.normed, m * d);
        self.pre_norm_recompute(Norm::FeedForward, &saved.post_attn, &saved.post_attn_rstd, normed);
        s.clock.lap(Work::Elementwise);
        let d_normed = fit(&mut s.d_normed, m * d);
        let up = self.linear(Module::Up);
        if self.spec.arch.fused {
            let both = fit(&mut s.wide, m * 2 * f);
            put_columns(&saved.gate, m, both, 2 * f, 0);
            put_columns(&saved.up, m, both, 2 * f, f);
            up.backward(m, normed, &t[Module::Up as usize], both, self.grads(grads, Module::Up), p0);
            gradient_of_input(d_normed, m, &[(&up, p0)]);
        } else {
            let gate = self.linear(Module::Gate);
            let (tg, tu) = (&t[Module::Gate as usize], &t[Module::Up as usize]);
            gate.backward(m, normed, tg, &saved.gate, self.grads(grads, Module::Gate), p0);
            up.backward(m, normed, tu, &saved.up, self.grads(grads, Module::Up), p1);
            gradient_of_input(d_normed, m, &[(&gate, p0), (&up, p1)]);
        }
        s.clock.lap(Work::Linear);
        self.pre_norm_backward(Norm::FeedForward, d_normed, &saved.post_attn, &saved.post_attn_rstd, dx);
        s.clock.lap(Work::Elementwise);
    }
}
