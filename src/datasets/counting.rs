//! Counting: how many of the listed things are of one sort?

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, between, choose_distinct, distinct, listed, shuffle};
use super::tables::categories;

const NUMBERS: [&str; 5] = ["one", "two", "three", "four", "five"];

/// Draws lists with two to four things of the sort that is asked for, and one to three of another. The
/// splits share no sort and no thing.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let categories = categories(split);
    distinct(n, MAX_QUESTIONS, 1, rng, |rng, _| {
        let sorts: Vec<usize> = choose_distinct(rng, &(0..categories.len()).collect::<Vec<_>>(), 2);
        let (sort, wanted) = &categories[sorts[0]];
        let kinds = between(rng, 2, 4);
        let mut total = 0;
        let mut things = Vec::new();
        for thing in choose_distinct(rng, wanted, kinds) {
            let count = 1 + below(rng, NUMBERS.len());
            total += count;
            things.push(some_of(thing, count));
        }
        let kinds = between(rng, 1, 3);
        for thing in choose_distinct(rng, &categories[sorts[1]].1, kinds) {
            things.push(some_of(thing, 1 + below(rng, NUMBERS.len())));
        }
        shuffle(rng, &mut things);
        let text = format!("I have {}. How many {sort} do I have?", listed(&things));
        Some(Asked::new(text, total.to_string()))
    })
}

fn some_of(thing: &str, count: usize) -> String {
    match count {
        1 if thing.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {thing}"),
        1 => format!("a {thing}"),
        _ => format!("{} {thing}s", NUMBERS[count - 1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::generate;
    use crate::datasets::tests::SPLITS;

    fn reread(text: &str) -> usize {
        let (things, question) = text.strip_prefix("I have ").unwrap().split_once(". How many ").unwrap();
        let sort = question.strip_suffix(" do I have?").unwrap();
        let table = include_str!("data/categories.tsv");
        let line = table.lines().find(|line| line.starts_with(&format!("{sort}\t"))).unwrap();
        let members: Vec<&str> = line.split('\t').nth(1).unwrap().split('|').collect();
        let number = |word: &str| match word {
            "a" | "an" => 1,
            "two" => 2,
            "three" => 3,
            "four" => 4,
            "five" => 5,
            other => panic!("unknown number {other:?}"),
        };
        things
            .split(", ")
            .flat_map(|part| part.split(" and "))
            .map(|part| part.split_once(' ').unwrap())
            .filter(|(_, thing)| members.iter().any(|m| m == thing || format!("{m}s") == *thing))
            .map(|(count, _)| number(count))
            .sum()
    }

    #[test]
    fn the_answer_is_the_sum_over_the_things_of_that_sort() {
        for split in SPLITS {
            for question in generate("object-counting", 2000, 3, split).unwrap() {
                assert_eq!(question.gold, [reread(question.text()).to_string()], "{}", question.text());
            }
        }
    }

    #[test]
    fn numbers_and_articles_read_well() {
        assert_eq!(some_of("apple", 1), "an apple");
        assert_eq!(some_of("pear", 1), "a pear");
        assert_eq!(some_of("pear", 5), "five pears");
    }
}
