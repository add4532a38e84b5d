//! The commands that work on a run directory: the whole pipeline, its stages, and what they found.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use secondnature::EngineOptions;
use secondnature::distill::{CurateOptions, DataMix, Options, Run, Setup, distill, tune_and_distill};
use secondnature::evaluate::Acceptance;
use secondnature::options::OptionGroup;
use secondnature::programs::{Brief, load};
use secondnature::task::read_questions;
use secondnature::train::TrainOptions;
use secondnature::tune::{TuneOptions, TuneSetup};
use secondnature::{Naming, Silent};

use super::Environment;
use super::naming::FlagNaming;
use super::options::Flags;
use super::tune::WantedArgs;
use super::{output, progress};

/// Show the whole pipeline on a tiny embedded model, in about a minute.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  secondnature demo --out demo")]
pub struct DemoArgs {
    /// Directory for the model, the questions, the adapter and the report.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl DemoArgs {
    pub fn run(&self, context: &Environment) -> Result<()> {
        let progress = progress::new(context.quiet);
        let report = secondnature::demo::demo(&self.out, &mut context.work(&*progress))?;
        drop(progress);
        print_report(&report, self.json)
    }
}

/// What a run is about.
#[derive(Debug, Args)]
struct NewRunArgs {
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Questions to learn from, one a line, as JSON or plain text; no answers needed.
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
    /// The run directory; an interrupted run in it is resumed.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where all randomness comes from.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl NewRunArgs {
    fn setup(&self, task: &str) -> Result<Setup> {
        Ok(Setup {
            model: self.model.clone(),
            task: load(task, &Brief::default()).context("--task")?,
            questions: read_questions(&self.questions).context("--questions")?,
            out: self.out.clone(),
            seed: self.seed,
        })
    }
}

/// Sample, vote, train and measure: from questions to an adapter and a report.
///
/// Leaves DIR/adapter.gguf, which any llama.cpp loads beside the model, and DIR/report.json. Run
/// the same command again to resume after an interruption.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  secondnature distill --model base.gguf --task coin-flip \\
    --questions train.jsonl --eval eval.jsonl --out run")]
pub struct DistillArgs {
    #[command(flatten)]
    setup: NewRunArgs,
    /// A built-in task or a program of the library (see `secondnature tasks`), or a JSON file; with `--tune`
    /// a method or a task that takes part, any number of times.
    #[arg(long, value_name = "TASK", required_unless_present = "tune")]
    task: Vec<String>,
    /// Choose the program first, as `secondnature tune` does, in DIR/tune.
    #[arg(long)]
    tune: bool,
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    choosing: Flags<TuneOptions>,
    /// Held-out questions to measure on, with answers if there are any; without the file, nothing
    /// is measured.
    #[arg(long, value_name = "FILE")]
    eval: Option<PathBuf>,
    /// Go on where the first questions show that the task cannot work, and train where distilling does not
    /// look worthwhile.
    #[arg(long)]
    force: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: Flags<EngineOptions>,
    #[command(flatten)]
    voting: Flags<CurateOptions>,
    #[command(flatten)]
    acceptance: Flags<Acceptance>,
    #[command(flatten)]
    training: Flags<TrainOptions>,
    #[command(flatten)]
    data_mix: Flags<DataMix>,
}

impl DistillArgs {
    /// The options of the pipeline. One seed serves sampling and training.
    fn options(&self) -> Result<Options> {
        Ok(Options {
            curate: curate_options(&self.voting, &self.sampling)?,
            train: TrainOptions { seed: self.setup.seed, ..self.training.read()? },
            data: self.data_mix.read()?,
            acceptance: self.acceptance.read()?,
            force: self.force,
            ..Options::default()
        })
    }

    /// The name of an argument that has no effect without `--tune`.
    fn only_for_tune(&self) -> Option<&'static str> {
        let others = [
            EngineOptions::OPTIONS,
            CurateOptions::OPTIONS,
            Acceptance::OPTIONS,
            TrainOptions::OPTIONS,
            DataMix::OPTIONS,
        ];
        let serves_others = |name: &&str| others.iter().any(|group| group.iter().any(|o| o.name == *name));
        self.wanted.given().chain(self.choosing.given().filter(|name| !serves_others(name))).next()
    }

    pub fn run(&self, context: &Environment) -> Result<()> {
        let eval = self.eval.as_deref().map_or(Ok(Vec::new()), read_questions).context("--eval")?;
        let options = self.options()?;
        let progress = progress::new(context.quiet);
        if self.tune {
            let setup = TuneSetup {
                model: self.setup.model.clone(),
                questions: read_questions(&self.setup.questions).context("--questions")?,
                out: self.setup.out.clone(),
                seed: self.setup.seed,
                ..TuneSetup::default()
            };
            let setup = self.wanted.complete(setup, &self.task)?;
            let choosing = TuneOptions { engine: options.curate.engine, ..self.choosing.read()? };
            let found = tune_and_distill(&setup, &eval, &choosing, &options, &mut context.work(&*progress));
            drop(progress);
            let (_, report) = found?;
            return print_report(&report, self.json);
        }
        let [task] = self.task.as_slice() else {
            bail!("--task: several tasks are given; one is distilled, or --tune chooses among them");
        };
        if let Some(name) = self.only_for_tune() {
            bail!(
                "{}: says how --tune chooses, which is not given; give it, or leave this out",
                FlagNaming.field(name)
            );
        }
        let setup = self.setup.setup(task)?;
        let report = distill(&setup, &eval, &options, &mut context.work(&*progress))?;
        drop(progress);
        print_report(&report, self.json)
    }
}

