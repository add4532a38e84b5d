//! Adapter files: reading and checking one without its model.

use std::path::{Path, PathBuf};

use super::inspect::{self, Inspection};
use crate::gguf::Gguf;
use crate::{Error, Result};

/// The facts of a LoRA adapter file.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterFile {
    /// The path of the file.
    pub path: PathBuf,
    /// The rank r; the largest if ranks differ.
    pub rank: usize,
    /// The scale α: the adapter's product is multiplied by α/r.
    pub alpha: f32,
    /// The name of the task that it was trained on; empty if another program trained it.
    pub task: String,
    /// Everything else.
    pub inspection: Inspection,
}

impl AdapterFile {
    /// Reads the metadata of `path`, and checks that its tensors are low-rank pairs. Whether they fit a
    /// model is checked when the adapter is applied to it.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Model`] if it is not a well-formed GGUF file or
    /// not a LoRA adapter.
    pub fn open(path: impl AsRef<Path>) -> Result<AdapterFile> {
        let path = path.as_ref();
        let gguf = Gguf::open(path)?;
        let alpha = lora_alpha(&gguf, path)?;
        Ok(AdapterFile {
            path: path.to_path_buf(),
            rank: rank(&gguf).map_err(|why| Error::model(path, why))?,
            alpha,
            task: gguf.str("secondnature.task").unwrap_or_default().to_string(),
            inspection: inspect::of(&gguf),
        })
    }
}

/// The scale α of a LoRA adapter.
pub(crate) fn lora_alpha(gguf: &Gguf, path: &Path) -> Result<f32> {
    let bad = |why: &str| Error::model(path, why);
    if (gguf.str("general.type"), gguf.str("adapter.type")) != (Some("adapter"), Some("lora")) {
        return Err(bad("is not a LoRA adapter; expected general.type \"adapter\""));
    }
    let alpha = gguf.float("adapter.lora.alpha").filter(|a| a.is_finite() && *a > 0.0);
    alpha.map(|a| a as f32).ok_or_else(|| bad("states no positive adapter.lora.alpha"))
}

fn rank(gguf: &Gguf) -> std::result::Result<usize, String> {
    let mut largest = 0;
    for a in gguf.tensors().filter(|tensor| !tensor.name.ends_with(".lora_b")) {
        let Some(name) = a.name.strip_suffix(".lora_a") else {
            return Err(format!("has a tensor \"{}\" that is not half of a low-rank pair", a.name));
        };
        let Some(b) = gguf.tensor(&format!("{name}.lora_b")) else {
            return Err(format!("has only half of the pair of \"{name}\""));
        };
        match (a.dims.get(1), b.dims.first()) {
            (Some(rank), Some(same)) if rank == same => largest = largest.max(*rank),
            _ => return Err(format!("has a pair of \"{name}\" whose halves differ in rank")),
        }
    }
    if largest == 0 { Err("holds no pair".into()) } else { Ok(largest) }
}

/// The confidence from which on this adapter's direct answers are used, as calibrated after training;
/// `None` if the adapter has none.
pub fn fallback_threshold(adapter: &Gguf) -> Option<f64> {
    adapter.str("secondnature.fallback.threshold")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::GgufWriter;

    fn open(tensors: &[(&str, [usize; 2])], kind: &str) -> Result<AdapterFile> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gguf");
        let mut w = GgufWriter::new();
        w.str("general.type", kind);
        w.str("adapter.type", "lora");
        w.f32("adapter.lora.alpha", 8.0);
        w.str("secondnature.task", "t");
        for (name, dims) in tensors {
            w.tensor_f32(name, dims, &vec![0.0; dims[0] * dims[1]]);
        }
        w.write(&path).unwrap();
        AdapterFile::open(&path)
    }

    #[test]
    fn an_adapter_tells_its_rank_scale_and_task() {
        let adapter = open(&[("x.lora_a", [32, 4]), ("x.lora_b", [4, 32])], "adapter").unwrap();
        assert_eq!((adapter.rank, adapter.alpha, adapter.task.as_str()), (4, 8.0, "t"));
        assert_eq!(adapter.inspection.to_json()["kind"], "adapter");
    }

    #[test]
    fn other_files_than_lora_adapters_are_refused() {
        let pair = [("x.lora_a", [32, 4]), ("x.lora_b", [4, 32])];
        for (tensors, kind, why) in [
            (&pair[..], "model", "is not a LoRA adapter"),
            (&pair[..1], "adapter", "only half"),
            (&pair[1..], "adapter", "holds no pair"),
            (&[("x.lora_a", [32, 4]), ("x.lora_b", [3, 32])], "adapter", "differ in rank"),
            (&[("x.weight", [32, 4])], "adapter", "not half of"),
        ] {
            let message = open(tensors, kind).unwrap_err().to_string();
            assert!(message.contains(why), "{message}");
        }
    }
}
