//! Options that a question offers ("A, B or C"), and the one that the text around them singles out.
//!
//! A remark beside the options ("my neighbour says B", "a poster of B hangs on the wall") says nothing about
//! which of them is right, but small models answer with what it names. What the sentences say does not matter
//! here: an option is singled out where it stands outside of the list and no other option does. A story that
//! tells of several options singles out none.

use std::sync::LazyLock;

use regex::Regex;

use super::text::sentences;
use crate::words::{contains, words};

/// What separates options: signs, and words before the last one.
static CONJUNCTIONS: LazyLock<Regex> =
    LazyLock::new(|| separators("or|and|nor|oder|und|ou|et|o|y|eller|och"));
/// The words of those that let choose.
static CHOOSING: LazyLock<Regex> = LazyLock::new(|| separators("or|oder|ou|o|eller"));
/// How a question begins, if no option stands before it: "Which is larger, Rome or Paris?".
const INTERROGATIVES: [&str; 16] = [
    "which", "who", "whom", "whose", "what", "where", "when", "how", "why", "welche", "welcher", "welches",
    "was", "wer", "quel", "quelle",
];
/// Words before an option that are no part of it.
const PREPOSITIONS: [&str; 10] = ["in", "at", "on", "of", "to", "from", "with", "by", "for", "is"];
/// Words before a name that are no part of it.
const ARTICLES: [&str; 14] =
    ["the", "a", "an", "der", "die", "das", "ein", "eine", "le", "la", "les", "un", "une", "el"];

/// Longer texts are documents, in which an answer stands in more places than one.
const LONGEST: usize = 4000;

/// The most words of an option that the words around it are not told from.
const MOST_WORDS: usize = 4;

/// The sentences of a text: their lists of options, and their words.
pub struct Offered {
    sentences: Vec<(Vec<Vec<String>>, String)>,
}

impl Offered {
    /// What `text` offers; nothing if it is a document.
    pub fn by(text: &str) -> Offered {
        let short = (text.len() <= LONGEST).then(|| sentences(text));
        let parse = |sentence| (lists(sentence, &CONJUNCTIONS), words(sentence));
        Offered { sentences: short.into_iter().flatten().map(parse).collect() }
    }

    /// Whether `answer` is an option that is mentioned outside of its list too, unlike the others.
    pub fn singles_out(&self, answer: &str) -> bool {
        let words = words(answer);
        let answer = without_article(&words);
        if answer.is_empty() {
            return false;
        }
        let (mut others, mut around) = (Vec::new(), Vec::new());
        let mut is_offered = false;
        for (lists, sentence) in &self.sentences {
            match lists.iter().find(|list| offers(list, answer)) {
                Some(list) => {
                    is_offered = true;
                    let items = list.iter().map(|item| without_article(item));
                    others.extend(items.filter(|item| !item.is_empty() && *item != answer));
                }
                None => around.push(sentence),
            }
        }
        let is_mentioned = |item: &str| around.iter().any(|sentence| contains(sentence, item));
        is_offered && is_mentioned(answer) && !others.into_iter().any(is_mentioned)
    }

    /// Whether one of the options is singled out.
    pub fn singles_out_any(&self) -> bool {
        let is_any = |list: &Vec<String>| {
            let last = list.len() - 1;
            list.iter().enumerate().any(|(place, item)| {
                let all: Vec<&str> = item.split(' ').collect();
                let few = 1..=all.len().min(MOST_WORDS);
                self.singles_out(item)
                    || (place == 0 && few.clone().any(|n| self.singles_out(&all[all.len() - n..].join(" "))))
                    || (place == last && few.clone().any(|n| self.singles_out(&all[..n].join(" "))))
            })
        };
        self.sentences.iter().flat_map(|(lists, _)| lists).any(is_any)
    }
}

fn separators(conjunctions: &str) -> Regex {
    let signs = r"[,;:()?？–—/]|\s-\s";
    Regex::new(&format!(r"(?i)\s+(?:{conjunctions})\s+|{signs}")).expect("the pattern compiles")
}

