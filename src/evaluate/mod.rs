//! Measurement of System 1, System 2 and the distilled model on held-out questions.
//!
//! System 1 is the base model asked directly, System 2 the vote of its reasoned samples. [`Evaluation`]
//! has the figures, [`Decision`] what they mean for the task, [`Acceptance`] how many labels are enough.

mod advice;
mod consistency;
mod decision;
mod set_aside;
mod statistics;
mod summary;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::curate::{self, Outcome, SetAside, VoteSummary, fault_of_question};
use crate::engine::{Completed, Engine, Request, complete_each};
use crate::task::{Answer, Question, Task};
use crate::{Cancel, Result};

pub use consistency::PerturbedAnswers;
pub(crate) use consistency::ask_perturbed;
pub use decision::{Acceptance, Decision};
pub(crate) use decision::{labels_are_worth_it, was_worth_it, worth_trying};
use set_aside::Counted;
use statistics::mcnemar_exact;
pub use statistics::wilson;
pub use summary::{Constant, Evaluation, Fallback, Inconsistent, Measurement};

/// One direct answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Direct {
    /// The question's id.
    pub question: String,
    /// What the model wrote.
    pub text: String,
    /// The answer in it, if any.
    pub answer: Option<Answer>,
    /// The model's own probability of what it wrote: its confidence. NaN, in JSON null, where the engine
    /// cannot tell.
    #[serde(deserialize_with = "nan_from_null")]
    pub probability: f32,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens sampled.
    pub generated_tokens: usize,
    /// Why the question was not asked: its prompt is too long or cannot be rendered. `None` if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
}

fn nan_from_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<f32, D::Error> {
    Ok(Option::<f32>::deserialize(deserializer)?.unwrap_or(f32::NAN))
}

/// All direct answers to a set of questions, and how long they took together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DirectAnswers {
    /// One for each question, in order.
    pub answers: Vec<Direct>,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// The same under each perturbation of the task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub perturbed: Vec<PerturbedAnswers>,
}

/// Asks every question directly (System 1), with whatever adapter the engine has. Questions that cannot be
/// asked are set aside.
///
/// # Errors
/// Those of the engine; [`Error::Input`](crate::Error::Input) if more than half of the questions cannot be
/// asked for the same reason.
pub(crate) fn ask_directly(
    engine: &mut dyn Engine,
    task: &Task,
    questions: &[Question],
    seed: u64,
    cancel: &Cancel,
) -> Result<DirectAnswers> {
    let asked: Vec<&Question> = questions.iter().collect();
    ask_each(
        engine,
        task,
        &asked.iter().map(|q| Ok(Cow::Borrowed(*q))).collect::<Vec<_>>(),
        &asked,
        seed,
        cancel,
    )
}

/// A question as it is asked, or why it cannot be asked.
type QuestionOrFault<'a> = std::result::Result<Cow<'a, Question>, String>;

fn ask_each(
    engine: &mut dyn Engine,
    task: &Task,
    asked: &[QuestionOrFault],
    questions: &[&Question],
    seed: u64,
    cancel: &Cancel,
) -> Result<DirectAnswers> {
    let (mut requests, mut faults) = (Vec::new(), vec![None; asked.len()]);
    for (i, question) in asked.iter().enumerate() {
        let messages = match question {
            Ok(question) => match curate::messages(&task.system1, question, &[]) {
                Ok(messages) => messages,
                Err(error) => {
                    faults[i] = Some(fault_of_question(error)?);
                    continue;
                }
            },
            Err(why) => {
                faults[i] = Some(why.clone());
                continue;
            }
        };
        requests.push(Request {
            id: i as u64,
            messages,
            sampling: curate::sampling(&task.system1),
            thinking: task.system1.thinking,
            seed: curate::sample_seed(seed, &questions[i].id, 0, 0),
        });
    }
    let begin = Instant::now();
    let mut completions = complete_each(engine, requests, cancel)?.into_iter();
    let seconds = begin.elapsed().as_secs_f64();
    let mut set_aside = SetAside::default();
    let answers = questions
        .iter()
        .zip(faults)
        .map(|(q, fault)| {
            let missing = || crate::Error::Internal("the engine dropped a question".into());
            let answer = match fault {
                Some(why) => Err(why),
                None => completions.next().ok_or_else(missing)?,
            };
            if let Err(why) = &answer {
                set_aside.add(&q.id, why, questions.len())?;
            }
            Ok(Direct::of(task, q, answer))
        })
        .collect::<Result<_>>()?;
    Ok(DirectAnswers { answers, seconds, perturbed: Vec::new() })
}

