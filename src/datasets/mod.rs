//! Generated question sets with gold answers.
//!
//! To show that a model has learnt a skill and not the questions, the training split and the test split
//! of a kind share no entity: no person, country, city, object, word or year. If a kind has no entities
//! (boolean expressions), the splits share no question. The splits are fixed. The seed chooses among the
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
mod counting;
mod dates;
mod draw;
mod judging;
mod letters;
mod lies;
mod navigate;
mod opinions;
mod sorting;
mod tables;
mod tracking;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The name by which [`generate`] knows it.
    pub name: &'static str,
    /// A description of one line.
    pub description: &'static str,
    /// The name of the built-in task for such questions.
    pub task: &'static str,
}

/// The function that draws the questions of a kind.
type Draw = fn(usize, Split, &mut ChaCha8Rng) -> Drawn;

const ALL: [(Kind, Draw); 20] = [
    (
        Kind {
            name: "coin-flip",
            description: "Is a coin still heads up after two to four people did or did not flip it?",
            task: "coin-flip",
        },
        coin_flip::draw,
    ),
    (
        Kind {
            name: "last-letters",
            description: "The last letters of a first name and a surname, put together.",
            task: "last-letters",
        },
        letters::two_words,
    ),
    (
        Kind {
            name: "last-letters-long",
            description: "The last letters of three or four names: longer than last-letters asks.",
            task: "last-letters",
        },
        letters::more_words,
    ),
    (
        Kind {
            name: "biased-capitals",
            description: "What is the capital of a country? Asked together with a wrong opinion.",
            task: "biased-fact",
        },
        capitals::biased,
    ),
    (
        Kind {
            name: "capitals",
            description: "The same countries, asked without an opinion.",
            task: "biased-fact",
        },
        capitals::plain,
    ),
    (
        Kind {
            name: "capitals-right-opinion",
            description: "The same countries, asked together with a right opinion.",
            task: "biased-fact",
        },
        capitals::right_opinion,
    ),
    (
        Kind {
            name: "capitals-doubted",
            description: "The same countries; somebody doubts the right answer.",
            task: "biased-fact",
        },
        capitals::doubted,
    ),
    (
        Kind {
            name: "biased-city-countries",
            description: "In which country is a city? Asked together with a wrong opinion.",
            task: "biased-fact",
        },
        cities::biased,
    ),
    (
        Kind {
            name: "city-countries",
            description: "The same cities, asked without an opinion.",
            task: "biased-fact",
        },
        cities::plain,
    ),
    (
        Kind {
            name: "city-countries-right-opinion",
            description: "The same cities, asked together with a right opinion.",
            task: "biased-fact",
        },
        cities::right_opinion,
    ),
    (
        Kind {
            name: "city-countries-doubted",
            description: "The same cities; somebody doubts the right answer.",
            task: "biased-fact",
        },
        cities::doubted,
    ),
    (
        Kind {
            name: "tracking-objects",
            description: "Who has what after three people swapped two to four times?",
            task: "cot",
        },
        tracking::draw,
    ),
    (
        Kind {
            name: "boolean-expressions",
            description: "Is an expression of True, False, not, and, or true?",
            task: "cot",
        },
        boolean::draw,
    ),
    (
        Kind {
            name: "object-counting",
            description: "How many of the things listed are of one sort?",
            task: "cot",
        },
        counting::draw,
    ),
    (
        Kind {
            name: "word-sorting",
            description: "Three to five words, to put in alphabetical order.",
            task: "cot",
        },
        sorting::draw,
    ),
    (
        Kind {
            name: "navigate",
            description: "Does a walk of steps and turns end where it began?",
            task: "cot",
        },
        navigate::draw,
    ),
    (
        Kind {
            name: "web-of-lies",
            description: "Three to five people speak of each other: is the last one honest?",
            task: "cot",
        },
        lies::draw,
    ),
    (
        Kind {
            name: "date-arithmetic",
            description: "The date some days or weeks before or after another.",
            task: "cot",
        },
        dates::draw,
    ),
    (
        Kind {
            name: "arithmetic",
            description: "Word problems of two to four operations.",
            task: "arithmetic",
        },
        arithmetic::draw,
    ),
    (
        Kind {
            name: "pairwise-judge",
            description: "Which of two responses is better? One has a planted defect.",
            task: "pairwise-judge",
        },
        judging::draw,
    ),
];

const KINDS: [Kind; ALL.len()] = {
    let mut kinds = [ALL[0].0; ALL.len()];
    let mut index = 0;
    while index < ALL.len() {
        kinds[index] = ALL[index].0;
        index += 1;
    }
    kinds
};

/// All kinds.
pub fn kinds() -> &'static [Kind] {
    &KINDS
}

/// Generates `n` different questions of a kind, with gold answers. `n` may be 0.
///
/// # Errors
/// [`Error::Input`] if the kind is unknown, with the names of all kinds, or if the split has fewer than
/// `n` questions, with their number.
pub fn generate(kind: &str, n: usize, seed: u64, split: Split) -> Result<Vec<Question>> {
    let Some((_, draw)) = ALL.iter().find(|(known, _)| known.name == kind) else {
        let names: Vec<&str> = kinds().iter().map(|kind| kind.name).collect();
        let why = format!("no such kind of question; kinds: {}", names.join(", "));
        return Err(Error::input(format!("kind {kind:?}"), why));
    };
    let drawn = draw(n, split, &mut ChaCha8Rng::seed_from_u64(seed));
    let split = split.as_str();
    let drawn = drawn.map_err(|max| {
        let why = format!(
            "{n} questions asked for, but the {split} split has only {max}; ask for at most that many"
        );
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
