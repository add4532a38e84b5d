//! Last letters: the last letters of a person's names, put together.

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, choose_distinct, distinct, shuffle};
use super::tables::{people, surnames};

/// Draws a first name and a surname, of all pairs. The splits share neither.
pub(super) fn two_words(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let surnames = surnames(split);
    let mut names: Vec<[&str; 2]> =
        people(split).into_iter().flat_map(|first| surnames.iter().map(move |last| [first, *last])).collect();
    if n > names.len() {
        return Err(names.len());
    }
    shuffle(rng, &mut names);
    Ok(names[..n].iter().map(|name| ask(name)).collect())
}

/// Draws two first names and one or two surnames: more than [`two_words`], to measure whether the skill
/// extends to longer names. The names of a split are the same in both.
pub(super) fn more_words(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let (people, surnames) = (people(split), surnames(split));
    distinct(n, MAX_QUESTIONS, 1, rng, |rng, _| {
        let mut name = choose_distinct(rng, &people, 2);
        let last = 1 + below(rng, 2);
        name.extend(choose_distinct(rng, &surnames, last));
        Some(ask(&name))
    })
}

fn ask(name: &[&str]) -> Asked {
    let letters = name.iter().filter_map(|word| word.chars().last()).collect::<String>();
    let name = name.join(" ");
    let text = format!("Take the last letter of each word in \"{name}\" and put these letters together.");
    Asked::new(text, letters.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::generate;

    /// Letters before a space or the closing quotation mark.
    fn reread(text: &str) -> String {
        let name = text.split('"').nth(1).unwrap();
        let bytes = format!("{name} ").into_bytes();
        bytes.windows(2).filter(|pair| pair[1] == b' ').map(|pair| pair[0] as char).collect()
    }

    #[test]
    fn last_letters_are_those_that_end_the_quoted_words() {
        for split in [Split::Train, Split::Test] {
            for (kind, words) in [("last-letters", 2..=2), ("last-letters-long", 3..=4)] {
                for question in generate(kind, 1000, 2, split).unwrap() {
                    assert_eq!(question.gold, [reread(question.text())], "{}", question.text());
                    assert!(words.contains(&question.gold[0].len()), "{}", question.text());
                }
            }
        }
    }

    #[test]
    fn every_pair_of_names_is_asked_about_once() {
        assert_eq!(generate("last-letters", 4800, 1, Split::Train).unwrap().len(), 80 * 60);
        assert!(generate("last-letters", 4801, 1, Split::Train).is_err());
        assert_eq!(generate("last-letters", 1200, 1, Split::Test).unwrap().len(), 40 * 30);
    }
}
