//! Comparisons: which of two cities or countries has more inhabitants, which element comes later in the
//! periodic table, which of three numbers, written differently, is the largest?

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, below, between, choose, choose_distinct, distinct, fnv};
use super::opinions::SubjectFact;
use super::{capitals, cities, relations};

/// How many times the inhabitants of the other: populations change, and sources differ.
const MIN_RATIO: u64 = 3;
/// Elements so near each other in the periodic table are left out; the later atoms are the heavier ones
/// at any greater distance.
const MIN_PLACES: u64 = 3;
/// The few countries of the test split have not many more pairs.
const MAX_COMPARISONS: usize = 4000;
/// The least difference of two numbers, in hundredths.
const MIN_HUNDREDTHS: usize = 4;

/// Draws comparisons of all four sorts equally often. The place of the answer is balanced. The splits
/// share no city, country, element or set of numbers.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let sized = |facts: Vec<SubjectFact<'static>>| -> Vec<(&'static str, u64)> {
        facts.into_iter().map(|fact| (fact.subject, fact.weight)).collect()
    };
    let cities = sized(cities::facts(split));
    let countries = sized(capitals::facts(split));
    let elements: Vec<(&str, u64)> = relations::atomic_numbers(split)
        .into_iter()
        .map(|fact| (fact.subject, fact.right.parse().unwrap_or(0)))
        .collect();
    // Four sorts, and six places of the answer, among two or three.
    distinct(n, MAX_COMPARISONS, 24, rng, |rng, card| {
        let (sort, place) = (card % 4, card / 4);
        let far = |a: u64, b: u64| a.max(b) >= MIN_RATIO * a.min(b);
        match sort {
            0 => pair(rng, &cities, place % 2, far, &MORE_PEOPLE_CITY),
            1 => pair(rng, &countries, place % 2, far, &MORE_PEOPLE_COUNTRY),
            2 => pair(rng, &elements, place % 2, |a, b| a.abs_diff(b) >= MIN_PLACES, &LATER_ELEMENT),
            _ => numbers(rng, place % 3, split),
        }
    })
}

