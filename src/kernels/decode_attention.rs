//! Attention of one token over a KV cache, for the query heads that share a key head.
//!
//! The cells of a sequence are scattered over the cache. Each is prefetched [`PREFETCH_DISTANCE`]
//! cells ahead, converted from `f16` to `f32` in registers, and scored there by all query heads of
//! the group.

use half::f16;

use crate::kernels::lanes::{exp, largest, sum};
use crate::kernels::simd::Simd;

/// The query heads that share a key head, and what they attend to.
#[derive(Debug, Clone, Copy)]
pub struct HeadGroup<'a> {
    /// The query heads, `e` values each.
    pub q: &'a [*const f32],
    /// Keys of the key head they share.
    pub k: CellRows,
    /// Its values.
    pub v: CellRows,
    /// Width of a head.
    pub e: usize,
    /// The cells that are seen, and what the mask adds to their scores.
    pub cells: &'a [(u32, f32)],
    /// Factor of q·k.
    pub scale: f32,
}

/// A row of `f16` for each cell.
#[derive(Debug, Clone, Copy)]
pub struct CellRows {
    /// Address of the first.
    pub first: usize,
    /// Bytes from one to the next.
    pub stride: usize,
}

impl CellRows {
    fn at(self, cell: u32) -> *const f16 {
        (self.first + cell as usize * self.stride) as *const f16
    }
}

/// `out[head] = Σ softmax(scale·q·k + bias)·v` over the cells; zeros where there is none. `scores` is
/// a buffer.
///
/// # Safety
/// For every cell, the addresses of its key and its value are valid for reads of `e` values; those
/// of the queries as well, and those of `out` for writes by this thread alone.
pub unsafe fn attend(group: &HeadGroup, scores: &mut Vec<f32>, out: &[*mut f32]) {
    let simd = Simd::of_this_processor();
    // SAFETY: the caller's promise; a function is used where its instructions are.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        {
            if group.e.is_multiple_of(16) && simd >= Simd::Avx512 {
                return x86::with_avx512(group, scores, out);
            }
            if group.e.is_multiple_of(8) && simd >= Simd::Avx2 {
                return x86::with_avx2(group, scores, out);
            }
        }
        let _ = simd;
        if group.e.is_multiple_of(8) {
            attend_with::<Portable<8>>(group, scores, out);
        } else {
            attend_with::<Portable<1>>(group, scores, out);
        }
    }
}

