//! Agreement of a candidate with the votes of the others.
//!
//! Self-agreement alone overrates prompts that are consistently wrong (GLaPE, arXiv 2402.02408), so each
//! candidate is compared with what the others say (zero-label prompt selection, arXiv 2211.04668). The
//! others are weighted by how far they agree with the rest in turn, until the weights no longer change: the
//! expectation-maximization of Dawid and Skene (1979) with one reliability for each candidate. What a vote
//! says depends on how rare its answer is by chance ([`Surprise`]).
//!
//! Reliabilities are found without a candidate's own votes and those of its variations. Its own votes count
//! in the end, by that reliability, as otherwise the best candidate would be judged by worse ones than all
//! others are. Candidates of one method tend to make the same mistakes, so that `m` of them count as `√m`.

use std::collections::BTreeMap;

use super::surprise::Surprise;
use super::votes::{AnswerVotes, CandidateVotes, QuestionVotes, shares_of_methods};

/// Iterations, of which a few suffice.
const ITERATIONS: usize = 30;
/// The least reliability, as a part of the largest: nobody is ignored.
const LEAST: f64 = 0.02;
/// Shares of answers are raised to this power to tell which one would win a vote of many samples.
const SHARPNESS: f64 = 3.0;
/// Evidence for an answer is bounded, in nats.
const MOST_EVIDENCE: f64 = 30.0;

/// The reliabilities of the candidates at the fixed point.
#[derive(Debug)]
pub struct Consensus<'a> {
    all: &'a [CandidateVotes],
    /// Question → the candidates that have samples of it.
    asked: BTreeMap<&'a str, Vec<(usize, &'a QuestionVotes)>>,
    surprise: Surprise<'a>,
    reliability: Vec<f64>,
    /// `1/√m` for a candidate of a method with `m` candidates.
    share_of_method: Vec<f64>,
}

impl<'a> Consensus<'a> {
    /// Iterates to the fixed point.
    pub fn of(all: &'a [CandidateVotes]) -> Consensus<'a> {
        let share_of_method = shares_of_methods(all);
        let mut asked = BTreeMap::<&str, Vec<(usize, &QuestionVotes)>>::new();
        for (place, candidate) in all.iter().enumerate() {
            for votes in candidate.questions.iter().filter(|votes| votes.n > 0) {
                asked.entry(&votes.question).or_default().push((place, votes));
            }
        }
        let (surprise, reliability) = (Surprise::of(all), vec![1.0; all.len()]);
        let mut consensus = Consensus { all, asked, surprise, reliability, share_of_method };
        for _ in 0..ITERATIONS {
            let found: Vec<f64> =
                (0..all.len()).map(|index| consensus.expected(index, false, &share_of_samples)).collect();
            let most = found.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            consensus.reliability = found.iter().map(|found| found / most + LEAST).collect();
        }
        consensus
    }

    /// The expected share of the samples of candidate `index` that are right.
    pub fn of_samples(&self, index: usize) -> f64 {
        self.expected(index, true, &share_of_samples)
    }

    /// The expected share of the questions on which the vote of candidate `index` is right.
    pub fn of_vote(&self, index: usize) -> f64 {
        self.expected(index, true, &share_of_vote)
    }

    /// The expected share of right answers of candidate `index`, where an answer counts by its `share`. Its
    /// own votes say what is right only `with_own`.
    fn expected(&self, index: usize, with_own: bool, share: &dyn Fn(&QuestionVotes, usize) -> f64) -> f64 {
        mean(self.all[index].questions.iter().filter(|q| q.n > 0).filter_map(|votes| {
            let others = self.posterior(index, with_own, votes)?;
            Some(
                votes
                    .answers
                    .iter()
                    .enumerate()
                    // Whoever repeats an opinion is right by chance only, and so is who lost the question.
                    .filter(|(_, answer)| !answer.is_void())
                    .filter_map(|(place, answer)| {
                        Some(share(votes, place) * others.get(answer.key.as_str())?)
                    })
                    .sum(),
            )
        }))
    }

    /// The mean share of the others' samples that agree with a sample of candidate `index`, where the others
    /// are those that `counts`.
    pub fn plain_agreement(&self, index: usize, counts: &dyn Fn(&CandidateVotes) -> bool) -> f64 {
        mean(self.all[index].questions.iter().filter(|q| q.n > 0).filter_map(|votes| {
            let (mut agree, mut of) = (0.0, 0.0);
            for (other, their_votes) in
                self.others(index, &votes.question).filter(|(other, _)| counts(&self.all[*other]))
            {
                let weight = self.share_of_method[other];
                agree +=
                    weight * votes.shares().map(|(key, share)| share * their_votes.share(key)).sum::<f64>();
                of += weight;
            }
            (of > 0.0).then(|| agree / of)
        }))
    }

    /// The probability of each answer to the question of `votes`, by the candidates that are no relatives of
    /// candidate `index`, and by its own ones if `with_own`. `None` where there are no others.
    fn posterior(
        &self,
        index: usize,
        with_own: bool,
        votes: &'a QuestionVotes,
    ) -> Option<BTreeMap<&'a str, f64>> {
        let mut evidence = BTreeMap::<&str, f64>::new();
        let others: Vec<_> = self.others(index, &votes.question).collect();
        let anybody = !others.is_empty();
        let own = with_own.then_some((index, votes));
        for (other, votes) in others.into_iter().chain(own) {
            let weight = self.reliability[other] * self.share_of_method[other];
            for (answer, (key, share)) in votes.answers.iter().zip(votes.shares()) {
                *evidence.entry(key).or_default() += weight * share * self.surprise.at(answer);
            }
        }
        // An answer without evidence is as good as any that nobody gave, which together count as one.
        evidence.values_mut().for_each(|e| *e = e.min(MOST_EVIDENCE).exp_m1());
        let total = 1.0 + evidence.values().sum::<f64>();
        evidence.values_mut().for_each(|e| *e /= total);
        anybody.then_some(evidence)
    }

    /// The candidates that are no relatives of candidate `index`, with their votes on `question`.
    fn others(&self, index: usize, question: &str) -> impl Iterator<Item = (usize, &'a QuestionVotes)> {
        let family = &self.all[index].family;
        let asked = self.asked.get(question).map(Vec::as_slice).unwrap_or_default();
        asked.iter().copied().filter(move |(other, _)| self.all[*other].family != *family)
    }
}

/// The share of the samples with the answer at `place`.
fn share_of_samples(votes: &QuestionVotes, place: usize) -> f64 {
    votes.answers[place].votes as f64 / votes.n as f64
}

/// How probable it is that the answer at `place` wins the vote of many samples.
fn share_of_vote(votes: &QuestionVotes, place: usize) -> f64 {
    let power = |answer: &AnswerVotes| (answer.votes as f64).powf(SHARPNESS);
    power(&votes.answers[place]) / votes.answers.iter().map(power).sum::<f64>()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    sum / n.max(1) as f64
}
