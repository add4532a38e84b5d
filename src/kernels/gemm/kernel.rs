//! The innermost loop: a tile of `C` that stays in registers.
//!
//! A kernel is a shape and an instruction set. Tiles are up to [`Kernel::height`] rows high and one
//! or two vectors wide; panels are laid out for the kernel that will read them. Depth is counted in
//! *units* of 32 bits ([`PackUnit`]): one `f32`, or two `bf16` that follow each other in depth, which one
//! instruction multiplies and adds. Layouts are therefore the same for both.
//!
//! Which of them is faster depends on the processor: measured on registers alone, a Sapphire
//! Rapids core reaches 190 GFLOPS with `f32` and 95 with `vdpbf16ps`; Zen 4, whose `f32` vectors are
//! half as wide inside, the other way round. So [`Kernel::fastest`] measures.

use std::time::{Duration, Instant};

use crate::kernels::simd::Simd;

/// What panels are made of: an `f32`, or two `bf16`, the lower half first in depth.
pub type PackUnit = u32;

crate::options::choices! {
    /// What the matmuls of training multiply. Sums are `f32` always.
    pub enum ComputeDtype: "compute_dtype" {
        /// 24 bits of precision.
        F32 = "f32",
        /// Both sides rounded to 8 bits of precision.
        Bf16 = "bf16",
    }
}

/// One tile's work. See [`Kernel::run`].
#[derive(Debug, Clone, Copy)]
pub struct Tile {
    /// `[depth][height]`
    pub a: *const PackUnit,
    /// `[depth][width]`, whose rows pack_rows `b_stride` apart.
    pub b: *const PackUnit,
    pub b_stride: usize,
    pub depth: usize,
    /// `[height][width]`, whose rows pack_rows `c_stride` apart.
    pub c: *mut f32,
    pub c_stride: usize,
    pub height: usize,
    /// Width in vectors, 1 or 2.
    pub vectors: usize,
    /// `C = A·B` instead of `C += A·B`.
    pub overwrite: bool,
}

/// A way to compute tiles.
#[derive(Debug)]
pub struct Kernel {
    /// The instructions it is made of.
    pub name: &'static str,
    /// What it multiplies.
    pub compute_dtype: ComputeDtype,
    /// Most rows of a tile.
    pub height: usize,
    /// Columns of a vector; a tile has one vector or two.
    pub vector: usize,
    tile: TileFn,
}

type TileFn = unsafe fn(&Tile);

impl Kernel {
    /// The kernel for `compute_dtype` on this processor; `None` where it has no instruction for it.
    pub fn of(compute_dtype: ComputeDtype) -> Option<&'static Kernel> {
        match compute_dtype {
            ComputeDtype::F32 => Some(f32_kernel(Simd::of_this_processor())),
            ComputeDtype::Bf16 => bf16_kernel(Simd::of_this_processor()),
        }
    }

    /// The kernel for weights prepacked as pairs of `bf16` and rows of `f32`.
    pub fn prepacked() -> &'static Kernel {
        prepacked_kernel(Simd::of_this_processor())
    }

    /// The faster of the two on this processor: `bf16` where it is there and half as fast again.
    /// Takes some milliseconds.
    pub fn fastest() -> &'static Kernel {
        const WORTH: f64 = 1.5;
        let simd = Simd::of_this_processor();
        let plain = f32_kernel(simd);
        let Some(paired) = bf16_kernel(simd) else { return plain };
        let rate =
            |kernel: &Kernel| (0..3).map(|_| kernel.gflops(Duration::from_millis(2))).fold(0.0, f64::max);
        if rate(paired) > WORTH * rate(plain) { paired } else { plain }
    }

    /// Whether it is made of vector instructions, and not left to the compiler.
    pub fn is_fast(&self) -> bool {
        self.name != PORTABLE.name
    }

    /// Columns of the widest tile.
    pub fn width(&self) -> usize {
        2 * self.vector
    }

    /// Values of depth in a unit.
    pub fn values_per_unit(&self) -> usize {
        match self.compute_dtype {
            ComputeDtype::F32 => 1,
            ComputeDtype::Bf16 => 2,
        }
    }

    /// The height of tiles that cover `rows` with the least padding, a multiple of 2.
    pub fn height_for(&self, rows: usize) -> usize {
        tile_height(rows, self.height)
    }

    /// Computes a tile.
    ///
    /// # Safety
    /// The tile's pointers must be valid for the ranges that its fields describe, and `height` be
    /// even and at most [`Kernel::height`].
    #[inline]
    pub unsafe fn run(&self, tile: &Tile) {
        debug_assert!(tile.height.is_multiple_of(2) && tile.height <= self.height && tile.vectors <= 2);
        // SAFETY: a kernel is only handed out where its instructions were detected; the rest is
        // the caller's promise.
        unsafe { (self.tile)(tile) }
    }

    /// What one thread reaches in 10⁹ FLOPS on panels that stay in the first-level cache, measured
    /// for `time`: the bound of any matmul.
    pub fn gflops(&self, time: Duration) -> f64 {
        const DEPTH: usize = 128;
        let a: Vec<PackUnit> = vec![0x3a00_3a00; self.height * DEPTH];
        let b: Vec<PackUnit> = vec![0x3a00_3a00; self.width() * DEPTH];
        let mut c = vec![0.0f32; self.height * self.width()];
        let tile = Tile {
            a: a.as_ptr(),
            b: b.as_ptr(),
            b_stride: self.width(),
            depth: DEPTH,
            c: c.as_mut_ptr(),
            c_stride: self.width(),
            height: self.height,
            vectors: 2,
            overwrite: false,
        };
        let (begin, mut calls) = (Instant::now(), 0);
        while begin.elapsed() < time {
            for _ in 0..64 {
                // SAFETY: the buffers have just the sizes of the tile's fields.
                unsafe { self.run(std::hint::black_box(&tile)) };
            }
            calls += 64;
        }
        let flop = 2 * self.height * self.width() * DEPTH * self.values_per_unit() * calls;
        flop as f64 / begin.elapsed().as_secs_f64() / 1e9
    }
}

