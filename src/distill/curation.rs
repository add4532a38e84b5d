//! The first stage: samples of every training question, until its vote has converged.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use super::first_look::{FirstLook, refuse};
use super::{CurateOptions, Run, read_verdicts};
use crate::context::{Context, EngineCache};
use crate::curate::{
    self, CurationPlan, JournalEntry, Observer, Outcome, ReadFrom, Sample, SelectionRecord, Verifier,
};
use crate::curate::{Curation, EquivalenceRecord, Equivalences, Stops};
use crate::engine::Finish;
use crate::evaluate::Decision;
use crate::evaluate::{self, Acceptance};
use crate::preview::Finding;
use crate::run::{Journal, RunDir};
use crate::task::{Equivalence, Question, Select, Task, check_gold};
use crate::vote::{StopReason, Verdict};
use crate::{Progress, Result, Stage, Update};

impl Run {
    /// Samples every training question until its vote has converged. Writes `samples.jsonl`,
    /// `verdicts.jsonl` and `curation.json`; `selections.jsonl` where the vote is a universal one, and
    /// `equivalences.jsonl` where the model judges which answers mean the same.
    ///
    /// When the first questions have their verdicts, `findings.json` gets what they show to be wrong with
    /// the task.
    ///
    /// The engine is only used, and the library's own only loaded, where samples are missing.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) where the first questions show that the task cannot work
    /// and `options.force` is not set; what was sampled is kept. [`Error::Input`](crate::Error::Input) where the
    /// answer rule cannot read a gold answer.
    pub fn curate(&mut self, options: &CurateOptions, cx: &mut Context) -> Result<Curation> {
        self.check_callers_engine(cx)?;
        let task = self.task_with(options)?;
        check_gold(&task.answer, &self.questions, "questions")?;
        self.agree_on_verifier()?;
        if options.early_stopping.answer {
            self.adopt_samples()?;
        }
        let job = CurationJob {
            stage: Stage::Curate,
            journal: "samples.jsonl",
            selections: "selections.jsonl",
            equivalences: "equivalences.jsonl",
            seconds: "samples.seconds",
            task: &task,
            questions: &self.questions,
            seed: self.manifest.seed,
            verifier: self.verifier.as_deref(),
        };
        (self.curation, self.verdicts) = (None, None);
        let (curation, verdicts) = job.curate(&self.dir, &mut self.base, options, cx)?;
        (self.curation, self.verdicts) = (Some(curation.clone()), Some(verdicts));
        Ok(curation)
    }

    /// Whether the labels are worth training on.
    pub(super) fn decide_by_labels(&mut self, acceptance: &Acceptance) -> Result<Decision> {
        let (verdicts, curation) = (self.verdicts()?, self.curation()?);
        Ok(evaluate::labels_are_worth_it(acceptance, &self.task, &curation, &verdicts))
    }

    /// The verdicts on the training questions, in their order.
    pub(super) fn verdicts(&mut self) -> Result<Arc<[Verdict]>> {
        if let Some(verdicts) = &self.verdicts {
            return Ok(verdicts.clone());
        }
        let verdicts: Arc<[Verdict]> = read_verdicts(self.path(), self.questions.len())?.into();
        Ok(self.verdicts.insert(verdicts).clone())
    }

    /// The figures of curation.
    pub(super) fn curation(&mut self) -> Result<Curation> {
        if let Some(curation) = &self.curation {
            return Ok(curation.clone());
        }
        let curation = self.dir.saved("curation.json")?.unwrap_or_default();
        Ok(self.curation.insert(curation).clone())
    }
}

/// Questions to sample, and the files in which samples and seconds are kept.
pub(super) struct CurationJob<'a> {
    pub stage: Stage,
    pub journal: &'a str,
    pub selections: &'a str,
    pub equivalences: &'a str,
    pub seconds: &'a str,
    pub task: &'a Task,
    pub questions: &'a [Question],
    pub seed: u64,
    pub verifier: Option<&'a dyn Verifier>,
}

