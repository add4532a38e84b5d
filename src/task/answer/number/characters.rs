//! What a line shows, in few characters: one kind of digit, minus sign, slash and space, no LaTeX.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::super::lists::{List, list};

/// A thin or no-break space between digits.
pub(super) const THIN: char = '\u{202f}';
/// The decimal mark of Arabic script; never a mark of groups.
pub(super) const ARABIC_POINT: char = '٫';
/// The group mark of Arabic script.
pub(super) const ARABIC_GROUP: char = '٬';

const MAX_NESTED: usize = 8;

/// The zero of each set of ten digits that stand one behind the other in Unicode (`Nd`).
const ZEROS: &[u32] = &[
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50,
    0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40,
    0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x10d40,
    0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x116d0, 0x116da,
    0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50, 0x11d50, 0x11da0, 0x11f50, 0x16130, 0x16a60, 0x16ac0,
    0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0,
    0x1e5f1, 0x1e950, 0x1fbf0,
];

/// The value of a decimal digit of any script.
pub(in crate::task) fn digit(c: char) -> Option<u32> {
    if c.is_ascii() {
        return c.to_digit(10);
    }
    if !c.is_numeric() {
        return None;
    }
    ZEROS.iter().map(|zero| (c as u32).wrapping_sub(*zero)).find(|value| *value < 10)
}

/// The line in the characters that the rest of this module reads.
pub(in crate::task::answer) fn plain(line: &str) -> String {
    let line = latex(line);
    let line = tags(&line);
    let line = marks(&line);
    powers_of_ten(line)
}

fn latex(line: &str) -> Cow<'_, str> {
    if !line.contains(['\\', '{', '}']) && !line.contains("$$") {
        return Cow::Borrowed(line);
    }
    let line = fractions(line);
    let mut out = Shown::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '{' | '}' => out.leave_out(),
            '$' if rest.starts_with('$') => {
                rest = &rest[1..];
                out.leave_out();
            }
            '\\' => {
                let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
                let length =
                    if letters > 0 { letters } else { rest.chars().next().map_or(0, char::len_utf8) };
                let command = &rest[..length];
                rest = &rest[length..];
                match command {
                    "(" | ")" | "[" | "]" | "left" | "right" | "boxed" | "fbox" | "text" | "mathrm"
                    | "mathbf" | "mathit" | "textbf" | "textit" | "emph" | "displaystyle" => out.leave_out(),
                    "," | ";" | ":" | "!" | " " => out.push('\u{2009}'),
                    "%" | "$" | "#" | "&" | "_" => out.push_str(command),
                    "times" | "cdot" => out.push('×'),
                    "div" => out.push('÷'),
                    "pm" => out.push('±'),
                    "approx" | "to" | "rightarrow" | "Rightarrow" | "implies" | "equiv" => out.push('='),
                    "neq" | "ne" | "le" | "leq" | "ge" | "geq" => out.push('≤'),
                    "circ" => {
                        if out.text.ends_with('^') {
                            out.text.pop();
                        }
                        out.push('°');
                    }
                    command => {
                        out.push('\\');
                        out.push_str(command);
                    }
                }
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out.text)
}

/// A line that is written without some of its signs. Digits on both sides of what is left out stay apart.
struct Shown {
    text: String,
    /// Whether the last thing was left out.
    has_left_out: bool,
}

impl Shown {
    fn with_capacity(n: usize) -> Shown {
        Shown { text: String::with_capacity(n + 8), has_left_out: false }
    }

    fn leave_out(&mut self) {
        self.has_left_out = true;
    }

    fn push(&mut self, c: char) {
        self.push_str(c.encode_utf8(&mut [0; 4]));
    }

    fn push_str(&mut self, text: &str) {
        let is_digit = |c: Option<char>| c.is_some_and(|c| digit(c).is_some());
        if self.has_left_out && is_digit(self.text.chars().next_back()) && is_digit(text.chars().next()) {
            self.text.push(' ');
        }
        self.has_left_out &= text.is_empty();
        self.text.push_str(text);
    }
}

