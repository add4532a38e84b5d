//! The parser of GBNF, the grammar notation of llama.cpp (see its `grammars/README.md`).
//!
//! Tokens in angle brackets are not supported, since they belong to the vocabulary of one model.

use std::collections::HashMap;

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};
use regex_syntax::utf8::Utf8Sequences;

use super::{Grammar, Symbol};

const MAX_REPETITIONS: usize = 2000;
const MAX_SYMBOLS: usize = 1 << 17;
/// Maximal depth of nested groups, since the parser is recursive.
const MAX_DEPTH: usize = 100;

type Sequence = Vec<Symbol>;

pub(super) fn parse(text: &str) -> Result<Grammar, String> {
    let mut parser = Parser {
        text,
        at: 0,
        names: HashMap::new(),
        // Rule 0 is the root, wherever it is in the text.
        rules: vec![None],
        uses: Vec::new(),
        size: 0,
    };
    parser.names.insert("root", 0);
    parser.skip(true);
    while !parser.rest().is_empty() {
        parser.rule()?;
    }
    if parser.rules[0].is_none() {
        return Err("there is no rule \"root\", from which the text starts".into());
    }
    for &(name, id, at) in &parser.uses {
        if parser.rules[id].is_none() {
            let line = line_of(text, at);
            return Err(format!("rule {name:?} is used in line {line} but not defined"));
        }
    }
    let rules: Vec<Vec<Sequence>> = parser.rules.into_iter().map(Option::unwrap_or_default).collect();
    let grammar = Grammar::of_rules(&rules);
    let mut names: Vec<(usize, &str)> = parser.names.into_iter().map(|(name, id)| (id, name)).collect();
    names.sort_unstable();
    for (id, name) in names {
        if grammar.start_of(id).is_err() {
            return Err(format!(
                "rule {name:?} begins with itself, directly or through others, or can begin in too many ways; \
                 put what repeats last, as in: list ::= item list | item"
            ));
        }
    }
    Ok(grammar)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    names: HashMap<&'t str, usize>,
    /// The alternatives of each rule; `None` until it is defined.
    rules: Vec<Option<Vec<Sequence>>>,
    /// The names in use, each with its rule and its place.
    uses: Vec<(&'t str, usize, usize)>,
    /// Number of symbols so far.
    size: usize,
}

impl<'t> Parser<'t> {
    fn rule(&mut self) -> Result<(), String> {
        let name = self.name().ok_or_else(|| self.expected("the name of a rule"))?;
        self.skip(false);
        if !self.eat("::=") {
            return Err(self.expected("\"::=\""));
        }
        let id = self.id_of(name);
        if self.rules[id].is_some() {
            return Err(self.fault(format!("rule {name:?} is defined twice")));
        }
        self.skip(true);
        let alternatives = self.alternatives(0)?;
        self.rules[id] = Some(alternatives);
        if !self.rest().is_empty() && !self.rest().starts_with(['\r', '\n']) {
            return Err(self.expected("the end of the line"));
        }
        self.skip(true);
        Ok(())
    }

    fn alternatives(&mut self, depth: usize) -> Result<Vec<Sequence>, String> {
        if depth > MAX_DEPTH {
            return Err(self.fault(format!("groups are nested more than {MAX_DEPTH} deep")));
        }
        let mut alternatives = vec![self.sequence(depth)?];
        while self.eat("|") {
            self.skip(true);
            alternatives.push(self.sequence(depth)?);
        }
        Ok(alternatives)
    }

    fn sequence(&mut self, depth: usize) -> Result<Sequence, String> {
        let mut sequence = Vec::new();
        // The offset of the item that a following `*` repeats.
        let mut item = None;
        while let Some(next) = self.peek() {
            match next {
                '*' | '+' | '?' | '{' => {
                    let start = item
                        .take()
                        .ok_or_else(|| self.fault(format!("there is nothing before '{next}' to repeat")))?;
                    let (min, max) = self.repetitions()?;
                    let repeated = sequence.split_off(start);
                    self.repeat(&repeated, min, max, &mut sequence)?;
                    item = Some(start);
                }
                _ => {
                    let start = sequence.len();
                    if !self.item(next, depth, &mut sequence)? {
                        break;
                    }
                    item = Some(start);
                }
            }
            self.skip(depth > 0);
        }
        Ok(sequence)
    }

    /// Whether there was an item.
    fn item(&mut self, next: char, depth: usize, out: &mut Sequence) -> Result<bool, String> {
        match next {
            '"' => {
                self.at += 1;
                while !self.eat("\"") {
                    let c = self.character("'\"'")?;
                    out.extend(c.encode_utf8(&mut [0; 4]).bytes().map(|byte| Symbol::Bytes(byte, byte)));
                    self.grow(c.len_utf8())?;
                }
            }
            '[' => {
                let class = self.class()?;
                self.any_of(&class, out)?;
            }
            '.' => {
                self.at += 1;
                self.any_of(&ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)]), out)?;
            }
            '(' => {
                self.at += 1;
                self.skip(true);
                let alternatives = self.alternatives(depth + 1)?;
                if !self.eat(")") {
                    return Err(self.expected("')'"));
                }
                self.group(alternatives, out)?;
            }
            '<' | '!' => {
                return Err(self.fault("tokens in angle brackets are not supported; write their text".into()));
            }
            _ => {
                let at = self.at;
                let Some(name) = self.name() else {
                    return Ok(false);
                };
                let id = self.id_of(name);
                self.uses.push((name, id, at));
                out.push(Symbol::Rule(id as u32));
                self.grow(1)?;
            }
        }
        Ok(true)
    }

    fn class(&mut self) -> Result<ClassUnicode, String> {
        self.at += 1;
        let negated = self.eat("^");
        let mut class = ClassUnicode::empty();
        while !self.eat("]") {
            let low = self.character("']'")?;
            let mut high = low;
            if self.rest().starts_with('-') && !self.rest().starts_with("-]") {
                self.at += 1;
                high = self.character("']'")?;
            }
            if low > high {
                return Err(self.fault(format!("the range {low:?} to {high:?} is backwards")));
            }
            class.push(ClassUnicodeRange::new(low, high));
        }
        if class.ranges().is_empty() {
            return Err(self.fault("the set of characters is empty".into()));
        }
        if negated {
            class.negate();
        }
        Ok(class)
    }

    /// A character of `class`, as the UTF-8 byte sequences of its ranges.
    fn any_of(&mut self, class: &ClassUnicode, out: &mut Sequence) -> Result<(), String> {
        let sequences = class.iter().flat_map(|range| Utf8Sequences::new(range.start(), range.end()));
        let bytes = sequences.map(|sequence| {
            sequence.as_slice().iter().map(|range| Symbol::Bytes(range.start, range.end)).collect()
        });
        let alternatives: Vec<Sequence> = bytes.collect();
        self.grow(alternatives.iter().map(Vec::len).sum())?;
        self.group(alternatives, out)
    }

    /// Appends `alternatives`: as a new rule, unless there is only one.
    fn group(&mut self, alternatives: Vec<Sequence>, out: &mut Sequence) -> Result<(), String> {
        match <[Sequence; 1]>::try_from(alternatives) {
            // A repetition copies the group as one item.
            Ok([single]) if single.len() == 1 => out.extend(single),
            Ok(single) => out.push(Symbol::Rule(self.new_rule(single.into())? as u32)),
            Err(several) => out.push(Symbol::Rule(self.new_rule(several)? as u32)),
        }
        Ok(())
    }

    fn repetitions(&mut self) -> Result<(usize, Option<usize>), String> {
        for (mark, range) in [("*", (0, None)), ("+", (1, None)), ("?", (0, Some(1)))] {
            if self.eat(mark) {
                return Ok(range);
            }
        }
        self.at += 1;
        self.skip(false);
        let min = self.number()?;
        self.skip(false);
        let max = if self.eat(",") {
            self.skip(false);
            if self.rest().starts_with('}') { None } else { Some(self.number()?) }
        } else {
            Some(min)
        };
        self.skip(false);
        if !self.eat("}") {
            return Err(self.expected("'}'"));
        }
        if let Some(max) = max.filter(|&max| max < min) {
            return Err(self.fault(format!("{{{min},{max}}} asks for at least {min} and at most {max}")));
        }
        Ok((min, max))
    }

    fn number(&mut self) -> Result<usize, String> {
        let digits = self.take(|c| c.is_ascii_digit());
        if digits.is_empty() {
            return Err(self.expected("a number"));
        }
        digits
            .parse()
            .ok()
            .filter(|&n| n <= MAX_REPETITIONS)
            .ok_or_else(|| self.fault(format!("{digits} repetitions; at most {MAX_REPETITIONS}")))
    }

    /// Repeats `item` at least `min` times, then up to `max` times with nested rules:
    /// `more ::= item more |`.
    fn repeat(
        &mut self,
        item: &[Symbol],
        min: usize,
        max: Option<usize>,
        out: &mut Sequence,
    ) -> Result<(), String> {
        for _ in 0..min {
            self.grow(item.len())?;
            out.extend(item);
        }
        let and_then = |next: Option<usize>| {
            let next = next.map(|id| Symbol::Rule(id as u32));
            vec![item.iter().copied().chain(next).collect(), Vec::new()]
        };
        let mut more = None;
        match max {
            None => {
                let id = self.new_rule(Vec::new())?;
                self.rules[id] = Some(and_then(Some(id)));
                more = Some(id);
            }
            Some(max) => {
                for _ in min..max {
                    self.grow(item.len())?;
                    more = Some(self.new_rule(and_then(more))?);
                }
            }
        }
        out.extend(more.map(|id| Symbol::Rule(id as u32)));
        Ok(())
    }

    /// A character of a text or a set that ends with `end`.
    fn character(&mut self, end: &str) -> Result<char, String> {
        let c = self.peek().ok_or_else(|| self.expected(end))?;
        self.at += c.len_utf8();
        if c != '\\' {
            return Ok(c);
        }
        let escape = self.peek().ok_or_else(|| self.expected(end))?;
        self.at += escape.len_utf8();
        match escape {
            'x' => self.code(2),
            'u' => self.code(4),
            'U' => self.code(8),
            't' => Ok('\t'),
            'r' => Ok('\r'),
            'n' => Ok('\n'),
            '\\' | '"' | '[' | ']' | '-' => Ok(escape),
            _ => Err(self.fault(format!("there is no escape of {escape:?}"))),
        }
    }

    fn code(&mut self, digits: usize) -> Result<char, String> {
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.peek().and_then(|c| c.to_digit(16));
            code = code << 4 | digit.ok_or_else(|| self.expected("a hexadecimal digit"))?;
            self.at += 1;
        }
        char::from_u32(code).ok_or_else(|| self.fault(format!("U+{code:04X} is not a character")))
    }

    fn name(&mut self) -> Option<&'t str> {
        let name = self.take(|c| c.is_ascii_alphanumeric() || c == '-');
        (!name.is_empty()).then_some(name)
    }

    fn id_of(&mut self, name: &'t str) -> usize {
        *self.names.entry(name).or_insert_with(|| {
            self.rules.push(None);
            self.rules.len() - 1
        })
    }

    fn new_rule(&mut self, alternatives: Vec<Sequence>) -> Result<usize, String> {
        self.grow(1)?;
        self.rules.push(Some(alternatives));
        Ok(self.rules.len() - 1)
    }

    fn grow(&mut self, symbols: usize) -> Result<(), String> {
        self.size += symbols;
        if self.size > MAX_SYMBOLS {
            let why = format!("the grammar is too large: more than {MAX_SYMBOLS} bytes with all repetitions");
            return Err(self.fault(why));
        }
        Ok(())
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, what: &str) -> bool {
        let there = self.rest().starts_with(what);
        self.at += if there { what.len() } else { 0 };
        there
    }

    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Skips white space and comments, and line ends if `lines`.
    fn skip(&mut self, lines: bool) {
        loop {
            self.take(|c| c == ' ' || c == '\t' || (lines && (c == '\r' || c == '\n')));
            if !self.rest().starts_with('#') {
                return;
            }
            self.take(|c| c != '\r' && c != '\n');
        }
    }

    fn fault(&self, why: String) -> String {
        format!("line {}: {why}", line_of(self.text, self.at))
    }

    fn expected(&self, what: &str) -> String {
        let found = self.peek().map_or("the end".to_string(), |c| format!("{c:?}"));
        self.fault(format!("expected {what}, found {found}"))
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}
