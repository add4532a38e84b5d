//! RMSNorm: y = w ⊙ x·ρ with ρ = 1/√(mean(x²) + ε). Zhang and Sennrich 2019, arXiv 1910.07467.
//!
//! Backward, with z = w ⊙ dy: dx = ρ·z − x·ρ³/d·⟨z, x⟩.

use rayon::prelude::*;

use super::dot;

/// `y[n, d]` from `x[n, d]` and `w[d]`; keeps `rho[n]`.
pub fn forward(x: &[f32], w: &[f32], eps: f32, y: &mut [f32], rho: &mut [f32]) {
    let d = w.len();
    y.par_chunks_mut(d).zip(x.par_chunks(d)).zip(rho.par_iter_mut()).with_min_len(16).for_each(
        |((y, x), rho)| {
            *rho = 1.0 / (dot(x, x) / d as f32 + eps).sqrt();
            scale(x, w, *rho, y);
        },
    );
}

/// `y[n, d]` again, from the kept `rho[n]`.
pub fn recompute(x: &[f32], w: &[f32], rho: &[f32], y: &mut [f32]) {
    let d = w.len();
    y.par_chunks_mut(d)
        .zip(x.par_chunks(d))
        .zip(rho.par_iter())
        .with_min_len(16)
        .for_each(|((y, x), rho)| scale(x, w, *rho, y));
}

fn scale(x: &[f32], w: &[f32], rho: f32, y: &mut [f32]) {
    for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
        *y = x * rho * w;
    }
}

/// `dx[n, d] +=` the gradient through the norm of `dy[n, d]`.
pub fn backward(dy: &[f32], x: &[f32], w: &[f32], rho: &[f32], dx: &mut [f32]) {
    let d = w.len();
    dx.par_chunks_mut(d)
        .zip(dy.par_chunks(d))
        .zip(x.par_chunks(d).zip(rho.par_iter()))
        .with_min_len(16)
        .for_each(|((dx, dy), (x, rho))| {
            let zx: f32 = dy
                .chunks(8)
                .zip(w.chunks(8))
                .zip(x.chunks(8))
                .map(|((a, b), c)| a.iter().zip(b).zip(c).map(|((a, b), c)| a * b * c).sum::<f32>())
                .sum();
            let back = rho * rho * rho * zx / d as f32;
            for (((dx, dy), x), w) in dx.iter_mut().zip(dy).zip(x).zip(w) {
                *dx += rho * w * dy - x * back;
            }
        });
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
            let (mut y, mut rho) = (vec![0.0; n * d], vec![0.0; n]);
            forward(x, &w, 1e-5, &mut y, &mut rho);
            (y, rho)
        };
        let (y, rho) = run(&x);
        let mut again = vec![0.0; n * d];
        recompute(&x, &w, &rho, &mut again);
        assert_eq!(y, again);
        let mut dx = vec![0.0; n * d];
        backward(&dy, &x, &w, &rho, &mut dx);
        check_gradient("dx", &x, &dx, |x| weigh(&run(x).0, &dy));
    }
}
