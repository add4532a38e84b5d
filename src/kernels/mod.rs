//! Processor kernels: the matrix product, loops over slices, and the buffers they work in.

pub mod buffer;
pub mod gemm;
pub mod lanes;
