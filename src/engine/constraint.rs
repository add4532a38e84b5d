//! Constrained decoding: which tokens can come next if the completion must match a grammar.
//!
//! A [`Grammar`] knows which bytes can come next. For tokens, the vocabulary is stored once as a trie of
//! bytes, and a walk follows only the branches that the grammar allows. States get numbers and a table of
//! their successors, so that a step of the walk is one look-up. The tokens allowed in a state are computed
//! once, however many samples pass the state.
//!
//! Tokens about which the grammar leaves no choice are forced: they are decoded without sampling.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::engine::{Decoder, Sampling, Token};
use crate::grammar::{Grammar, State, TooAmbiguous};
use crate::{Error, Result};

/// The tokens of a vocabulary by their bytes.
pub(super) struct Vocabulary {
    /// The trie in preorder, followed by a node that marks the end.
    nodes: Vec<TrieNode>,
    /// The tokens in the order of their bytes. Those of consecutive nodes are consecutive.
    tokens: Vec<Token>,
    /// The tokens that end a turn.
    ends: Vec<Token>,
}

struct TrieNode {
    byte: u8,
    /// Number of bytes from the root to this node.
    depth: u32,
    /// The first node after this one's subtree.
    after: u32,
    /// The offset of this node's tokens; they end at the offset of the next node's.
    tokens: u32,
}

impl Vocabulary {
    /// The vocabulary of `decoder`. Tokens without bytes are left out.
    pub fn of(decoder: &impl Decoder) -> Vocabulary {
        let tokens = 0..decoder.vocab_size() as Token;
        let (ends, others): (Vec<Token>, Vec<Token>) = tokens.partition(|&token| decoder.is_end(token));
        let piece = |token: Token| {
            let mut bytes = Vec::new();
            decoder.piece(token, &mut bytes);
            (bytes, token)
        };
        let mut pieces: Vec<(Vec<u8>, Token)> = others.into_iter().map(piece).collect();
        pieces.retain(|(bytes, _)| !bytes.is_empty());
        pieces.sort_unstable();
        let mut nodes: Vec<TrieNode> = Vec::new();
        // The nodes from the root to the previous piece.
        let mut path: Vec<usize> = Vec::new();
        let mut last: &[u8] = &[];
        for (index, (bytes, _)) in pieces.iter().enumerate() {
            let shared = bytes.iter().zip(last).take_while(|(a, b)| a == b).count();
            for done in path.drain(shared..) {
                nodes[done].after = nodes.len() as u32;
            }
            for &byte in &bytes[shared..] {
                path.push(nodes.len());
                nodes.push(TrieNode { byte, depth: path.len() as u32, after: 0, tokens: index as u32 });
            }
            last = bytes;
        }
        for done in path {
            nodes[done].after = nodes.len() as u32;
        }
        nodes.push(TrieNode { byte: 0, depth: 0, after: 0, tokens: pieces.len() as u32 });
        Vocabulary { nodes, tokens: pieces.into_iter().map(|(_, token)| token).collect(), ends }
    }

    /// The tokens whose bytes are those from the root to `node`.
    fn tokens_at(&self, node: usize) -> &[Token] {
        &self.tokens[self.nodes[node].tokens as usize..self.nodes[node + 1].tokens as usize]
    }

    /// The nodes below the one at `bytes`; empty if there is no such node.
    fn below(&self, bytes: &[u8]) -> Range<usize> {
        let mut below = 0..self.nodes.len() - 1;
        for &byte in bytes {
            let mut child = below.start;
            while child < below.end && self.nodes[child].byte != byte {
                child = self.nodes[child].after as usize;
            }
            if child >= below.end {
                return Range::default();
            }
            below = child + 1..self.nodes[child].after as usize;
        }
        below
    }
}

/// The tokenization of `bytes`; empty if its tokens do not stand for exactly these bytes.
fn canonical_tokens(bytes: &[u8], decoder: &impl Decoder) -> Result<Vec<Token>> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(Vec::new());
    };
    // Some tokenizers put a space before every text.
    for text in [Some(text), text.strip_prefix(' ')].into_iter().flatten() {
        let tokens = decoder.tokenize(text, false)?;
        let mut spelled = Vec::new();
        tokens.iter().for_each(|&token| decoder.piece(token, &mut spelled));
        if spelled == bytes {
            return Ok(tokens);
        }
    }
    Ok(Vec::new())
}

/// The grammar of the completions that `sampling` allows; `None` if they are free.
///
/// # Errors
/// [`Error::Input`] for an invalid grammar, or if there are both choices and a grammar.
pub(super) fn grammar_of(sampling: &Sampling) -> Result<Option<Grammar>> {
    match (&sampling.choices[..], &sampling.grammar) {
        ([], None) => Ok(None),
        (choices, None) => Ok(Some(Grammar::of_texts(choices))),
        ([], Some(text)) => Grammar::parse(text).map(Some).map_err(|why| Error::input("grammar", why)),
        _ => {
            let why = "both are forced; a completion follows either choices or a grammar";
            Err(Error::input("choices, grammar", why))
        }
    }
}

