//! Agreement of a candidate with the votes of the others.
//!
//! Self-agreement alone overrates prompts that are consistently wrong (GLaPE, arXiv 2402.02408), so each
//! candidate is compared with what the others say (zero-label prompt selection, arXiv 2211.04668). The
//! others are weighted by how far they agree with the rest in turn, until the weights no longer change: the
//! expectation-maximization of Dawid and Skene (1979) with one reliability for each candidate.
//!
//! That candidates agree on an answer which stands in the question says little where others, as consistent,
//! say something else: they have all copied the same opinion. Such votes count less, by how much the
//! candidates differ in what they take from the text, and as usual where all take their answers from there.
//! A vote for what the question states as somebody's opinion does not count at all.
//!
//! A candidate is never compared with itself or its own variations. Candidates of one method tend to make
//! the same mistakes, so that `m` of them count as `√m`.

use std::collections::BTreeMap;

use super::votes::CandidateVotes;

/// Iterations, of which a few suffice: reliabilities change by half of the difference each time.
const ITERATIONS: usize = 40;
/// Reliabilities stay within this distance of 0 and 1, where weights would be infinite.
const MARGIN: f64 = 0.02;

/// The reliabilities of the candidates at the fixed point.
#[derive(Debug)]
pub struct Consensus {
    reliability: Vec<f64>,
    /// `1/√m` for a candidate of a method with `m` candidates.
    share_of_method: Vec<f64>,
    /// How little a vote counts for an answer that stands in the question, in `0..=1`.
    suspicion: f64,
}

impl Consensus {
    /// Iterates to the fixed point. `suspicion` is how little a vote counts for an answer that stands in the
    /// question, in `0..=1`.
    pub fn of(all: &[CandidateVotes], suspicion: f64) -> Consensus {
        let mut of_method = BTreeMap::<&str, usize>::new();
        all.iter().for_each(|votes| *of_method.entry(&votes.method).or_default() += 1);
        let share_of_method =
            all.iter().map(|votes| 1.0 / (of_method[votes.method.as_str()] as f64).sqrt()).collect();
        let mut consensus = Consensus { reliability: vec![0.5; all.len()], share_of_method, suspicion };
        for _ in 0..ITERATIONS {
            let found: Vec<f64> = (0..all.len()).map(|index| consensus.agreement(index, all)).collect();
            for (reliability, found) in consensus.reliability.iter_mut().zip(found) {
                *reliability = (0.5 * (*reliability + found)).clamp(MARGIN, 1.0 - MARGIN);
            }
        }
        consensus
    }

    /// The expected share of the samples of candidate `index` that are right where the others' votes decide.
    pub fn agreement(&self, index: usize, all: &[CandidateVotes]) -> f64 {
        mean(all[index].questions.iter().filter(|q| q.n > 0).filter_map(|votes| {
            let others = self.posterior(index, all, &votes.question)?;
            Some(votes.shares().map(|(key, share)| share * others.get(key).copied().unwrap_or(0.0)).sum())
        }))
    }

    /// The mean share of the others' samples that agree with a sample of candidate `index`, where the others
    /// are those that `counts`.
    pub fn plain_agreement(
        &self,
        index: usize,
        all: &[CandidateVotes],
        counts: &dyn Fn(&CandidateVotes) -> bool,
    ) -> f64 {
        mean(all[index].questions.iter().filter(|q| q.n > 0).filter_map(|votes| {
            let (mut agree, mut of) = (0.0, 0.0);
            for (other, their_votes) in others(index, all, &votes.question).filter(|(o, _)| counts(&all[*o]))
            {
                let weight = self.share_of_method[other];
                agree +=
                    weight * votes.shares().map(|(key, share)| share * their_votes.share(key)).sum::<f64>();
                of += weight;
            }
            (of > 0.0).then(|| agree / of)
        }))
    }

    /// The probability of each answer to `question`, by the votes of the candidates that are no relatives of
    /// candidate `index`. `None` where there are none.
    fn posterior<'a>(
        &self,
        index: usize,
        all: &'a [CandidateVotes],
        question: &str,
    ) -> Option<BTreeMap<&'a str, f64>> {
        let mut evidence = BTreeMap::<&str, f64>::new();
        let others: Vec<_> = others(index, all, question).collect();
        for (_, votes) in &others {
            evidence.extend(votes.shares().map(|(key, _)| (key, 0.0)));
        }
        if evidence.is_empty() {
            return None;
        }
        // Besides the answers given there is one that nobody gave.
        let alternatives = evidence.len() as f64;
        for (other, votes) in others {
            let right = self.reliability[other];
            let weight = (right * alternatives / (1.0 - right)).ln().max(0.0) * self.share_of_method[other];
            for (answer, (key, share)) in votes.answers.iter().zip(votes.shares()) {
                let counts = match (answer.opinion, answer.verbatim) {
                    (true, _) => 0.0,
                    (false, true) => 1.0 - self.suspicion,
                    (false, false) => 1.0,
                };
                *evidence.get_mut(key)? += weight * share * counts;
            }
        }
        let most = evidence.values().copied().fold(0.0, f64::max);
        let total: f64 = evidence.values().map(|e| (e - most).exp()).sum::<f64>() + (-most).exp();
        evidence.values_mut().for_each(|e| *e = (*e - most).exp() / total);
        Some(evidence)
    }
}

/// The candidates that are no relatives of candidate `index`, with their votes on `question`.
fn others<'a>(
    index: usize,
    all: &'a [CandidateVotes],
    question: &str,
) -> impl Iterator<Item = (usize, &'a super::votes::QuestionVotes)> {
    let family = &all[index].family;
    all.iter()
        .enumerate()
        .filter(move |(_, other)| other.family != *family)
        .filter_map(move |(place, other)| Some((place, other.on(question)?)))
        .filter(|(_, votes)| votes.n > 0)
        .collect::<Vec<_>>()
        .into_iter()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    sum / n.max(1) as f64
}