/// The place of `answer` among the options of the sentence of `text` that asks, and the number of options; `None`
/// if no such list has it, or it is singled out, or the text is a document.
pub fn place_among_options(text: &str, answer: &str) -> Option<(usize, usize)> {
    if text.len() > LONGEST {
        return None;
    }
    let words = words(answer);
    let bare = without_article(&words);
    let place = |list: Vec<String>| {
        let found = (0..list.len()).find(|at| is_at(&list, *at, bare, without_prepositions))?;
        Some((found, list.len()))
    };
    let found = sentences(text).filter_map(options_of_question).find_map(place)?;
    (!Offered::by(text).singles_out(answer)).then_some(found)
}

/// Options that a question lets choose from: "Which is larger, Rome or Paris?".
fn options_of_question(sentence: &str) -> Option<Vec<String>> {
    if !sentence.trim_end().ends_with(['?', '？']) {
        return None;
    }
    let mut list = lists(sentence, &CHOOSING).pop()?;
    let first = list[0].split(' ').next().unwrap_or_default();
    // A question before the options, and not around the first of them: "Which is larger".
    if list.len() > 2 && INTERROGATIVES.contains(&first) {
        list.remove(0);
    }
    let within = &list[1..list.len() - 1];
    within.iter().all(|item| item.split(' ').count() <= MOST_WORDS).then_some(list)
}

fn without_prepositions(mut words: &str) -> &str {
    while let Some((first, rest)) = words.split_once(' ') {
        if !PREPOSITIONS.contains(&first) && !ARTICLES.contains(&first) {
            break;
        }
        words = rest;
    }
    words
}

/// The lists of a sentence: parts that commas join, and a conjunction before the last one. Their words, from
/// [`words`]; the first part may have words before the item, the last one behind it.
fn lists(sentence: &str, conjunctions: &LazyLock<Regex>) -> Vec<Vec<String>> {
    let is_conjunction = |separator: &str| separator.trim().chars().all(char::is_alphabetic);
    let (mut parts, mut separators) = (Vec::<String>::new(), Vec::<&str>::new());
    let mut from = 0;
    for found in conjunctions.find_iter(sentence) {
        let part = words(&sentence[from..found.start()]);
        from = found.end();
        match separators.last_mut().filter(|_| part.is_empty()) {
            // Of two in a row the conjunction counts: ", or".
            Some(last) if is_conjunction(found.as_str()) => *last = found.as_str(),
            Some(_) => {}
            None => {
                parts.push(part);
                separators.push(found.as_str());
            }
        }
    }
    parts.push(words(&sentence[from..]));
    let list = |last: usize| {
        let first = separators[..last].iter().rposition(|separator| *separator != ",").map_or(0, |at| at + 1);
        parts[first..=last + 1].to_vec()
    };
    (0..separators.len()).filter(|at| is_conjunction(separators[*at])).map(list).collect()
}

fn offers(list: &[String], answer: &str) -> bool {
    (0..list.len()).any(|place| is_at(list, place, answer, without_article))
}

/// Whether the item at `place` is `answer`. Words stand before the first item and behind the last one; `bare` takes
/// off what stands before any.
fn is_at(list: &[String], place: usize, answer: &str, bare: fn(&str) -> &str) -> bool {
    let item = bare(&list[place]);
    let ends = || place == 0 && list[0].strip_suffix(answer).is_some_and(|before| before.ends_with(' '));
    let begins =
        || place + 1 == list.len() && item.strip_prefix(answer).is_some_and(|after| after.starts_with(' '));
    !answer.is_empty() && (item == answer || ends() || begins())
}

