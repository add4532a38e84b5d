//! `secondnature questions`: synthetic question sets.

use clap::Args;
use secondnature::Result;
use secondnature::task::{Split, generate};

use super::output;

/// Generate questions with their right answers, as JSON lines on standard output.
///
/// The training and the test split share no person, country or city. The answers are for measuring;
/// curation and training never see them.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  secondnature questions coin-flip --n 400 --seed 1 --split train > train.jsonl

Kinds: coin-flip, biased-capitals")]
pub struct Questions {
    /// What to ask about.
    kind: String,
    /// How many questions.
    #[arg(long, value_name = "N", default_value_t = 100)]
    n: usize,
    /// Chooses among the questions of a split.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Which part of the people, countries and cities to ask about: train or test.
    #[arg(long, value_name = "SPLIT", default_value = "train")]
    split: Split,
}

impl Questions {
    pub fn run(&self) -> Result<()> {
        let questions = generate(&self.kind, self.n, self.seed, self.split)?;
        output::print(&questions.iter().map(|question| question.to_json_line() + "\n").collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_help_names_every_kind() {
        let command = <super::Questions as clap::Args>::augment_args(clap::Command::new("questions"));
        let help = command.get_after_help().map(|help| help.to_string()).unwrap_or_default();
        for kind in secondnature::task::kinds() {
            assert!(help.contains(kind.name), "{} is missing in {help:?}", kind.name);
        }
    }
}
