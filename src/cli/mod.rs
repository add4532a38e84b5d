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
mod progress;
mod questions;
mod run;
mod signals;
mod tasks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use naming::FlagNaming;
use secondnature::{Error, Result};

/// Turns a model's slow, reasoned answers into fast, direct ones: samples, votes, and trains a LoRA
/// adapter on the quantized model itself, without labels.
#[derive(Debug, Parser)]
#[command(
    name = "secondnature",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Example:\n  secondnature demo --out demo"
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
    Demo(run::Demo),
    Distill(run::Distill),
    Curate(run::Curate),
    Train(run::Train),
    Evaluate(run::Evaluate),
    Report(run::Report),
    Answer(answer::Answer),
    Tasks(tasks::Tasks),
    Questions(questions::Questions),
    Inspect(inspect::Inspect),
    Convert(convert::Convert),
    Bench(bench::Bench),
}

/// What every subcommand is given.
struct Context {
    quiet: bool,
    cancel: secondnature::Cancel,
}

impl Context {
    /// What the library works with: its own engine, `progress`, and Ctrl-C.
    fn work<'a>(&self, progress: &'a dyn secondnature::Progress) -> secondnature::Context<'a> {
        secondnature::Context::new().progress(progress).cancel(&self.cancel)
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
    let context = Context { quiet: cli.quiet, cancel: signals::cancel_on_interrupt() };
    let resumes = cli.command.resumes();
    match cli.command.run(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Cancelled) => {
            output::print_error(if resumes {
                "stopped; everything finished so far is kept; run the same command again to resume"
            } else {
                "stopped"
            });
            ExitCode::from(130)
        }
        Err(error) => {
            output::print_error(&error.message(&FlagNaming));
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn run(&self, context: &Context) -> Result<()> {
        match self {
            Command::Demo(args) => args.run(context),
            Command::Distill(args) => args.run(context),
            Command::Curate(args) => args.run(context),
            Command::Train(args) => args.run(context),
            Command::Evaluate(args) => args.run(context),
            Command::Report(args) => args.run(),
            Command::Answer(args) => args.run(context),
            Command::Tasks(args) => args.run(),
            Command::Questions(args) => args.run(),
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
    fn every_subcommand_shows_an_example() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(|h| h.to_string()).unwrap_or_default();
            assert!(help.starts_with("Example:\n  secondnature "), "{}: {help:?}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
