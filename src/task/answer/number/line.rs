//! The numbers of a line: its words, what their neighbours make of them, and which one is the answer.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::super::lists::{List, list};
use super::characters::{THIN, plain};
use super::quantity::Quantity;
use super::word::{self, BEHIND, Format, NUMERALS, is_number_word};

static JOINS: List = LazyLock::new(|| list("joins"));
static BEFORE: List = LazyLock::new(|| list("before"));
static REASONS: List = LazyLock::new(|| list("reasons"));
static NEGATIONS: List = LazyLock::new(|| list("negations"));
static FUNCTIONS: List = LazyLock::new(|| list("functions"));
static LABELS: List = LazyLock::new(|| list("labels"));
/// Units in which one amount is given together: "2 hours 30 minutes".
static PARTS: LazyLock<[HashSet<&'static str>; 5]> =
    LazyLock::new(|| ["durations", "distances", "weights", "volumes", "money"].map(list));

/// What stands for a bracket that is left out.
const BRACKET: char = '⊗';

const DECORATION: &str = "\"'“”„‘«»‹›¿¡*_`~#|()[]{}";
const STOPS: &str = ".,;:?…";

/// A word of a line.
struct NumberWord {
    /// The word with its decoration.
    raw: String,
    /// The word without it.
    core: String,
    lower: String,
    is_number: bool,
    /// What follows the core ends a clause, a sentence.
    ends_clause: bool,
    ends_sentence: bool,
    clause: usize,
    sentence: usize,
    /// Whether a negation is before it in its clause.
    negated: bool,
}

/// A number word with what belongs to it: words `first..=last`, and the value if it is a number.
struct Number {
    first: usize,
    last: usize,
    value: Option<Quantity>,
}

/// A line with its numbers.
pub(super) struct Line {
    words: Vec<NumberWord>,
    numbers: Vec<Number>,
    /// Whether the numbers stand in brackets.
    pub opened: bool,
}

impl Line {
    pub fn read(text: &str, format: Format) -> Line {
        let text = plain(text);
        let outside = words(&without_brackets(&text));
        if text.contains('(') && !outside.iter().any(|word| word.is_number) {
            let touches = brackets_touch(&text);
            let words = words(&text.replace(['(', ')'], " "));
            let mut line = Line::of_words(words, format, true);
            if touches {
                line.numbers.iter_mut().for_each(|number| number.value = None);
            }
            return line;
        }
        Line::of_words(outside, format, false)
    }

    fn of_words(words: Vec<NumberWord>, format: Format, opened: bool) -> Line {
        let numbers = numbers(&words, format, opened);
        Line { words, numbers, opened }
    }

    /// Whether the line has a number word that does not number the line itself.
    pub fn has_numbers(&self) -> bool {
        self.counted().next().is_some()
    }

    /// Whether the line begins with a number word that does not number a list item.
    pub fn begins_with_number(&self) -> bool {
        let Some(first) = self.first() else { return false };
        self.words[first].is_number && self.item() != Some(first)
    }

    /// The last number word of the line.
    pub fn last(&self) -> Option<Quantity> {
        let last = self.counted().last()?;
        last.value.clone().filter(|_| !self.is_alternative(last))
    }

    /// Whether the number is the second of two: `x = 2 or x = 3`.
    fn is_alternative(&self, number: &Number) -> bool {
        let Some(equal) = (0..number.first).rfind(|at| self.words[*at].raw == "=") else { return false };
        self.named(0, equal)
            .is_some_and(|(_, names)| names.iter().any(|word| matches!(word.lower.as_str(), "or" | "/")))
    }

    /// The last number between words `from` and `equal`, and what is named between it and the latter.
    fn named(&self, from: usize, equal: usize) -> Option<(&Number, &[NumberWord])> {
        let number = self.numbers.iter().rfind(|number| (from..equal).contains(&number.first))?;
        Some((number, self.words.get(number.last + 1..equal)?))
    }

    fn first(&self) -> Option<usize> {
        self.words.iter().position(|word| !word.core.is_empty())
    }

    fn counted(&self) -> impl Iterator<Item = &Number> {
        let item = self.item();
        self.numbers.iter().filter(move |number| Some(number.first) != item)
    }

    /// The number word that numbers the line: `1.`, `1)` or `[1]` with a word behind it, or the one behind a
    /// label, such as "Step 2".
    fn item(&self) -> Option<usize> {
        let first = self.first()?;
        if LABELS.contains(self.words[first].lower.as_str()) && !self.words[first].ends_clause {
            return Some(first + 1).filter(|at| self.words.get(*at).is_some_and(|word| word.is_number));
        }
        let word = &self.words[first];
        let digits = word.core.bytes().all(|byte| byte.is_ascii_digit());
        let raw = word.raw.trim_end_matches(['*', '_']);
        let ends = |ends: &[char]| raw.strip_suffix(ends).is_some_and(|raw| raw.ends_with(&word.core));
        let is_item = ends(if raw.contains('[') { &[']'] } else { &['.', ')'] });
        (digits && is_item && first + 1 < self.words.len()).then_some(first)
    }

    /// The answer of a line that holds the answer.
    pub fn answer(&self) -> Option<Quantity> {
        let reasons = self.reasons();
        let counts = |at: usize| !reasons[at];
        let number = self.numbers.iter().find(|number| counts(number.first));
        let equals = |at: &usize| self.words[*at].raw == "=" && counts(*at);
        let equal = (0..self.words.len()).find(equals);
        let start = match (number, equal) {
            (Some(number), Some(equal)) => number.first.min(equal),
            (Some(number), None) => number.first,
            (None, _) => return None,
        };
        let clause = self.words[start].clause;
        if !(0..self.words.len()).any(|at| self.words[at].clause == clause && equals(&at)) {
            let value = only(self.numbers.iter().filter(|number| self.words[number.first].clause == clause))?;
            let sentence = self.words[start].sentence;
            let others = self
                .numbers
                .iter()
                .filter(|number| self.words[number.first].sentence == sentence && counts(number.first));
            return (only(others).as_ref() == Some(&value)).then_some(value);
        }
        let last = (0..self.words.len()).rfind(equals)?;
        if self.gives_another((0..last).rfind(equals), last) {
            return None;
        }
        let behind = || self.numbers.iter().filter(|number| number.first > last && counts(number.first));
        let clause = self.words[behind().next()?.first].clause;
        only(behind().filter(|number| self.words[number.first].clause == clause))
    }

    /// Whether the word belongs to a clause that is a reason, or follows one in its sentence.
    fn reasons(&self) -> Vec<bool> {
        let mut is_reason = false;
        let mut previous: Option<&NumberWord> = None;
        let mut all = Vec::with_capacity(self.words.len());
        for word in &self.words {
            if previous.is_none_or(|previous| previous.sentence != word.sentence) {
                is_reason = false;
            }
            if previous.is_none_or(|previous| previous.clause != word.clause) {
                is_reason |= REASONS.contains(word.lower.as_str());
            }
            all.push(is_reason);
            previous = Some(word);
        }
        all
    }

    /// Whether a value, the end of its clause, "and", "or" or `/`, and the name of another thing stand between two
    /// signs of equality: `x = 3, y = 4`; or a value, "or" and the name of a thing before the only one.
    fn gives_another(&self, before: Option<usize>, last: usize) -> bool {
        let Some((value, names)) = self.named(before.unwrap_or(0), last) else { return false };
        let separates = |word: &NumberWord| match before {
            Some(_) => word.ends_clause || matches!(word.lower.as_str(), "and" | "or" | "/"),
            None => word.lower == "or",
        };
        let ended = before.is_some() && self.words[value.last].ends_clause;
        !names.is_empty() && (ended || names.iter().any(separates))
    }
}

/// The value of all of these, if there is one.
fn only<'n>(mut numbers: impl Iterator<Item = &'n Number>) -> Option<Quantity> {
    let first = numbers.next()?.value.clone()?;
    numbers.all(|number| number.value.as_ref() == Some(&first)).then_some(first)
}

