//! Worked examples: turns of a conversation that come before the real question.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Question;
use super::normalize::normalize;
use super::validate::unique_keys;

/// A worked example: a question, rendered with the step's own template as a user turn, and what the model
/// should have written, as its turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Example")]
pub struct WorkedExample {
    /// The field `question` of the example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// Its fields, if the template uses others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub fields: BTreeMap<String, String>,
    /// The outputs of earlier steps by their names, and `item` for a step with `for_each`, where the
    /// template uses them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub outputs: BTreeMap<String, String>,
    /// What the model should have written.
    pub output: String,
}

impl WorkedExample {
    /// All that the template sees.
    pub(super) fn values(&self) -> BTreeMap<&str, &str> {
        let named = self.fields.iter().chain(&self.outputs);
        let named = named.map(|(name, text)| (name.as_str(), text.as_str()));
        named.chain(self.question.iter().map(|text| ("question", text.as_str()))).collect()
    }

    /// The error is one line.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.question.is_none() && self.fields.is_empty() {
            return Err("it needs \"question\" or \"fields\"".into());
        }
        if self.question.is_some() && self.fields.contains_key("question") {
            return Err("\"question\" is there twice, beside \"fields\" and in it".into());
        }
        if let Some(name) = self.outputs.keys().find(|name| self.fields.contains_key(*name)) {
            return Err(format!("{name:?} is both in \"fields\" and in \"outputs\""));
        }
        if self.output.trim().is_empty() {
            return Err("\"output\" is empty".into());
        }
        Ok(())
    }

    /// Whether its fields are these of a question, from [`compared`].
    fn asks(&self, question: &[String]) -> bool {
        compared(self.question.iter().chain(self.fields.values())) == question
    }
}

/// The texts of fields in whatever order, but for case and punctuation.
fn compared<'t>(texts: impl Iterator<Item = &'t String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.map(|text| normalize(text)).collect();
    texts.sort();
    texts
}

/// The examples to show before `question`, in the order of the task file: all of them, or `max` that are
/// drawn by `seed`. One that asks the same as the question is left out. The order does not change with
/// the draw, so that prompts which begin with the same examples share their KV cells.
pub(super) fn choose<'e>(
    examples: &'e [WorkedExample],
    max: Option<usize>,
    question: &Question,
    seed: u64,
) -> Vec<&'e WorkedExample> {
    let asked = compared(question.fields.iter().map(|(_, text)| text));
    let others: Vec<&WorkedExample> = examples.iter().filter(|example| !example.asks(&asked)).collect();
    let Some(max) = max.filter(|max| *max < others.len()) else { return others };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut drawn: Vec<usize> = (0..others.len()).collect();
    drawn.shuffle(&mut rng);
    drawn.truncate(max);
    drawn.sort_unstable();
    drawn.into_iter().map(|index| others[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(question: &str) -> WorkedExample {
        let question = Some(question.into());
        WorkedExample { question, fields: [].into(), outputs: [].into(), output: "x".into() }
    }

    #[test]
    fn an_example_that_asks_the_question_is_left_out_however_it_is_written() {
        let examples = ["What is 1 + 1?", "Two?", "Three?"].map(example);
        let shown = |question: &str, max| -> Vec<String> {
            let question = Question::new("q", question, vec![]);
            choose(&examples, max, &question, 7).iter().filter_map(|e| e.question.clone()).collect()
        };
        assert_eq!(shown("Four?", None).len(), 3);
        assert_eq!(shown("two", None), ["What is 1 + 1?", "Three?"]);
        for max in 0..3 {
            assert_eq!(shown("TWO!", Some(max)).len(), max);
            assert!(!shown("TWO!", Some(max)).contains(&"Two?".to_string()));
        }
        let swapped = WorkedExample {
            question: None,
            fields: [("a".to_string(), "x".to_string()), ("b".to_string(), "y".to_string())].into(),
            ..example("")
        };
        let texts = ["Y".to_string(), "x".to_string()];
        assert!(swapped.asks(&compared(texts.iter())));
    }

    #[test]
    fn drawn_examples_differ_by_seed_and_keep_their_order() {
        let examples: Vec<WorkedExample> = (0..6).map(|n| example(&format!("number {n}"))).collect();
        let question = Question::new("q", "?", vec![]);
        let drawn = |seed| -> Vec<String> {
            choose(&examples, Some(3), &question, seed).iter().filter_map(|e| e.question.clone()).collect()
        };
        let all: Vec<Vec<String>> = (0..20).map(drawn).collect();
        assert!(all.iter().all(|drawn| drawn.is_sorted() && drawn.len() == 3));
        assert!(all.iter().any(|drawn| *drawn != all[0]));
        assert_eq!(drawn(5), drawn(5));
    }
}
