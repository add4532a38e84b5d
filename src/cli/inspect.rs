//! `secondnature inspect`: what a GGUF file says of itself.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use secondnature::model::{Inspection, inspect};

use super::output;

/// Show the facts of a model, or where an adapter comes from.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  secondnature inspect run/adapter.gguf")]
pub struct InspectArgs {
    /// A model or an adapter, a GGUF file.
    file: PathBuf,
    /// Print the facts as a JSON object.
    #[arg(long)]
    json: bool,
}

impl InspectArgs {
    pub fn run(&self) -> Result<()> {
        let inspection = inspect(&self.file)?;
        if self.json {
            return output::print_json(&inspection.to_json());
        }
        let Inspection { kind, facts } = inspection;
        let facts: Vec<(String, String)> = std::iter::once(("kind".to_string(), kind)).chain(facts).collect();
        let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let one_line = |text: &str| text.replace('\n', "\\n");
        let lines = facts.iter().map(|(name, value)| format!("{name:<width$}  {}\n", one_line(value)));
        output::print(&lines.collect::<String>())
    }
}
