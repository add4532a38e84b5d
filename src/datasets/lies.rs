//! Web of lies: people who say of each other that they lie or tell the truth.

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, between, choose_distinct, distinct, yes_or_no};
use super::tables::people;

/// Draws a chain of three to five people, each of whom speaks about the one before. The splits share no
/// person.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let people = people(split);
    distinct(n, MAX_QUESTIONS, 2, rng, |rng, card| {
        let count = between(rng, 3, 5);
        let chain = choose_distinct(rng, &people, count);
        let mut honest: Vec<bool> = chain.iter().map(|_| below(rng, 2) == 0).collect();
        honest[count - 1] = card == 0;
        let does = |honest: bool| if honest { "tells the truth" } else { "lies" };
        let mut text = format!("{} {}.", chain[0], does(honest[0]));
        for i in 1..count {
            // A liar says the opposite of the truth.
            let claim = honest[i - 1] == honest[i];
            text += &format!(" {} says that {} {}.", chain[i], chain[i - 1], does(claim));
        }
        text += &format!(" Does {} tell the truth?", chain[count - 1]);
        Some(Asked::new(text, yes_or_no(honest[count - 1])))
    })
}

#[cfg(test)]
mod tests {
    use crate::datasets::generate;
    use crate::datasets::tests::SPLITS;

    /// The last speaker is honest where the number of sentences that speak of lies is even.
    fn reread(text: &str) -> &'static str {
        let (statements, question) = text.rsplit_once(". ").unwrap();
        let last = statements.rsplit(". ").next().unwrap().split(' ').next().unwrap();
        assert_eq!(question, format!("Does {last} tell the truth?"));
        let mut before = "";
        for statement in statements.split(". ") {
            let words: Vec<&str> = statement.split(' ').collect();
            assert!(before.is_empty() || (words[1] == "says" && words[3] == before), "{statement}");
            before = words[0];
        }
        if statements.split(". ").filter(|s| s.ends_with("lies")).count() % 2 == 0 { "yes" } else { "no" }
    }

    #[test]
    fn the_answer_follows_from_the_chain() {
        for split in SPLITS {
            for question in generate("web-of-lies", 2000, 3, split).unwrap() {
                assert_eq!(question.gold, [reread(question.text())], "{}", question.text());
            }
        }
    }
}
