//! Causal attention over a forest of token runs, without storing the probabilities.
//!
//! A token attends to the runs of its history and to its own run up to itself. Forward keeps one
//! number per query, ℓ = log Σ exp(score); backward recomputes the probabilities from it, as in
//! FlashAttention (Dao et al. 2022, arXiv 2205.14135, appendix B):
//! p = exp(score − ℓ), D = ⟨do, o⟩, ds = p·(⟨do, v⟩ − D),
//! dq = σ·Σ ds·k, dk = σ·Σ ds·q, dv = Σ p·do, with σ the score scale. Where scores are capped,
//! s ↦ c·tanh(s/c) (Gemma 2, arXiv 2408.00118), ds is further multiplied by 1 − tanh².

use std::cell::RefCell;
use std::ops::Range;

use super::{axpy, exp, fit, largest, sum};
use crate::kernels::gemm::{Out, PackedLhs, Rhs, View, matmul_on_one_thread};
use crate::threads::{chunks, chunks_mut, for_each};
use crate::train::batch::Segment;

/// Most queries of a block. More make larger products, but also more scores that the causal mask
/// throws away.
const BLOCK: usize = 64;

/// The causal mask of a batch: the query tokens, and the keys that each attends to.
#[derive(Debug)]
pub struct AttentionMask {
    /// The query tokens, ascending.
    pub queries: Vec<usize>,
    blocks: Vec<Block>,
}

/// Queries of one segment, which attend to parts of the same keys.
#[derive(Debug, PartialEq)]
struct Block {
    /// Indices into [`AttentionMask::queries`].
    queries: Range<usize>,
    /// The runs `(start, len)` of tokens that any of them attends to, in order.
    keys: Vec<(usize, usize)>,
    /// For each query, the range of these keys, counted through, that it attends to.
    key_ranges: Vec<Range<usize>>,
}

impl Block {
    fn key_count(&self) -> usize {
        self.keys.iter().map(|(_, len)| len).sum()
    }
}

impl AttentionMask {
    /// The mask of `queries` (ascending token indices) in a batch made of `segments`; with
    /// `window`, only the last so many tokens, oneself included.
    pub fn new(
        segments: &[Segment],
        queries: impl IntoIterator<Item = usize>,
        window: Option<usize>,
    ) -> AttentionMask {
        let queries: Vec<usize> = queries.into_iter().collect();
        let (mut blocks, mut first) = (Vec::new(), 0);
        for segment in segments {
            let end = first + queries[first..].partition_point(|q| *q < segment.start + segment.len);
            while first < end {
                let block = first..end.min(first + BLOCK);
                first = block.end;
                blocks.push(Block::new(segment, &queries, block, window));
            }
        }
        AttentionMask { queries, blocks }
    }
}

impl Block {
    fn new(segment: &Segment, queries: &[usize], block: Range<usize>, window: Option<usize>) -> Block {
        let before: usize = segment.history.iter().map(|(_, len)| len).sum();
        let mut keys = segment.history.clone();
        keys.push((segment.start, queries[block.end - 1] + 1 - segment.start));
        let mut key_ranges: Vec<Range<usize>> = queries[block.clone()]
            .iter()
            .map(|q| {
                let end = before + q + 1 - segment.start;
                window.map_or(0, |window| end.saturating_sub(window))..end
            })
            .collect();
        // What the first query does not look back to, none does.
        let mut unseen = key_ranges[0].start;
        key_ranges.iter_mut().for_each(|range| *range = range.start - unseen..range.end - unseen);
        keys.retain_mut(|(start, len)| {
            let cut = unseen.min(*len);
            (unseen, *start, *len) = (unseen - cut, *start + cut, *len - cut);
            *len > 0
        });
        Block { queries: block, keys, key_ranges }
    }
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

/// Queries, keys and values; `[h, m, e]`, `[g, n, e]`, `[g, n, e]`, or those of one head.
#[derive(Debug, Clone, Copy)]
pub struct Qkv<'a> {
    /// Queries.
    pub q: &'a [f32],
    /// Keys.
    pub k: &'a [f32],
    /// Values.
    pub v: &'a [f32],
}

impl Qkv<'_> {
    /// Those of query head `head`, which has `m` queries.
    fn of_head(self, s: Heads, head: usize, m: usize) -> Self {
        let group = head / (s.h / s.g);
        let keys = group * s.n * s.e..(group + 1) * s.n * s.e;
        Qkv { q: &self.q[head * m * s.e..][..m * s.e], k: &self.k[keys.clone()], v: &self.v[keys] }
    }
}

