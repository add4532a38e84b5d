//! Loops over slices, written so that the compiler makes vector code of them.
//!
//! Two exponentials and two orders of summation stand side by side: trained adapters depend on the
//! bits of [`exp`] and [`sum`], sampled texts on those of [`exp_fused`] and [`sum_of`], and neither
//! may change.

/// eˣ within 2 units in the last place. Inputs beyond ±87 count as ±87. Training and attention.
///
/// The C library's `expf` is a call, which keeps a loop from becoming vector code.
/// x = n·ln 2 + r with n whole and |r| ≤ ½·ln 2; eʳ by its Taylor series to r⁷, 2ⁿ as an exponent.
/// No operation is fused, so that every processor computes the same bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
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

/// eˣ for x in [`MIN_EXPONENT`]..=0 within 2 units in the last place. Sampling, where it is most of
/// the time: multiplications and additions are fused where the processor that is compiled for does
/// that, and there are two fewer. Cephes' `expf`.
#[inline(always)]
pub fn exp_fused(x: f32) -> f32 {
    let n = multiply_add(x, std::f32::consts::LOG2_E, ROUND);
    let k = n - ROUND;
    let r = multiply_add(k, 2.121_944_4e-4, multiply_add(k, -0.693_359_4, x));
    let mut p = 1.987_569_1e-4;
    p = multiply_add(p, r, 1.398_199_9e-3);
    p = multiply_add(p, r, 8.333_452e-3);
    p = multiply_add(p, r, 4.166_579_6e-2);
    p = multiply_add(p, r, 1.666_666_5e-1);
    p = multiply_add(p, r, 0.5);
    let y = multiply_add(p * r, r, r) + 1.0;
    // The low bits of `n` are the integer k; the exponent field starts at bit 23.
    f32::from_bits(y.to_bits().wrapping_add(n.to_bits() << 23))
}

/// The smallest exponent of [`exp_fused`]; what is below counts as 0 in sampling.
pub const MIN_EXPONENT: f32 = -87.0;

/// 1.5·2²³: adding it to a number below 2²² leaves no bits for a fraction, which rounds it.
const ROUND: f32 = 12_582_912.0;

/// Fused where the processor that is compiled for does that; elsewhere it would be a library call.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(target_feature = "fma") { a.mul_add(b, c) } else { a * b + c }
}

/// Σ a·b, in sixteen lanes.
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

/// The largest of `x`, infinity included; -∞ of nothing. What is not a number is passed over.
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    let larger = |m: f32, x: f32| if x > m { x } else { m };
    let (mut lanes, rest) = fold_lanes::<32>(x, f32::NEG_INFINITY, larger);
    lanes.iter_mut().zip(rest).for_each(|(m, &x)| *m = larger(*m, x));
    in_halves(lanes, larger)
}

/// Σ x, in sixteen lanes that are added one after the other, then what is left over.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    let add = |a, b| a + b;
    let (lanes, rest) = fold_lanes::<16>(x, 0.0, add);
    lanes.iter().chain(rest).copied().fold(0.0, add)
}

/// Σ value(x), in 32 lanes that are added in halves, and what is left over added to that.
#[inline(always)]
pub fn sum_of(x: &[f32], value: impl Fn(f32) -> f32) -> f32 {
    let (lanes, rest) = fold_lanes::<32>(x, 0.0, |sum, x| sum + value(x));
    in_halves(lanes, |a, b| a + b) + rest.iter().map(|&x| value(x)).sum::<f32>()
}

/// Folds whole chunks of `x` lane by lane, which the compiler keeps in vector registers; returns
/// the lanes and what is left over.
#[inline(always)]
fn fold_lanes<const N: usize>(x: &[f32], start: f32, fold: impl Fn(f32, f32) -> f32) -> ([f32; N], &[f32]) {
    let mut lanes = [start; N];
    let (whole, rest) = x.as_chunks::<N>();
    for chunk in whole {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = fold(*lane, *x);
        }
    }
    (lanes, rest)
}

/// All lanes in one. In halves, because one after the other each would wait for the last.
#[inline(always)]
fn in_halves<const N: usize>(mut lanes: [f32; N], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = N / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

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
            let want = f64::from(x).exp();
            let close = |got: f32| (f64::from(got) - want).abs() <= 2.5e-7 * want;
            assert!(close(super::exp(x)), "exp({x}): {} != {want}", super::exp(x));
            assert!(x > 0.0 || close(super::exp_fused(x)), "exp_fused({x}): {}", super::exp_fused(x));
        }
        assert!(super::exp(-1e9) > 0.0 && super::exp(-1e9) < 1e-37);
    }

    #[test]
    fn folds_agree_with_plain_loops_at_every_length() {
        let x: Vec<f32> = (0..100).map(|i| ((i * 37) % 101) as f32).collect();
        for n in 0..=x.len() {
            let x = &x[..n];
            // Whole numbers this small are added exactly.
            let total: f32 = x.iter().sum();
            assert_eq!((super::sum(x), super::sum_of(x, |x| 2.0 * x)), (total, 2.0 * total));
            assert_eq!(super::largest(x), x.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
        assert_eq!(super::largest(&[f32::NAN, 1.0, f32::NAN]), 1.0);
    }
}
