//! Irrelevant context: a short word problem, and sentences with names and numbers that do not matter.

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, between, choose_distinct, distinct};
use super::tables::{objects, people};

/// Sentences beside the point.
const N_DISTRACTORS: (usize, usize) = (2, 3);

/// Draws word problems of one or two operations, about one person and one sort of thing, with sentences
/// about another person, another sort of thing or other numbers between. The splits share no person and
/// no object.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let (people, objects) = (people(split), objects(split));
    distinct(n, MAX_QUESTIONS, FORMS.len(), rng, |rng, card| {
        let (people, things) = (choose_distinct(rng, &people, 2), choose_distinct(rng, &objects, 2));
        let (mut sentences, question, answer) = FORMS[card](rng, people[0], things[0]);
        let n_distractors = between(rng, N_DISTRACTORS.0, N_DISTRACTORS.1);
        let which: Vec<usize> = (0..N_BESIDE).collect();
        for kind in choose_distinct(rng, &which, n_distractors) {
            let distractor = beside(rng, kind, [people[0], people[1]], things[0], things[1]);
            let place = below(rng, sentences.len() + 1);
            sentences.insert(place, distractor);
        }
        sentences.push(question);
        Some(Asked::new(sentences.join(" "), answer.to_string()))
    })
}

/// Writes the sentences that matter, the question and the answer.
type WordProblem = fn(&mut ChaCha8Rng, &str, &str) -> (Vec<String>, String, usize);

const FORMS: [WordProblem; 5] = [more, fewer, boxes, price, shares];

fn more(rng: &mut ChaCha8Rng, who: &str, thing: &str) -> (Vec<String>, String, usize) {
    let (has, gets) = (between(rng, 5, 60), between(rng, 3, 40));
    let first = match below(rng, 2) {
        0 => format!("{who} has {has} {thing}s."),
        _ => format!("There are {has} {thing}s in the cupboard of {who}."),
    };
    let then = match below(rng, 2) {
        0 => format!("Today {who} buys another {gets} {thing}s."),
        _ => format!("A parcel brings {who} another {gets} {thing}s."),
    };
    (vec![first, then], format!("How many {thing}s does {who} have now?"), has + gets)
}

fn fewer(rng: &mut ChaCha8Rng, who: &str, thing: &str) -> (Vec<String>, String, usize) {
    let (left, gives) = (between(rng, 2, 40), between(rng, 3, 40));
    let first = match below(rng, 2) {
        0 => format!("{who} has {} {thing}s.", left + gives),
        _ => format!("There are {} {thing}s in the cupboard of {who}.", left + gives),
    };
    let then = match below(rng, 2) {
        0 => format!("Today {who} gives away {gives} {thing}s."),
        _ => format!("Then {who} sells {gives} {thing}s."),
    };
    (vec![first, then], format!("How many {thing}s does {who} still have?"), left)
}

fn boxes(rng: &mut ChaCha8Rng, who: &str, thing: &str) -> (Vec<String>, String, usize) {
    let (boxes, each) = (between(rng, 3, 12), between(rng, 3, 12));
    let text = match below(rng, 2) {
        0 => format!("{who} fills {boxes} boxes and puts {each} {thing}s into each box."),
        _ => format!("Each box of {who} holds {each} {thing}s, and {who} has {boxes} full boxes."),
    };
    (vec![text], format!("How many {thing}s are in the boxes of {who} altogether?"), boxes * each)
}

fn price(rng: &mut ChaCha8Rng, who: &str, thing: &str) -> (Vec<String>, String, usize) {
    let (count, price) = (between(rng, 3, 12), between(rng, 3, 15));
    let sentences = match below(rng, 2) {
        0 => vec![format!("A {thing} costs {price} dollars."), format!("{who} buys {count} {thing}s.")],
        _ => vec![
            format!("{who} wants {count} {thing}s."),
            format!("The price of one {thing} is {price} dollars."),
        ],
    };
    (sentences, format!("How many dollars does {who} pay for the {thing}s?"), count * price)
}

fn shares(rng: &mut ChaCha8Rng, who: &str, thing: &str) -> (Vec<String>, String, usize) {
    let (friends, each) = (between(rng, 3, 9), between(rng, 3, 12));
    let text = match below(rng, 2) {
        0 => format!("{who} shares {} {thing}s equally among {friends} friends.", friends * each),
        _ => format!("{friends} friends of {who} divide {} {thing}s equally.", friends * each),
    };
    (vec![text], format!("How many {thing}s does each friend of {who} get?"), each)
}

