//! Weights dequantized and packed once, for matmuls that repeat them with few rows.
//!
//! Sampling multiplies the same weights by a handful of rows, tens of times a second: too few rows to
//! pay for dequantizing them each time, as training does. So they are dequantized once, to 8-bit
//! integers in small blocks where the processor multiplies those, otherwise to `bf16`.

mod bf16;
#[cfg(target_arch = "x86_64")]
mod int8;

use super::kernel::Kernel;
use super::pack::PackedLhs;
use crate::gguf::Rows;
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
        if PrepackedInt8::can_pack(weight) {
            return Prepacked::Int8(PrepackedInt8::new(weight));
        }
        Prepacked::Bf16(PrepackedBf16::new(weight))
    }

    /// Whether matmuls are made of vector instructions on this processor.
    pub fn is_fast() -> bool {
        Kernel::prepacked().is_fast()
    }

    /// What weights become on this processor.
    pub fn dtype() -> &'static str {
        #[cfg(target_arch = "x86_64")]
        if PrepackedInt8::is_supported() {
            return "int8";
        }
        "bf16"
    }

    /// Bytes of packed matrices of `weights` weights, about.
    pub fn bytes(weights: u64) -> u64 {
        #[cfg(target_arch = "x86_64")]
        if PrepackedInt8::is_supported() {
            return PrepackedInt8::bytes(weights);
        }
        PrepackedBf16::bytes(weights)
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
