//! Gated linear units: y = φ(gate) ⊙ up. Shazeer 2020, arXiv 2002.05202.
//!
//! Backward: dup = dy ⊙ φ(gate); dgate = dy ⊙ up ⊙ φ′(gate).
//!
//! SwiGLU: φ(z) = z·σ(z), φ′ = σ·(1 + z·(1 − σ)). GeGLU: φ(z) = z·σ(2u) with
//! u = √(2/π)·(z + 0.044715·z³), which is the tanh approximation of GELU (Hendrycks and Gimpel
//! 2016, arXiv 1606.08415), φ′ = σ(2u)·(1 + 2z·u′·(1 − σ(2u))).

use super::exp;
use crate::model::arch::Activation;
use crate::threads::{chunks, chunks_mut, for_each};

const CHUNK: usize = 4096;

#[inline(always)]
fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + exp(-z))
}

/// φ(z) and φ′(z).
#[inline(always)]
fn activate(activation: Activation, z: f32) -> (f32, f32) {
    match activation {
        Activation::Silu => {
            let s = sigmoid(z);
            (z * s, s * (1.0 + z * (1.0 - s)))
        }
        Activation::Gelu => {
            const TWO_ROOT: f32 = 1.595_769; // 2·√(2/π)
            const CUBIC: f32 = 0.044715;
            let s = sigmoid(TWO_ROOT * z * (1.0 + CUBIC * z * z));
            (z * s, s * (1.0 + z * TWO_ROOT * (1.0 + 3.0 * CUBIC * z * z) * (1.0 - s)))
        }
    }
}

/// `y` from `gate` and `up`, all of one length.
pub fn forward(activation: Activation, gate: &[f32], up: &[f32], y: &mut [f32]) {
    // One loop per activation, so that each is straight-line code.
    match activation {
        Activation::Silu => forward_with(|z| activate(Activation::Silu, z).0, gate, up, y),
        Activation::Gelu => forward_with(|z| activate(Activation::Gelu, z).0, gate, up, y),
    }
}

fn forward_with(value: impl Fn(f32) -> f32 + Sync, gate: &[f32], up: &[f32], y: &mut [f32]) {
    for_each((chunks_mut(y, CHUNK), chunks(gate, CHUNK), chunks(up, CHUNK)), 1, |_, (y, gate, up)| {
        for ((y, z), u) in y.iter_mut().zip(gate).zip(up) {
            *y = value(*z) * u;
        }
    });
}

/// Turns `gate` into its gradient and `up` into its gradient, given `dy`; returns `y` in `dy`'s place.
pub fn backward(activation: Activation, dy: &mut [f32], gate: &mut [f32], up: &mut [f32]) {
    match activation {
        Activation::Silu => backward_with(|z| activate(Activation::Silu, z), dy, gate, up),
        Activation::Gelu => backward_with(|z| activate(Activation::Gelu, z), dy, gate, up),
    }
}

fn backward_with(
    value_and_slope: impl Fn(f32) -> (f32, f32) + Sync,
    dy: &mut [f32],
    gate: &mut [f32],
    up: &mut [f32],
) {
    let parts = (chunks_mut(dy, CHUNK), chunks_mut(gate, CHUNK), chunks_mut(up, CHUNK));
    for_each(parts, 1, |_, (dy, gate, up)| {
        for ((dy, z), u) in dy.iter_mut().zip(gate).zip(up) {
            let (value, slope) = value_and_slope(*z);
            let (upstream, y) = (*dy, value * *u);
            *z = upstream * *u * slope;
            *u = upstream * value;
            *dy = y;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_gradients_equal_finite_differences() {
        let n = 12;
        for activation in [Activation::Silu, Activation::Gelu] {
            let (gate, up, w) = (random(n, 1), random(n, 2), random(n, 3));
            let gate: Vec<f32> = gate.iter().map(|z| 4.0 * z).collect();
            let run = |gate: &[f32], up: &[f32]| {
                let mut y = vec![0.0; n];
                forward(activation, gate, up, &mut y);
                y
            };
            let (mut dgate, mut dup, mut dy) = (gate.clone(), up.clone(), w.clone());
            backward(activation, &mut dy, &mut dgate, &mut dup);
            assert_eq!(dy, run(&gate, &up));
            check_gradient("dgate", &gate, &dgate, |gate| weigh(&run(gate, &up), &w));
            check_gradient("dup", &up, &dup, |up| weigh(&run(&gate, up), &w));
        }
    }

    #[test]
    fn gelu_equals_its_published_form() {
        for z in [-3.0f32, -0.7, 0.0, 0.2, 2.5] {
            let inner = (2.0 / std::f32::consts::PI).sqrt() * (z + 0.044715 * z.powi(3));
            let want = 0.5 * z * (1.0 + inner.tanh());
            assert!((activate(Activation::Gelu, z).0 - want).abs() < 1e-6);
        }
    }
}
