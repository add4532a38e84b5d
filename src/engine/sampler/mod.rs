//! From a row of logits to a token.
//!
//! Vocabularies are 50k–260k wide and a batch brings a row for each sequence, so this is real
//! time: the usual list-of-candidates samplers sort or copy the whole row for each token. Here
//! the row is read once, in blocks (vectorised, the exponential included; see [`row`]), and the
//! draw then looks into a single block. Truncated sampling collects only the few tokens that can
//! matter and orders just those; penalised logits are corrected in the blocks that have them.
//!
//! Order of the filters, as in the papers and in Hugging Face and vLLM: what a constraint allows,
//! the repetition penalty, temperature, top-k, top-p over what top-k left, min-p relative to the
//! most probable token.

mod row;

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use self::row::{LikelyToken, Row, RowStats, keep_mass};
use super::Token;
use crate::Result;
use crate::kernels::splitmix::splitmix64;
use crate::threads::{Team, Wait, chunks, chunks_mut, for_each};

/// How tokens are chosen and when a completion stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f32,
    /// Keeps the most probable tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// Keeps this many of the most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Drops tokens less probable than this share of the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Makes the tokens generated last less likely: their logits are divided by this where positive
    /// and multiplied where negative (Keskar et al. 2019, arXiv 1909.05858); 1 changes nothing.
    #[serde(default = "off", skip_serializing_if = "is_off")]
    pub repeat_penalty: f32,
    /// How many of the generated tokens, counted from the last, are penalised. The prompt never is.
    #[serde(default = "repeat_last", skip_serializing_if = "is_repeat_last")]
    pub repeat_last: usize,
    /// The only texts a completion may be; empty allows all. It ends ([`super::Finish::Enough`])
    /// as soon as it is one that none of the others begins with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// A grammar in GBNF, llama.cpp's notation, that a completion follows from `root`; not beside
    /// `choices`. Ends it likewise where nothing more can follow. Tokens that either leaves no other
    /// for are written without being sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grammar: Option<String>,
    /// Tokens a completion may have, its end included.
    pub max_tokens: usize,
    /// Texts that end the completion; they are not part of it.
    pub stop: Vec<String>,
}

const REPEAT_LAST: usize = 64;

fn off() -> f32 {
    1.0
}

fn is_off(penalty: &f32) -> bool {
    *penalty == 1.0
}

fn repeat_last() -> usize {
    REPEAT_LAST
}

fn is_repeat_last(n: &usize) -> bool {
    *n == REPEAT_LAST
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_last: REPEAT_LAST,
            choices: Vec::new(),
            grammar: None,
            max_tokens: 256,
            stop: Vec::new(),
        }
    }
}

impl Sampling {
    /// Always the most probable token.
    pub fn greedy(max_tokens: usize) -> Sampling {
        Sampling { temperature: 0.0, max_tokens, ..Sampling::default() }
    }

    /// Below this the division would overflow, and the outcome is the same anyway.
    fn is_greedy(&self) -> bool {
        !self.temperature.is_finite() || self.temperature < 1e-6
    }
}

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    pub token: Token,
    /// Its probability at temperature 1 with no filter, penalty or constraint.
    pub probability: f32,
}

/// A row to sample from.
#[derive(Clone, Copy)]
pub(super) struct Draw<'a> {
    pub logits: &'a [f32],
    pub sampling: &'a Sampling,
    /// The tokens generated so far.
    pub generated: &'a [Token],
    /// The only tokens that may be chosen, in ascending order; `None` allows all.
    pub allowed: Option<&'a [Token]>,
    /// A number in 0..1.
    pub uniform: f64,
}

