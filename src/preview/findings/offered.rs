//! Options that a question offers ("A, B or C"), and the one that the text around them singles out.
//!
//! A remark beside the options ("my neighbour says B", "a poster of B hangs on the wall") says nothing about
//! which of them is right, but small models answer with what it names. What the sentences say does not matter
//! here: an option is singled out where it stands outside of the list and no other option does. A story that
//! tells of several options singles out none.

use std::sync::LazyLock;

use regex::Regex;

use super::text::{contains, sentences, words};

/// Words before the last option.
const CONJUNCTIONS: &str = "or|and|nor|oder|und|ou|et|o|y|eller|och";
/// Words before a name that are no part of it.
const ARTICLES: [&str; 14] =
    ["the", "a", "an", "der", "die", "das", "ein", "eine", "le", "la", "les", "un", "une", "el"];

/// Longer texts are documents, in which an answer stands in more places than one.
const LONGEST: usize = 4000;

/// Whether `answer` is an option that `text` offers and mentions outside of the list too, unlike the others.
pub fn is_singled_out(text: &str, answer: &str) -> bool {
    let answer = without_article(&words(answer)).to_string();
    if answer.is_empty() || text.len() > LONGEST {
        return false;
    }
    let (mut others, mut around) = (Vec::new(), Vec::new());
    let mut is_offered = false;
    for sentence in sentences(text) {
        match lists(sentence).into_iter().find(|list| offers(list, &answer)) {
            Some(list) => {
                is_offered = true;
                let items = list.iter().map(|item| without_article(item).to_string());
                others.extend(items.filter(|item| !item.is_empty() && *item != answer));
            }
            None => around.push(words(sentence)),
        }
    }
    let is_mentioned = |item: &String| around.iter().any(|sentence| contains(sentence, item));
    is_offered && is_mentioned(&answer) && !others.iter().any(is_mentioned)
}

/// The most words of an option that the words around it are not told from.
const MOST_WORDS: usize = 4;

/// Whether `text` singles out one of the options that it offers.
pub fn singles_out(text: &str) -> bool {
    if text.len() > LONGEST {
        return false;
    }
    let lists: Vec<Vec<String>> = sentences(text).flat_map(lists).collect();
    let is_an_option = |list: &Vec<String>| {
        let last = list.len() - 1;
        list.iter().enumerate().any(|(place, item)| {
            let all: Vec<&str> = item.split(' ').collect();
            let few = 1..=all.len().min(MOST_WORDS);
            is_singled_out(text, item)
                || (place == 0 && few.clone().any(|n| is_singled_out(text, &all[all.len() - n..].join(" "))))
                || (place == last && few.clone().any(|n| is_singled_out(text, &all[..n].join(" "))))
        })
    };
    lists.iter().any(is_an_option)
}

/// The lists of a sentence: parts that commas join, and a conjunction before the last one. Their words, from
/// [`words`]; the first part may have words before the item, the last one behind it.
fn lists(sentence: &str) -> Vec<Vec<String>> {
    static SEPARATOR: LazyLock<Regex> = LazyLock::new(|| {
        let signs = r"[,;:()?？–—/]|\s-\s";
        Regex::new(&format!(r"(?i)\s+(?:{CONJUNCTIONS})\s+|{signs}")).expect("the pattern compiles")
    });
    let is_conjunction = |separator: &str| separator.trim().chars().all(char::is_alphabetic);
    let (mut parts, mut separators) = (Vec::<String>::new(), Vec::<&str>::new());
    let mut from = 0;
    for found in SEPARATOR.find_iter(sentence) {
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
    list.iter().enumerate().any(|(place, item)| {
        let ends = || place == 0 && item.strip_suffix(answer).is_some_and(|before| before.ends_with(' '));
        let item = without_article(item);
        let begins = || {
            place + 1 == list.len() && item.strip_prefix(answer).is_some_and(|after| after.starts_with(' '))
        };
        item == answer || ends() || begins()
    })
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
            assert!(is_singled_out(text, hint), "{text}");
            assert!(!is_singled_out(text, other), "{text}");
            assert!(singles_out(text), "{text}");
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
            assert!(!is_singled_out(text, answer), "{text}");
            assert!(!singles_out(text), "{text}");
        }
        let document = "Tom says an ant. Which is heavier, an ant or a cow? ".repeat(100);
        assert!(!is_singled_out(&document, "ant") && !singles_out(&document));
    }
}
