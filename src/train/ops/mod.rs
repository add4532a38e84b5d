//! The blocks of a transformer layer, each with its forward and backward pass side by side.
//!
//! Symbols, defined once: `n` tokens, `d` n_embd, `h` query heads, `g` key heads, `e` head width,
//! `f` feed-forward width, `r` rank, `v` vocabulary. Matrices are row-major: `[n, d]` is n rows of
//! d values. The gradient of the loss with respect to `x` is called `dx`.

pub mod attention;
pub mod glu;
pub mod linear;
pub mod loss;
pub mod norm;
pub mod rope;

use rayon::prelude::*;

/// `v` with `len` values, whose contents are unspecified; grows, never shrinks its memory.
pub fn fit(v: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if v.len() < len {
        v.resize(len, 0.0);
    }
    v.truncate(len);
    v
}

/// eˣ to 2 units in the last place, written so that loops over it become vector code, which calls
/// of the C library's `expf` do not. Inputs beyond ±87 count as ±87.
///
/// x = n·ln 2 + r with n whole and |r| ≤ ½·ln 2; eʳ by its Taylor series to r⁷, 2ⁿ as an exponent.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding it leaves no bits for a fraction.
    const LN2_HIGH: f32 = 0.693_145_75;
    const LN2_LOW: f32 = 1.428_606_8e-6;
    let x = x.clamp(-87.0, 87.0);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut series = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * r + c;
    }
    series * f32::from_bits(((n as i32 + 127) << 23) as u32)
}

/// Σ a·b, in lanes that the compiler turns into vector registers.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let ((a16, a), (b16, b)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let tail: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    for (x, y) in a16.iter().zip(b16) {
        for i in 0..16 {
            lanes[i] += x[i] * y[i];
        }
    }
    lanes.iter().sum::<f32>() + tail
}

/// The largest of `x`; -∞ of nothing.
pub fn largest(x: &[f32]) -> f32 {
    in_lanes(x, f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

/// Σ x
pub fn sum(x: &[f32]) -> f32 {
    in_lanes(x, 0.0, |a, b| a + b)
}

/// Folds `x` in sixteen lanes, which the compiler keeps in vector registers.
#[inline(always)]
fn in_lanes(x: &[f32], start: f32, fold: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; 16];
    let (whole, rest) = x.as_chunks::<16>();
    for chunk in whole {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = fold(*lane, *x);
        }
    }
    lanes.iter().chain(rest).copied().fold(start, fold)
}

/// y += s·x, on all threads.
pub fn add_scaled(s: f32, x: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(PART).zip(x.par_chunks(PART)).for_each(|(y, x)| axpy(s, x, y));
}

/// y = x, on all threads; `y` grows to fit.
pub fn copy(x: &[f32], y: &mut Vec<f32>) {
    fit(y, x.len()).par_chunks_mut(PART).zip(x.par_chunks(PART)).for_each(|(y, x)| y.copy_from_slice(x));
}

/// Values that are worth another thread.
const PART: usize = 1 << 15;

/// y += s·x
pub fn axpy(s: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += s * x;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_is_accurate_to_two_units_in_the_last_place() {
        for i in -870_000..=870_000 {
            let x = i as f32 * 1e-4;
            let (got, want) = (f64::from(super::exp(x)), f64::from(x).exp());
            assert!((got - want).abs() <= 2.5e-7 * want, "exp({x}): {got} != {want}");
        }
        assert!(super::exp(-1e9) > 0.0 && super::exp(-1e9) < 1e-37);
    }
}

#[cfg(test)]
pub mod testing {
    //! Finite differences: the oracle of every backward pass here.

    /// Pseudo-random values in -0.5..0.5.
    pub fn random(n: usize, seed: u64) -> Vec<f32> {
        use rand::{Rng, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random::<f32>() - 0.5).collect()
    }

    /// Checks `gradient` of the scalar `f` at `x` against central differences.
    ///
    /// f32 sums limit the difference quotient to about 1e-3 at a step of 1e-2, hence the tolerance;
    /// a wrong term shows as an error of the gradient's own size.
    pub fn check_gradient(name: &str, x: &[f32], gradient: &[f32], f: impl Fn(&[f32]) -> f64) {
        let scale = gradient.iter().map(|g| g.abs()).fold(0.0, f32::max).max(1e-3);
        let step = 1e-2f32;
        for i in 0..x.len() {
            let mut moved = x.to_vec();
            moved[i] = x[i] + step;
            let up = f(&moved);
            moved[i] = x[i] - step;
            let down = f(&moved);
            let want = ((up - down) / (2.0 * f64::from(step))) as f32;
            let error = (gradient[i] - want).abs();
            assert!(
                error <= 5e-3 * scale,
                "{name}[{i}]: gradient {} but difference quotient {want}",
                gradient[i]
            );
        }
    }

    /// Σ wᵢ·yᵢ: a scalar whose gradient with respect to y is w.
    pub fn weigh(y: &[f32], w: &[f32]) -> f64 {
        y.iter().zip(w).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    }
}
