//! Weights as `bf16`, for any processor.
//!
//! They have 8 bits of precision (a 4-bit weight had 4), and are converted to `f32` in registers: two
//! instructions for 32 weights, which then serve every row. Rows and sums are `f32`.

use super::super::kernel::{Kernel, PackUnit, Tile};
use super::super::pack::{PackedLhs, View, pack_pairs};
use super::super::{OutputPtr, clipped};
use crate::gguf::Rows;
use crate::threads::{chunks, chunks_mut, current_threads, for_each};

/// A weight matrix, packed.
#[derive(Debug)]
pub struct PrepackedBf16 {
    /// `[panel][pair of inputs][width]`, two `bf16` in a unit.
    units: Vec<PackUnit>,
    n_in: usize,
    n_out: usize,
}

impl PrepackedBf16 {
    /// Packs `weight`, on the current team.
    ///
    /// # Panics
    /// If its rows have an odd length.
    pub fn new(weight: Rows) -> PrepackedBf16 {
        let (n_in, n_out) = (weight.cols, weight.rows);
        assert!(n_in.is_multiple_of(2), "rows of {n_in} weights are not pairs");
        let width = Kernel::prepacked().vector;
        let mut units = vec![0; n_out.div_ceil(width) * width * n_in / 2];
        for_each(chunks_mut(&mut units, width * n_in / 2), 1, |panel, units| {
            let rows = width.min(n_out - panel * width);
            pack_pairs(weight, panel * width, rows, width, units);
        });
        PrepackedBf16 { units, n_in, n_out }
    }

    /// Bytes of a packed matrix.
    pub fn bytes(n_in: usize, n_out: usize) -> u64 {
        2 * (n_out.next_multiple_of(Kernel::prepacked().vector) as u64) * n_in as u64
    }

    /// Bytes of this one.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        size_of_val(self.units.as_slice())
    }

    /// `y[n, n_out] = x[n, n_in] · Wᵀ`, on the current team. `lhs` is a buffer.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn matmul(&self, x: &[f32], n: usize, y: &mut [f32], lhs: &mut PackedLhs) {
        assert!(x.len() == n * self.n_in && y.len() == n * self.n_out, "matmul shapes");
        let kernel = Kernel::prepacked();
        *lhs = std::mem::take(lhs).for_kernel(kernel);
        lhs.pack_on_one_thread(View::new(x, n, self.n_in), 1.0);
        let (width, pairs) = (kernel.vector, self.n_in / 2);
        let c = OutputPtr(y.as_mut_ptr());
        let panels = self.n_out.div_ceil(width);
        // Few and large tasks: a task of a small matrix is over in microseconds.
        let each = panels.div_ceil(current_threads()).min(64);
        for_each(chunks(&self.units, each * width * pairs), 1, |task, units| {
            let c = &c;
            for (panel, units) in units.chunks_exact(width * pairs).enumerate() {
                let from = (task * each + panel) * width;
                for (p, m) in (0..n).step_by(lhs.height).enumerate() {
                    let a = lhs.panel(p, 0, self.n_in);
                    // SAFETY: rows m.. and columns from.. pack_rows inside `y`, clipped to its size, and
                    // no other task writes these columns; the panels hold `pairs` pairs.
                    unsafe {
                        let tile = Tile {
                            a: a.as_ptr(),
                            b: units.as_ptr(),
                            b_stride: width,
                            depth: pairs,
                            c: c.0.add(m * self.n_out + from),
                            c_stride: self.n_out,
                            height: lhs.height,
                            vectors: 1,
                            overwrite: true,
                        };
                        clipped(kernel, &tile, lhs.height.min(n - m), width.min(self.n_out - from));
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{QuantType, quantize_for_tests};
    use crate::testing::random;

    #[test]
    fn a_prepacked_matmul_equals_the_sum_over_dequantized_weights_rounded_to_bf16() {
        for (n, n_in, n_out) in [(1, 32, 5), (3, 64, 70), (16, 288, 96), (33, 96, 33)] {
            let bytes = quantize_for_tests(QuantType::Q8_0, &random(n_in * n_out, 1), n_in);
            let weight = Rows { ty: QuantType::Q8_0, data: &bytes, rows: n_out, cols: n_in };
            let mut dense = vec![0.0; n_in * n_out];
            QuantType::Q8_0.dequantize(&bytes, &mut dense);
            let x = random(n * n_in, 2);
            let mut y = vec![f32::NAN; n * n_out];
            PrepackedBf16::new(weight).matmul(&x, n, &mut y, &mut PackedLhs::default());
            for i in 0..n {
                for j in 0..n_out {
                    let want: f64 = (0..n_in)
                        .map(|k| {
                            let w = half::bf16::from_f32(dense[j * n_in + k]);
                            f64::from(x[i * n_in + k]) * f64::from(w.to_f32())
                        })
                        .sum();
                    // f32 sums of 288 products below 0.25.
                    assert!((f64::from(y[i * n_out + j]) - want).abs() < 1e-5, "{n} {n_in} {n_out}: {i} {j}");
                }
            }
        }
    }
}
