//! A row of logits as weights: the exponentials of softmax, by blocks.
//!
//! The row is read from memory once, in blocks that stay in the first-level cache: the largest
//! logit of a block, then the sum of its weights relative to that. Once the largest of all is
//! known, the sums are put on one scale (the "online softmax", Milakov & Gimelshein 2018,
//! arXiv 1805.02867, by blocks). What follows looks only into the blocks that matter: the draw
//! into one, the filters into those whose largest logit is above a bound.

use crate::kernels::lanes::{MIN_EXPONENT, exp_fused, largest, sum_of};

/// Logits that are compared with a bound at once: two AVX-512 or four AVX2 registers.
const LANES: usize = 32;
/// Logits of a block.
pub(super) const BLOCK: usize = 1024;
/// A row of logits of which some are replaced, at a temperature.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub logits: &'a [f32],
    /// Logits that differ from `logits`, by ascending index.
    pub overrides: &'a [(usize, f32)],
    /// 1 / temperature.
    pub inv_temperature: f32,
}

/// Maxima and sums of weights, of each block and of the row, from one pass over the logits.
#[derive(Clone)]
pub(super) struct RowStats {
    blocks: Vec<BlockStats>,
    /// The largest finite logit.
    pub max: f32,
    /// The weights of all tokens, where the largest logit weighs 1.
    pub total: f64,
}

#[derive(Clone, Copy)]
struct BlockStats {
    /// The largest finite logit.
    max: f32,
    /// The sum of the weights, where `max` weighs 1.
    sum: f32,
    /// The sum of the weights, where the row's largest logit weighs 1.
    mass: f32,
}

impl RowStats {
    fn of(mut blocks: Vec<BlockStats>, inv_temperature: f32) -> Option<RowStats> {
        let max = blocks.iter().fold(f32::NEG_INFINITY, |max, block| max.max(block.max));
        if max == f32::NEG_INFINITY {
            return None;
        }
        let mut total = 0.0;
        for block in &mut blocks {
            block.mass = block.sum * weight(block.max, max, inv_temperature);
            total += f64::from(block.mass);
        }
        Some(RowStats { blocks, max, total })
    }
}

