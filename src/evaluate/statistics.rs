//! The one test the report quotes.

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
}