/// Sample answers to the questions and let them vote: the first stage of `distill`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  secondnature curate --model base.gguf --task coin-flip --questions train.jsonl --out run")]
pub struct CurateArgs {
    #[command(flatten)]
    setup: NewRunArgs,
    /// A built-in task or a program of the library (see `secondnature tasks`), or a JSON file.
    #[arg(long, value_name = "TASK")]
    task: String,
    /// Print the figures of this stage as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: Flags<EngineOptions>,
    #[command(flatten)]
    voting: Flags<CurateOptions>,
}

impl CurateArgs {
    pub fn run(&self, context: &Environment) -> Result<()> {
        let mut run = Run::create(&self.setup.setup(&self.task)?, &mut context.work(&Silent))?;
        let options = curate_options(&self.voting, &self.sampling)?;
        let progress = progress::new(context.quiet);
        let curation = run.curate(&options, &mut context.work(&*progress))?;
        drop(progress);
        if self.json { output::print_json(&curation) } else { print_report(&run.write_report()?, false) }
    }
}

/// An existing run directory.
#[derive(Debug, Args)]
struct RunDirArgs {
    /// The run directory.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The model, where it is no longer where the run found it.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
}

impl RunDirArgs {
    fn open(&self, context: &Environment) -> Result<Run> {
        Ok(Run::open(&self.out, self.model.as_deref(), &mut context.work(&Silent))?)
    }
}

/// Train the adapter on the kept answers: the second stage of `distill`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  secondnature train --out run --epochs 3")]
pub struct TrainArgs {
    #[command(flatten)]
    run: RunDirArgs,
    /// Print the figures of this stage as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    training: Flags<TrainOptions>,
    #[command(flatten)]
    data_mix: Flags<DataMix>,
}

impl TrainArgs {
    pub fn run(&self, context: &Environment) -> Result<()> {
        let options = self.training.read()?;
        let mut run = self.run.open(context)?;
        let progress = progress::new(context.quiet);
        let training = run.train(&options, &self.data_mix.read()?, &mut context.work(&*progress))?;
        drop(progress);
        if self.json { output::print_json(&training) } else { print_report(&run.write_report()?, false) }
    }
}

/// Measure System 1, System 2 and the distilled model: the last stage of `distill`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  secondnature evaluate --out run --eval eval.jsonl")]
pub struct EvaluateArgs {
    #[command(flatten)]
    run: RunDirArgs,
    /// Held-out questions; with answers if there are any.
    #[arg(long, value_name = "FILE")]
    eval: PathBuf,
    /// Measure this adapter [default: the run's own].
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    /// Print the figures of this stage as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: Flags<EngineOptions>,
    #[command(flatten)]
    voting: Flags<CurateOptions>,
}

impl EvaluateArgs {
    pub fn run(&self, context: &Environment) -> Result<()> {
        let questions = read_questions(&self.eval).context("--eval")?;
        let mut run = self.run.open(context)?;
        let options = curate_options(&self.voting, &self.sampling)?;
        let progress = progress::new(context.quiet);
        let evaluation =
            run.evaluate(&questions, self.adapter.as_deref(), &options, &mut context.work(&*progress))?;
        drop(progress);
        if self.json {
            return output::print_json(&evaluation);
        }
        let report = run.write_report()?;
        let report = match self.adapter {
            None => report,
            // The run's own report does not speak of another adapter.
            Some(_) => secondnature::report::Report {
                evaluation: Some(evaluation),
                training: None,
                adapter: None,
                decision: None,
                ..report
            },
        };
        print_report(&report, false)
    }
}

/// Show what a run has found so far.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  secondnature report --out run")]
pub struct ReportArgs {
    #[command(flatten)]
    run: RunDirArgs,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl ReportArgs {
    pub fn run(&self) -> Result<()> {
        print_report(&Run::read_report(&self.run.out, self.run.model.as_deref())?, self.json)
    }
}

fn curate_options(voting: &Flags<CurateOptions>, sampling: &Flags<EngineOptions>) -> Result<CurateOptions> {
    Ok(CurateOptions { engine: sampling.read()?, ..voting.read()? })
}

fn print_report(report: &secondnature::report::Report, json: bool) -> Result<()> {
    if json { output::print_json(report) } else { output::print(&secondnature::report::table(report)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        distill: DistillArgs,
    }

    #[test]
    fn the_seed_and_the_threads_of_a_run_are_those_of_its_training() {
        let required = ["distill", "--model", "m", "--task", "t", "--questions", "q", "--out", "o"];
        let shared = ["--seed", "7", "--threads", "3"];
        let options = Program::parse_from([&required[..], &shared].concat()).distill.options().unwrap();
        assert_eq!((options.train.seed, options.train.threads), (7, Some(3)));
        assert_eq!(options.curate.engine.threads, Some(3));
    }
}
