//! Weights as 8-bit integers, for processors that multiply four of them and add them up in one
//! instruction (AVX-512 VNNI).
//!
//! A block of 32 weights is `step · u + min` with integers of 0 to 255. Weights that were quantized so, to 4, 5
//! or 8 bits, stay what they are; those of other types are off by half a step at most. A block of 32 values
//! of a row is `scale · v` with integers of -127 to 127, as in llama.cpp's own products. The products of a
//! block are summed in integers, without rounding, and the blocks in `f32`, in one order for every number
//! of rows and threads.

use std::arch::x86_64::*;
use std::iter::StepBy;
use std::ops::Range;

use super::super::OutputPtr;
use super::super::kernel::tile_height;
use crate::gguf::{QuantType, Rows};
use crate::kernels::buffer;
use crate::threads::{chunks, chunks_mut, current_threads, for_each};

/// Values with one scale.
const BLOCK: usize = 32;
/// Units of a block: four integers that one instruction multiplies.
const QUADS: usize = BLOCK / 4;
/// Columns of a tile: the lanes of a vector.
const WIDTH: usize = 16;
/// Most rows of a tile. Each has two accumulators, and a vector of weights serves all.
const HEIGHT: usize = 14;
/// The largest integer of a row.
const ROW_MAX: f32 = 127.0;
/// The largest integer of a weight.
const WEIGHT_MAX: f32 = 255.0;
/// A block of smaller values is all zero: its scale would be no normal number.
const SMALLEST: f32 = 1e-30;
/// Integers may be off by so much: `f32` has 24 bits.
const EXACT: f32 = 1e-3;

/// A vector of 16 units, one for each column.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C, align(64))]
struct WeightLine([u32; WIDTH]);

/// Lines of a block: its units, the steps, the minima.
const LINES: usize = QUADS + 2;

/// A weight matrix, packed.
#[derive(Debug)]
pub struct PrepackedInt8 {
    /// `[panel of 16 outputs][block of 32 inputs][LINES]`
    lines: Vec<WeightLine>,
    n_in: usize,
    n_out: usize,
}

impl PrepackedInt8 {
    /// Whether this processor has the instructions.
    pub fn is_supported() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
    }

    /// Whether rows of `n_in` weights are whole blocks and have no more than 8 bits, and this processor has the
    /// instructions.
    pub fn can_pack(ty: QuantType, n_in: usize) -> bool {
        n_in > 0 && n_in.is_multiple_of(BLOCK) && !ty.is_float() && PrepackedInt8::is_supported()
    }

    /// Packs `weight`, on the current team.
    ///
    /// # Panics
    /// If [`PrepackedInt8::can_pack`] says no.
    pub fn new(weight: Rows) -> PrepackedInt8 {
        assert!(
            PrepackedInt8::can_pack(weight.ty, weight.cols),
            "{} rows of {}",
            weight.ty.name(),
            weight.cols
        );
        let (n_in, n_out) = (weight.cols, weight.rows);
        let panel_lines = n_in / BLOCK * LINES;
        let mut lines = Vec::new();
        buffer::grow(&mut lines, n_out.div_ceil(WIDTH) * panel_lines);
        for_each(chunks_mut(&mut lines, panel_lines), 1, |panel, lines| {
            let from = panel * WIDTH;
            // SAFETY: `can_pack` found the instructions.
            unsafe { pack(weight, from, WIDTH.min(n_out - from), lines) };
        });
        PrepackedInt8 { lines, n_in, n_out }
    }

    /// Bytes of a packed matrix.
    pub fn bytes(n_in: usize, n_out: usize) -> u64 {
        (n_out.div_ceil(WIDTH) * (n_in / BLOCK) * LINES * size_of::<WeightLine>()) as u64
    }

    /// Bytes of this one.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    /// `y[n, n_out] = x[n, n_in] · Wᵀ`, on the current team. `rows` is a buffer.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn matmul(&self, x: &[f32], n: usize, y: &mut [f32], rows: &mut QuantizedRows) {
        assert!(x.len() == n * self.n_in && y.len() == n * self.n_out, "matmul shapes");
        rows.quantize(x, n, self.n_in);
        let rows = &*rows;
        let panel_lines = self.n_in / BLOCK * LINES;
        let panels = self.n_out.div_ceil(WIDTH);
        // Few and large tasks: a task of a small matrix is over in microseconds.
        let each = panels.div_ceil(current_threads()).min(64);
        let y = OutputPtr(y.as_mut_ptr());
        for_each(chunks(&self.lines, each * panel_lines), 1, |task, lines| {
            let y = &y;
            for (panel, lines) in lines.chunks_exact(panel_lines).enumerate() {
                let from = (task * each + panel) * WIDTH;
                let columns = WIDTH.min(self.n_out - from);
                for (p, m) in (0..n).step_by(rows.height).enumerate() {
                    let mut tile = [[0.0; WIDTH]; HEIGHT];
                    multiply(rows.height, (p, n.div_ceil(rows.height)), rows.panel(p), lines, &mut tile);
                    for (i, row) in tile.iter().take(rows.height.min(n - m)).enumerate() {
                        // SAFETY: row m + i and columns from.. lie inside `y`, and no other task writes
                        // these columns.
                        unsafe {
                            let to = y.0.add((m + i) * self.n_out + from);
                            std::ptr::copy_nonoverlapping(row.as_ptr(), to, columns);
                        }
                    }
                }
            }
        });
    }
}

