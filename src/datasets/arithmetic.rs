//! Arithmetic word problems of two to four operations.

use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, between, choose_distinct, counted, distinct};
use super::tables::{objects, people};

const OPERATIONS: (usize, usize) = (2, 4);
/// Upper bound of numbers: the questions measure the order of the steps and not long multiplication.
const LARGEST: usize = 999;

/// The people and the objects of a problem.
struct Cast<'a> {
    who: &'a str,
    other: &'a str,
    thing: &'a str,
    other_thing: &'a str,
}

/// A problem, its answer, and the number of operations that lead to it.
struct Problem {
    text: String,
    answer: usize,
    operations: usize,
}

/// Draws problems about a collection that grows and shrinks, purchases, or days of work. The splits share no
/// person and no object.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let (people, objects) = (people(split), objects(split));
    distinct(n, MAX_QUESTIONS, 1, rng, |rng, _| {
        let (people, things) = (choose_distinct(rng, &people, 2), choose_distinct(rng, &objects, 2));
        let cast = Cast { who: people[0], other: people[1], thing: things[0], other_thing: things[1] };
        let problem = match below(rng, 4) {
            0 | 1 => collection(rng, &cast),
            2 => purchase(rng, &cast),
            _ => work(rng, &cast),
        }?;
        let fits = (OPERATIONS.0..=OPERATIONS.1).contains(&problem.operations)
            && (1..=LARGEST).contains(&problem.answer);
        fits.then(|| Asked::new(problem.text, problem.answer.to_string()))
    })
}

/// `None` if more would be taken than there is, or if a division would leave a remainder.
fn collection(rng: &mut ChaCha8Rng, cast: &Cast) -> Option<Problem> {
    let Cast { who, other, thing, .. } = cast;
    let (mut text, mut answer, mut operations) = if below(rng, 2) == 0 {
        let has = between(rng, 5, 60);
        (format!("{who} has {has} {thing}s."), has, 0)
    } else {
        let (boxes, each) = (between(rng, 2, 9), between(rng, 3, 12));
        (format!("{who} has {boxes} boxes with {each} {thing}s in each."), boxes * each, 1)
    };
    for _ in 0..between(rng, 1, 3) {
        let few = between(rng, 2, 30);
        match below(rng, 6) {
            0 => {
                text += &format!(" Then {who} finds {few} more.");
                answer += few;
            }
            1 => {
                text += &format!(" Then {other} gives {who} {few} {thing}s.");
                answer += few;
            }
            2 => {
                text += &format!(" Then {who} loses {few} of them.");
                answer = answer.checked_sub(few)?;
            }
            3 => {
                text += &format!(" Then {who} gives {few} of them to {other}.");
                answer = answer.checked_sub(few)?;
            }
            4 => {
                let (word, factor) = [("doubles", 2), ("triples", 3)][below(rng, 2)];
                text += &format!(" Then the number of {thing}s {word}.");
                answer *= factor;
            }
            _ => {
                let (packs, each) = (between(rng, 2, 6), between(rng, 2, 12));
                text += &format!(" Then {who} buys {packs} packs of {each} {thing}s.");
                answer += packs * each;
                operations += 1;
            }
        }
        operations += 1;
        if !(1..=LARGEST).contains(&answer) {
            return None;
        }
    }
    if below(rng, 3) > 0 {
        text += &format!(" How many {thing}s does {who} have now?");
        return Some(Problem { text, answer, operations });
    }
    let drawers = between(rng, 2, 9);
    text += &format!(
        " {who} puts all of them into {drawers} drawers, the same number into each. How many {thing}s are in each \
         drawer?"
    );
    (answer % drawers == 0).then_some(Problem { text, answer: answer / drawers, operations: operations + 1 })
}

fn purchase(rng: &mut ChaCha8Rng, cast: &Cast) -> Option<Problem> {
    let Cast { who, thing, other_thing, .. } = cast;
    let (count, price) = (between(rng, 2, 9), between(rng, 2, 15));
    let mut text = format!("{who} buys {count} {thing}s for {price} dollars each");
    let (mut sum, mut operations) = (count * price, 1);
    if below(rng, 2) == 0 {
        let (count, price) = (between(rng, 2, 9), between(rng, 2, 15));
        text += &format!(" and {count} {other_thing}s for {price} dollars each");
        sum += count * price;
        operations += 2;
    }
    text += ".";
    if below(rng, 2) == 0 {
        let off = between(rng, 2, 20);
        text += &format!(" A voucher takes {} off the price.", counted(off, "dollar"));
        sum = sum.checked_sub(off).filter(|&sum| sum > 0)?;
        operations += 1;
    }
    if below(rng, 2) == 0 {
        text += &format!(" How many dollars does {who} pay?");
        return Some(Problem { text, answer: sum, operations });
    }
    let paid = [20, 50, 100, 200, 300][below(rng, 5)];
    text += &format!(" {who} pays with {paid} dollars. How many dollars does {who} get back?");
    // Nobody pays with three notes if one is enough.
    let fits = sum < paid && 4 * sum > paid;
    fits.then(|| Problem { text, answer: paid - sum, operations: operations + 1 })
}

