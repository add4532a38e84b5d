//! The matrix product `C = Σ A·B` in `f32`, with the right side dequantized while it is packed.
//!
//! Training multiplies a batch of tokens (`A`, hundreds of rows) by frozen weights (`B`). A blocked
//! product copies `B` into cache-sized panels anyway, so reading those panels straight from the
//! quantized file costs a few percent of the product and no memory: no expanded copy of the
//! weights, no transposed copy, and the arithmetic is `f32` throughout. `W` and `Wᵀ` are two ways
//! to pack the same bytes.
//!
//! Layout (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008):
//! `A` is packed once into panels of `MR` rows and may be used in several products; `B` into
//! panels of `NR` columns by the thread that needs them; the kernel keeps an `MR×NR` tile of `C`
//! in registers. Sums of products share one pass over `C`, which is how a low-rank adapter is added
//! to its base weight for free.
//!
//! Results do not depend on the number of threads: every element of `C` is summed in one fixed order.

use rayon::prelude::*;

use super::quant::Rows;

/// Rows of `C` that the kernel holds in registers.
const MR: usize = 6;
/// Columns of `C` that the kernel holds in registers: two AVX vectors.
const NR: usize = 16;
/// Depth of a packed block; a multiple of every quantized block length (32 and 256).
const KC: usize = 256;
/// Rows of `A` kept in L2 while the panels of `B` pass over them.
const MC: usize = 32 * MR;
/// Most columns of `B` that one thread packs at a time (256 × 256 × 4 B = 256 KiB, half of L2).
const NC: usize = 256;

