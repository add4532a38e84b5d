//! A frozen linear layer with a low-rank adapter: y = W·x + b + s·B·(A·x). Hu et al. 2021,
//! arXiv 2106.09685.
//!
//! B is kept transposed (`[r, n_out]`), so that both gradients are products with few rows whose
//! right side needs no transposing. With t = A·x and dt = s·Bᵀ·dy:
//! dx = Wᵀ·dy + Aᵀ·dt, dA = dt·xᵀ, dB = s·dy·tᵀ, summed over tokens.

use super::fit;
use crate::tensor::Rows;
use crate::tensor::gemm::{Left, Out, Right, View, product};

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

/// One linear layer.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    /// The frozen weight, `n_out` rows of `n_in`.
    pub weight: Rows<'a>,
    /// `[n_out]`, or empty.
    pub bias: &'a [f32],
    /// The adapter, unless this layer has none.
    pub pair: Option<Pair<'a>>,
}

/// Packed gradients that [`Linear::backward`] leaves for the product that makes dx.
#[derive(Debug, Default)]
pub struct Packs {
    dy: Left,
    dt: Left,
    small: Left,
    dt_values: Vec<f32>,
}

impl Linear<'_> {
    /// `y[n, n_out] =` (or `+=`) the layer applied to the packed `x[n, n_in]`; keeps `t[n, r]`.
    pub fn forward(
        &self,
        x: &Left,
        n: usize,
        y: &mut [f32],
        accumulate: bool,
        t: &mut Vec<f32>,
        pack: &mut Left,
    ) {
        let n_out = self.weight.rows;
        let mut accumulate = accumulate;
        if !self.bias.is_empty() {
            assert!(!accumulate, "no architecture adds a biased projection to the residual stream");
            y.chunks_exact_mut(n_out).for_each(|row| row.copy_from_slice(self.bias));
            accumulate = true;
        }
        let base = (x, Right::Forward(self.weight));
        let Some(p) = self.pair else {
            return product(Out::new(y, n, n_out), &[base], accumulate);
        };
        let t = fit(t, n * p.rank);
        let a = View::new(p.a, p.rank, self.weight.cols);
        product(Out::new(t, n, p.rank), &[(x, Right::Dense(a.t()))], false);
        pack.pack(View::new(t, n, p.rank), p.scale);
        let low_rank = (&*pack, Right::Dense(View::new(p.bt, p.rank, n_out)));
        product(Out::new(y, n, n_out), &[base, low_rank], accumulate);
    }

    /// Adds this layer's share to `da[r, n_in]` and `dbt[r, n_out]` and packs what
    /// [`Linear::dx_terms`] multiplies. `x[n, n_in]` and `t[n, r]` are those of the forward pass.
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
        product(Out::new(dt, n, p.rank), &[(&packs.dy, Right::Dense(bt.t()))], false);
        dt.iter_mut().for_each(|x| *x *= p.scale);
        packs.dt.pack(View::new(dt, n, p.rank), 1.0);
        packs.small.pack(View::new(dt, n, p.rank).t(), 1.0);
        product(Out::new(da, p.rank, n_in), &[(&packs.small, Right::Dense(View::new(x, n, n_in)))], true);
        packs.small.pack(View::new(t, n, p.rank).t(), p.scale);
        product(Out::new(dbt, p.rank, n_out), &[(&packs.small, Right::Dense(View::new(dy, n, n_out)))], true);
    }

    /// The products whose sum is dx.
    pub fn dx_terms<'a>(&'a self, packs: &'a Packs) -> Vec<(&'a Left, Right<'a>)> {
        let mut terms = vec![(&packs.dy, Right::Backward(self.weight))];
        if let Some(p) = self.pair {
            terms.push((&packs.dt, Right::Dense(View::new(p.a, p.rank, self.weight.cols))));
        }
        terms
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::tensor::QuantType;

    #[test]
    fn all_gradients_equal_finite_differences() {
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
        };
        let run = |x: &[f32], a: &[f32], bt: &[f32]| {
            let (mut y, mut t) = (vec![0.0; n * n_out], Vec::new());
            let layer = layer(Vec::leak(a.to_vec()), Vec::leak(bt.to_vec()));
            layer.forward(&Left::of(View::new(x, n, n_in)), n, &mut y, false, &mut t, &mut Left::default());
            (y, t)
        };
        let (_, t) = run(&x, &a, &bt);
        let layer = layer(Vec::leak(a.clone()), Vec::leak(bt.clone()));
        let (mut da, mut dbt, mut dx) = (vec![0.0; a.len()], vec![0.0; bt.len()], vec![0.0; x.len()]);
        let mut packs = Packs::default();
        layer.backward(n, &x, &t, &dy, Some((&mut da, &mut dbt)), &mut packs);
        product(Out::new(&mut dx, n, n_in), &layer.dx_terms(&packs), false);
        check_gradient("dx", &x, &dx, |x| weigh(&run(x, &a, &bt).0, &dy));
        check_gradient("da", &a, &da, |a| weigh(&run(&x, a, &bt).0, &dy));
        check_gradient("dbt", &bt, &dbt, |bt| weigh(&run(&x, &a, bt).0, &dy));
    }
}
