//! Matrix multiplication `C = Σ A·B`, with the right side dequantized while it is packed.
//!
//! Training multiplies a batch of tokens (`A`, hundreds of rows) by frozen weights (`B`). A blocked
//! product copies `B` into cache-sized panels anyway, so reading those panels straight from the
//! quantized file costs a few percent of the product and no memory: no expanded copy of the
//! weights, no transposed copy. `W` and `Wᵀ` are two ways to pack the same bytes. Sums are `f32`,
//! and so are the factors unless a kernel on pairs of `bf16` is asked for ([`ComputeDtype`]).
//!
//! Layout (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008):
//! `A` is packed once into panels as high as a tile and may be used in several products; `B` into
//! panels as wide as one, by the thread that needs them; the kernel keeps a tile of `C` in
//! registers. Sums of products share one pass over `C`, which is how a low-rank adapter is added
//! to its base weight for free.
//!
//! Results do not depend on the number of threads: every element of `C` is summed in one fixed order.

mod kernel;
mod pack;
mod prepacked;

use std::cell::RefCell;
use std::ops::Range;

use crate::kernels::buffer::grow;
use crate::threads::{chunks_mut, current_threads, for_each, for_each_index};
pub use kernel::{ComputeDtype, Kernel};
use kernel::{PackUnit, Tile};
use pack::{Buffers, panel_width};
pub use pack::{PackedLhs, Rhs, View};
pub use prepacked::{Prepacked, PrepackedBuffers};

/// Most depth of a packed block of `B`, about. A panel of `A` so deep stays in the first-level cache
/// while those of `B` pass over it, and `C` is read and written once for so much work.
const KC: usize = 576;
/// Most panels of `B` that one thread packs at a time: with [`KC`] less than half of a second-level
/// cache of 1 MiB.
const NP: usize = 6;

thread_local! {
    /// What a matmul packs into. Threads keep it, since allocating it anew costs more than a small
    /// matmul.
    static PACKED: RefCell<Vec<PackUnit>> = const { RefCell::new(Vec::new()) };
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

fn with_buffers<T>(work: impl FnOnce(&mut Buffers) -> T) -> T {
    BUFFERS.with_borrow_mut(work)
}

/// The output of a matmul: `rows × cols`, whose rows are `stride` values apart.
#[derive(Debug)]
pub struct Out<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> Out<'a> {
    /// `rows × cols`, row after row.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "output of {rows}×{cols}");
        Out { data, rows, cols, stride: cols }
    }
}

/// A pointer to `C` that threads share; each writes its own tiles.
struct OutputPtr(*mut f32);

// SAFETY: every matmul gives each task a block of rows and columns of its own, so no element is
// written by two threads, and nothing reads `C` until all have joined.
unsafe impl Sync for OutputPtr {}

/// `out = Σ lhs·rhs`, or `out += Σ lhs·rhs` with `accumulate`. Runs on the current team.
///
/// # Panics
/// If the shapes do not fit, or the left sides are packed for different kernels.
pub fn matmul(mut out: Out, terms: &[(&PackedLhs, Rhs)], accumulate: bool) {
    let Some(job) = Job::new(&mut out, terms, accumulate) else { return };
    let align = job.align();
    let threads = current_threads();
    let width = chunk_width(out.cols, align, threads, job.max_columns());
    let chunks = out.cols.div_ceil(width);
    // Too narrow to occupy every thread by columns (a projection to the rank): split the rows too.
    let height = out.rows.div_ceil(threads.div_ceil(chunks)).next_multiple_of(job.tile_height);
    let bands = out.rows.div_ceil(height);
    for_each_index(chunks * bands, 1, |task| {
        let (n0, m0) = (task % chunks * width, task / chunks * height);
        // SAFETY: tasks differ in their rows or in their columns, and `out` outlives them.
        unsafe { job.run(m0..out.rows.min(m0 + height), n0, width.min(out.cols - n0)) }
    });
}

/// The same on the calling thread alone, for a matmul so small that each thread has its own.
///
/// # Panics
/// As [`matmul`].
pub fn matmul_on_one_thread(mut out: Out, terms: &[(&PackedLhs, Rhs)], accumulate: bool) {
    let Some(job) = Job::new(&mut out, terms, accumulate) else { return };
    let width = job.max_columns().next_multiple_of(job.align());
    for n0 in (0..out.cols).step_by(width) {
        // SAFETY: this thread alone has `out`.
        unsafe { job.run(0..out.rows, n0, width.min(out.cols - n0)) }
    }
}

/// A matmul whose shapes were checked.
struct Job<'a> {
    terms: &'a [(&'a PackedLhs, Rhs<'a>)],
    kernel: &'static Kernel,
    tile_height: usize,
    c: OutputPtr,
    stride: usize,
    accumulate: bool,
}

