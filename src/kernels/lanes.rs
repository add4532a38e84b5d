//! Loops over slices, written so that compilers make vector code of them.

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
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    in_lanes(x, f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

/// Σ x
#[inline(always)]
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