/// Vectors of one instruction set.
///
/// # Safety
/// Every function requires that the processor has the instructions, and every pointer must be valid
/// for `N` values (a prefetch takes any address).
trait Vector: Copy {
    const N: usize;
    unsafe fn zero() -> Self;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn widen(from: *const f16) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self + a·b`
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    unsafe fn sum(self) -> f32;
    /// The sums of four, which cost less together.
    unsafe fn sums(of: [Self; 4]) -> [f32; 4] {
        // SAFETY: the caller's promise.
        of.map(|x| unsafe { x.sum() })
    }
    /// Prefetches the cache line at an address.
    unsafe fn prefetch(from: *const f16);
}

/// Query heads that are scored in one pass over the cells: their sums stay in registers.
const HEADS_PER_PASS: usize = 4;

/// How many cells ahead rows are prefetched.
const PREFETCH_DISTANCE: usize = 6;

#[inline(always)]
unsafe fn attend_with<V: Vector>(group: &HeadGroup, scores: &mut Vec<f32>, out: &[*mut f32]) {
    let n = group.cells.len();
    scores.resize(out.len() * n, 0.0);
    // SAFETY: the caller's promise, passed on.
    unsafe {
        for (q, scores) in group.q.chunks(HEADS_PER_PASS).zip(scores.chunks_mut((HEADS_PER_PASS * n).max(1)))
        {
            match q {
                [a] => qk_scores::<V, 1>(group, [*a], scores),
                [a, b] => qk_scores::<V, 2>(group, [*a, *b], scores),
                [a, b, c] => qk_scores::<V, 3>(group, [*a, *b, *c], scores),
                [a, b, c, d] => qk_scores::<V, 4>(group, [*a, *b, *c, *d], scores),
                _ => unreachable!("chunks of at most {HEADS_PER_PASS}"),
            }
        }
        for scores in scores.chunks_exact_mut(n.max(1)) {
            let top = largest(scores);
            scores.iter_mut().for_each(|x| *x = exp(*x - top));
            let factor = 1.0 / sum(scores);
            scores.iter_mut().for_each(|x| *x *= factor);
        }
        for (i, out) in out.chunks(HEADS_PER_PASS).enumerate() {
            let scores = &scores[i * HEADS_PER_PASS * n..][..out.len() * n];
            match out {
                [a] => pv_accumulate::<V, 1>(group, scores, [*a]),
                [a, b] => pv_accumulate::<V, 2>(group, scores, [*a, *b]),
                [a, b, c] => pv_accumulate::<V, 3>(group, scores, [*a, *b, *c]),
                [a, b, c, d] => pv_accumulate::<V, 4>(group, scores, [*a, *b, *c, *d]),
                _ => unreachable!("chunks of at most {HEADS_PER_PASS}"),
            }
        }
    }
}

/// `scores[head][cell] = scale·q·k + bias`
#[inline(always)]
unsafe fn qk_scores<V: Vector, const H: usize>(group: &HeadGroup, q: [*const f32; H], scores: &mut [f32]) {
    let HeadGroup { k, e, cells, scale, .. } = *group;
    let n = cells.len();
    let (fours, rest) = cells.as_chunks::<4>();
    for (i, four) in fours.iter().enumerate() {
        // SAFETY: e values behind each pointer.
        unsafe {
            (4 * i..4 * i + 4).for_each(|i| prefetch_row::<V>(k, cells, i, e));
            let sums = qk_products::<V, H, 4>(q, four.map(|(cell, _)| k.at(cell)), e);
            for (head, sums) in sums.into_iter().enumerate() {
                let scores = &mut scores[head * n + 4 * i..][..4];
                for ((score, x), (_, bias)) in scores.iter_mut().zip(V::sums(sums)).zip(four) {
                    *score = scale * x + bias;
                }
            }
        }
    }
    for (i, &(cell, bias)) in rest.iter().enumerate() {
        // SAFETY: e values behind each pointer.
        unsafe {
            for (head, [x]) in qk_products::<V, H, 1>(q, [k.at(cell)], e).into_iter().enumerate() {
                scores[head * n + 4 * fours.len() + i] = scale * x.sum() + bias;
            }
        }
    }
}

/// q·k of each head and cell, in lanes to be summed.
#[inline(always)]
unsafe fn qk_products<V: Vector, const H: usize, const C: usize>(
    q: [*const f32; H],
    keys: [*const f16; C],
    e: usize,
) -> [[V; C]; H] {
    // SAFETY: e values behind each pointer.
    unsafe {
        let mut sums = [[V::zero(); C]; H];
        for at in (0..e).step_by(V::N) {
            let keys = keys.map(|key| V::widen(key.add(at)));
            for (sums, q) in sums.iter_mut().zip(q) {
                let q = V::load(q.add(at));
                for (sum, key) in sums.iter_mut().zip(keys) {
                    *sum = sum.add_product(q, key);
                }
            }
        }
        sums
    }
}

/// `out[head] = Σ scores[head][cell]·v`
#[inline(always)]
unsafe fn pv_accumulate<V: Vector, const H: usize>(group: &HeadGroup, scores: &[f32], out: [*mut f32; H]) {
    let mut at = 0;
    while at < group.e {
        let left = (group.e - at) / V::N;
        // SAFETY: columns at.. of e, and so many vectors are left.
        at += unsafe {
            match left {
                4.. => pv_accumulate_columns::<V, H, 4>(group, scores, out, at),
                2.. => pv_accumulate_columns::<V, H, 2>(group, scores, out, at),
                _ => pv_accumulate_columns::<V, H, 1>(group, scores, out, at),
            }
        };
    }
}

/// The same for `W` vectors from column `at` on; how many columns those are.
#[inline(always)]
unsafe fn pv_accumulate_columns<V: Vector, const H: usize, const W: usize>(
    group: &HeadGroup,
    scores: &[f32],
    out: [*mut f32; H],
    at: usize,
) -> usize {
    let HeadGroup { v, e, cells, .. } = *group;
    let n = cells.len();
    // SAFETY: columns at..at + W·N lie inside the e values behind each pointer.
    unsafe {
        let mut sums = [[V::zero(); W]; H];
        for (i, &(cell, _)) in cells.iter().enumerate() {
            prefetch_row::<V>(v, cells, i, e);
            let value = v.at(cell).add(at);
            let value: [V; W] = std::array::from_fn(|w| V::widen(value.add(w * V::N)));
            for (head, sums) in sums.iter_mut().enumerate() {
                let score = V::splat(scores[head * n + i]);
                for (sum, value) in sums.iter_mut().zip(value) {
                    *sum = sum.add_product(score, value);
                }
            }
        }
        for (out, sums) in out.into_iter().zip(sums) {
            for (w, sum) in sums.into_iter().enumerate() {
                sum.store(out.add(at + w * V::N));
            }
        }
    }
    W * V::N
}

/// Prefetches the row of the cell that comes [`PREFETCH_DISTANCE`] after cell `i`.
#[inline(always)]
unsafe fn prefetch_row<V: Vector>(lines: CellRows, cells: &[(u32, f32)], i: usize, e: usize) {
    const LINE: usize = 32; // Halves in a line of the cache.
    if let Some((cell, _)) = cells.get(i + PREFETCH_DISTANCE) {
        for at in (0..e).step_by(LINE) {
            // SAFETY: a prefetch reads nothing.
            unsafe { V::prefetch(lines.at(*cell).wrapping_add(at)) };
        }
    }
}

/// `N` values, for which the compiler chooses the instructions.
#[derive(Clone, Copy)]
struct Portable<const N: usize>([f32; N]);

impl<const N: usize> Vector for Portable<N> {
    const N: usize = N;
    #[inline(always)]
    unsafe fn zero() -> Self {
        Portable([0.0; N])
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Portable([x; N])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: valid for N values.
        Portable(unsafe { from.cast::<[f32; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn widen(from: *const f16) -> Self {
        // SAFETY: valid for N values.
        Portable(unsafe { from.cast::<[f16; N]>().read_unaligned() }.map(f16::to_f32))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: valid for N values.
        unsafe { to.cast::<[f32; N]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0.iter().sum()
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const f16) {}
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{HeadGroup, Vector, attend_with, f16};

    #[target_feature(enable = "avx512f,avx2,fma")]
    pub unsafe fn with_avx512(group: &HeadGroup, scores: &mut Vec<f32>, out: &[*mut f32]) {
        // SAFETY: the caller's promise.
        unsafe { attend_with::<__m512>(group, scores, out) }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    pub unsafe fn with_avx2(group: &HeadGroup, scores: &mut Vec<f32>, out: &[*mut f32]) {
        // SAFETY: the caller's promise.
        unsafe { attend_with::<__m256>(group, scores, out) }
    }

    /// Writes the implementation for one width. Each function is a single instruction or two, used
    /// where it was detected, on pointers that the caller vouches for.
    macro_rules! vector {
        ($vector:ty, $n:literal, $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident,
         |$half:ident| $widen:expr, |$x:ident| $sum:expr, |$of:ident| $sums:expr) => {
            impl Vector for $vector {
                const N: usize = $n;
                #[inline(always)]
                unsafe fn zero() -> Self {
                    // SAFETY: see the macro.
                    unsafe { $zero() }
                }
                #[inline(always)]
                unsafe fn splat(x: f32) -> Self {
                    // SAFETY: see the macro.
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: see the macro.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn widen($half: *const f16) -> Self {
                    // SAFETY: see the macro.
                    unsafe { $widen }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: see the macro.
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn add_product(self, a: Self, b: Self) -> Self {
                    // SAFETY: see the macro.
                    unsafe { $fma(a, b, self) }
                }
                #[inline(always)]
                unsafe fn sum(self) -> f32 {
                    let $x = self;
                    // SAFETY: see the macro.
                    unsafe { $sum }
                }
                #[inline(always)]
                unsafe fn sums($of: [Self; 4]) -> [f32; 4] {
                    // SAFETY: see the macro.
                    unsafe { std::mem::transmute::<__m128, [f32; 4]>($sums) }
                }
                #[inline(always)]
                unsafe fn prefetch(from: *const f16) {
                    // SAFETY: reads nothing.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
                }
            }
        };
    }

    vector!(
        __m512,
        16,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        |half| _mm512_cvtph_ps(_mm256_loadu_si256(half.cast())),
        |x| _mm512_reduce_add_ps(x),
        |of| {
            let [a, b, c, d] = of;
            // In each quarter: a and b by turns, c and d, then one of each.
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            let (low, high) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
            let all = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
            let upper = _mm512_castps512_ps256(_mm512_shuffle_f32x4::<0b11_10_11_10>(all, all));
            let halves = _mm256_add_ps(_mm512_castps512_ps256(all), upper);
            _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves))
        }
    );

    vector!(
        __m256,
        8,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        |half| _mm256_cvtph_ps(_mm_loadu_si128(half.cast())),
        |x| {
            let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        },
        |of| {
            let [a, b, c, d] = of;
            let all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
            _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps::<1>(all))
        }
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    type Attend = unsafe fn(&HeadGroup, &mut Vec<f32>, &[*mut f32]);

    /// Every way that this processor can take.
    fn ways(e: usize) -> Vec<Attend> {
        let mut ways: Vec<Attend> = vec![attend, attend_with::<Portable<1>>];
        if e.is_multiple_of(8) {
            ways.push(attend_with::<Portable<8>>);
            #[cfg(target_arch = "x86_64")]
            if Simd::of_this_processor() >= Simd::Avx2 {
                // SAFETY: its instructions are there, and the caller promises the rest.
                ways.push(|g, s, o| unsafe { x86::with_avx2(g, s, o) });
            }
        }
        ways
    }

    #[test]
    fn every_way_computes_the_softmax_of_the_cells_seen() {
        for (e, heads, seen) in [(64, 3, 40), (16, 1, 1), (80, 4, 9), (112, 5, 7), (128, 9, 13), (6, 2, 5)] {
            let cells_there = 50;
            let halves =
                |seed| -> Vec<f16> { random(cells_there * e, seed).into_iter().map(f16::from_f32).collect() };
            let (k, v, q) = (halves(1), halves(2), random(heads * e, 3));
            let cells: Vec<(u32, f32)> = (0..seen).map(|i| ((i * 7 % 50) as u32, (i % 3) as f32)).collect();
            let lines = |x: &[f16]| CellRows { first: x.as_ptr() as usize, stride: 2 * e };
            let heads_of_q: Vec<*const f32> = q.chunks(e).map(<[f32]>::as_ptr).collect();
            let group =
                HeadGroup { q: &heads_of_q, k: lines(&k), v: lines(&v), e, cells: &cells, scale: 0.3 };
            for way in ways(e) {
                let mut out = vec![f32::NAN; heads * e];
                let to: Vec<*mut f32> = out.chunks_mut(e).map(<[f32]>::as_mut_ptr).collect();
                // SAFETY: all addresses are of vectors of that size, which live.
                unsafe { way(&group, &mut Vec::new(), &to) };
                for head in 0..heads {
                    let at = |x: &[f16], cell: u32, i: usize| f64::from(x[cell as usize * e + i].to_f32());
                    let score = |(cell, bias): (u32, f32)| {
                        let dot: f64 = (0..e).map(|i| f64::from(q[head * e + i]) * at(&k, cell, i)).sum();
                        (0.3 * dot + f64::from(bias)).exp()
                    };
                    let total: f64 = cells.iter().map(|c| score(*c)).sum();
                    for i in 0..e {
                        let want: f64 = cells.iter().map(|c| score(*c) / total * at(&v, c.0, i)).sum();
                        let got = f64::from(out[head * e + i]);
                        // Sums of some ten f32 qk_products below 1.
                        assert!((got - want).abs() < 2e-6, "e {e}, head {head}, {i}: {got} != {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_that_sees_nothing_gets_zeros() {
        let q = [0.5f32; 16];
        let mut out = [1.0f32; 16];
        let lines = CellRows { first: 0, stride: 32 };
        let group = HeadGroup { q: &[q.as_ptr()], k: lines, v: lines, e: 16, cells: &[], scale: 1.0 };
        // SAFETY: no cell is read.
        unsafe { attend(&group, &mut Vec::new(), &[out.as_mut_ptr()]) };
        assert_eq!(out, [0.0; 16]);
    }
}
