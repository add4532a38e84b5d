//! Grammars of texts, as pushdown automata over bytes: which bytes can come next.
//!
//! llama.cpp has a grammar sampler, but it asserts and throws on some grammars, and it visits the whole
//! vocabulary for each token. The grammars here need no model: a task checks its grammar when it is
//! loaded, and the engine walks it along a trie of its vocabulary.
//!
//! A state is the set of stacks that a nondeterministic pushdown automaton can have. A stack holds the
//! symbols that are still to come, the innermost last. The symbols after a rule are pushed only if there
//! are any, so that a rule that ends with itself does not let the stack grow.

mod gbnf;

use std::collections::HashSet;

/// A valid grammar: all rules are defined, and no rule begins with itself.
#[derive(Debug, Clone)]
pub(crate) struct Grammar {
    /// The alternatives of all rules, each followed by an `End`.
    symbols: Vec<Symbol>,
    /// The offsets of each rule's alternatives in `symbols`. Rule 0 is the whole text.
    rules: Vec<Vec<u32>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Symbol {
    /// A byte of this range, both ends included.
    Bytes(u8, u8),
    Rule(u32),
    End,
}

/// The state after a text: what can follow it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Sorted and without duplicates. The last symbol of each is a `Bytes`; a stack is empty if the text
    /// is complete.
    stacks: Vec<Vec<u32>>,
}

impl State {
    /// Whether the text matches the grammar.
    pub fn may_end(&self) -> bool {
        self.stacks.first().is_some_and(Vec::is_empty)
    }

    /// Whether the text matches the grammar and no longer text begins with it.
    pub fn must_end(&self) -> bool {
        self.may_end() && self.stacks.len() == 1
    }

    /// Whether no text of the grammar begins with the text.
    pub fn is_dead(&self) -> bool {
        self.stacks.is_empty()
    }
}

/// Maximal number of stacks of a state. Common grammars have a dozen.
const MAX_STACKS: usize = 4096;

/// A text can be derived in too many ways.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TooAmbiguous;

impl Grammar {
    /// The grammar written in GBNF; the error is one line.
    pub fn parse(text: &str) -> Result<Grammar, String> {
        gbnf::parse(text)
    }

    /// The grammar of exactly these texts.
    pub fn of_texts<T: AsRef<str>>(texts: &[T]) -> Grammar {
        let bytes = |text: &T| text.as_ref().bytes().map(|b| Symbol::Bytes(b, b)).collect();
        Grammar::of_rules(&[texts.iter().map(bytes).collect()])
    }

    fn of_rules(rules: &[Vec<Vec<Symbol>>]) -> Grammar {
        let mut grammar = Grammar { symbols: Vec::new(), rules: Vec::new() };
        for alternatives in rules {
            let mut starts = Vec::with_capacity(alternatives.len());
            for alternative in alternatives {
                starts.push(grammar.symbols.len() as u32);
                grammar.symbols.extend(alternative);
                grammar.symbols.push(Symbol::End);
            }
            grammar.rules.push(starts);
        }
        grammar
    }

    /// The state before the first byte.
    pub fn start(&self) -> Result<State, TooAmbiguous> {
        self.start_of(0)
    }

    fn start_of(&self, rule: usize) -> Result<State, TooAmbiguous> {
        let stack = |&start: &u32| self.pushed(Vec::new(), start);
        self.expand(self.rules[rule].iter().map(stack).collect())
    }

    /// The state after one more byte.
    pub fn after(&self, state: &State, byte: u8) -> Result<State, TooAmbiguous> {
        let mut stacks = Vec::new();
        for stack in &state.stacks {
            if let Some((&top, rest)) = stack.split_last()
                && let Symbol::Bytes(low, high) = self.symbols[top as usize]
                && (low..=high).contains(&byte)
            {
                stacks.push(self.pushed(rest.to_vec(), top + 1));
            }
        }
        self.expand(stacks)
    }

