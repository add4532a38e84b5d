//! Judged equivalence: the model says whether two different answers to a question mean the same.
//!
//! Samples are counted in the order of their indices. When one gives an answer that was not given before,
//! it is judged against the first answer of each class there is, greedily, each pair once for a question.
//! It joins the first class that it is judged to belong to. A sample is counted when its class is known,
//! so a vote never converges on pairs that are still to be judged.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::engine::{Completion, Message, Request, Sampling};
use crate::task::{Answer, Question, VoteRule, without_thinking};

/// Enough for yes or no and the end of the turn.
const MAX_TOKENS: usize = 4;

/// A finished judgement: a line of `equivalences.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EquivalenceRecord {
    /// The question's id.
    pub question: String,
    /// One of the answers.
    pub a: Answer,
    /// The other, whose key sorts after that of `a`.
    pub b: Answer,
    /// The completion.
    pub text: String,
    /// Whether they mean the same.
    pub equal: bool,
    /// Number of tokens of the prompt.
    pub prompt_tokens: usize,
    /// Number of tokens generated.
    pub generated_tokens: usize,
}

/// Two different answers to one question; the key of the first sorts before that of the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPair {
    a: Answer,
    b: Answer,
}

impl AnswerPair {
    /// The pair of two answers, whichever comes first.
    pub fn of(one: &Answer, other: &Answer) -> AnswerPair {
        let (a, b) = if one.key <= other.key { (one, other) } else { (other, one) };
        AnswerPair { a: a.clone(), b: b.clone() }
    }

    fn keys(&self) -> (String, String) {
        (self.a.key.clone(), self.b.key.clone())
    }

    /// The request that asks for the judgement.
    pub fn request(&self, id: u64, rule: &VoteRule, question: &Question) -> Result<Request> {
        let messages = vec![Message::user(rule.equivalence_prompt.render(question, &self.a, &self.b)?)];
        let sampling = Sampling {
            temperature: 0.0,
            max_tokens: MAX_TOKENS,
            choices: vec!["yes".into(), "no".into()],
            ..Sampling::default()
        };
        Ok(Request { id, messages, thinking: false, sampling, seed: 0 })
    }

    /// The record of the judgement that `completion` gives.
    pub fn judged(self, question: &str, completion: Completion) -> EquivalenceRecord {
        let said = without_thinking(&completion.text).unwrap_or_default().trim();
        EquivalenceRecord {
            question: question.into(),
            a: self.a,
            b: self.b,
            equal: said == "yes",
            text: completion.text,
            prompt_tokens: completion.prompt_tokens,
            generated_tokens: completion.generated_tokens,
        }
    }

    /// The record of a pair whose prompt does not fit: it cannot be judged, so the answers stay two.
    pub fn unjudged(self, question: &str) -> EquivalenceRecord {
        let (text, question) = (String::new(), question.to_string());
        let (prompt_tokens, generated_tokens) = (0, 0);
        EquivalenceRecord {
            question,
            a: self.a,
            b: self.b,
            text,
            equal: false,
            prompt_tokens,
            generated_tokens,
        }
    }
}

/// A judgement on which a vote depends, and its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EquivalenceCost {
    /// The variant whose vote needed it first: 0 is the question itself.
    pub variant: usize,
    /// Whether the answers mean the same.
    pub equal: bool,
    /// Number of tokens of the prompt.
    pub prompt_tokens: usize,
    /// Number of tokens generated.
    pub generated_tokens: usize,
}

/// The judgements on the answers to one question, in all its variants.
#[derive(Default)]
pub struct Judgements {
    known: BTreeMap<(String, String), EquivalenceRecord>,
    /// Pairs asked for, with a judgement or without.
    asked: BTreeMap<(String, String), usize>,
    /// Whether the verdict on the question waits for a judgement.
    pub awaited: bool,
}

impl Judgements {
    /// Takes a judgement. Of two on the same pair, the first counts.
    pub fn take(&mut self, record: EquivalenceRecord) {
        self.known.entry((record.a.key.clone(), record.b.key.clone())).or_insert(record);
    }

    /// Whether the answers of `pair` mean the same, for variant number `variant`; `None` if that is not
    /// judged yet.
    fn are_equal(&self, pair: &AnswerPair) -> Option<bool> {
        self.known.get(&pair.keys()).map(|record| record.equal)
    }

    /// The judgement that variant number `variant` needs, or the pair to ask for, unless it was asked for.
    pub fn need(&mut self, one: &Answer, other: &Answer, variant: usize) -> Needed {
        let pair = AnswerPair::of(one, other);
        let is_new = !self.asked.contains_key(&pair.keys());
        self.asked.entry(pair.keys()).or_insert(variant);
        match self.are_equal(&pair) {
            Some(equal) => Needed::Known(equal),
            None => Needed::Missing(is_new.then_some(pair)),
        }
    }

    /// What the judgements that were needed cost.
    pub fn costs(&self) -> Vec<EquivalenceCost> {
        let needed = self.asked.iter().filter_map(|(keys, variant)| Some((self.known.get(keys)?, *variant)));
        needed
            .map(|(record, variant)| EquivalenceCost {
                variant,
                equal: record.equal,
                prompt_tokens: record.prompt_tokens,
                generated_tokens: record.generated_tokens,
            })
            .collect()
    }
}

/// What [`Judgements::need`] finds.
pub enum Needed {
    /// Whether the answers mean the same.
    Known(bool),
    /// It is not judged yet; the pair is there if it is to be asked for now.
    Missing(Option<AnswerPair>),
}

/// The answers of one variant's samples, in classes of the same meaning.
#[derive(Default)]
pub struct AnswerClasses {
    /// The first answer of each class.
    first: Vec<Answer>,
    /// Answer key → the key of the first answer of its class.
    class_of: HashMap<String, String>,
    /// Spelling → the key that it was read with.
    keys: HashMap<String, String>,
}

impl AnswerClasses {
    /// `answer` with the key of its class; or, if that is not known yet, the pairs to ask for.
    pub fn place(
        &mut self,
        answer: &Answer,
        judgements: &mut Judgements,
        variant: usize,
    ) -> std::result::Result<Answer, Vec<AnswerPair>> {
        self.keys.entry(answer.text.clone()).or_insert_with(|| answer.key.clone());
        if let Some(key) = self.class_of.get(&answer.key) {
            return Ok(Answer { key: key.clone(), text: answer.text.clone() });
        }
        let (mut class, mut missing, mut waits) = (None, Vec::new(), false);
        for first in &self.first {
            match judgements.need(first, answer, variant) {
                Needed::Known(true) => class = class.or(Some(first.key.clone())),
                Needed::Known(false) => {}
                Needed::Missing(pair) => {
                    waits = true;
                    missing.extend(pair);
                }
            }
        }
        if waits {
            return Err(missing);
        }
        let key = class.unwrap_or_else(|| {
            self.first.push(answer.clone());
            answer.key.clone()
        });
        self.class_of.insert(answer.key.clone(), key.clone());
        Ok(Answer { key, text: answer.text.clone() })
    }

    /// The answer of a class in the given spelling, with the key of that spelling.
    pub fn spelled(&self, answer: Answer) -> Answer {
        let key = self.keys.get(&answer.text).unwrap_or(&answer.key).clone();
        Answer { key, text: answer.text }
    }
}