fn work(rng: &mut ChaCha8Rng, cast: &Cast) -> Option<Problem> {
    let Cast { who, thing, .. } = cast;
    let (pace, hours) = (between(rng, 3, 15), between(rng, 2, 8));
    let monday = pace * hours;
    let mut text = format!("On Monday {who} packs {pace} {thing}s an hour for {hours} hours.");
    let few = between(rng, 2, 20);
    let tuesday = match below(rng, 3) {
        0 => {
            text += &format!(" On Tuesday {who} packs {few} more than on Monday.");
            monday + few
        }
        1 => {
            text += &format!(" On Tuesday {who} packs {few} fewer than on Monday.");
            monday.checked_sub(few).filter(|&tuesday| tuesday > 0)?
        }
        _ => {
            text += &format!(" On Tuesday {who} packs twice as many as on Monday.");
            2 * monday
        }
    };
    if below(rng, 2) == 0 {
        text += &format!(" How many {thing}s does {who} pack on Tuesday?");
        return Some(Problem { text, answer: tuesday, operations: 2 });
    }
    text += &format!(" How many {thing}s does {who} pack on the two days together?");
    Some(Problem { text, answer: monday + tuesday, operations: 3 })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::datasets::generate;
    use crate::datasets::tests::{SPLITS, regex};

    /// Works through the sentences one by one; returns the answer and the operations it took.
    fn reread(text: &str) -> (i64, usize) {
        let n = r"(\d+)";
        let rules: Vec<(regex::Regex, &str)> = [
            (format!(r"^\w+ has {n} \w+\.$"), "start"),
            (format!(r"^\w+ has {n} boxes with {n} \w+ in each\.$"), "start"),
            (format!(r"^Then \w+ finds {n} more\.$"), "add"),
            (format!(r"^Then \w+ gives \w+ {n} \w+\.$"), "add"),
            (format!(r"^Then \w+ loses {n} of them\.$"), "take"),
            (format!(r"^Then \w+ gives {n} of them to \w+\.$"), "take"),
            (r"^Then the number of \w+ doubles\.$".into(), "double"),
            (r"^Then the number of \w+ triples\.$".into(), "triple"),
            (format!(r"^Then \w+ buys {n} packs of {n} \w+\.$"), "add"),
            (format!(r"^\w+ puts all of them into {n} drawers, the same number into each\.$"), "divide"),
            (format!(r"^\w+ buys {n} \w+ for {n} dollars each\.$"), "start"),
            (format!(r"^\w+ buys {n} \w+ for {n} dollars each and {n} \w+ for {n} dollars each\.$"), "start"),
            (format!(r"^A voucher takes {n} dollars off the price\.$"), "take"),
            (format!(r"^\w+ pays with {n} dollars\.$"), "pay"),
            (format!(r"^On Monday \w+ packs {n} \w+ an hour for {n} hours\.$"), "start"),
            (format!(r"^On Tuesday \w+ packs {n} more than on Monday\.$"), "add"),
            (format!(r"^On Tuesday \w+ packs {n} fewer than on Monday\.$"), "take"),
            (r"^On Tuesday \w+ packs twice as many as on Monday\.$".into(), "double"),
            (r"^How many \w+ does \w+ have now\?$".into(), "ask"),
            (r"^How many \w+ are in each drawer\?$".into(), "ask"),
            (r"^How many dollars does \w+ (?:pay|get back)\?$".into(), "ask"),
            (r"^How many \w+ does \w+ pack on Tuesday\?$".into(), "ask"),
            (r"^How many \w+ does \w+ pack on the two days together\?$".into(), "both"),
        ]
        .into_iter()
        .map(|(pattern, act)| (regex(&pattern), act))
        .collect();
        let (mut total, mut operations) = (0_i64, 0);
        for sentence in regex(r"[^.?]+[.?]").find_iter(text) {
            let sentence = sentence.as_str().trim();
            let (found, act) = rules
                .iter()
                .find_map(|(rule, act)| Some((rule.captures(sentence)?, *act)))
                .unwrap_or_else(|| panic!("cannot read {sentence:?}"));
            let numbers: Vec<i64> =
                found.iter().skip(1).flatten().map(|m| m.as_str().parse().unwrap()).collect();
            // Neighbouring numbers of a sentence are so many of so many.
            let amount: i64 = numbers.chunks(2).map(|pair| pair.iter().product::<i64>()).sum();
            operations += numbers.len().saturating_sub(1);
            (total, operations) = match act {
                "start" => (amount, operations),
                "add" => (total + amount, operations + 1),
                "take" => (total - amount, operations + 1),
                "double" => (2 * total, operations + 1),
                "triple" => (3 * total, operations + 1),
                "pay" => (amount - total, operations + 1),
                "divide" => {
                    assert_eq!(total % amount, 0, "{text}");
                    (total / amount, operations + 1)
                }
                _ => (total, operations),
            };
            if act == "both" {
                // Monday alone came before Tuesday: work through all but Tuesday again.
                let monday = reread(&text[..text.find(" On Tuesday").unwrap()]).0;
                (total, operations) = (total + monday, operations + 1);
            }
            assert!(total > 0, "{text}");
        }
        (total, operations)
    }

    #[test]
    fn the_answer_is_what_working_through_the_sentences_gives() {
        let mut of = BTreeMap::new();
        for split in SPLITS {
            for question in generate("arithmetic", 1000, 3, split).unwrap() {
                let (answer, operations) = reread(question.text());
                assert_eq!(question.gold, [answer.to_string()], "{}", question.text());
                *of.entry(operations).or_insert(0) += 1;
            }
        }
        assert_eq!(of.keys().copied().collect::<Vec<usize>>(), [2, 3, 4]);
        assert!(of.values().all(|&n: &i32| n > 200), "{of:?}");
    }
}