impl<'a> Job<'a> {
    /// `None` where there is nothing to do.
    fn new(out: &mut Out, terms: &'a [(&'a PackedLhs, Rhs<'a>)], accumulate: bool) -> Option<Job<'a>> {
        let (first, _) = terms.first()?;
        for (lhs, rhs) in terms {
            assert_eq!((lhs.rows, lhs.depth, rhs.cols()), (out.rows, rhs.depth(), out.cols), "matmul shapes");
            assert!(std::ptr::eq(lhs.kernel, first.kernel), "one kernel for all terms");
        }
        (out.rows > 0 && out.cols > 0).then_some(Job {
            terms,
            kernel: first.kernel,
            tile_height: first.height,
            c: OutputPtr(out.data.as_mut_ptr()),
            stride: out.stride,
            accumulate,
        })
    }

    /// Threads get columns in multiples of this.
    fn align(&self) -> usize {
        self.terms.iter().map(|(_, rhs)| rhs.aligns().1).max().unwrap_or(1).max(self.kernel.width())
    }

    /// Columns that one thread packs at a time.
    fn max_columns(&self) -> usize {
        NP * self.kernel.width()
    }

    /// Computes rows `band` of columns `n0..n0 + nc`.
    ///
    /// # Safety
    /// They lie inside the output that this was made for, which is still borrowed, and nobody else
    /// uses them meanwhile.
    unsafe fn run(&self, band: Range<usize>, n0: usize, nc: usize) {
        let Job { kernel, tile_height, .. } = *self;
        let width = kernel.width();
        // Each element of `B` is multiplied with so few rows that packing it would cost more.
        let few_rows = band.len() <= 2 * tile_height && nc.is_multiple_of(kernel.vector);
        let mut overwrite = !self.accumulate;
        for (lhs, rhs) in self.terms {
            let step = block_depth(lhs.depth, rhs.aligns().0.max(kernel.values_per_unit()));
            for k0 in (0..lhs.depth).step_by(step) {
                let kc = step.min(lhs.depth - k0);
                let units = kc.div_ceil(kernel.values_per_unit());
                // The tile at row `m` and column `n0 + from`, whose panel of `B` begins at `b`.
                let compute = |m: usize, from: usize, b: *const PackUnit, b_stride: usize| {
                    let wide = panel_width(kernel, nc - from);
                    let tile = Tile {
                        a: lhs.panel(m / tile_height, k0, units).as_ptr(),
                        b,
                        b_stride,
                        depth: units,
                        // SAFETY: row m and column n0 + from lie inside `C`.
                        c: unsafe { self.c.0.add(m * self.stride + n0 + from) },
                        c_stride: self.stride,
                        height: tile_height,
                        vectors: wide / kernel.vector,
                        overwrite,
                    };
                    let (height, width) = (tile_height.min(band.end - m), wide.min(nc - from));
                    // SAFETY: row m + height and column n0 + from + width lie inside `C` and are the
                    // caller's alone; the panels hold `units` rows, those read in place as wide as
                    // the tile, since `nc` is a multiple of the vectors.
                    unsafe { clipped(kernel, &tile, height, width) };
                };
                if let Some((b, b_stride)) = rhs.in_place(kernel, k0, n0).filter(|_| few_rows) {
                    for from in (0..nc).step_by(width) {
                        for m in band.clone().step_by(tile_height) {
                            // SAFETY: column n0 + from exists.
                            compute(m, from, unsafe { b.add(from) }, b_stride);
                        }
                    }
                } else {
                    PACKED.with_borrow_mut(|packed| {
                        grow(packed, nc.next_multiple_of(width) * units);
                        with_buffers(|b| rhs.pack(kernel, k0..k0 + kc, n0..n0 + nc, packed, b));
                        // Along a row of `C`: the addresses of its pages stay translated.
                        for m in band.clone().step_by(tile_height) {
                            for from in (0..nc).step_by(width) {
                                let wide = panel_width(kernel, nc - from);
                                compute(m, from, packed[from * units..][..wide * units].as_ptr(), wide);
                            }
                        }
                    });
                }
                overwrite = false;
            }
        }
    }
}

/// Chunks as equal as possible, each a multiple of `align`, at most about `most` wide, and their
/// number a multiple of the threads where the width allows it.
fn chunk_width(cols: usize, align: usize, threads: usize, most: usize) -> usize {
    let aligns = cols.div_ceil(align);
    let rounds = cols.div_ceil(most * threads);
    aligns.div_ceil(rounds * threads).max(1) * align
}

/// Blocks of depth as equal as possible, each a multiple of `align`, at most about `KC` deep.
fn block_depth(depth: usize, align: usize) -> usize {
    depth.div_ceil(depth.div_ceil(KC.max(align)).max(1)).next_multiple_of(align)
}

/// Computes `tile`, of which only `height × width` lies inside `C`.
///
/// # Safety
/// As for [`Kernel::run`], but that `c` need only be valid for `height` rows of `width` values.
unsafe fn clipped(kernel: &Kernel, tile: &Tile, height: usize, width: usize) {
    if height == tile.height && width == tile.vectors * kernel.vector {
        // SAFETY: the whole tile is valid.
        return unsafe { kernel.run(tile) };
    }
    const MOST: usize = 24 * 32;
    let mut whole = [0.0f32; MOST];
    let c_stride = kernel.width();
    assert!(tile.height * c_stride <= MOST, "no kernel has larger tiles");
    // SAFETY: `whole` is a whole tile.
    unsafe { kernel.run(&Tile { c: whole.as_mut_ptr(), c_stride, overwrite: true, ..*tile }) };
    for (i, row) in whole.chunks_exact(c_stride).take(height).enumerate() {
        // SAFETY: row i < height of width values, which the caller vouches for.
        let c = unsafe { std::slice::from_raw_parts_mut(tile.c.add(i * tile.c_stride), width) };
        for (c, x) in c.iter_mut().zip(row) {
            *c = if tile.overwrite { *x } else { *c + x };
        }
    }
}

/// What all threads of the current team reach together in 10⁹ FLOPS when they do nothing but
/// the kernel's multiply-adds, on panels that stay in the first-level cache: the bound of any
/// matmul here.
pub fn fma_gflops(kernel: &Kernel) -> f64 {
    let mut rates = vec![0.0; current_threads()];
    // Each takes so long that every thread claims one.
    for_each(chunks_mut(&mut rates, 1), 1, |_, rate| {
        rate[0] = kernel.gflops(std::time::Duration::from_millis(300));
    });
    rates.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::kernel::available;
    use super::*;
    use crate::gguf::{QuantType, Rows};
    use crate::threads::{Team, Wait};

    fn random(n: usize, seed: u32) -> Vec<f32> {
        let mut s = seed.wrapping_mul(2654435761).wrapping_add(12345);
        (0..n)
            .map(|_| {
                s ^= s << 13;
                s ^= s >> 17;
                s ^= s << 5;
                s as f32 / u32::MAX as f32 - 0.5
            })
            .collect()
    }

    fn naive(a: View, b: View) -> Vec<f32> {
        let mut c = vec![0.0; a.rows * b.cols];
        for i in 0..a.rows {
            for j in 0..b.cols {
                c[i * b.cols + j] =
                    (0..a.cols).map(|k| f64::from(a.at(i, k)) * f64::from(b.at(k, j))).sum::<f64>() as f32;
            }
        }
        c
    }

    /// `x` as the kernel sees it.
    fn seen(kernel: &Kernel, x: Vec<f32>) -> Vec<f32> {
        match kernel.compute_dtype {
            ComputeDtype::F32 => x,
            ComputeDtype::Bf16 => x.into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect(),
        }
    }

    /// f32 sums of up to 700 products of values below 0.5: error well under 700·2⁻²⁴·0.25·√700.
    /// Products of two bf16 are exact in f32.
    const TOLERANCE: f32 = 2e-5;

    fn assert_close(kernel: &Kernel, got: &[f32], want: &[f32]) {
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!((g - w).abs() <= TOLERANCE * (1.0 + w.abs()), "{} element {i}: {g} != {w}", kernel.name);
        }
    }

