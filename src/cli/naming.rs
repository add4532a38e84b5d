//! The names that messages of the library give to options and commands on the command line.

use secondnature::{Naming, Stage};

/// Fields as flags, stages as commands.
pub struct FlagNaming;

impl Naming for FlagNaming {
    fn field(&self, name: &str) -> String {
        format!("--{}", name.replace('_', "-"))
    }

    fn stage(&self, stage: Stage) -> String {
        match stage {
            Stage::Preview => "`secondnature preview`",
            Stage::Tune => "`secondnature tune`",
            Stage::Load | Stage::Curate => "`secondnature curate`",
            Stage::Train | Stage::Export => "`secondnature train`",
            Stage::Evaluate => "`secondnature evaluate`",
        }
        .into()
    }

    fn start(&self) -> String {
        "`secondnature distill` or `secondnature curate`".into()
    }
}
