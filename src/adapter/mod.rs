//! GGUF LoRA adapters, as stock llama.cpp loads them: written, read, and compared with llama.cpp.
//!
//! Format as llama.cpp's `convert_lora_to_gguf.py` writes it: for every adapted weight
//! `X.lora_a` with `ne = [n_in, r]` and `X.lora_b` with `ne = [r, n_out]`, and the keys
//! `general.type = adapter`, `adapter.type = lora`, `adapter.lora.alpha`. The run time scale is
//! α/r. Where it came from travels with it as `secondnature.*` strings, which llama.cpp hands out
//! through `llama_adapter_meta_val_str`.

pub mod peft;
mod summary;

use std::path::Path;

pub use summary::AdapterFacts;

use crate::engine::{Llama, LlamaOptions};
use crate::gguf::{Gguf, GgufWriter};
use crate::model::spec::{Module, Spec};
use crate::threads::Team;
use crate::train::batch::{Batch, Example};
use crate::train::lora::{Layout, LoraWeights};
use crate::train::model::{Tape, Transformer};
use crate::train::{AdapterDtype, TrainOptions};
use crate::{Error, Result};

/// The provenance key of the date that chat templates were given when the examples were made.
pub(crate) const TEMPLATE_DATE: &str = "template.date";

/// The provenance of the confidence from which direct answers are taken, which
/// [`crate::model::fallback_threshold`] reads back to the bit: near 1 every digit counts.
pub(crate) fn fallback_threshold(threshold: f64) -> (&'static str, String) {
    ("fallback.threshold", threshold.to_string())
}

/// Writes the adapter of a model `spec` and returns its size in bytes. `provenance` are keys below
/// `secondnature.`.
pub fn write(
    path: &Path,
    spec: &Spec,
    adapter: &LoraWeights,
    precision: AdapterDtype,
    provenance: &[(&str, String)],
) -> Result<u64> {
    let LoraWeights { layout, params } = adapter;
    let mut w = GgufWriter::new();
    w.str("general.type", "adapter");
    w.str("general.architecture", spec.arch.name);
    w.str("general.name", "secondnature adapter");
    w.str("adapter.type", "lora");
    w.f32("adapter.lora.alpha", layout.alpha);
    for (key, value) in provenance {
        w.str(&format!("secondnature.{key}"), value);
    }
    let mut tensor = |name: &str, dims: &[usize], data: &[f32]| match precision {
        AdapterDtype::F32 => w.tensor_f32(name, dims, data),
        AdapterDtype::F16 => w.tensor_f16(name, dims, data),
    };
    let rank = layout.rank;
    for (layer, module, a, bt) in layout.pairs() {
        let (n_in, n_out) = spec.shape(module);
        let name = format!("blk.{layer}.{}.weight", module.gguf_name());
        tensor(&format!("{name}.lora_a"), &[n_in, rank], &params[a]);
        tensor(&format!("{name}.lora_b"), &[rank, n_out], &transposed(&params[bt], n_out));
    }
    w.write(path)?;
    std::fs::metadata(path).map(|m| m.len()).map_err(Error::io("read", path))
}

/// Reads the adapter of a model `spec`.
///
/// # Errors
/// [`Error::Model`] where it is not a LoRA adapter, or one of another model.
pub fn read(path: &Path, spec: &Spec) -> Result<LoraWeights> {
    let gguf = Gguf::open(path)?;
    let bad = |why: String| Error::model(path, why);
    let alpha = crate::model::lora_alpha(&gguf, path)?;
    let arch = gguf.str("general.architecture").unwrap_or("");
    if arch != spec.arch.name {
        return Err(bad(format!("is an adapter for \"{arch}\", the model is \"{}\"", spec.arch.name)));
    }
    let pair_of = |tensor: &str| {
        let (layer, rest) = tensor.strip_prefix("blk.")?.split_once('.')?;
        let (module, ab) = rest.split_once(".weight.lora_")?;
        Some((layer.parse::<usize>().ok()?, Module::from_gguf_name(module)?, ab == "b"))
    };
    let (mut rank, mut modules) = (None, Vec::new());
    for tensor in gguf.tensors() {
        let Some((layer, module, is_b)) = pair_of(&tensor.name) else {
            return Err(bad(format!(
                "has a tensor \"{}\" that is not part of a pair of a linear layer",
                tensor.name
            )));
        };
        let r = tensor.dims.get(usize::from(!is_b)).copied().unwrap_or(0);
        let (n_in, n_out) = spec.shape(module);
        let wanted = if is_b { [r, n_out] } else { [n_in, r] };
        if layer >= spec.n_layer || tensor.dims != wanted || !tensor.ty.is_readable() {
            return Err(bad(format!("tensor \"{}\" {:?} does not fit the model", tensor.name, tensor.dims)));
        }
        if *rank.get_or_insert(r) != r {
            return Err(bad(format!("has pairs of rank {} and {r}; expected one rank", rank.unwrap_or(0))));
        }
        if !modules.contains(&module) {
            modules.push(module);
        }
    }
    let rank = rank.filter(|r| *r > 0).ok_or_else(|| bad("holds no pair".into()))?;
    let layout = Layout::new(spec, rank, alpha, &modules);
    let mut params = vec![0.0; layout.len()];
    for (layer, module, a, bt) in layout.pairs() {
        let name = format!("blk.{layer}.{}.weight", module.gguf_name());
        match (gguf.tensor(&format!("{name}.lora_a")), gguf.tensor(&format!("{name}.lora_b"))) {
            (Some(ta), Some(tb)) => {
                params[a].copy_from_slice(&gguf.read_f32(ta));
                params[bt].copy_from_slice(&transposed(&gguf.read_f32(tb), rank));
            }
            (None, None) => {} // A pair that was never written counts as zero.
            _ => return Err(bad(format!("has only half of the pair of \"{name}\""))),
        }
    }
    Ok(LoraWeights { layout, params })
}

