//! The counts of a vote. They depend on which samples there are and not on their order, since samples
//! finish in the order of the engine's schedule.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::task::Answer;

/// The votes of one question so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tally {
    /// Answer key → its votes.
    votes: BTreeMap<String, Votes>,
    unparsed: usize,
}

/// The votes for one answer.
#[derive(Debug, Clone, Default, PartialEq)]
struct Votes {
    /// Spelling → votes.
    spellings: BTreeMap<String, usize>,
    /// Total weight of the votes whose weight is known.
    weight: f64,
    /// Number of votes whose weight is known.
    weighted: usize,
}

impl Votes {
    fn count(&self) -> usize {
        self.spellings.values().sum()
    }

    fn weight(&self, mean: f64) -> f64 {
        self.weight + mean * (self.count() - self.weighted) as f64
    }
}

impl Tally {
    /// No votes.
    pub fn new() -> Tally {
        Tally::default()
    }

    /// Counts a sample; `None` is one that holds no answer.
    pub fn add(&mut self, answer: Option<&Answer>) {
        self.add_weighted(answer, None);
    }

    /// Counts a sample of the given weight, which must not be negative. A sample of unknown weight,
    /// and a sample without an answer, weighs as much as the mean of those of known weight; 1 if
    /// there are none.
    pub fn add_weighted(&mut self, answer: Option<&Answer>, weight: Option<f64>) {
        let Some(answer) = answer else {
            self.unparsed += 1;
            return;
        };
        let votes = self.votes.entry(answer.key.clone()).or_default();
        *votes.spellings.entry(answer.text.clone()).or_default() += 1;
        if let Some(weight) = weight {
            votes.weight += weight;
            votes.weighted += 1;
        }
    }

    /// Number of samples, including those without an answer.
    pub fn n(&self) -> usize {
        self.unparsed + self.parsed()
    }

    /// Number of samples with an answer.
    pub fn parsed(&self) -> usize {
        self.votes_of_each().sum()
    }

    /// Number of different answers.
    pub fn answers(&self) -> usize {
        self.votes.len()
    }

    /// The answer with most votes, in its most frequent spelling, and the number of its votes. In a
    /// tie it is the one whose key sorts first, and [`Tally::runner_up`] is the same number.
    pub fn leader(&self) -> Option<(Answer, usize)> {
        let (key, votes) = self.votes.iter().max_by_key(|(key, votes)| (votes.count(), Reverse(*key)))?;
        Some((votes.answer(key)?, votes.count()))
    }

    /// Votes of the answer with second most votes; 0 if there is none.
    pub fn runner_up(&self) -> usize {
        self.counts().runner_up
    }

    /// The counts on which the stopping rule depends.
    pub(super) fn counts(&self) -> Counts {
        let (mut leader, mut runner_up) = (0, 0);
        for votes in self.votes_of_each() {
            (leader, runner_up) = (leader.max(votes), runner_up.max(votes.min(leader)));
        }
        Counts { n: self.n(), parsed: self.parsed(), leader, runner_up }
    }

    /// The answer with most weight; `None` if no sample holds an answer. If no weight is known,
    /// every vote weighs 1.
    pub fn heaviest(&self) -> Option<Heaviest> {
        let known: usize = self.votes.values().map(|votes| votes.weighted).sum();
        let mean = match known {
            0 => 1.0,
            known => self.votes.values().map(|votes| votes.weight).sum::<f64>() / known as f64,
        };
        let weigh = |(key, votes): (&String, &Votes)| (votes.weight(mean), key.clone());
        let mut weights: Vec<(f64, String)> = self.votes.iter().map(weigh).collect();
        weights.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let (weight, key) = weights.first()?;
        let votes = &self.votes[key];
        let of = weights.iter().map(|(weight, _)| weight).sum::<f64>() + mean * self.unparsed as f64;
        Some(Heaviest {
            answer: votes.answer(key)?,
            votes: votes.count(),
            share: if of > 0.0 { weight / of } else { 0.0 },
            is_tied: weights.get(1).is_some_and(|(second, _)| second == weight),
        })
    }

    fn votes_of_each(&self) -> impl Iterator<Item = usize> {
        self.votes.values().map(Votes::count)
    }
}

impl Votes {
    /// The answer in its most frequent spelling.
    fn answer(&self, key: &str) -> Option<Answer> {
        let (text, _) = self.spellings.iter().max_by_key(|(text, votes)| (**votes, Reverse(*text)))?;
        Some(Answer { key: key.to_string(), text: text.clone() })
    }
}

/// The counts on which the stopping rule depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Samples.
    pub n: usize,
    /// Samples with an answer.
    pub parsed: usize,
    /// Votes of the leader.
    pub leader: usize,
    /// Votes of the answer with second most votes.
    pub runner_up: usize,
}

impl Counts {
    /// The counts after one more sample that agrees with the leader.
    pub fn with_vote_for_leader(self) -> Counts {
        let Counts { n, parsed, leader, runner_up } = self;
        Counts { n: n + 1, parsed: parsed + 1, leader: leader + 1, runner_up }
    }
}

/// The answer with most weight.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heaviest {
    /// The answer.
    pub answer: Answer,
    /// The number of its votes.
    pub votes: usize,
    /// Its share of the weight of all samples, including those without an answer; in `0..=1`.
    pub share: f64,
    /// Whether another answer has the same weight.
    pub is_tied: bool,
}
