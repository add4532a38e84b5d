//! The command line: reads arguments, calls the library, prints what it returns.
//!
//! Nothing here decides anything. Results go to standard output and everything else to standard
//! error, so that output can be piped; a failure is one line, so that it can be read in a log.

mod answer;
mod arg_errors;
mod bench;
mod convert;
mod inspect;
mod log;
mod naming;
mod options;
mod output;
mod preview;
mod progress;
mod questions;
mod run;
mod signals;
mod tasks;
mod tune;

use std::cell::OnceCell;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use naming::FlagNaming;
use secondnature::Error;

/// Turns a model's slow, reasoned answers into fast, direct ones: samples, votes, and trains a LoRA
/// adapter on the quantized model itself, without labels.
#[derive(Debug, Parser)]
#[command(
    name = "secondnature",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Example:
  secondnature demo --out demo

From questions to an adapter, in one command or stage by stage:
  secondnature distill --model base.gguf --task coin-flip --questions train.jsonl --eval eval.jsonl --out run
  secondnature curate … && secondnature train --out run && secondnature evaluate --out run --eval eval.jsonl"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Print no progress.
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(run::DemoArgs),
    Tune(tune::TuneArgs),
    Distill(run::DistillArgs),
    Curate(run::CurateArgs),
    Train(run::TrainArgs),
    Evaluate(run::EvaluateArgs),
    Report(run::ReportArgs),
    Answer(answer::AnswerArgs),
    Tasks(tasks::TasksArgs),
    Questions(questions::QuestionsArgs),
    Preview(preview::PreviewArgs),
    Inspect(inspect::InspectArgs),
    Convert(convert::ConvertArgs),
    Bench(bench::BenchArgs),
}

/// What every subcommand is given.
struct Environment {
    quiet: bool,
    cancel: OnceCell<secondnature::Cancel>,
}

impl Environment {
    /// Ctrl-C. It ends a command at once that never asks for this.
    fn cancel(&self) -> &secondnature::Cancel {
        self.cancel.get_or_init(signals::cancel_on_interrupt)
    }

    /// What the library works with: its own engine, `progress`, and Ctrl-C.
    fn work<'a>(&self, progress: &'a dyn secondnature::Progress) -> secondnature::Context<'a> {
        secondnature::Context::new().progress(progress).cancel(self.cancel())
    }
}

/// Runs the program and says how it went, as an exit code: 0, 1 for a failure, 2 for arguments
/// that make no sense, 130 when stopped by Ctrl-C.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return arg_errors::print(&error),
    };
    log::to_stderr();
    let context = Environment { quiet: cli.quiet, cancel: OnceCell::new() };
    let resumes = cli.command.resumes();
    match cli.command.run(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if matches!(error.downcast_ref(), Some(Error::Cancelled)) => {
            output::print_error(if resumes {
                "stopped; everything finished so far is kept; run the same command again to resume"
            } else {
                "stopped"
            });
            ExitCode::from(130)
        }
        Err(error) => {
            output::print_error(&message(&error));
            ExitCode::FAILURE
        }
    }
}

/// What the program was about, then why it failed: an error of the library in the words of the command
/// line.
fn message(error: &anyhow::Error) -> String {
    let mut parts = Vec::new();
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<Error>() {
            // Its message has its causes in it.
            parts.push(error.message(&FlagNaming));
            break;
        }
        parts.push(cause.to_string());
    }
    parts.join(": ")
}

impl Command {
    fn run(&self, context: &Environment) -> Result<()> {
        match self {
            Command::Demo(args) => args.run(context),
            Command::Tune(args) => args.run(context),
            Command::Distill(args) => args.run(context),
            Command::Curate(args) => args.run(context),
            Command::Train(args) => args.run(context),
            Command::Evaluate(args) => args.run(context),
            Command::Report(args) => args.run(),
            Command::Answer(args) => args.run(context),
            Command::Tasks(args) => args.run(),
            Command::Questions(args) => args.run(),
            Command::Preview(args) => args.run(context),
            Command::Inspect(args) => args.run(),
            Command::Convert(args) => args.run(context),
            Command::Bench(args) => args.run(context),
        }
    }

    /// Whether the command works on a run directory and goes on where it was stopped.
    fn resumes(&self) -> bool {
        matches!(
            self,
            Command::Demo(_)
                | Command::Tune(_)
                | Command::Distill(_)
                | Command::Curate(_)
                | Command::Train(_)
                | Command::Evaluate(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_failure_names_flags_and_commands_and_what_was_being_done() {
        use anyhow::Context;
        use secondnature::{Hint, Stage};

        let field = Error::field("lora_plus", "0 is not above 0; 16 is usual");
        assert_eq!(message(&field.into()), "--lora-plus: 0 is not above 0; 16 is usual");
        let early = Error::run("run", "holds no verdicts yet").hint(Hint::RunStage(Stage::Curate));
        let early = Err::<(), _>(early).context("the report").unwrap_err();
        assert_eq!(message(&early), "the report: run: holds no verdicts yet; run `secondnature curate`");
    }

    #[test]
    fn every_subcommand_shows_an_example() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(|h| h.to_string()).unwrap_or_default();
            let example = help.strip_prefix("Example:\n  ").or(help.strip_prefix("Examples:\n  "));
            assert!(
                example.is_some_and(|e| e.starts_with("secondnature ")),
                "{}: {help:?}",
                command.get_name()
            );
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