impl Draw<'_> {
    /// Chooses a token. Logits that are not finite are never chosen; `None` if no logit is finite,
    /// of those allowed.
    pub fn choose(&self) -> Option<Choice> {
        let overrides = self.penalised();
        let inv_temperature = if self.sampling.is_greedy() { 1.0 } else { 1.0 / self.sampling.temperature };
        let (index, plain) = match self.allowed {
            None => {
                let row = Row { logits: self.logits, overrides: &overrides, inv_temperature };
                let (stats, plain) = row.stats();
                (self.choose_from(&row, &stats?)?, plain?)
            }
            Some(tokens) => {
                let tokens = tokens.iter().map(|&token| token as usize);
                let tokens: Vec<usize> = tokens.filter(|&index| index < self.logits.len()).collect();
                let mut logits: Vec<f32> = tokens.iter().map(|&index| self.logits[index]).collect();
                for (index, logit) in overrides {
                    if let Ok(at) = tokens.binary_search(&index) {
                        logits[at] = logit;
                    }
                }
                let row = Row { logits: &logits, overrides: &[], inv_temperature };
                let at = self.choose_from(&row, &row.own_stats()?)?;
                let plain = Row { logits: self.logits, overrides: &[], inv_temperature: 1.0 };
                (tokens[at], plain.own_stats()?)
            }
        };
        let probability = f64::from(row::weight(self.logits[index], plain.max, 1.0)) / plain.total;
        Some(Choice { token: index as Token, probability: (probability as f32).min(1.0) })
    }

    fn choose_from(&self, row: &Row, stats: &RowStats) -> Option<usize> {
        let sampling = self.sampling;
        if sampling.is_greedy() {
            return row.first_largest(stats);
        }
        let n = row.logits.len();
        if (1..n).contains(&sampling.top_k) || sampling.top_p < 1.0 || sampling.min_p > 0.0 {
            return draw_from(&kept(row, stats, sampling), self.uniform);
        }
        row.draw(stats, self.uniform)
    }

    /// The logits that the repetition penalty changes, by ascending index.
    fn penalised(&self) -> Vec<(usize, f32)> {
        let penalty = self.sampling.repeat_penalty;
        if penalty == 1.0 || !(penalty > 0.0 && penalty.is_finite()) {
            return Vec::new();
        }
        let first = self.generated.len().saturating_sub(self.sampling.repeat_last);
        let mut tokens = self.generated[first..].to_vec();
        tokens.sort_unstable();
        tokens.dedup();
        let logit = |token: Token| Some((token as usize, *self.logits.get(token as usize)?));
        let penalise = |x: f32| if x > 0.0 { x / penalty } else { x * penalty };
        tokens.into_iter().filter_map(logit).map(|(index, x)| (index, penalise(x))).collect()
    }
}

/// The tokens that top-k, top-p and min-p leave.
fn kept(row: &Row, stats: &RowStats, sampling: &Sampling) -> Vec<LikelyToken> {
    let share = f64::from(sampling.top_p).clamp(0.0, 1.0);
    let mut kept = if (1..row.logits.len()).contains(&sampling.top_k) {
        let mut kept = row.most_probable(stats, sampling.top_k);
        if sampling.top_p < 1.0 {
            let mass = share * row::total(&kept);
            keep_mass(&mut kept, mass);
        }
        kept
    } else if sampling.top_p < 1.0 {
        // Tokens lighter than (1 - top_p) · total / n together weigh less than what top-p may
        // drop, so it never reaches them.
        let floor = (1.0 - share) * stats.total / row.logits.len() as f64;
        let mut kept = row.top_mass(stats, share * stats.total, (floor * 0.999).min(1.0) as f32);
        keep_mass(&mut kept, share * stats.total);
        kept
    } else {
        row.top_mass(stats, f64::INFINITY, sampling.min_p.min(1.0) * 0.999)
    };
    if sampling.min_p > 0.0 {
        // The largest weight is 1 by construction, and must survive.
        let floor = sampling.min_p.min(1.0);
        kept.retain(|candidate| candidate.weight >= floor);
    }
    kept
}

fn draw_from(kept: &[LikelyToken], uniform: f64) -> Option<usize> {
    let mut target = uniform * row::total(kept);
    let passed = kept.iter().find(|candidate| {
        target -= f64::from(candidate.weight);
        target < 0.0
    });
    passed.or(kept.last()).map(|candidate| candidate.index as usize)
}

/// Waking a thread costs as much as sampling from some tens of thousands of logits.
const LOGITS_PER_THREAD: usize = 200_000;

/// Chooses a token for each row, on the threads of `team` if that pays.
pub(super) fn choose_all(draws: &[Draw], team: &SamplingTeam) -> Result<Vec<Option<Choice>>> {
    let logits: usize = draws.iter().map(|draw| draw.logits.len()).sum();
    if logits < 2 * LOGITS_PER_THREAD || draws.len() < 2 || team.threads < 2 {
        return Ok(draws.iter().map(Draw::choose).collect());
    }
    let mut choices = vec![None; draws.len()];
    team.get()?.enter(|| {
        for_each((chunks(draws, 1), chunks_mut(&mut choices, 1)), 1, |_, (draw, choice)| {
            choice[0] = draw[0].choose();
        });
    });
    Ok(choices)
}

/// The threads that choose tokens, started when a batch is first worth them: starting some for each
/// call would take longer than their share of the work.
#[derive(Debug)]
pub(super) struct SamplingTeam {
    threads: usize,
    team: OnceLock<Team>,
}

impl SamplingTeam {
    /// A team of `threads`, the calling one included.
    pub fn of(threads: usize) -> SamplingTeam {
        SamplingTeam { threads, team: OnceLock::new() }
    }

    fn get(&self) -> Result<&Team> {
        if let Some(team) = self.team.get() {
            return Ok(team);
        }
        let team = Team::new(Some(self.threads as u32), "sample", Wait::Spin)?;
        Ok(self.team.get_or_init(|| team))
    }
}

/// A number in 0..1 that depends on `seed` and `index` only: the draw for token `index`.
/// SplitMix64's mixer, twice: a counter-based generator.
pub(super) fn uniform(seed: u64, index: u64) -> f64 {
    let bits = splitmix64(splitmix64(seed ^ 0x5de1_9c2a_71f3_0b4d).wrapping_add(index));
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