impl Direct {
    fn of(task: &Task, question: &Question, answer: Completed) -> Direct {
        let question = question.id.clone();
        match answer {
            Ok(c) => Direct {
                question,
                answer: task.read_direct(&c.text, c.is_cut_for(|text| task.system1.stops_in_number(text))),
                text: c.text,
                probability: c.probability,
                prompt_tokens: c.prompt_tokens,
                generated_tokens: c.generated_tokens,
                set_aside: None,
            },
            Err(why) => Direct {
                question,
                answer: None,
                text: String::new(),
                probability: f32::NAN,
                prompt_tokens: 0,
                generated_tokens: 0,
                set_aside: Some(why),
            },
        }
    }
}

/// Reasoned answers (System 2) to a set of questions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reasoned {
    /// One for each question, in order.
    pub outcomes: Vec<Outcome>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Decides which answers are right.
struct Scorer<'a> {
    task: &'a Task,
    /// Gold answers where every question has one, else the System 2 vote.
    truth: Vec<Vec<String>>,
    against: &'static str,
}

impl<'a> Scorer<'a> {
    fn new(task: &'a Task, questions: &[Question], reasoned: &Reasoned) -> Self {
        if questions.iter().all(|q| !q.gold.is_empty()) {
            let truth = questions.iter().map(|q| q.gold.clone()).collect();
            return Scorer { task, truth, against: "gold" };
        }
        let vote = |o: &Outcome| o.verdict.answer.iter().map(|a| a.text.clone()).collect();
        Scorer { task, truth: reasoned.outcomes.iter().map(vote).collect(), against: "system2-vote" }
    }

    fn is_right(&self, question: usize, answer: Option<&Answer>) -> bool {
        answer.is_some_and(|a| self.task.answer.is_correct(a, &self.truth[question]))
    }

    /// The one answer that is right most often, and which questions it answers.
    fn constant(&self) -> Option<(String, Vec<bool>)> {
        let keys = |truth: &[String]| -> BTreeSet<String> {
            truth.iter().filter_map(|t| self.task.answer.key(t)).collect()
        };
        let mut counts = BTreeMap::<String, usize>::new();
        for key in self.truth.iter().flat_map(|t| keys(t)) {
            *counts.entry(key).or_default() += 1;
        }
        let (best, _) = counts.into_iter().max_by_key(|(_, n)| *n)?;
        let right = self.truth.iter().map(|t| keys(t).contains(&best)).collect();
        Some((best, right))
    }

    fn direct(&self, asked: &DirectAnswers) -> (Measurement, Vec<bool>) {
        let n = asked.answers.len().max(1) as f64;
        let right: Vec<bool> =
            asked.answers.iter().enumerate().map(|(i, a)| self.is_right(i, a.answer.as_ref())).collect();
        let measured = Measurement {
            accuracy: share(&right),
            tokens_per_answer: asked.answers.iter().map(|a| a.generated_tokens).sum::<usize>() as f64 / n,
            ms_per_answer: 1e3 * asked.seconds / n,
            unparsed: asked.answers.iter().filter(|a| a.answer.is_none()).count(),
            ..Measurement::default()
        };
        (measured, right)
    }