/// Buffers of one block of one head; m queries, t keys.
#[derive(Debug, Default)]
struct BlockScratch {
    left: PackedLhs,
    /// `[t, e]`
    keys: Vec<f32>,
    values: Vec<f32>,
    d_keys: Vec<f32>,
    /// `[m, t]` scores, then probabilities; their gradients; the slopes of capped scores.
    p: Vec<f32>,
    dp: Vec<f32>,
    slopes: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<BlockScratch> = RefCell::default();
}

impl BlockScratch {
    /// `self.p[m, t] =` the scores of `q[m, e]` and the keys, capped where they are, and in
    /// `self.slopes` how much they change with the inner matmul, relative to the scale.
    fn score(&mut self, s: Heads, q: &[f32], t: usize) {
        let (m, p) = (q.len() / s.e, fit(&mut self.p, q.len() / s.e * t));
        self.left.pack_on_one_thread(View::new(q, m, s.e), s.scale);
        let keys = Rhs::Dense(View::new(&self.keys, t, s.e).t());
        matmul_on_one_thread(Out::new(p, m, t), &[(&self.left, keys)], false);
        if s.cap != 0.0 {
            for (p, slope) in p.iter_mut().zip(fit(&mut self.slopes, m * t)) {
                let tanh = (*p / s.cap).tanh();
                (*p, *slope) = (s.cap * tanh, 1.0 - tanh * tanh);
            }
        }
    }
}

/// Rows `runs` of `x[n, e]`, one after the other.
fn gather(x: &[f32], e: usize, runs: &[(usize, usize)], out: &mut Vec<f32>) {
    out.clear();
    runs.iter().for_each(|&(start, len)| out.extend_from_slice(&x[start * e..(start + len) * e]));
}

/// The reverse of [`gather`]: `out[n, e] += x`.
fn scatter_add(x: &[f32], e: usize, runs: &[(usize, usize)], out: &mut [f32]) {
    let mut rest = x;
    for &(start, len) in runs {
        let (run, tail) = rest.split_at(len * e);
        axpy(1.0, run, &mut out[start * e..(start + len) * e]);
        rest = tail;
    }
}

/// `o[h, m, e]` and `lse[h, m]` from `q[h, m, e]`, `k[g, n, e]`, `v[g, n, e]`; m queries.
pub fn forward(s: Heads, mask: &AttentionMask, qkv: Qkv, o: &mut [f32], lse: &mut [f32]) {
    let (m, e) = (mask.queries.len(), s.e);
    for_each((chunks_mut(o, m * e), chunks_mut(lse, m)), 1, |head, (o, lse)| {
        let of_head = qkv.of_head(s, head, m);
        SCRATCH.with_borrow_mut(|scratch| {
            for block in &mask.blocks {
                let rows = block.queries.start * e..block.queries.end * e;
                let lse = &mut lse[block.queries.clone()];
                let qkv = Qkv { q: &of_head.q[rows.clone()], ..of_head };
                forward_block(s, block, qkv, &mut o[rows], lse, scratch);
            }
        });
    });
}

fn forward_block(
    s: Heads,
    block: &Block,
    qkv: Qkv,
    o: &mut [f32],
    lse: &mut [f32],
    scratch: &mut BlockScratch,
) {
    let (m, t) = (lse.len(), block.key_count());
    gather(qkv.k, s.e, &block.keys, &mut scratch.keys);
    gather(qkv.v, s.e, &block.keys, &mut scratch.values);
    scratch.score(s, qkv.q, t);
    for ((p, lse), key_range) in scratch.p.chunks_exact_mut(t).zip(lse).zip(&block.key_ranges) {
        p[..key_range.start].fill(0.0);
        p[key_range.end..].fill(0.0);
        let seen = &mut p[key_range.clone()];
        let top = largest(seen);
        seen.iter_mut().for_each(|x| *x = exp(*x - top));
        let total = sum(seen);
        *lse = top + total.ln();
        let factor = 1.0 / total;
        seen.iter_mut().for_each(|x| *x *= factor);
    }
    scratch.left.pack_on_one_thread(View::new(&scratch.p, m, t), 1.0);
    let values = Rhs::Dense(View::new(&scratch.values, t, s.e));
    matmul_on_one_thread(Out::new(o, m, s.e), &[(&scratch.left, values)], false);
}