/// The number of kinds of sentences that [`beside`] writes.
const N_BESIDE: usize = 10;

/// A sentence that does not matter.
fn beside(
    rng: &mut ChaCha8Rng,
    kind: usize,
    [who, other]: [&str; 2],
    thing: &str,
    other_thing: &str,
) -> String {
    let n = between(rng, 3, 60);
    match kind {
        0 => format!("{other} has {n} {thing}s."),
        1 => format!("{other}, who lives next door, is {} years old.", n + 10),
        2 => format!("The bus that {who} takes to work is number {n}."),
        3 => format!("{who} also owns {n} {other_thing}s."),
        4 => format!("It is {n} kilometres to the next town."),
        5 => format!("Last year, {other} sold {n} {thing}s at a market."),
        6 => format!("{who} lives in the house with the number {n}."),
        7 => format!("In the shop, a {other_thing} costs {n} dollars."),
        8 => format!("The room has {n} chairs."),
        _ => format!("{other} read that {n} people in the street collect {other_thing}s."),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::datasets::generate;
    use crate::datasets::tests::{SPLITS, regex};

    /// Which operation the question asks for, about whom and what.
    fn asked(text: &str) -> (&'static str, String, String) {
        for (operation, pattern) in [
            ("sum", r"How many (?<what>\w+)s does (?<who>\w+) have now\?$"),
            ("difference", r"How many (?<what>\w+)s does (?<who>\w+) still have\?$"),
            ("product", r"How many (?<what>\w+)s are in the boxes of (?<who>\w+) altogether\?$"),
            ("product", r"How many dollars does (?<who>\w+) pay for the (?<what>\w+)s\?$"),
            ("quotient", r"How many (?<what>\w+)s does each friend of (?<who>\w+) get\?$"),
        ] {
            if let Some(found) = regex(pattern).captures(text) {
                return (operation, found["who"].to_string(), found["what"].to_string());
            }
        }
        panic!("cannot read {text:?}")
    }

    /// The numbers of the sentences that are about the person and the sort of thing asked about, or about
    /// the price of such a thing; the numbers of sentences that matter, and of all.
    fn reread(text: &str) -> (usize, usize, usize) {
        let (operation, who, what) = asked(text);
        let mut numbers = Vec::new();
        let (mut n_relevant, mut n_sentences) = (0, 0);
        for sentence in regex(r"[^.?]+\.").find_iter(text) {
            n_sentences += 1;
            let words: Vec<&str> = sentence
                .as_str()
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
                .collect();
            let about = words.iter().any(|word| *word == what || *word == format!("{what}s"));
            let priced = words.contains(&"costs") || words.contains(&"price");
            if about && (words.contains(&who.as_str()) || priced) {
                n_relevant += 1;
                numbers.extend(words.iter().filter_map(|word| word.parse::<usize>().ok()));
            }
        }
        let [a, b] = numbers[..] else { panic!("{text}: {numbers:?}") };
        let answer = match operation {
            "sum" => a + b,
            "difference" => a - b,
            "product" => a * b,
            _ => a.max(b) / a.min(b),
        };
        (answer, n_relevant, n_sentences)
    }

    #[test]
    fn the_answer_comes_from_the_sentences_about_what_is_asked_and_from_no_other() {
        let mut beside = BTreeMap::new();
        for split in SPLITS {
            for question in generate("irrelevant-context", 1500, 3, split).unwrap() {
                let (answer, n_relevant, n_sentences) = reread(question.text());
                assert_eq!(question.gold, [answer.to_string()], "{}", question.text());
                *beside.entry(n_sentences - n_relevant).or_insert(0) += 1;
            }
        }
        assert_eq!(beside.keys().copied().collect::<Vec<_>>(), [2, 3]);
        assert!(beside.values().all(|&n: &i32| n > 1000), "{beside:?}");
    }

    #[test]
    fn taking_all_numbers_for_relevant_would_be_wrong() {
        let numbers = regex(r"\d+");
        for question in generate("irrelevant-context", 500, 4, crate::datasets::Split::Test).unwrap() {
            assert!(numbers.find_iter(question.text()).count() >= 4, "{}", question.text());
        }
    }
}
