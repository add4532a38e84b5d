//! The first stage: sample every training question until its vote is settled.

use std::time::Instant;

use super::engine_cache::EngineCache;
use super::{Context, CurateOptions, Run};
use crate::curate::{self, CurationPlan, JournalEntry, Observer, Outcome, Sample, SelectionRecord, Verifier};
use crate::curate::{Curation, Stops};
use crate::engine::Finish;
use crate::evaluate::Decision;
use crate::evaluate::{self, Acceptance};
use crate::run::{Journal, RunDir};
use crate::task::{Question, Select, Task};
use crate::vote::{StopReason, Verdict};
use crate::{Error, Hint, Progress, Result, Stage, Update};

impl Run {
    /// Samples every training question until its vote is settled. Writes `samples.jsonl`,
    /// `verdicts.jsonl` and `curation.json`; `selections.jsonl` where the vote is a universal one.
    ///
    /// The engine is only used, and the library's own only loaded, where samples are missing.
    pub fn curate(&mut self, options: &CurateOptions, cx: &mut Context) -> Result<Curation> {
        self.check_callers_engine(cx)?;
        let task = self.task_with(options)?;
        self.agree_on_verifier()?;
        let job = CurationJob {
            stage: Stage::Curate,
            journal: "samples.jsonl",
            selections: "selections.jsonl",
            seconds: "samples.seconds",
            task: &task,
            questions: &self.questions,
            seed: self.manifest.seed,
            verifier: self.verifier.as_deref(),
        };
        job.curate(&self.dir, &mut self.base, options, cx)
    }

    /// Whether the labels are worth training on.
    pub(super) fn decide_by_labels(&self, acceptance: &Acceptance) -> Result<Decision> {
        let curation: Curation = self.dir.saved("curation.json")?.unwrap_or_default();
        Ok(evaluate::labels_are_worth_it(acceptance, &self.task, &curation, &self.verdicts()?))
    }

    /// The verdicts on the training questions, in their order.
    pub(super) fn verdicts(&self) -> Result<Vec<Verdict>> {
        let path = self.dir.file("verdicts.jsonl");
        if !path.exists() {
            return Err(Error::run(self.path(), "holds no verdicts yet").hint(Hint::RunStage(Stage::Curate)));
        }
        let verdicts = Journal::<Verdict>::open(&path)?.1.collect::<Result<Vec<_>>>()?;
        if verdicts.len() != self.questions.len() {
            return Err(
                Error::run(self.path(), "curation is not finished").hint(Hint::RunStage(Stage::Curate))
            );
        }
        Ok(verdicts)
    }
}

/// What is sampled, and where its journal and its seconds are kept.
pub(super) struct CurationJob<'a> {
    pub stage: Stage,
    pub journal: &'a str,
    pub selections: &'a str,
    pub seconds: &'a str,
    pub task: &'a Task,
    pub questions: &'a [Question],
    pub seed: u64,
    pub verifier: Option<&'a dyn Verifier>,
}

impl CurationJob<'_> {
    /// Samples them, and writes their verdicts and figures.
    fn curate(
        &self,
        dir: &RunDir,
        base: &mut EngineCache,
        options: &CurateOptions,
        cx: &mut Context,
    ) -> Result<Curation> {
        let (outcomes, seconds) = self.run(dir, base, options, cx)?;
        let verdicts: Vec<&Verdict> = outcomes.iter().map(|o| &o.verdict).collect();
        dir.save_lines("verdicts.jsonl", &verdicts)?;

        let samples = || outcomes.iter().flat_map(|o| &o.samples);
        let selections = || outcomes.iter().flat_map(|o| &o.selections);
        let could_be_taken =
            self.questions.len() * self.task.vote.samples * (self.task.perturbations.len() + 1);
        let votes = || {
            let variants = verdicts.iter().flat_map(|v| v.variants.iter().map(|b| b.stop));
            let plain = verdicts.iter().filter(|v| v.variants.is_empty()).map(|v| v.stop);
            variants.chain(plain)
        };
        let judged: Vec<bool> = self
            .questions
            .iter()
            .zip(&verdicts)
            .filter(|(q, v)| v.kept && !q.gold.is_empty())
            .filter_map(|(q, v)| Some(self.task.answer.is_correct(v.answer.as_ref()?, &q.gold)))
            .collect();
        let curation = Curation {
            questions: self.questions.len(),
            kept: verdicts.iter().filter(|v| v.kept).count(),
            max_samples: self.task.vote.samples,
            threshold: self.task.vote.threshold,
            samples: samples().count(),
            unparsed: samples().filter(|s| s.answer.is_none()).count(),
            cut_off: samples().filter(|s| s.answer.is_none() && s.finish == Finish::Length).count(),
            prompt_tokens: samples().map(|s| s.prompt_tokens).sum::<usize>()
                + selections().map(|s| s.prompt_tokens).sum::<usize>(),
            generated_tokens: outcomes.iter().map(Outcome::all_tokens).sum(),
            stops: Stops {
                answer: samples().filter(|s| s.finish == Finish::Enough).count(),
                settled: votes().filter(|stop| *stop == StopReason::Settled).count(),
                threshold: votes().filter(|stop| *stop == StopReason::Abandoned).count(),
                samples_not_taken: could_be_taken - samples().count(),
            },
            seconds,
            precision: (!judged.is_empty())
                .then(|| judged.iter().filter(|r| **r).count() as f64 / judged.len() as f64),
        };
        dir.save("curation.json", &curation)?;
        Ok(curation)
    }

    /// Samples what the journal does not hold yet. Returns the outcomes, and the seconds spent on
    /// them over all invocations.
    pub fn run(
        &self,
        dir: &RunDir,
        base: &mut EngineCache,
        options: &CurateOptions,
        cx: &mut Context,
    ) -> Result<(Vec<Outcome>, f64)> {
        let (progress, cancel) = (cx.progress, cx.cancel.clone());
        let (journal, samples) = Journal::<Sample>::open(dir.file(self.journal))?;
        let (mut selections, mut selected) = (None, None);
        if self.task.vote.select == Select::Universal {
            let (journal, earlier) = Journal::<SelectionRecord>::open(dir.file(self.selections))?;
            (selections, selected) = (Some(journal), Some(earlier));
        }
        let earlier = samples
            .map(|item| item.map(JournalEntry::Sample))
            .chain(selected.into_iter().flatten().map(|item| item.map(JournalEntry::Selection)));
        let before: f64 = dir.saved(self.seconds)?.unwrap_or(0.0);
        let plan = CurationPlan {
            task: self.task,
            questions: self.questions,
            seed: self.seed,
            stop_at_answer: options.early_stopping.answer,
            verifier: self.verifier,
        };
        let mut watch = Watch {
            journal,
            selections,
            progress,
            stage: self.stage,
            total: self.questions.len(),
            settled: 0,
            kept: 0,
            tokens: 0,
            first: None,
        };
        let begin = Instant::now();
        let result =
            curate::curate(|| base.engine(cx, None, &options.engine), &plan, earlier, &mut watch, &cancel);
        watch.sync()?;
        let seconds = if watch.appended() == 0 {
            before
        } else {
            let seconds = before + begin.elapsed().as_secs_f64();
            dir.save(self.seconds, &seconds)?;
            seconds
        };
        Ok((result?, seconds))
    }
}

