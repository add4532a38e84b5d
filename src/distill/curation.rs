//! The first stage: sample every training question until its vote is settled.

use std::time::Instant;

use super::base::Base;
use super::{CurateOptions, Run};
use crate::curate::{self, Observer, Outcome, Sample};
use crate::report::Curation;
use crate::run::{Journal, RunDir};
use crate::task::{Question, Task};
use crate::vote::Verdict;
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
        let sampling = Sampling {
            stage: Stage::Curate,
            journal: "samples.jsonl",
            seconds: "samples.seconds",
            task: &task,
            questions: &self.questions,
            seed: self.manifest.seed,
        };
        let (outcomes, seconds) = sampling.run(&self.dir, &mut self.base, options, progress, cancel)?;
        let verdicts: Vec<&Verdict> = outcomes.iter().map(|o| &o.verdict).collect();
        self.dir.save_lines("verdicts.jsonl", &verdicts)?;

        let samples = || outcomes.iter().flat_map(|o| &o.samples);
        let judged: Vec<bool> = self
            .questions
            .iter()
            .zip(&verdicts)
            .filter(|(q, v)| v.kept && !q.gold.is_empty())
            .filter_map(|(q, v)| Some(task.answer.is_correct(v.answer.as_ref()?, &q.gold)))
            .collect();
        let curation = Curation {
            questions: self.questions.len(),
            kept: verdicts.iter().filter(|v| v.kept).count(),
            max_samples: task.vote.samples,
            threshold: task.vote.threshold,
            samples: samples().count(),
            prompt_tokens: samples().map(Sample::prompt_tokens).sum(),
            generated_tokens: samples().map(Sample::generated_tokens).sum(),
            seconds,
            precision: (!judged.is_empty())
                .then(|| judged.iter().filter(|r| **r).count() as f64 / judged.len() as f64),
        };
        self.dir.save("curation.json", &curation)?;
        Ok(curation)
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
        let (_, verdicts) = Journal::<Verdict>::open(&path)?;
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
    /// Samples what the journal does not hold yet. Returns the outcomes, and the seconds spent on
    /// them over all invocations.
    pub fn run(
        &self,
        dir: &RunDir,
        base: &mut Base,
        options: &CurateOptions,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<(Vec<Outcome>, f64)> {
        let (journal, earlier) = Journal::open(dir.file(self.journal))?;
        let before: f64 = dir.saved(self.seconds)?.unwrap_or(0.0);
        let mut watch =
            Watch { journal, progress, stage: self.stage, settled: 0, kept: 0, total: self.questions.len() };
        let begin = Instant::now();
        let result = curate::curate(
            || base.engine(None, &options.engine, progress, cancel),
            self.task,
            self.questions,
            self.seed,
            earlier,
            &mut watch,
            cancel,
        );
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
    settled: usize,
    kept: usize,
    total: usize,
}

impl Watch<'_> {
    fn tell(&self) {
        let note = match self.stage {
            Stage::Evaluate => format!("System 2, {} samples", self.journal.appended()),
            _ => format!("{} kept, {} samples", self.kept, self.journal.appended()),
        };
        self.progress.update(&Update {
            stage: self.stage,
            done: self.settled as u64,
            total: self.total as u64,
            note,
        });
    }
}

impl Observer for Watch<'_> {
    fn sample(&mut self, sample: &Sample) -> Result<()> {
        self.journal.append(sample)?;
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
