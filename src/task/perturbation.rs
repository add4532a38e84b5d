//! Perturbations: rules that make a variant of a question which must not change its answer.
//!
//! Samples may agree for a bad reason: the model prefers the first of two responses, or follows the
//! opinion in the question. A variant with the responses swapped, the choices rotated or another opinion
//! shows that without a gold answer.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::name::check_name;
use super::step::{environment, one_line};
use super::validate::unique_keys;
use super::{Answer, AnswerRule, Question};
use crate::{Error, Result};

/// The perturbation's name in journals for the question itself.
pub const UNPERTURBED: &str = "none";

/// A rule that makes a variant of a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Perturbation {
    /// Short name, such as `swap`; never [`UNPERTURBED`].
    pub name: String,
    /// Templates of the fields that differ. They see the question's own fields.
    pub fields: BTreeMap<String, String>,
    /// Answer to the perturbed question → the same answer to the question itself, as in the task file.
    /// An answer that is not listed is the same for both.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, String>,
    /// Whether the perturbed question is trained on too, with its own answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub distill: bool,
    /// `answers` as read by the answer rule.
    #[serde(skip)]
    pairs: Vec<(Answer, Answer)>,
}

/// A variant of the question that must not change its answer: a question is accepted only if all
/// variants give the same answer.
#[derive(Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Perturbation")]
#[serde(deny_unknown_fields)]
pub(super) struct RawPerturbation {
    /// Short name, such as "swap".
    name: String,
    /// Templates of the fields that differ. They see the question's own fields.
    #[serde(deserialize_with = "unique_keys")]
    fields: BTreeMap<String, String>,
    /// Answer to the perturbed question → the same answer to the question itself. An answer that is not
    /// listed is the same for both.
    #[serde(default, deserialize_with = "unique_keys")]
    answers: BTreeMap<String, String>,
    /// Whether the perturbed question is trained on too.
    #[serde(default, alias = "distil")]
    distill: bool,
}

/// Checks the perturbations of a task file; the error is one line.
pub(super) fn parse(
    raw: Vec<RawPerturbation>,
    rule: &AnswerRule,
) -> std::result::Result<Vec<Perturbation>, String> {
    let mut names = BTreeSet::new();
    raw.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let at = |why: String| format!("\"perturbations\" {}: {why}", index + 1);
            check_name("perturbation", &raw.name, "-_").map_err(at)?;
            if raw.name == UNPERTURBED || !names.insert(raw.name.clone()) {
                return Err(at(format!("the name {:?} is taken; give each its own", raw.name)));
            }
            raw.checked(rule).map_err(at)
        })
        .collect()
}

impl RawPerturbation {
    fn checked(self, rule: &AnswerRule) -> std::result::Result<Perturbation, String> {
        if self.fields.is_empty() {
            return Err("\"fields\" is empty; a perturbation changes at least one".into());
        }
        for (field, template) in &self.fields {
            let compiled = environment().template_from_str(template).map(|_| ());
            compiled.map_err(|error| {
                format!("the template of {field:?} does not compile: {}", one_line(&error))
            })?;
        }
        let read = |text: &String| {
            let key =
                rule.key(text).ok_or_else(|| format!("{text:?} in \"answers\" is not a possible answer"))?;
            let answer = Answer { key, text: text.clone() };
            Ok::<_, String>(Answer { text: rule.target(&answer), ..answer })
        };
        let pairs: Vec<(Answer, Answer)> = self
            .answers
            .iter()
            .map(|(asked, meant)| Ok((read(asked)?, read(meant)?)))
            .collect::<std::result::Result<_, String>>()?;
        let perturbation = Perturbation {
            name: self.name,
            fields: self.fields,
            answers: self.answers,
            distill: self.distill,
            pairs,
        };
        perturbation.check_injective(rule)?;
        Ok(perturbation)
    }
}

