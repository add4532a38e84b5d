//! The two sides of a matmul, packed as a kernel reads them.

use std::ops::Range;

use super::kernel::{ComputeDtype, Kernel, PackUnit};
use crate::gguf::Rows;
use crate::kernels::buffer;
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::Simd;
use crate::threads::{chunks_mut, for_each};

/// A dense matrix, or its transpose, anywhere in memory.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// From the start of a row, or of a column of a transpose, to that of the next.
    stride: usize,
    /// Whether columns, and not rows, are contiguous.
    transposed: bool,
}

impl<'a> View<'a> {
    /// `rows × cols`, row after row.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "view of {rows}×{cols}");
        View { data, rows, cols, stride: cols, transposed: false }
    }

    /// Columns `from..from + cols` of a matrix whose rows are `stride` long.
    #[cfg(test)]
    pub fn columns(data: &'a [f32], rows: usize, stride: usize, from: usize, cols: usize) -> Self {
        assert!(data.len() == rows * stride && from + cols <= stride, "columns of {rows}×{stride}");
        View { data: &data[from.min(data.len())..], rows, cols, stride, transposed: false }
    }

    /// The transpose.
    pub fn t(self) -> Self {
        View { rows: self.cols, cols: self.rows, transposed: !self.transposed, ..self }
    }

    /// Values `from..from + len` of row `i`, or of column `i` of a transpose.
    fn line(&self, i: usize, from: usize, len: usize) -> &'a [f32] {
        &self.data[i * self.stride + from..][..len]
    }

    #[cfg(test)]
    pub(super) fn at(&self, row: usize, col: usize) -> f32 {
        let (line, place) = if self.transposed { (col, row) } else { (row, col) };
        self.data[line * self.stride + place]
    }
}

/// The left side of a matmul, packed for a kernel; reusable. `rows × depth`.
#[derive(Debug)]
pub struct PackedLhs {
    pub(super) kernel: &'static Kernel,
    /// `[row panel][unit][height]`, rows padded with zeros to whole panels.
    data: Vec<PackUnit>,
    pub(super) rows: usize,
    pub(super) depth: usize,
    /// Rows of a panel.
    pub(super) height: usize,
}

impl Default for PackedLhs {
    fn default() -> Self {
        PackedLhs::new(Kernel::of(ComputeDtype::F32).expect("every processor has one"))
    }
}

impl PackedLhs {
    /// An empty one for `kernel`.
    pub fn new(kernel: &'static Kernel) -> PackedLhs {
        PackedLhs { kernel, data: Vec::new(), rows: 0, depth: 0, height: 2 }
    }

    /// The same buffer for another kernel.
    pub(super) fn for_kernel(self, kernel: &'static Kernel) -> PackedLhs {
        PackedLhs { kernel, ..self }
    }

    /// A fresh packing of `a`.
    #[cfg(test)]
    pub fn of(kernel: &'static Kernel, a: View) -> PackedLhs {
        let mut left = PackedLhs::new(kernel);
        left.pack(a, 1.0);
        left
    }

    /// Packs `a`, scaled by `scale`, reusing this buffer. Runs on the current team.
    pub fn pack(&mut self, a: View, scale: f32) {
        let panels = self.fit(a, scale);
        for_each(chunks_mut(&mut self.data, panels.len()), 2, |p, panel| panels.fill(p, panel));
    }

    /// The same on the calling thread alone.
    pub fn pack_on_one_thread(&mut self, a: View, scale: f32) {
        let panels = self.fit(a, scale);
        self.data.chunks_mut(panels.len()).enumerate().for_each(|(p, panel)| panels.fill(p, panel));
    }

    fn fit<'a>(&mut self, a: View<'a>, scale: f32) -> Panels<'a> {
        let panels = Panels { kernel: self.kernel, height: self.kernel.height_for(a.rows), a, scale };
        (self.rows, self.depth, self.height) = (a.rows, a.cols, panels.height);
        let len = a.rows.div_ceil(panels.height) * panels.len();
        buffer::resize(&mut self.data, len);
        panels
    }

    /// Panel `p` from depth `k0` on, `units` units.
    pub(super) fn panel(&self, p: usize, k0: usize, units: usize) -> &[PackUnit] {
        let values_per_unit = self.kernel.values_per_unit();
        let before = p * self.depth.div_ceil(values_per_unit) + k0 / values_per_unit;
        &self.data[before * self.height..][..self.height * units]
    }
}

/// How a left side falls into panels.
#[derive(Clone, Copy)]
struct Panels<'a> {
    kernel: &'static Kernel,
    height: usize,
    a: View<'a>,
    scale: f32,
}

