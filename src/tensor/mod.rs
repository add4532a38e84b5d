//! The floor for numbers: GGUF files, ggml's quantized types, and the matrix product.
//!
//! Files are read by our own bounds-checked reader, not by ggml's: ggml asserts on some malformed
//! input, and an assert aborts the host. Dequantization is ggml's own, so that every weight type
//! llama.cpp ships reads exactly as llama.cpp reads it. The product is ours: see [`gemm`].

pub mod gemm;
mod gguf;
pub mod lanes;
mod quant;
mod write;

pub use gguf::{Gguf, TensorInfo, Value};
#[cfg(test)]
pub use quant::quantize_for_tests;
pub use quant::{QuantType, Rows};
pub use write::GgufWriter;
