//! A second implementation of the rules for numbers, dates and choices, written from `rules.md` with
//! regular expressions and without regard to speed, and a generator of completions on which both must
//! agree.
//!
//! `SN_ANSWER_CASES` sets the number of completions; 1,000,000 take some minutes.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use regex::{Captures, Regex};

use super::super::normalize::normalize;
use super::AnswerRule;
use super::lists::words;

/// The expression, compiled once.
pub(super) fn regex(text: &str) -> &'static Regex {
    thread_local! {
        static KNOWN: RefCell<HashMap<String, &'static Regex>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        if !known.contains_key(text) {
            known.insert(text.to_string(), Box::leak(Box::new(Regex::new(text).unwrap())));
        }
        known[text]
    })
}

fn in_list(name: &str, word: &str) -> bool {
    words(name).any(|known| known == word)
}

/// The patterns of the reference, compiled once.
pub(super) struct Reference {
    fraction: &'static Regex,
    latex: &'static Regex,
    tag: &'static Regex,
    signs: &'static Regex,
    power: &'static Regex,
    decimal_digit: &'static Regex,
    strip: &'static Regex,
    item: &'static Regex,
    numbers: [&'static Regex; 2],
    dates: Vec<&'static Regex>,
}

#[derive(Clone, PartialEq, Debug)]
struct Token {
    raw: String,
    core: String,
    low: String,
    tail: String,
    clause: usize,
    sentence: usize,
    number: bool,
}

impl Token {
    fn breaks(&self) -> bool {
        self.core == "—" || self.core.ends_with('!') || self.tail.contains([',', ';', ':', '.', '?', '…'])
    }
}

const UNITS: [&str; 5] = ["durations", "distances", "weights", "volumes", "money"];
const DECORATION: &str = r#""'“”‘„«»‹›¿¡*_`~#|()\[\]{}"#;

impl Reference {
    pub(super) fn new() -> Reference {
        let signs = r"[$€£¥₹¢₩₽₺₫฿]";
        let list = |name: &str| {
            let mut all: Vec<&str> = words(name).collect();
            all.sort_by_key(|word| std::cmp::Reverse(word.len()));
            all.into_iter().map(regex::escape).collect::<Vec<_>>().join("|")
        };
        let currency = format!(r"(?:[A-Z]{{0,3}}\$|{signs}|{})", list("currencies"));
        let units = format!(
            r"(?:{}|{signs}|%|°[CF]?|(?:{})(?:²|³|\^2|\^3)|-(?P<word>\p{{Alphabetic}}{{2,}})(?:-\p{{Alphabetic}}+)*)?",
            list("units"),
            list("lengths")
        );
        let number = |point: &str, comma: &str| {
            let digits = format!(
                r"[1-9][0-9]{{0,2}}(?:{comma}[0-9]{{3}})+|[1-9][0-9]?(?:{comma}[0-9]{{2}})+{comma}[0-9]{{3}}|[1-9][0-9]{{0,2}}(?:'[0-9]{{3}})+|[1-9][0-9]{{0,2}}(?:_[0-9]{{3}})+|[1-9][0-9]{{0,2}}(?:\x{{202f}}[0-9]{{3}})+|[1-9][0-9]{{0,2}}(?:٬[0-9]{{3}})+|[0-9]+"
            );
            regex(&format!(
                r"^(?P<s>[-+]?){currency}?(?P<t>[-+]?)(?:(?P<w>{digits})?(?:(?:{point}|٫)(?P<f>[0-9]+))?(?:[eE](?P<e>[+-]?[0-9]+))?|(?P<i>[0-9]*)(?P<v>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒])|(?P<n>[0-9]{{1,18}})/(?P<d>[0-9]{{1,18}}))(?:{units})$"
            ))
        };
        let day = r"(?P<d>\d{1,2})(?:st|nd|rd|th)?";
        let clock = r"(?:T\d\d:[\d:.]*\dZ?)?";
        let month = r"(?P<w>[a-z]+)";
        let dates = [
            format!(r"(?P<y>\d{{4}})-(?P<m>\d{{1,2}})-(?P<d>\d{{1,2}}){clock}"),
            format!(r"(?P<y>\d{{4}})/(?P<m>\d{{1,2}})/(?P<d>\d{{1,2}}){clock}"),
            format!(r"(?P<y>\d{{4}})\.(?P<m>\d{{1,2}})\.(?P<d>\d{{1,2}}){clock}"),
            r"(?P<a>\d{1,2})/(?P<b>\d{1,2})/(?P<y>\d{4})".into(),
            r"(?P<a>\d{1,2})\.(?P<b>\d{1,2})\.(?P<y>\d{4})".into(),
            r"(?P<a>\d{1,2})-(?P<b>\d{1,2})-(?P<y>\d{4})".into(),
            format!(r"{day}(?: +(?:of +)?|-|\. *){month}\.?(?:,? +|-)(?P<y>\d{{4}})"),
            format!(r"{month}\.? +(?:the +)?{day},? +(?P<y>\d{{4}})"),
        ];
        Reference {
            fraction: regex(r"\\[dt]?frac\s*(?:\{([^{}]*)\}\s*\{([^{}]*)\}|([0-9])([0-9]))"),
            latex: regex(r"\\(?P<name>[A-Za-z]+)|\\(?P<sign>.)|[{}]|\$\$"),
            tag: regex(r"</?(?P<name>[A-Za-z][A-Za-z0-9_-]*)/?>"),
            signs: regex(r"(?P<eq>==>|-->|=>|->|==|:=)|(?P<lt><=|>=|!=)|(?P<one>.)"),
            power: regex(r"([0-9]) *[×xX*] *10(?:\^ *([+-]?[0-9]+)|([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+))"),
            decimal_digit: regex(r"^\p{Nd}$"),
            strip: regex(&format!(r"^[{DECORATION}]*(?P<core>.*?)(?P<tail>[{DECORATION}.,;:?…]*)$")),
            item: regex(&format!(r"^(?:\d+[.)]|\[[{DECORATION}]*\d+\])[*_]*$")),
            numbers: [number(r"\.", ","), number(",", r"\.")],
            dates: dates.iter().map(|form| regex(&format!("(?i){form}"))).collect(),
        }
    }

    pub(super) fn digit(&self, c: char) -> Option<char> {
        if !self.decimal_digit.is_match(c.encode_utf8(&mut [0; 4])) {
            return None;
        }
        // Sets of ten follow each other without a gap, if at all.
        let is_digit = |code: u32| {
            char::from_u32(code).is_some_and(|c| self.decimal_digit.is_match(c.encode_utf8(&mut [0; 4])))
        };
        let mut start = c as u32;
        while start > 0 && is_digit(start - 1) {
            start -= 1;
        }
        char::from_digit((c as u32 - start) % 10, 10)
    }