/// `\frac{a}{b}` is `a/b`, from the innermost outwards, with a space between it and digits that touch it:
/// in front of it they make a mixed number, and behind it they are not part of its denominator.
fn fractions(line: &str) -> String {
    static FRACTION: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\\[dt]?frac\s*(?:\{([^{}]*)\}\s*\{([^{}]*)\}|([0-9])([0-9]))").expect("it is valid")
    });
    let mut line = line.to_string();
    // Deeper fractions are no number.
    for _ in 0..MAX_NESTED {
        let (mut next, mut rest) = (String::with_capacity(line.len()), 0);
        for found in FRACTION.captures_iter(&line) {
            let (whole, parts) = (found.get(0).expect("group 0 is the match"), [(1, 3), (2, 4)]);
            let parts = parts.map(|(one, other)| {
                let part = found.get(one).or(found.get(other)).map_or("", |group| group.as_str());
                part.split_whitespace().collect::<String>()
            });
            next.push_str(&line[rest..whole.start()]);
            if next.ends_with(|c: char| c.is_ascii_digit()) {
                next.push(' ');
            }
            next.push_str(&parts.join("/"));
            rest = whole.end();
            if line[rest..].starts_with(|c: char| c.is_ascii_digit()) {
                next.push(' ');
            }
        }
        if rest == 0 {
            break;
        }
        next.push_str(&line[rest..]);
        line = next;
    }
    line
}

/// The line without tags such as `<b>` and `</answer>`: `<sup>` is `^`, `<sub>` is `_`, and tags of lines,
/// paragraphs and cells are white space.
fn tags(line: &str) -> Cow<'_, str> {
    static TAG: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("<(/?)([A-Za-z][A-Za-z0-9_-]*)/?>").expect("it is valid"));
    static BLOCKS: List = LazyLock::new(|| list("blocks"));
    if !line.contains('<') {
        return Cow::Borrowed(line);
    }
    let (mut out, mut rest) = (Shown::with_capacity(line.len()), 0);
    for found in TAG.captures_iter(line) {
        let whole = found.get(0).expect("group 0 is the match");
        out.push_str(&line[rest..whole.start()]);
        match (found[1].is_empty(), found[2].to_lowercase().as_str()) {
            (true, "sup") => out.push('^'),
            (true, "sub") => out.push('_'),
            (_, name) if BLOCKS.contains(name) => out.push(' '),
            _ => out.leave_out(),
        }
        rest = whole.end();
    }
    out.push_str(&line[rest..]);
    Cow::Owned(out.text)
}

