//! A run whose program was chosen by a race in its folder `tune/`.

use std::io::{BufRead, BufReader};
use std::path::Path;

use super::{Options, Run, Setup, distill, refuse_shared_questions};
use crate::context::Context;
use crate::report::Report;
use crate::run::{Manifest, read_manifest};
use crate::task::{Question, Task};
use crate::tune::{
    TuneOptions, TuneReport, TuneSetup, has_same_samples, identity_of_questions, read_report, tune,
};
use crate::{Error, Hint, Result};

/// The folder of the race in the run directory.
const FOLDER: &str = "tune";

/// Chooses a program for the questions of `setup`, with the race in the folder `tune/` of `setup.out`, and
/// distills it there; the winner's samples are not taken again. `eval` are held-out questions, as for
/// [`distill`].
///
/// # Errors
/// Those of [`tune`] and [`distill`]; [`Error::Refused`] where no program looks worth distilling and
/// `options.force` is not set. Whatever finished is kept, and repeating the call resumes.
pub fn tune_and_distill(
    setup: &TuneSetup,
    eval: &[Question],
    choosing: &TuneOptions,
    options: &Options,
    cx: &mut Context,
) -> Result<(TuneReport, Report)> {
    refuse_shared_questions(&setup.questions, eval)?;
    refuse_shared_questions(&setup.gold, eval)?;
    let out = setup.out.join(FOLDER);
    let found = tune(&TuneSetup { out: out.clone(), ..setup.clone() }, choosing, cx)?;
    if !found.worthwhile && !options.force {
        return Err(Error::refused(found.reasons.join(" ")).hint(Hint::Force));
    }
    let chosen = Setup {
        model: setup.model.clone(),
        task: Task::load(&out.join("task.json").display().to_string())?,
        questions: setup.questions.clone(),
        out: setup.out.clone(),
        seed: setup.seed,
    };
    let report = distill(&chosen, eval, options, cx)?;
    Ok((found, report))
}

/// The manifest of the race in the run directory `out`, if there was one.
fn race_of(out: &Path) -> Option<Manifest> {
    let folder = out.join(FOLDER);
    folder.join("tune.json").exists().then(|| read_manifest(&folder).ok()).flatten()
}

/// The date on which the race in the run directory `out` began: the run's prompts are the same if it has
/// this date.
pub(super) fn date_of_race(out: &Path) -> Option<String> {
    race_of(out)?.date
}

impl Run {
    /// Takes over the samples of the race's winner, if nothing was sampled yet and they are what curation
    /// would sample: of the same model, program, questions, seed and date, and unchecked.
    pub(super) fn adopt_samples(&mut self) -> Result<()> {
        let is_new = std::fs::metadata(self.dir.file("samples.jsonl")).is_ok_and(|file| file.len() > 0);
        let Some(race) = race_of(self.path()).filter(|_| !is_new && self.verifier.is_none()) else {
            return Ok(());
        };
        let is_of_this_run = race.model_sha256 == self.manifest.model_sha256
            && race.seed == self.manifest.seed
            && race.date == self.manifest.date
            && race.questions_sha256 == identity_of_questions(&self.questions);
        let folder = self.dir.file(FOLDER);
        let Some(winner) = read_report(&folder)?.winner.filter(|_| is_of_this_run) else { return Ok(()) };
        let folder = folder.join("candidates").join(winner);
        let task = Task::load(&folder.join("task.json").display().to_string())?;
        if !has_same_samples(&task, &self.task) {
            return Ok(());
        }
        let ids: std::collections::HashSet<&str> = self.questions.iter().map(|q| q.id.as_str()).collect();
        let path = folder.join("samples.jsonl");
        let file = std::fs::File::open(&path).map_err(Error::io("open", &path))?;
        let mut samples = Vec::new();
        for line in BufReader::new(file).lines() {
            let line = line.map_err(Error::io("read", &path))?;
            // A torn last line is not one.
            if serde_json::from_str::<SampledQuestion>(&line)
                .is_ok_and(|asked| ids.contains(asked.question.as_str()))
            {
                samples.extend(line.bytes().chain([b'\n']));
            }
        }
        self.dir.write("samples.jsonl", &samples)
    }
}

/// The question of a line of a journal.
#[derive(serde::Deserialize)]
struct SampledQuestion {
    question: String,
}