/// The height of tiles of up to `most` rows that cover `rows` with the least padding, a multiple of 2.
pub fn tile_height(rows: usize, most: usize) -> usize {
    let panels = rows.div_ceil(most).max(1);
    rows.div_ceil(panels).max(1).next_multiple_of(2)
}

/// Every kernel that this processor can run.
#[cfg(test)]
pub fn available() -> Vec<&'static Kernel> {
    let sets = [Simd::Portable, Simd::Avx2, Simd::Avx512];
    let there = sets.into_iter().filter(|simd| *simd <= Simd::of_this_processor());
    there.map(f32_kernel).chain(bf16_kernel(Simd::of_this_processor())).collect()
}

/// The kernel on `f32` for a processor that has `simd`.
fn f32_kernel(simd: Simd) -> &'static Kernel {
    #[cfg(target_arch = "x86_64")]
    match simd {
        Simd::Portable => {}
        Simd::Avx2 => return &x86::AVX2,
        Simd::Avx512 | Simd::Avx512Bf16 => return &x86::AVX512,
    }
    let _ = simd;
    &PORTABLE
}

/// The kernel on `f32` rows and prepacked `bf16` weights for a processor that has `simd`.
fn prepacked_kernel(simd: Simd) -> &'static Kernel {
    #[cfg(target_arch = "x86_64")]
    match simd {
        Simd::Portable => {}
        Simd::Avx2 => return &x86::AVX2_PREPACKED,
        Simd::Avx512 | Simd::Avx512Bf16 => return &x86::AVX512_PREPACKED,
    }
    let _ = simd;
    &PORTABLE_PREPACKED
}

/// The kernel on pairs of `bf16`, where the processor has instructions for it.
fn bf16_kernel(simd: Simd) -> Option<&'static Kernel> {
    #[cfg(target_arch = "x86_64")]
    if simd >= Simd::Avx512Bf16 {
        return Some(&x86::AVX512_BF16);
    }
    let _ = simd;
    None
}

/// Plain Rust, which the compiler turns into what vectors there are.
static PORTABLE: Kernel =
    Kernel { name: "portable", compute_dtype: ComputeDtype::F32, height: 6, vector: 8, tile: portable };

/// For weights prepacked as pairs of `bf16`; its `A` is `f32`, two rows of it to a unit of `B`.
static PORTABLE_PREPACKED: Kernel = Kernel {
    name: "portable",
    compute_dtype: ComputeDtype::F32,
    height: 6,
    vector: 8,
    tile: portable_prepacked,
};

unsafe fn portable_prepacked(t: &Tile) {
    const WIDTH: usize = 8;
    let mut acc = [[0.0f32; WIDTH]; 6];
    for k in 0..t.depth {
        // SAFETY: depth, height and width bound what is read, as the caller promises.
        unsafe {
            let b = std::slice::from_raw_parts(t.b.add(k * t.b_stride), WIDTH);
            let a = std::slice::from_raw_parts(t.a.add(2 * k * t.height).cast::<f32>(), 2 * t.height);
            let (first, second) = a.split_at(t.height);
            for ((row, first), second) in acc.iter_mut().zip(first).zip(second) {
                for (x, b) in row.iter_mut().zip(b) {
                    *x += first * f32::from_bits(b << 16) + second * f32::from_bits(b & 0xffff_0000);
                }
            }
        }
    }
    for (i, row) in acc.iter().enumerate().take(t.height) {
        // SAFETY: row i of the tile, which the caller vouches for.
        let c = unsafe { std::slice::from_raw_parts_mut(t.c.add(i * t.c_stride), WIDTH) };
        for (c, x) in c.iter_mut().zip(row) {
            *c = if t.overwrite { *x } else { *c + x };
        }
    }
}

