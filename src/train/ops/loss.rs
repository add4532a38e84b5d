//! Cross-entropy at the answer positions: loss = −Σ weight·count·log softmax(z)[target], where the
//! logits z = c·tanh(s·x/c) are those the output layer gave, x, scaled and capped (or z = s·x).
//!
//! Backward: dz = weight·Σ count·(softmax(z) − onehot(target)), dx = s·(1 − (z/c)²)·dz.

use super::exp;
use crate::threads::{chunks_mut, for_each};
use crate::train::batch::TargetToken;

/// What the output layer's values pass through to become logits.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// s
    pub scale: f32,
    /// c; 0 for no cap.
    pub cap: f32,
}

impl Shape {
    fn is_plain(self) -> bool {
        self.scale == 1.0 && self.cap == 0.0
    }

    /// x becomes z.
    pub fn apply(self, x: &mut [f32]) {
        x.iter_mut().for_each(|x| {
            *x *= self.scale;
            if self.cap != 0.0 {
                *x = self.cap * (*x / self.cap).tanh();
            }
        });
    }

    /// dz/dx, given z.
    fn slope(self, z: f32) -> f32 {
        let t = if self.cap == 0.0 { 0.0 } else { z / self.cap };
        self.scale * (1.0 - t * t)
    }
}

/// Turns `logits[m, v]`, as the output layer gave them, into its gradient and returns the loss, `weight` per target token.
///
/// `targets` are those of rows `0..m`, in order of their rows.
pub fn forward_backward(
    logits: &mut [f32],
    m: usize,
    targets: &[TargetToken],
    first_row: usize,
    weight: f32,
    shape: Shape,
) -> f64 {
    let v = logits.len() / m;
    let mut losses = vec![0.0; m];
    for_each((chunks_mut(logits, v), chunks_mut(&mut losses, 1)), 1, |row, (logits, row_loss)| {
        let from = targets.partition_point(|t| t.row < first_row + row);
        let to = targets.partition_point(|t| t.row <= first_row + row);
        let slopes: Vec<f32> = if shape.is_plain() {
            Vec::new()
        } else {
            shape.apply(logits);
            logits.iter().map(|z| shape.slope(*z)).collect()
        };
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0f64;
        for block in logits.chunks(1024) {
            sum += f64::from(block.iter().map(|x| exp(x - top)).sum::<f32>());
        }
        let log_sum = f64::from(top) + sum.ln();
        let mut loss = 0.0;
        let mut count = 0;
        for t in &targets[from..to] {
            loss += f64::from(t.count) * (log_sum - f64::from(logits[t.token as usize]));
            count += t.count;
        }
        let scale = weight * count as f32 / sum as f32;
        for x in logits.iter_mut() {
            *x = scale * exp(*x - top);
        }
        for t in &targets[from..to] {
            logits[t.token as usize] -= weight * t.count as f32;
        }
        for (x, slope) in logits.iter_mut().zip(&slopes) {
            *x *= slope;
        }
        row_loss[0] = f64::from(weight) * loss;
    });
    losses.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const PLAIN: Shape = Shape { scale: 1.0, cap: 0.0 };

    #[test]
    fn the_gradient_equals_finite_differences_with_several_targets_a_row() {
        let (m, v) = (3, 7);
        let logits = random(m * v, 1);
        let targets = [
            TargetToken { row: 4, token: 2, count: 1 },
            TargetToken { row: 5, token: 0, count: 2 },
            TargetToken { row: 5, token: 6, count: 1 },
            TargetToken { row: 6, token: 3, count: 1 },
        ];
        for shape in [PLAIN, Shape { scale: 2.0, cap: 0.0 }, Shape { scale: 1.5, cap: 0.6 }] {
            let run = |x: &[f32]| {
                let mut x = x.to_vec();
                let loss = forward_backward(&mut x, m, &targets, 4, 0.3, shape);
                (loss, x)
            };
            let (_, gradient) = run(&logits);
            check_gradient("dlogits", &logits, &gradient, |x| run(x).0);
        }
    }

    #[test]
    fn a_uniform_guess_costs_the_log_of_the_vocabulary() {
        let mut logits = vec![3.0; 50];
        let loss =
            forward_backward(&mut logits, 1, &[TargetToken { row: 0, token: 7, count: 1 }], 0, 1.0, PLAIN);
        assert!((loss - 50f64.ln()).abs() < 1e-6);
    }
}