impl CurationJob<'_> {
    /// Samples the questions, and writes their verdicts and figures.
    fn curate(
        &self,
        dir: &RunDir,
        base: &mut EngineCache,
        options: &CurateOptions,
        cx: &mut Context,
    ) -> Result<(Curation, Arc<[Verdict]>)> {
        let Sampled { outcomes, seconds, findings } = self.run(dir, base, options, cx)?;
        let verdicts: Vec<&Verdict> = outcomes.iter().map(|o| &o.verdict).collect();
        dir.save_lines("verdicts.jsonl", &verdicts)?;

        let samples = || outcomes.iter().flat_map(|o| &o.samples);
        let selections = || outcomes.iter().flat_map(|o| &o.selections);
        let set_aside = || verdicts.iter().filter_map(|v| v.set_aside.as_ref());
        let could_be_taken = (self.questions.len() - set_aside().count())
            * self.task.vote.samples
            * (self.task.perturbations.len() + 1);
        let equivalences = || outcomes.iter().flat_map(|o| &o.equivalences);
        let votes = || {
            let variants = verdicts.iter().flat_map(|v| v.variants.iter().map(|b| b.stop));
            let plain =
                verdicts.iter().filter(|v| v.variants.is_empty() && v.set_aside.is_none()).map(|v| v.stop);
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
            set_aside: set_aside().count(),
            set_aside_reason: set_aside().next().cloned(),
            max_samples: self.task.vote.samples,
            threshold: self.task.vote.threshold,
            samples: samples().count(),
            unparsed: samples().filter(|s| s.answer.is_none()).count(),
            cut_off: samples().filter(|s| s.answer.is_none() && s.finish == Finish::Length).count(),
            read_by_closing: samples().filter(|s| s.read_from == ReadFrom::Closing).count(),
            prompt_tokens: samples().map(|s| s.prompt_tokens).sum::<usize>()
                + selections().map(|s| s.prompt_tokens).sum::<usize>()
                + equivalences().map(|s| s.prompt_tokens).sum::<usize>(),
            generated_tokens: outcomes.iter().map(Outcome::all_tokens).sum(),
            stops: Stops {
                answer: samples().filter(|s| s.finish == Finish::Enough).count(),
                converged: votes().filter(|stop| *stop == StopReason::Converged).count(),
                threshold: votes().filter(|stop| *stop == StopReason::Abandoned).count(),
                samples_not_taken: could_be_taken - samples().count(),
            },
            equivalences: (self.task.vote.equivalence == Equivalence::Model).then(|| Equivalences {
                judged: equivalences().count(),
                equal: equivalences().filter(|judgement| judgement.equal).count(),
            }),
            seconds,
            precision: (!judged.is_empty())
                .then(|| judged.iter().filter(|r| **r).count() as f64 / judged.len() as f64),
            findings,
        };
        dir.save("curation.json", &curation)?;
        Ok((curation, outcomes.into_iter().map(|outcome| outcome.verdict).collect()))
    }

    /// Samples what the journal does not hold yet.
    pub fn run(
        &self,
        dir: &RunDir,
        base: &mut EngineCache,
        options: &CurateOptions,
        cx: &mut Context,
    ) -> Result<Sampled> {
        let (progress, cancel) = (cx.progress, cx.cancel.clone());
        let (journal, samples) = Journal::<Sample>::open(dir.file(self.journal))?;
        let (mut selections, mut selected) = (None, None);
        if self.task.vote.select == Select::Universal {
            let (journal, earlier) = Journal::<SelectionRecord>::open(dir.file(self.selections))?;
            (selections, selected) = (Some(journal), Some(earlier));
        }
        let (mut equivalences, mut judged) = (None, None);
        if self.task.vote.equivalence == Equivalence::Model {
            let (journal, earlier) = Journal::<EquivalenceRecord>::open(dir.file(self.equivalences))?;
            (equivalences, judged) = (Some(journal), Some(earlier));
        }
        let look = RefCell::new(FirstLook::new(self.task, self.questions, self.seed));
        let earlier = samples
            .map(|item| item.inspect(|sample| look.borrow_mut().sample(sample)).map(JournalEntry::Sample))
            .chain(selected.into_iter().flatten().map(|item| item.map(JournalEntry::Selection)))
            .chain(judged.into_iter().flatten().map(|item| {
                item.inspect(|judgement| look.borrow_mut().equivalence(judgement))
                    .map(JournalEntry::Equivalence)
            }));
        let before: f64 = dir.saved(self.seconds)?.unwrap_or(0.0);
        let plan = CurationPlan {
            task: self.task,
            questions: self.questions,
            seed: self.seed,
            stop_at_answer: options.early_stopping.answer,
            verifier: self.verifier,
        };
        let mut observer = CurationObserver {
            journal,
            selections,
            equivalences,
            progress,
            stage: self.stage,
            total: self.questions.len(),
            decided: 0,
            kept: 0,
            tokens: 0,
            first: None,
            look: (self.stage == Stage::Curate).then_some(&look),
            dir,
            force: options.force,
        };
        let begin = Instant::now();
        let result =
            curate::curate(|| base.engine(cx, None, &options.engine), &plan, earlier, &mut observer, &cancel);
        observer.sync()?;
        let seconds = if observer.appended() == 0 {
            before
        } else {
            let seconds = before + begin.elapsed().as_secs_f64();
            dir.save(self.seconds, &seconds)?;
            seconds
        };
        Ok(Sampled { outcomes: result?, seconds, findings: look.borrow().found() })
    }
}

