//! RMSNorm: y = w ⊙ x·rstd with rstd = 1/√(mean(x²) + ε). Zhang and Sennrich 2019, arXiv 1910.07467.
//!
//! Backward, with z = w ⊙ dy: dx = rstd·z − x·rstd³/d·⟨z, x⟩.

use super::dot;
use crate::threads::{chunks, chunks_mut, for_each};

/// `y[n, d]` from `x[n, d]` and `w[d]`; keeps `rstd[n]`.
pub fn forward(x: &[f32], w: &[f32], eps: f32, y: &mut [f32], rstd: &mut [f32]) {
    let d = w.len();
    for_each((chunks_mut(y, d), chunks(x, d), chunks_mut(rstd, 1)), 16, |_, (y, x, rstd)| {
        rstd[0] = 1.0 / (dot(x, x) / d as f32 + eps).sqrt();
        scale(x, w, rstd[0], y);
    });
}

/// `y[n, d]` again, from the kept `rstd[n]`.
pub fn recompute(x: &[f32], w: &[f32], rstd: &[f32], y: &mut [f32]) {
    let d = w.len();
    for_each((chunks_mut(y, d), chunks(x, d), chunks(rstd, 1)), 16, |_, (y, x, rstd)| {
        scale(x, w, rstd[0], y);
    });
}

fn scale(x: &[f32], w: &[f32], rstd: f32, y: &mut [f32]) {
    for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
        *y = x * rstd * w;
    }
}

/// `dx[n, d] +=` the gradient through the norm of `dy[n, d]`.
pub fn backward(dy: &[f32], x: &[f32], w: &[f32], rstd: &[f32], dx: &mut [f32]) {
    let d = w.len();
    for_each(
        (chunks_mut(dx, d), chunks(dy, d), chunks(x, d), chunks(rstd, 1)),
        16,
        |_, (dx, dy, x, rstd)| {
            let rstd = rstd[0];
            let zx: f32 = dy
                .chunks(8)
                .zip(w.chunks(8))
                .zip(x.chunks(8))
                .map(|((a, b), c)| a.iter().zip(b).zip(c).map(|((a, b), c)| a * b * c).sum::<f32>())
                .sum();
            let back = rstd * rstd * rstd * zx / d as f32;
            for (((dx, dy), x), w) in dx.iter_mut().zip(dy).zip(x).zip(w) {
                *dx += rstd * w * dy - x * back;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_gradient_equals_finite_differences() {
        let (n, d) = (3, 20);
        let (x, w, dy) = (random(n * d, 1), random(d, 2), random(n * d, 3));
        let run = |x: &[f32]| {
            let (mut y, mut rstd) = (vec![0.0; n * d], vec![0.0; n]);
            forward(x, &w, 1e-5, &mut y, &mut rstd);
            (y, rstd)
        };
        let (y, rstd) = run(&x);
        let mut again = vec![0.0; n * d];
        recompute(&x, &w, &rstd, &mut again);
        assert_eq!(y, again);
        let mut dx = vec![0.0; n * d];
        backward(&dy, &x, &w, &rstd, &mut dx);
        check_gradient("dx", &x, &dx, |x| weigh(&run(x).0, &dy));
    }
}