impl Row<'_> {
    /// The statistics of the row as it is, and of the same logits without overrides at temperature 1;
    /// `None` for a row without a finite logit.
    pub fn stats(&self) -> (Option<RowStats>, Option<RowStats>) {
        let n = self.logits.len().div_ceil(BLOCK);
        let (mut own, mut plain) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let mut buffer = [0.0; BLOCK];
        for (index, logits) in self.logits.chunks(BLOCK).enumerate() {
            let largest = largest(logits);
            let block = BlockStats::below(logits, largest, 1.0);
            plain.push(block);
            own.push(if !self.overrides_of(index).is_empty() {
                BlockStats::of(self.block(index, &mut buffer), self.inv_temperature)
            } else if self.inv_temperature == 1.0 {
                block
            } else {
                BlockStats::below(logits, largest, self.inv_temperature)
            });
        }
        (RowStats::of(own, self.inv_temperature), RowStats::of(plain, 1.0))
    }

    /// The statistics of the row as it is.
    pub fn own_stats(&self) -> Option<RowStats> {
        let mut buffer = [0.0; BLOCK];
        let blocks = 0..self.logits.len().div_ceil(BLOCK);
        let blocks = blocks.map(|index| BlockStats::of(self.block(index, &mut buffer), self.inv_temperature));
        RowStats::of(blocks.collect(), self.inv_temperature)
    }

    fn overrides_of(&self, block: usize) -> &[(usize, f32)] {
        let below = |end: usize| self.overrides.partition_point(|&(index, _)| index < end);
        &self.overrides[below(block * BLOCK)..below((block + 1) * BLOCK)]
    }

    /// The logits of a block, in `buffer` if some are overridden.
    fn block<'b>(&'b self, index: usize, buffer: &'b mut [f32; BLOCK]) -> &'b [f32] {
        let start = index * BLOCK;
        let logits = &self.logits[start..self.logits.len().min(start + BLOCK)];
        let overrides = self.overrides_of(index);
        if overrides.is_empty() {
            return logits;
        }
        let buffer = &mut buffer[..logits.len()];
        buffer.copy_from_slice(logits);
        for &(index, logit) in overrides {
            buffer[index - start] = logit;
        }
        buffer
    }

    /// The first of the tokens with the largest logit.
    pub fn first_largest(&self, stats: &RowStats) -> Option<usize> {
        let block = stats.blocks.iter().position(|block| block.max == stats.max)?;
        let mut buffer = [0.0; BLOCK];
        let at = self.block(block, &mut buffer).iter().position(|&x| x == stats.max)?;
        Some(block * BLOCK + at)
    }

    /// The token at which the running sum of weights passes the share `uniform` of their total.
    pub fn draw(&self, stats: &RowStats, uniform: f64) -> Option<usize> {
        let mut target = uniform * stats.total;
        let mut chosen = None;
        for (index, block) in stats.blocks.iter().enumerate() {
            let mass = f64::from(block.mass);
            if mass > 0.0 {
                chosen = Some(index);
                if target < mass {
                    break;
                }
                target -= mass;
            }
        }
        // Rounding can leave the target just past the end: then the last token that weighs anything.
        let index = chosen?;
        let block = &stats.blocks[index];
        let mut target = target * f64::from(block.sum) / f64::from(block.mass);
        let mut last = None;
        let mut buffer = [0.0; BLOCK];
        for (i, &x) in self.block(index, &mut buffer).iter().enumerate() {
            let weight = f64::from(weight(x, block.max, self.inv_temperature));
            if weight > 0.0 {
                last = Some(index * BLOCK + i);
                if target < weight {
                    break;
                }
                target -= weight;
            }
        }
        last
    }

    /// The tokens that together weigh at least `mass`, or a few more than the fewest such; at
    /// least those that weigh `floor` or more.
    pub fn top_mass(&self, stats: &RowStats, mass: f64, floor: f32) -> Vec<LikelyToken> {
        // Each step lowers the bound to an eighth; few are needed, and the first look into few blocks.
        const STEP: f32 = 2.079_441_5;
        let lowest = stats.max + floor.max(f32::MIN_POSITIVE).ln() / self.inv_temperature;
        let mut depth = STEP;
        let bound = loop {
            let bound = stats.max - depth / self.inv_temperature;
            if bound <= lowest || depth >= -MIN_EXPONENT {
                break lowest;
            }
            if self.mass_above(stats, bound) >= mass {
                break bound;
            }
            depth += STEP;
        };
        let mut found = Vec::new();
        self.each_above(stats, bound.next_down(), |candidate, _| {
            found.push(candidate);
            f32::NEG_INFINITY
        });
        found
    }

    /// The sum of the weights of logits of at least `bound`.
    fn mass_above(&self, stats: &RowStats, bound: f32) -> f64 {
        let mut buffer = [0.0; BLOCK];
        let blocks = stats.blocks.iter().enumerate().filter(|(_, block)| block.max >= bound);
        let mut sum = 0.0;
        for (index, _) in blocks {
            let logits = self.block(index, &mut buffer);
            sum += f64::from(sum_of(logits, |x| {
                let inside = x >= bound && x <= stats.max;
                if inside {
                    exp_fused(((x - stats.max) * self.inv_temperature).max(MIN_EXPONENT))
                } else {
                    0.0
                }
            }));
        }
        sum
    }

    /// The `k` tokens with the largest weights, largest first.
    pub fn most_probable(&self, stats: &RowStats, k: usize) -> Vec<LikelyToken> {
        // Candidates above the k-th best so far; pruned whenever the list has doubled. At least k
        // logits reach the k-th largest of the blocks' largest.
        let mut largest: Vec<f32> = stats.blocks.iter().map(|block| block.max).collect();
        let mut least = f32::NEG_INFINITY;
        if k <= largest.len() {
            let (_, bound, _) = largest.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
            least = bound.next_down();
        }
        let mut found: Vec<LikelyToken> = Vec::with_capacity(2 * k.min(self.logits.len()));
        self.each_above(stats, least, |candidate, _| {
            found.push(candidate);
            if found.len() < 2 * k {
                return f32::NEG_INFINITY;
            }
            found.select_nth_unstable_by(k - 1, LikelyToken::heavier);
            found.truncate(k);
            found[k - 1].logit
        });
        found.sort_unstable_by(LikelyToken::heavier);
        found.truncate(k);
        found
    }

    /// Calls `visit` with each token whose logit is above `least` and whose weight is not 0, in
    /// the order of the row. What it returns may raise `least`.
    fn each_above(&self, stats: &RowStats, mut least: f32, mut visit: impl FnMut(LikelyToken, usize) -> f32) {
        let mut buffer = [0.0; BLOCK];
        for (index, block) in stats.blocks.iter().enumerate() {
            if block.max <= least {
                continue;
            }
            for (start, chunk) in self.block(index, &mut buffer).chunks(LANES).enumerate() {
                if !chunk.iter().fold(false, |any, &x| any | (x > least)) {
                    continue;
                }
                for (i, &logit) in chunk.iter().enumerate() {
                    let weight = weight(logit, stats.max, self.inv_temperature);
                    if logit > least && weight > 0.0 {
                        let at = index * BLOCK + start * LANES + i;
                        least = least.max(visit(LikelyToken { weight, logit, index: at as u32 }, at));
                    }
                }
            }
        }
    }
}