impl Panels<'_> {
    /// Units of a panel; 1 where there is no depth, so that there is a length to go by.
    fn len(self) -> usize {
        (self.height * self.a.cols.div_ceil(self.kernel.values_per_unit())).max(1)
    }

    /// Fills panel `p`.
    fn fill(self, p: usize, panel: &mut [PackUnit]) {
        let Panels { kernel, height, a, scale } = self;
        let rows = height.min(a.rows - p * height);
        super::with_buffers(|buffers| {
            let of = Packer { kernel, scale, scratch: &mut buffers.lines };
            match a.transposed {
                false => {
                    of.pack_transposed(|i| a.line(p * height + i, 0, a.cols), rows, a.cols, height, panel)
                }
                true => of.pack_rows(|k| a.line(k, p * height, rows), a.cols, height, panel),
            }
        });
    }
}

/// The right side of a matmul: `depth × cols`.
#[derive(Debug, Clone, Copy)]
pub enum Rhs<'a> {
    /// A dense matrix.
    Dense(View<'a>),
    /// `Wᵀ` of stored weights `W [n_out rows][n_in]`: turns inputs into outputs.
    Forward(Rows<'a>),
    /// `W` itself: turns gradients of outputs into gradients of inputs.
    Backward(Rows<'a>),
}

impl Rhs<'_> {
    pub(super) fn depth(&self) -> usize {
        match self {
            Rhs::Dense(v) => v.rows,
            Rhs::Forward(w) => w.cols,
            Rhs::Backward(w) => w.rows,
        }
    }

    pub(super) fn cols(&self) -> usize {
        match self {
            Rhs::Dense(v) => v.cols,
            Rhs::Forward(w) => w.rows,
            Rhs::Backward(w) => w.cols,
        }
    }

    /// Depth and columns must be packed in multiples of these, so that quantized blocks are read
    /// once.
    pub(super) fn aligns(&self) -> (usize, usize) {
        match self {
            Rhs::Dense(_) => (1, 1),
            Rhs::Forward(w) => (w.ty.block_len(), 1),
            Rhs::Backward(w) => (1, w.ty.block_len()),
        }
    }

    /// The address of row `k0`, column `n0` and the stride, where the kernel can read them in place:
    /// dense `f32` rows.
    pub(super) fn in_place(&self, kernel: &Kernel, k0: usize, n0: usize) -> Option<(*const PackUnit, usize)> {
        match self {
            Rhs::Dense(v) if !v.transposed && kernel.compute_dtype == ComputeDtype::F32 => {
                Some((v.data[k0 * v.stride + n0..].as_ptr().cast(), v.stride))
            }
            _ => None,
        }
    }

    /// Packs rows `depth` of columns `columns` as `[panel][unit][width]`. All panels but
    /// the last are as wide as the kernel's tiles; that one may be a vector narrower, and is padded
    /// with zeros.
    pub(super) fn pack(
        &self,
        kernel: &'static Kernel,
        depth: Range<usize>,
        columns: Range<usize>,
        out: &mut [PackUnit],
        buffers: &mut Buffers,
    ) {
        let (k0, kc, n0, nc) = (depth.start, depth.len(), columns.start, columns.len());
        let units = kc.div_ceil(kernel.values_per_unit());
        let panels = (0..nc).step_by(kernel.width()).map(|from| {
            let width = panel_width(kernel, nc - from);
            (n0 + from, width, width.min(nc - from), from * units..(from + width) * units)
        });
        let Buffers { values, lines } = buffers;
        match self {
            Rhs::Dense(v) => {
                for (from, width, count, place) in panels {
                    let of = Packer { kernel, scale: 1.0, scratch: &mut *lines };
                    match v.transposed {
                        true => of.pack_transposed(
                            |i| v.line(from + i, k0, kc),
                            count,
                            kc,
                            width,
                            &mut out[place],
                        ),
                        false => of.pack_rows(|k| v.line(k0 + k, from, count), kc, width, &mut out[place]),
                    }
                }
            }
            Rhs::Forward(w) => {
                values.resize(kernel.width() * kc, 0.0);
                for (from, width, count, place) in panels {
                    for (i, row) in values.chunks_exact_mut(kc).take(count).enumerate() {
                        w.read(from + i, k0, row);
                    }
                    let of = Packer { kernel, scale: 1.0, scratch: &mut *lines };
                    of.pack_transposed(|i| &values[i * kc..][..kc], count, kc, width, &mut out[place]);
                }
            }
            Rhs::Backward(w) => {
                // A unit of depth at a time goes to all panels while it is in the first-level cache.
                let values_per_unit = kernel.values_per_unit();
                values.resize(values_per_unit * nc, 0.0);
                for unit in 0..units {
                    let depth = values_per_unit.min(kc - unit * values_per_unit);
                    for (i, row) in values.chunks_exact_mut(nc).take(depth).enumerate() {
                        w.read(k0 + unit * values_per_unit + i, n0, row);
                    }
                    for (from, width, count, place) in panels.clone() {
                        let part = |i: usize| &values[i * nc + from - n0..][..count];
                        let row = &mut out[place][unit * width..][..width];
                        pack_row(kernel.compute_dtype, 1.0, part, depth, row);
                    }
                }
            }
        }
    }
}

/// Rows `from..from + count` of `weight` as `[pair][width]`, two `bf16` in a unit.
pub fn pack_pairs(weight: Rows, from: usize, count: usize, width: usize, panel: &mut [PackUnit]) {
    let pairs = weight.cols / 2;
    let mut values = vec![0.0; weight.cols];
    let mut lines = vec![0; count * pairs];
    for (i, line) in lines.chunks_exact_mut(pairs).enumerate() {
        weight.read(from + i, 0, &mut values);
        for (unit, [low, high]) in line.iter_mut().zip(values.as_chunks::<2>().0) {
            *unit = pair(*low, *high);
        }
    }
    transpose(|i| &lines[i * pairs..][..pairs], count, pairs, width, panel);
}

/// The width of a panel that has `columns` columns to hold.
pub fn panel_width(kernel: &Kernel, columns: usize) -> usize {
    if columns > kernel.vector { kernel.width() } else { kernel.vector }
}

/// What a thread packs into, kept from one matmul to the next.
#[derive(Debug, Default)]
pub struct Buffers {
    values: Vec<f32>,
    lines: Vec<PackUnit>,
}

/// Packs lines of values as `[unit][width]`.
struct Packer<'s> {
    kernel: &'static Kernel,
    scale: f32,
    scratch: &'s mut Vec<PackUnit>,
}

