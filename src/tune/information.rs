//! How much the answer depends on the question: agreement of the samples of one question beyond the
//! agreement of samples of different questions.
//!
//! Mutual information between question and answer finds good prompts without labels (Sorensen et al.,
//! *An Information-theoretic Approach to Prompt Engineering Without Ground Truth Labels*, 2022, arXiv
//! 2203.11364). Its plug-in estimate from few samples is far too high: answers that are all different
//! would have the most. Both measures here are corrected for chance, so that such noise and one answer to
//! everything have none.

use std::collections::BTreeMap;

/// Answers of a question: key → number of samples.
pub type AnswerCounts<'a> = BTreeMap<&'a str, usize>;

/// Adjusted mutual information of question and answer, in `0..=1` (below 0 counts as 0): the mutual
/// information less what random assignment of the same answers to the questions would have, as a share of
/// the most there could be. 0 where every question has the same answer or every sample another, 1 where
/// the question determines the answer.
///
/// Source: Vinh, Epps & Bailey, *Information Theoretic Measures for Clusterings Comparison*, JMLR 2010.
pub fn adjusted_information(questions: &[AnswerCounts]) -> f64 {
    let rows: Vec<usize> = questions.iter().map(|q| q.values().sum::<usize>()).filter(|n| *n > 0).collect();
    let mut columns = BTreeMap::<&str, usize>::new();
    for (key, n) in questions.iter().flatten() {
        *columns.entry(key).or_default() += n;
    }
    let n: usize = rows.iter().sum();
    if n == 0 || rows.len() < 2 || columns.len() < 2 {
        return 0.0;
    }
    let total = n as f64;
    let entropy = |sizes: &mut dyn Iterator<Item = usize>| -> f64 {
        sizes.map(|size| size as f64 / total).map(|p| -p * p.ln()).sum()
    };
    let (of_questions, of_answers) =
        (entropy(&mut rows.iter().copied()), entropy(&mut columns.values().copied()));
    let mut information = 0.0;
    for question in questions {
        let row = question.values().sum::<usize>() as f64;
        for (key, count) in question {
            let (count, column) = (*count as f64, columns[key] as f64);
            information += count / total * (total * count / (row * column)).ln();
        }
    }
    let expected = expected_information(&rows, columns.values().copied(), n);
    let most = of_questions.min(of_answers);
    if most - expected < 1e-9 {
        return 0.0;
    }
    ((information - expected) / (most - expected)).clamp(0.0, 1.0)
}

/// The mutual information that random assignment has on average: a sum over hypergeometric cells.
fn expected_information(rows: &[usize], columns: impl Iterator<Item = usize>, n: usize) -> f64 {
    let factorials = ln_factorials(n);
    let sizes = |sizes: &mut dyn Iterator<Item = usize>| {
        let mut counts = BTreeMap::<usize, usize>::new();
        sizes.for_each(|size| *counts.entry(size).or_default() += 1);
        counts
    };
    let (rows, columns) = (sizes(&mut rows.iter().copied()), sizes(&mut { columns }));
    let mut expected = 0.0;
    for (&a, &with_a) in &rows {
        for (&b, &with_b) in &columns {
            let times = (with_a * with_b) as f64;
            for cell in 1.max((a + b).saturating_sub(n))..=a.min(b) {
                let x = cell as f64;
                let term = x / n as f64 * (n as f64 * x / (a * b) as f64).ln();
                let log_probability = factorials[a] + factorials[b] + factorials[n - a] + factorials[n - b]
                    - factorials[n]
                    - factorials[cell]
                    - factorials[a - cell]
                    - factorials[b - cell]
                    - factorials[n + cell - a - b];
                expected += times * term * log_probability.exp();
            }
        }
    }
    expected
}

fn ln_factorials(n: usize) -> Vec<f64> {
    let mut sums = vec![0.0; n + 1];
    for i in 1..=n {
        sums[i] = sums[i - 1] + (i as f64).ln();
    }
    sums
}

