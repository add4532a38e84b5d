//! The test that the report quotes, and the interval of a share.

/// McNemar's exact two-sided p for two ways of answering the same questions: the chance of a split
/// of the questions that only one of them gets right at least as uneven as this one, were both
/// equally good. 1 where they never differ.
pub fn mcnemar_exact(a: &[bool], b: &[bool]) -> f64 {
    let only_a = a.iter().zip(b).filter(|(a, b)| **a && !**b).count();
    let only_b = a.iter().zip(b).filter(|(a, b)| !**a && **b).count();
    let (n, k) = (only_a + only_b, only_a.min(only_b));
    // Σ_{i≤k} C(n, i) / 2ⁿ, in logarithms: n may be thousands.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for i in 0..k {
        log_term += ((n - i) as f64).ln() - ((i + 1) as f64).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}

/// The 95% interval of a share that was seen in `n` draws (Wilson 1927); `[0, 1]` without draws.
pub fn wilson(share: f64, n: usize) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    const Z: f64 = 1.959_963_984_540_054;
    let n = n as f64;
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    [((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_equals_the_binomial_test_worked_by_hand() {
        let pairs = |only_a: usize, only_b: usize| {
            let a: Vec<bool> = (0..only_a + only_b).map(|i| i < only_a).collect();
            let b: Vec<bool> = a.iter().map(|x| !x).collect();
            mcnemar_exact(&a, &b)
        };
        assert!((pairs(0, 5) - 2.0 / 32.0).abs() < 1e-12);
        assert!((pairs(1, 5) - 2.0 * 7.0 / 64.0).abs() < 1e-12);
        assert_eq!(pairs(3, 3), 1.0);
        assert_eq!(mcnemar_exact(&[true], &[true]), 1.0);
        assert!(pairs(0, 2000) < 1e-300);
    }

    #[test]
    fn the_interval_of_a_share_is_that_of_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
        for (k, n, [low, high]) in [
            (9, 10, [0.5958499732047616, 0.9821237869049271]),
            (0, 20, [0.0, 0.16112515805281938]),
            (21, 40, [0.3749736210669247, 0.670645298873211]),
        ] {
            let found = wilson(k as f64 / n as f64, n);
            assert!((found[0] - low).abs() < 1e-12 && (found[1] - high).abs() < 1e-12, "{found:?}");
        }
        assert_eq!(wilson(0.0, 0), [0.0, 1.0]);
    }
}