/// Keeps samples and tells progress.
struct Watch<'a> {
    journal: Journal<Sample>,
    /// Of a universal vote.
    selections: Option<Journal<SelectionRecord>>,
    progress: &'a dyn Progress,
    stage: Stage,
    total: usize,
    settled: usize,
    kept: usize,
    /// Sampled by this invocation.
    tokens: usize,
    /// When its first sample finished, and how many questions were settled then.
    first: Option<(Instant, usize)>,
}

impl Watch<'_> {
    /// Forces what was kept to the disk: samples first, on which selections build.
    fn sync(&mut self) -> Result<()> {
        self.journal.sync()?;
        self.selections.as_mut().map_or(Ok(()), Journal::sync)
    }

    fn appended(&self) -> usize {
        self.journal.appended() + self.selections.as_ref().map_or(0, Journal::appended)
    }

    fn tell(&self) {
        let mut note = match self.stage {
            Stage::Evaluate => "System 2".to_string(),
            _ => format!("{} kept", self.kept),
        };
        note += &format!(", {} samples", self.journal.appended());
        let so_far =
            self.first.map(|(since, settled)| (since.elapsed().as_secs_f64(), self.settled - settled));
        if let Some((seconds, settled)) = so_far.filter(|(seconds, _)| *seconds > 1.0) {
            note += &format!(", {:.0} tokens/s", self.tokens as f64 / seconds);
            if settled > 0 {
                note += &format!(
                    ", {:.1} questions/min, {} left",
                    60.0 * settled as f64 / seconds,
                    duration(seconds / settled as f64 * (self.total - self.settled) as f64)
                );
            }
        }
        self.progress.update(&Update {
            stage: self.stage,
            done: self.settled as u64,
            total: self.total as u64,
            note,
        });
    }
}

/// Seconds for a person: `40 s`, `12 min`, `3 h 5 min`.
fn duration(seconds: f64) -> String {
    match seconds.ceil() as u64 {
        s @ 0..90 => format!("{s} s"),
        s @ 90..5400 => format!("{} min", s.div_ceil(60)),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

impl Observer for Watch<'_> {
    fn sample(&mut self, sample: &Sample) -> Result<()> {
        self.journal.append(sample)?;
        self.first.get_or_insert((Instant::now(), self.settled));
        self.tokens += sample.steps.iter().map(|s| s.generated_tokens).sum::<usize>();
        self.tell();
        Ok(())
    }

    fn selection(&mut self, selection: &SelectionRecord) -> Result<()> {
        if let Some(selections) = &mut self.selections {
            selections.append(selection)?;
        }
        self.tokens += selection.generated_tokens;
        Ok(())
    }

    fn settled(&mut self, verdict: &Verdict) -> Result<()> {
        self.settled += 1;
        self.kept += usize::from(verdict.kept);
        self.sync()?;
        self.progress.verdict(self.stage, verdict);
        self.tell();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_told_in_units_a_person_would_use() {
        let told = [0.2, 89.0, 90.0, 3600.0, 7500.0].map(super::duration);
        assert_eq!(told, ["1 s", "89 s", "2 min", "60 min", "2 h 5 min"]);
    }
}
