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
//!
//! All candidates draw with the same random numbers, so that similar prompts give the same answer in samples of
//! one number, be it right or a guess. A sample is therefore compared with the others' samples of all other
//! numbers.

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
    /// Question → what the candidates that have samples of it say.
    panels: BTreeMap<&'a str, Panel<'a>>,
    reliability: Vec<f64>,
    /// `1/√m` for a candidate of a method with `m` candidates.
    share_of_method: Vec<f64>,
}

/// What the candidates say to one question.
#[derive(Debug, Default)]
struct Panel<'a> {
    /// The key of each answer, by its number.
    keys: Vec<&'a str>,
    members: Vec<Member<'a>>,
}

/// What one candidate says to a question.
#[derive(Debug)]
struct Member<'a> {
    /// The place of the candidate.
    candidate: usize,
    votes: &'a QuestionVotes,
    /// The number of each answer's key, and how much the answer says.
    answers: Vec<(usize, f64)>,
    /// Number of a sample → place of its answer.
    of_sample: Vec<Option<usize>>,
}

impl<'a> Panel<'a> {
    fn add(&mut self, candidate: usize, votes: &'a QuestionVotes, surprise: &Surprise) {
        let mut of_sample = vec![None; votes.n];
        for (place, answer) in votes.answers.iter().enumerate() {
            for sample in &answer.samples {
                if let Some(at) = of_sample.get_mut(*sample) {
                    *at = Some(place);
                }
            }
        }
        let mut number = |key: &'a str| {
            let known = self.keys.iter().position(|known| *known == key);
            known.unwrap_or_else(|| {
                self.keys.push(key);
                self.keys.len() - 1
            })
        };
        let answers = votes.answers.iter().map(|answer| (number(&answer.key), surprise.at(answer))).collect();
        self.members.push(Member { candidate, votes, answers, of_sample });
    }
}

impl Member<'_> {
    /// The share of the samples with the answer at each place, sample number `but` left out.
    fn shares(&self, but: Option<usize>) -> impl Iterator<Item = f64> {
        let left_out = but.filter(|sample| *sample < self.votes.n);
        let its_answer = left_out.and_then(|sample| self.of_sample[sample]);
        let n = (self.votes.n - usize::from(left_out.is_some())).max(1) as f64;
        let is_its = move |place: usize| usize::from(its_answer == Some(place));
        self.votes.answers.iter().enumerate().map(move |(at, answer)| (answer.votes - is_its(at)) as f64 / n)
    }
}

impl<'a> Consensus<'a> {
    /// Iterates to the fixed point.
    pub fn of(all: &'a [CandidateVotes]) -> Consensus<'a> {
        let surprise = Surprise::of(all);
        let mut panels = BTreeMap::<&str, Panel>::new();
        for (candidate, votes) in all.iter().enumerate() {
            for votes in votes.questions.iter().filter(|votes| votes.n > 0) {
                panels.entry(&votes.question).or_default().add(candidate, votes, &surprise);
            }
        }
        let (reliability, share_of_method) = (vec![1.0; all.len()], shares_of_methods(all));
        let mut consensus = Consensus { all, panels, reliability, share_of_method };
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
        mean(self.asked(index).filter_map(|(panel, own)| {
            self.others(panel, index).next()?;
            let answers = own.votes.answers.iter().enumerate();
            Some(
                answers
                    // Whoever repeats an opinion is right by chance only, and so is who lost the question.
                    .filter(|(_, answer)| !answer.is_void())
                    .map(|(place, answer)| {
                        let key = own.answers[place].0;
                        let posterior = |but| self.posterior(panel, own, with_own, but)[key];
                        share(own.votes, place) * mean_over(&answer.samples, &posterior)
                    })
                    .sum(),
            )
        }))
    }

    /// The mean share of the others' samples that agree with a sample of candidate `index`, where the others
    /// are those that `counts`.
    pub fn plain_agreement(&self, index: usize, counts: &dyn Fn(&CandidateVotes) -> bool) -> f64 {
        mean(self.asked(index).filter_map(|(panel, own)| {
            let (mut agree, mut of) = (0.0, 0.0);
            for other in self.others(panel, index).filter(|other| counts(&self.all[other.candidate])) {
                let weight = self.share_of_method[other.candidate];
                for (place, answer) in own.votes.answers.iter().enumerate() {
                    let key = own.answers[place].0;
                    let theirs = other.answers.iter().position(|(their_key, _)| *their_key == key);
                    let Some(theirs) = theirs else { continue };
                    let agreeing = |but| other.shares(but).nth(theirs).unwrap_or(0.0);
                    agree +=
                        weight * share_of_samples(own.votes, place) * mean_over(&answer.samples, &agreeing);
                }
                of += weight;
            }
            (of > 0.0).then(|| agree / of)
        }))
    }

    /// The probability of each answer to a question, by the candidates that are no relatives of `own`, and by
    /// its own votes if `with_own`. Sample number `but` of the others is left out.
    fn posterior(&self, panel: &Panel, own: &Member, with_own: bool, but: Option<usize>) -> Vec<f64> {
        let mut evidence = vec![0.0; panel.keys.len()];
        let mut hear = |member: &Member, but: Option<usize>| {
            let weight = self.reliability[member.candidate] * self.share_of_method[member.candidate];
            for ((key, surprise), share) in member.answers.iter().zip(member.shares(but)) {
                evidence[*key] += weight * share * surprise;
            }
        };
        self.others(panel, own.candidate).for_each(|other| hear(other, but));
        if with_own {
            hear(own, None);
        }
        // An answer without evidence is as good as any that nobody gave, which together count as one.
        evidence.iter_mut().for_each(|e| *e = e.min(MOST_EVIDENCE).exp_m1());
        let total = 1.0 + evidence.iter().sum::<f64>();
        evidence.iter_mut().for_each(|e| *e /= total);
        evidence
    }

    /// The questions of candidate `index`, and what it says to each.
    fn asked(&self, index: usize) -> impl Iterator<Item = (&Panel<'a>, &Member<'a>)> {
        let questions = self.all[index].questions.iter().filter(|votes| votes.n > 0);
        questions.filter_map(move |votes| {
            let panel = self.panels.get(votes.question.as_str())?;
            Some((panel, panel.members.iter().find(|member| member.candidate == index)?))
        })
    }

    /// The members that are no relatives of candidate `index`.
    fn others<'p>(&'p self, panel: &'p Panel<'a>, index: usize) -> impl Iterator<Item = &'p Member<'a>> {
        let family = &self.all[index].family;
        panel.members.iter().filter(move |member| self.all[member.candidate].family != *family)
    }
}

/// The mean of `value` where each of `samples` is left out; with nothing left out where they are not known.
fn mean_over(samples: &[usize], value: &dyn Fn(Option<usize>) -> f64) -> f64 {
    match samples {
        [] => value(None),
        samples => mean(samples.iter().map(|sample| value(Some(*sample)))),
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