/// The probability that two samples of one question agree, each pair counted once, so that it does not
/// depend on the number of samples. `sizes` are the numbers of samples, those without an answer included,
/// which agree with none. `None` where no question has two samples.
pub fn pair_agreement(questions: &[AnswerCounts], sizes: &[usize]) -> Option<f64> {
    let of_question = questions.iter().zip(sizes).filter(|(_, n)| **n > 1).map(|(counts, n)| {
        let equal: usize = counts.values().map(|c| c * (c - 1)).sum();
        equal as f64 / (n * (n - 1)) as f64
    });
    mean(of_question)
}

/// The probability that two samples of different questions agree. `None` for fewer than two questions.
pub fn chance_agreement(questions: &[AnswerCounts], sizes: &[usize]) -> Option<f64> {
    let asked: Vec<(&AnswerCounts, f64)> =
        questions.iter().zip(sizes).filter(|(_, n)| **n > 0).map(|(c, n)| (c, *n as f64)).collect();
    let m = asked.len() as f64;
    if m < 2.0 {
        return None;
    }
    let (mut sums, mut squares) = (BTreeMap::<&str, f64>::new(), 0.0);
    for (counts, n) in asked {
        for (key, count) in counts {
            let share = *count as f64 / n;
            *sums.entry(key).or_default() += share;
            squares += share * share;
        }
    }
    let all: f64 = sums.values().map(|sum| sum * sum).sum();
    Some((all - squares) / (m * (m - 1.0)))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts<'a>(questions: &[&[(&'a str, usize)]]) -> Vec<AnswerCounts<'a>> {
        questions.iter().map(|q| q.iter().copied().collect()).collect()
    }

    #[test]
    fn one_answer_to_everything_and_answers_that_are_all_different_have_no_information() {
        let paris = counts(&[&[("paris", 4)], &[("paris", 4)], &[("paris", 4)]]);
        assert_eq!(adjusted_information(&paris), 0.0);
        let noise = counts(&[&[("a", 1), ("b", 1)], &[("c", 1), ("d", 1)]]);
        assert!(adjusted_information(&noise) < 1e-6, "{}", adjusted_information(&noise));
        let known = counts(&[&[("a", 4)], &[("b", 4)], &[("a", 4)]]);
        assert!((adjusted_information(&known) - 1.0).abs() < 1e-9);
        let mixed = counts(&[&[("a", 3), ("b", 1)], &[("b", 3), ("a", 1)]]);
        let some = adjusted_information(&mixed);
        assert!(some > 0.05 && some < 0.9, "{some}");
    }

    /// The value is of the hypergeometric formula with whole binomial coefficients.
    #[test]
    fn adjusted_information_is_that_of_the_formula() {
        let questions = counts(&[&[("a", 3), ("b", 1)], &[("b", 3), ("c", 1)], &[("c", 2), ("a", 2)]]);
        let found = adjusted_information(&questions);
        assert!((found - 0.282_446_832_029).abs() < 1e-9, "{found}");
    }

    #[test]
    fn agreement_does_not_depend_on_the_number_of_samples() {
        let four = counts(&[&[("a", 2), ("b", 2)]]);
        let expected = 4.0 / 12.0;
        assert_eq!(pair_agreement(&four, &[4]), Some(expected));
        assert_eq!(pair_agreement(&counts(&[&[("a", 1)]]), &[1]), None);
        assert_eq!(
            pair_agreement(&counts(&[&[("a", 2)]]), &[4]),
            Some(2.0 / 12.0),
            "unread ones agree with none"
        );
    }

    #[test]
    fn chance_is_the_agreement_of_different_questions() {
        let questions = counts(&[&[("a", 2)], &[("a", 1), ("b", 1)]]);
        assert_eq!(chance_agreement(&questions, &[2, 2]), Some(0.5));
        assert_eq!(chance_agreement(&questions[..1], &[2]), None);
    }
}