    fn reasoned(&self, reasoned: &Reasoned) -> (Measurement, Vec<bool>) {
        let n = reasoned.outcomes.len().max(1) as f64;
        let right: Vec<bool> = reasoned
            .outcomes
            .iter()
            .enumerate()
            .map(|(i, o)| self.is_right(i, o.verdict.answer.as_ref()))
            .collect();
        let samples: Vec<(usize, &VoteSummary)> = reasoned
            .outcomes
            .iter()
            .enumerate()
            .flat_map(|(i, o)| o.own_samples().map(move |s| (i, s)))
            .collect();
        let tokens: usize = reasoned.outcomes.iter().map(Outcome::own_tokens).sum();
        let sampled: usize = samples.iter().map(|(_, s)| s.generated_tokens).sum();
        // The seconds include the perturbed variants, which are not part of an answer.
        let all: usize = reasoned.outcomes.iter().map(Outcome::all_tokens).sum();
        let seconds = reasoned.seconds * if all == tokens { 1.0 } else { tokens as f64 / all as f64 };
        let per_sample: Vec<bool> =
            samples.iter().map(|(i, s)| self.is_right(*i, s.answer.as_ref())).collect();
        let measured = Measurement {
            accuracy: share(&right),
            tokens_per_answer: tokens as f64 / n,
            ms_per_answer: 1e3 * seconds / n,
            unparsed: reasoned.outcomes.iter().filter(|o| o.verdict.answer.is_none()).count(),
            samples_per_question: Some(samples.len() as f64 / n),
            accuracy_per_sample: Some(share(&per_sample)),
            tokens_per_sample: Some(sampled as f64 / samples.len().max(1) as f64),
        };
        (measured, right)
    }
}

fn share(right: &[bool]) -> f64 {
    right.iter().filter(|r| **r).count() as f64 / right.len().max(1) as f64
}

/// The figures of the three ways of answering. `threshold` is the confidence from which the distilled
/// model's direct answer is taken.
pub(crate) fn evaluate(
    task: &Task,
    questions: &[Question],
    system1: &DirectAnswers,
    system2: &Reasoned,
    distilled: &DirectAnswers,
    threshold: Option<f64>,
) -> Evaluation {
    let all = questions.len();
    let counted = Counted::of(questions, &[system1, distilled], system2);
    let (questions, system2) = (&counted.questions[..], &counted.reasoned);
    let (system1, distilled) = (&counted.direct[0], &counted.direct[1]);
    let scorer = Scorer::new(task, questions, system2);
    let (one, one_right) = scorer.direct(system1);
    let (two, two_right) = scorer.reasoned(system2);
    let (learned, learned_right) = scorer.direct(distilled);
    let fallback = threshold.map(|threshold| {
        let n = questions.len().max(1) as f64;
        let direct: Vec<bool> = distilled
            .answers
            .iter()
            .map(|a| a.answer.is_some() && f64::from(a.probability) >= threshold)
            .collect();
        let right: Vec<bool> = direct
            .iter()
            .enumerate()
            .map(|(i, d)| if *d { learned_right[i] } else { two_right[i] })
            .collect();
        let tokens: usize = direct
            .iter()
            .enumerate()
            .map(|(i, d)| {
                let slow = system2.outcomes[i].own_tokens();
                distilled.answers[i].generated_tokens + if *d { 0 } else { slow }
            })
            .sum();
        Fallback {
            threshold,
            coverage: share(&direct),
            accuracy: share(&right),
            tokens_per_answer: tokens as f64 / n,
        }
    });
    Evaluation {
        // Decided with the figures.
        worthwhile: false,
        n: questions.len(),
        set_aside: all - questions.len(),
        against: scorer.against.into(),
        system1: one,
        system2: two,
        distilled: learned,
        mcnemar_p: mcnemar_exact(&one_right, &learned_right),
        constant: scorer.constant().map(|(answer, right)| Constant {
            answer,
            accuracy: share(&right),
            mcnemar_p: mcnemar_exact(&right, &learned_right),
        }),
        fallback,
        inconsistent: consistency::inconsistent(task, system1, system2, distilled),
    }
}

