//! Question sets that can be generated with their right answers.
//!
//! To show that a model has learnt a skill and not the questions, the training and the test split
//! of a kind share no entity (no person, country, city, object, word or year). Where a kind is about
//! none, as with logical expressions, no question is in both. The splits are fixed; the seed only
//! chooses among the questions of a split, and a larger set begins with the smaller one. The same
//! arguments give the same questions on every platform and in every version of this crate that does
//! not say otherwise in its change log.
//!
//! A file holds a family of kinds, and reads its questions back in its tests: what is right is worked
//! out from the text alone, a second time and in another way.

mod arithmetic;
mod boolean;
mod capitals;
mod coin_flip;
mod counting;
mod dates;
mod draw;
mod judging;
mod letters;
mod lies;
mod navigate;
mod sorting;
mod tables;
mod tracking;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use draw::Drawn;

use crate::task::Question;
use crate::{Error, Result};

/// Which part of a kind's entities the questions are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Questions to distill from.
    Train,
    /// Questions to measure on.
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
    /// What [`generate`] calls it.
    pub name: &'static str,
    /// One line for a person who chooses.
    pub description: &'static str,
    /// The built-in task that asks such questions.
    pub task: &'static str,
}

/// How a kind draws its questions.
type Draw = fn(usize, Split, &mut ChaCha8Rng) -> Drawn;

const ALL: [(Kind, Draw); 16] = [
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

/// The kinds there are.
pub fn kinds() -> &'static [Kind] {
    &KINDS
}

/// `n` different questions of a kind, with gold. `n` may be 0.
///
/// # Errors
/// [`Error::Input`] where the kind is unknown (it lists them), or has fewer than `n`
/// questions in this split (it says how many).
pub fn generate(kind: &str, n: usize, seed: u64, split: Split) -> Result<Vec<Question>> {
    let Some((_, draw)) = ALL.iter().find(|(known, _)| known.name == kind) else {
        let names: Vec<&str> = kinds().iter().map(|kind| kind.name).collect();
        let why = format!("no such kind of question; kinds: {}", names.join(", "));
        return Err(Error::input(format!("kind {kind:?}"), why));
    };
    let drawn = draw(n, split, &mut ChaCha8Rng::seed_from_u64(seed));
    let split = split.as_str();
    let drawn = drawn.map_err(|most| {
        let why = format!(
            "{n} questions asked for, but the {split} split has only {most}; ask for at most that many"
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