/// The grammar of a completion, with the states and tokens that were computed so far.
pub(super) struct Constraint {
    grammar: Grammar,
    start: Arc<State>,
    numbers: HashMap<Arc<State>, u32>,
    known: Vec<KnownState>,
    /// Number of tokens in all lists of `known`.
    size: usize,
}

struct KnownState {
    state: Arc<State>,
    /// The number of the state after each byte.
    after: Box<[u32; 256]>,
    allowed: Option<Arc<[Token]>>,
    forced: Option<Arc<[Token]>>,
}

/// In place of the number of a state: not computed yet.
const UNKNOWN: u32 = u32::MAX;
/// In place of the number of a state: no text continues like this.
const DEAD: u32 = u32::MAX - 1;

/// Maximal number of bytes that are forced at once. A grammar can continue without a choice endlessly.
const MAX_FORCED_BYTES: usize = 1024;

/// Maximal sizes of the computed lists and tables, beyond which they are dropped: 64 MB of tokens, 16 MB of
/// tables.
const MAX_TOKENS: usize = 1 << 24;
const MAX_STATES: usize = 1 << 14;

impl Constraint {
    /// The constraint of `sampling`; `None` if its completions are free.
    ///
    /// # Errors
    /// [`Error::Input`] for an invalid grammar, or if there are both choices and a grammar.
    pub fn of(sampling: &Sampling) -> Result<Option<Constraint>> {
        let Some(grammar) = grammar_of(sampling)? else {
            return Ok(None);
        };
        let start = Arc::new(grammar.start().map_err(too_ambiguous)?);
        Ok(Some(Constraint { grammar, start, numbers: HashMap::new(), known: Vec::new(), size: 0 }))
    }

    /// The state before the first token.
    pub fn start(&self) -> Arc<State> {
        self.start.clone()
    }

    /// The tokens that can follow in `state`, in ascending order: those after which the text can still
    /// match, and the tokens that end a turn if the text is complete.
    ///
    /// # Errors
    /// [`Error::Input`] if the grammar derives a text in too many ways.
    pub fn allowed(&mut self, state: &Arc<State>, vocabulary: &Vocabulary) -> Result<Arc<[Token]>> {
        if self.size > MAX_TOKENS || self.known.len() > MAX_STATES {
            (self.numbers, self.known, self.size) = (HashMap::new(), Vec::new(), 0);
        }
        let number = self.number(state);
        if let Some(allowed) = &self.known[number as usize].allowed {
            return Ok(allowed.clone());
        }
        let mut allowed = if state.may_end() { vocabulary.ends.clone() } else { Vec::new() };
        self.walk(vocabulary, vocabulary.below(&[]), number, |tokens| allowed.extend(tokens))?;
        allowed.sort_unstable();
        let allowed: Arc<[Token]> = allowed.into();
        self.size += allowed.len();
        self.known[number as usize].allowed = Some(allowed.clone());
        Ok(allowed)
    }

    /// Calls `found` with the tokens of each node in `nodes` that the grammar allows. `nodes` are the nodes
    /// below one node, whose state is `number`.
    fn walk<'a>(
        &mut self,
        vocabulary: &'a Vocabulary,
        nodes: Range<usize>,
        number: u32,
        mut found: impl FnMut(&'a [Token]),
    ) -> Result<()> {
        if nodes.is_empty() {
            return Ok(());
        }
        // The states along the path to the current node.
        let mut path = vec![number];
        let mut at = nodes.start;
        let above = vocabulary.nodes[at].depth as usize - 1;
        while at < nodes.end {
            let node = &vocabulary.nodes[at];
            path.truncate(node.depth as usize - above);
            let next = self.number_after(path[path.len() - 1], node.byte).map_err(too_ambiguous)?;
            if next == DEAD {
                at = node.after as usize;
                continue;
            }
            path.push(next);
            found(vocabulary.tokens_at(at));
            at += 1;
        }
        Ok(())
    }