unsafe fn portable(t: &Tile) {
    const VECTOR: usize = 8;
    let width = t.vectors * VECTOR;
    let mut acc = [[0.0f32; 2 * VECTOR]; 6];
    for k in 0..t.depth {
        // SAFETY: depth, height and width bound what is read, as the caller promises.
        unsafe {
            let b = std::slice::from_raw_parts(t.b.add(k * t.b_stride).cast::<f32>(), width);
            let a = std::slice::from_raw_parts(t.a.add(k * t.height).cast::<f32>(), t.height);
            for (row, a) in acc.iter_mut().zip(a) {
                for (x, b) in row.iter_mut().zip(b) {
                    *x += a * b;
                }
            }
        }
    }
    for (i, row) in acc.iter().enumerate().take(t.height) {
        // SAFETY: row i of the tile, which the caller vouches for.
        let c = unsafe { std::slice::from_raw_parts_mut(t.c.add(i * t.c_stride), width) };
        for (c, x) in c.iter_mut().zip(row) {
            *c = if t.overwrite { *x } else { *c + x };
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{ComputeDtype, Kernel, Tile};

    /// 12 accumulators, two vectors of `B` and one broadcast of `A`: 15 of the 16 registers.
    pub static AVX2: Kernel =
        Kernel { name: "avx2", compute_dtype: ComputeDtype::F32, height: 6, vector: 8, tile: avx2 };

    /// 28 accumulators, two vectors of `B` and one broadcast of `A`: 31 of the 32 registers.
    pub static AVX512: Kernel =
        Kernel { name: "avx512", compute_dtype: ComputeDtype::F32, height: 14, vector: 16, tile: avx512 };

    /// The same on pairs of `bf16`.
    pub static AVX512_BF16: Kernel = Kernel {
        name: "avx512_bf16",
        compute_dtype: ComputeDtype::Bf16,
        height: 14,
        vector: 16,
        tile: avx512_bf16,
    };

    /// 24 rows by one vector. Loading a vector of weights from memory takes as long as 16 rows of
    /// multiply-adds, so every register serves rows: 24 accumulators, one load of pairs, the two
    /// vectors it is split into, and a mask.
    pub static AVX512_PREPACKED: Kernel = Kernel {
        name: "avx512",
        compute_dtype: ComputeDtype::F32,
        height: 24,
        vector: 16,
        tile: avx512_prepacked,
    };

    /// 10 accumulators, two vectors, a broadcast and a mask.
    pub static AVX2_PREPACKED: Kernel = Kernel {
        name: "avx2",
        compute_dtype: ComputeDtype::F32,
        height: 10,
        vector: 8,
        tile: avx2_prepacked,
    };

    /// Calls the instance of a tile function for the tile's height and width.
    macro_rules! by_shape {
        ($tile:expr, $function:ident, [$($height:literal),*]) => {
            // SAFETY: the caller's promise.
            unsafe {
                match ($tile.height, $tile.vectors) {
                    $(($height, 1) => $function::<$height, 1>($tile),
                      ($height, 2) => $function::<$height, 2>($tile),)*
                    _ => unreachable!("a tile of {} rows", $tile.height),
                }
            }
        };
    }

    /// The same for tiles one vector wide.
    macro_rules! by_height {
        ($tile:expr, $function:ident, [$($height:literal),*]) => {
            // SAFETY: the caller's promise.
            unsafe {
                match $tile.height {
                    $($height => $function::<$height>($tile),)*
                    _ => unreachable!("a tile of {} rows", $tile.height),
                }
            }
        };
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(t: &Tile) {
        by_shape!(t, avx2_tile, [2, 4, 6])
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn avx512(t: &Tile) {
        by_shape!(t, avx512_tile, [2, 4, 6, 8, 10, 12, 14])
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn avx512_prepacked(t: &Tile) {
        by_height!(t, avx512_prepacked_tile, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24])
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2_prepacked(t: &Tile) {
        by_height!(t, avx2_prepacked_tile, [2, 4, 6, 8, 10])
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn avx512_bf16(t: &Tile) {
        by_shape!(t, avx512_bf16_tile, [2, 4, 6, 8, 10, 12, 14])
    }

    /// Writes one tile function: the accumulation of H×V vectors and their way into `C`.
    macro_rules! tile_function {
        ($name:ident, $features:literal, $zero:ident, $loadu:ident, $storeu:ident, $add:ident,
         $lanes:literal, |$b:ident| $load_b:expr, |$a:ident| $load_a:expr, |$acc:ident, $x:ident, $y:ident| $step:expr) => {
            #[target_feature(enable = $features)]
            unsafe fn $name<const H: usize, const V: usize>(t: &Tile) {
                let (mut pa, mut pb) = (t.a, t.b);
                let mut acc = [[$zero(); V]; H];
                for i in 0..H {
                    for v in 0..V {
                        // SAFETY: row i < H and vector v < V of the tile; a prefetch reads nothing.
                        unsafe { _mm_prefetch::<_MM_HINT_T0>(t.c.add(i * t.c_stride + v * $lanes).cast()) };
                    }
                }
                for _ in 0..t.depth {
                    // SAFETY: `a` holds depth×H units, `b` depth rows of V vectors; the pointers
                    // advance depth times.
                    unsafe {
                        let b: [_; V] = std::array::from_fn(|v| {
                            let $b = pb.add(v * $lanes);
                            $load_b
                        });
                        for (i, row) in acc.iter_mut().enumerate() {
                            let $a = pa.add(i);
                            let $x = $load_a;
                            for ($acc, $y) in row.iter_mut().zip(b) {
                                *$acc = $step;
                            }
                        }
                        pa = pa.add(H);
                        pb = pb.add(t.b_stride);
                    }
                }
                for (i, row) in acc.iter().enumerate() {
                    for (v, x) in row.iter().enumerate() {
                        // SAFETY: row i < H and vector v < V of the tile, which the caller vouches
                        // for.
                        unsafe {
                            let c = t.c.add(i * t.c_stride + v * $lanes);
                            $storeu(c, if t.overwrite { *x } else { $add($loadu(c), *x) });
                        }
                    }
                }
            }
        };
    }

    /// The same, one vector wide, where a unit of `B` holds two `bf16`, for two rows of `A`. There is
    /// nothing in `C` yet.
    macro_rules! prepacked_tile_function {
        ($name:ident, $features:literal, $zero:ident, $storeu:ident, $set1:ident, $fma:ident,
          |$b:ident| ($low:expr, $high:expr)) => {
            #[target_feature(enable = $features)]
            unsafe fn $name<const H: usize>(t: &Tile) {
                /// How far ahead weights are fetched: what comes from memory meanwhile.
                const AHEAD: usize = 32;
                let (mut pa, mut pb) = (t.a.cast::<f32>(), t.b);
                let mut acc = [$zero(); H];
                for _ in 0..t.depth {
                    // SAFETY: `a` holds 2·depth rows of H values, `b` depth vectors; the pointers
                    // advance depth times. A prefetch reads nothing.
                    unsafe {
                        _mm_prefetch::<_MM_HINT_T0>(pb.wrapping_add(AHEAD * t.b_stride).cast());
                        let $b = pb;
                        let (low, high) = ($low, $high);
                        for (i, acc) in acc.iter_mut().enumerate() {
                            *acc = $fma($set1(*pa.add(i)), low, *acc);
                        }
                        for (i, acc) in acc.iter_mut().enumerate() {
                            *acc = $fma($set1(*pa.add(H + i)), high, *acc);
                        }
                        pa = pa.add(2 * H);
                        pb = pb.add(t.b_stride);
                    }
                }
                for (i, x) in acc.iter().enumerate() {
                    // SAFETY: row i < H of the tile, which the caller vouches for.
                    unsafe { $storeu(t.c.add(i * t.c_stride), *x) };
                }
            }
        };
    }

    prepacked_tile_function!(
        avx512_prepacked_tile,
        "avx512f",
        _mm512_setzero_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        |b| (
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_loadu_si512(b.cast()))),
            _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(b.cast()), _mm512_set1_epi32(-65536)))
        )
    );

    prepacked_tile_function!(
        avx2_prepacked_tile,
        "avx2,fma",
        _mm256_setzero_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        |b| (
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_loadu_si256(b.cast()))),
            _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(b.cast()), _mm256_set1_epi32(-65536)))
        )
    );

    tile_function!(
        avx2_tile,
        "avx2,fma",
        _mm256_setzero_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        8,
        |b| _mm256_loadu_ps(b.cast()),
        |a| _mm256_broadcast_ss(&*a.cast()),
        |acc, x, y| _mm256_fmadd_ps(x, y, *acc)
    );

    tile_function!(
        avx512_tile,
        "avx512f",
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        16,
        |b| _mm512_loadu_ps(b.cast()),
        |a| _mm512_set1_ps(*a.cast()),
        |acc, x, y| _mm512_fmadd_ps(x, y, *acc)
    );

    tile_function!(
        avx512_bf16_tile,
        "avx512f,avx512bf16",
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        16,
        |b| std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(b.cast())),
        |a| std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(*a.cast())),
        |acc, x, y| _mm512_dpbf16_ps(*acc, x, y)
    );
}
