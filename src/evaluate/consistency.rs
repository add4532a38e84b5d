//! Whether an answer survives the task's perturbations: how often it changes though it may not.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Inconsistent;
use super::{Direct, DirectAnswers, Reasoned, ask_each};
use crate::curate::{fault_of_question, variant_seed};
use crate::engine::Engine;
use crate::task::{Answer, Question, Task};
use crate::{Cancel, Result};

/// Direct answers to the perturbed form of a set of questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerturbedAnswers {
    /// The perturbation's name.
    pub perturbation: String,
    /// One for each question, in order; each answer is the one to the question itself that it
    /// means.
    pub answers: Vec<Direct>,
}

/// Asks every question directly under each perturbation of the task.
pub(crate) fn ask_perturbed(
    engine: &mut dyn Engine,
    task: &Task,
    questions: &[Question],
    seed: u64,
    cancel: &Cancel,
) -> Result<Vec<PerturbedAnswers>> {
    task.perturbations
        .iter()
        .map(|perturbation| {
            let asked = questions
                .iter()
                .map(|question| match perturbation.asked(question) {
                    Ok(asked) => Ok(Ok(Cow::Owned(asked))),
                    Err(error) => Ok(Err(fault_of_question(error)?)),
                })
                .collect::<Result<Vec<_>>>()?;
            let own: Vec<&Question> = questions.iter().collect();
            let seed = variant_seed(seed, &perturbation.name);
            let mut answers = ask_each(engine, task, &asked, &own, seed, cancel)?.answers;
            for direct in &mut answers {
                direct.answer = direct.answer.take().map(|answer| perturbation.meaning(&answer));
            }
            Ok(PerturbedAnswers { perturbation: perturbation.name.clone(), answers })
        })
        .collect()
}

/// How often answers change under each perturbation.
pub(super) fn inconsistent(
    task: &Task,
    system1: &DirectAnswers,
    system2: &Reasoned,
    distilled: &DirectAnswers,
) -> Vec<Inconsistent> {
    let measure = |name: &String| {
        Some(Inconsistent {
            perturbation: name.clone(),
            system1: direct(system1, name)?,
            system2: reasoned(system2, name),
            distilled: direct(distilled, name)?,
        })
    };
    task.perturbations.iter().filter_map(|perturbation| measure(&perturbation.name)).collect()
}

fn direct(asked: &DirectAnswers, perturbation: &str) -> Option<f64> {
    let perturbed = asked.perturbed.iter().find(|p| p.perturbation == perturbation)?;
    let pairs = asked.answers.iter().zip(&perturbed.answers);
    Some(share_changed(pairs.map(|(own, other)| (own.answer.as_ref(), other.answer.as_ref()))))
}

fn reasoned(reasoned: &Reasoned, perturbation: &str) -> f64 {
    share_changed(reasoned.outcomes.iter().map(|outcome| {
        let verdict = &outcome.verdict;
        let other = verdict.variants.iter().find(|variant| variant.perturbation == perturbation);
        (verdict.answer.as_ref(), other.and_then(|variant| variant.answer.as_ref()))
    }))
}

/// An answer that is there in one form only has changed.
fn share_changed<'a>(pairs: impl Iterator<Item = (Option<&'a Answer>, Option<&'a Answer>)>) -> f64 {
    let key = |answer: Option<&'a Answer>| answer.map(|answer| answer.key.as_str());
    let changed: Vec<bool> = pairs.map(|(own, other)| key(own) != key(other)).collect();
    super::share(&changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Request, Scripted};
    use crate::evaluate::ask_directly;

    #[test]
    fn a_model_that_likes_the_first_response_is_inconsistent_under_a_swap() {
        let task = Task::from_json(
            r#"{"name": "t", "system1": {"prompt": "{{ a }} or {{ b }}?"}, "system2": [{"prompt": "{{ a }}"}],
                "answer": {"kind": "choice", "choices": ["A", "B"]},
                "perturbations": [{"name": "swap", "fields": {"a": "{{ b }}", "b": "{{ a }}"},
                    "answers": {"A": "B", "B": "A"}}]}"#,
            "test",
        )
        .unwrap();
        let fields = [("a", "tea"), ("b", "cake")].map(|(name, text)| (name.to_string(), text.to_string()));
        let questions = [Question { id: "q".into(), fields: fields.into(), gold: vec![] }];
        let ask = |answer: fn(&str) -> &str| {
            let mut engine = Scripted::new(|r: &Request| answer(&r.messages[0].content).to_string());
            let (engine, cancel) = (&mut engine, Cancel::new());
            let mut asked = ask_directly(engine, &task, &questions, 1, &cancel).unwrap();
            asked.perturbed = ask_perturbed(engine, &task, &questions, 1, &cancel).unwrap();
            asked
        };
        let likes_the_first = ask(|_| "A");
        let likes_tea = ask(|prompt| if prompt.starts_with("tea") { "A" } else { "B" });
        let found = inconsistent(&task, &likes_the_first, &Reasoned::default(), &likes_tea);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].perturbation.as_str(), found[0].system1, found[0].distilled),
            ("swap", 1.0, 0.0)
        );
    }
}