/// What [`backward`] writes.
#[derive(Debug, Default)]
pub struct Gradients {
    /// `[h, m, e]`
    pub dq: Vec<f32>,
    /// `[g, n, e]`
    pub dk: Vec<f32>,
    /// `[g, n, e]`
    pub dv: Vec<f32>,
    /// `[h, 2, n, e]` shares of each query head, so that heads run in parallel.
    per_head: Vec<f32>,
}

/// Gradients of `q`, `k`, `v` from `dout[h, m, e]` and what [`forward`] returned.
pub fn backward(
    s: Heads,
    mask: &AttentionMask,
    qkv: Qkv,
    o: &[f32],
    lse: &[f32],
    dout: &[f32],
    out: &mut Gradients,
) {
    let (m, e, n) = (mask.queries.len(), s.e, s.n);
    let dq = fit(&mut out.dq, s.h * m * e);
    let per_head = fit(&mut out.per_head, s.h * 2 * n * e);
    for_each((chunks_mut(dq, m * e), chunks_mut(per_head, 2 * n * e)), 1, |head, (dq, dkv)| {
        let qkv = qkv.of_head(s, head, m);
        let of_head = head * m * e..(head + 1) * m * e;
        let (o, dout) = (&o[of_head.clone()], &dout[of_head]);
        let lse = &lse[head * m..][..m];
        dkv.fill(0.0);
        let (dk, dv) = dkv.split_at_mut(n * e);
        SCRATCH.with_borrow_mut(|scratch| {
            for block in &mask.blocks {
                let rows = block.queries.start * e..block.queries.end * e;
                let queries = Queries {
                    o: &o[rows.clone()],
                    dout: &dout[rows.clone()],
                    lse: &lse[block.queries.clone()],
                };
                let qkv = Qkv { q: &qkv.q[rows.clone()], ..qkv };
                backward_block(s, block, qkv, queries, [&mut dq[rows], dk, dv], scratch);
            }
        });
    });
    let per_group = s.h / s.g;
    let (dk, dv) = (fit(&mut out.dk, s.g * n * e), fit(&mut out.dv, s.g * n * e));
    let parts = (chunks_mut(dk, n * e), chunks_mut(dv, n * e), chunks(per_head, per_group * 2 * n * e));
    for_each(parts, 1, |_, (dk, dv, heads)| {
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

/// What the forward pass left for a block of queries, and the gradient of its output.
struct Queries<'a> {
    /// `[m, e]`
    o: &'a [f32],
    /// `[m, e]`
    dout: &'a [f32],
    /// `[m]`
    lse: &'a [f32],
}

/// Writes the gradient of the queries and adds to those of the keys and values.
fn backward_block(
    s: Heads,
    block: &Block,
    Qkv { q, k, v }: Qkv,
    Queries { o, dout, lse }: Queries,
    [dq, dk, dv]: [&mut [f32]; 3],
    scratch: &mut BlockScratch,
) {
    let (m, t, e) = (lse.len(), block.key_count(), s.e);
    gather(k, e, &block.keys, &mut scratch.keys);
    gather(v, e, &block.keys, &mut scratch.values);
    scratch.score(s, q, t);
    let BlockScratch { left, keys, values, d_keys, p, dp, slopes } = scratch;
    for ((p, lse), key_range) in p.chunks_exact_mut(t).zip(lse).zip(&block.key_ranges) {
        p[..key_range.start].fill(0.0);
        p[key_range.end..].fill(0.0);
        p[key_range.clone()].iter_mut().for_each(|x| *x = exp(*x - lse));
    }
    // dv += pᵀ·do
    let d_keys = fit(d_keys, t * e);
    left.pack_on_one_thread(View::new(p, m, t).t(), 1.0);
    matmul_on_one_thread(Out::new(d_keys, t, e), &[(left, Rhs::Dense(View::new(dout, m, e)))], false);
    scatter_add(d_keys, e, &block.keys, dv);
    // dp = do·vᵀ, then ds in its place
    let dp = fit(dp, m * t);
    left.pack_on_one_thread(View::new(dout, m, e), 1.0);
    matmul_on_one_thread(Out::new(dp, m, t), &[(left, Rhs::Dense(View::new(values, t, e).t()))], false);
    for (i, (dp, p)) in dp.chunks_exact_mut(t).zip(p.chunks_exact(t)).enumerate() {
        let mean = super::dot(&dout[i * e..][..e], &o[i * e..][..e]);
        dp.iter_mut().zip(p).for_each(|(dp, p)| *dp = s.scale * p * (*dp - mean));
    }
    if s.cap != 0.0 {
        dp.iter_mut().zip(slopes).for_each(|(dp, slope)| *dp *= *slope);
    }
    left.pack_on_one_thread(View::new(dp, m, t), 1.0);
    matmul_on_one_thread(Out::new(dq, m, e), &[(left, Rhs::Dense(View::new(keys, t, e)))], false);
    left.pack_on_one_thread(View::new(dp, m, t).t(), 1.0);
    matmul_on_one_thread(Out::new(d_keys, t, e), &[(left, Rhs::Dense(View::new(q, m, e)))], false);
    scatter_add(d_keys, e, &block.keys, dk);
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
            let mask = AttentionMask::new(&forest(), queries, window);
            let m = mask.queries.len();
            let (q, k, v) =
                (random(s.h * m * s.e, 1), random(s.g * s.n * s.e, 2), random(s.g * s.n * s.e, 3));
            let w = random(s.h * m * s.e, 4);
            let run = |q: &[f32], k: &[f32], v: &[f32]| {
                let (mut o, mut lse) = (vec![0.0; s.h * m * s.e], vec![0.0; s.h * m]);
                forward(s, &mask, Qkv { q, k, v }, &mut o, &mut lse);
                (o, lse)
            };
            let (o, lse) = run(&q, &k, &v);
            let mut d = Gradients::default();
            backward(s, &mask, Qkv { q: &q, k: &k, v: &v }, &o, &lse, &w, &mut d);
            check_gradient("dq", &q, &d.dq, |q| weigh(&run(q, &k, &v).0, &w));
            check_gradient("dk", &k, &d.dk, |k| weigh(&run(&q, k, &v).0, &w));
            check_gradient("dv", &v, &d.dv, |v| weigh(&run(&q, &k, v).0, &w));
        }
    }

    #[test]
    fn a_token_sees_its_history_and_itself_and_nothing_else() {
        let seen = |queries: &[usize], window| -> Vec<Vec<usize>> {
            let mask = AttentionMask::new(&forest(), queries.iter().copied(), window);
            let of = |block: &Block| {
                let keys: Vec<usize> = block.keys.iter().flat_map(|&(s, len)| s..s + len).collect();
                block.key_ranges.iter().map(|range| keys[range.clone()].to_vec()).collect::<Vec<_>>()
            };
            mask.blocks.iter().flat_map(of).collect()
        };
        assert_eq!(seen(&[4, 6, 7], None), [vec![0, 1, 2, 3, 4], vec![0, 1, 2, 5, 6], vec![7]]);
        assert_eq!(seen(&[4, 6, 7], Some(3)), [vec![2, 3, 4], vec![2, 5, 6], vec![7]]);
        assert_eq!(seen(&[3, 4], Some(2)), [vec![2, 3], vec![3, 4]]);
        assert_eq!(seen(&[4], Some(2)), [vec![3, 4]]);
    }

    #[test]
    fn long_segments_fall_into_blocks_that_change_nothing() {
        let n = 2 * BLOCK + 5;
        let s = Heads { h: 2, g: 1, e: 4, n, scale: 0.7, cap: 0.0 };
        let (q, k, v) = (random(s.h * n * s.e, 1), random(n * s.e, 2), random(n * s.e, 3));
        let run = |segments: &[Segment]| {
            let mask = AttentionMask::new(segments, 0..n, Some(70));
            let (mut o, mut lse) = (vec![0.0; s.h * n * s.e], vec![0.0; s.h * n]);
            let qkv = Qkv { q: &q, k: &k, v: &v };
            forward(s, &mask, qkv, &mut o, &mut lse);
            let mut d = Gradients::default();
            backward(s, &mask, qkv, &o, &lse, &q, &mut d);
            [o, d.dq, d.dk, d.dv].concat()
        };
        let whole = run(&[Segment { start: 0, len: n, history: vec![] }]);
        // The same tokens as a chain of one-token segments: one query a block.
        let chain: Vec<_> =
            (0..n).map(|i| Segment { start: i, len: 1, history: (0..i).map(|j| (j, 1)).collect() }).collect();
        for (a, b) in whole.iter().zip(run(&chain)) {
            // f32 sums of up to 70 values below 1, in another order.
            assert!((a - b).abs() < 2e-6, "{a} != {b}");
        }
    }
}
