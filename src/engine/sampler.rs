//! From a row of logits to a token.
//!
//! Vocabularies are 50k–260k wide and a batch brings a row for each sequence, so this is real
//! time: the usual list-of-candidates samplers sort or copy the whole row for each token. Here
//! one pass finds the largest logit, a second sums the weights in blocks (both vectorised, the
//! exponential included), and the draw then looks into a single block. Truncated sampling
//! collects only the few hundred tokens that can matter and orders just those.
//!
//! Order of the filters, as in the papers and in Hugging Face and vLLM: temperature, top-k,
//! top-p over what top-k left, min-p relative to the most probable token.

use serde::{Deserialize, Serialize};

use super::Token;

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
    /// Tokens a completion may have, its end included.
    pub max_tokens: usize,
    /// Texts that end the completion; they are not part of it.
    pub stop: Vec<String>,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0.0, max_tokens: 256, stop: Vec::new() }
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
    /// Its probability at temperature 1 with no filter.
    pub probability: f32,
}

/// Chooses a token of `logits` by `uniform`, a number in 0..1. Logits that are not finite are
/// never chosen; `None` if no logit is finite.
pub(super) fn choose(logits: &[f32], sampling: &Sampling, uniform: f64) -> Option<Choice> {
    let max = largest(logits)?;
    let row = Row { logits, max, slope: 1.0 };
    if sampling.is_greedy() {
        let index = logits.iter().position(|&x| x == max)?;
        return Some(row.choice(index, row.total()));
    }
    let heated = Row { slope: 1.0 / sampling.temperature, ..row };
    let blocks = heated.block_sums();
    let heated_total = blocks.iter().map(|&sum| f64::from(sum)).sum();
    let total = if heated.slope == 1.0 { heated_total } else { row.total() };

    let truncated =
        (sampling.top_k > 0 && sampling.top_k < logits.len()) || sampling.top_p < 1.0 || sampling.min_p > 0.0;
    let index = if truncated {
        heated.draw_truncated(sampling, heated_total, uniform)?
    } else {
        heated.draw(&blocks, uniform * heated_total)?
    };
    Some(row.choice(index, total))
}

/// A number in 0..1 that depends on `seed` and `index` only: the draw for token `index`.
/// (The finaliser of MurmurHash3, twice: a counter-based generator.)
pub(super) fn uniform(seed: u64, index: u64) -> f64 {
    let bits = scramble(scramble(seed ^ 0x5de1_9c2a_71f3_0b4d).wrapping_add(index));
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A row to sample from.
pub(super) struct Draw<'a> {
    pub logits: &'a [f32],
    pub sampling: &'a Sampling,
    pub uniform: f64,
}

impl Draw<'_> {
    fn choose(&self) -> Option<Choice> {
        choose(self.logits, self.sampling, self.uniform)
    }
}

/// Starting a thread costs as much as sampling from some tens of thousands of logits.
const LOGITS_PER_THREAD: usize = 500_000;

/// Chooses a token for each row, on several threads if that pays.
pub(super) fn choose_all(draws: &[Draw]) -> Vec<Option<Choice>> {
    let logits: usize = draws.iter().map(|draw| draw.logits.len()).sum();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = (logits / LOGITS_PER_THREAD).clamp(1, cores).min(draws.len().max(1));
    if threads == 1 {
        return draws.iter().map(Draw::choose).collect();
    }
    let mut shares = draws.chunks(draws.len().div_ceil(threads));
    let own = shares.next().unwrap_or(&[]);
    std::thread::scope(|scope| {
        let others: Vec<_> =
            shares.map(|share| scope.spawn(|| share.iter().map(Draw::choose).collect::<Vec<_>>())).collect();
        let mut choices: Vec<_> = own.iter().map(Draw::choose).collect();
        for other in others {
            match other.join() {
                Ok(more) => choices.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        choices
    })
}

/// Values handled at once: two AVX-512 or four AVX2 registers.
const LANES: usize = 32;
/// Logits whose weights are summed together; the draw then looks into one block.
const BLOCK: usize = 1024;

/// The largest finite logit.
fn largest(logits: &[f32]) -> Option<f32> {
    let keep = |m: f32, x: f32| if x > m && x < f32::INFINITY { x } else { m };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (m, &x) in lanes.iter_mut().zip(chunk) {
            *m = keep(*m, x);
        }
    }
    let max = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |m, &x| keep(m, x));
    (max > f32::NEG_INFINITY).then_some(max)
}

