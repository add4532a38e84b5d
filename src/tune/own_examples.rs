//! A variation of the best program that shows the model its own unanimous samples as worked examples.
//!
//! Samples on which a model agrees with itself are right more often than others, and serve as examples
//! without a label (COSP, arXiv 2305.14106; USP, 2305.14926). Whether they help is for the race to find
//! out: small models copy examples, too.

use std::collections::HashSet;

use super::contestant::Contestant;
use super::race::Race;
use super::votes::QuestionVotes;
use crate::Result;
use crate::curate::Sample;
use crate::run::Journal;
use crate::task::{Question, Task, UNPERTURBED, WorkedExample, without_thinking};

/// Examples of a step.
const EXAMPLES: usize = 3;
/// Fewer samples are not called unanimous.
const MIN_SAMPLES: usize = 4;
/// How the names of these variations end.
const ENDING: &str = ".own-examples";
impl Race<'_> {
    /// The task of `contestant` with own examples; `None` where it has examples already, calls a step for each
    /// item, or has fewer than two unanimous answers that differ.
    pub(super) fn with_own_examples(&self, contestant: &Contestant) -> Result<Option<Task>> {
        let task = &contestant.entrant.task;
        if task.system2.iter().any(|step| step.for_each.is_some() || !step.examples.is_empty()) {
            return Ok(None);
        }
        let votes = self.votes().into_iter().find(|votes| votes.name == contestant.name());
        let chosen = unanimous(votes.as_ref().map_or(&[], |votes| &votes.questions));
        if chosen.len() < 2 {
            return Ok(None);
        }
        let samples = Journal::<Sample>::read(self.sampler.dir.file(&contestant.journal()))?
            .collect::<Result<Vec<_>>>()?;
        let mut varied = task.clone();
        varied.name = format!("{}{ENDING}", task.name);
        for question in chosen {
            let sample = samples
                .iter()
                .filter(|sample| sample.question == question && sample.perturbation == UNPERTURBED)
                .min_by_key(|sample| sample.index);
            let asked = self.questions.iter().find(|asked| asked.id == question);
            let (Some(sample), Some(asked)) = (sample, asked) else { continue };
            for (at, step) in varied.system2.iter_mut().enumerate() {
                step.examples.extend(example(task, at, sample, asked));
            }
        }
        // What a task file would not allow is no candidate either.
        Ok(Task::from_json(&varied.to_json(), &varied.name).ok())
    }
}

/// The questions with unanimous answers that all differ, and are no opinions: first those whose answer is the
/// model's own and not taken from the text.
fn unanimous(votes: &[QuestionVotes]) -> Vec<String> {
    let mut sure: Vec<&QuestionVotes> = votes
        .iter()
        .filter(|v| {
            let leader = v.leader();
            v.n >= MIN_SAMPLES && leader.is_some_and(|leader| leader.votes == v.n && !leader.is_void())
        })
        .collect();
    sure.sort_by_key(|votes| votes.leader().is_some_and(|leader| leader.verbatim));
    let mut seen = HashSet::new();
    sure.retain(|votes| votes.leader().is_some_and(|leader| seen.insert(leader.key.clone())));
    sure.into_iter().take(EXAMPLES).map(|votes| votes.question.clone()).collect()
}

/// Step number `at` of `sample` as an example.
fn example(task: &Task, at: usize, sample: &Sample, question: &Question) -> Option<WorkedExample> {
    let output = |name: &str| {
        let text = &sample.steps.iter().find(|step| step.name == *name)?.text;
        Some(without_thinking(text)?.trim().to_string()).filter(|text| !text.is_empty())
    };
    let fields = || question.fields.iter().map(|(name, text)| (name.to_string(), text.to_string()));
    let outputs = task.system2[..at].iter().map(|step| Some((step.name.clone(), output(&step.name)?)));
    Some(WorkedExample {
        question: fields().find(|(name, _)| name == "question").map(|(_, text)| text),
        fields: fields().filter(|(name, _)| name != "question").collect(),
        outputs: outputs.collect::<Option<_>>()?,
        output: output(&task.system2[at].name)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::votes::AnswerVotes;

    #[test]
    fn unanimous_answers_that_differ_are_shown_and_those_from_the_text_last() {
        let votes = |question: &str, n: usize, key: &str, given: usize, verbatim| QuestionVotes {
            question: question.into(),
            n,
            answers: vec![AnswerVotes {
                key: key.into(),
                text: key.into(),
                votes: given,
                verbatim,
                opinion: question == "opinion",
                ..AnswerVotes::default()
            }],
            ..QuestionVotes::default()
        };
        let all = [
            votes("opinion", 4, "o", 4, true),
            votes("text", 4, "a", 4, true),
            votes("split", 4, "b", 3, false),
            votes("sure", 4, "c", 4, false),
            votes("again", 4, "c", 4, false),
            votes("few", 2, "d", 2, false),
            votes("other", 8, "e", 8, false),
        ];
        assert_eq!(unanimous(&all), ["sure", "other", "text"]);
    }
}
