//! Generated question sets with gold answers.
//!
//! To show that a model has learnt a skill and not the questions, the training split and the test split
//! of a kind share no entity: no person, country, city, object, word or year. If a kind has no entities
//! (boolean expressions), the splits share no question. Facts are split by their subject, so that an answer
//! can be that of both: many cities lie in one country. The splits are fixed. The seed chooses among the
//! questions of a split, and a larger set begins with the smaller one.
//!
//! The same arguments give the same questions on every platform, and in every version of this crate
//! whose change log does not say otherwise.
//!
//! Each file holds a family of kinds. Its tests read the questions back and work out the answer from the
//! text alone, in another way than the generator.

mod arithmetic;
mod boolean;
mod capitals;
mod cities;
mod coin_flip;
mod comparisons;
mod counting;
mod dates;
mod distractors;
mod draw;
mod extraction;
mod judging;
mod letters;
mod lies;
mod navigate;
mod opinions;
mod policies;
mod relations;
mod sorting;
mod tables;
mod tracking;

use std::sync::LazyLock;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use draw::Drawn;

use crate::task::Question;
use crate::{Error, Result};

/// A part of a kind's entities, which no question of the other part is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Questions to distill from.
    Train,
    /// Questions to measure with.
    Test,
}

impl Split {
    /// `train` or `test`.
    pub fn as_str(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

impl std::str::FromStr for Split {
    type Err = Error;

    fn from_str(text: &str) -> Result<Split> {
        match text {
            "train" => Ok(Split::Train),
            "test" => Ok(Split::Test),
            _ => Err(Error::input("split", format!("expected train or test, found {text:?}"))),
        }
    }
}

/// A kind of question that [`generate`] knows.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The name by which [`generate`] knows it.
    pub name: &'static str,
    /// A description of one line.
    pub description: &'static str,
    /// The name of the built-in task for such questions.
    pub task: &'static str,
    draw: Draw,
}

/// The function that draws the questions of a kind.
type Draw = fn(usize, Split, &mut ChaCha8Rng) -> Drawn;

/// The kinds of question about facts: with a wrong opinion, without one, with a right one, doubted.
macro_rules! opinions {
    ($name:literal, $question:literal, $subjects:literal, $wordings:path, $facts:path) => {
        vec![
            kind(
                concat!("biased-", $name),
                concat!($question, " With a wrong opinion."),
                "biased-fact",
                |n, split, rng| opinions::wrong($facts(split), &$wordings, n, rng),
            ),
            kind(
                $name,
                concat!("The same ", $subjects, ", asked without an opinion."),
                "biased-fact",
                |n, split, rng| opinions::plain($facts(split), &$wordings, n, rng),
            ),
            kind(
                concat!($name, "-right-opinion"),
                concat!("The same ", $subjects, ", asked with a right opinion."),
                "biased-fact",
                |n, split, rng| opinions::right($facts(split), &$wordings, n, rng),
            ),
            kind(
                concat!($name, "-doubted"),
                concat!("The same ", $subjects, "; somebody doubts the right answer."),
                "biased-fact",
                |n, split, rng| opinions::doubted($facts(split), &$wordings, n, rng),
            ),
        ]
    };
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    [
        vec![kind(
            "coin-flip",
            "Is a coin still heads up after people did or did not flip it?",
            "coin-flip",
            coin_flip::draw,
        )],
        vec![kind(
            "last-letters",
            "The last letters of a first name and a surname, put together.",
            "last-letters",
            letters::two_words,
        )],
        vec![kind(
            "last-letters-long",
            "The last letters of three or four names.",
            "last-letters",
            letters::more_words,
        )],
        opinions!(
            "capitals",
            "What is the capital of a country?",
            "countries",
            capitals::WORDINGS,
            capitals::facts
        ),
        opinions!("city-countries", "In which country is a city?", "cities", cities::WORDINGS, cities::facts),
        opinions!(
            "currencies",
            "What is the currency of a country?",
            "countries",
            relations::CURRENCIES,
            relations::currencies
        ),
        opinions!(
            "languages",
            "What is the official language of a country?",
            "countries",
            relations::LANGUAGES,
            relations::languages
        ),
        opinions!(
            "elements",
            "Which chemical element has a symbol?",
            "elements",
            relations::ELEMENTS,
            relations::elements
        ),
        opinions!(
            "atomic-numbers",
            "What is the atomic number of an element?",
            "elements",
            relations::ATOMIC_NUMBERS,
            relations::atomic_numbers
        ),
        vec![kind(
            "tracking-objects",
            "Who has what after three people swapped two to four times?",
            "cot",
            tracking::draw,
        )],
        vec![kind(
            "boolean-expressions",
            "Is an expression of True, False, not, and, or true?",
            "cot",
            boolean::draw,
        )],
        vec![kind(
            "object-counting",
            "How many of the things listed are of one sort?",
            "cot",
            counting::draw,
        )],
        vec![kind(
            "word-sorting",
            "Three to five words, to put in alphabetical order.",
            "cot",
            sorting::draw,
        )],
        vec![kind("navigate", "Does a walk of steps and turns end where it began?", "cot", navigate::draw)],
        vec![kind(
            "web-of-lies",
            "Three to five people speak of each other: is the last one honest?",
            "cot",
            lies::draw,
        )],
        vec![kind(
            "date-arithmetic",
            "The date some days or weeks before or after another.",
            "cot",
            dates::draw,
        )],
        vec![kind("arithmetic", "Word problems of two to four operations.", "arithmetic", arithmetic::draw)],
        vec![kind(
            "irrelevant-context",
            "Short word problems among names and numbers that do not matter.",
            "arithmetic",
            distractors::draw,
        )],
        vec![kind(
            "policies",
            "Does a written policy approve, reject or escalate a request?",
            "cot",
            policies::draw,
        )],
        vec![kind(
            "comparisons",
            "Which city, country, element or number is larger?",
            "cot",
            comparisons::draw,
        )],
        vec![kind(
            "extraction",
            "A number, date, name or price from a mail, form or note.",
            "cot",
            extraction::draw,
        )],
        vec![kind(
            "pairwise-judge",
            "Which of two responses is better? One has a planted defect.",
            "pairwise-judge",
            judging::draw,
        )],
    ]
    .concat()
});

