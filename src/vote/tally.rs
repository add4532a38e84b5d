//! Counting votes. The outcome depends on which samples there are, never on their order: samples
//! finish in whatever order the engine's schedule has.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::task::Answer;

/// The votes of one question so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answer key → surface form → votes.
    votes: BTreeMap<String, BTreeMap<String, usize>>,
    unparsed: usize,
}

impl Tally {
    /// No votes.
    pub fn new() -> Tally {
        Tally::default()
    }

    /// Counts a sample; `None` is one that holds no answer.
    pub fn add(&mut self, answer: Option<&Answer>) {
        match answer {
            None => self.unparsed += 1,
            Some(answer) => {
                let surfaces = self.votes.entry(answer.key.clone()).or_default();
                *surfaces.entry(answer.text.clone()).or_default() += 1;
            }
        }
    }

    /// Samples counted, those without an answer included.
    pub fn n(&self) -> usize {
        self.unparsed + self.counts().sum::<usize>()
    }

    /// Samples that hold no answer.
    pub fn unparsed(&self) -> usize {
        self.unparsed
    }

    /// The answer with most votes, in its most common surface form, and its votes. In a tie, the
    /// one whose key sorts first; [`Tally::runner_up`] then has as many.
    pub fn leader(&self) -> Option<(Answer, usize)> {
        let (key, surfaces) =
            self.votes.iter().max_by_key(|(key, surfaces)| (total(surfaces), Reverse(*key)))?;
        let (text, _) = surfaces.iter().max_by_key(|(text, votes)| (**votes, Reverse(*text)))?;
        Some((Answer { key: key.clone(), text: text.clone() }, total(surfaces)))
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

    /// Each answer key and its votes, in the order of the keys.
    pub fn counts_by_key(&self) -> impl Iterator<Item = (&str, usize)> {
        self.votes.iter().map(|(key, surfaces)| (key.as_str(), total(surfaces)))
    }

    fn counts(&self) -> impl Iterator<Item = usize> {
        self.votes.values().map(total)
    }
}

fn total(surfaces: &BTreeMap<String, usize>) -> usize {
    surfaces.values().sum()
}
