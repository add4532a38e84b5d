//! SwiGLU: y = silu(gate) ⊙ up with silu(z) = z·σ(z). Shazeer 2020, arXiv 2002.05202.
//!
//! Backward: dup = dy ⊙ silu(gate); dgate = dy ⊙ up ⊙ σ(gate)·(1 + gate·(1 − σ(gate))).

use rayon::prelude::*;

const CHUNK: usize = 4096;

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

/// `y` from `gate` and `up`, all of one length.
pub fn forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(CHUNK).zip(gate.par_chunks(CHUNK)).zip(up.par_chunks(CHUNK)).for_each(
        |((y, gate), up)| {
            for ((y, z), u) in y.iter_mut().zip(gate).zip(up) {
                *y = z * sigmoid(*z) * u;
            }
        },
    );
}

/// Turns `gate` into its gradient and `up` into its gradient, given `dy`; returns `y` in `dy`'s place.
pub fn backward(dy: &mut [f32], gate: &mut [f32], up: &mut [f32]) {
    dy.par_chunks_mut(CHUNK).zip(gate.par_chunks_mut(CHUNK)).zip(up.par_chunks_mut(CHUNK)).for_each(
        |((dy, gate), up)| {
            for ((dy, z), u) in dy.iter_mut().zip(gate).zip(up) {
                let s = sigmoid(*z);
                let silu = *z * s;
                let (upstream, y) = (*dy, silu * *u);
                *z = upstream * *u * s * (1.0 + *z * (1.0 - s));
                *u = upstream * silu;
                *dy = y;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_gradients_equal_finite_differences() {
        let n = 12;
        let (gate, up, w) = (random(n, 1), random(n, 2), random(n, 3));
        let run = |gate: &[f32], up: &[f32]| {
            let mut y = vec![0.0; n];
            forward(gate, up, &mut y);
            y
        };
        let (mut dgate, mut dup, mut dy) = (gate.clone(), up.clone(), w.clone());
        backward(&mut dy, &mut dgate, &mut dup);
        assert_eq!(dy, run(&gate, &up));
        check_gradient("dgate", &gate, &dgate, |gate| weigh(&run(gate, &up), &w));
        check_gradient("dup", &up, &dup, |up| weigh(&run(&gate, up), &w));
    }
}
