//! Processor kernels: the matrix product, attention over a KV cache, loops over slices, a mixer of bits; the
//! instructions they are chosen by and the buffers they work in.

pub mod buffer;
pub mod decode_attention;
pub mod gemm;
pub mod lanes;
pub mod simd;
pub mod splitmix;
