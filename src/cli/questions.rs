//! `secondnature questions`: synthetic question sets.

use anyhow::Result;
use clap::Args;
use secondnature::datasets::{Split, generate, kinds};

use super::output;

/// Generate questions with their right answers, as JSON lines on standard output, or list the kinds
/// there are.
///
/// The training and the test split share no person, place, object or word, and where a kind is about
/// none of these, no question. The answers are for measuring; curation and training never see them.
#[derive(Debug, Args)]
#[command(after_help = format!("Example:
  secondnature questions coin-flip --n 400 --seed 1 --split train > train.jsonl

Kinds:
{}", listing("  ")))]
pub struct QuestionsArgs {
    /// What to ask about, one of the kinds below; without it, the kinds are listed.
    kind: Option<String>,
    /// How many questions.
    #[arg(long, value_name = "N", default_value_t = 100, requires = "kind")]
    n: usize,
    /// Chooses among the questions of a split.
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "kind")]
    seed: u64,
    /// Which part of the people, places, objects and words to ask about: train or test.
    #[arg(long, value_name = "SPLIT", default_value = "train", requires = "kind")]
    split: Split,
}

impl QuestionsArgs {
    pub fn run(&self) -> Result<()> {
        let Some(kind) = &self.kind else {
            return output::print(&listing(""));
        };
        let questions = generate(kind, self.n, self.seed, self.split)?;
        output::print(&questions.iter().map(|question| question.to_json_line() + "\n").collect::<String>())
    }
}

/// The kinds, one a line.
fn listing(indent: &str) -> String {
    let width = kinds().iter().map(|kind| kind.name.len()).max().unwrap_or(0);
    kinds().iter().map(|kind| format!("{indent}{:<width$}  {}\n", kind.name, kind.description)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Cli;

    #[test]
    fn the_help_names_every_kind() {
        let command = <super::QuestionsArgs as clap::Args>::augment_args(clap::Command::new("questions"));
        let help = command.get_after_help().map(|help| help.to_string()).unwrap_or_default();
        for kind in secondnature::datasets::kinds() {
            assert!(help.contains(kind.name), "{} is missing in {help:?}", kind.name);
        }
    }

    #[test]
    fn without_a_kind_there_is_nothing_to_count_or_to_choose_from() {
        assert!(Cli::try_parse_from(["secondnature", "questions"]).is_ok());
        assert!(Cli::try_parse_from(["secondnature", "questions", "navigate", "--n", "3"]).is_ok());
        let refused = Cli::try_parse_from(["secondnature", "questions", "--n", "3"]).unwrap_err().to_string();
        assert!(refused.contains("<KIND>"), "{refused}");
    }

    #[test]
    fn a_kind_fits_on_a_line_of_a_terminal() {
        for line in super::listing("  ").lines() {
            assert!(line.len() <= 100, "{line}");
        }
    }
}
