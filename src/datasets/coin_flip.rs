//! Coin flips: is the coin still heads up after some people did or did not flip it?

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, between, choose, choose_distinct, distinct, yes_or_no};
use super::tables::people;

const PEOPLE: RangeInclusive<usize> = 2..=4;

/// Whether the act flips the coin, and its wording.
const ACTS: [(bool, &str); 4] = [
    (true, "flips the coin."),
    (true, "turns the coin over."),
    (false, "does not flip the coin."),
    (false, "leaves the coin alone."),
];

/// Draws questions whose persons are not those of the other split. Each person flips the coin with a
/// probability of one half, so that the answers are balanced.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let names = people(split);
    let with = |people: usize| (0..people).map(|taken| 4 * (names.len() - taken) as u64).product::<u64>();
    // Half of all questions: towards the end, most draws would repeat one that is there.
    let max = usize::try_from(PEOPLE.map(with).sum::<u64>() / 2).unwrap_or(usize::MAX);
    distinct(n, max, 1, rng, |rng, _| {
        let people = between(rng, *PEOPLE.start(), *PEOPLE.end());
        let mut heads = true;
        let mut sentences = vec!["A coin is heads up.".to_string()];
        for name in choose_distinct(rng, &names, people) {
            let (flipped, act) = choose(rng, &ACTS);
            sentences.push(format!("{name} {act}"));
            heads ^= flipped;
        }
        sentences.push("Is the coin still heads up?".to_string());
        Some(Asked::new(sentences.join(" "), yes_or_no(heads)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::generate;

    /// The coin as a reader of the question would follow it.
    fn simulate(text: &str) -> &'static str {
        let acts = text
            .strip_prefix("A coin is heads up. ")
            .unwrap()
            .strip_suffix(" Is the coin still heads up?")
            .unwrap();
        let mut heads = true;
        for act in acts.split_inclusive('.') {
            let (_, act) = act.trim_start().split_once(' ').unwrap();
            match act {
                "flips the coin." | "turns the coin over." => heads = !heads,
                "does not flip the coin." | "leaves the coin alone." => {}
                other => panic!("unknown act {other:?}"),
            }
        }
        if heads { "yes" } else { "no" }
    }

    #[test]
    fn coin_flip_gold_is_what_following_the_coin_gives() {
        for split in [Split::Train, Split::Test] {
            let questions = generate("coin-flip", 2000, 3, split).unwrap();
            let yes = questions.iter().filter(|question| question.gold == ["yes"]).count();
            assert!(questions.iter().all(|question| question.gold == [simulate(question.text())]));
            // Five standard deviations of a fair coin.
            assert!(yes.abs_diff(1000) < 112, "{yes} of 2000 are yes");
            for people in PEOPLE {
                assert!(questions.iter().any(|question| question.text().matches(". ").count() == people + 1));
            }
        }
    }
}