impl Packer<'_> {
    /// Packs `count` lines that run along the depth: `line(i)` becomes column `i`.
    fn pack_transposed<'v>(
        self,
        line: impl Fn(usize) -> &'v [f32],
        count: usize,
        depth: usize,
        width: usize,
        panel: &mut [PackUnit],
    ) {
        let units = depth.div_ceil(self.kernel.values_per_unit());
        if self.kernel.compute_dtype == ComputeDtype::F32 && self.scale == 1.0 {
            return transpose(|i| bits(line(i)), count, units, width, panel);
        }
        self.scratch.resize(count * units, 0);
        for (i, row) in self.scratch.chunks_exact_mut(units).enumerate() {
            match self.kernel.compute_dtype {
                ComputeDtype::F32 => {
                    row.iter_mut().zip(line(i)).for_each(|(r, x)| *r = (x * self.scale).to_bits());
                }
                ComputeDtype::Bf16 => {
                    let (pairs, odd) = line(i).as_chunks::<2>();
                    for (r, [low, high]) in row.iter_mut().zip(pairs) {
                        *r = pair(low * self.scale, high * self.scale);
                    }
                    if let [last] = odd {
                        row[units - 1] = pair(last * self.scale, 0.0);
                    }
                }
            }
        }
        let scratch = &*self.scratch;
        transpose(|i| &scratch[i * units..][..units], count, units, width, panel);
    }

    /// Packs `depth` lines that run across: `line(k)` becomes row `k`.
    fn pack_rows<'v>(
        self,
        line: impl Fn(usize) -> &'v [f32],
        depth: usize,
        width: usize,
        panel: &mut [PackUnit],
    ) {
        let values_per_unit = self.kernel.values_per_unit();
        for (unit, row) in panel.chunks_exact_mut(width).enumerate() {
            let first = unit * values_per_unit;
            let line = |i| line(first + i);
            pack_row(self.kernel.compute_dtype, self.scale, line, values_per_unit.min(depth - first), row);
        }
    }
}

/// One or two lines, `depth` of them, as one row of units, padded with zeros.
#[inline]
fn pack_row<'v>(
    compute_dtype: ComputeDtype,
    scale: f32,
    line: impl Fn(usize) -> &'v [f32],
    depth: usize,
    row: &mut [PackUnit],
) {
    let low = line(0);
    match compute_dtype {
        ComputeDtype::F32 if scale == 1.0 => return copy_padded(bits(low), row),
        ComputeDtype::F32 => row.iter_mut().zip(low).for_each(|(r, x)| *r = (x * scale).to_bits()),
        ComputeDtype::Bf16 if depth == 2 => {
            for ((r, low), high) in row.iter_mut().zip(low).zip(line(1)) {
                *r = pair(low * scale, high * scale);
            }
        }
        ComputeDtype::Bf16 => row.iter_mut().zip(low).for_each(|(r, low)| *r = pair(low * scale, 0.0)),
    }
    row[low.len()..].fill(0);
}