    /// Whether `text` is one of the grammar.
    pub fn accepts(&self, text: &str) -> Result<bool, TooAmbiguous> {
        let end = text.bytes().try_fold(self.start()?, |state, byte| self.after(&state, byte))?;
        Ok(end.may_end())
    }

    /// The byte with which every text continues; `None` if there are several, or if the text can end.
    pub fn forced_byte(&self, state: &State) -> Option<u8> {
        let byte = |stack: &Vec<u32>| match self.symbols[*stack.last()? as usize] {
            Symbol::Bytes(low, high) if low == high => Some(low),
            _ => None,
        };
        let first = byte(state.stacks.first()?)?;
        state.stacks.iter().all(|stack| byte(stack) == Some(first)).then_some(first)
    }

    fn pushed(&self, mut stack: Vec<u32>, at: u32) -> Vec<u32> {
        if self.symbols[at as usize] != Symbol::End {
            stack.push(at);
        }
        stack
    }

    /// Replaces rules on top of stacks by their alternatives until every stack has a byte range there.
    fn expand(&self, mut stacks: Vec<Vec<u32>>) -> Result<State, TooAmbiguous> {
        let mut seen = HashSet::new();
        let mut expanded = Vec::new();
        while let Some(stack) = stacks.pop() {
            let rule = stack.last().map(|&top| (top, self.symbols[top as usize]));
            if let Some((top, Symbol::Rule(rule))) = rule {
                if !seen.insert(stack.clone()) {
                    continue;
                }
                if seen.len() + stacks.len() > MAX_STACKS {
                    return Err(TooAmbiguous);
                }
                let rest = self.pushed(stack[..stack.len() - 1].to_vec(), top + 1);
                let starts = self.rules[rule as usize].iter();
                stacks.extend(starts.map(|&start| self.pushed(rest.clone(), start)));
            } else {
                expanded.push(stack);
            }
        }
        expanded.sort_unstable();
        expanded.dedup();
        if expanded.len() > MAX_STACKS { Err(TooAmbiguous) } else { Ok(State { stacks: expanded }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `text` is one of the grammar, or how many of its bytes begin one.
    fn read(grammar: &Grammar, text: &str) -> Result<bool, usize> {
        let mut state = grammar.start().unwrap();
        for (n, byte) in text.bytes().enumerate() {
            state = grammar.after(&state, byte).unwrap();
            if state.is_dead() {
                return Err(n);
            }
        }
        Ok(state.may_end())
    }

    #[track_caller]
    fn check(grammar: &str, whole: &[&str], begun: &[&str], wrong: &[&str]) {
        let grammar = Grammar::parse(grammar).unwrap();
        for text in whole {
            assert_eq!(read(&grammar, text), Ok(true), "{text:?}");
        }
        for text in begun {
            assert_eq!(read(&grammar, text), Ok(false), "{text:?}");
        }
        for text in wrong {
            assert!(read(&grammar, text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn texts_are_read_to_their_end_and_no_further() {
        let grammar = Grammar::of_texts(&["yes", "no", "not sure", "\u{e9}"]);
        for (text, read_as) in [
            ("yes", Ok(true)),
            ("no", Ok(true)),
            ("not", Ok(false)),
            ("not sure", Ok(true)),
            ("\u{e9}", Ok(true)),
            ("nay", Err(1)),
            ("yess", Err(3)),
            ("\u{ea}", Err(1)),
        ] {
            assert_eq!(read(&grammar, text), read_as, "{text}");
        }
        let state = |text: &str| {
            let start = grammar.start().unwrap();
            text.bytes().fold(start, |state, byte| grammar.after(&state, byte).unwrap())
        };
        assert!(state("no").may_end() && !state("no").must_end());
        assert!(state("yes").must_end());
    }

    #[test]
    fn the_forced_byte_is_known() {
        let grammar = Grammar::parse(r#"root ::= "ab" ("cd" | "cx")? | "ab" [e-f] "g" | "z""#).unwrap();
        for (text, only) in [
            ("", None),
            ("a", Some(b'b')),
            ("ab", None), // It may end.
            ("abc", None),
            ("abcd", None),
            ("abe", Some(b'g')),
            ("b", None),
        ] {
            let start = grammar.start().unwrap();
            let state = text.bytes().fold(start, |state, byte| grammar.after(&state, byte).unwrap());
            assert_eq!(grammar.forced_byte(&state), only, "{text:?}");
        }
    }

    #[test]
    fn every_construct_of_gbnf_is_understood() {
        check(r#"root ::= "a" | "b" "c" # or"#, &["a", "bc"], &["", "b"], &["c", "ab", "bb"]);
        check("root ::= [a-c_] [^0-9\\n]", &["ax", "_\u{20ac}", "c "], &["a"], &["d", "a5", "a\n"]);
        check(r#"root ::= "x"* "y"+ "z"?"#, &["y", "xxyyz", "yz"], &["", "x"], &["z", "yzz"]);
        check(r#"root ::= "ab"{2} "c"{1,3} "d"{2,}"#, &["ababcdd", "ababcccdddd"], &["ababcd"], &["abc"]);
        check(r#"root ::= [0-9]{0,2} ("," [0-9])*"#, &["", "12", "1,2,3", ",4"], &["1,"], &["123"]);
        check("root ::= . .", &["ab", "\n\u{1f600}"], &["\u{20ac}"], &["abc"]);
        check(r#"root ::= "\"\\\t\x41\u20aC\U0001F600""#, &["\"\\\tA\u{20ac}\u{1f600}"], &["\"\\"], &["x"]);
        check(r#"root ::= [\]\-\[a-]+"#, &["]", "-[a"], &[""], &["b"]);
        check(
            "root ::= (\n  a |\n  b\n)\n\na ::= \"1\"\r\n# note\nb-2 ::= \"3\"\nb ::= b-2 a",
            &["1", "31"],
            &["3"],
            &["2"],
        );
        check(r#"root ::= "a" ("" | "b")"#, &["a", "ab"], &[""], &["b"]);
        check(r#"root ::= ("a"? "b"?)* "c""#, &["c", "abbac"], &["ab"], &["d"]);
    }

    #[test]
    fn recursion_is_read_to_any_depth() {
        let json = r#"
            root ::= value
            value ::= "[" (value ("," value)*)? "]" | [0-9]+ | "\"" [^"]* "\""
        "#;
        check(json, &["[1,[2,\"x,]\"],[]]"], &["[["], &["]", "[1]]", "[,", "12,"]);
        let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
        assert_eq!(read(&Grammar::parse(json).unwrap(), &deep), Ok(true));
    }

    #[test]
    fn a_character_is_matched_by_all_its_bytes() {
        let grammar = Grammar::parse("root ::= [\u{3b1}-\u{3c9}]").unwrap();
        for c in ('\u{1}'..'\u{3000}').chain(['\u{10ffff}']) {
            let inside = ('\u{3b1}'..='\u{3c9}').contains(&c);
            assert_eq!(read(&grammar, c.encode_utf8(&mut [0; 4])) == Ok(true), inside, "{c:?}");
        }
    }

    #[test]
    fn each_fault_of_a_grammar_is_refused_in_one_line_that_says_where() {
        for (text, part) in [
            ("", "there is no rule \"root\""),
            ("a ::= \"x\"", "there is no rule \"root\""),
            ("root ::= a", "rule \"a\" is used in line 1 but not defined"),
            ("root ::= \"x\nb\"\nroot ::= \"y\"", "line 3: rule \"root\" is defined twice"),
            ("root = \"x\"", "line 1: expected \"::=\", found '='"),
            ("root ::= \"x", "line 1: expected '\"', found the end"),
            ("root ::= [a", "line 1: expected ']', found the end"),
            ("root ::= [z-a]", "line 1: the range 'z' to 'a' is backwards"),
            ("root ::= []", "line 1: the set of characters is empty"),
            ("root ::= (\n\"a\"", "line 2: expected ')', found the end"),
            ("root ::= \"a\" )", "line 1: expected the end of the line, found ')'"),
            ("root ::= \"\\q\"", "line 1: there is no escape of 'q'"),
            ("root ::= \"\\x4g\"", "line 1: expected a hexadecimal digit, found 'g'"),
            ("root ::= \"\\ud800\"", "line 1: U+D800 is not a character"),
            ("root ::= *", "line 1: there is nothing before '*' to repeat"),
            ("root ::= \"a\"{3,2}", "line 1: {3,2} asks for at least 3 and at most 2"),
            ("root ::= \"a\"{2001}", "line 1: 2001 repetitions; at most 2000"),
            (
                "root ::= \"a\"{99999999999999999999}",
                "line 1: 99999999999999999999 repetitions; at most 2000",
            ),
            ("root ::= \"a\"{,2}", "line 1: expected a number, found ','"),
            ("root ::= <think>", "line 1: tokens in angle brackets are not supported"),
            ("root ::= root \"a\" | \"b\"", "rule \"root\" begins with itself"),
            ("root ::= a\na ::= \"x\"? b\nb ::= a \"y\" | \"z\"", "rule \"root\" begins with itself"),
            ("root ::= \"a\" %", "line 1: expected the end of the line, found '%'"),
            (
                "root ::= ((((\"abcdefgh\"{2000}){2000}\"abcdefgh\"{2000}){2000}\"a\"{2000}\"abcdefghi\"{2000}\"abcdefgh\"{2000}\"abcdefgh\"{2000}\"abcdefgh\"{2000}\"abcdefgh\"{2000}\"abcdefgh\"{2000}\"abcdefgh\"{2000}))",
                "the grammar is too large",
            ),
        ] {
            let why = Grammar::parse(text).unwrap_err();
            assert!(why.contains(part) && !why.contains('\n'), "{text}\n{why}\nshould say\n{part}");
        }
        let deep = format!("root ::= {}\"a\"{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(Grammar::parse(&deep).unwrap_err().contains("nested"));
    }

    #[test]
    fn no_damage_to_a_grammar_makes_the_parser_panic() {
        let whole =
            "root ::= \"a\\x41\u{e9}\" [^a-z\\]]{2,3} (x | . y)* # c\nx ::= \"\"? x-1+\ny ::= [0-9]{,2}\n";
        let whole: Vec<char> = whole.chars().collect();
        let marks: Vec<char> = "\"[](){}*+?|.,-\\#^:=<!a0\n \u{20ac}".chars().collect();
        let mut random = 1u64;
        let mut below = |n: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % n
        };
        for _ in 0..20_000 {
            let mut text = whole.clone();
            for _ in 0..=below(4) {
                let at = below(text.len());
                match below(3) {
                    0 => text[at] = marks[below(marks.len())],
                    1 => text.insert(at, marks[below(marks.len())]),
                    _ => text.truncate(at.max(1)),
                }
            }
            if let Err(why) = Grammar::parse(&String::from_iter(text)) {
                assert!(!why.contains('\n'), "{why}");
            }
        }
    }

    #[test]
    fn a_text_with_too_many_derivations_is_an_error_and_does_not_exhaust_memory() {
        // Each rule doubles the readings.
        let mut text = String::from("root ::= r0\n");
        for i in 0..30 {
            text += &format!("r{i} ::= r{0} \"x\"? | r{0} \"y\"?\n", i + 1);
        }
        text += "r30 ::= \"a\"";
        assert!(Grammar::parse(&text).unwrap_err().contains("too many ways"));
    }
}