/// What a [`CurationJob`] has sampled.
pub(super) struct Sampled {
    pub outcomes: Vec<Outcome>,
    /// Seconds spent on them, over all invocations.
    pub seconds: f64,
    /// What the first questions show.
    pub findings: Vec<Finding>,
}

/// Writes samples to their journals and reports progress.
struct CurationObserver<'a> {
    journal: Journal<Sample>,
    /// Of a universal vote.
    selections: Option<Journal<SelectionRecord>>,
    /// Of a vote with judged answers.
    equivalences: Option<Journal<EquivalenceRecord>>,
    progress: &'a dyn Progress,
    stage: Stage,
    total: usize,
    decided: usize,
    kept: usize,
    /// Sampled by this invocation.
    tokens: usize,
    /// When its first sample finished, and how many questions were decided then.
    first: Option<(Instant, usize)>,
    /// Of curation, the look at the first questions.
    look: Option<&'a RefCell<FirstLook<'a>>>,
    dir: &'a RunDir,
    /// Whether to go on whatever the look shows.
    force: bool,
}

impl CurationObserver<'_> {
    /// Forces what was written to the disk: samples first, since selections refer to them.
    fn sync(&mut self) -> Result<()> {
        self.journal.sync()?;
        self.selections.as_mut().map_or(Ok(()), Journal::sync)?;
        self.equivalences.as_mut().map_or(Ok(()), Journal::sync)
    }

    fn appended(&self) -> usize {
        self.journal.appended()
            + self.selections.as_ref().map_or(0, Journal::appended)
            + self.equivalences.as_ref().map_or(0, Journal::appended)
    }

    /// Tells what the first questions show, when they have their verdicts.
    fn look_at(&self, verdict: &Verdict) -> Result<()> {
        let Some(look) = self.look else { return Ok(()) };
        let mut look = look.borrow_mut();
        let Some(found) = look.verdict(verdict)? else { return Ok(()) };
        self.dir.save("findings.json", &found)?;
        // A finding that stops the run is its error.
        let warns = |finding: &&Finding| self.force || !finding.stops;
        found.iter().filter(warns).for_each(|finding| self.progress.finding(self.stage, finding));
        if self.force { Ok(()) } else { refuse(found) }
    }

    fn report(&self) {
        let mut note = match self.stage {
            Stage::Evaluate => "System 2".to_string(),
            _ => format!("{} kept", self.kept),
        };
        note += &format!(", {} samples", self.journal.appended());
        let so_far =
            self.first.map(|(since, decided)| (since.elapsed().as_secs_f64(), self.decided - decided));
        if let Some((seconds, decided)) = so_far.filter(|(seconds, _)| *seconds > 1.0) {
            note += &format!(", {:.0} tokens/s", self.tokens as f64 / seconds);
            if decided > 0 {
                note += &format!(
                    ", {:.1} questions/min, {} left",
                    60.0 * decided as f64 / seconds,
                    duration(seconds / decided as f64 * (self.total - self.decided) as f64)
                );
            }
        }
        self.progress.update(&Update {
            stage: self.stage,
            done: self.decided as u64,
            total: self.total as u64,
            note,
        });
    }
}

/// Seconds in words: `40 s`, `12 min`, `3 h 5 min`.
fn duration(seconds: f64) -> String {
    match seconds.ceil() as u64 {
        s @ 0..90 => format!("{s} s"),
        s @ 90..5400 => format!("{} min", s.div_ceil(60)),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

impl Observer for CurationObserver<'_> {
    fn sample(&mut self, sample: &Sample) -> Result<()> {
        self.journal.append(sample)?;
        if let Some(look) = self.look {
            look.borrow_mut().sample(sample);
        }
        self.first.get_or_insert((Instant::now(), self.decided));
        self.tokens += sample.steps.iter().map(|s| s.generated_tokens).sum::<usize>();
        self.report();
        Ok(())
    }

    fn selection(&mut self, selection: &SelectionRecord) -> Result<()> {
        if let Some(selections) = &mut self.selections {
            selections.append(selection)?;
        }
        self.tokens += selection.generated_tokens;
        Ok(())
    }

    fn equivalence(&mut self, judgement: &EquivalenceRecord) -> Result<()> {
        if let Some(equivalences) = &mut self.equivalences {
            equivalences.append(judgement)?;
        }
        if let Some(look) = self.look {
            look.borrow_mut().equivalence(judgement);
        }
        self.tokens += judgement.generated_tokens;
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<()> {
        self.decided += 1;
        self.kept += usize::from(verdict.kept);
        self.sync()?;
        self.progress.verdict(self.stage, verdict);
        self.report();
        self.look_at(verdict)
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