impl Perturbation {
    /// The perturbed question. It has the same id and no gold answers, which are for the question itself.
    ///
    /// # Errors
    /// [`Error::Input`] with the question's id if a field or a template is of a field that the question does
    /// not have.
    pub fn asked(&self, question: &Question) -> Result<Question> {
        let environment = environment();
        let mut fields = question.fields.clone();
        if let Some(unknown) = self.fields.keys().find(|field| !fields.contains_key(field)) {
            let has: Vec<&str> = fields.keys().map(String::as_str).collect();
            return Err(Error::input(
                format!("question {:?}", question.id),
                format!(
                    "perturbation {:?} changes the field {unknown:?}, which the question does not have; it has: {}",
                    self.name,
                    has.join(", ")
                ),
            ));
        }
        for (field, template) in &self.fields {
            let text = environment.render_str(template, &question.fields).map_err(|error| {
                let has: Vec<&str> = question.fields.keys().map(String::as_str).collect();
                Error::input(
                    format!("question {:?}", question.id),
                    format!(
                        "perturbation {:?} cannot fill in {field:?}: {}; the question has: {}",
                        self.name,
                        one_line(&error),
                        has.join(", ")
                    ),
                )
            })?;
            fields.insert(field.clone(), text);
        }
        Ok(Question { id: question.id.clone(), fields, gold: Vec::new() })
    }

    /// Maps an answer to the perturbed question back to one to the question itself.
    pub fn meaning(&self, answer: &Answer) -> Answer {
        let listed = self.pairs.iter().find(|(asked, _)| asked.key == answer.key);
        listed.map_or_else(|| answer.clone(), |(_, meant)| meant.clone())
    }

    /// Maps an answer to the question itself to one to the perturbed question; `None` if there is none.
    pub fn wording(&self, answer: &Answer) -> Option<Answer> {
        let listed = self.pairs.iter().find(|(_, meant)| meant.key == answer.key);
        let worded = listed.map_or_else(|| answer.clone(), |(asked, _)| asked.clone());
        (self.meaning(&worded).key == answer.key).then_some(worded)
    }