/// Two `bf16` in a unit, each rounded to the nearest, ties to even.
#[inline(always)]
fn pair(low: f32, high: f32) -> PackUnit {
    let round = |x: f32| {
        let bits = x.to_bits();
        bits.wrapping_add(0x7fff + ((bits >> 16) & 1))
    };
    (round(low) >> 16) | (round(high) & 0xffff_0000)
}

/// The same values as units.
fn bits(values: &[f32]) -> &[PackUnit] {
    // SAFETY: f32 and u32 have the same size and alignment, and every bit pattern is a u32.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

/// A row of a panel. Whole ones, which nearly all are, are copied as vectors, without a call of memcpy.
#[inline]
fn copy_padded(src: &[PackUnit], dst: &mut [PackUnit]) {
    fn whole<const N: usize>(src: &[PackUnit], dst: &mut [PackUnit]) -> Option<()> {
        let (src, dst): (&[PackUnit; N], &mut [PackUnit; N]) = (src.try_into().ok()?, dst.try_into().ok()?);
        *dst = *src;
        Some(())
    }
    if whole::<32>(src, dst).or_else(|| whole::<16>(src, dst)).or_else(|| whole::<8>(src, dst)).is_none() {
        dst[..src.len()].copy_from_slice(src);
        dst[src.len()..].fill(0);
    }
}

/// Lines `0..count` of `units` values each become columns of `[units][width]`, the rest of which is
/// zero; in squares of 8 that stay in registers.
fn transpose<'v>(
    line: impl Fn(usize) -> &'v [PackUnit],
    count: usize,
    units: usize,
    width: usize,
    panel: &mut [PackUnit],
) {
    if count < width {
        panel.fill(0);
    }
    // Squares begin at every eighth line; the last one begins where it ends with the last line.
    let mut from = 0;
    while from < count {
        let first = if count < SQUARE { from } else { from.min(count - SQUARE) };
        let here: [&[PackUnit]; SQUARE] = std::array::from_fn(|i| &line((first + i).min(count - 1))[..units]);
        let wide = SQUARE.min(count - first);
        let whole = if wide == SQUARE { units / SQUARE * SQUARE } else { 0 };
        for k in (0..whole).step_by(SQUARE) {
            let rows = &mut panel[k * width + first..][..(SQUARE - 1) * width + SQUARE];
            transpose_square(&here, k, rows, width);
        }
        for k in whole..units {
            for (i, line) in here.iter().enumerate().take(wide) {
                panel[k * width + first + i] = line[k];
            }
        }
        from += SQUARE;
    }
}

const SQUARE: usize = 8;

/// Values `k..k + 8` of eight lines become eight rows, `stride` apart.
#[inline]
fn transpose_square(lines: &[&[PackUnit]; SQUARE], k: usize, rows: &mut [PackUnit], stride: usize) {
    #[cfg(target_arch = "x86_64")]
    if Simd::of_this_processor() >= Simd::Avx2 {
        assert!(rows.len() == (SQUARE - 1) * stride + SQUARE && lines.iter().all(|l| l.len() >= k + SQUARE));
        let lines = lines.map(|line| line[k..].as_ptr().cast());
        // SAFETY: AVX2 includes AVX; every line has eight values from k on, and the rows are
        // there, as was asserted.
        return unsafe { transpose_square_avx(&lines, rows.as_mut_ptr().cast(), stride) };
    }
    for (i, row) in rows.chunks_mut(stride).enumerate() {
        for (x, line) in row.iter_mut().zip(lines) {
            *x = line[k + i];
        }
    }
}

/// In AVX instructions, because the compiler makes scalar moves of the plain loop, which cost a tenth
/// of a training step.
///
/// # Safety
/// AVX must be there; each line must have eight values, and there must be eight rows of eight,
/// `stride` apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn transpose_square_avx(lines: &[*const f32; SQUARE], rows: *mut f32, stride: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise.
    unsafe {
        for half in 0..2 {
            // Values 4·half.. of line i, and beside them those of line i + 4.
            let [a, b, c, d]: [__m256; 4] = std::array::from_fn(|i| {
                let low = _mm_loadu_ps(lines[i].add(4 * half));
                let high = _mm_loadu_ps(lines[i + 4].add(4 * half));
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
            });
            let (ab0, ab1) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd0, cd1) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let columns = [
                _mm256_shuffle_ps::<0x44>(ab0, cd0),
                _mm256_shuffle_ps::<0xee>(ab0, cd0),
                _mm256_shuffle_ps::<0x44>(ab1, cd1),
                _mm256_shuffle_ps::<0xee>(ab1, cd1),
            ];
            for (i, column) in columns.into_iter().enumerate() {
                _mm256_storeu_ps(rows.add((4 * half + i) * stride), column);
            }
        }
    }
}