    /// The tokens that the grammar forces in `state`: the tokenization of the forced bytes. It stops
    /// before the first token that a longer token could replace once the bytes after the forced ones are
    /// known. Empty if the tokens do not stand for exactly these bytes.
    ///
    /// # Errors
    /// The errors of [`Constraint::allowed`] and of the decoder.
    pub fn forced(
        &mut self,
        state: &Arc<State>,
        vocabulary: &Vocabulary,
        decoder: &impl Decoder,
    ) -> Result<Arc<[Token]>> {
        let start = self.number(state);
        if let Some(forced) = &self.known[start as usize].forced {
            return Ok(forced.clone());
        }
        // The states before each byte, and the one after the last.
        let mut numbers = vec![start];
        let mut bytes = Vec::new();
        while bytes.len() < MAX_FORCED_BYTES
            && let last = numbers[bytes.len()]
            && let Some(byte) = self.grammar.forced_byte(&self.known[last as usize].state)
        {
            numbers.push(self.number_after(last, byte).map_err(too_ambiguous)?);
            bytes.push(byte);
        }
        // An incomplete character is left to sampling.
        let whole = std::str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), str::len);
        bytes.truncate(whole);
        let last = numbers[whole];
        let mut tokens = canonical_tokens(&bytes, decoder)?;
        if !self.known[last as usize].state.must_end() {
            let (mut certain, mut before) = (0, Vec::new());
            while certain < tokens.len() && !self.reaches_beyond(vocabulary, &bytes[before.len()..], last)? {
                decoder.piece(tokens[certain], &mut before);
                certain += 1;
            }
            tokens.truncate(certain);
        }
        let forced: Arc<[Token]> = tokens.into();
        self.size += forced.len();
        self.known[start as usize].forced = Some(forced.clone());
        Ok(forced)
    }

    /// Whether some token begins with `bytes` and continues with bytes that can follow in state `number`.
    fn reaches_beyond(&mut self, vocabulary: &Vocabulary, bytes: &[u8], number: u32) -> Result<bool> {
        let mut any = false;
        self.walk(vocabulary, vocabulary.below(bytes), number, |tokens| any |= !tokens.is_empty())?;
        Ok(any)
    }

    /// The state after `bytes`.
    ///
    /// # Errors
    /// The errors of [`Constraint::allowed`].
    pub fn after(&mut self, state: &Arc<State>, bytes: &[u8]) -> Result<Arc<State>> {
        let mut number = self.number(state);
        for &byte in bytes {
            number = self.number_after(number, byte).map_err(too_ambiguous)?;
            if number == DEAD {
                return Err(Error::Internal("a token was chosen that the constraint excludes".into()));
            }
        }
        Ok(self.known[number as usize].state.clone())
    }

    fn number(&mut self, state: &Arc<State>) -> u32 {
        *self.numbers.entry(state.clone()).or_insert_with(|| {
            let (state, after) = (state.clone(), Box::new([UNKNOWN; 256]));
            self.known.push(KnownState { state, after, allowed: None, forced: None });
            self.known.len() as u32 - 1
        })
    }

    fn number_after(&mut self, number: u32, byte: u8) -> std::result::Result<u32, TooAmbiguous> {
        let known = &self.known[number as usize];
        if known.after[usize::from(byte)] != UNKNOWN {
            return Ok(known.after[usize::from(byte)]);
        }
        let state = self.grammar.after(&known.state, byte)?;
        let after = if state.is_dead() { DEAD } else { self.number(&Arc::new(state)) };
        self.known[number as usize].after[usize::from(byte)] = after;
        Ok(after)
    }
}