/// `[rows, cols]` → `[cols, rows]`.
fn transposed(x: &[f32], cols: usize) -> Vec<f32> {
    let rows = x.len() / cols;
    (0..cols).flat_map(|c| (0..rows).map(move |r| x[r * cols + c])).collect()
}

/// How closely llama.cpp, with the adapter file loaded, reproduces the trainer's logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Parity {
    /// Largest difference of a logit.
    pub max_abs_diff: f64,
    /// Root mean square difference over the logits' standard deviation.
    pub relative_rms: f64,
    /// The same for the base model without an adapter: what llama.cpp's arithmetic alone costs.
    pub base_relative_rms: f64,
}

/// Differences that rounding explains. llama.cpp quantizes activations to 8 bits when weights are
/// quantized, which the trainer does not; that noise is measured on the base model, and the adapter
/// may add as much again. A transposed or mis-scaled pair is off by tens of percent.
const NOISE_FACTOR: f64 = 2.0;
const NOISE_FLOOR: f64 = 2e-3;
/// Beyond this the base model itself is computed differently, and nothing can be said of the adapter.
const BASE_LIMIT: f64 = 0.1;

/// Loads the adapter file through llama.cpp and compares its logits with the trainer's at the
/// answer positions of `examples`. `computing` says on how many threads, and how they wait.
///
/// # Errors
/// [`Error::Parity`] where they differ by more than rounding explains.
pub(crate) fn verify(
    model_path: &Path,
    path: &Path,
    model: &Transformer,
    adapter: &LoraWeights,
    examples: &[&Example],
    computing: &TrainOptions,
) -> Result<Parity> {
    let longest = examples.iter().map(|e| e.prompt.len() + e.target.len()).max().unwrap_or(0);
    let options = LlamaOptions {
        slots: 1,
        context: Some(longest.next_multiple_of(256) as u32),
        f32_kv: true,
        threads: computing.threads,
        wait: computing.wait,
        ..LlamaOptions::default()
    };
    let mut llama = Llama::load(model_path, &options)?;
    let team = Team::new(computing.threads, "verify", computing.wait)?;
    let LoraWeights { layout, params } = adapter;
    let base = compare(&team, &mut llama, model, layout, &vec![0.0; params.len()], examples)?;
    crate::engine::Decoder::set_adapter(&mut llama, Some(path))?;
    let with = compare(&team, &mut llama, model, layout, params, examples)?;
    let parity =
        Parity { max_abs_diff: with.max_abs, relative_rms: with.relative, base_relative_rms: base.relative };
    let allowed = NOISE_FACTOR * base.relative + NOISE_FLOOR;
    if !(base.relative <= BASE_LIMIT && with.relative <= allowed) {
        return Err(Error::Parity(format!(
            "llama.cpp's logits differ from the trainer's by {:.4} (relative rms) with the adapter and {:.4} without; at most {allowed:.4} is rounding; the adapter was not accepted",
            with.relative, base.relative
        )));
    }
    Ok(parity)
}

struct Difference {
    max_abs: f64,
    relative: f64,
}

fn compare(
    team: &Team,
    llama: &mut Llama,
    model: &Transformer,
    layout: &Layout,
    params: &[f32],
    examples: &[&Example],
) -> Result<Difference> {
    let v = model.spec.n_vocab;
    let (mut square, mut spread, mut max_abs) = (0.0f64, 0.0f64, 0.0f64);
    for example in examples {
        let batch = Batch::pack([*example], false);
        let ours = team.enter(|| model.logits(layout, params, &batch, &mut Tape::default()))?;
        let theirs = llama.logits_for(&batch.tokens)?;
        for (row, token) in batch.loss_tokens.iter().enumerate() {
            let (ours, theirs) = (&ours[row * v..(row + 1) * v], &theirs[*token]);
            if theirs.len() != v {
                return Err(Error::Parity(format!("llama.cpp has {} logits, the trainer {v}", theirs.len())));
            }
            let mean = ours.iter().map(|x| f64::from(*x)).sum::<f64>() / v as f64;
            for (a, b) in ours.iter().zip(theirs) {
                let diff = f64::from(a - b).abs();
                max_abs = max_abs.max(diff);
                square += diff * diff;
                spread += (f64::from(*a) - mean).powi(2);
            }
        }
    }
    Ok(Difference { max_abs, relative: (square / spread.max(1e-30)).sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fallback_threshold_is_read_back_to_the_bit() {
        let path = tempfile::tempdir().unwrap().keep().join("a.gguf");
        for threshold in [f64::from(0.999_96_f32), f64::from(3.1e-5_f32), 1.01] {
            let mut w = GgufWriter::new();
            let (key, value) = fallback_threshold(threshold);
            w.str(&format!("secondnature.{key}"), &value);
            w.write(&path).unwrap();
            let read = crate::model::fallback_threshold(&Gguf::open(&path).unwrap());
            assert_eq!(read, Some(threshold));
        }
    }
}
