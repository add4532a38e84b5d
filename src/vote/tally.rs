//! Counting votes. The outcome depends on which samples there are, never on their order: samples
//! finish in whatever order the engine's schedule has.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::task::Answer;

/// The votes of one question so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Answer key → what voted for it.
    votes: BTreeMap<String, Votes>,
    unparsed: usize,
}

/// The votes for one answer.
#[derive(Debug, Clone, Default, PartialEq)]
struct Votes {
    /// Surface form → votes.
    surfaces: BTreeMap<String, usize>,
    /// The weight of those votes whose weight is known, and how many they are.
    weight: f64,
    weighed: usize,
}

impl Votes {
    fn count(&self) -> usize {
        self.surfaces.values().sum()
    }

    fn weight(&self, mean: f64) -> f64 {
        self.weight + mean * (self.count() - self.weighed) as f64
    }
}

impl Tally {
    /// No votes.
    pub fn new() -> Tally {
        Tally::default()
    }

    /// Counts a sample; `None` is one that holds no answer.
    pub fn add(&mut self, answer: Option<&Answer>) {
        self.add_weighed(answer, None);
    }

    /// Counts a sample that weighs `weight`, which is 0 or more. One of unknown weight, and one
    /// that holds no answer, weighs as the mean of the others, or 1 where there are none.
    pub fn add_weighed(&mut self, answer: Option<&Answer>, weight: Option<f64>) {
        let Some(answer) = answer else {
            self.unparsed += 1;
            return;
        };
        let votes = self.votes.entry(answer.key.clone()).or_default();
        *votes.surfaces.entry(answer.text.clone()).or_default() += 1;
        if let Some(weight) = weight {
            votes.weight += weight;
            votes.weighed += 1;
        }
    }

    /// Samples counted, those without an answer included.
    pub fn n(&self) -> usize {
        self.unparsed + self.parsed()
    }

    /// Samples that hold no answer.
    pub fn unparsed(&self) -> usize {
        self.unparsed
    }

    /// Samples that hold an answer.
    pub fn parsed(&self) -> usize {
        self.counts().sum()
    }

    /// Different answers.
    pub fn answers(&self) -> usize {
        self.votes.len()
    }

    /// The answer with most votes, in its most common surface form, and its votes. In a tie, the
    /// one whose key sorts first; [`Tally::runner_up`] then has as many.
    pub fn leader(&self) -> Option<(Answer, usize)> {
        let (key, votes) = self.votes.iter().max_by_key(|(key, votes)| (votes.count(), Reverse(*key)))?;
        Some((votes.answer(key)?, votes.count()))
    }

    /// Votes of the leader; 0 where there is none.
    pub fn leader_votes(&self) -> usize {
        self.counts().max().unwrap_or(0)
    }

    /// Votes of the answer with second most votes; 0 where there is none.
    pub fn runner_up(&self) -> usize {
        let mut counts: Vec<usize> = self.counts().collect();
        counts.sort_unstable_by_key(|&votes| Reverse(votes));
        counts.get(1).copied().unwrap_or(0)
    }

    /// The answer with most weight; `None` where no sample holds one. Where no weights are known it
    /// is the leader, and weights are votes.
    pub fn heaviest(&self) -> Option<Heaviest> {
        let known: usize = self.votes.values().map(|votes| votes.weighed).sum();
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

    /// Each answer key and its votes, in the order of the keys.
    pub fn counts_by_key(&self) -> impl Iterator<Item = (&str, usize)> {
        self.votes.iter().map(|(key, votes)| (key.as_str(), votes.count()))
    }

    fn counts(&self) -> impl Iterator<Item = usize> {
        self.votes.values().map(Votes::count)
    }
}

impl Votes {
    /// The answer as most of its voters spell it.
    fn answer(&self, key: &str) -> Option<Answer> {
        let (text, _) = self.surfaces.iter().max_by_key(|(text, votes)| (**votes, Reverse(*text)))?;
        Some(Answer { key: key.to_string(), text: text.clone() })
    }
}

/// The answer with most weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Heaviest {
    /// It.
    pub answer: Answer,
    /// Its votes, counted.
    pub votes: usize,
    /// Its weight over that of all samples, those without an answer included.
    pub share: f64,
    /// Whether another answer weighs as much.
    pub is_tied: bool,
}
