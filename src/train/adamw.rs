//! AdamW with clipping by the global norm.
//!
//! Loshchilov and Hutter 2019, arXiv 1711.05101; as PyTorch computes it, so that runs compare.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::threads::{chunks, chunks_mut, for_each};

/// Parameters updated by one task; fixed, so that results do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// AdamW's constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    /// Decay of the mean.
    pub beta1: f32,
    /// Decay of the squared mean.
    pub beta2: f32,
    /// Keeps the division finite.
    pub eps: f32,
    /// Decoupled weight decay per step, times the learning rate.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// The running means, one value a parameter each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moments {
    /// Mean of the gradient.
    pub mean: Vec<f32>,
    /// Mean of its square.
    pub square: Vec<f32>,
    /// Steps taken.
    pub steps: u64,
}

impl Moments {
    /// Zero moments for `n` parameters.
    pub fn new(n: usize) -> Moments {
        Moments { mean: vec![0.0; n], square: vec![0.0; n], steps: 0 }
    }
}

impl AdamW {
    /// Takes one step at learning rate `lr`, with `grads` multiplied by `grad_scale` first.
    /// `groups` are runs of parameters, each with a factor of the learning rate; they cover all.
    pub fn step(
        &self,
        params: &mut [f32],
        grads: &[f32],
        grad_scale: f32,
        lr: f32,
        groups: &[(Range<usize>, f32)],
        moments: &mut Moments,
    ) {
        moments.steps += 1;
        let t = moments.steps as i32;
        let correct1 = 1.0 - f64::from(self.beta1).powi(t);
        let correct2 = (1.0 - f64::from(self.beta2).powi(t)).sqrt();
        let correct2 = correct2 as f32;
        for (range, factor) in groups {
            let lr = lr * factor;
            let step = (f64::from(lr) / correct1) as f32;
            let keep = 1.0 - lr * self.weight_decay;
            let (mean, square) = (&mut moments.mean[range.clone()], &mut moments.square[range.clone()]);
            let (params, grads) = (&mut params[range.clone()], &grads[range.clone()]);
            let parts = (
                chunks_mut(params, CHUNK),
                chunks(grads, CHUNK),
                chunks_mut(mean, CHUNK),
                chunks_mut(square, CHUNK),
            );
            for_each(parts, 1, |_, (params, grads, mean, square)| {
                for (((p, g), m), v) in params.iter_mut().zip(grads).zip(mean).zip(square) {
                    let g = g * grad_scale;
                    *m = self.beta1 * *m + (1.0 - self.beta1) * g;
                    *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
                    *p = *p * keep - step * *m / (v.sqrt() / correct2 + self.eps);
                }
            });
        }
    }
}

/// √Σ g², summed in a fixed order.
pub fn global_norm(grads: &[f32]) -> f64 {
    let mut sums = vec![0.0; grads.len().div_ceil(CHUNK)];
    for_each((chunks(grads, CHUNK), chunks_mut(&mut sums, 1)), 1, |_, (grads, sum)| {
        sum[0] = grads.iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
    });
    sums.iter().sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps of `torch.optim.AdamW([1., -2.], lr=0.1, weight_decay=0.01)` on gradients
    /// [0.5, -1], [0.1, 2], [-0.3, 0.2], worked through in double precision.
    #[test]
    fn three_steps_equal_the_published_update_in_double_precision() {
        let config = AdamW { weight_decay: 0.01, ..AdamW::default() };
        let gradients = [[0.5f32, -1.0], [0.1, 2.0], [-0.3, 0.2]];
        let mut params = [1.0f32, -2.0];
        let mut moments = Moments::new(2);
        let (mut p, mut m, mut v) = ([1.0f64, -2.0], [0.0f64; 2], [0.0f64; 2]);
        for (t, g) in gradients.iter().enumerate() {
            config.step(&mut params, g, 1.0, 0.1, &[(0..1, 1.0), (1..2, 1.0)], &mut moments);
            for i in 0..2 {
                let g = f64::from(g[i]);
                p[i] -= 0.1 * 0.01 * p[i];
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let mh = m[i] / (1.0 - 0.9f64.powi(t as i32 + 1));
                let vh = v[i] / (1.0 - 0.999f64.powi(t as i32 + 1));
                p[i] -= 0.1 * mh / (vh.sqrt() + 1e-8);
            }
        }
        for i in 0..2 {
            assert!((f64::from(params[i]) - p[i]).abs() < 1e-5, "{} != {}", params[i], p[i]);
        }
    }
}