/// A row of logits as unnormalised probabilities: weight 1 for the largest logit.
#[derive(Clone, Copy)]
struct Row<'a> {
    logits: &'a [f32],
    max: f32,
    /// 1 / temperature.
    slope: f32,
}

impl Row<'_> {
    #[inline(always)]
    fn weight(&self, logit: f32) -> f32 {
        // Everything that is not finite fails one of the comparisons.
        let x = (logit - self.max) * self.slope;
        if (-87.0..=0.0).contains(&x) { exp(x) } else { 0.0 }
    }

    fn sum(&self, logits: &[f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        let chunks = logits.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (sum, &x) in lanes.iter_mut().zip(chunk) {
                *sum += self.weight(x);
            }
        }
        lanes.iter().sum::<f32>() + rest.iter().map(|&x| self.weight(x)).sum::<f32>()
    }

    fn block_sums(&self) -> Vec<f32> {
        self.logits.chunks(BLOCK).map(|block| self.sum(block)).collect()
    }

    fn total(&self) -> f64 {
        self.logits.chunks(BLOCK).map(|block| f64::from(self.sum(block))).sum()
    }

    fn choice(&self, index: usize, total: f64) -> Choice {
        let probability = f64::from(self.weight(self.logits[index])) / total;
        Choice { token: index as Token, probability: (probability as f32).min(1.0) }
    }

    /// The token at which the running sum of weights passes `target`.
    fn draw(&self, blocks: &[f32], mut target: f64) -> Option<usize> {
        let mut block = 0;
        while block + 1 < blocks.len() && target >= f64::from(blocks[block]) {
            target -= f64::from(blocks[block]);
            block += 1;
        }
        // Rounding can leave the target just past the end, or in a last block without weight.
        loop {
            let start = block * BLOCK;
            let mut last = None;
            for (i, &x) in self.logits[start..].iter().take(BLOCK).enumerate() {
                let weight = f64::from(self.weight(x));
                if weight > 0.0 {
                    last = Some(start + i);
                    if target < weight {
                        return last;
                    }
                    target -= weight;
                }
            }
            if last.is_some() || block == 0 {
                return last;
            }
            block -= 1;
        }
    }

    fn draw_truncated(&self, sampling: &Sampling, total: f64, uniform: f64) -> Option<usize> {
        let top_k = sampling.top_k > 0 && sampling.top_k < self.logits.len();
        let mut kept = if top_k {
            self.most_probable(sampling.top_k)
        } else {
            // Tokens lighter than (1 - top_p) · total / n together weigh less than what top-p may
            // drop, so it never reaches them.
            let spare = (1.0 - f64::from(sampling.top_p).clamp(0.0, 1.0)) * total;
            let floor = (spare / self.logits.len() as f64).max(f64::from(sampling.min_p));
            self.heavier_than((floor * 0.999).min(1.0) as f32)
        };
        if sampling.top_p < 1.0 {
            let mass = if top_k { kept.iter().map(|c| f64::from(c.weight)).sum() } else { total };
            keep_mass(&mut kept, f64::from(sampling.top_p) * mass);
        }
        if sampling.min_p > 0.0 {
            // The largest weight is 1 by construction, and must survive.
            let floor = sampling.min_p.min(1.0);
            kept.retain(|candidate| candidate.weight >= floor);
        }
        let mut target = uniform * kept.iter().map(|c| f64::from(c.weight)).sum::<f64>();
        for candidate in &kept {
            target -= f64::from(candidate.weight);
            if target < 0.0 {
                return Some(candidate.index as usize);
            }
        }
        kept.last().map(|candidate| candidate.index as usize)
    }

    /// Tokens of at least the weight `floor`, in the order of the row.
    fn heavier_than(&self, floor: f32) -> Vec<Candidate> {
        let least = self.max + floor.max(f32::MIN_POSITIVE).ln() / self.slope;
        let mut found = Vec::new();
        for (start, chunk) in self.logits.chunks(LANES).enumerate() {
            if !chunk.iter().fold(false, |any, &x| any | (x >= least)) {
                continue;
            }
            for (i, &x) in chunk.iter().enumerate() {
                let weight = self.weight(x);
                if x >= least && weight > 0.0 {
                    found.push(Candidate { weight, index: (start * LANES + i) as u32 });
                }
            }
        }
        found
    }

    /// The `k` heaviest tokens, heaviest first.
    fn most_probable(&self, k: usize) -> Vec<Candidate> {
        // Candidates above the k-th best so far; pruned whenever the list has doubled.
        let mut found: Vec<Candidate> = Vec::with_capacity(2 * k);
        let mut least = f32::NEG_INFINITY;
        for (start, chunk) in self.logits.chunks(LANES).enumerate() {
            if !chunk.iter().fold(false, |any, &x| any | (x > least)) {
                continue;
            }
            for (i, &x) in chunk.iter().enumerate() {
                let weight = self.weight(x);
                if x > least && weight > 0.0 {
                    found.push(Candidate { weight, index: (start * LANES + i) as u32 });
                }
                if found.len() == 2 * k {
                    found.select_nth_unstable_by(k - 1, Candidate::heavier);
                    found.truncate(k);
                    least = self.logits[found[k - 1].index as usize];
                }
            }
        }
        found.sort_unstable_by(Candidate::heavier);
        found.truncate(k);
        found
    }
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    weight: f32,
    index: u32,
}

