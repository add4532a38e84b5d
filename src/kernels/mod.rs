//! Processor kernels: the matrix product and loops over slices.

pub mod gemm;
pub mod lanes;