/// The line with a sign in place of each bracket. A bracket that is not closed ends with the line.
pub(in crate::task::answer) fn without_brackets(text: &str) -> String {
    if !text.contains('(') {
        return text.to_string();
    }
    let mut out = String::with_capacity(text.len());
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '(' => {
                if depth == 0 {
                    out.push(BRACKET);
                }
                depth += 1;
            }
            ')' if depth > 0 => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// Whether something else than white space, decoration and punctuation touches the outside of a bracket.
fn brackets_touch(text: &str) -> bool {
    let may_touch =
        |c: char| c.is_whitespace() || DECORATION.contains(c) || STOPS.contains(c) || "!=—".contains(c);
    text.match_indices('(').any(|(at, _)| !text[..at].chars().next_back().is_none_or(may_touch))
        || text.match_indices(')').any(|(at, _)| !text[at + 1..].chars().next().is_none_or(may_touch))
}

fn words(text: &str) -> Vec<NumberWord> {
    let mut words: Vec<NumberWord> = Vec::new();
    let (mut clause, mut sentence) = (0, 0);
    for raw in text.split(' ').filter(|raw| !raw.is_empty()) {
        let start = raw.trim_start_matches(|c| DECORATION.contains(c));
        let core = start.trim_end_matches(|c| DECORATION.contains(c) || STOPS.contains(c));
        let tail = &start[core.len()..];
        let exclaims = core.ends_with('!');
        let lower = core.to_lowercase();
        if matches!(lower.as_str(), "since" | "because") {
            clause += 1;
        }
        words.push(NumberWord {
            is_number: is_number_word(core),
            ends_clause: exclaims || tail.contains(|c| STOPS.contains(c)) || core == "—",
            ends_sentence: exclaims || tail.contains(['.', '?', '…']),
            raw: raw.to_string(),
            core: core.to_string(),
            lower,
            clause,
            sentence,
            negated: false,
        });
        let word = &words[words.len() - 1];
        clause += usize::from(word.ends_clause);
        sentence += usize::from(word.ends_sentence);
    }
    mark_dashes(&mut words);
    for at in 1..words.len() {
        let before = &words[at - 1];
        let negated = before.negated || NEGATIONS.contains(before.lower.as_str());
        words[at].negated = negated && before.clause == words[at].clause;
    }
    words
}

/// A `-` between a number and a word is a dash and ends a clause.
fn mark_dashes(words: &mut [NumberWord]) {
    let mut dashes = 0;
    for at in 1..words.len() {
        words[at].clause += dashes;
        let next = words.get(at + 1).map_or("", |next| next.core.as_str());
        let is_word = next.chars().count() >= 2 && next.chars().all(char::is_alphabetic);
        if words[at].raw == "-" && words[at - 1].is_number && is_word {
            words[at].ends_clause = true;
            words[at].core = "—".into();
            dashes += 1;
        }
    }
}

/// The power of ten of a word that multiplies the number before it.
fn scale(word: &str) -> Option<i64> {
    Some(match word {
        "hundred" => 2,
        "thousand" => 3,
        "million" => 6,
        "billion" => 9,
        "trillion" => 12,
        _ => return None,
    })
}

fn numbers(words: &[NumberWord], format: Format, opened: bool) -> Vec<Number> {
    let mut numbers = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if !words[at].is_number {
            at += 1;
            continue;
        }
        // All number words that follow each other directly.
        let mut end = at + 1;
        while end < words.len() && words[end].is_number && !words[end - 1].ends_clause {
            end += 1;
        }
        let run: Vec<&str> = words[at..end].iter().map(|word| word.core.as_str()).collect();
        let value = match run[..] {
            [word] => word::value(word, format),
            [whole, part] if format.fractions => word::mixed(whole, part),
            [_, _] => None,
            _ if run[1..].iter().all(|word| word.len() >= 3) => {
                word::value(&run.join(THIN.encode_utf8(&mut [0; 4]) as &str), format)
            }
            _ => None,
        };
        numbers.push(with_neighbours(words, Number { first: at, last: end - 1, value }, opened));
        at = numbers[numbers.len() - 1].last + 1;
    }
    for at in 0..numbers.len() {
        let Some(unit) = larger_part(words, &numbers[at]) else { continue };
        numbers[at].value = None;
        if at > 0 && numbers[at - 1].last + 1 == unit {
            numbers[at - 1].value = None;
        }
    }
    for second in 1..numbers.len() {
        if are_joined(words, numbers[second - 1].last, numbers[second].first) {
            numbers[second - 1].value = None;
            numbers[second].value = None;
        }
    }
    numbers
}