    /// The paragraph "The characters".
    fn show(&self, line: &str) -> String {
        let mut line = line.to_string();
        while self.fraction.is_match(&line) {
            let found = self.fraction.captures(&line).unwrap();
            let all = found.get(0).unwrap();
            let part = |a, b| {
                let text = found.get(a).or(found.get(b)).unwrap().as_str();
                text.replace(char::is_whitespace, "")
            };
            let gap = if line[..all.start()].ends_with(|c: char| c.is_ascii_digit()) { " " } else { "" };
            let after = &line[all.end()..];
            let end = if after.starts_with(|c: char| c.is_ascii_digit()) { " " } else { "" };
            line = format!("{}{gap}{}/{}{end}{after}", &line[..all.start()], part(1, 3), part(2, 4));
        }
        let line = self.latex.replace_all(&line, |found: &Captures<'_>| -> String {
            let Some(command) = found.name("name").or(found.name("sign")) else { return "\u{2}".into() };
            match command.as_str() {
                "(" | ")" | "[" | "]" | "left" | "right" | "boxed" | "fbox" | "text" | "mathrm"
                | "mathbf" | "mathit" | "textbf" | "textit" | "emph" | "displaystyle" => "\u{2}".into(),
                "," | ";" | ":" | "!" | " " => "\u{2009}".into(),
                "times" | "cdot" => "×".into(),
                "div" => "÷".into(),
                "pm" => "±".into(),
                "approx" | "to" | "rightarrow" | "Rightarrow" | "implies" | "equiv" => "=".into(),
                "neq" | "ne" | "le" | "leq" | "ge" | "geq" => "≤".into(),
                "circ" => "\u{1}".into(),
                one if "%$#&_".contains(one) => one.into(),
                other => format!("\\{other}"),
            }
        });
        let line = regex("\\^(\u{2}*)\u{1}").replace_all(&line, "$1\u{1}").replace('\u{1}', "°");
        // Between two digits, what is left out leaves a space.
        let left_out = |mut line: String| {
            let gap = regex("(\\p{Nd})\u{2}+(\\p{Nd})");
            while gap.is_match(&line) {
                line = gap.replace(&line, "$1 $2").into_owned();
            }
            line.replace('\u{2}', "")
        };
        let line = left_out(line);
        let line = self.tag.replace_all(&line, |found: &Captures<'_>| {
            let name = found["name"].to_lowercase();
            match name.as_str() {
                "sup" if !found[0].starts_with("</") => "^".to_string(),
                "sub" if !found[0].starts_with("</") => "_".to_string(),
                name if in_list("blocks", name) => " ".to_string(),
                _ => "\u{2}".to_string(),
            }
        });
        let line = left_out(line.into_owned());
        let narrow: String = line
            .chars()
            .filter(|c| !matches!(*c as u32, 0xad | 0x61c | 0xfeff | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f))
            .map(|c| match c {
                c if self.digit(c).is_some() => self.digit(c).unwrap(),
                c if (0xff01..=0xff5e).contains(&(c as u32)) => char::from_u32(c as u32 - 0xfee0).unwrap(),
                '−' | '‐' | '‑' | '–' | '﹣' => '-',
                '⁄' | '∕' => '/',
                '·' | '⋅' | '∙' | '∗' | '✕' => '×',
                '’' | '‘' | 'ʼ' => '\'',
                c => c,
            })
            .collect();
        let quoted = |text: &str| text.trim_start().starts_with('>') && !text.trim_start().starts_with(">=");
        let mut line = narrow;
        while quoted(&line) {
            line = line.replacen('>', " ", 1);
        }
        let chars: Vec<char> = line.chars().collect();
        let spaced: String = chars
            .iter()
            .enumerate()
            .map(|(at, &c)| {
                if !matches!(c, '~' | '\u{a0}' | '\u{202f}' | '\u{2007}'..='\u{200a}') {
                    return c;
                }
                let digit =
                    |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(char::is_ascii_digit);
                match digit(at.checked_sub(1)) && digit(Some(at + 1)) {
                    true => '\u{202f}',
                    false if c == '~' => '~',
                    false => ' ',
                }
            })
            .collect();
        let line = self.signs.replace_all(&spaced, |found: &Captures<'_>| -> String {
            if found.name("eq").is_some() {
                return " = ".into();
            }
            if found.name("lt").is_some() {
                return " < ".into();
            }
            match &found["one"] {
                "=" | "≈" | "≃" | "≅" | "≡" | "→" | "⇒" | "⟹" => " = ".into(),
                "<" | ">" | "≤" | "≥" | "≠" => " < ".into(),
                "—" | "―" => " — ".into(),
                "、" => ", ".into(),
                "。" => ". ".into(),
                "\u{202f}" => "\u{202f}".into(),
                one if one.chars().all(|c| c.is_whitespace() || c.is_control()) => " ".into(),
                one => one.into(),
            }
        });
        let line = self.power.replace_all(&line, |found: &Captures<'_>| {
            let raised = found.get(2).or(found.get(3)).unwrap().as_str();
            let level = "⁰0¹1²2³3⁴4⁵5⁶6⁷7⁸8⁹9⁺+⁻-".chars().collect::<Vec<_>>();
            let exponent: String = raised
                .chars()
                .map(|c| level.chunks(2).find(|pair| pair[0] == c).map_or(c, |pair| pair[1]))
                .collect();
            format!("{}e{exponent}", &found[1])
        });
        line.into_owned()
    }

    fn tokens(&self, line: &str) -> Vec<Token> {
        let mut tokens: Vec<Token> = Vec::new();
        for raw in line.split(' ').filter(|raw| !raw.is_empty()) {
            let found = self.strip.captures(raw).unwrap();
            let (core, tail) = (found["core"].to_string(), found["tail"].to_string());
            let letters = core.chars().take_while(|c| c.is_ascii_uppercase()).count();
            let money =
                (letters <= 3 && core[letters..].starts_with('$') && next_is_digit(&core[letters + 1..]))
                    || words("currencies").any(|code| core.strip_prefix(code).is_some_and(next_is_digit));
            let number = core.contains(char::is_numeric) && (!core.starts_with(char::is_alphabetic) || money);
            let low = core.to_lowercase();
            let (mut clause, mut sentence) = (0, 0);
            if let Some(last) = tokens.last() {
                let sentence_ends = last.core.ends_with('!') || last.tail.contains(['.', '?', '…']);
                clause = last.clause + usize::from(last.breaks());
                sentence = last.sentence + usize::from(sentence_ends);
            }
            if low == "since" || low == "because" {
                clause += 1;
            }
            tokens.push(Token { raw: raw.into(), core, low, tail, clause, sentence, number });
        }
        // A dash between a number and a word.
        for at in 1..tokens.len().saturating_sub(1) {
            let word = &tokens[at + 1].core;
            if tokens[at].raw == "-"
                && tokens[at - 1].number
                && word.chars().count() > 1
                && word.chars().all(char::is_alphabetic)
            {
                tokens[at].core = "—".into();
                tokens[at + 1..].iter_mut().for_each(|token| token.clause += 1);
            }
        }
        tokens
    }

    /// The key of one number word.
    fn value(&self, core: &str, comma: bool, fractions: bool) -> Option<String> {
        let found = self.numbers[usize::from(comma)].captures(core)?;
        if let Some(word) = found.name("word") {
            let word = word.as_str().to_lowercase();
            if in_list("behind", &word) || in_list("numerals", &word) {
                return None;
            }
        }
        let sign = format!("{}{}", &found["s"], &found["t"]);
        if sign.len() > 1 {
            return None;
        }
        let negative = sign == "-";
        if let Some(over) = found.name("n") {
            let (n, d): (u128, u128) = (over.as_str().parse().ok()?, found["d"].parse().ok()?);
            return fractions.then(|| ratio(negative, n, d))?;
        }
        if let Some(sign) = found.name("v") {
            let shown: String = unicode_normalization::UnicodeNormalization::nfkd(sign.as_str()).collect();
            let (n, d) = shown.split_once('⁄')?;
            let (n, d): (u128, u128) = (n.parse().ok()?, d.parse().ok()?);
            let whole: u128 = if found["i"].is_empty() { 0 } else { found["i"].parse().ok()? };
            return fractions.then(|| ratio(negative, whole.checked_mul(d)?.checked_add(n)?, d))?;
        }
        let part = |name| found.name(name).map_or("", |part: regex::Match<'_>| part.as_str());
        if part("w").is_empty() && part("f").is_empty() {
            return None;
        }
        let exponent: i64 =
            if part("e").is_empty() { 0 } else { part("e").trim_start_matches('+').parse().ok()? };
        if exponent.abs() > 1000 {
            return None;
        }
        let whole: String = part("w").chars().filter(char::is_ascii_digit).collect();
        Some(plain(negative, &whole, part("f"), exponent))
    }

    pub(super) fn number(&self, text: &str, marked: bool, comma: bool, fractions: bool) -> Option<String> {
        let lines: Vec<&str> = text.split('\n').collect();
        let first = lines.iter().find(|line| !line.trim().is_empty() && !is_fence(line))?;
        let page = Line::of(self, first, comma, fractions);
        if marked || page.begins(self) {
            return page.answer();
        }
        let all: Vec<Line> = lines.iter().map(|line| Line::of(self, line, comma, fractions)).collect();
        let counted = |line: &Line| -> Vec<Option<String>> {
            let values = line.values.iter().filter(|value| Some(value.0) != line.numbered(self));
            values.map(|value| value.2.clone()).collect()
        };
        let last = all.iter().rfind(|line| !line.opened && !counted(line).is_empty());
        let last = last.or_else(|| all.iter().rfind(|line| !counted(line).is_empty()))?;
        let value = counted(last).last()?.clone()?;
        let numbered = last.numbered(self);
        let (first, ..) = last.values.iter().rfind(|value| Some(value.0) != numbered)?;
        let tokens = &last.tokens;
        if let Some(equal) = tokens[..*first].iter().rposition(|token| token.raw == "=")
            && let Some((_, end, _)) = last.values.iter().rfind(|value| value.0 < equal)
            && (end + 1..equal).any(|at| ["or", "/"].contains(&tokens[at].low.as_str()))
        {
            return None;
        }
        Some(value)
    }
}

