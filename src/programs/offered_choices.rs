//! Choices that stand at the end of most questions: "Which is it: refuse, replace, repair or refund?"

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::infer::MAX_WORDS;
use crate::task::Question;

/// Fewer questions may end alike by chance.
const MIN_QUESTIONS: usize = 6;

/// A list before a question mark: the items before the last two, the last but one, the last.
static LIST: LazyLock<Regex> = LazyLock::new(|| {
    let item = r"[^,;:.?!？\n]+";
    let pattern = format!(r"(?i)((?:{item},)*)({item}?),?\s+(?:or|oder|ou|o|eller)\s+({item})[?？]");
    Regex::new(&pattern).expect("the pattern compiles")
});
/// How a question begins whose options follow behind a comma: "Which is larger, A or B?"
static ASKS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^\W*(?:\w+\s+)?(?:which|what|who|whom|whose|how|where|when|why)\b").expect("it compiles")
});

/// The choices that `share` of the questions offer; `None` where they offer different ones or none.
pub fn offered_choices(questions: &[Question], share: f64) -> Option<Vec<String>> {
    let mut counts = BTreeMap::<Vec<String>, usize>::new();
    for list in
        questions.iter().filter_map(|question| question.fields.values().filter_map(|t| list(t)).last())
    {
        *counts.entry(list).or_default() += 1;
    }
    let (list, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (questions.len() >= MIN_QUESTIONS && count as f64 >= share * questions.len() as f64).then_some(list)
}

/// The options of the last list in `text`.
fn list(text: &str) -> Option<Vec<String>> {
    let found = LIST.captures_iter(text).last()?;
    let before: Vec<&str> = found[1].split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    let mut items: Vec<&str> = before.into_iter().chain([found[2].trim(), found[3].trim()]).collect();
    if items.iter().any(|item| item.is_empty()) {
        return None;
    }
    let follows_colon = text[..found.get(0)?.start()].ends_with(':');
    if items.len() > 2 && ASKS.is_match(items[0]) {
        items.remove(0);
    } else if !follows_colon {
        // The words of the question before the first option.
        let n = items.last()?.split_whitespace().count();
        let words: Vec<(usize, &str)> = items[0]
            .split_whitespace()
            .map(|w| (w.as_ptr() as usize - items[0].as_ptr() as usize, w))
            .collect();
        items[0] = &items[0][words[words.len().saturating_sub(n)].0..];
    }
    let bare =
        |item: &&str| item.trim_matches(|c: char| c.is_whitespace() || "\"'`*()“”".contains(c)).to_string();
    let items: Vec<String> = items.iter().map(bare).collect();
    let mut different: Vec<String> = items.iter().map(|item| item.to_lowercase()).collect();
    different.sort();
    different.dedup();
    let are_short = items.iter().all(|item| (1..=MAX_WORDS).contains(&item.split_whitespace().count()));
    (are_short && different.len() == items.len()).then_some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_list_before_a_question_mark_is_read() {
        for (text, options) in [
            (
                "An item is lost or broken. Which is it: refuse, replace, repair or refund?",
                "refuse|replace|repair|refund",
            ),
            ("Is the claim valid, invalid, or unclear? Answer with one word.", "valid|invalid|unclear"),
            ("Which is better, A or B?", "A|B"),
            ("What is this? Is it spam or ham?", "spam|ham"),
            ("Ist das gut, schlecht oder egal?", "gut|schlecht|egal"),
            ("Do you accept the claim or reject the claim?", "accept the claim|reject the claim"),
        ] {
            assert_eq!(list(text).unwrap().join("|"), options, "{text}");
        }
        for none in [
            "Is it broken?",
            "It is lost or broken.",
            "How many apples or pears does he have now?",
            "",
            "Is it hot?  Or cold?",
            "It is broken.  Or is it fine?",
            "Pick A or  ?",
            "Is it a, or?",
        ] {
            assert_eq!(list(none), None, "{none}");
        }
    }

    #[test]
    fn choices_are_what_most_questions_offer() {
        let questions = |texts: &[String]| -> Vec<Question> {
            texts.iter().map(|text| Question::new("q", text.as_str(), vec![])).collect()
        };
        let desks: Vec<String> =
            (0..8).map(|i| format!("Mail {i}. Is it for sales, repair or nobody?")).collect();
        assert_eq!(offered_choices(&questions(&desks), 0.8).unwrap(), ["sales", "repair", "nobody"]);
        assert_eq!(offered_choices(&questions(&desks[..3]), 0.8), None, "too few");
        let sizes: Vec<String> = (0..8).map(|i| format!("Which is larger, {i}a or {i}b?")).collect();
        assert_eq!(offered_choices(&questions(&sizes), 0.8), None);
    }
}
