//! Weights dequantized and packed once, for matmuls that repeat them with few rows.
//!
//! Sampling multiplies the same weights by a handful of rows, tens of times a second: too few rows to
//! pay for dequantizing them each time, as training does. So they are dequantized once: quantized ones to
//! 8-bit integers in small blocks where the processor multiplies those, others to `bf16`.

mod bf16;
#[cfg(target_arch = "x86_64")]
mod int8;

use super::kernel::Kernel;
use super::pack::PackedLhs;
use crate::gguf::{QuantType, Rows};
use bf16::PrepackedBf16;
#[cfg(target_arch = "x86_64")]
use int8::{PrepackedInt8, QuantizedRows};

/// A weight matrix, packed as is fastest on this processor.
#[derive(Debug)]
pub enum Prepacked {
    /// Multiplied by rows of `f32`.
    Bf16(PrepackedBf16),
    /// Multiplied by rows that are rounded to 8-bit integers too.
    #[cfg(target_arch = "x86_64")]
    Int8(PrepackedInt8),
}

/// What the rows of a matmul are packed into; reusable.
#[derive(Debug, Default)]
pub struct PrepackedBuffers {
    lhs: PackedLhs,
    #[cfg(target_arch = "x86_64")]
    rows: QuantizedRows,
}

impl Prepacked {
    /// Packs `weight`, on the current team.
    ///
    /// # Panics
    /// If its rows have an odd length.
    pub fn new(weight: Rows) -> Prepacked {
        #[cfg(target_arch = "x86_64")]
        if PrepackedInt8::can_pack(weight.ty, weight.cols) {
            return Prepacked::Int8(PrepackedInt8::new(weight));
        }
        Prepacked::Bf16(PrepackedBf16::new(weight))
    }

    /// What rows of `n_in` weights of a type become on this processor.
    pub fn dtype(ty: QuantType, n_in: usize) -> &'static str {
        #[cfg(target_arch = "x86_64")]
        if PrepackedInt8::can_pack(ty, n_in) {
            return "int8";
        }
        let _ = (ty, n_in);
        "bf16"
    }

    /// Whether matmuls are made of vector instructions on this processor.
    pub fn is_fast() -> bool {
        Kernel::prepacked().is_fast()
    }

    /// Bytes of a packed matrix.
    pub fn bytes(ty: QuantType, n_in: usize, n_out: usize) -> u64 {
        #[cfg(target_arch = "x86_64")]
        if PrepackedInt8::can_pack(ty, n_in) {
            return PrepackedInt8::bytes(n_in, n_out);
        }
        let _ = ty;
        PrepackedBf16::bytes(n_in, n_out)
    }

    /// `y[n, n_out] = x[n, n_in] · Wᵀ`, on the current team.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn matmul(&self, x: &[f32], n: usize, y: &mut [f32], buffers: &mut PrepackedBuffers) {
        match self {
            Prepacked::Bf16(weight) => weight.matmul(x, n, y, &mut buffers.lhs),
            #[cfg(target_arch = "x86_64")]
            Prepacked::Int8(weight) => weight.matmul(x, n, y, &mut buffers.rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::quantize_for_tests;
    use crate::testing::random;

    #[test]
    fn what_a_matrix_becomes_and_its_size_are_known_before_it_is_packed() {
        for (ty, n_in, n_out) in [
            (QuantType::Q8_0, 64, 70),
            (QuantType::Q8_0, 96, 16),
            (QuantType::F32, 64, 40),
            (QuantType::F16, 70, 33),
            (QuantType::BF16, 2, 1),
        ] {
            let bytes = quantize_for_tests(ty, &random(n_in * n_out, 1), n_in);
            let packed = Prepacked::new(Rows { ty, data: &bytes, rows: n_out, cols: n_in });
            let (dtype, size) = match &packed {
                Prepacked::Bf16(weight) => ("bf16", weight.size()),
                #[cfg(target_arch = "x86_64")]
                Prepacked::Int8(weight) => ("int8", weight.size()),
            };
            assert_eq!((dtype, size as u64), (Prepacked::dtype(ty, n_in), Prepacked::bytes(ty, n_in, n_out)));
            assert!(!ty.is_float() || dtype == "bf16", "{} has more than 8 bits", ty.name());
        }
    }
}