/// Packs rows `from..from + count` of `weight` into a panel of zeros. Other columns stay zero: their steps and
/// minima are.
///
/// # Safety
/// The processor must have AVX-512F, with whose instructions the compiler rounds.
#[target_feature(enable = "avx512f")]
unsafe fn pack(weight: Rows, from: usize, count: usize, panel: &mut [WeightLine]) {
    let mut values = vec![0.0; weight.cols];
    for column in 0..count {
        weight.read(from + column, 0, &mut values);
        for (block, lines) in values.as_chunks().0.iter().zip(panel.chunks_exact_mut(LINES)) {
            let WeightBlock { integers, step, min } = WeightBlock::of(block, weight.ty);
            for (line, quad) in lines.iter_mut().zip(integers.as_chunks().0) {
                line.0[column] = u32::from_le_bytes(*quad);
            }
            lines[QUADS].0[column] = step.to_bits();
            lines[QUADS + 1].0[column] = min.to_bits();
        }
    }
}

/// A block of weights: `step · integer + min`.
struct WeightBlock {
    integers: [u8; BLOCK],
    step: f32,
    min: f32,
}

impl WeightBlock {
    /// The block of weights that were quantized to `ty`. One that holds no number makes all its products NaN, as it
    /// should.
    #[inline(always)]
    fn of(values: &[f32; BLOCK], ty: QuantType) -> WeightBlock {
        let min = values.iter().copied().fold(f32::MAX, f32::min);
        let max = values.iter().copied().fold(f32::MIN, f32::max);
        let range = max - min;
        if !range.is_finite() || values.iter().any(|x| x.is_nan()) {
            return WeightBlock { integers: [0; BLOCK], step: f32::NAN, min: f32::NAN };
        }
        if range < SMALLEST {
            return WeightBlock { integers: [0; BLOCK], step: 0.0, min };
        }
        let is_exact = |(step, min): &(f32, f32)| {
            let mut scaled = values.iter().map(|x| (x - min) / step);
            scaled.all(|x| (x - x.round_ties_even()).abs() < EXACT)
        };
        // What llama.cpp quantizes to: integers of -127 to 127, one of which has the largest value.
        let symmetric = min.abs().max(max.abs()) / ROW_MAX;
        let of_8_bits = (ty == QuantType::Q8_0).then_some((symmetric, -128.0 * symmetric));
        // The range is a whole number of the steps that the weights were quantized to, mostly all of them.
        let steps = (1..=ty.largest_of_32().unwrap_or(0)).rev().map(|n| (range / n as f32, min));
        let exact = of_8_bits.into_iter().chain(steps).find(is_exact);
        // Otherwise zero stays zero.
        let (step, min) = exact.unwrap_or_else(|| {
            let step = range / (WEIGHT_MAX - 1.0);
            (step, if min < 0.0 && max > 0.0 { step * (min / step).round_ties_even() } else { min })
        });
        WeightBlock { integers: values.map(|x| ((x - min) / step).round_ties_even() as u8), step, min }
    }
}

