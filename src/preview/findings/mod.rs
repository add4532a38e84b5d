//! Findings: what the first samples of a task show to be wrong with it, and what to change.
//!
//! [`findings`] is a function of what was asked and what came back. It calls no model, so `preview`
//! and `curate` find the same, apart from what only a preview knows: direct answers, and gold answers
//! beside them. Every rule needs a share of the completions and at least two of them: small models do
//! everything once in a while. A rule that looks only at the form of the texts (an unchanged question,
//! completions cut off) is a fault where the samples do not agree, and only worth knowing where they do.

mod answers;
mod gold;
mod offered;
mod opinion;
mod prompts;
mod steps;
mod system1;
mod text;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::curate::{EquivalenceRecord, Sample};
use crate::engine::{Finish, Message, TemplateFacts};
use crate::evaluate::Direct;
pub use crate::finding::{Finding, FindingKind};
use crate::task::{Question, Step, Task, UNPERTURBED};
use crate::vote::Verdict;
use crate::words::words;
pub use opinion::is_stated_opinion;
pub use steps::is_refusal;
pub use system1::is_mostly_unread;

/// The prompt of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// The messages.
    pub messages: Vec<Message>,
    /// The same as the model's own chat template renders it; `None` for an engine that has none.
    pub rendered: Option<String>,
}

impl Prompt {
    /// The texts of all messages.
    fn text(&self) -> String {
        self.messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// What findings are made from.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The task.
    pub task: &'a Task,
    /// The questions that were asked.
    pub questions: &'a [Question],
    /// Their samples, in any order.
    pub samples: &'a [Sample],
    /// The prompts of each sample's calls, in the order of its steps.
    pub prompts: &'a [Vec<Prompt>],
    /// The verdicts on the questions, in any order.
    pub verdicts: &'a [Verdict],
    /// The judgements whether answers mean the same, in any order; empty where the task asks for none.
    pub equivalences: &'a [EquivalenceRecord],
    /// The direct answers to the questions, in any order; empty where they were not asked.
    pub system1: &'a [Direct],
    /// The facts of the model's chat template; `None` for an engine that has none.
    pub template: Option<&'a TemplateFacts>,
}

/// What `evidence` shows to be wrong, or worth knowing: the most severe kinds first.
///
/// # Panics
/// Where `prompts` and `samples` have different lengths.
pub fn findings(evidence: &Evidence) -> Vec<Finding> {
    assert_eq!(evidence.prompts.len(), evidence.samples.len(), "each sample has its prompts");
    let view = Observed::of(evidence);
    let mut found = Vec::new();
    prompts::find(&view, &mut found);
    steps::find(&view, &mut found);
    answers::find(&view, &mut found);
    system1::find(&view, &mut found);
    gold::find(&view, &mut found);
    opinion::find(&view, &mut found);
    found.sort_by_key(|finding| (!finding.stops, !finding.fault, finding.kind));
    found
}

/// The evidence, arranged for the rules.
struct Observed<'a> {
    task: &'a Task,
    asked: Vec<ObservedQuestion<'a>>,
    verdicts: &'a [Verdict],
    equivalences: &'a [EquivalenceRecord],
    template: Option<&'a TemplateFacts>,
    /// Whether the votes accept the answers to at least half of the questions.
    agrees: bool,
    /// The calls of all samples, those of perturbed questions included.
    all: Vec<ObservedCall<'a>>,
}

/// A question with its own samples, without those of perturbations.
struct ObservedQuestion<'a> {
    question: &'a Question,
    /// The fields, from [`words`].
    words: String,
    /// The words that tell it from the other questions.
    distinctive: BTreeSet<String>,
    samples: Vec<ObservedSample<'a>>,
    verdict: Option<&'a Verdict>,
    system1: Option<&'a Direct>,
}

/// A sample with its prompts.
struct ObservedSample<'a> {
    sample: &'a Sample,
    calls: Vec<ObservedCall<'a>>,
}

/// A call of a sample.
#[derive(Clone, Copy)]
struct ObservedCall<'a> {
    /// The step; `None` for a call that is not of the task's program.
    step: Option<&'a Step>,
    is_last: bool,
    prompt: &'a Prompt,
    /// The completion.
    output: &'a str,
    /// Whether it ended because no further token was allowed.
    is_cut: bool,
}

