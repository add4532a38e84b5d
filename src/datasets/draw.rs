//! Random draws for all kinds. They use integers only, so that every platform draws the same questions.

use std::collections::HashSet;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Split;

/// A question without an id.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub fields: Vec<(&'static str, String)>,
    pub gold: Vec<String>,
}

impl Asked {
    /// A question with the one field `question` and one accepted answer.
    pub fn new(text: impl Into<String>, gold: impl Into<String>) -> Asked {
        Asked { fields: vec![("question", text.into())], gold: vec![gold.into()] }
    }
}

/// The questions; the error is the number of questions that can be drawn.
pub(super) type Drawn = std::result::Result<Vec<Asked>, usize>;

/// The maximal number of questions of a kind with many more: towards its end, most draws would repeat a
/// question that is there.
pub(super) const MAX_QUESTIONS: usize = 20_000;

/// The maximal number of questions that are drawn at once, which stand in memory.
const MAX_AT_ONCE: usize = 1_000_000;

/// Draws until there are `n` different questions.
///
/// `draw` receives the number, of `cards`, of the answer that the question must have. The numbers are
/// dealt from a deck that is shuffled again when it is used up, so that the counts of two answers never
/// differ by more than one. If `draw` returns `None` or a question that is there already, it is called
/// again.
pub(super) fn distinct(
    n: usize,
    max: usize,
    cards: usize,
    rng: &mut ChaCha8Rng,
    mut draw: impl FnMut(&mut ChaCha8Rng, usize) -> Option<Asked>,
) -> Drawn {
    let max = max.min(MAX_AT_ONCE);
    if n > max {
        return Err(max);
    }
    let mut seen = HashSet::new();
    let mut deck = Deck::new(cards);
    let mut drawn = Vec::with_capacity(n);
    while drawn.len() < n {
        let card = deck.deal(rng);
        drawn.push(loop {
            if let Some(asked) = draw(rng, card)
                && seen.insert(asked.fields.clone())
            {
                break asked;
            }
        });
    }
    Ok(drawn)
}

struct Deck {
    cards: usize,
    left: Vec<usize>,
}

impl Deck {
    fn new(cards: usize) -> Deck {
        Deck { cards, left: Vec::new() }
    }

    fn deal(&mut self, rng: &mut ChaCha8Rng) -> usize {
        if self.left.is_empty() {
            self.left = (0..self.cards).collect();
            shuffle(rng, &mut self.left);
        }
        self.left.pop().unwrap_or(0)
    }
}

/// A number below `bound`, drawn as `u32` so that 32-bit platforms draw the same.
pub(super) fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    rng.random_range(0..bound as u32) as usize
}

/// A number in `first..=last`.
pub(super) fn between(rng: &mut ChaCha8Rng, first: usize, last: usize) -> usize {
    first + below(rng, last - first + 1)
}

pub(super) fn choose<T: Copy>(rng: &mut ChaCha8Rng, of: &[T]) -> T {
    of[below(rng, of.len())]
}

/// `n` different items of `of` in random order; `of` must hold as many.
pub(super) fn choose_distinct<T: Copy + PartialEq>(rng: &mut ChaCha8Rng, of: &[T], n: usize) -> Vec<T> {
    let mut taken = Vec::with_capacity(n);
    while taken.len() < n {
        let next = choose(rng, of);
        if !taken.contains(&next) {
            taken.push(next);
        }
    }
    taken
}

/// Shuffles `items`. It draws no random number for fewer than two items.
pub(super) fn shuffle<T>(rng: &mut ChaCha8Rng, items: &mut [T]) {
    if items.len() > 1 {
        items.shuffle(rng);
    }
}

/// The split of a key: a third of the keys, by their hash, are for tests. Adding a key to a table does
/// not move any other.
pub(super) fn split_of(key: &str) -> Split {
    if (fnv(key) >> 32).is_multiple_of(3) { Split::Test } else { Split::Train }
}

/// The FNV-1a hash, which is the same on every platform.
pub(super) fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(items: &[impl AsRef<str>]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        items => items.concat(),
    }
}

/// `1 step`, `2 steps`.
pub(super) fn counted(n: usize, singular: &str) -> String {
    format!("{n} {singular}{}", if n == 1 { "" } else { "s" })
}

pub(super) fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn no_answer_is_ever_ahead_by_more_than_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut deck, mut dealt) = (Deck::new(3), [0_usize; 3]);
        for _ in 0..100 {
            dealt[deck.deal(&mut rng)] += 1;
            assert!(dealt.iter().max().unwrap() - dealt.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn lists_read_as_people_write_them() {
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b"]), "a and b");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(counted(1, "step"), "1 step");
        assert_eq!(counted(2, "step"), "2 steps");
    }
}