    #[test]
    fn dense_products_of_any_shape_equal_the_naive_sum_with_every_kernel() {
        for kernel in available() {
            for (m, n, k) in [
                (1, 1, 1),
                (6, 16, 8),
                (7, 17, 5),
                (13, 300, 257),
                (16, 576, 300),
                (200, 33, 700),
                (1, 530, 64),
                (65, 1, 31),
            ] {
                let (a, b) = (random(m * k, 1), random(k * n, 2));
                let lhs = PackedLhs::of(kernel, View::new(&a, m, k));
                let rhs = Rhs::Dense(View::new(&b, k, n));
                let mut c = vec![9.0; m * n];
                matmul(Out::new(&mut c, m, n), &[(&lhs, rhs)], false);
                let (a, b) = (seen(kernel, a.clone()), seen(kernel, b.clone()));
                let want = naive(View::new(&a, m, k), View::new(&b, k, n));
                assert_close(kernel, &c, &want);
                matmul(Out::new(&mut c, m, n), &[(&lhs, rhs)], true);
                assert_close(kernel, &c, &want.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn transposed_scaled_views_and_column_ranges_are_read_right() {
        let (m, n, k) = (11, 43, 19);
        let (a, b) = (random(k * m, 3), random(n * k, 4));
        for kernel in available() {
            let (sa, sb) = (seen(kernel, a.clone()), seen(kernel, b.clone()));
            let at = |a| View::new(a, k, m).t();
            let bt = View::new(&b, n, k).t();
            let mut lhs = PackedLhs::new(kernel);
            // A power of two, so that rounding after scaling is rounding before it.
            lhs.pack(at(&a), 0.25);
            let mut c = vec![0.0; m * n];
            matmul(Out::new(&mut c, m, n), &[(&lhs, Rhs::Dense(bt))], false);
            let want = naive(at(&sa), View::new(&sb, n, k).t());
            assert_close(kernel, &c, &want.iter().map(|x| x * 0.25).collect::<Vec<_>>());
        }
        let part = View::columns(&b, n, k, 5, 7);
        assert_eq!(part.at(3, 2), b[3 * k + 7]);
    }

    #[test]
    fn a_sum_of_products_is_the_sum_of_the_products() {
        let (m, n) = (20, 50);
        let (a1, b1, a2, b2) = (random(m * 300, 5), random(300 * n, 6), random(m * 16, 7), random(16 * n, 8));
        for kernel in available() {
            let [a1, b1, a2, b2] = [&a1, &b1, &a2, &b2].map(|x| seen(kernel, x.clone()));
            let (v1, w1) = (View::new(&a1, m, 300), View::new(&b1, 300, n));
            let (v2, w2) = (View::new(&a2, m, 16), View::new(&b2, 16, n));
            let mut c = vec![0.0; m * n];
            let (l1, l2) = (PackedLhs::of(kernel, v1), PackedLhs::of(kernel, v2));
            matmul(Out::new(&mut c, m, n), &[(&l1, Rhs::Dense(w1)), (&l2, Rhs::Dense(w2))], false);
            let want: Vec<f32> = naive(v1, w1).iter().zip(naive(v2, w2)).map(|(x, y)| x + y).collect();
            assert_close(kernel, &c, &want);
        }
    }

    #[test]
    fn stored_weights_multiply_as_their_dequantized_values_both_ways() {
        let (n_out, n_in, m) = (70, 288, 9);
        for kernel in available() {
            for ty in [QuantType::F32, QuantType::Q8_0, QuantType::F16, QuantType::BF16] {
                let bytes = crate::gguf::quantize_for_tests(ty, &random(n_out * n_in, 9), n_in);
                let w = Rows { ty, data: &bytes, rows: n_out, cols: n_in };
                let mut dense = vec![0.0; n_out * n_in];
                ty.dequantize(&bytes, &mut dense);
                let dense = seen(kernel, dense);
                let dense = View::new(&dense, n_out, n_in);

                let x = seen(kernel, random(m * n_in, 10));
                let x = View::new(&x, m, n_in);
                let mut y = vec![0.0; m * n_out];
                let lhs = PackedLhs::of(kernel, x);
                matmul(Out::new(&mut y, m, n_out), &[(&lhs, Rhs::Forward(w))], false);
                assert_close(kernel, &y, &naive(x, dense.t()));

                let dy = seen(kernel, random(m * n_out, 11));
                let dy = View::new(&dy, m, n_out);
                let mut dx = vec![0.0; m * n_in];
                let lhs = PackedLhs::of(kernel, dy);
                matmul(Out::new(&mut dx, m, n_in), &[(&lhs, Rhs::Backward(w))], false);
                assert_close(kernel, &dx, &naive(dy, dense));
            }
        }
    }

    #[test]
    fn the_result_is_the_same_on_one_thread_and_on_three() {
        let (m, n, k) = (50, 700, 300);
        let (a, b) = (random(m * k, 12), random(k * n, 13));
        for kernel in available() {
            let run = |threads| {
                let team = Team::new(Some(threads), "test", Wait::Spin).unwrap();
                team.enter(|| {
                    let mut c = vec![0.0; m * n];
                    let lhs = PackedLhs::of(kernel, View::new(&a, m, k));
                    let rhs = Rhs::Dense(View::new(&b, k, n));
                    matmul(Out::new(&mut c, m, n), &[(&lhs, rhs)], false);
                    c
                })
            };
            assert_eq!(run(1), run(3), "{}", kernel.name);
        }
    }

    #[test]
    fn the_fastest_kernel_is_one_of_those_there_are() {
        assert!(available().iter().any(|kernel| std::ptr::eq(*kernel, Kernel::fastest())));
    }
}