fn is_numeral(word: &str) -> bool {
    in_list("numerals", word) || (word.contains('-') && word.split('-').all(|part| in_list("numerals", part)))
}

fn next_is_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

pub(super) fn is_fence(line: &str) -> bool {
    regex(r"^\s*(?:`{3,}[^\s`]*|~{3,}[^\s~]*|\\\[|\\\]|\$\$)\s*$").is_match(line)
}

/// Plain digits by moving the point.
fn plain(negative: bool, whole: &str, fraction: &str, exponent: i64) -> String {
    let mut digits: Vec<char> = format!("{whole}{fraction}").chars().collect();
    let mut point = whole.len() as i64 + exponent;
    while point < 0 {
        digits.insert(0, '0');
        point += 1;
    }
    while digits.len() < point as usize {
        digits.push('0');
    }
    let (whole, fraction) = digits.split_at(point as usize);
    let (whole, fraction) = (String::from_iter(whole), String::from_iter(fraction));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let sign = if negative && !(whole.is_empty() && fraction.is_empty()) { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A fraction by long division: if no digits remain after at most 60 steps, the decimal number.
fn ratio(negative: bool, over: u128, under: u128) -> Option<String> {
    if under == 0 {
        return None;
    }
    let (mut rest, mut digits) = (over % under, String::new());
    while rest > 0 && digits.len() < 60 {
        rest *= 10;
        digits.push(char::from_digit((rest / under) as u32, 10)?);
        rest %= under;
    }
    if rest == 0 {
        return Some(plain(negative, &(over / under).to_string(), &digits, 0));
    }
    let common =
        (1..=under.min(100_000)).rev().find(|n| over.is_multiple_of(*n) && under.is_multiple_of(*n))?;
    Some(format!("{}{}/{}", if negative { "-" } else { "" }, over / common, under / common))
}

/// A line: its tokens, and its number words as first token, last token, value.
struct Line {
    tokens: Vec<Token>,
    values: Vec<(usize, usize, Option<String>)>,
    opened: bool,
}

impl Line {
    fn of(reference: &Reference, line: &str, comma: bool, fractions: bool) -> Line {
        let shown = reference.show(line);
        let mut outside = String::new();
        let mut depth = 0;
        for c in shown.chars() {
            match c {
                '(' => {
                    depth += 1;
                    if depth == 1 {
                        outside.push('⊗');
                    }
                }
                ')' if depth > 0 => depth -= 1,
                _ if depth > 0 => {}
                c => outside.push(c),
            }
        }
        let mut tokens = reference.tokens(&outside);
        let opened = shown.contains('(') && !tokens.iter().any(|token| token.number);
        let mut touched = false;
        if opened {
            let free =
                |c: char| regex(&format!(r"[\s{DECORATION}.,;:?…!=—]")).is_match(c.encode_utf8(&mut [0; 4]));
            let chars: Vec<char> = shown.chars().collect();
            for (at, c) in chars.iter().enumerate() {
                let near = match c {
                    '(' if at > 0 => chars.get(at - 1),
                    ')' => chars.get(at + 1),
                    _ => None,
                };
                touched |= near.is_some_and(|c| !free(*c));
            }
            tokens = reference.tokens(&shown.replace(['(', ')'], " "));
        }
        let mut values = Line::values(reference, &tokens, comma, fractions, opened);
        if touched {
            values.iter_mut().for_each(|value| value.2 = None);
        }
        Line { tokens, values, opened }
    }

    fn values(
        reference: &Reference,
        tokens: &[Token],
        comma: bool,
        fractions: bool,
        opened: bool,
    ) -> Vec<(usize, usize, Option<String>)> {
        let scales = ["hundred", "thousand", "million", "billion", "trillion"];
        let powers = [2, 3, 6, 9, 12];
        let scale =
            |at: usize| tokens.get(at).and_then(|token| scales.iter().position(|word| *word == token.low));
        let mut values = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let mut end = at;
            while end < tokens.len() && tokens[end].number && (end == at || !tokens[end - 1].breaks()) {
                end += 1;
            }
            if end == at {
                at += 1;
                continue;
            }
            let cores: Vec<&str> = tokens[at..end].iter().map(|token| token.core.as_str()).collect();
            let mut value = match cores.len() {
                1 => reference.value(cores[0], comma, fractions),
                2 if fractions && regex(r"^[-+]?\d+ \d{1,18}/\d{1,18}$").is_match(&cores.join(" ")) => {
                    let negative = cores[0].starts_with('-');
                    let whole: Option<u128> = cores[0].trim_start_matches(['-', '+']).parse().ok();
                    let (n, d) = cores[1].split_once('/').unwrap();
                    let (n, d): (u128, u128) = (n.parse().unwrap(), d.parse().unwrap());
                    whole.and_then(|whole| ratio(negative, whole.checked_mul(d)?.checked_add(n)?, d))
                }
                2 => None,
                _ if cores[1..].iter().any(|core| core.len() < 3) => None,
                _ => reference.value(&cores.join("\u{202f}"), comma, fractions),
            };
            let (mut first, mut last) = (at, end - 1);
            at = end;
            if let Some(which) = scale(last + 1).filter(|_| !tokens[last].breaks()) {
                value = value.filter(|value| !value.contains('/')).map(|value| {
                    let negative = value.starts_with('-');
                    let value = value.trim_start_matches('-').to_string();
                    let (whole, fraction) = value.split_once('.').unwrap_or((&value, ""));
                    plain(negative, whole, fraction, powers[which])
                });
                last += 1;
                at = last + 1;
            }
            let before = |first: usize| first.checked_sub(1).filter(|before| !tokens[*before].breaks());
            if let Some(minus) =
                before(first).filter(|at| ["minus", "negative"].contains(&tokens[*at].low.as_str()))
                && !before(minus).is_some_and(|at| tokens[at].number)
            {
                value = value.filter(|_| !tokens[first].core.contains(['-', '+'])).map(|value| {
                    match value.strip_prefix('-') {
                        Some(value) => value.to_string(),
                        None if value == "0" => value,
                        None => format!("-{value}"),
                    }
                });
                first = minus;
            }
            let cased = |token: &Token| match token.low.as_str() {
                "may" | "march" => token.core.starts_with(char::is_uppercase),
                _ => true,
            };
            let operator = |at: usize| {
                let token: &Token = &tokens[at];
                match token.raw.as_str() {
                    "*" => at != 0,
                    "-" => token.core != "—",
                    raw => ["+", "/", "×", "÷", "^", "±", "√", "x", "X"].contains(&raw),
                }
            };
            let mut bad = false;
            if last + 1 < tokens.len() && !tokens[last].breaks() {
                let next = &tokens[last + 1];
                let then = |at: usize| tokens.get(at).map_or("", |token| token.low.as_str());
                let numeral = |at: usize| {
                    is_numeral(if ["a", "an"].contains(&then(at)) { then(at + 1) } else { then(at) })
                };
                let two = format!("{}-{}", next.low, then(last + 2));
                bad |= operator(last + 1)
                    || (in_list("behind", &next.low) && cased(next))
                    || scale(last + 1).is_some()
                    || is_numeral(&next.low)
                    || (UNITS.iter().any(|list| in_list(list, &next.low))
                        && !next.breaks()
                        && then(last + 2) == "and"
                        && numeral(last + 3))
                    || (in_list("joins", &next.low) && numeral(last + 2))
                    || (in_list("joins", &two) && numeral(last + 3));
                let clause = tokens[last + 1..].iter().take_while(|token| !token.breaks());
                let lows: Vec<&str> = clause.map(|token| token.low.as_str()).collect();
                let cold = |at: usize| ["zero", "freezing"].contains(&then(last + 2 + at));
                bad |= (0..lows.len().min(3)).any(|at| ["below", "under"].contains(&lows[at]) && cold(at));
            }
            if let Some(at) = before(first) {
                let token = &tokens[at];
                bad |= operator(at)
                    || token.raw == "<"
                    || (in_list("before", &token.low) && cased(token))
                    || (token.low == "to" && at > 0 && tokens[at - 1].low == "up");
                let mut words: Vec<&str> = tokens[..=at]
                    .iter()
                    .enumerate()
                    .rev()
                    .take_while(|(i, token)| *i == at || !token.breaks())
                    .map(|(_, token)| token.low.as_str())
                    .take(3)
                    .collect();
                words.resize(3, "");
                bad |= words[0] == "of" && in_list("functions", words[1]);
                bad |= (is_numeral(words[0]) && !opened)
                    || (in_list("joins", words[0]) && is_numeral(words[1]))
                    || (in_list("joins", &format!("{}-{}", words[1], words[0])) && is_numeral(words[2]));
            }
            bad |= tokens[..first]
                .iter()
                .any(|token| token.clause == tokens[first].clause && in_list("negations", &token.low));
            values.push((first, last, value.filter(|_| !bad)));
        }
        let mut joined = BTreeSet::new();
        for second in 1..values.len() {
            let (left, right) = (values[second - 1].1, values[second].0);
            if tokens[left].sentence != tokens[right].sentence {
                continue;
            }
            let between: Vec<&str> = tokens[left + 1..right].iter().map(|token| token.low.as_str()).collect();
            let joins = match between.len() {
                0 => true,
                1 => {
                    let raw = tokens[left + 1].raw.as_str();
                    let dash = tokens[left + 1].core == "—";
                    in_list("joins", between[0])
                        || (["+", "*", "/", "×", "÷", "^", "±", "√", "x", "X", "-"].contains(&raw) && !dash)
                        || between[0] == "%"
                        || raw == ":"
                }
                2 => in_list("joins", &between.join("-")),
                _ => false,
            };
            if joins {
                joined.extend([second - 1, second]);
            }
        }
        // Parts of one amount: a unit, perhaps "and", the number, a unit of the same list.
        for at in 0..values.len() {
            let (first, last, _) = values[at];
            if last + 1 >= tokens.len() || tokens[last].breaks() {
                continue;
            }
            let and = first > 0 && tokens[first - 1].low == "and" && !tokens[first - 1].breaks();
            let Some(unit) = first.checked_sub(1 + usize::from(and)) else { continue };
            let apart = tokens[unit].breaks() && !tokens[unit].raw.ends_with(',');
            let same = |list: &&str| in_list(list, &tokens[unit].low) && in_list(list, &tokens[last + 1].low);
            if !apart && UNITS.iter().any(same) {
                joined.insert(at);
                joined.extend((0..at).filter(|before| values[*before].1 + 1 == unit));
            }
        }
        joined.into_iter().for_each(|at| values[at].2 = None);
        values
    }

    fn begins(&self, reference: &Reference) -> bool {
        let tokens: Vec<&Token> = self.tokens.iter().skip_while(|token| token.core.is_empty()).collect();
        let Some(first) = tokens.first() else { return false };
        let bare = first.raw.trim_start_matches(|c| DECORATION.contains(c) && c != '[');
        first.number && !(tokens.len() > 1 && reference.item.is_match(bare))
    }

    /// The token of the number that numbers the line.
    fn numbered(&self, reference: &Reference) -> Option<usize> {
        let at = self.tokens.iter().position(|token| !token.core.is_empty())?;
        let first = &self.tokens[at];
        if in_list("labels", &first.low) && !first.breaks() {
            return Some(at + 1).filter(|at| self.tokens.get(*at).is_some_and(|token| token.number));
        }
        (first.number && !self.begins(reference)).then_some(at)
    }

    fn answer(&self) -> Option<String> {
        // Tokens that belong to reasons.
        let mut reasons = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            let sentence_start = at == 0 || self.tokens[at - 1].sentence != token.sentence;
            let clause_start = at == 0 || self.tokens[at - 1].clause != token.clause;
            let going_on = !sentence_start && reasons[at - 1];
            reasons.push(going_on || (clause_start && in_list("reasons", &token.low)));
        }
        let values: Vec<_> = self.values.iter().filter(|value| !reasons[value.0]).collect();
        let equals: Vec<usize> =
            (0..self.tokens.len()).filter(|at| self.tokens[*at].raw == "=" && !reasons[*at]).collect();
        let first_value = values.first()?.0;
        let decisive = equals.first().map_or(first_value, |equal| first_value.min(*equal));
        let clause_of = |at: usize| self.tokens[at].clause;
        let same = |values: Vec<&Option<String>>| {
            let first = (*values.first()?).clone()?;
            values.iter().all(|value| value.as_ref() == Some(&first)).then_some(first)
        };
        if !equals.iter().any(|at| clause_of(*at) == clause_of(decisive)) {
            let here = values.iter().filter(|value| clause_of(value.0) == clause_of(decisive));
            let here = same(here.map(|value| &value.2).collect())?;
            let sentence = self.tokens[decisive].sentence;
            let near = values.iter().filter(|value| self.tokens[value.0].sentence == sentence);
            return same(near.map(|value| &value.2).collect()).filter(|all| *all == here);
        }
        let last = *equals.last()?;
        let before = (equals.len() > 1).then(|| equals[equals.len() - 2]);
        let from = before.unwrap_or(0);
        if let Some((_, end, _)) = self.values.iter().rfind(|value| value.0 >= from && value.0 < last)
            && end + 1 < last
        {
            let names = &self.tokens[end + 1..last];
            let parts: &[&str] = if before.is_some() { &["and", "or", "/"] } else { &["or"] };
            let ended = before.is_some() && self.tokens[*end..last].iter().any(Token::breaks);
            if ended || names.iter().any(|token| parts.contains(&token.low.as_str())) {
                return None;
            }
        }
        let behind: Vec<_> = values.iter().filter(|value| value.0 > last).collect();
        let clause = clause_of(behind.first()?.0);
        same(behind.iter().filter(|value| clause_of(value.0) == clause).map(|value| &value.2).collect())
    }
}

