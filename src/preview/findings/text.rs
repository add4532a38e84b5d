//! Texts as findings compare and show them: sentences, examples, the words that tell one text from others.

use std::collections::BTreeSet;

use crate::words::words;

/// Maximal number of characters of an example in a finding.
const EXAMPLE_CHARS: usize = 90;

/// The sentences of `text`: ended by a line break, or by `.`, `!`, `?`, `;` or `:` before white space. A
/// label such as `Rewritten:` is therefore a sentence of its own.
pub fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let mut rest = line;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let ends = rest.char_indices().find_map(|(at, c)| {
                let end = at + c.len_utf8();
                let before_space = rest[end..].starts_with(char::is_whitespace);
                (".!?;:".contains(c) && before_space || "。！？".contains(c)).then_some(end)
            });
            let (sentence, after) = rest.split_at(ends.unwrap_or(rest.len()));
            rest = after;
            Some(sentence.trim())
        })
    })
}

/// The sentences of `text`, each from [`words`], without the empty ones.
pub fn sentence_words(text: &str) -> impl Iterator<Item = String> {
    sentences(text).map(words).filter(|sentence| !sentence.is_empty())
}

/// `text` in one line and shortened, for a finding.
pub fn example(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(EXAMPLE_CHARS) {
        None => line,
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
    }
}

/// Up to three different texts of `texts`, those that are there most often first, shortened.
pub fn examples<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<String> {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for text in texts {
        let text = example(text);
        match counted.iter_mut().find(|(known, _)| *known == text) {
            Some((_, count)) => *count += 1,
            None => counted.push((text, 1)),
        }
    }
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counted.into_iter().map(|(text, _)| text).filter(|text| !text.is_empty()).take(3).collect()
}

/// The first example, in quotes, for a sentence.
pub fn such_as(examples: &[String]) -> String {
    examples.first().map_or(String::new(), |text| format!(", such as {text:?}"))
}

/// Of each text, the words that at most half of the texts have: what tells it from the others. Of a
/// single text they are all its words.
pub fn distinctive(texts: &[String]) -> Vec<BTreeSet<String>> {
    let sets: Vec<BTreeSet<&str>> = texts.iter().map(|text| text.split(' ').collect()).collect();
    let mut frequency = std::collections::BTreeMap::<&str, usize>::new();
    for word in sets.iter().flatten() {
        *frequency.entry(word).or_default() += 1;
    }
    let is_rare = |word: &str| texts.len() == 1 || frequency[word] * 2 <= texts.len();
    let rare = |set: &BTreeSet<&str>| {
        set.iter().filter(|word| !word.is_empty() && is_rare(word)).map(|word| word.to_string()).collect()
    };
    sets.iter().map(rare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_ends_at_a_line_break_or_a_stop_before_white_space_and_so_does_a_label() {
        let text = "Text: What is the largest planet? My guess is 3.5.\nRewritten: What? ";
        let all: Vec<&str> = sentences(text).filter(|s| !s.is_empty()).collect();
        let expected = ["Text:", "What is the largest planet?", "My guess is 3.5.", "Rewritten:", "What?"];
        assert_eq!(all, expected);
    }

    #[test]
    fn examples_are_short_different_and_the_most_frequent_first() {
        let long = "x ".repeat(200);
        let found = examples(["b", "a", "a", &long, "c", " a\n"]);
        assert_eq!((found[0].as_str(), found[1].as_str(), found.len()), ("a", "b", 3));
        assert!(found[2].chars().count() <= EXAMPLE_CHARS + 1 && found[2].ends_with('…'));
        assert_eq!(such_as(&found), ", such as \"a\"");
    }

    #[test]
    fn distinctive_words_are_those_that_most_questions_do_not_have() {
        let texts = ["in which country is seoul", "in which country is doha", "in which land is doha"];
        let sets = distinctive(&texts.map(String::from));
        assert_eq!(sets[0].iter().collect::<Vec<_>>(), ["seoul"]);
        assert_eq!(sets[2].iter().collect::<Vec<_>>(), ["land"], "two of three have the other word");
    }
}