pub(super) fn too_ambiguous(_: TooAmbiguous) -> Error {
    let why = "it derives a text in too many ways; write it with fewer alternatives for the same text";
    Error::input("grammar", why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::toy::Toy;

    /// A vocabulary; the token after the last word ends a turn.
    fn words() -> Vec<&'static str> {
        vec!["y", "ye", "yes", "s", "n", "no", "o", "not", "t", " sure", "yes no", "", "\u{e9}", "e", "no"]
    }

    fn vocabulary() -> Vocabulary {
        Vocabulary::of(&Toy::with_words(&words()))
    }

    fn constraint(change: impl FnOnce(&mut Sampling)) -> Constraint {
        let mut sampling = Sampling::default();
        change(&mut sampling);
        Constraint::of(&sampling).unwrap().unwrap()
    }

    /// By the definition: every token is tried on its own.
    fn allowed_by_trial(constraint: &Constraint, state: &State) -> Vec<Token> {
        let words = words();
        let fits = |word: &str| {
            let start = state.clone();
            let step = |state: State, byte| constraint.grammar.after(&state, byte).unwrap();
            !word.is_empty() && !word.bytes().fold(start, step).is_dead()
        };
        let end = if state.may_end() { Some(words.len() as Token) } else { None };
        let tokens = (0..words.len()).filter(|&i| fits(words[i])).map(|i| i as Token);
        tokens.chain(end).collect()
    }

    #[test]
    fn the_tokens_allowed_are_those_that_keep_a_text_possible() {
        let vocabulary = vocabulary();
        let mut yes =
            constraint(|s| s.choices = ["yes", "no", "not sure", "\u{e9}"].map(String::from).into());
        let mut any = constraint(|s| s.grammar = Some("root ::= [a-z]{2,5} (\" \" root)?".into()));
        for constraint in [&mut yes, &mut any] {
            // Every way to go on, a few tokens deep.
            let mut states = vec![constraint.start()];
            for _ in 0..4 {
                let mut next = Vec::new();
                for state in states {
                    let allowed = constraint.allowed(&state, &vocabulary).unwrap();
                    assert_eq!(*allowed, allowed_by_trial(constraint, &state));
                    assert!(!allowed.is_empty());
                    for &token in allowed.iter().filter(|&&token| (token as usize) < words().len()) {
                        next.push(constraint.after(&state, words()[token as usize].as_bytes()).unwrap());
                    }
                }
                states = next;
            }
        }
    }

    #[test]
    fn a_text_that_begins_another_may_end_or_go_on() {
        let vocabulary = vocabulary();
        let mut constraint = constraint(|s| s.choices = ["no", "not sure"].map(String::from).into());
        let start = constraint.start();
        let no = constraint.after(&start, b"no").unwrap();
        let end = words().len() as Token;
        assert_eq!(*constraint.allowed(&no, &vocabulary).unwrap(), [8, end]);
        assert!(no.may_end() && !no.must_end());
        assert!(constraint.after(&no, b"t sure").unwrap().must_end());
    }

    #[test]
    fn tokens_without_a_choice_are_forced() {
        let words = ["a", "b", "ab", "c", "cd", "d", "de", " a", "\u{e9}", "e"];
        let toy = Toy::with_words(&words);
        let vocabulary = Vocabulary::of(&toy);
        for (grammar, written, forced) in [
            // To the end, in the tokens that the text is read as.
            (r#"root ::= ("b" | "c") "abde""#, "b", vec!["ab", "de"]),
            // Behind this comes a choice: "c" might be the beginning of "cd", ...
            (r#"root ::= "b" "abc" [ade]"#, "b", vec!["ab"]),
            // ... but not where no "d" may follow, ...
            (r#"root ::= "b" "abc" [ab]"#, "b", vec!["ab", "c"]),
            // ... or no choice but the end.
            (r#"root ::= "b" "abc" "d"?"#, "b", vec!["ab"]),
            (r#"root ::= "b" "abc" "b"?"#, "b", vec!["ab", "c"]),
            // A choice, an end, a text that the words cannot spell, an incomplete character.
            (r#"root ::= "b" [ab]"#, "b", vec![]),
            (r#"root ::= "b" ("a" | "ab")"#, "ba", vec![]),
            (r#"root ::= "b" "axb""#, "b", vec![]),
            (r#"root ::= "b" "ab" [\u00e9\u00e8]"#, "b", vec!["ab"]),
        ] {
            let mut constraint = constraint(|s| s.grammar = Some(grammar.into()));
            let state = constraint.after(&constraint.start(), written.as_bytes()).unwrap();
            for _ in 0..2 {
                let tokens = constraint.forced(&state, &vocabulary, &toy).unwrap();
                let spelled: Vec<&str> = tokens.iter().map(|&token| words[token as usize]).collect();
                assert_eq!(spelled, forced, "{grammar} after {written:?}");
            }
        }
        let mut endless = constraint(|s| s.grammar = Some(r#"root ::= "ab" root"#.into()));
        let forced = endless.forced(&endless.start(), &vocabulary, &toy).unwrap();
        assert!((1..=MAX_FORCED_BYTES / 2).contains(&forced.len()));
    }

    #[test]
    fn what_was_dropped_is_computed_again() {
        let vocabulary = vocabulary();
        let mut constraint = constraint(|s| s.choices = ["yes".into()].into());
        let start = constraint.start();
        let before = constraint.allowed(&start, &vocabulary).unwrap();
        let y = constraint.after(&start, b"y").unwrap();
        constraint.size = MAX_TOKENS + 1;
        assert_eq!(*constraint.allowed(&y, &vocabulary).unwrap(), [13]);
        assert_eq!(constraint.allowed(&start, &vocabulary).unwrap(), before);
    }

    #[test]
    fn choices_with_a_grammar_and_invalid_grammars_are_refused() {
        let refusal = |sampling: Sampling| Constraint::of(&sampling).err().unwrap().to_string();
        let grammar = Some("root ::= \"a\"".into());
        assert_eq!(
            refusal(Sampling { choices: vec!["a".into()], grammar, ..Sampling::default() }),
            "choices, grammar: both are forced; a completion follows either choices or a grammar"
        );
        assert_eq!(
            refusal(Sampling { grammar: Some("root ::= (".into()), ..Sampling::default() }),
            "grammar: line 1: expected ')', found the end"
        );
        assert!(Constraint::of(&Sampling::default()).unwrap().is_none());
    }
}
