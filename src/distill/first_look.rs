//! Findings on the first questions of a run: a task that cannot work is told in the first minutes of hours.

use crate::curate::{EquivalenceRecord, Sample};
use crate::preview::{Evidence, Finding, findings, prompts_of};
use crate::task::{Question, Task};
use crate::vote::Verdict;
use crate::{Error, Hint, Result};

/// The first questions that are looked at. Fewer say little, and more would only be said later.
const FIRST_QUESTIONS: usize = 8;

/// Collects the samples of the first questions of a set until each has its verdict.
pub(super) struct FirstLook<'a> {
    task: &'a Task,
    questions: &'a [Question],
    seed: u64,
    samples: Vec<Sample>,
    equivalences: Vec<EquivalenceRecord>,
    verdicts: Vec<Verdict>,
    /// What was found, once all verdicts are there.
    found: Option<Vec<Finding>>,
}

impl<'a> FirstLook<'a> {
    pub fn new(task: &'a Task, questions: &'a [Question], seed: u64) -> FirstLook<'a> {
        let questions = &questions[..questions.len().min(FIRST_QUESTIONS)];
        FirstLook {
            task,
            questions,
            seed,
            samples: Vec::new(),
            equivalences: Vec::new(),
            verdicts: Vec::new(),
            found: None,
        }
    }

    fn is_of(&self, id: &str) -> bool {
        self.found.is_none() && self.questions.iter().any(|question| question.id == id)
    }

    /// Takes a sample, of this invocation or of an earlier one.
    pub fn sample(&mut self, sample: &Sample) {
        if self.is_of(&sample.question) {
            self.samples.push(sample.clone());
        }
    }

    /// Takes a judgement whether two answers mean the same, of this invocation or of an earlier one.
    pub fn equivalence(&mut self, judgement: &EquivalenceRecord) {
        if self.is_of(&judgement.question) {
            self.equivalences.push(judgement.clone());
        }
    }

    /// Takes a verdict. Returns the findings when it is the last of the first questions.
    pub fn verdict(&mut self, verdict: &Verdict) -> Result<Option<&[Finding]>> {
        if !self.is_of(&verdict.question) {
            return Ok(None);
        }
        self.verdicts.push(verdict.clone());
        if self.verdicts.len() < self.questions.len() {
            return Ok(None);
        }
        let found = self.findings()?;
        (self.samples, self.equivalences, self.verdicts) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Some(self.found.insert(found)))
    }

    fn findings(&self) -> Result<Vec<Finding>> {
        let prompts = self.samples.iter().map(|sample| {
            let question = self.questions.iter().find(|question| question.id == sample.question);
            let question = question.ok_or_else(|| Error::Internal("a sample of no question".into()))?;
            let prompts = prompts_of(self.task, question, sample, self.seed, None)?;
            Ok(prompts.into_iter().map(|(prompt, _)| prompt).collect())
        });
        let prompts: Vec<_> = prompts.collect::<Result<_>>()?;
        Ok(findings(&Evidence {
            task: self.task,
            questions: self.questions,
            samples: &self.samples,
            prompts: &prompts,
            verdicts: &self.verdicts,
            equivalences: &self.equivalences,
            system1: &[],
            template: None,
        }))
    }

    /// What was found; empty before the verdicts are there.
    pub fn found(&self) -> Vec<Finding> {
        self.found.clone().unwrap_or_default()
    }
}

/// Refuses to go on where a finding stops.
pub(super) fn refuse(found: &[Finding]) -> Result<()> {
    let stops: Vec<String> = found
        .iter()
        .filter(|finding| finding.stops)
        .map(|finding| format!("{}: {}", finding.message, finding.advice))
        .collect();
    match stops.is_empty() {
        true => Ok(()),
        false => Err(Error::refused(format!(
            "the first questions show that this task cannot work on this model: {}",
            stops.join("; ")
        ))
        .hint(Hint::Force)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cancel;
    use crate::curate::{CurationPlan, Observer, curate};
    use crate::engine::{Request, Scripted};
    use crate::preview::FindingKind;

    /// Feeds a first look as the observer of a run does, and counts what it gives.
    struct Watch<'a>(FirstLook<'a>, Vec<Vec<FindingKind>>, bool);

    impl Observer for Watch<'_> {
        fn sample(&mut self, sample: &Sample) -> Result<()> {
            self.0.sample(sample);
            Ok(())
        }
        fn verdict(&mut self, verdict: &Verdict) -> Result<()> {
            if let Some(found) = self.0.verdict(verdict)? {
                self.1.push(found.iter().map(|finding| finding.kind).collect());
                if !self.2 {
                    refuse(found)?;
                }
            }
            Ok(())
        }
    }

    fn watched(questions: usize, force: bool, answer: &str) -> (Result<usize>, Vec<Vec<FindingKind>>) {
        let task = Task::load("coin-flip").unwrap();
        let questions: Vec<Question> = (0..questions)
            .map(|i| Question::new(format!("q{i}"), format!("Coin {i} is heads up?"), vec![]))
            .collect();
        let mut watch = Watch(FirstLook::new(&task, &questions, 1), vec![], force);
        let plan = CurationPlan {
            task: &task,
            questions: &questions,
            seed: 1,
            stop_at_answer: true,
            verifier: None,
        };
        let mut engine = Scripted::new(|_: &Request| answer.to_string());
        let none = std::iter::empty::<Result<Sample>>();
        let outcomes = curate(|| Ok(&mut engine), &plan, none, &mut watch, &Cancel::new());
        (outcomes.map(|outcomes| outcomes.len()), watch.1)
    }

    #[test]
    fn a_run_stops_after_its_first_questions_where_nothing_is_read_and_goes_on_when_forced() {
        let (stopped, found) = watched(30, false, "hm");
        let error = stopped.unwrap_err().to_string();
        assert!(error.contains("no answer was read") && error.contains("set force"), "{error}");
        assert_eq!(found, [[FindingKind::Unread]]);
        let (finished, found) = watched(30, true, "hm");
        assert_eq!((finished.unwrap(), found.len()), (30, 1), "found once");
    }

    #[test]
    fn a_small_set_is_looked_at_when_all_its_verdicts_are_there() {
        let (finished, found) = watched(3, false, "It was flipped twice, so it is as before. Answer: yes");
        assert_eq!(finished.unwrap(), 3);
        assert_eq!(found, [[]]);
    }
}