/// The scale of a block of a row whose largest absolute value has these bits, and what to multiply its values
/// by. The bits of an infinity or NaN are larger than any number's; such a block makes all its products NaN.
fn scale_of(bits: u32) -> (f32, f32) {
    match f32::from_bits(bits) {
        x if !x.is_finite() => (f32::NAN, 0.0),
        x if x < SMALLEST => (0.0, 0.0),
        x => (x / ROW_MAX, ROW_MAX / x),
    }
}

/// Rows as 8-bit integers; reusable.
#[derive(Debug, Default)]
pub struct QuantizedRows {
    /// `[panel of rows][block][QUADS + 2][height]`: the integers, the scales, the sums of the values.
    units: Vec<u32>,
    /// Of a panel.
    len: usize,
    /// Rows of a panel.
    height: usize,
}

/// Units of a block of one row.
const ROW_UNITS: usize = QUADS + 2;
/// Fewer panels take longer to hand to other threads than to quantize.
const MIN_PANELS: usize = 4;

impl QuantizedRows {
    /// Takes `n` rows of `n_in` values.
    fn quantize(&mut self, x: &[f32], n: usize, n_in: usize) {
        let height = tile_height(n, HEIGHT);
        let panels = n.div_ceil(height);
        (self.height, self.len) = (height, n_in / BLOCK * ROW_UNITS * height);
        buffer::resize(&mut self.units, panels * self.len);
        let panel = |panel: usize, units: &mut [u32]| {
            for i in 0..height {
                let Some(row) = x.chunks_exact(n_in).nth(panel * height + i) else {
                    units.iter_mut().skip(i).step_by(height).for_each(|unit| *unit = 0);
                    continue;
                };
                let of_blocks = units.chunks_exact_mut(ROW_UNITS * height);
                for (block, units) in row.as_chunks().0.iter().zip(of_blocks) {
                    let units = units.iter_mut().skip(i).step_by(height);
                    // SAFETY: weights are only packed where the processor has AVX-512.
                    let quantized = unsafe { quantized(block) };
                    units.zip(quantized).for_each(|(unit, value)| *unit = value);
                }
            }
        };
        if panels < MIN_PANELS {
            self.units.chunks_exact_mut(self.len).enumerate().for_each(|(p, units)| panel(p, units));
        } else {
            for_each(chunks_mut(&mut self.units, self.len), 1, panel);
        }
    }

    fn panel(&self, p: usize) -> &[u32] {
        &self.units[p * self.len..][..self.len]
    }
}

/// The units of a block: its integers, the scale, the sum of the values as rounded.
///
/// # Safety
/// The processor must have AVX-512F and AVX-512BW.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn quantized(block: &[f32; BLOCK]) -> [u32; ROW_UNITS] {
    let mut units = [0; ROW_UNITS];
    // SAFETY: both halves of the block have a vector of values; the integers take half a vector of units.
    unsafe {
        let halves: [__m512; 2] = std::array::from_fn(|i| _mm512_loadu_ps(block.as_ptr().add(16 * i)));
        let bits = halves.map(|half| _mm512_castps_si512(_mm512_abs_ps(half)));
        let (scale, inverse) = scale_of(_mm512_reduce_max_epi32(_mm512_max_epi32(bits[0], bits[1])) as u32);
        let integers = halves.map(|half| _mm512_cvtps_epi32(_mm512_mul_ps(half, _mm512_set1_ps(inverse))));
        let sum = _mm512_reduce_add_epi32(_mm512_add_epi32(integers[0], integers[1]));
        for (i, integers) in integers.into_iter().enumerate() {
            _mm_storeu_si128(units.as_mut_ptr().add(4 * i).cast(), _mm512_cvtsepi32_epi8(integers));
        }
        units[QUADS] = scale.to_bits();
        units[QUADS + 1] = (scale * sum as f32).to_bits();
    }
    units
}

