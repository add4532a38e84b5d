//! The first stage: sample every training question until its vote is settled.

use std::time::Instant;

use super::{CurateOptions, EarlyStops, Run};
use crate::curate::{self, Observer, Outcome, Plan, Sample};
use crate::engine::{Engine, Finish};
use crate::report::{Curation, Stops};
use crate::run::{Journal, RunDir};
use crate::task::{Question, Task};
use crate::vote::{StopReason, Verdict};
use crate::{Cancel, Error, Progress, Result, Stage, Update};

impl Run {
    /// Samples every training question until its vote is settled. Writes `samples.jsonl`,
    /// `verdicts.jsonl` and `curation.json`.
    pub fn curate(
        &mut self,
        options: &CurateOptions,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Curation> {
        let task = self.task_with(options)?;
        let base = &mut self.base;
        let sampling = Sampling::of_training(&task, &self.questions, self.manifest.seed);
        let engine = &options.engine;
        sampling.curate(&self.dir, || base.engine(None, engine, progress), options.stops, progress, cancel)
    }

    /// The same by the caller's own engine, which is asked for only where samples are missing.
    pub fn curate_with<'e, E: Engine + ?Sized + 'e>(
        &mut self,
        engine: impl FnOnce() -> Result<&'e mut E>,
        options: &CurateOptions,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Curation> {
        let task = self.task_with(options)?;
        let sampling = Sampling::of_training(&task, &self.questions, self.manifest.seed);
        sampling.curate(&self.dir, engine, options.stops, progress, cancel)
    }

    /// Refuses labels that are not worth training on, unless `force`.
    pub(super) fn check_labels(&self, force: bool) -> Result<()> {
        let verdicts = self.verdicts()?;
        match curate::check_worth(&verdicts.iter().collect::<Vec<_>>()) {
            Err(Error::Refused(_)) if force && verdicts.iter().any(|v| v.kept) => Ok(()),
            result => result,
        }
    }

    /// The verdicts on the training questions, in their order.
    pub(super) fn verdicts(&self) -> Result<Vec<Verdict>> {
        let path = self.dir.file("verdicts.jsonl");
        if !path.exists() {
            return Err(Error::run(self.path(), "holds no verdicts yet; run `secondnature curate` first"));
        }
        let verdicts = Journal::<Verdict>::open(&path)?.1.collect::<Result<Vec<_>>>()?;
        if verdicts.len() != self.questions.len() {
            return Err(Error::run(
                self.path(),
                "curation is not finished; run `secondnature curate` to resume it",
            ));
        }
        Ok(verdicts)
    }
}

/// What is sampled, and where its journal and its seconds are kept.
pub(super) struct Sampling<'a> {
    pub stage: Stage,
    pub journal: &'a str,
    pub seconds: &'a str,
    pub task: &'a Task,
    pub questions: &'a [Question],
    pub seed: u64,
}

impl Sampling<'_> {
    /// The training questions of a run.
    fn of_training<'a>(task: &'a Task, questions: &'a [Question], seed: u64) -> Sampling<'a> {
        let (journal, seconds) = ("samples.jsonl", "samples.seconds");
        Sampling { stage: Stage::Curate, journal, seconds, task, questions, seed }
    }

    /// Samples them, and writes their verdicts and figures.
    fn curate<'e, E: Engine + ?Sized + 'e>(
        &self,
        dir: &RunDir,
        engine: impl FnOnce() -> Result<&'e mut E>,
        stops: EarlyStops,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Curation> {
        let (outcomes, seconds) = self.run(dir, engine, stops, progress, cancel)?;
        let verdicts: Vec<&Verdict> = outcomes.iter().map(|o| &o.verdict).collect();
        dir.save_lines("verdicts.jsonl", &verdicts)?;

        let samples = || outcomes.iter().flat_map(|o| &o.samples);
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
            prompt_tokens: samples().map(|s| s.prompt_tokens).sum(),
            generated_tokens: samples().map(|s| s.generated_tokens).sum(),
            stops: Stops {
                answer: samples().filter(|s| s.finish == Finish::Enough).count(),
                settled: verdicts.iter().filter(|v| v.stop == StopReason::Settled).count(),
                threshold: verdicts.iter().filter(|v| v.stop == StopReason::Abandoned).count(),
                samples_not_taken: verdicts.iter().map(|v| self.task.vote.samples - v.n).sum(),
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
    pub fn run<'e, E: Engine + ?Sized + 'e>(
        &self,
        dir: &RunDir,
        engine: impl FnOnce() -> Result<&'e mut E>,
        stops: EarlyStops,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<(Vec<Outcome>, f64)> {
        let (journal, earlier) = Journal::open(dir.file(self.journal))?;
        let before: f64 = dir.saved(self.seconds)?.unwrap_or(0.0);
        let plan = Plan {
            task: self.task,
            questions: self.questions,
            seed: self.seed,
            stop_at_answer: stops.answer,
        };
        let mut watch = Watch {
            journal,
            progress,
            stage: self.stage,
            total: self.questions.len(),
            settled: 0,
            kept: 0,
            tokens: 0,
            first: None,
        };
        let begin = Instant::now();
        let result = curate::curate(engine, &plan, earlier, &mut watch, cancel);
        watch.journal.sync()?;
        let seconds = if watch.journal.appended() == 0 {
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

    fn settled(&mut self, verdict: &Verdict) -> Result<()> {
        self.settled += 1;
        self.kept += usize::from(verdict.kept);
        self.journal.sync()?;
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
