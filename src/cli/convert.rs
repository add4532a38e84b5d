//! `secondnature convert`: adapters to and from PEFT.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use secondnature::adapter::{self, peft};
use secondnature::gguf::Gguf;
use secondnature::model::spec::Spec;
use secondnature::train::AdapterDtype;

use super::{Environment, output};

/// Convert an adapter to a PEFT directory, or a PEFT directory to an adapter.
///
/// A file FROM is a GGUF adapter and becomes the directory TO; a directory FROM, with
/// adapter_config.json and adapter_model.safetensors in it, becomes the file TO.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  secondnature convert --model base.gguf run/adapter.gguf peft-adapter")]
pub struct ConvertArgs {
    /// The adapter's model, a GGUF file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// What the PEFT configuration is to call the base model [default: the model's own name].
    #[arg(long, value_name = "NAME")]
    base_name: Option<String>,
    /// The adapter as it is.
    from: PathBuf,
    /// Where to write the other one.
    to: PathBuf,
}

impl ConvertArgs {
    pub fn run(&self, context: &Environment) -> Result<()> {
        let model = Gguf::open(&self.model)?;
        let spec = Spec::of(&model)?;
        if self.to.is_dir() != self.from.is_file() && self.to.exists() {
            bail!("{}: exists and is not what would be written there", self.to.display());
        }
        let adapter = if self.from.is_dir() {
            let adapter = peft::import(&self.from, &model)?;
            adapter::write(&self.to, &spec, &adapter, AdapterDtype::F32, &[])?;
            adapter
        } else {
            let adapter = adapter::read(&self.from, &spec)?;
            let name = self.base_name.as_deref().or(model.str("general.name")).unwrap_or("");
            peft::export(&adapter, &model, name, &self.to)?;
            adapter
        };
        if !context.quiet {
            let (pairs, rank) = (adapter.layout.pairs().count(), adapter.layout.rank);
            output::eprint_line(&format!("{}: {pairs} pairs of rank {rank}", self.to.display()));
        }
        Ok(())
    }
}