/// The number with a word that multiplies it and a word that is its sign; none if another neighbour makes
/// it another number.
fn with_neighbours(words: &[NumberWord], mut number: Number, opened: bool) -> Number {
    let next = |number: &Number| words.get(number.last + 1).filter(|_| !words[number.last].ends_clause);
    if let Some(power) = next(&number).and_then(|word| scale(&word.lower)) {
        number.last += 1;
        number.value = number.value.and_then(|value| value.scaled(power));
    }
    if let Some(before) = before(words, number.first)
        && matches!(words[before].lower.as_str(), "minus" | "negative")
        && !self::before(words, before).is_some_and(|before| words[before].is_number)
    {
        let signed = words[number.first].core.contains(['-', '+']);
        number.value = number.value.filter(|_| !signed).map(Quantity::negated);
        number.first = before;
    }
    let behind = next(&number).is_some_and(|word| {
        is_operator(words, number.last + 1)
            || (BEHIND.contains(word.lower.as_str()) && has_its_case(word))
            || scale(&word.lower).is_some()
            || is_numeral(&word.lower)
            || numeral_is_joined(words, number.last + 1)
            || part_follows(words, number.last + 1)
            || is_below_zero(words, number.last)
    });
    let before = before(words, number.first).is_some_and(|at| {
        let word = &words[at];
        is_operator(words, at)
            || word.raw == "<"
            || (BEFORE.contains(word.lower.as_str()) && has_its_case(word))
            || (word.lower == "to" && at > 0 && words[at - 1].lower == "up")
            || (!opened && is_numeral(&word.lower))
            || joins_numeral(words, at)
            || (word.lower == "of"
                && self::before(words, at).is_some_and(|at| FUNCTIONS.contains(words[at].lower.as_str())))
    });
    let negated = words[number.first].negated;
    if behind || before || negated {
        number.value = None;
    }
    number
}

