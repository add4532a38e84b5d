//! A frozen linear layer with a low-rank adapter: y = W·x + b + s·B·(A·x̃). Hu et al. 2021,
//! arXiv 2106.09685. x̃ is x, or x with dropout: each value zeroed with probability p, the others
//! divided by 1 − p.
//!
//! B is kept transposed (`[r, n_out]`), so that both gradients are products with few rows whose
//! right side needs no transposing. With t = A·x̃ and dt = s·Bᵀ·dy:
//! dx = Wᵀ·dy + mask ⊙ Aᵀ·dt, dA = dt·x̃ᵀ, dB = s·dy·tᵀ, summed over tokens.

use std::borrow::Cow;

use super::fit;
use crate::gguf::Rows;
use crate::kernels::gemm::{Kernel, Out, PackedLhs, Rhs, View, matmul};
use crate::kernels::splitmix::splitmix64;
use crate::threads::{chunks_mut, for_each};

/// The adapter of one linear layer.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// `[r, n_in]`
    pub a: &'a [f32],
    /// `[r, n_out]`, the transpose of B.
    pub bt: &'a [f32],
    /// r
    pub rank: usize,
    /// s = α/r
    pub scale: f32,
}

/// Dropout of what an adapter reads. The mask is a function of the seed and a value's place alone,
/// so that the backward pass finds it again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// p
    pub probability: f32,
    /// Another one for every step, layer and module.
    pub seed: u64,
}

impl Dropout {
    /// Multiplies every value with its place's factor: 0 or 1/(1 − p).
    fn apply(self, x: &mut [f32]) {
        const CHUNK: usize = 4096;
        let keep = 1.0 / (1.0 - self.probability);
        let least = (f64::from(self.probability) * (1u64 << 32) as f64) as u64;
        for_each(chunks_mut(x, CHUNK), 1, |chunk, x| {
            for (i, x) in x.iter_mut().enumerate() {
                let place = (chunk * CHUNK + i) as u64;
                *x *= if splitmix64(self.seed ^ splitmix64(place)) >> 32 < least { 0.0 } else { keep };
            }
        });
    }
}

/// One linear layer.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    /// The frozen weight, `n_out` rows of `n_in`.
    pub weight: Rows<'a>,
    /// `[n_out]`, or empty.
    pub bias: &'a [f32],
    /// The adapter, unless this layer has none.
    pub pair: Option<Pair<'a>>,
    /// Dropout of what the adapter reads.
    pub dropout: Option<Dropout>,
}

/// What a linear layer reads: `[n, n_in]`, plain and packed.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Row after row.
    pub values: &'a [f32],
    /// The same, packed.
    pub packed: &'a PackedLhs,
}

/// Buffers of the low-rank products, and packed gradients that [`Linear::backward`] leaves for
/// [`gradient_of_input`].
#[derive(Debug, Default)]
pub struct Packs {
    dy: PackedLhs,
    dt: PackedLhs,
    small: PackedLhs,
    dt_values: Vec<f32>,
}

impl Packs {
    /// Empty buffers for products with `kernel`.
    pub fn new(kernel: &'static Kernel) -> Packs {
        let left = || PackedLhs::new(kernel);
        Packs { dy: left(), dt: left(), small: left(), dt_values: Vec::new() }
    }
}

impl Linear<'_> {
    /// `y[n, n_out] =` (or `+=`) the layer applied to `x`; keeps `t[n, r]`.
    pub fn forward(
        &self,
        x: Input,
        n: usize,
        y: &mut [f32],
        accumulate: bool,
        t: &mut Vec<f32>,
        pack: &mut PackedLhs,
    ) {
        let n_out = self.weight.rows;
        let mut accumulate = accumulate;
        if !self.bias.is_empty() {
            assert!(!accumulate, "no architecture adds a biased projection to the residual stream");
            for_each(chunks_mut(y, n_out), 64, |_, row| row.copy_from_slice(self.bias));
            accumulate = true;
        }
        let base = (x.packed, Rhs::Forward(self.weight));
        let Some(p) = self.pair else {
            return matmul(Out::new(y, n, n_out), &[base], accumulate);
        };
        let t = fit(t, n * p.rank);
        let a = Rhs::Dense(View::new(p.a, p.rank, self.weight.cols).t());
        match self.read(x.values) {
            Cow::Borrowed(_) => matmul(Out::new(t, n, p.rank), &[(x.packed, a)], false),
            Cow::Owned(dropped) => {
                pack.pack(View::new(&dropped, n, self.weight.cols), 1.0);
                matmul(Out::new(t, n, p.rank), &[(pack, a)], false);
            }
        }
        pack.pack(View::new(t, n, p.rank), p.scale);
        let low_rank = (&*pack, Rhs::Dense(View::new(p.bt, p.rank, n_out)));
        matmul(Out::new(y, n, n_out), &[base, low_rank], accumulate);
    }

    /// x̃: what the adapter reads.
    fn read<'x>(&self, x: &'x [f32]) -> Cow<'x, [f32]> {
        let mut x = Cow::Borrowed(x);
        if let Some(dropout) = self.dropout {
            dropout.apply(x.to_mut());
        }
        x
    }

    /// Adds this layer's share to `da[r, n_in]` and `dbt[r, n_out]` and packs what
    /// [`gradient_of_input`] multiplies. `x[n, n_in]` and `t[n, r]` are those of the forward pass.
    pub fn backward(
        &self,
        n: usize,
        x: &[f32],
        t: &[f32],
        dy: &[f32],
        grads: Option<(&mut [f32], &mut [f32])>,
        packs: &mut Packs,
    ) {
        let (n_in, n_out) = (self.weight.cols, self.weight.rows);
        packs.dy.pack(View::new(dy, n, n_out), 1.0);
        let (Some(p), Some((da, dbt))) = (self.pair, grads) else { return };
        let dt = fit(&mut packs.dt_values, n * p.rank);
        let bt = View::new(p.bt, p.rank, n_out);
        matmul(Out::new(dt, n, p.rank), &[(&packs.dy, Rhs::Dense(bt.t()))], false);
        dt.iter_mut().for_each(|x| *x *= p.scale);
        packs.dt.pack(View::new(dt, n, p.rank), 1.0);
        packs.small.pack(View::new(dt, n, p.rank).t(), 1.0);
        let x = self.read(x);
        matmul(Out::new(da, p.rank, n_in), &[(&packs.small, Rhs::Dense(View::new(&x, n, n_in)))], true);
        packs.small.pack(View::new(t, n, p.rank).t(), p.scale);
        matmul(Out::new(dbt, p.rank, n_out), &[(&packs.small, Rhs::Dense(View::new(dy, n, n_out)))], true);
    }
}

