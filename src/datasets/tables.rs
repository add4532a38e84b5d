//! Tables of the people and things that questions are about, by split.

use super::Split;

const FIRST_NAMES: &str = include_str!("data/first_names.txt");
const SURNAMES: &str = include_str!("data/surnames.txt");
const OBJECTS: &str = include_str!("data/objects.txt");
const WORDS: &str = include_str!("data/words.txt");
const CATEGORIES: &str = include_str!("data/categories.tsv");

pub(super) fn people(split: Split) -> Vec<&'static str> {
    part(FIRST_NAMES, 80, split)
}

pub(super) fn surnames(split: Split) -> Vec<&'static str> {
    part(SURNAMES, 60, split)
}

/// Small things whose plural ends in -s.
pub(super) fn objects(split: Split) -> Vec<&'static str> {
    part(OBJECTS, 40, split)
}

pub(super) fn words(split: Split) -> Vec<&'static str> {
    part(WORDS, 100, split)
}

/// Sorts (`fruits`), each with things of that sort whose plural ends in -s.
pub(super) fn categories(split: Split) -> Vec<(&'static str, Vec<&'static str>)> {
    part(CATEGORIES, 5, split)
        .into_iter()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, items)| (name, items.split('|').collect()))
        .collect()
}

/// The lines of a table without its comments.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The first `train` lines are for training, the rest for tests.
fn part(table: &'static str, train: usize, split: Split) -> Vec<&'static str> {
    match split {
        Split::Train => lines(table).take(train).collect(),
        Split::Test => lines(table).skip(train).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_entry_stands_in_its_table_once_and_both_splits_have_some() {
        for (table, train, test) in [
            (people as fn(Split) -> Vec<&'static str>, 80, 40),
            (surnames, 60, 30),
            (objects, 40, 20),
            (words, 100, 50),
            (|split| categories(split).into_iter().flat_map(|(_, items)| items).collect(), 50, 30),
        ] {
            let all: HashSet<&str> = [table(Split::Train), table(Split::Test)].concat().into_iter().collect();
            assert_eq!(all.len(), train + test);
            assert_eq!((table(Split::Train).len(), table(Split::Test).len()), (train, test));
        }
    }
}