    /// Checks that no two answers map to the same one, which would count disagreement as agreement.
    fn check_injective(&self, rule: &AnswerRule) -> std::result::Result<(), String> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (asked, meant) in &self.pairs {
            if self.pairs.iter().any(|(other, to)| other.key == asked.key && to.key != meant.key) {
                return Err(format!("\"answers\" lists {:?} twice with different meanings", asked.text));
            }
            match seen.insert(&meant.key, &asked.key) {
                Some(other) if other != asked.key => {
                    return Err(format!(
                        "\"answers\" has two answers that mean {:?}; each needs its own meaning",
                        meant.text
                    ));
                }
                _ => {}
            }
        }
        let AnswerRule::Choice(choices) = rule.innermost() else { return Ok(()) };
        // Here all answers are known, so those that are not listed are checked too.
        for choice in choices.choices() {
            let key = rule.key(choice).unwrap_or_default();
            if self.wording(&Answer { key, text: choice.clone() }).is_none() {
                return Err(format!(
                    "no answer maps to {choice:?}; list exchanged answers in both directions, such as \
                     {{\"A\": \"B\", \"B\": \"A\"}}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Task;
    use super::*;

    fn task_of(perturbations: &str) -> Result<Task> {
        task_with(r#"{"kind": "choice", "choices": ["A", "B", "tie"]}"#, perturbations)
    }

    fn task_with(answer: &str, perturbations: &str) -> Result<Task> {
        let text = format!(
            r#"{{"name": "t", "system1": {{"prompt": "{{{{ a }}}} or {{{{ b }}}}?"}},
                "system2": [{{"prompt": "{{{{ a }}}} or {{{{ b }}}}?"}}],
                "answer": {answer},
                "perturbations": {perturbations}}}"#
        );
        Task::from_json(&text, "t.json")
    }

    const SWAP: &str = r#"[{"name": "swap", "fields": {"a": "{{ b }}", "b": "{{ a }}"},
        "answers": {"A": "B", "b": "A"}, "distill": true}]"#;

    fn question() -> Question {
        let fields = [("a", "tea"), ("b", "cake")].map(|(name, text)| (name.to_string(), text.to_string()));
        Question { id: "q".into(), fields: fields.into(), gold: vec!["A".into()] }
    }

    #[test]
    fn a_swap_exchanges_the_fields_and_maps_the_verdict_back() {
        let task = task_of(SWAP).unwrap();
        let swap = &task.perturbations[0];
        let asked = swap.asked(&question()).unwrap();
        assert_eq!((asked.fields["a"].as_str(), asked.fields["b"].as_str()), ("cake", "tea"));
        assert!(asked.gold.is_empty());
        let meanings =
            ["A", "B", "tie"].map(|text| swap.meaning(&task.read_direct(text, false).unwrap()).text);
        assert_eq!(meanings, ["B", "A", "tie"]);
        for text in ["A", "B", "tie"] {
            let answer = task.read_direct(text, false).unwrap();
            assert_eq!(swap.meaning(&swap.wording(&answer).unwrap()).key, answer.key);
        }
    }

    #[test]
    fn a_task_with_perturbations_reads_back_unchanged_and_one_without_is_written_as_before() {
        let perturbed = task_of(SWAP).unwrap();
        assert_eq!(Task::from_json(&perturbed.to_json(), "copy").unwrap(), perturbed);
        assert!(!task_of("[]").unwrap().to_json().contains("perturbations"));
    }

    #[test]
    fn a_rotation_of_three_choices_returns_after_three_steps() {
        let rotation = r#"[{"name": "rotate", "fields": {"a": "{{ b }}", "b": "{{ a }}!"},
            "answers": {"A": "B", "B": "tie", "tie": "A"}}]"#;
        let task = task_of(rotation).unwrap();
        let mut answer = task.read_direct("A", false).unwrap();
        for _ in 0..3 {
            answer = task.perturbations[0].meaning(&answer);
        }
        assert_eq!(answer.text, "A");
    }

    #[test]
    fn each_fault_is_refused_with_its_place_and_fix() {
        let one = |rest: &str| format!(r#"[{{"name": "p", "fields": {{"a": "x"}}{rest}}}]"#);
        for (text, part) in [
            (r#"[{"name": "none", "fields": {"a": "x"}}]"#.to_string(), "the name \"none\" is taken"),
            (
                SWAP.replacen('[', r#"[{"name": "swap", "fields": {"a": "x"}},"#, 1),
                "\"perturbations\" 2: the name",
            ),
            (r#"[{"name": "p", "fields": {}}]"#.into(), "\"fields\" is empty"),
            (r#"[{"name": "p", "fields": {"a": "{{"}}]"#.into(), "the template of \"a\" does not compile"),
            (one(r#", "answers": {"A": "C"}"#), "\"C\" in \"answers\" is not a possible answer"),
            (one(r#", "answers": {"A": "B", "tie": "B"}"#), "two answers that mean \"B\""),
            (
                one(r#", "answers": {"A": "B"}"#),
                "no answer maps to \"A\"; list exchanged answers in both directions",
            ),
            (one(r#", "answers": {"A": "B", "a": "tie"}"#), "twice with different meanings"),
            (one(r#", "answers": {"A": "B", "A": "tie"}"#), "\"answers\": \"A\" is given twice; keep one"),
            (r#"[{"name": "p", "fields": {"a": "x", "a": "y"}}]"#.into(), "\"a\" is given twice; keep one"),
            (one(r#", "answer": {}"#), "unknown field \"answer\"; did you mean \"answers\"?"),
        ] {
            let message = task_of(&text).unwrap_err().to_string();
            assert!(message.contains(part) && !message.contains('\n'), "{message}\nshould say\n{part}");
        }
    }

    #[test]
    fn answers_that_share_a_meaning_are_refused_wherever_the_answer_stands() {
        let answers = r#"[{"name": "p", "fields": {"a": "x"}, "answers": {"A": "B"}}]"#;
        let choice = r#"{"kind": "choice", "choices": ["A", "B", "tie"]}"#;
        for place in ["last_line", "json\", \"field\": \"winner"] {
            let inside = format!(r#"{{"kind": "{place}", "as": {choice}}}"#);
            let message = task_with(&inside, answers).unwrap_err().to_string();
            assert!(message.contains("no answer maps to \"A\""), "{message}");
        }
    }

    #[test]
    fn a_missing_field_is_named_with_the_fields_there_are() {
        let task = task_of(r#"[{"name": "p", "fields": {"a": "{{ c }}"}}]"#).unwrap();
        let message = task.perturbations[0].asked(&question()).unwrap_err().to_string();
        assert!(message.starts_with("question \"q\": perturbation \"p\" cannot fill in \"a\""), "{message}");
        assert!(message.ends_with("the question has: a, b"), "{message}");

        let task = task_of(r#"[{"name": "p", "fields": {"aa": "{{ a }}!"}}]"#).unwrap();
        let message = task.perturbations[0].asked(&question()).unwrap_err().to_string();
        assert!(
            message.contains("changes the field \"aa\"") && message.ends_with("it has: a, b"),
            "{message}"
        );
    }
}
