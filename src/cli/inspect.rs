//! `secondnature inspect`: what a GGUF file says of itself.

use std::path::PathBuf;

use clap::Args;
use secondnature::Result;

use super::output;

/// Show the facts of a model, or where an adapter comes from.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  secondnature inspect run/adapter.gguf")]
pub struct Inspect {
    /// A model or an adapter, a GGUF file.
    file: PathBuf,
    /// Print the facts as a JSON object.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub fn run(&self) -> Result<()> {
        let facts = secondnature::inspect(&self.file)?;
        if self.json {
            let object: serde_json::Map<_, _> =
                facts.into_iter().map(|(key, value)| (key, value.into())).collect();
            return output::print_json(&object);
        }
        let width = facts.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
        let one_line = |text: &str| text.replace('\n', "\\n");
        let lines = facts.iter().map(|(key, value)| format!("{key:<width$}  {}\n", one_line(value)));
        output::print(&lines.collect::<String>())
    }
}