/// The unit before a number that is the smaller part of one amount, as in "2 hours and 30 minutes".
fn larger_part(words: &[NumberWord], number: &Number) -> Option<usize> {
    let unit = words.get(number.last + 1).filter(|_| !words[number.last].ends_clause)?;
    let mut at = number.first.checked_sub(1)?;
    if words[at].lower == "and" && !words[at].ends_clause {
        at = at.checked_sub(1)?;
    }
    let larger = &words[at];
    let is_separate = larger.ends_clause && !larger.raw.ends_with(',');
    let of_one_kind =
        |units: &HashSet<&str>| units.contains(unit.lower.as_str()) && units.contains(larger.lower.as_str());
    (!is_separate && PARTS.iter().any(of_one_kind)).then_some(at)
}

/// Whether a unit is at `at`, and "and" and a numeral behind it: "1 hour and a half".
fn part_follows(words: &[NumberWord], at: usize) -> bool {
    PARTS.iter().any(|units| units.contains(lower(words, at)))
        && !words[at].ends_clause
        && lower(words, at + 1) == "and"
        && is_numeral_at(words, at + 2)
}

/// Whether "below zero" or the like is behind word `last`, perhaps behind a unit of one or two words.
fn is_below_zero(words: &[NumberWord], last: usize) -> bool {
    let goes_on = words[last..].iter().take_while(|word| !word.ends_clause).count().min(3);
    (last + 1..=last + goes_on).any(|at| {
        matches!(lower(words, at), "below" | "under")
            && !words[at].ends_clause
            && matches!(lower(words, at + 1), "zero" | "freezing")
    })
}