impl Reference {
    /// `None`: nothing like a date; `Some(None)`: not understood.
    fn date_in(&self, text: &str, order: Option<&str>) -> Option<Option<String>> {
        let mut all: Vec<Option<String>> = Vec::new();
        for form in &self.dates {
            for found in form.captures_iter(text) {
                let number = |name: &str| found.name(name).and_then(|part| part.as_str().parse::<u32>().ok());
                let year = number("y").unwrap();
                let named = found.name("w").map(|name| {
                    let name = name.as_str().to_lowercase();
                    words("months")
                        .position(|month| {
                            month == name || month[..3] == name || (name == "sept" && month == "september")
                        })
                        .map(|at| at as u32 + 1)
                });
                if named == Some(None) {
                    continue;
                }
                let pair = match (number("a"), number("b"), order) {
                    (Some(a), Some(b), _) if a > 12 => Some((b, a)),
                    (Some(a), Some(b), _) if b > 12 || a == b => Some((a, b)),
                    (Some(a), Some(b), Some("day_month")) => Some((b, a)),
                    (Some(a), Some(b), Some(_)) => Some((a, b)),
                    (Some(_), Some(_), None) => None,
                    _ => named.flatten().or(number("m")).zip(number("d")),
                };
                let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
                let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
                let valid = pair.filter(|(month, day)| {
                    year > 0 && (1..=12).contains(month) && *day >= 1 && *day <= days[*month as usize - 1]
                });
                let place = found.get(0).unwrap();
                let (before, after) = (&text[..place.start()], &text[place.end()..]);
                let alone = !regex(r"(?i)(?:[\p{Alphabetic}\p{N}/.-]|[0-9](?:st|nd|rd|th)? *(?:,|&|or|and|to|through|until) *|(?:(?:^|[^a-z])(?:or|and|to|after|before|than|prior|prior to)|[-/]|(?:^|[^a-z]|week|work|business)(?:days?|weeks?|months?|years?) +(?:from|past|following)) *|[0-9](?:st|nd|rd|th)? *[-/] *)$").is_match(before)
                    && !regex(r"(?i)^(?:[\p{Alphabetic}\p{N}]|\.[\p{Alphabetic}\p{N}]| *[-/&+] *[0-9a-z]| +(?:plus|minus)\b|,?(?: +[^ ]+)?(?: +[^ ]+)? +(?:earlier|later)\b|,? *(?:or|and|to|through|until) +\S*[0-9])").is_match(after);
                let clause = regex("[,;:.!?—]").split(before).last().unwrap_or_default().to_lowercase();
                let negated = clause
                    .split_whitespace()
                    .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
                    .any(|word| in_list("negations", word));
                all.push(
                    valid
                        .filter(|_| alone && !negated)
                        .map(|(month, day)| format!("{year:04}-{month:02}-{day:02}")),
                );
            }
        }
        let first = all.first()?.clone();
        Some(first.filter(|first| all.iter().all(|other| other.as_ref() == Some(first))))
    }