/// The wordings, with `{A}` and `{B}` for what is compared.
type PairWordings = [&'static str; 3];

const MORE_PEOPLE_CITY: PairWordings = [
    "Which city has more inhabitants, {A} or {B}?",
    "Do more people live in the city of {A} or in the city of {B}? Name the city.",
    "{A} and {B} are cities. Which of them is larger by population?",
];

const MORE_PEOPLE_COUNTRY: PairWordings = [
    "Which country has more inhabitants, {A} or {B}?",
    "Do more people live in {A} or in {B}? Name the country.",
    "Compare {A} with {B}: which country is larger by population?",
];

const LATER_ELEMENT: PairWordings = [
    "Which element has the higher atomic number, {A} or {B}?",
    "Which atom is heavier, one of {A} or one of {B}? Name the element.",
    "Which comes later in the periodic table, {A} or {B}?",
];

/// A question about two of `of`, of which the larger stands at `place`; `None` if they are too near each
/// other.
fn pair(
    rng: &mut ChaCha8Rng,
    of: &[(&'static str, u64)],
    place: usize,
    far: impl Fn(u64, u64) -> bool,
    wordings: &PairWordings,
) -> Option<Asked> {
    let drawn = choose_distinct(rng, of, 2);
    let wording = choose(rng, wordings);
    let ((mut a, size_a), (mut b, size_b)) = (drawn[0], drawn[1]);
    if !far(size_a, size_b) {
        return None;
    }
    let larger = if size_a > size_b { a } else { b };
    if (larger == b) != (place == 1) {
        std::mem::swap(&mut a, &mut b);
    }
    let text = wording.replace("{A}", a).replace("{B}", b);
    let gold = larger.strip_prefix("the ").unwrap_or(larger);
    Some(Asked { fields: vec![("question", text)], gold: both(gold, larger) })
}

/// One or two spellings.
fn both(a: &str, b: &str) -> Vec<String> {
    if a == b { vec![a.to_string()] } else { vec![a.to_string(), b.to_string()] }
}

/// Fractions in words, with their hundredths.
const FRACTIONS: [(&str, usize); 11] = [
    ("a quarter", 25),
    ("one half", 50),
    ("three quarters", 75),
    ("one fifth", 20),
    ("two fifths", 40),
    ("three fifths", 60),
    ("four fifths", 80),
    ("one tenth", 10),
    ("three tenths", 30),
    ("seven tenths", 70),
    ("nine tenths", 90),
];

/// Three numbers below one: a fraction in words, a decimal fraction and a percentage. `None` if two are
/// too near each other or the numbers belong to the other split.
fn numbers(rng: &mut ChaCha8Rng, place: usize, split: Split) -> Option<Asked> {
    let (words, fraction) = choose(rng, &FRACTIONS);
    let (decimal, percent) = (between(rng, 5, 98), between(rng, 5, 98));
    let of_split =
        (fnv(&format!("{fraction} {decimal} {percent}")) >> 32).is_multiple_of(3) == (split == Split::Test);
    let values = [fraction, decimal, percent];
    let near = |a: usize, b: usize| a.abs_diff(b) < MIN_HUNDREDTHS;
    if !of_split || near(values[0], values[1]) || near(values[0], values[2]) || near(values[1], values[2]) {
        return None;
    }
    // 0.50 is written 0.5.
    let decimal = format!("0.{decimal:02}").trim_end_matches('0').to_string();
    let mut written =
        vec![(fraction, words.to_string()), (values[1], decimal), (percent, format!("{percent}%"))];
    let largest = written.iter().enumerate().max_by_key(|(_, (value, _))| *value).map(|(index, _)| index)?;
    let (_, largest) = written.remove(largest);
    if below(rng, 2) == 0 {
        written.swap(0, 1);
    }
    written.insert(place, (0, largest.clone()));
    let [a, b, c] = [&written[0].1, &written[1].1, &written[2].1];
    let text = match below(rng, 3) {
        0 => format!("Which is the largest: {a}, {b} or {c}?"),
        1 => format!("Of the numbers {a}, {b} and {c}, which is the greatest?"),
        _ => format!("Three people get {a}, {b} and {c} of the same prize. Which share is the largest?"),
    };
    Some(Asked::new(text, largest))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;
    use crate::datasets::generate;
    use crate::datasets::tests::{SPLITS, regex};

    /// The sort, and what is compared, in the order of the text.
    fn read(text: &str) -> (&'static str, Vec<String>) {
        for (sort, pattern) in [
            ("city", r"^Which city has more inhabitants, (.+) or (.+)\?$"),
            ("city", r"^Do more people live in the city of (.+) or in the city of (.+)\? Name the city\.$"),
            ("city", r"^(.+) and (.+) are cities\. Which of them is larger by population\?$"),
            ("country", r"^Which country has more inhabitants, (.+) or (.+)\?$"),
            ("country", r"^Do more people live in (.+) or in (.+)\? Name the country\.$"),
            ("country", r"^Compare (.+) with (.+): which country is larger by population\?$"),
            ("element", r"^Which element has the higher atomic number, (.+) or (.+)\?$"),
            ("element", r"^Which atom is heavier, one of (.+) or one of (.+)\? Name the element\.$"),
            ("element", r"^Which comes later in the periodic table, (.+) or (.+)\?$"),
            ("number", r"^Which is the largest: (.+), (.+) or (.+)\?$"),
            ("number", r"^Of the numbers (.+), (.+) and (.+), which is the greatest\?$"),
            (
                "number",
                r"^Three people get (.+), (.+) and (.+) of the same prize\. Which share is the largest\?$",
            ),
        ] {
            if let Some(found) = regex(pattern).captures(text) {
                return (
                    sort,
                    found.iter().skip(1).flatten().map(|part| part.as_str().to_string()).collect(),
                );
            }
        }
        panic!("cannot read {text:?}")
    }

    /// A number below one as written, from its parts.
    fn value(text: &str) -> f64 {
        if let Some(percent) = text.strip_suffix('%') {
            return percent.parse::<f64>().unwrap() / 100.0;
        }
        if let Ok(value) = text.parse() {
            return value;
        }
        let (count, part) = text.split_once(' ').unwrap();
        let counts = ["a", "one", "two", "three", "four", "", "", "seven", "", "nine"];
        let count = counts.iter().position(|word| *word == count).unwrap().max(1);
        let parts = [("half", 2.0), ("quarter", 4.0), ("fifth", 5.0), ("tenth", 10.0)];
        let part = parts.iter().find(|(name, _)| part.trim_end_matches('s') == *name).unwrap().1;
        let count = if text.starts_with("a ") || text.starts_with("one ") { 1 } else { count };
        count as f64 / part
    }

    #[test]
    fn the_answer_is_the_larger_one_and_stands_in_every_place_equally_often() {
        let sizes: BTreeMap<&str, u64> = SPLITS
            .into_iter()
            .flat_map(|split| {
                let numbers = relations::atomic_numbers(split);
                let numbers = numbers.into_iter().map(|fact| (fact.subject, fact.right.parse().unwrap()));
                let places = cities::facts(split).into_iter().chain(capitals::facts(split));
                numbers.chain(places.map(|fact| (fact.subject, fact.weight))).collect::<Vec<_>>()
            })
            .collect();
        let mut places = BTreeMap::new();
        for split in SPLITS {
            for question in generate("comparisons", 1200, 3, split).unwrap() {
                let (sort, compared) = read(question.text());
                let size = |text: &String| match sort {
                    "number" => value(text),
                    _ => sizes[text.as_str()] as f64,
                };
                let largest =
                    (0..compared.len()).max_by(|&a, &b| size(&compared[a]).total_cmp(&size(&compared[b])));
                let largest = largest.unwrap();
                assert!(question.gold.contains(&compared[largest]), "{}", question.text());
                *places.entry((sort, largest)).or_insert(0) += 1;
            }
        }
        let expected = |(sort, _): &(&str, usize)| if *sort == "number" { 200 } else { 300 };
        assert!(places.iter().all(|(at, &n)| n == expected(at)) && places.len() == 9, "{places:?}");
    }

    #[test]
    fn training_and_test_questions_compare_nothing_in_common() {
        let compared = |split| -> HashSet<String> {
            let questions = generate("comparisons", 2000, 4, split).unwrap();
            let of = |question: &crate::task::Question| match read(question.text()) {
                ("number", mut three) => {
                    three.sort();
                    vec![three.join(" ")]
                }
                (_, two) => two,
            };
            questions.iter().flat_map(of).collect()
        };
        assert!(compared(Split::Train).is_disjoint(&compared(Split::Test)));
    }
}
