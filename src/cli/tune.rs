//! `secondnature tune`: which program to sample.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use secondnature::EngineOptions;
use secondnature::programs::parse_answer_kind;
use secondnature::task::read_questions;
use secondnature::tune::{TuneOptions, TuneSetup, terminal, tune};

use super::options::Flags;
use super::{Environment, output, progress};

/// Choose the System 2 program for your questions, without labels.
///
/// Candidates race on some of the questions: your own tasks, programs of the library, wordings of the
/// direct prompt. Leaves DIR/task.json, ready for `distill` and `curate`, and DIR/tune.json with the
/// figures of all candidates. Run the same command again to resume after an interruption.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  secondnature tune --model base.gguf --questions train.jsonl --task s2a --task mine.json \\
    --description \"In which country is a city?\" --out tuned")]
pub struct TuneArgs {
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// The questions to choose a program for, one a line, as JSON or plain text; answers in it are ignored.
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
    /// The directory; an interrupted race in it is resumed.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    wanted: WantedArgs,
    /// A method of the library (plain, cot, rar-1, rar-2, s2a, bsm, thinking), one of its programs or a task
    /// that takes part; may be repeated [default: all methods, thinking where the model can].
    #[arg(long, value_name = "TASK")]
    task: Vec<String>,
    /// Where all randomness comes from.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    choosing: Flags<TuneOptions>,
    #[command(flatten)]
    sampling: Flags<EngineOptions>,
}

/// What is known of the questions.
#[derive(Debug, Args)]
pub struct WantedArgs {
    /// What the questions are about, in one line.
    #[arg(long, value_name = "TEXT", help_heading = "Choosing")]
    description: Option<String>,
    /// How answers are read where no task file says it: number, text, date, choice:yes,no or a rule in JSON
    /// [default: found out].
    #[arg(long, value_name = "KIND", help_heading = "Choosing")]
    answer: Option<String>,
    /// Questions with answers that help to choose; 20 or more, none of them among the others.
    #[arg(long, value_name = "FILE", help_heading = "Choosing")]
    gold: Option<PathBuf>,
}

impl WantedArgs {
    /// The names of the arguments that were given.
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("description", self.description.is_some()),
            ("answer", self.answer.is_some()),
            ("gold", self.gold.is_some()),
        ];
        given.into_iter().filter_map(|(name, is_given)| is_given.then_some(name))
    }

    /// `setup` with what these arguments say.
    pub fn complete(&self, mut setup: TuneSetup, tasks: &[String]) -> Result<TuneSetup> {
        setup.description = self.description.clone();
        setup.answer = self.answer.as_deref().map(parse_answer_kind).transpose()?;
        setup.gold = self.gold.as_deref().map_or(Ok(Vec::new()), read_questions).context("--gold")?;
        for task in tasks {
            setup.add(task).context("--task")?;
        }
        Ok(setup)
    }
}

impl TuneArgs {
    pub fn run(&self, context: &Environment) -> Result<()> {
        let setup = TuneSetup {
            model: self.model.clone(),
            questions: read_questions(&self.questions).context("--questions")?,
            out: self.out.clone(),
            seed: self.seed,
            ..TuneSetup::default()
        };
        let setup = self.wanted.complete(setup, &self.task)?;
        let options = TuneOptions { engine: self.sampling.read()?, ..self.choosing.read()? };
        let progress = progress::new(context.quiet);
        let report = tune(&setup, &options, &mut context.work(&*progress))?;
        drop(progress);
        if self.json {
            return output::print_json(&report);
        }
        let task = match report.winner {
            Some(_) if report.worthwhile => {
                format!("The task is {}.\n", self.out.join("task.json").display())
            }
            Some(_) => format!("What comes closest is {}.\n", self.out.join("task.json").display()),
            None => String::new(),
        };
        output::print(&(terminal(&report, output::width()) + &task))
    }
}