    fn date_line(&self, line: &str, order: Option<&str>) -> Option<Option<String>> {
        let shown = self.show(line);
        let mut depth = 0;
        let mut outside = String::new();
        for c in shown.chars() {
            match c {
                '(' => {
                    outside.push_str(if depth == 0 { "⊗" } else { "" });
                    depth += 1;
                }
                ')' if depth > 0 => depth -= 1,
                c if depth == 0 => outside.push(c),
                _ => {}
            }
        }
        self.date_in(&outside, order).or_else(|| self.date_in(&shown.replace(['(', ')'], " "), order))
    }

    pub(super) fn date(&self, text: &str, marked: bool, order: Option<&str>) -> Option<String> {
        let lines: Vec<&str> = text.split('\n').collect();
        let first = lines.iter().find(|line| !line.trim().is_empty() && !is_fence(line))?;
        match self.date_line(first, order) {
            None if !marked => lines.iter().rev().find_map(|line| self.date_line(line, order)).flatten(),
            found => found.flatten(),
        }
    }

    /// The number of a choice. `phrases`: texts of choices and aliases, each with its choice.
    pub(super) fn choice(&self, text: &str, marked: bool, phrases: &[(&str, usize)]) -> Option<usize> {
        let text = match phrases.iter().any(|(phrase, _)| phrase.contains('<')) {
            true => text.to_string(),
            false => self.tag.replace_all(text, " ").into_owned(),
        };
        let text = text.as_str();
        let mut phrases: Vec<(String, &str, usize)> =
            phrases.iter().map(|(phrase, choice)| (normalize(phrase), *phrase, *choice)).collect();
        phrases.sort_by_key(|(key, ..)| std::cmp::Reverse(key.len()));
        let one_letter = |key: &str| key.chars().count() == 1 && key.chars().all(char::is_alphabetic);
        let english = |key: &str| key == "a" || key == "i";
        let begins = |key: &str, phrase: &str| format!("{key} ").starts_with(&format!("{phrase} "));
        let end_of = |text: &str, phrase: &str| {
            let ends = (1..=text.len()).filter(|end| text.is_char_boundary(*end));
            ends.filter(|end| {
                !text[*end..]
                    .starts_with(|c: char| c.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&c))
            })
            .find(|end| normalize(&text[..*end]) == phrase)
        };
        let closed = |text: &str| -> String {
            text.trim_start_matches(|c| "*_`\"”»)]}’'“".contains(c)).to_string()
        };
        let words_of = |text: &str| -> Vec<(String, String)> {
            regex(r"[ \t\r\n‑-]")
                .split(text)
                .map(|raw| (normalize(raw), raw.trim_matches(|c: char| !c.is_alphanumeric()).to_string()))
                .filter(|(key, _)| !key.is_empty())
                .collect()
        };
        let negation = |word: &str| {
            words("negations").chain(words("rejections")).any(|known| normalize(known) == word)
                && !phrases.iter().any(|(key, ..)| key == word)
        };
        let denied = |words: &[(String, String)]| {
            let word = |at: usize| words.get(at).map_or("", |(key, _)| key.as_str());
            word(0) == "cannot"
                || (word(0).ends_with("nt") && negation(word(0)))
                || (in_list("verbs", word(0)) && (in_list("denials", word(1)) || in_list("denials", word(2))))
        };
        let joined = |text: &str| -> (String, bool) {
            let mut rest = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            let mut any = false;
            while let Some(found) =
                regex(r"(?i)^(?:[/|&+]|(?:or|and|nor|vs|versus|but))(?:[^\p{Alphabetic}]|$)?").captures(rest)
            {
                let word = found[0].trim_end_matches(|c: char| !c.is_alphabetic());
                let length = if word.is_empty() { 1 } else { word.len() };
                if !word.is_empty() && rest[length..].starts_with(char::is_alphabetic) {
                    break;
                }
                rest = rest[length..].trim_start_matches(|c: char| c.is_whitespace() || c == ',');
                any = true;
            }
            (rest.to_string(), any)
        };
        let noun = |behind: &str| {
            let Some(found) = regex(r"^\s*(?P<word>\p{Ll}[\p{Alphabetic}\p{N}'’]*)").captures(behind)
            else {
                return false;
            };
            let word = normalize(&found["word"]);
            let first_of = |phrase: &str| phrase.split(' ').next() == Some(word.as_str());
            !(regex("(^|[^su])s$").is_match(&word)
                || in_list("no-nouns", &word)
                || in_list("verbs", &word)
                || ["or", "and", "nor", "vs", "versus", "but"].contains(&word.as_str())
                || phrases.iter().any(|(phrase, ..)| first_of(phrase)))
        };
        let key = normalize(text);
        let first = text.split('\n').map(normalize).find(|key| !key.is_empty()).unwrap_or_default();
        let leading = phrases.iter().find_map(|phrase| {
            let end = first.starts_with(&phrase.0).then(|| end_of(text, &phrase.0))??;
            let piece = regex(r#"^[\s*_`"'“”‘’(\[{«¿¡„—–:,;.]+"#).replace(&text[..end], "").into_owned();
            let crosses = |sign: char| {
                !phrase.1.contains(sign)
                    && regex(&format!(r"{}\s", regex::escape(&sign.to_string()))).is_match(&piece)
            };
            if ".!?;:".chars().any(crosses) {
                return None;
            }
            (begins(&first, &phrase.0) || text[end..].starts_with('.')).then_some((phrase, end))
        });
        'prose: {
            let Some(((phrase, spelling, choice), end)) = leading else { break 'prose };
            let letter = one_letter(phrase);
            let own_case = text[..end].ends_with(spelling);
            if letter && !marked && !own_case {
                break 'prose;
            }
            let rest = closed(&text[end..]);
            let number = phrase.ends_with(|c: char| c.is_ascii_digit());
            let item =
                regex(r"^[*_]*(?P<sign>[.):])[*_]*\s[^\n]*[\p{Alphabetic}\p{N}]").captures(&text[end..]);
            if let Some(item) = item.filter(|_| !marked && (letter || number))
                && !item[0].contains('\n')
            {
                let sign = &item["sign"];
                let (line, below) = text[end..].split_once('\n').unwrap_or((&text[end..], ""));
                let listed = phrases.iter().any(|(phrase, spelling, other)| {
                    let spelling = regex::escape(spelling);
                    let own = other != choice
                        && (one_letter(phrase) || phrase.ends_with(|c: char| c.is_ascii_digit()));
                    let begins = format!(
                        r#"(?m)^[\s*_`"'“”‘’(\[{{«¿¡„—–:,;.]*{spelling}[*_]*{}"#,
                        regex::escape(sign)
                    );
                    let follows = format!("[,;.] {spelling}:");
                    own && (regex(&begins).is_match(below) || (sign == ":" && regex(&follows).is_match(line)))
                });
                return (!listed).then_some(*choice);
            }
            let another = |text: &str| {
                let start: String = text.chars().take(200).collect();
                let key = normalize(&start);
                let (phrase, spelling, other) = phrases.iter().find(|(phrase, ..)| begins(&key, phrase))?;
                let end = end_of(text, phrase).filter(|_| other != choice)?;
                (!one_letter(phrase) || text[..end].ends_with(spelling)).then_some(end)
            };
            if (number && regex(r"^[.:,][0-9]").is_match(&rest))
                || regex(r"^[‐‑-][\p{Alphabetic}\p{N}]").is_match(&rest)
                || (letter && regex(r"^\.[\p{Alphabetic}\p{N}]").is_match(&rest))
            {
                return None;
            }
            if rest.is_empty() || regex(r"^[\n.!?;:…。]").is_match(&rest) {
                return Some(*choice);
            }
            let line = rest.split('\n').next().unwrap();
            let first = line.chars().next().unwrap();
            if phrase == "no" && first.is_whitespace() && noun(line) {
                break 'prose;
            }
            if letter
                && first.is_whitespace()
                && !line.trim().is_empty()
                && !(marked && (own_case || !english(phrase)))
            {
                break 'prose;
            }
            if let Some(found) = regex(r"^\s*[,，(\[—–-]").find(line) {
                let line = &line[found.end()..];
                let (rest, any) = joined(line);
                if let Some(end) = another(&rest) {
                    let behind = closed(&rest[end..]).trim_start().to_string();
                    let ends = behind.is_empty()
                        || regex(r"^[.,;:!?()\[\]—–…。，]").is_match(&behind)
                        || joined(&behind).1;
                    return (!any && !ends).then_some(*choice);
                }
                return Some(*choice);
            }
            if another(&joined(line).0).is_some() {
                return None;
            }
            let clause = regex(r"[.,;:!?()\[\]—–…。，]").split(line).next().unwrap();
            return (!denied(&words_of(clause))).then_some(*choice);
        }
        let cased = |phrase: &str| one_letter(phrase) && (!marked || english(phrase));
        let named: Vec<_> = phrases
            .iter()
            .filter(|(phrase, spelling, _)| {
                let own_case = text.split(|c: char| !c.is_alphanumeric()).any(|word| word == *spelling);
                let named = (one_letter(phrase) && own_case)
                    || (!cased(phrase) && {
                        let all: Vec<&str> = key.split(' ').collect();
                        let places = |phrase: &str| -> Vec<(usize, usize)> {
                            let words: Vec<&str> = phrase.split(' ').collect();
                            let ends =
                                (words.len()..=all.len()).filter(|end| all[end - words.len()..*end] == words);
                            ends.map(|end| (end - words.len(), end)).collect()
                        };
                        let covered = |place: &(usize, usize)| {
                            phrases.iter().any(|(longer, ..)| {
                                longer.len() > phrase.len()
                                    && places(longer)
                                        .iter()
                                        .any(|other| other.0 <= place.0 && place.1 <= other.1)
                            })
                        };
                        places(phrase).iter().any(|place| !covered(place))
                    });
                let mut prose = Vec::new();
                if phrase == "no" || english(phrase) {
                    for found in regex(r"[\p{Alphabetic}\p{N}]+").find_iter(text) {
                        let is = if phrase == "no" {
                            normalize(found.as_str()) == "no"
                        } else {
                            found.as_str() == *spelling
                        };
                        if !is {
                            continue;
                        }
                        let before = &text[..found.start()];
                        let begins = regex(r#"(?:^|[.!?;:\n…。])[ \t*_`"'“‘(\[]*$"#).is_match(before);
                        let rest = closed(&text[found.end()..]);
                        let line = rest.split('\n').next().unwrap();
                        prose
                            .push((begins || phrase == "no") && regex("^[ \t]").is_match(line) && noun(line));
                    }
                }
                named && (prose.is_empty() || prose.contains(&false))
            })
            .collect();
        let choices: BTreeSet<usize> = named.iter().map(|(.., choice)| *choice).collect();
        if choices.len() != 1 {
            return None;
        }
        let compounds = regex(r"[\p{Alphabetic}\p{N}]+([-‐‑][\p{Alphabetic}\p{N}]+)+").find_iter(text);
        for compound in compounds.map(|found| normalize(found.as_str())) {
            let has = |(phrase, ..): &(String, &str, usize)| {
                !one_letter(phrase) && format!(" {compound} ").contains(&format!(" {phrase} "))
            };
            if phrases.iter().any(has) && !phrases.iter().any(|(phrase, ..)| *phrase == compound) {
                return None;
            }
        }
        for clause in regex(r"[.,;:!?()\[\]—–\n…。，]").split(text) {
            let all = words_of(clause);
            for (phrase, spelling, _) in &named {
                let head = regex(r"[.,;:!?()\[\]—–\n…。，]")
                    .split(spelling)
                    .find(|part| !normalize(part).is_empty());
                let head: Vec<String> =
                    words_of(head.unwrap_or(spelling)).into_iter().map(|(key, _)| key).collect();
                for at in 0..all.len() {
                    if at + head.len() > all.len()
                        || !(0..head.len()).all(|i| {
                            all[at + i].0 == head[i] && (!cased(phrase) || all[at + i].1 == *spelling)
                        })
                    {
                        continue;
                    }
                    let before = &all[..at];
                    let text = before.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(" ");
                    let phrase = format!(" {text} ");
                    let none =
                        |i: usize| before[i].0 == "no" && all.get(i + 1).is_some_and(|(_, raw)| noun(raw));
                    if before.iter().any(|(key, _)| negation(key))
                        || (0..before.len()).any(none)
                        || [
                            "rather than",
                            "other than",
                            "instead of",
                            "far from",
                            "anything but",
                            "wrong to",
                            "incorrect to",
                        ]
                        .iter()
                        .any(|no| phrase.contains(&format!(" {no} ")))
                        || denied(&all[at + head.len()..])
                    {
                        return None;
                    }
                }
            }
        }
        choices.first().copied()
    }
}

/// What completions are made of: what models write, and what tempts a rule to read a part.
const FRAGMENTS: &[&str] = &[
    " ",
    " ",
    " ",
    " ",
    "\n",
    ",",
    ".",
    ":",
    ";",
    "!",
    "?",
    "(",
    ")",
    "=",
    "-",
    "–",
    "—",
    "+",
    "*",
    "**",
    "/",
    "×",
    "x",
    "%",
    "$",
    "€",
    "0",
    "1",
    "2",
    "3",
    "7",
    "12",
    "42",
    "007",
    "100",
    "000",
    "1,000",
    "1.000",
    "1,00,000",
    "1'000",
    "1\u{202f}000",
    "1\u{a0}000",
    "3.5",
    ".5",
    "3,5",
    "1/2",
    "2 2/3",
    "½",
    "2½",
    "²",
    "10²",
    "10^3",
    "× 10^3",
    "1.5e3",
    "e5",
    "12:30",
    "2026-09-20",
    "1.2.3",
    "3rd",
    "th",
    "5!",
    "٤٢",
    "４２",
    "−3",
    "\u{200b}",
    "٫5",
    " apples",
    " kg",
    "kg",
    "km²",
    "-year",
    " million",
    " thousand",
    " dozen",
    " percent",
    " pm",
    " and ",
    " or ",
    " to ",
    " and a half",
    " three ",
    " twenty-five ",
    "one ",
    " times ",
    " divided by ",
    " of ",
    " minus ",
    " in ",
    " out of ",
    " not ",
    " isn't ",
    "It is ",
    "The answer is ",
    " since ",
    " because ",
    " as ",
    " so ",
    " if ",
    "at least ",
    "more than ",
    "minus ",
    "negative ",
    "up to ",
    "x = ",
    "= 7",
    "≈",
    "->",
    "=>",
    "<=",
    ">",
    "≤",
    "<b>",
    "</b>",
    "\\boxed{",
    "}",
    "{",
    "\\frac{1}{2}",
    "\\times",
    "\\(",
    "\\)",
    "\\,",
    "\\%",
    "\\$",
    "^",
    "_",
    "`",
    "```\n",
    "\"",
    "'",
    "’",
    "…",
    "yes",
    "no",
    "Yes",
    "No",
    "not",
    "A",
    "B",
    "a",
    "b",
    "tie",
    "A or B",
    "neither",
    " is ",
    " wrong",
    " is not ",
    " cannot be ",
    " rather than ",
    " longer ",
    " degrees",
    " below zero",
    " under freezing",
    "<answer>",
    "</answer>",
    "\nB. ",
    "\nB: ",
    "\n2. ",
    "A: x",
    "1) x",
    "not\n",
    "No. ",
    "non-",
    "$$",
    " days from ",
    " 10 days later",
    " / ",
    "y",
    "yes/no",
    "nobody",
    "true",
    "false",
    "A.",
    "B,",
    "September 20, 2026",
    "20 Sept 2026",
    "3/4/2026",
    "20/9/2026",
    "20.9.2026",
    "the 20th of ",
    "September ",
    " 2026",
    "20",
    "9",
    "31 April 2026",
    "29 February 2028",
    "T10:00",
    "-22",
    "May",
    "may",
    "March ",
    "New York",
    "St. Louis",
    "Washington, D.C.",
    "é",
    "e\u{301}",
    "ß",
    "İ",
    "，",
    "。",
    "🪙",
    "\t",
    "\r",
    "#",
    "|",
    "Answer",
    "US$",
    "Rs.",
    "EUR",
];

/// Completions that resemble answers, each with something done to it.
fn completion(rng: &mut ChaCha8Rng) -> String {
    let n = if rng.random_bool(0.6) { rng.random_range(1..5) } else { rng.random_range(1..14) };
    let mut text = String::new();
    for _ in 0..n {
        text.push_str(FRAGMENTS.choose(rng).unwrap());
        if rng.random_bool(0.35) {
            text.push(' ');
        }
    }
    text
}

fn rules() -> Vec<(&'static str, AnswerRule)> {
    [
        r#"{"kind": "number"}"#,
        r#"{"kind": "number", "decimal": "comma"}"#,
        r#"{"kind": "number", "fractions": true}"#,
        r#"{"kind": "date"}"#,
        r#"{"kind": "date", "order": "day_month"}"#,
        r#"{"kind": "date", "order": "month_day"}"#,
        r#"{"kind": "choice", "choices": ["yes", "no"], "aliases": {"true": "yes", "false": "no"}}"#,
        r#"{"kind": "choice", "choices": ["A", "B", "tie"]}"#,
        r#"{"kind": "choice", "choices": ["1", "2", "3.5", "not sure"]}"#,
        r#"{"kind": "choice", "choices": ["New York", "St. Louis", "Washington, D.C.", "not New York"]}"#,
        r#"{"kind": "text"}"#,
        r#"{"kind": "text", "patterns": ["is ([^.,\n]+)", "(?i)answer\\s+(\\w+)", "(\\w+)$"], "strip": ["not"]}"#,
        r#"{"kind": "pattern", "pattern": "boxed[{]([^}]*)[}]", "as": {"kind": "number", "fractions": true}}"#,
        r#"{"kind": "last_line", "as": {"kind": "number"}}"#,
        r#"{"kind": "json", "field": "a", "as": {"kind": "number"}}"#,
    ]
    .map(|json| (json, serde_json::from_str(json).unwrap()))
    .to_vec()
}

pub(super) fn n_cases(default: usize) -> usize {
    std::env::var("SN_ANSWER_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn the_rules_agree_with_a_reference_that_was_written_from_their_specification() {
    let reference = Reference::new();
    let rules = rules();
    let mut rng = ChaCha8Rng::seed_from_u64(n_cases(20_000) as u64);
    let mut wrong = Vec::new();
    let mut read = 0;
    for _ in 0..n_cases(20_000) {
        let text = completion(&mut rng);
        let marked = rng.random();
        let which = rng.random_range(0..10);
        let (json, rule) = &rules[which];
        let ours = rule.rule().extract(&text, marked).map(|answer| answer.text);
        let choice = |spellings: &[&str], aliases: &[(&str, usize)]| {
            let mut all: Vec<_> =
                spellings.iter().enumerate().map(|(at, spelling)| (*spelling, at)).collect();
            all.extend(aliases);
            reference.choice(&text, marked, &all).map(|at| spellings[at].to_string())
        };
        let theirs = match which {
            0..3 => reference.number(&text, marked, which == 1, which == 2),
            3..6 => reference.date(&text, marked, [None, Some("day_month"), Some("month_day")][which - 3]),
            6 => choice(&["yes", "no"], &[("true", 0), ("false", 1)]),
            7 => choice(&["A", "B", "tie"], &[]),
            8 => choice(&["1", "2", "3.5", "not sure"], &[]),
            _ => choice(&["New York", "St. Louis", "Washington, D.C.", "not New York"], &[]),
        };
        read += usize::from(ours.is_some());
        if ours != theirs {
            wrong.push(format!("{json} {marked} {text:?}: {ours:?}, the reference {theirs:?}"));
        }
    }
    wrong.sort_by_key(String::len);
    let shown = &wrong[..wrong.len().min(40)];
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), shown.join("\n"));
    assert!(read * 20 > n_cases(20_000), "only {read} were read");
}

