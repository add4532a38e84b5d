//! The report of a run: what its finished stages wrote, put together.

use std::path::Path;

use super::{Run, existing_manifest};
use crate::Result;
use crate::gguf::Gguf;
use crate::report::{BaseModel, Report};
use crate::run::{Manifest, read_saved};

impl Run {
    /// Everything the finished stages found.
    pub fn report(&self) -> Result<Report> {
        report(self.path(), &self.manifest, Some(self.base.gguf()))
    }

    /// The same of the run directory `out`, which need not be opened: neither is it locked, so that it
    /// may be in use, nor is the model hashed. `model` is where the model is, if it has moved; without
    /// any model file the report still says which one it was.
    ///
    /// # Errors
    /// [`Error::Run`](crate::Error::Run) where `out` is not a run directory or a file in it is damaged.
    pub fn read_report(out: &Path, model: Option<&Path>) -> Result<Report> {
        let mut manifest = existing_manifest(out)?;
        let gguf = match model {
            Some(model) => {
                manifest.model = model.display().to_string();
                Some(Gguf::open(model)?)
            }
            None => Gguf::open(&manifest.model).ok(),
        };
        report(out, &manifest, gguf.as_ref())
    }

    /// Writes `report.json` and returns it.
    pub fn write_report(&self) -> Result<Report> {
        let report = self.report()?;
        self.dir.save("report.json", &report)?;
        Ok(report)
    }
}

fn report(out: &Path, manifest: &Manifest, gguf: Option<&Gguf>) -> Result<Report> {
    let model = match gguf {
        Some(gguf) => {
            let text = |key: &str| gguf.str(key).unwrap_or_default().to_string();
            BaseModel {
                path: gguf.path().display().to_string(),
                name: text("general.name"),
                sha256: manifest.model_sha256.clone(),
                architecture: text("general.architecture"),
                parameters: gguf.tensors().map(|t| t.elements() as u64).sum(),
            }
        }
        // As an earlier report describes it.
        None => read_saved::<Report>(out, "report.json")?.map_or_else(
            || BaseModel {
                path: manifest.model.clone(),
                sha256: manifest.model_sha256.clone(),
                ..BaseModel::default()
            },
            |earlier| earlier.model,
        ),
    };
    Ok(Report {
        model,
        task: manifest.task.clone(),
        curation: read_saved(out, "curation.json")?,
        training: read_saved(out, "training.json")?,
        evaluation: read_saved(out, "evaluation.json")?,
        adapter: read_saved(out, "adapter.json")?,
        decision: read_saved(out, "decision.json")?,
    })
}