impl Candidate {
    /// Heaviest first; equals in the order of the vocabulary, so that results never depend on
    /// how the sort moved them.
    fn heavier(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
        b.weight.total_cmp(&a.weight).then(a.index.cmp(&b.index))
    }
}

/// Cuts `candidates` down to the fewest, heaviest first, that weigh at least `mass`; one at least.
fn keep_mass(candidates: &mut Vec<Candidate>, mass: f64) {
    let (mut kept, mut sum, mut step) = (0, 0.0, 64);
    while kept < candidates.len() && (sum < mass || kept == 0) {
        let rest = &mut candidates[kept..];
        let n = step.min(rest.len());
        if n < rest.len() {
            rest.select_nth_unstable_by(n, Candidate::heavier);
        }
        rest[..n].sort_unstable_by(Candidate::heavier);
        for candidate in &rest[..n] {
            kept += 1;
            sum += f64::from(candidate.weight);
            if sum >= mass {
                break;
            }
        }
        step *= 4;
    }
    candidates.truncate(kept);
}

/// e^x for x in -87..=0, within 2 units in the last place; branch-free so that it vectorises
/// (the scalar library call would cost more than everything else here). Cephes `expf`.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer
    let n = x * std::f32::consts::LOG2_E + ROUND;
    let k = n - ROUND;
    let r = x - k * 0.693_359_4 + k * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // The low bits of `n` are the integer k; the exponent field starts at bit 23.
    y * f32::from_bits((n.to_bits() << 23).wrapping_add(0x3f80_0000))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits like a language model's: most far below, a few ahead.
    fn row(n: usize, seed: u64) -> Vec<f32> {
        (0..n as u64)
            .map(|i| {
                let u = uniform(seed, i) as f32;
                12.0 - 14.0 * u.powf(0.3) + uniform(seed + 1, i) as f32
            })
            .collect()
    }

    /// Probabilities after all filters, by the definitions, in f64, with a full sort.
    fn reference(logits: &[f32], sampling: &Sampling) -> Vec<f64> {
        let finite = |x: f32| {
            if x.is_finite() { f64::from(x) } else { f64::NEG_INFINITY }
        };
        let heat = f64::from(sampling.temperature);
        let scaled: Vec<f64> = logits.iter().map(|&x| finite(x) / heat).collect();
        let max = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut p: Vec<f64> = scaled.iter().map(|x| (x - max).exp()).collect();
        let mut order: Vec<usize> = (0..p.len()).collect();
        order.sort_by(|&a, &b| p[b].total_cmp(&p[a]).then(a.cmp(&b)));
        if sampling.top_k > 0 {
            for &i in order.iter().skip(sampling.top_k) {
                p[i] = 0.0;
            }
        }
        let total: f64 = p.iter().sum();
        let mut before = 0.0;
        for (rank, &i) in order.iter().enumerate() {
            let weight = p[i];
            if rank > 0 && sampling.top_p < 1.0 && before >= f64::from(sampling.top_p) * total {
                p[i] = 0.0;
            }
            before += weight;
        }
        p.iter_mut().for_each(|w| *w = if *w < f64::from(sampling.min_p) { 0.0 } else { *w });
        let total: f64 = p.iter().sum();
        p.iter().map(|w| w / total).collect()
    }

    fn settings() -> Vec<Sampling> {
        let base = Sampling { temperature: 0.8, ..Sampling::default() };
        vec![
            Sampling { temperature: 1.0, ..base.clone() },
            base.clone(),
            Sampling { temperature: 1.7, ..base.clone() },
            Sampling { top_k: 7, ..base.clone() },
            Sampling { top_p: 0.9, ..base.clone() },
            Sampling { min_p: 0.1, ..base.clone() },
            Sampling { temperature: 1.5, top_k: 300, top_p: 0.95, min_p: 0.01, ..base.clone() },
            Sampling { top_p: 0.0, ..base },
        ]
    }

    #[test]
    fn draws_follow_the_reference_distribution() {
        let logits = row(5000, 3);
        for sampling in settings() {
            let expected = reference(&logits, &sampling);
            let draws = 20_000;
            let mut counts = vec![0u32; logits.len()];
            for i in 0..draws {
                let choice = choose(&logits, &sampling, uniform(11, i)).unwrap();
                counts[choice.token as usize] += 1;
            }
            // Pearson's chi-square over the tokens expected at least 5 times, the rest pooled.
            let (mut chi, mut cells, mut rest) = (0.0, 0usize, (0.0, 0.0));
            for (count, p) in counts.iter().zip(&expected) {
                let (seen, want) = (f64::from(*count), p * draws as f64);
                assert!(*p > 0.0 || *count == 0, "a token that {sampling:?} excludes was drawn");
                if want >= 5.0 {
                    chi += (seen - want).powi(2) / want;
                    cells += 1;
                } else {
                    rest = (rest.0 + seen, rest.1 + want);
                }
            }
            if rest.1 >= 5.0 {
                chi += (rest.0 - rest.1).powi(2) / rest.1;
                cells += 1;
            }
            let freedom = cells.saturating_sub(1) as f64;
            // Five standard deviations above the mean of the chi-square distribution.
            let limit = freedom + 5.0 * (2.0 * freedom).sqrt() + 1e-9;
            assert!(chi <= limit, "chi-square {chi} with {freedom} degrees for {sampling:?}");
        }
    }

    #[test]
    fn exactly_the_reference_tokens_can_be_drawn() {
        for seed in 0..20 {
            let logits = row(777, 100 + seed);
            for sampling in settings() {
                let expected = reference(&logits, &sampling);
                let possible = expected.iter().filter(|&&p| p > 0.0).count();
                if possible > 200 {
                    continue;
                }
                let mut seen = std::collections::BTreeSet::new();
                for i in 0..4000 {
                    let choice = choose(&logits, &sampling, (f64::from(i) + 0.5) / 4000.0).unwrap();
                    assert!(expected[choice.token as usize] > 0.0, "{sampling:?}");
                    seen.insert(choice.token);
                }
                let likely = expected.iter().filter(|&&p| p > 1.0 / 4000.0).count();
                assert!(seen.len() >= likely, "{} of {likely} for {sampling:?}", seen.len());
            }
        }
    }

    #[test]
    fn the_probability_is_the_models_own_whatever_the_filters() {
        let logits = row(3000, 5);
        let plain = reference(&logits, &Sampling::default());
        for sampling in settings().into_iter().chain([Sampling::greedy(1)]) {
            let choice = choose(&logits, &sampling, 0.37).unwrap();
            let expected = plain[choice.token as usize];
            // f32 sums in blocks: a few parts in a million.
            let off = (f64::from(choice.probability) - expected).abs();
            assert!(off <= 1e-5 * expected, "{choice:?} {expected}");
        }
    }

    #[test]
    fn temperature_zero_takes_the_first_of_the_largest() {
        let mut logits = row(1000, 9);
        logits[400] = 50.0;
        logits[700] = 50.0;
        let choice = choose(&logits, &Sampling::greedy(1), 0.99).unwrap();
        assert_eq!(choice.token, 400);
        assert!((choice.probability - 0.5).abs() < 1e-6);
    }

    #[test]
    fn logits_that_are_not_finite_are_never_chosen() {
        let mut logits = vec![f32::NAN; 70];
        logits[3] = f32::INFINITY;
        logits[4] = f32::NEG_INFINITY;
        logits[33] = -1e30;
        for sampling in settings().into_iter().chain([Sampling::greedy(1)]) {
            let choice = choose(&logits, &sampling, 0.999_999).unwrap();
            assert_eq!((choice.token, choice.probability), (33, 1.0), "{sampling:?}");
            assert_eq!(choose(&[f32::NAN, f32::INFINITY], &sampling, 0.5), None);
            assert_eq!(choose(&[], &sampling, 0.5), None);
        }
    }

    #[test]
    fn absurd_settings_still_choose_a_token() {
        let logits = row(100, 2);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 0.0, 1e-30, 1e30] {
            for top_k in [0, 1, 100, usize::MAX] {
                let sampling =
                    Sampling { temperature: value, top_p: value, min_p: value, top_k, ..Sampling::default() };
                assert!(choose(&logits, &sampling, 0.5).is_some(), "{sampling:?}");
                let warm = Sampling { temperature: 1.0, ..sampling };
                assert!(choose(&logits, &warm, 0.5).is_some(), "{warm:?}");
            }
        }
    }

    #[test]
    fn equal_logits_are_equally_likely_across_blocks() {
        let logits = vec![1.5; 3 * BLOCK + 17];
        let n = logits.len() as f64;
        for index in [0, BLOCK - 1, BLOCK, 2 * BLOCK + 5, 3 * BLOCK + 16] {
            let choice = choose(&logits, &Sampling::default(), (index as f64 + 0.5) / n).unwrap();
            assert_eq!(choice.token as usize, index);
        }
    }

    #[test]
    fn the_fast_exponential_agrees_with_the_library() {
        for i in 0..=870_000 {
            let x = -(i as f32) * 1e-4;
            let (fast, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((fast - exact).abs() <= 3e-7 * exact, "{x}: {fast} {exact}");
        }
    }

    #[test]
    fn uniform_numbers_are_even_and_unrelated_between_seeds() {
        let (mut mean, mut product) = (0.0, 0.0);
        let n = 100_000;
        for i in 0..n {
            let (a, b) = (uniform(i, 0), uniform(i + 1, 0));
            assert!((0.0..1.0).contains(&a));
            mean += a / n as f64;
            product += (a - 0.5) * (b - 0.5) / n as f64;
        }
        // Five standard errors: 0.289 / sqrt(n), (1/12) / sqrt(n).
        assert!((mean - 0.5).abs() < 5.0 * 0.289 / (n as f64).sqrt(), "{mean}");
        assert!(product.abs() < 5.0 / 12.0 / (n as f64).sqrt(), "{product}");
    }
}