#[test]
fn a_complete_answer_stays_the_same_whatever_follows() {
    let rules = rules();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut wrong = Vec::new();
    let mut complete = vec![0; rules.len()];
    for round in 0..n_cases(60_000) {
        let mut text = completion(&mut rng);
        let which = round % rules.len();
        if rules[which].0.contains("json") {
            text = format!(
                "{{\"a\": \"{}\"}}{}",
                text.replace(['"', '\\', '\n', '\t', '\r', '\u{1}'], ""),
                completion(&mut rng)
            );
        }
        if rules[which].0.contains("boxed") {
            text = format!("so \\boxed{{{text}}} {}", completion(&mut rng));
        }
        if rng.random_bool(0.5) {
            text.push('\n');
        }
        let marked = rng.random();
        let rule = rules[which].1.rule();
        let ends: Vec<usize> = (0..=text.len()).filter(|end| text.is_char_boundary(*end)).collect();
        let end = *ends.choose(&mut rng).unwrap();
        let whole = format!("{text}{}", completion(&mut rng));
        for end in [end, text.len()] {
            if rule.complete(&text[..end], marked) {
                complete[which] += 1;
                let (early, late) = (rule.extract(&text[..end], marked), rule.extract(&whole, marked));
                if early.is_none() || early != late {
                    let json = rules[which].0;
                    wrong.push(format!(
                        "{json} {marked} {:?} of {whole:?}: {early:?}, then {late:?}",
                        &text[..end]
                    ));
                }
            }
        }
    }
    wrong.sort_by_key(String::len);
    let shown = &wrong[..wrong.len().min(30)];
    assert!(wrong.is_empty(), "{} change:\n{}", wrong.len(), shown.join("\n"));
    assert!(complete.iter().all(|complete| *complete > 20), "too few were complete: {complete:?}");
}
