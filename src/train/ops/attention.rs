//! Causal attention over a forest of token runs, without storing the probabilities.
//!
//! A token attends to the runs of its history and to its own run up to itself. Forward keeps one
//! number per query, ℓ = log Σ exp(score); backward recomputes the probabilities from it, as in
//! FlashAttention (Dao et al. 2022, arXiv 2205.14135, appendix B):
//! p = exp(score − ℓ), D = ⟨do, o⟩, ds = p·(⟨do, v⟩ − D),
//! dq = σ·Σ ds·k, dk = σ·Σ ds·q, dv = Σ p·do, with σ the score scale. Where scores are capped,
//! s ↦ c·tanh(s/c) (Gemma 2, arXiv 2408.00118), ds is further multiplied by 1 − tanh².

use rayon::prelude::*;

use super::{axpy, dot, exp};
use crate::train::batch::Segment;

/// Which tokens ask, and what each may see.
#[derive(Debug)]
pub struct Reach {
    /// The asking tokens, ascending.
    pub queries: Vec<usize>,
    /// For each query, the runs `(start, len)` it sees, its own last and cut after itself.
    runs: Vec<Vec<(usize, usize)>>,
}

impl Reach {
    /// The reach of `queries` (ascending token indices) in a batch made of `segments`; with
    /// `window`, only the last so many tokens, oneself included.
    pub fn new(
        segments: &[Segment],
        queries: impl IntoIterator<Item = usize>,
        window: Option<usize>,
    ) -> Reach {
        let queries: Vec<usize> = queries.into_iter().collect();
        let mut at = 0;
        let runs = queries
            .iter()
            .map(|&q| {
                while q >= segments[at].start + segments[at].len {
                    at += 1;
                }
                let own = &segments[at];
                let mut runs = own.history.clone();
                runs.push((own.start, q - own.start + 1));
                if let Some(window) = window {
                    keep_last(&mut runs, window);
                }
                runs
            })
            .collect();
        Reach { queries, runs }
    }
}

/// Cuts `runs` down to their last `n` tokens.
fn keep_last(runs: &mut Vec<(usize, usize)>, n: usize) {
    let mut excess = runs.iter().map(|(_, len)| len).sum::<usize>().saturating_sub(n);
    runs.retain_mut(|(start, len)| {
        let cut = excess.min(*len);
        excess -= cut;
        *start += cut;
        *len -= cut;
        *len > 0
    });
}

/// Shapes of one attention call: `h` query heads share `g` key heads of width `e`; `n` tokens.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Query heads.
    pub h: usize,
    /// Key and value heads.
    pub g: usize,
    /// Head width.
    pub e: usize,
    /// Tokens that have keys and values.
    pub n: usize,
    /// Scale of the scores.
    pub scale: f32,
    /// Their soft cap; 0 for none.
    pub cap: f32,
}

impl Heads {
    /// The score of a query and a key, and its derivative by their inner product.
    fn score(&self, q: &[f32], k: &[f32]) -> (f32, f32) {
        let s = self.scale * dot(q, k);
        if self.cap == 0.0 {
            return (s, self.scale);
        }
        let t = (s / self.cap).tanh();
        (self.cap * t, self.scale * (1.0 - t * t))
    }
}

/// `o[h, m, e]` and `lse[h, m]` from `q[h, m, e]`, `k[g, n, e]`, `v[g, n, e]`; m queries.
pub fn forward(s: Heads, reach: &Reach, q: &[f32], k: &[f32], v: &[f32], o: &mut [f32], lse: &mut [f32]) {
    let (m, e) = (reach.queries.len(), s.e);
    o.par_chunks_mut(m * e).zip(lse.par_chunks_mut(m)).enumerate().for_each_init(
        Vec::new,
        |scores, (head, (o, lse))| {
            let group = head / (s.h / s.g);
            let (k, v) = (&k[group * s.n * e..][..s.n * e], &v[group * s.n * e..][..s.n * e]);
            let q = &q[head * m * e..][..m * e];
            for (i, runs) in reach.runs.iter().enumerate() {
                let q = &q[i * e..][..e];
                scores.clear();
                for &(start, len) in runs {
                    scores.extend(k[start * e..(start + len) * e].chunks_exact(e).map(|k| s.score(q, k).0));
                }
                let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                scores.iter_mut().for_each(|x| *x = exp(*x - top));
                let sum: f32 = scores.iter().sum();
                lse[i] = top + sum.ln();
                let o = &mut o[i * e..][..e];
                o.fill(0.0);
                let mut weight = scores.iter();
                for &(start, len) in runs {
                    for (v, w) in v[start * e..(start + len) * e].chunks_exact(e).zip(weight.by_ref()) {
                        axpy(w / sum, v, o);
                    }
                }
            }
        },
    );
}

/// What [`backward`] writes: gradients per *query* head, so that heads run in parallel.
#[derive(Debug, Default)]
pub struct Gradients {
    /// `[h, m, e]`
    pub dq: Vec<f32>,
    /// `[g, n, e]`
    pub dk: Vec<f32>,
    /// `[g, n, e]`
    pub dv: Vec<f32>,
    per_head: Vec<f32>,
}