/// Every sign in its one form. `=` and `<` get white space around them.
fn marks(line: &str) -> String {
    let chars: Vec<char> = line.chars().map(narrow).filter(|c| !is_invisible(*c)).collect();
    let mut out = String::with_capacity(line.len() + 8);
    let mut at = 0;
    let mut begun = false;
    while let Some(&c) = chars.get(at) {
        let rest = &chars[at..];
        at += 1;
        let was_begun = begun;
        begun |= !(c == '>' || c.is_whitespace() || c.is_control());
        let two =
            [("==>", " = "), ("-->", " = "), ("=>", " = "), ("->", " = "), ("==", " = "), (":=", " = ")]
                .into_iter()
                .chain([("<=", " < "), (">=", " < "), ("!=", " < ")])
                .find(|(sign, _)| sign.len() <= rest.len() && sign.chars().zip(rest).all(|(a, b)| a == *b));
        if let Some((sign, meant)) = two {
            begun = true;
            at += sign.len() - 1;
            out.push_str(meant);
            continue;
        }
        match c {
            '>' if !was_begun => out.push(' '),
            '<' | '>' | '≤' | '≥' | '≠' => out.push_str(" < "),
            '=' | '≈' | '≃' | '≅' | '≡' | '→' | '⇒' | '⟹' => out.push_str(" = "),
            '—' | '―' => out.push_str(" — "),
            '、' => out.push_str(", "),
            '。' => out.push_str(". "),
            '~' | '\u{a0}' | '\u{2007}'..='\u{200a}' | THIN => {
                let next = chars.get(at).is_some_and(char::is_ascii_digit);
                let between = next && out.ends_with(|c: char| c.is_ascii_digit());
                out.push(match c {
                    _ if between => THIN,
                    '~' => '~',
                    _ => ' ',
                });
            }
            c if c.is_whitespace() || c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// One form for digits, wide characters, minus signs, slashes, signs of multiplication, apostrophes.
fn narrow(c: char) -> char {
    if let Some(value) = digit(c) {
        return char::from_digit(value, 10).unwrap_or(c);
    }
    match c {
        '！'..='～' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '−' | '‐' | '‑' | '–' | '﹣' => '-',
        '⁄' | '∕' => '/',
        '·' | '⋅' | '∙' | '∗' | '✕' => '×',
        '’' | '‘' | 'ʼ' => '\'',
        c => c,
    }
}

/// Whether the character is not shown: zero width, direction, soft hyphen.
pub(in crate::task) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{61c}')
}

/// `1.5 × 10^3` is `1.5e3`.
fn powers_of_ten(line: String) -> String {
    static POWER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"([0-9]) *[×xX*] *10(?:\^ *([+-]?[0-9]+)|([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+))").expect("it is valid")
    });
    if !line.contains("10") {
        return line;
    }
    let replaced = POWER.replace_all(&line, |found: &regex::Captures<'_>| {
        let exponent = found.get(2).or(found.get(3)).map_or("", |group| group.as_str());
        format!("{}e{}", &found[1], exponent.chars().map(on_the_line).collect::<String>())
    });
    replaced.into_owned()
}

/// The character that a superscript raises.
fn on_the_line(c: char) -> char {
    match "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻".chars().position(|raised| raised == c) {
        Some(at) => "0123456789+-".chars().nth(at).unwrap_or(c),
        None => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_of_all_scripts_are_digits() {
        let decimal = Regex::new(r"^\p{Nd}$").unwrap();
        for c in (0..=0x10ffff).filter_map(char::from_u32) {
            let is_decimal = decimal.is_match(c.encode_utf8(&mut [0; 4]));
            assert!(!is_decimal || digit(c).is_some(), "U+{:X} is a digit", c as u32);
            assert!(is_decimal || digit(c).is_none() || !c.is_ascii(), "U+{:X} is no digit", c as u32);
        }
        let read = |text: &str| text.chars().filter_map(digit).collect::<Vec<_>>();
        assert_eq!(read("٤٢ ４２ ४२ 𝟜𝟚 ² ½ ①"), [4, 2, 4, 2, 4, 2, 4, 2]);
    }

    #[test]
    fn a_line_is_read_as_it_looks() {
        for (line, expected) in [
            (r"\(\boxed{1{,}000}\)", "1,000"),
            (r"$\dfrac{1}{2}$", "$1/2$"),
            (r"2\frac{\frac{1}{2}}{3}", "2 1/2/3"),
            (r"\frac{1}{2}\frac{1}{2}000", "1/2 1/2 000"),
            (r"1\,000\%", "1\u{202f}000%"),
            (r"1.5 \times 10^{3}", "1.5e3"),
            ("2·10⁻³", "2e-3"),
            ("３＋４＝７", "3+4 = 7"),
            ("a ==> b -> c := d", "a  =  b  =  c  =  d"),
            ("x>=5", "x < 5"),
            ("> 5", "  5"),
            ("<b>5</b>", "5"),
            ("10<sup>3</sup>", "10^3"),
            ("<li>7.</li><li>8</li>", " 7.  8 "),
            ("7<think>8", "7 8"),
            (r"\boxed{3}\boxed{4}", "3 4"),
            ("1\u{a0}000 1\u{a0}a", "1\u{202f}000 1 a"),
            (r"90^\circ", "90°"),
            (r"\sqrt{4}", r"\sqrt4"),
        ] {
            assert_eq!(plain(line), expected, "{line:?}");
        }
    }
}