/// Multiplies `height` rows, the `pass`th of some panels of rows, by a panel of weights.
fn multiply(
    height: usize,
    (pass, passes): (usize, usize),
    rows: &[u32],
    lines: &[WeightLine],
    tile: &mut [[f32; WIDTH]; HEIGHT],
) {
    // While this panel of weights is multiplied, the next comes from memory to the second-level cache: with each
    // panel of rows a part of every block, so that memory never waits.
    let next = lines.len();
    let fetched = (next + pass..next + LINES).step_by(passes);
    assert!(rows.len() / (ROW_UNITS * height) == lines.len() / LINES, "blocks of rows and weights");
    macro_rules! by_height {
        ($($height:literal),*) => {
            // SAFETY: weights are only packed where the processor has the instructions, and the blocks are
            // as many on both sides.
            unsafe {
                match height {
                    $($height => tile_of::<$height>(rows, lines, fetched, tile),)*
                    _ => unreachable!("a tile of {height} rows"),
                }
            }
        };
    }
    by_height!(2, 4, 6, 8, 10, 12, 14)
}

/// # Safety
/// The processor must have AVX-512F and AVX-512 VNNI; `rows` and `lines` must have as many blocks.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile_of<const H: usize>(
    rows: &[u32],
    lines: &[WeightLine],
    fetched: StepBy<Range<usize>>,
    tile: &mut [[f32; WIDTH]; HEIGHT],
) {
    let mut sums = [_mm512_setzero_ps(); H];
    let mut a = rows.as_ptr();
    for block in lines.chunks_exact(LINES) {
        // SAFETY: `rows` has ROW_UNITS·H units for each block, and `a` advances once a block; a prefetch
        // reads nothing.
        unsafe {
            for line in fetched.clone() {
                _mm_prefetch::<_MM_HINT_T1>(block.as_ptr().wrapping_add(line).cast());
            }
            let mut products = [_mm512_setzero_si512(); H];
            for (quad, line) in block.iter().take(QUADS).enumerate() {
                let b = std::ptr::from_ref(line);
                let weights = _mm512_load_si512(b.cast());
                for (i, products) in products.iter_mut().enumerate() {
                    let values = _mm512_set1_epi32(*a.add(quad * H + i) as i32);
                    *products = _mm512_dpbusd_epi32(*products, weights, values);
                }
            }
            let [steps, minima] = std::array::from_fn(|i| {
                _mm512_castsi512_ps(_mm512_load_si512(std::ptr::from_ref(&block[QUADS + i]).cast()))
            });
            for (i, (sum, products)) in sums.iter_mut().zip(products).enumerate() {
                let [scale, values] =
                    std::array::from_fn(|k| _mm512_set1_ps(f32::from_bits(*a.add((QUADS + k) * H + i))));
                *sum = _mm512_fmadd_ps(minima, values, *sum);
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), _mm512_mul_ps(steps, scale), *sum);
            }
            a = a.add(ROW_UNITS * H);
        }
    }
    for (row, sum) in tile.iter_mut().zip(sums) {
        // SAFETY: a row of the tile is a vector.
        unsafe { _mm512_storeu_ps(row.as_mut_ptr(), sum) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{QuantType, quantize_for_tests};
    use crate::testing::random;
    use crate::threads::{Team, Wait};

    fn weights(ty: QuantType, n_in: usize, n_out: usize) -> (Vec<u8>, Vec<f32>) {
        let bytes = quantize_for_tests(ty, &random(n_in * n_out, 1), n_in);
        let mut dense = vec![0.0; n_in * n_out];
        ty.dequantize(&bytes, &mut dense);
        (bytes, dense)
    }

    /// The values of a row, rounded to integers with a scale for each block, in plain arithmetic.
    fn rounded(row: &[f32]) -> impl Iterator<Item = f64> {
        row.chunks(BLOCK).flat_map(|block| {
            let largest = block.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            block.iter().map(move |x| {
                f64::from((x * (127.0 / largest)).round_ties_even()) * f64::from(largest) / 127.0
            })
        })
    }

    #[test]
    fn a_product_is_that_of_the_weights_of_the_file_and_rounded_rows() {
        if !PrepackedInt8::is_supported() {
            return;
        }
        let types = (0..64).filter_map(QuantType::from_id);
        let types: Vec<_> = types.filter(|ty| ty.largest_of_32().is_some()).collect();
        assert_eq!(types.len(), 10);
        for ty in types {
            for (n, n_in, n_out) in [(1, 256, 5), (3, 512, 70), (14, 256, 96), (15, 256, 16), (33, 256, 33)] {
                let (bytes, dense) = weights(ty, n_in, n_out);
                let weight = Rows { ty, data: &bytes, rows: n_out, cols: n_in };
                let x = random(n * n_in, 2);
                let mut y = vec![f32::NAN; n * n_out];
                PrepackedInt8::new(weight).matmul(&x, n, &mut y, &mut QuantizedRows::default());
                for (i, x) in x.chunks(n_in).enumerate() {
                    for (j, w) in dense.chunks(n_in).enumerate() {
                        let want: f64 = rounded(x).zip(w).map(|(x, w)| x * f64::from(*w)).sum();
                        // f32 sums of blocks; integers of weights of the file's own steps.
                        let error = (f64::from(y[i * n_out + j]) - want).abs();
                        assert!(error < 3e-5, "{} {n} {n_in} {n_out}: {i} {j} {error}", ty.name());
                    }
                }
            }
        }
    }

    #[test]
    fn weights_of_other_types_are_off_by_half_a_step_at_most() {
        let q6_k = QuantType::from_id(14).unwrap();
        let mut values: [f32; BLOCK] = random(BLOCK, 3).try_into().unwrap();
        values[5] = 0.0;
        let errors = |values: &[f32; BLOCK], ty| {
            let WeightBlock { integers, step, min } = WeightBlock::of(values, ty);
            let of = |(x, u): (&f32, u8)| (step * f32::from(u) + min - x).abs() / step;
            values.iter().zip(integers).map(of).collect::<Vec<f32>>()
        };
        let of_others = errors(&values, q6_k);
        assert!(of_others.iter().all(|error| *error < 0.501) && of_others[5] < 1e-4, "{of_others:?}");
        // Other quantizers use other ranges than llama.cpp's.
        for largest in [-128, 100, 3] {
            let integers: [i32; BLOCK] = std::array::from_fn(|i| if i == 9 { largest } else { i as i32 % 3 });
            let of_8_bits = errors(&integers.map(|q| q as f32 * 0.013), QuantType::Q8_0);
            assert!(of_8_bits.iter().all(|error| *error < 1e-3), "{largest}: {of_8_bits:?}");
        }
        let block = WeightBlock::of(&[0.25; BLOCK], QuantType::Q8_0);
        assert_eq!((block.step, block.min), (0.0, 0.25));
        values[3] = f32::NAN;
        assert!(WeightBlock::of(&values, q6_k).step.is_nan());
    }

    #[test]
    fn a_row_has_the_same_product_whatever_rows_and_threads_there_are_beside_it() {
        if !PrepackedInt8::is_supported() {
            return;
        }
        let (n_in, n_out, n) = (320, 200, 31);
        let (bytes, _) = weights(QuantType::Q8_0, n_in, n_out);
        let weight = Rows { ty: QuantType::Q8_0, data: &bytes, rows: n_out, cols: n_in };
        let x = random(n * n_in, 2);
        let product = |n: usize, threads: u32| {
            Team::new(Some(threads), "test", Wait::Sleep).unwrap().enter(|| {
                let mut y = vec![f32::NAN; n * n_out];
                PrepackedInt8::new(weight).matmul(&x[..n * n_in], n, &mut y, &mut QuantizedRows::default());
                y
            })
        };
        let all = product(n, 1);
        for (rows, threads) in [(1, 1), (2, 2), (13, 1), (17, 3), (31, 2)] {
            assert_eq!(product(rows, threads), all[..rows * n_out], "{rows} rows, {threads} threads");
        }
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_no_number_stays_none() {
        if !PrepackedInt8::is_supported() {
            return;
        }
        let (n_in, n_out) = (64, 16);
        let (bytes, _) = weights(QuantType::Q8_0, n_in, n_out);
        let weight = PrepackedInt8::new(Rows { ty: QuantType::Q8_0, data: &bytes, rows: n_out, cols: n_in });
        let mut rows = vec![0.0; 5 * n_in];
        for (at, x) in [(1, 1e-40), (n_in + 40, f32::NAN), (2 * n_in, f32::INFINITY), (3 * n_in, 3e38)] {
            rows[at] = x;
        }
        let mut y = vec![1.0; 5 * n_out];
        weight.matmul(&rows, 5, &mut y, &mut QuantizedRows::default());
        let row = |i: usize| &y[i * n_out..][..n_out];
        assert!(row(0).iter().chain(row(4)).all(|y| *y == 0.0), "{y:?}");
        assert!(row(1).iter().chain(row(2)).all(|y| y.is_nan()), "{y:?}");
        assert!(row(3).iter().all(|y| y.is_finite() && *y != 0.0), "{y:?}");
    }

    /// `cargo test --release --lib how_fast -- --ignored --nocapture`
    #[test]
    #[ignore = "measures"]
    fn how_fast_products_of_a_few_rows_are() {
        assert!(PrepackedInt8::is_supported(), "this processor lacks AVX-512 VNNI");
        for (n_in, n_out) in [(576, 1536), (896, 4864), (4864, 896), (1536, 65536)] {
            let (bytes, _) = weights(QuantType::Q8_0, n_in, n_out);
            let weight = Rows { ty: QuantType::Q8_0, data: &bytes, rows: n_out, cols: n_in };
            let (int8, bf16) = (PrepackedInt8::new(weight), super::super::bf16::PrepackedBf16::new(weight));
            for n in [2, 4, 8, 14, 16, 24, 28, 64] {
                let (x, mut y) = (random(n * n_in, 2), vec![0.0; n * n_out]);
                let mut gflops = |work: &mut dyn FnMut(&mut [f32])| {
                    let times = (0..5).map(|_| {
                        let begin = std::time::Instant::now();
                        work(&mut y);
                        begin.elapsed().as_secs_f64()
                    });
                    2.0 * (n * n_in * n_out) as f64 / times.fold(f64::MAX, f64::min) / 1e9
                };
                let mut rows = QuantizedRows::default();
                let mut lhs = super::super::super::PackedLhs::default();
                let a = gflops(&mut |y| int8.matmul(&x, n, y, &mut rows));
                let b = gflops(&mut |y| bf16.matmul(&x, n, y, &mut lhs));
                let mut times = Vec::new();
                for _ in 0..5 {
                    let begin = std::time::Instant::now();
                    rows.quantize(&x, n, n_in);
                    times.push(begin.elapsed().as_secs_f64() * 1e6);
                }
                times.sort_by(f64::total_cmp);
                println!(
                    "{n_in} x {n_out}, {n} rows: int8 {a:.0}, bf16 {b:.0} GFLOPS, quantize {:.1} µs",
                    times[0]
                );
            }
        }
    }
}