/// A dense matrix, or its transpose, anywhere in memory.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> View<'a> {
    /// `rows × cols`, row after row.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "view of {rows}×{cols}");
        View { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// Columns `from..from + cols` of a matrix whose rows are `stride` long.
    pub fn columns(data: &'a [f32], rows: usize, stride: usize, from: usize, cols: usize) -> Self {
        assert!(data.len() == rows * stride && from + cols <= stride, "columns of {rows}×{stride}");
        View { data: &data[from.min(data.len())..], rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// The transpose.
    pub fn t(self) -> Self {
        View {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    fn at(&self, row: usize, col: usize) -> f32 {
        self.data[row * self.row_stride + col * self.col_stride]
    }
}

/// The left side of a product, packed; reusable. `rows × depth`.
#[derive(Debug, Default)]
pub struct Left {
    /// `[depth block][row panel][depth in block][MR]`, rows padded with zeros to whole panels.
    data: Vec<f32>,
    rows: usize,
    depth: usize,
}

impl Left {
    /// Packs `a`, scaled by `scale`, reusing this buffer.
    pub fn pack(&mut self, a: View, scale: f32) {
        self.rows = a.rows;
        self.depth = a.cols;
        let panels = a.rows.div_ceil(MR);
        let len = panels * MR * a.cols;
        if self.data.len() < len {
            self.data.resize(len, 0.0);
        }
        self.data.truncate(len);
        let mut rest = self.data.as_mut_slice();
        for k0 in (0..a.cols).step_by(KC) {
            let kc = KC.min(a.cols - k0);
            let (block, tail) = rest.split_at_mut(panels * MR * kc);
            rest = tail;
            block.par_chunks_mut(MR * kc).with_min_len(8).enumerate().for_each(|(p, panel)| {
                for r in 0..MR {
                    let row = p * MR + r;
                    if row >= a.rows {
                        panel[r..].iter_mut().step_by(MR).for_each(|x| *x = 0.0);
                    } else if a.col_stride == 1 {
                        let src = &a.data[row * a.row_stride + k0..][..kc];
                        for (x, s) in panel[r..].iter_mut().step_by(MR).zip(src) {
                            *x = s * scale;
                        }
                    } else {
                        for (k, x) in panel[r..].iter_mut().step_by(MR).enumerate() {
                            *x = a.at(row, k0 + k) * scale;
                        }
                    }
                }
            });
        }
    }

    /// A fresh packing of `a`.
    pub fn of(a: View) -> Left {
        let mut left = Left::default();
        left.pack(a, 1.0);
        left
    }

    /// Panel `p` of the depth block that starts at `k0`.
    fn panel(&self, k0: usize, kc: usize, p: usize) -> &[f32] {
        let panels = self.rows.div_ceil(MR);
        &self.data[panels * MR * k0 + p * MR * kc..][..MR * kc]
    }
}

/// The right side of a product: `depth × cols`.
#[derive(Debug, Clone, Copy)]
pub enum Right<'a> {
    /// A dense matrix.
    Dense(View<'a>),
    /// `Wᵀ` of stored weights `W [n_out rows][n_in]`: turns inputs into outputs.
    Forward(Rows<'a>),
    /// `W` itself: turns gradients of outputs into gradients of inputs.
    Backward(Rows<'a>),
}

impl Right<'_> {
    fn depth(&self) -> usize {
        match self {
            Right::Dense(v) => v.rows,
            Right::Forward(w) => w.cols,
            Right::Backward(w) => w.rows,
        }
    }

    fn cols(&self) -> usize {
        match self {
            Right::Dense(v) => v.cols,
            Right::Forward(w) => w.rows,
            Right::Backward(w) => w.cols,
        }
    }

    /// Columns must be packed in multiples of this, so that quantized blocks are read once.
    fn granule(&self) -> usize {
        match self {
            Right::Backward(w) => w.ty.block_len().max(NR),
            _ => NR,
        }
    }

    /// Packs rows `k0..k0+kc`, columns `n0..n0+nc` into `[panel][kc][NR]`, zero-padded.
    fn pack(&self, k0: usize, kc: usize, n0: usize, nc: usize, out: &mut [f32], scratch: &mut Vec<f32>) {
        match self {
            Right::Dense(v) => {
                for (p, panel) in out.chunks_exact_mut(kc * NR).enumerate().take(nc.div_ceil(NR)) {
                    let from = n0 + p * NR;
                    let width = NR.min(n0 + nc - from);
                    for (k, dst) in panel.chunks_exact_mut(NR).enumerate() {
                        if v.col_stride == 1 {
                            let at = (k0 + k) * v.row_stride + from;
                            copy_padded(&v.data[at..at + width], dst);
                        } else {
                            for (j, d) in dst[..width].iter_mut().enumerate() {
                                *d = v.at(k0 + k, from + j);
                            }
                            dst[width..].fill(0.0);
                        }
                    }
                }
            }
            Right::Forward(w) => {
                scratch.resize(NR * kc, 0.0);
                for (p, panel) in out.chunks_exact_mut(kc * NR).enumerate().take(nc.div_ceil(NR)) {
                    let from = n0 + p * NR;
                    let width = NR.min(n0 + nc - from);
                    for (j, row) in scratch.chunks_exact_mut(kc).enumerate() {
                        if j < width {
                            w.read(from + j, k0, row);
                        } else {
                            row.fill(0.0);
                        }
                    }
                    transpose(scratch, kc, panel);
                }
            }
            Right::Backward(w) => {
                let panels = nc.div_ceil(NR);
                scratch.resize(nc, 0.0);
                for k in 0..kc {
                    w.read(k0 + k, n0, scratch);
                    for p in 0..panels {
                        let dst = &mut out[(p * kc + k) * NR..][..NR];
                        copy_padded(&scratch[p * NR..(p * NR + NR).min(nc)], dst);
                    }
                }
            }
        }
    }
}

/// A row of a panel; the whole ones, nearly all, as two vectors and not by a call.
#[inline]
fn copy_padded(src: &[f32], dst: &mut [f32]) {
    match (<&[f32; NR]>::try_from(src), <&mut [f32; NR]>::try_from(&mut *dst)) {
        (Ok(src), Ok(dst)) => *dst = *src,
        _ => {
            dst[..src.len()].copy_from_slice(src);
            dst[src.len()..].fill(0.0);
        }
    }
}

/// `[NR][kc]` → `[kc][NR]`, in tiles of 8×8 that the compiler keeps in registers.
fn transpose(src: &[f32], kc: usize, dst: &mut [f32]) {
    let whole = kc / 8 * 8;
    for k in (0..whole).step_by(8) {
        for j in (0..NR).step_by(8) {
            let mut tile = [[0.0f32; 8]; 8];
            for (i, row) in tile.iter_mut().enumerate() {
                row.copy_from_slice(&src[(j + i) * kc + k..][..8]);
            }
            for i in 0..8 {
                let out: [f32; 8] = std::array::from_fn(|r| tile[r][i]);
                dst[(k + i) * NR + j..][..8].copy_from_slice(&out);
            }
        }
    }
    for k in whole..kc {
        for j in 0..NR {
            dst[k * NR + j] = src[j * kc + k];
        }
    }
}

/// Where a product goes: `rows × cols`, whose rows lie `stride` apart.
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
struct Shared(*mut f32);

// SAFETY: `product` hands every task a block of rows and columns of its own, so no element is
// written by two threads, and nothing reads `C` until all have joined.
unsafe impl Sync for Shared {}

/// `out = Σ left·right`, or `out += …` where `accumulate`. Runs on the current rayon pool.
///
/// # Panics
/// If the shapes do not fit.
pub fn product(out: Out, terms: &[(&Left, Right)], accumulate: bool) {
    for (left, right) in terms {
        assert_eq!(
            (left.rows, left.depth, right.cols()),
            (out.rows, right.depth(), out.cols),
            "product shapes"
        );
    }
    if out.rows == 0 || out.cols == 0 {
        return;
    }
    let granule = terms.iter().map(|(_, r)| r.granule()).max().unwrap_or(NR);
    let threads = rayon::current_num_threads();
    let width = chunk_width(out.cols, granule, threads);
    let chunks = out.cols.div_ceil(width);
    // Too narrow to occupy every thread by columns (a projection to the rank): split the rows too.
    let height = out.rows.div_ceil(threads.div_ceil(chunks)).next_multiple_of(MC);
    let bands = out.rows.div_ceil(height);
    let c = Shared(out.data.as_mut_ptr());
    let (rows, cols, stride) = (out.rows, out.cols, out.stride);
    (0..chunks * bands).into_par_iter().with_max_len(1).for_each_init(
        || (vec![0.0f32; KC * width.next_multiple_of(NR)], Vec::new()),
        |(packed, scratch), task| {
            let c = &c;
            let n0 = task % chunks * width;
            let nc = width.min(cols - n0);
            let band = task / chunks * height..rows.min((task / chunks + 1) * height);
            let mut first = !accumulate;
            for (left, right) in terms {
                for k0 in (0..left.depth).step_by(KC) {
                    let kc = KC.min(left.depth - k0);
                    right.pack(k0, kc, n0, nc, packed, scratch);
                    for m0 in band.clone().step_by(MC) {
                        for (p, b) in packed.chunks_exact(kc * NR).enumerate().take(nc.div_ceil(NR)) {
                            let width = NR.min(nc - p * NR);
                            for m in (m0..band.end.min(m0 + MC)).step_by(MR) {
                                let a = left.panel(k0, kc, m / MR);
                                let height = MR.min(band.end - m);
                                // SAFETY: row m + height and column n0 + p*NR + width lie inside
                                // `C`, and this tile belongs to this task alone.
                                unsafe {
                                    let tile = c.0.add(m * stride + n0 + p * NR);
                                    tile_product(a, b, tile, stride, height, width, first);
                                }
                            }
                        }
                    }
                    first = false;
                }
            }
        },
    );
}

/// Chunks as equal as possible, each a multiple of `granule`, at most about `NC` wide, and their
/// number a multiple of the threads where the width allows it.
fn chunk_width(cols: usize, granule: usize, threads: usize) -> usize {
    let granule = granule.next_multiple_of(NR);
    let granules = cols.div_ceil(granule);
    let rounds = cols.div_ceil(NC * threads);
    granules.div_ceil(rounds * threads).max(1) * granule
}

/// One `MR×NR` tile of `C`, clipped to `height × width`.
///
/// # Safety
/// `c` must be valid for `height` rows of `width` values, `stride` apart.
unsafe fn tile_product(
    a: &[f32],
    b: &[f32],
    c: *mut f32,
    stride: usize,
    height: usize,
    width: usize,
    overwrite: bool,
) {
    debug_assert_eq!(a.len() / MR, b.len() / NR);
    if height == MR && width == NR {
        // SAFETY: the whole tile is valid.
        unsafe { kernel(a, b, c, stride, overwrite) };
        return;
    }
    let mut tile = [0.0f32; MR * NR];
    // SAFETY: `tile` is a whole tile.
    unsafe { kernel(a, b, tile.as_mut_ptr(), NR, true) };
    for i in 0..height {
        for j in 0..width {
            // SAFETY: i < height and j < width.
            let x = unsafe { &mut *c.add(i * stride + j) };
            *x = if overwrite { tile[i * NR + j] } else { *x + tile[i * NR + j] };
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn kernel(a: &[f32], b: &[f32], c: *mut f32, stride: usize, overwrite: bool) {
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features were just detected; the rest is the caller's promise.
        unsafe { kernel_avx2(a, b, c, stride, overwrite) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { kernel_portable(a, b, c, stride, overwrite) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
unsafe fn kernel(a: &[f32], b: &[f32], c: *mut f32, stride: usize, overwrite: bool) {
    // SAFETY: the caller's promise.
    unsafe { kernel_portable(a, b, c, stride, overwrite) }
}

/// 12 accumulators of 8 floats, two of `B`, one broadcast of `A`: 15 of the 16 AVX registers.
///
/// # Safety
/// AVX2 and FMA must be present; `c` must be valid for `MR` rows of `NR`, `stride` apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn kernel_avx2(a: &[f32], b: &[f32], c: *mut f32, stride: usize, overwrite: bool) {
    use std::arch::x86_64::*;
    let kc = b.len() / NR;
    let (mut pa, mut pb) = (a.as_ptr(), b.as_ptr());
    let mut acc = [[_mm256_setzero_ps(); 2]; MR];
    for _ in 0..kc {
        // SAFETY: `a` holds kc×MR values, `b` kc×NR; the pointers advance kc times.
        unsafe {
            let b0 = _mm256_loadu_ps(pb);
            let b1 = _mm256_loadu_ps(pb.add(8));
            for (i, row) in acc.iter_mut().enumerate() {
                let ai = _mm256_broadcast_ss(&*pa.add(i));
                row[0] = _mm256_fmadd_ps(ai, b0, row[0]);
                row[1] = _mm256_fmadd_ps(ai, b1, row[1]);
            }
            pa = pa.add(MR);
            pb = pb.add(NR);
        }
    }
    for (i, row) in acc.iter().enumerate() {
        // SAFETY: row i < MR of the tile, which the caller vouches for.
        unsafe {
            let dst = c.add(i * stride);
            if overwrite {
                _mm256_storeu_ps(dst, row[0]);
                _mm256_storeu_ps(dst.add(8), row[1]);
            } else {
                _mm256_storeu_ps(dst, _mm256_add_ps(_mm256_loadu_ps(dst), row[0]));
                _mm256_storeu_ps(dst.add(8), _mm256_add_ps(_mm256_loadu_ps(dst.add(8)), row[1]));
            }
        }
    }
}

/// The same in plain Rust, for other CPUs.
///
/// # Safety
/// `c` must be valid for `MR` rows of `NR`, `stride` apart.
unsafe fn kernel_portable(a: &[f32], b: &[f32], c: *mut f32, stride: usize, overwrite: bool) {
    let mut acc = [[0.0f32; NR]; MR];
    for (a, b) in a.chunks_exact(MR).zip(b.chunks_exact(NR)) {
        for (row, a) in acc.iter_mut().zip(a) {
            for (x, b) in row.iter_mut().zip(b) {
                *x += a * b;
            }
        }
    }
    for (i, row) in acc.iter().enumerate() {
        // SAFETY: row i < MR of the tile, which the caller vouches for.
        let dst = unsafe { std::slice::from_raw_parts_mut(c.add(i * stride), NR) };
        for (d, x) in dst.iter_mut().zip(row) {
            *d = if overwrite { *x } else { *d + x };
        }
    }
}

/// What all threads of the current rayon pool reach together in 10⁹ FLOPS when they do nothing but
/// the kernel's multiply-adds, on panels that stay in the first-level cache: the bound of any
/// product here.
pub fn fma_gflops() -> f64 {
    const DEPTH: usize = 128;
    const CALLS: usize = 200_000;
    let threads = rayon::current_num_threads();
    let begin = std::time::Instant::now();
    let sums = rayon::broadcast(|_| {
        let (a, b) = (vec![1e-3f32; MR * DEPTH], vec![1e-3f32; NR * DEPTH]);
        let mut tile = [0.0f32; MR * NR];
        // A call that the compiler cannot look into, or it would see that all compute the same.
        let kernel: unsafe fn(&[f32], &[f32], *mut f32, usize, bool) = std::hint::black_box(kernel);
        for _ in 0..CALLS {
            // SAFETY: `tile` is a whole tile.
            unsafe { kernel(&a, &b, tile.as_mut_ptr(), NR, false) };
        }
        tile[0]
    });
    let seconds = begin.elapsed().as_secs_f64();
    std::hint::black_box(sums);
    (2 * MR * NR * DEPTH * CALLS * threads) as f64 / seconds / 1e9
}

#[cfg(test)]
mod tests {
    use super::super::quant::QuantType;
    use super::*;

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

    /// f32 sums of up to 700 products of values below 0.5: error well under 700·2⁻²⁴·0.25·√700.
    const TOLERANCE: f32 = 2e-5;

    fn assert_close(got: &[f32], want: &[f32]) {
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!((g - w).abs() <= TOLERANCE * (1.0 + w.abs()), "element {i}: {g} != {w}");
        }
    }

    #[test]
    fn dense_products_of_any_shape_equal_the_naive_sum() {
        for (m, n, k) in
            [(1, 1, 1), (6, 16, 8), (7, 17, 5), (13, 300, 257), (200, 33, 700), (1, 530, 64), (65, 1, 31)]
        {
            let (a, b) = (random(m * k, 1), random(k * n, 2));
            let (a, b) = (View::new(&a, m, k), View::new(&b, k, n));
            let mut c = vec![9.0; m * n];
            product(Out::new(&mut c, m, n), &[(&Left::of(a), Right::Dense(b))], false);
            let want = naive(a, b);
            assert_close(&c, &want);
            product(Out::new(&mut c, m, n), &[(&Left::of(a), Right::Dense(b))], true);
            assert_close(&c, &want.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
        }
    }

    #[test]
    fn transposed_views_and_column_ranges_are_read_right() {
        let (m, n, k) = (11, 23, 19);
        let (a, b) = (random(k * m, 3), random(n * k, 4));
        let (at, bt) = (View::new(&a, k, m).t(), View::new(&b, n, k).t());
        let mut c = vec![0.0; m * n];
        product(Out::new(&mut c, m, n), &[(&Left::of(at), Right::Dense(bt))], false);
        assert_close(&c, &naive(at, bt));
        let part = View::columns(&b, n, k, 5, 7);
        assert_eq!(part.at(3, 2), b[3 * k + 7]);
    }

    #[test]
    fn a_sum_of_products_is_the_sum_of_the_products() {
        let (m, n) = (20, 50);
        let (a1, b1, a2, b2) = (random(m * 300, 5), random(300 * n, 6), random(m * 16, 7), random(16 * n, 8));
        let (v1, w1) = (View::new(&a1, m, 300), View::new(&b1, 300, n));
        let (v2, w2) = (View::new(&a2, m, 16), View::new(&b2, 16, n));
        let mut c = vec![0.0; m * n];
        let (l1, l2) = (Left::of(v1), Left::of(v2));
        product(Out::new(&mut c, m, n), &[(&l1, Right::Dense(w1)), (&l2, Right::Dense(w2))], false);
        let want: Vec<f32> = naive(v1, w1).iter().zip(naive(v2, w2)).map(|(x, y)| x + y).collect();
        assert_close(&c, &want);
    }

    #[test]
    fn stored_weights_multiply_as_their_dequantized_values_both_ways() {
        let (n_out, n_in, m) = (70, 288, 9);
        for ty in [QuantType::F32, QuantType::Q8_0, QuantType::F16, QuantType::BF16] {
            let bytes = crate::tensor::quantize_for_tests(ty, &random(n_out * n_in, 9), n_in);
            let w = Rows { ty, data: &bytes, rows: n_out, cols: n_in };
            let mut dense = vec![0.0; n_out * n_in];
            ty.dequantize(&bytes, &mut dense);
            let dense = View::new(&dense, n_out, n_in);

            let x = random(m * n_in, 10);
            let x = View::new(&x, m, n_in);
            let mut y = vec![0.0; m * n_out];
            product(Out::new(&mut y, m, n_out), &[(&Left::of(x), Right::Forward(w))], false);
            assert_close(&y, &naive(x, dense.t()));

            let dy = random(m * n_out, 11);
            let dy = View::new(&dy, m, n_out);
            let mut dx = vec![0.0; m * n_in];
            product(Out::new(&mut dx, m, n_in), &[(&Left::of(dy), Right::Backward(w))], false);
            assert_close(&dx, &naive(dy, dense));
        }
    }

    #[test]
    fn the_result_is_the_same_on_one_thread_and_on_three() {
        let (m, n, k) = (50, 700, 300);
        let (a, b) = (random(m * k, 12), random(k * n, 13));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut c = vec![0.0; m * n];
                let left = Left::of(View::new(&a, m, k));
                product(Out::new(&mut c, m, n), &[(&left, Right::Dense(View::new(&b, k, n)))], false);
                c
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn the_portable_kernel_agrees_with_the_fast_one() {
        let (a, b) = (random(MR * 77, 14), random(NR * 77, 15));
        let (mut fast, mut plain) = ([0.0; MR * NR], [0.0; MR * NR]);
        // SAFETY: both buffers are whole tiles.
        unsafe {
            kernel(&a, &b, fast.as_mut_ptr(), NR, true);
            kernel_portable(&a, &b, plain.as_mut_ptr(), NR, true);
        }
        assert_close(&fast, &plain);
    }
}
