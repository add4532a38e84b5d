//! Rotary position embedding, fused with the change of layout that attention wants.
//!
//! The projections write `[n, h·e]`, token after token; attention reads `[h, n, e]`, head after
//! head. Rotation by the angle position·frequency is orthogonal, so its backward pass is the
//! rotation by the negative angle; a magnitude scales both alike. Su et al. 2021, arXiv 2104.09864; pairing as in llama.cpp.

use crate::model::arch::RopePairs;
use crate::model::spec::Rope;
use crate::threads::{chunks_mut, for_each};

/// Cosines and sines of every token's angles.
#[derive(Debug, Default)]
pub struct Angles {
    /// `[n, dims/2]` pairs (cos, sin).
    table: Vec<(f32, f32)>,
    half: usize,
}

impl Angles {
    /// The angles of tokens at `positions`.
    pub fn of(positions: impl IntoIterator<Item = usize>, rope: &Rope) -> Angles {
        let mut table = Vec::new();
        for position in positions {
            table.extend(rope.freqs.iter().map(|frequency| {
                let (sin, cos) = (position as f32 * frequency).sin_cos();
                (rope.magnitude * cos, rope.magnitude * sin)
            }));
        }
        Angles { table, half: rope.freqs.len() }
    }

    fn of_token(&self, t: usize) -> &[(f32, f32)] {
        &self.table[t * self.half..][..self.half]
    }
}

fn rotate(x: &mut [f32], angles: &[(f32, f32)], pairs: RopePairs, direction: f32) {
    let half = angles.len();
    for (i, (cos, sin)) in angles.iter().enumerate() {
        let (a, b) = match pairs {
            RopePairs::Adjacent => (2 * i, 2 * i + 1),
            RopePairs::Halves => (i, i + half),
        };
        let (xa, xb, sin) = (x[a], x[b], sin * direction);
        x[a] = xa * cos - xb * sin;
        x[b] = xa * sin + xb * cos;
    }
}

/// `[n, h·e]` → `[h, n, e]`, rotated where `rotation` is given.
pub fn split_heads(x: &[f32], n: usize, e: usize, rotation: Option<(&Angles, RopePairs)>, y: &mut [f32]) {
    let width = x.len() / n;
    for_each(chunks_mut(y, e), 64, |i, y| {
        let (head, t) = (i / n, i % n);
        y.copy_from_slice(&x[t * width + head * e..][..e]);
        if let Some((angles, pairs)) = rotation {
            rotate(y, angles.of_token(t), pairs, 1.0);
        }
    });
}

/// `[h, n, e]` → `[n, h·e]`, rotated back where `rotation` is given: the backward pass of
/// [`split_heads`].
pub fn join_heads(y: &[f32], n: usize, e: usize, rotation: Option<(&Angles, RopePairs)>, x: &mut [f32]) {
    let width = x.len() / n;
    for_each(chunks_mut(x, width), 16, |t, x| {
        for (head, x) in x.chunks_exact_mut(e).enumerate() {
            x.copy_from_slice(&y[(head * n + t) * e..][..e]);
            if let Some((angles, pairs)) = rotation {
                rotate(x, angles.of_token(t), pairs, -1.0);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_gradient_equals_finite_differences_for_both_pairings() {
        let (n, h, e) = (3, 2, 8);
        let rope = Rope { freqs: vec![1.0, 0.3, 0.02], magnitude: 1.2 };
        let angles = Angles::of([0, 1, 7], &rope);
        for pairs in [RopePairs::Adjacent, RopePairs::Halves] {
            let (x, w) = (random(n * h * e, 1), random(n * h * e, 2));
            let run = |x: &[f32]| {
                let mut y = vec![0.0; x.len()];
                split_heads(x, n, e, Some((&angles, pairs)), &mut y);
                y
            };
            let mut dx = vec![0.0; x.len()];
            join_heads(&w, n, e, Some((&angles, pairs)), &mut dx);
            check_gradient("dx", &x, &dx, |x| weigh(&run(x), &w));
        }
    }
}