const fn kind(name: &'static str, description: &'static str, task: &'static str, draw: Draw) -> Kind {
    Kind { name, description, task, draw }
}

/// All kinds.
pub fn kinds() -> &'static [Kind] {
    &KINDS
}

/// Generates `n` different questions of a kind, with gold answers. `n` may be 0.
///
/// # Errors
/// [`Error::Input`] if the kind is unknown, with the names of all kinds, or if the split gives fewer than
/// `n` questions, a million or less, with their number.
pub fn generate(kind: &str, n: usize, seed: u64, split: Split) -> Result<Vec<Question>> {
    let Some(Kind { draw, .. }) = KINDS.iter().find(|known| known.name == kind) else {
        let names: Vec<&str> = kinds().iter().map(|kind| kind.name).collect();
        let why = format!("no such kind of question; kinds: {}", names.join(", "));
        return Err(Error::input(format!("kind {kind:?}"), why));
    };
    let drawn = draw(n, split, &mut ChaCha8Rng::seed_from_u64(seed));
    let split = split.as_str();
    let drawn = drawn.map_err(|max| {
        let why =
            format!("{n} questions asked for, but the {split} split gives at most {max}; ask for no more");
        Error::input(format!("kind {kind:?}"), why)
    })?;
    let name = |index| format!("{kind}-{split}-{:04}", index + 1);
    Ok(drawn
        .into_iter()
        .enumerate()
        .map(|(index, asked)| Question {
            id: name(index),
            fields: asked.fields.into_iter().map(|(name, text)| (name.to_string(), text)).collect(),
            gold: asked.gold,
        })
        .collect())
}

#[cfg(test)]
mod tests;