/// `dx[n, n_in] =` the gradient of the input that all `layers` read, after their
/// [`Linear::backward`]. One product for all, but for adapters with dropout.
pub fn gradient_of_input(dx: &mut [f32], n: usize, layers: &[(&Linear, &Packs)]) {
    let n_in = dx.len() / n;
    let mut terms: Vec<(&PackedLhs, Rhs)> = Vec::new();
    for (layer, packs) in layers {
        terms.push((&packs.dy, Rhs::Backward(layer.weight)));
        if let (Some(p), None) = (layer.pair, layer.dropout) {
            terms.push((&packs.dt, Rhs::Dense(View::new(p.a, p.rank, n_in))));
        }
    }
    matmul(Out::new(dx, n, n_in), &terms, false);
    for (layer, packs) in layers {
        if let (Some(p), Some(dropout)) = (layer.pair, layer.dropout) {
            let mut masked = vec![0.0; dx.len()];
            let a = Rhs::Dense(View::new(p.a, p.rank, n_in));
            matmul(Out::new(&mut masked, n, n_in), &[(&packs.dt, a)], false);
            dropout.apply(&mut masked);
            super::axpy(1.0, &masked, dx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::gguf::QuantType;
    use crate::kernels::gemm::ComputeDtype;

    #[test]
    fn all_gradients_equal_finite_differences() {
        check_gradients(None);
        check_gradients(Some(Dropout { probability: 0.3, seed: 5 }));
    }

    #[test]
    fn dropout_zeroes_the_asked_share_and_keeps_the_mean() {
        let mut x = vec![1.0; 100_000];
        Dropout { probability: 0.2, seed: 3 }.apply(&mut x);
        let (zeros, mean) = (x.iter().filter(|x| **x == 0.0).count(), x.iter().sum::<f32>() / 1e5);
        // Five standard deviations of a binomial count.
        assert!((zeros as f64 - 20_000.0).abs() < 5.0 * (100_000.0f64 * 0.2 * 0.8).sqrt(), "{zeros}");
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
    }

    fn check_gradients(dropout: Option<Dropout>) {
        let (n, n_in, n_out, rank) = (5, 12, 9, 3);
        let weight = random(n_in * n_out, 1);
        let bytes: Vec<u8> = weight.iter().flat_map(|x| x.to_le_bytes()).collect();
        let bias = random(n_out, 2);
        let (x, a, bt, dy) =
            (random(n * n_in, 3), random(rank * n_in, 4), random(rank * n_out, 5), random(n * n_out, 6));
        let layer = |a: &'static [f32], bt: &'static [f32]| Linear {
            weight: Rows { ty: QuantType::F32, data: Vec::leak(bytes.clone()), rows: n_out, cols: n_in },
            bias: Vec::leak(bias.clone()),
            pair: Some(Pair { a, bt, rank, scale: 0.7 }),
            dropout,
        };
        let run = |x: &[f32], a: &[f32], bt: &[f32]| {
            let (mut y, mut t) = (vec![0.0; n * n_out], Vec::new());
            let layer = layer(Vec::leak(a.to_vec()), Vec::leak(bt.to_vec()));
            let input = Input {
                values: x,
                packed: &PackedLhs::of(Kernel::of(ComputeDtype::F32).unwrap(), View::new(x, n, n_in)),
            };
            layer.forward(input, n, &mut y, false, &mut t, &mut PackedLhs::default());
            (y, t)
        };
        let (_, t) = run(&x, &a, &bt);
        let layer = layer(Vec::leak(a.clone()), Vec::leak(bt.clone()));
        let (mut da, mut dbt, mut dx) = (vec![0.0; a.len()], vec![0.0; bt.len()], vec![0.0; x.len()]);
        let mut packs = Packs::default();
        layer.backward(n, &x, &t, &dy, Some((&mut da, &mut dbt)), &mut packs);
        gradient_of_input(&mut dx, n, &[(&layer, &packs)]);
        check_gradient("dx", &x, &dx, |x| weigh(&run(x, &a, &bt).0, &dy));
        check_gradient("da", &a, &da, |a| weigh(&run(&x, a, &bt).0, &dy));
        check_gradient("dbt", &bt, &dbt, |bt| weigh(&run(&x, &a, bt).0, &dy));
    }
}