fn without_article(words: &str) -> &str {
    match words.split_once(' ') {
        Some((first, rest)) if ARTICLES.contains(&first) => rest,
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_a_remark_names_is_singled_out() {
        for (text, hint, other) in [
            (
                "Which is the heaviest: a cow, an ant or a whale? My uncle swears it's the cow.",
                "cow",
                "whale",
            ),
            ("Someone wrote ant on the card. Which is heavier, cow or ant?", "Ant", "cow"),
            (
                "Bruno bet on Neptune. Ordered by size, which is the smallest – Neptune, Pluto or Ceres?",
                "Neptune",
                "Ceres",
            ),
            (
                "Of mayfly, Greenland shark and fruit fly, which one lives longest? Most wrote mayfly.",
                "mayfly",
                "Greenland shark",
            ),
            (
                "Three go as fast as they can: snail, sprinter and cheetah. Who loses? Ann thought of the cheetah.",
                "the cheetah",
                "snail",
            ),
            ("Was wäre schwerer, eine Kuh oder ein Wal? Tom sagt, eine Kuh.", "Kuh", "Wal"),
            (
                "I saw the Burj Khalifa. Burj Khalifa, Angkor Wat, or Parthenon: which was built first?",
                "Burj Khalifa",
                "Parthenon",
            ),
            (
                "My neighbour Tom, who is very sure, says it is paper. Is it telescope, paper or press?",
                "paper",
                "press",
            ),
        ] {
            assert!(Offered::by(text).singles_out(hint), "{text}");
            assert!(!Offered::by(text).singles_out(other), "{text}");
            assert!(Offered::by(text).singles_out_any(), "{text}");
        }
    }

    #[test]
    fn an_option_has_a_place_among_those_that_a_question_lets_choose_from() {
        for (text, options) in [
            ("Which is the heaviest: a cow, an ant or a whale?", &["cow", "the ant", "whale"][..]),
            ("Is Rome or Paris larger?", &["Rome", "Paris"]),
            ("Which is larger, Rome or Paris?", &["Rome", "Paris"]),
            ("Ann is 12. Ben is 9. Who is older, Ann or Ben?", &["Ann", "Ben"]),
            ("Do more people live in Oslo or in Bergen?", &["Oslo", "Bergen"]),
            ("Which has more inhabitants, Oslo, Bergen, or Moss?", &["Oslo", "Bergen", "Moss"]),
            ("Was wiegt mehr: eine Kuh oder ein Wal?", &["Kuh", "Wal"]),
        ] {
            for (at, option) in options.iter().enumerate() {
                let place = place_among_options(text, option);
                assert_eq!(place, Some((at, options.len())), "{option} in {text}");
            }
            assert_eq!(place_among_options(text, "dog"), None);
            assert_eq!(place_among_options(text, ""), None);
        }
        for (text, answer) in [
            ("Tom says a cow. Which is heavier, a cow or an ant?", "cow"),
            ("Ann works in Oslo and lives in Bergen. Where does Ann work?", "Oslo"),
            ("The order has the number 5 and cost 9 dollars. What is its number?", "5"),
            ("Ann has the hat, Ben the cup and Cy the pen. They swap. What has Ann?", "hat"),
            ("Approve, reject or escalate. May I return it?", "approve"),
        ] {
            assert_eq!(place_among_options(text, answer), None, "{text}");
        }
    }

    #[test]
    fn a_story_of_several_options_singles_out_none() {
        for (text, answer) in [
            ("Ann is 12. Ben is 9. Who is older, Ann or Ben?", "Ann"),
            ("Ann has the apple. She gives it to Ben. Who has the apple?", "Ben"),
            ("Which is larger, Rome or Paris?", "Rome"),
            ("I think Doha is in Iran. Which country is Doha in?", "Iran"),
            ("My friend and I think it is paper. What is it?", "paper"),
            ("Which is larger, Rome or Paris?", ""),
        ] {
            assert!(!Offered::by(text).singles_out(answer), "{text}");
            assert!(!Offered::by(text).singles_out_any(), "{text}");
        }
        let document = "Tom says an ant. Which is heavier, an ant or a cow? ".repeat(100);
        let document = Offered::by(&document);
        assert!(!document.singles_out("ant") && !document.singles_out_any());
    }
}