impl<'a> Observed<'a> {
    fn of(evidence: &Evidence<'a>) -> Observed<'a> {
        let Evidence { task, questions, samples, prompts, verdicts, equivalences, system1, template } =
            *evidence;
        let texts: Vec<String> = questions.iter().map(|question| words(&text_of(question))).collect();
        let distinctive = text::distinctive(&texts);
        let asked = questions.iter().zip(texts).zip(distinctive).map(|((question, words), distinctive)| {
            let own = samples
                .iter()
                .zip(prompts)
                .filter(|(s, _)| s.question == question.id && s.perturbation == UNPERTURBED);
            ObservedQuestion {
                question,
                words,
                distinctive,
                samples: own
                    .map(|(s, p)| ObservedSample { sample: s, calls: calls_of(task, s, p) })
                    .collect(),
                verdict: verdicts.iter().find(|verdict| verdict.question == question.id),
                system1: system1.iter().find(|direct| direct.question == question.id),
            }
        });
        let kept = verdicts.iter().filter(|verdict| verdict.kept).count();
        let sampled = verdicts.iter().filter(|verdict| verdict.set_aside.is_none()).count();
        Observed {
            task,
            asked: asked.collect(),
            verdicts,
            equivalences,
            template,
            agrees: kept * 2 >= sampled && kept > 0,
            all: samples.iter().zip(prompts).flat_map(|(s, p)| calls_of(task, s, p)).collect(),
        }
    }

    /// The questions' own samples, each with its question.
    fn samples(&self) -> impl Iterator<Item = (&ObservedQuestion<'a>, &ObservedSample<'a>)> {
        self.asked.iter().flat_map(|asked| asked.samples.iter().map(move |sampled| (asked, sampled)))
    }

    /// The name of the last step, whose completion holds the answer.
    fn last_step(&self) -> Option<String> {
        self.task.system2.last().map(|step| step.name.clone())
    }
}

impl ObservedQuestion<'_> {
    /// Why it was not asked, if it was set aside.
    fn set_aside(&self) -> Option<&str> {
        let voted = self.verdict.and_then(|verdict| verdict.set_aside.as_deref());
        voted.or_else(|| self.system1.and_then(|direct| direct.set_aside.as_deref()))
    }
}

impl<'a> ObservedSample<'a> {
    /// The last call of the program.
    fn last(&self) -> Option<&ObservedCall<'a>> {
        self.calls.iter().rfind(|call| call.is_last)
    }

    /// The call before the last of the program.
    fn before_last(&self) -> Option<&ObservedCall<'a>> {
        let last = self.calls.iter().rposition(|call| call.is_last)?;
        last.checked_sub(1).map(|before| &self.calls[before])
    }

    /// Whether the last step is asked anything that tells the question from others.
    fn shows(&self, asked: &ObservedQuestion) -> bool {
        let prompt = self.last().map_or(String::new(), |call| words(&call.prompt.text()));
        asked.distinctive.is_empty() || prompt.split(' ').any(|word| asked.distinctive.contains(word))
    }
}

/// The texts of all fields.
fn text_of(question: &Question) -> String {
    question.fields.values().map(String::as_str).collect::<Vec<_>>().join("\n")
}

fn calls_of<'a>(task: &'a Task, sample: &'a Sample, prompts: &'a [Prompt]) -> Vec<ObservedCall<'a>> {
    let last = task.system2.last().map(|step| step.name.as_str());
    let call = |(record, prompt): (&'a crate::curate::StepRecord, &'a Prompt)| {
        let step = task.system2.iter().find(|step| step.name == record.name);
        let is_last = last == Some(record.name.as_str());
        ObservedCall {
            step,
            is_last,
            prompt,
            output: &record.text,
            is_cut: match is_last {
                true => sample.finish == Finish::Length,
                // Journals record the end of the last step alone. The end of a turn counts as a token.
                false => step.is_some_and(|step| record.generated_tokens >= step.max_tokens),
            },
        }
    };
    sample.steps.iter().zip(prompts).map(call).collect()
}

/// Whether `count` of `of` is at least `share`, and more than one.
fn is_share(count: usize, of: usize, share: f64) -> bool {
    count >= 2 && count as f64 >= share * of as f64
}

/// The probability that at least `n` of independent events happen that have these probabilities.
fn at_least(n: usize, probabilities: &[f64]) -> f64 {
    let mut happened = vec![1.0];
    for p in probabilities {
        happened.push(0.0);
        for k in (0..happened.len()).rev() {
            happened[k] = happened[k] * (1.0 - p) + if k > 0 { happened[k - 1] * p } else { 0.0 };
        }
    }
    happened.iter().skip(n).sum()
}

#[cfg(test)]
mod tests;