impl BlockStats {
    fn of(logits: &[f32], inv_temperature: f32) -> BlockStats {
        BlockStats::below(logits, largest(logits), inv_temperature)
    }

    /// The block of `logits`, of which `max` is the largest.
    fn below(logits: &[f32], max: f32, inv_temperature: f32) -> BlockStats {
        if max == f32::INFINITY {
            let finite = |&x: &f32| if x < f32::INFINITY { x } else { f32::NEG_INFINITY };
            return BlockStats::of(&logits.iter().map(finite).collect::<Vec<f32>>(), inv_temperature);
        }
        BlockStats { max, sum: sum_below(logits, max, inv_temperature), mass: 0.0 }
    }
}

/// The sum of the weights of `logits`, none of which is above the finite `max`.
fn sum_below(logits: &[f32], max: f32, inv_temperature: f32) -> f32 {
    if max == f32::NEG_INFINITY {
        return 0.0;
    }
    sum_of(logits, |x| {
        // What is not a number fails the comparison.
        let exponent = (x - max) * inv_temperature;
        exp_fused(if exponent > MIN_EXPONENT { exponent } else { MIN_EXPONENT })
    })
}

/// The weight of `logit` beside `max`, which weighs 1; 0 for what is not finite.
#[inline(always)]
pub(super) fn weight(logit: f32, max: f32, inv_temperature: f32) -> f32 {
    let x = (logit - max) * inv_temperature;
    if (MIN_EXPONENT..=0.0).contains(&x) { exp_fused(x) } else { 0.0 }
}

/// A token that may be drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct LikelyToken {
    pub weight: f32,
    logit: f32,
    pub index: u32,
}

impl LikelyToken {
    /// Heaviest first; equals in the order of the vocabulary, so that results never depend on
    /// how the sort moved them.
    pub fn heavier(a: &LikelyToken, b: &LikelyToken) -> std::cmp::Ordering {
        b.weight.total_cmp(&a.weight).then(a.index.cmp(&b.index))
    }
}

/// Cuts `candidates` down to the fewest that weigh at least `mass`, one at least; their order
/// stays.
pub(super) fn keep_mass(candidates: &mut Vec<LikelyToken>, mass: f64) {
    // Halves the part in which the last one kept must be, until sorting it is cheap.
    let mut part = candidates.clone();
    let (mut part, mut before) = (part.as_mut_slice(), 0.0);
    while part.len() > 64 {
        let half = part.len() / 2;
        part.select_nth_unstable_by(half, LikelyToken::heavier);
        let (heavier, lighter) = part.split_at_mut(half);
        let sum = before + total(heavier);
        part = if sum >= mass {
            heavier
        } else {
            before = sum;
            lighter
        };
    }
    part.sort_unstable_by(LikelyToken::heavier);
    let last = part.iter().find(|candidate| {
        before += f64::from(candidate.weight);
        before >= mass
    });
    if let Some(last) = last.copied() {
        candidates.retain(|candidate| LikelyToken::heavier(candidate, &last).is_le());
    }
}

/// The sum of the weights of `candidates`.
pub(super) fn total(candidates: &[LikelyToken]) -> f64 {
    candidates.iter().map(|candidate| f64::from(candidate.weight)).sum()
}
