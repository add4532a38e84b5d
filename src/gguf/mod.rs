//! GGUF files: a bounds-checked reader, a writer, and ggml's dequantization.
//!
//! Files are read by our own bounds-checked reader, not by ggml's: ggml asserts on some malformed
//! input, and an assert aborts the host. Dequantization is ggml's own, so that every weight type
//! llama.cpp ships reads exactly as llama.cpp reads it.

mod quant;
mod read;
mod write;

#[cfg(test)]
pub use quant::quantize_for_tests;
pub use quant::{QuantType, Rows};
pub use read::{Gguf, TensorInfo, Value};
pub use write::GgufWriter;
