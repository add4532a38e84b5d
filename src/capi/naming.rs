//! The names that messages of the library give to fields and calls in C.

use crate::Stage;
use crate::error::Naming;

/// Fields of params structs and arguments as the header has them.
pub(super) struct HeaderNaming;

/// What an argument or a field outside the options is called in the header, where that differs from
/// the library.
const RENAMED: [(&str, &str); 2] = [("out", "out_dir"), ("model", "model_path")];

/// What calls take as arguments, beside sn_distill() in its params.
const ARGUMENTS: [&str; 5] = ["model", "out", "task", "questions", "eval"];

impl Naming for HeaderNaming {
    fn field(&self, name: &str) -> String {
        let renamed = RENAMED.iter().find(|(library, _)| *library == name).map_or(name, |(_, header)| header);
        if ARGUMENTS.contains(&name) { renamed.into() } else { format!("params.{renamed}") }
    }

    fn stage(&self, stage: Stage) -> String {
        match stage {
            Stage::Load => "sn_run_open()",
            Stage::Preview => "sn_preview_new()",
            Stage::Tune => "sn_tune()",
            Stage::Curate => "sn_run_curate()",
            Stage::Train | Stage::Export => "sn_run_train()",
            Stage::Evaluate => "sn_run_evaluate()",
        }
        .into()
    }

    fn start(&self) -> String {
        "sn_distill() or sn_run_create()".into()
    }
}
