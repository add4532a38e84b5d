//! Helpers of the unit tests.

pub mod random_model;

/// Pseudo-random values in -0.5..0.5.
pub fn random(n: usize, seed: u64) -> Vec<f32> {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random::<f32>() - 0.5).collect()
}
