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

pub use crate::kernels::buffer::resize as fit;
pub use crate::kernels::lanes::{axpy, dot, exp, largest, sum};
use crate::threads::{chunks, chunks_mut, for_each};

/// y += s·x, on all threads.
pub fn add_scaled(s: f32, x: &[f32], y: &mut [f32]) {
    for_each((chunks_mut(y, PART), chunks(x, PART)), 1, |_, (y, x)| axpy(s, x, y));
}

/// y = x, on all threads; `y` grows to fit.
pub fn copy(x: &[f32], y: &mut Vec<f32>) {
    let y = fit(y, x.len());
    for_each((chunks_mut(y, PART), chunks(x, PART)), 1, |_, (y, x)| y.copy_from_slice(x));
}

/// Values that are worth another thread.
const PART: usize = 1 << 15;

#[cfg(test)]
pub mod testing {
    //! Finite differences: the oracle of every backward pass here.

    pub use crate::testing::random;

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