/// The lowest confidence from which direct answers agree with the pseudo-labels at least `wanted` of
/// the time; `None` with nothing to calibrate on. Above 1 means: always reason.
pub(crate) fn calibrate(task: &Task, direct: &DirectAnswers, labels: &[Answer], wanted: f64) -> Option<f64> {
    if labels.is_empty() {
        return None;
    }
    let mut scored: Vec<(f64, bool)> = direct
        .answers
        .iter()
        .zip(labels)
        .filter(|(d, _)| d.set_aside.is_none())
        .map(|(d, label)| {
            let truth = std::slice::from_ref(&label.text);
            let right = d.answer.as_ref().is_some_and(|a| task.answer.is_correct(a, truth));
            (f64::from(d.probability), right)
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut threshold = 1.01;
    let mut right = 0usize;
    let mut taken = 0usize;
    // A threshold admits all answers of one confidence or none, and confidences near 1 are often equal.
    for group in scored.chunk_by(|a, b| a.0 == b.0) {
        taken += group.len();
        right += group.iter().filter(|(_, is_right)| *is_right).count();
        if right as f64 >= wanted * taken as f64 {
            threshold = group[0].0;
        }
    }
    Some(threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        Task::load("coin-flip").unwrap()
    }

    fn direct(rows: &[(&str, f32)]) -> DirectAnswers {
        let answers = rows
            .iter()
            .enumerate()
            .map(|(i, (text, probability))| Direct {
                question: i.to_string(),
                text: text.to_string(),
                answer: task().read_direct(text, false),
                probability: *probability,
                prompt_tokens: 10,
                generated_tokens: 2,
                set_aside: None,
            })
            .collect();
        DirectAnswers { answers, seconds: 1.0, perturbed: vec![] }
    }

    fn label(text: &str) -> Answer {
        task().read_direct(text, false).unwrap()
    }

    #[test]
    fn the_threshold_is_the_lowest_confidence_that_is_right_often_enough() {
        let asked = direct(&[("yes", 0.99), ("no", 0.9), ("yes", 0.8), ("no", 0.6)]);
        let labels = [label("yes"), label("no"), label("no"), label("no")];
        assert_eq!(calibrate(&task(), &asked, &labels, 0.95), Some(f64::from(0.9f32)));
        assert_eq!(calibrate(&task(), &asked, &labels, 0.75), Some(f64::from(0.6f32)));
        assert_eq!(calibrate(&task(), &direct(&[("no", 0.9)]), &[label("yes")], 0.95), Some(1.01));
        assert_eq!(calibrate(&task(), &direct(&[]), &[], 0.95), None);
    }

    #[test]
    fn answers_of_equal_confidence_are_admitted_together_or_not_at_all() {
        let labels = [label("yes"), label("no"), label("no")];
        let asked = direct(&[("yes", 1.0), ("yes", 1.0), ("yes", 1.0)]);
        assert_eq!(calibrate(&task(), &asked, &labels, 0.95), Some(1.01), "one of three is right");
        assert_eq!(calibrate(&task(), &asked, &labels, 0.3), Some(1.0));
    }

    #[test]
    fn accuracy_counts_unreadable_answers_as_wrong() {
        let questions: Vec<_> =
            (0..2).map(|i| Question::new(i.to_string(), "?", vec!["yes".into()])).collect();
        let asked = direct(&[("yes", 1.0), ("?!", 1.0)]);
        let (one, _) = Scorer::new(&task(), &questions, &Reasoned::default()).direct(&asked);
        assert_eq!((one.accuracy, one.unparsed, one.tokens_per_answer), (0.5, 1, 2.0));
    }

    #[test]
    fn held_out_questions_that_cannot_be_asked_count_for_no_way_of_answering() {
        use crate::engine::Scripted;
        let mut questions: Vec<_> =
            (0..4).map(|i| Question::new(i.to_string(), "Heads?", vec!["yes".into()])).collect();
        questions[2] = Question::new("2", "word ".repeat(400), vec!["yes".into()]);
        let mut engine = Scripted::new(|_: &Request| "yes".to_string()).with_limit(100);
        let asked = ask_directly(&mut engine, &task(), &questions, 1, &Cancel::new()).unwrap();
        let faults: Vec<bool> = asked.answers.iter().map(|a| a.set_aside.is_some()).collect();
        assert_eq!(faults, [false, false, true, false]);
        let counted = Counted::of(&questions, &[&asked], &Reasoned::default());
        assert_eq!((counted.questions.len(), counted.direct[0].answers.len()), (3, 3));
        let json = serde_json::to_string(&asked).unwrap();
        let read: DirectAnswers = serde_json::from_str(&json).unwrap();
        assert_eq!(read.answers[2].set_aside, asked.answers[2].set_aside);

        let (one, _) = Scorer::new(&task(), &counted.questions, &counted.reasoned).direct(&counted.direct[0]);
        assert_eq!(one.accuracy, 1.0);
        let mut engine = Scripted::new(|_: &Request| "yes".to_string()).with_limit(1);
        let error =
            ask_directly(&mut engine, &task(), &questions, 1, &Cancel::new()).unwrap_err().to_string();
        assert!(error.contains("more than half of the 4 questions cannot be asked"), "{error}");
    }
}
