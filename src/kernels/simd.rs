//! Which vector instructions this processor has.

/// A set of vector instructions that kernels are written for; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Simd {
    /// What every processor of the architecture has, as the compiler uses it.
    Portable,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512F.
    Avx512,
    /// AVX-512F with BF16.
    Avx512Bf16,
}

impl Simd {
    /// The largest set that this processor and its operating system have. Cheap: the standard
    /// library asks the processor once.
    #[inline]
    pub fn of_this_processor() -> Simd {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            return match (is_x86_feature_detected!("avx512f"), is_x86_feature_detected!("avx512bf16")) {
                (true, true) => Simd::Avx512Bf16,
                (true, false) => Simd::Avx512,
                (false, _) => Simd::Avx2,
            };
        }
        Simd::Portable
    }
}