/// Gradients of `q`, `k`, `v` from `dout[h, m, e]` and what [`forward`] returned.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    s: Heads,
    reach: &Reach,
    (q, k, v): (&[f32], &[f32], &[f32]),
    o: &[f32],
    lse: &[f32],
    dout: &[f32],
    out: &mut Gradients,
) {
    let (m, e, n) = (reach.queries.len(), s.e, s.n);
    let dq = super::fit(&mut out.dq, s.h * m * e);
    let per_head = super::fit(&mut out.per_head, s.h * 2 * n * e);
    dq.par_chunks_mut(m * e).zip(per_head.par_chunks_mut(2 * n * e)).enumerate().for_each(
        |(head, (dq, dkv))| {
            let group = head / (s.h / s.g);
            let (k, v) = (&k[group * n * e..][..n * e], &v[group * n * e..][..n * e]);
            let of_head = head * m * e..(head + 1) * m * e;
            let (q, o, dout) = (&q[of_head.clone()], &o[of_head.clone()], &dout[of_head]);
            let lse = &lse[head * m..][..m];
            dkv.fill(0.0);
            dq.fill(0.0);
            let (dk, dv) = dkv.split_at_mut(n * e);
            for (i, runs) in reach.runs.iter().enumerate() {
                let row = i * e..(i + 1) * e;
                let (q, o, dout, dq) = (&q[row.clone()], &o[row.clone()], &dout[row.clone()], &mut dq[row]);
                let mean = dot(dout, o);
                for t in runs.iter().flat_map(|&(start, len)| start..start + len) {
                    let at = t * e..(t + 1) * e;
                    let (score, slope) = s.score(q, &k[at.clone()]);
                    let p = exp(score - lse[i]);
                    let ds = slope * p * (dot(dout, &v[at.clone()]) - mean);
                    axpy(p, dout, &mut dv[at.clone()]);
                    axpy(ds, q, &mut dk[at.clone()]);
                    axpy(ds, &k[at], dq);
                }
            }
        },
    );
    let per_group = s.h / s.g;
    let (dk, dv) = (super::fit(&mut out.dk, s.g * n * e), super::fit(&mut out.dv, s.g * n * e));
    dk.par_chunks_mut(n * e)
        .zip(dv.par_chunks_mut(n * e))
        .zip(per_head.par_chunks(per_group * 2 * n * e))
        .for_each(|((dk, dv), heads)| {
            for (i, head) in heads.chunks_exact(2 * n * e).enumerate() {
                if i == 0 {
                    dk.copy_from_slice(&head[..n * e]);
                    dv.copy_from_slice(&head[n * e..]);
                } else {
                    axpy(1.0, &head[..n * e], dk);
                    axpy(1.0, &head[n * e..], dv);
                }
            }
        });
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn forest() -> Vec<Segment> {
        vec![
            Segment { start: 0, len: 3, history: vec![] },
            Segment { start: 3, len: 2, history: vec![(0, 3)] },
            Segment { start: 5, len: 2, history: vec![(0, 3)] },
            Segment { start: 7, len: 2, history: vec![] },
        ]
    }

    #[test]
    fn the_gradients_equal_finite_differences_on_a_forest_with_shared_keys() {
        for (queries, cap, window) in [
            ((0..9).collect::<Vec<_>>(), 0.0, None),
            (vec![2, 4, 6, 8], 0.0, None),
            ((0..9).collect(), 0.3, None),
            ((0..9).collect(), 0.0, Some(3)),
        ] {
            let s = Heads { h: 4, g: 2, e: 4, n: 9, scale: 0.7, cap };
            let reach = Reach::new(&forest(), queries, window);
            let m = reach.queries.len();
            let (q, k, v) =
                (random(s.h * m * s.e, 1), random(s.g * s.n * s.e, 2), random(s.g * s.n * s.e, 3));
            let w = random(s.h * m * s.e, 4);
            let run = |q: &[f32], k: &[f32], v: &[f32]| {
                let (mut o, mut lse) = (vec![0.0; s.h * m * s.e], vec![0.0; s.h * m]);
                forward(s, &reach, q, k, v, &mut o, &mut lse);
                (o, lse)
            };
            let (o, lse) = run(&q, &k, &v);
            let mut d = Gradients::default();
            backward(s, &reach, (&q, &k, &v), &o, &lse, &w, &mut d);
            check_gradient("dq", &q, &d.dq, |q| weigh(&run(q, &k, &v).0, &w));
            check_gradient("dk", &k, &d.dk, |k| weigh(&run(&q, k, &v).0, &w));
            check_gradient("dv", &v, &d.dv, |v| weigh(&run(&q, &k, v).0, &w));
        }
    }

    #[test]
    fn a_token_sees_its_history_and_itself_and_nothing_else() {
        let reach = Reach::new(&forest(), [4, 6, 7], None);
        assert_eq!(reach.runs, [vec![(0, 3), (3, 2)], vec![(0, 3), (5, 2)], vec![(7, 1)]]);
        let windowed = Reach::new(&forest(), [4, 6, 7], Some(3));
        assert_eq!(windowed.runs, [vec![(2, 1), (3, 2)], vec![(2, 1), (5, 2)], vec![(7, 1)]]);
        assert_eq!(Reach::new(&forest(), [4], Some(2)).runs, [vec![(3, 2)]]);
    }
}
