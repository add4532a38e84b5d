//! Word sorting: words to put in alphabetical order.

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, between, choose_distinct, distinct};
use super::tables::words;

/// Draws three to five words that are not in order. The splits share no word. Commas do not matter when
/// an answer is compared as text.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let words = words(split);
    distinct(n, MAX_QUESTIONS, 1, rng, |rng, _| {
        let count = between(rng, 3, 5);
        let given = choose_distinct(rng, &words, count);
        let mut sorted = given.clone();
        sorted.sort_unstable();
        let text = format!(
            "Sort these words alphabetically and write them separated by spaces: {}",
            given.join(", ")
        );
        (given != sorted).then(|| Asked::new(text, sorted.join(" ")))
    })
}

#[cfg(test)]
mod tests {
    use crate::datasets::generate;
    use crate::datasets::tests::SPLITS;

    #[test]
    fn the_answer_has_the_words_of_the_question_each_before_the_next() {
        for split in SPLITS {
            for question in generate("word-sorting", 1000, 3, split).unwrap() {
                let mut given: Vec<&str> = question.text().split_once(": ").unwrap().1.split(", ").collect();
                let answer: Vec<&str> = question.gold[0].split(' ').collect();
                assert!(answer.windows(2).all(|pair| pair[0] < pair[1]), "{answer:?}");
                assert!(given != answer && (3..=5).contains(&given.len()), "{given:?}");
                for word in answer {
                    given.remove(given.iter().position(|w| *w == word).expect("was given"));
                }
                assert!(given.is_empty(), "{given:?}");
            }
        }
    }
}