/// The word before word `at`, if it is in the same clause.
fn before(words: &[NumberWord], at: usize) -> Option<usize> {
    at.checked_sub(1).filter(|before| !words[*before].ends_clause)
}

/// Whether the word is an operator. A `*` at the beginning of a line makes a list item.
fn is_operator(words: &[NumberWord], at: usize) -> bool {
    let word = &words[at];
    match word.raw.as_str() {
        "*" => at > 0,
        "+" | "/" | "×" | "÷" | "^" | "±" | "√" | "x" | "X" => true,
        "-" => word.core == "-",
        _ => false,
    }
}

/// `may` and `march` are months only with a capital letter.
fn has_its_case(word: &NumberWord) -> bool {
    match word.lower.as_str() {
        "may" | "march" => word.core.starts_with(char::is_uppercase),
        _ => true,
    }
}

/// Whether the word is a number that is written as a word: `twelve`, `twenty-five`.
fn is_numeral(word: &str) -> bool {
    NUMERALS.contains(word) || (word.contains('-') && word.split('-').all(|part| NUMERALS.contains(part)))
}

/// Whether words that join begin at `at`, and a numeral follows, perhaps behind an article.
fn numeral_is_joined(words: &[NumberWord], at: usize) -> bool {
    let (first, second) = (lower(words, at), lower(words, at + 1));
    (JOINS.contains(first) && is_numeral_at(words, at + 1))
        || (is_join(first, second) && is_numeral_at(words, at + 2))
}

/// Whether a numeral is at `at`, perhaps behind an article.
fn is_numeral_at(words: &[NumberWord], at: usize) -> bool {
    let article = usize::from(matches!(lower(words, at), "a" | "an"));
    is_numeral(lower(words, at + article))
}

/// The word in lower case; empty behind the last one.
fn lower(words: &[NumberWord], at: usize) -> &str {
    words.get(at).map_or("", |word| word.lower.as_str())
}

/// Whether words that join end at `at`, and a numeral is before them.
fn joins_numeral(words: &[NumberWord], at: usize) -> bool {
    let numeral = |at: usize| before(words, at).filter(|before| is_numeral(&words[*before].lower));
    (JOINS.contains(words[at].lower.as_str()) && numeral(at).is_some())
        || before(words, at)
            .is_some_and(|first| is_join(&words[first].lower, &words[at].lower) && numeral(first).is_some())
}

/// Whether the two words join numbers: `out of`.
fn is_join(first: &str, second: &str) -> bool {
    JOINS.contains(format!("{first}-{second}").as_str())
}

/// Whether only a comma, a semicolon or words that join numbers are between words `left` and `right`.
fn are_joined(words: &[NumberWord], left: usize, right: usize) -> bool {
    if words[left].sentence != words[right].sentence {
        return false;
    }
    let between: Vec<&str> = words[left + 1..right].iter().map(|word| word.lower.as_str()).collect();
    match between[..] {
        [] => true,
        [word] => {
            JOINS.contains(word) || is_operator(words, left + 1) || word == "%" || words[left + 1].raw == ":"
        }
        [first, second] => is_join(first, second),
        _ => false,
    }
}
