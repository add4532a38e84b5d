//! Adapters to and from PEFT's directory format: `adapter_config.json` and
//! `adapter_model.safetensors`, as Hugging Face PEFT's `save_pretrained` writes them.
//!
//! Names and one permutation differ. Where RoPE pairs adjacent dimensions, GGUF files hold the rows
//! of Q and K in another order than Hugging Face: per head, row i·2 + j here is row j·(e/2) + i
//! there (`permute` in llama.cpp's `conversion` of Llama models). B has those rows; A has none.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::fs::write_atomically;
use crate::gguf::Gguf;
use crate::model::arch::RopePairs;
use crate::model::spec::{Module, Spec};
use crate::train::lora::{Layout, LoraWeights};
use crate::{Error, Result};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// The keys of `adapter_config.json` that matter here.
#[derive(Debug, Serialize, Deserialize)]
struct Config {
    peft_type: String,
    task_type: Option<String>,
    base_model_name_or_path: Option<String>,
    r: usize,
    lora_alpha: f32,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    lora_dropout: f32,
    #[serde(default)]
    bias: String,
    #[serde(default)]
    target_modules: serde_json::Value,
    #[serde(default)]
    rank_pattern: HashMap<String, usize>,
    #[serde(default)]
    alpha_pattern: HashMap<String, f32>,
    inference_mode: Option<bool>,
}

/// Hugging Face's name of a module, below `model.layers.N.`.
fn hf_name(module: Module, fused: bool) -> &'static str {
    match module {
        Module::Q => "self_attn.q_proj",
        Module::K => "self_attn.k_proj",
        Module::V => "self_attn.v_proj",
        Module::Qkv => "self_attn.qkv_proj",
        Module::O => "self_attn.o_proj",
        Module::Gate => "mlp.gate_proj",
        Module::Up if fused => "mlp.gate_up_proj",
        Module::Up => "mlp.up_proj",
        Module::Down => "mlp.down_proj",
    }
}

/// For each row of `module` here, the row that it is there.
fn rows_there(spec: &Spec, module: Module) -> Vec<usize> {
    let n_out = spec.shape(module).1;
    let permuted = spec.arch.rope_pairs == RopePairs::Adjacent && matches!(module, Module::Q | Module::K);
    let (e, half) = (spec.head_dim, spec.head_dim / 2);
    (0..n_out).map(|row| if permuted { row / e * e + row % 2 * half + row % e / 2 } else { row }).collect()
}

/// Writes the adapter of `model` as a PEFT directory. `name` is what its configuration calls the base
/// model.
pub fn export(adapter: &LoraWeights, model: &Gguf, name: &str, dir: &Path) -> Result<()> {
    let spec = Spec::of(model)?;
    std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    let LoraWeights { layout, params } = adapter;
    let (r, fused) = (layout.rank, spec.arch.fused);
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut targets: Vec<&str> = Vec::new();
    for (layer, module, a, bt) in layout.pairs() {
        let (n_in, n_out) = spec.shape(module);
        let name = hf_name(module, fused);
        let short = name.rsplit('.').next().unwrap_or(name);
        if !targets.contains(&short) {
            targets.push(short);
        }
        let mut b = vec![0.0f32; n_out * r];
        for (here, there) in rows_there(&spec, module).into_iter().enumerate() {
            for i in 0..r {
                b[there * r + i] = params[bt.start + i * n_out + here];
            }
        }
        let bytes = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let prefix = format!("base_model.model.model.layers.{layer}.{name}");
        tensors.push((format!("{prefix}.lora_A.weight"), vec![r, n_in], bytes(&params[a])));
        tensors.push((format!("{prefix}.lora_B.weight"), vec![n_out, r], bytes(&b)));
    }
    let broken = |why: safetensors::SafeTensorError| Error::Internal(why.to_string());
    let views = tensors
        .iter()
        .map(|(name, shape, data)| {
            Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data).map_err(broken)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let weights = safetensors::serialize(views, Some(metadata)).map_err(broken)?;
    let config = Config {
        peft_type: "LORA".into(),
        task_type: Some("CAUSAL_LM".into()),
        base_model_name_or_path: Some(name.into()),
        r,
        lora_alpha: layout.alpha,
        use_rslora: false,
        use_dora: false,
        lora_dropout: 0.0,
        bias: "none".into(),
        target_modules: targets.into(),
        rank_pattern: HashMap::new(),
        alpha_pattern: HashMap::new(),
        inference_mode: Some(true),
    };
    let config = serde_json::to_vec_pretty(&config).map_err(|e| Error::Internal(e.to_string()))?;
    for (file, bytes) in [(WEIGHTS, &weights), (CONFIG, &config)] {
        let path = dir.join(file);
        write_atomically(&path, |f| f.write_all(bytes)).map_err(Error::io("write", &path))?;
    }
    Ok(())
}

/// Reads a PEFT directory as an adapter of `model`. rsLoRA's scale is folded into α.
///
/// # Errors
/// [`Error::Model`] for what a GGUF adapter cannot hold: other methods than LoRA, adapted
/// embeddings, ranks that differ, tensors that do not fit `model`.
pub fn import(dir: &Path, model: &Gguf) -> Result<LoraWeights> {
    let spec = Spec::of(model)?;
    let config_path = dir.join(CONFIG);
    let text = std::fs::read_to_string(&config_path).map_err(Error::io("read", &config_path))?;
    let config: Config = serde_json::from_str(&text)
        .map_err(|e| Error::model(&config_path, format!("is not a PEFT configuration: {e}")))?;
    if config.peft_type != "LORA" || config.use_dora {
        return Err(Error::model(&config_path, "is not plain LoRA; other methods are not supported"));
    }
    if !config.rank_pattern.is_empty() || !config.alpha_pattern.is_empty() {
        return Err(Error::model(
            &config_path,
            "gives modules ranks of their own; expected one rank and alpha",
        ));
    }
    let path = dir.join(WEIGHTS);
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let bad = |why: String| Error::model(&path, why);
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| bad(format!("is damaged: {e}")))?;
    let r = config.r;
    let by_name: HashMap<&str, Module> =
        spec.modules().iter().map(|m| (hf_name(*m, spec.arch.fused), *m)).collect();
    let place = |name: &str| {
        let (_, rest) = name.split_once("layers.")?;
        let (layer, rest) = rest.split_once('.')?;
        let (module, ab) = rest.strip_suffix(".weight")?.rsplit_once(".lora_")?;
        let layer = layer.parse::<usize>().ok().filter(|l| *l < spec.n_layer)?;
        Some((layer, *by_name.get(module)?, ab == "B"))
    };
    let mut found: HashMap<(usize, Module, bool), Vec<f32>> = HashMap::new();
    let mut all: Vec<_> = tensors.iter().collect();
    all.sort_by_key(|(name, _)| *name); // So that of several faults it is always the same that is named.
    for (name, tensor) in all {
        let Some((layer, module, is_b)) = place(name) else {
            return Err(bad(format!("tensor \"{name}\" is no LoRA pair of a linear layer of this model")));
        };
        let (n_in, n_out) = spec.shape(module);
        let wanted = if is_b { [n_out, r] } else { [r, n_in] };
        if r == 0 || tensor.shape() != wanted {
            return Err(bad(format!("tensor \"{name}\" is {:?}, expected {wanted:?}", tensor.shape())));
        }
        let Some(values) = floats(&tensor) else {
            return Err(bad(format!("tensor \"{name}\" has type {:?}; expected floats", tensor.dtype())));
        };
        found.insert((layer, module, is_b), values);
    }
    let modules: Vec<Module> =
        spec.modules().iter().copied().filter(|m| found.keys().any(|(_, f, _)| f == m)).collect();
    let alpha = if config.use_rslora { config.lora_alpha * (r as f32).sqrt() } else { config.lora_alpha };
    if modules.is_empty() || !(alpha.is_finite() && alpha > 0.0) {
        return Err(bad("holds no pair with a positive alpha".into()));
    }
    let layout = Layout::new(&spec, r, alpha, &modules);
    let mut params = vec![0.0; layout.len()];
    for (layer, module, a, bt) in layout.pairs() {
        let n_out = spec.shape(module).1;
        match (found.get(&(layer, module, false)), found.get(&(layer, module, true))) {
            (Some(ta), Some(tb)) => {
                params[a].copy_from_slice(ta);
                for (here, there) in rows_there(&spec, module).into_iter().enumerate() {
                    for i in 0..r {
                        params[bt.start + i * n_out + here] = tb[there * r + i];
                    }
                }
            }
            (None, None) => {} // A pair of zeros is no pair.
            _ => {
                return Err(bad(format!(
                    "layer {layer} has only half of the pair of {}",
                    module.gguf_name()
                )));
            }
        }
    }
    Ok(LoraWeights { layout, params })
}

fn floats(tensor: &TensorView) -> Option<Vec<f32>> {
    let data = tensor.data();
    Some(match tensor.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => data.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::BF16 => {
            data.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;
    use crate::testing::random_model::RandomModel;
    use crate::train::model_tests::write_f32;

    #[test]
    fn an_adapter_comes_back_from_peft_unchanged_for_every_layout_of_modules() {
        let dir = tempfile::tempdir().unwrap();
        for arch in ["llama", "qwen2", "phi3", "gemma2"] {
            let path = dir.path().join(format!("{arch}.gguf"));
            write_f32(&RandomModel::new(arch), &path);
            let model = Gguf::open(&path).unwrap();
            let layout = Layout::new(&Spec::of(&model).unwrap(), 4, 8.0, &Module::ALL);
            let adapter = LoraWeights { params: random(layout.len(), 1), layout };
            let out = dir.path().join(arch);
            export(&adapter, &model, "some/model", &out).unwrap();
            assert_eq!(import(&out, &model).unwrap(), adapter, "{arch}");
        }
    }

    /// A model, and a PEFT directory with an adapter of its queries.
    fn exported(dir: &Path) -> Gguf {
        let path = dir.join("m.gguf");
        write_f32(&RandomModel::new("llama"), &path);
        let model = Gguf::open(&path).unwrap();
        let layout = Layout::new(&Spec::of(&model).unwrap(), 4, 8.0, &[Module::Q]);
        let adapter = LoraWeights { params: random(layout.len(), 1), layout };
        export(&adapter, &model, "m", &dir.join("out")).unwrap();
        model
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let (model, out) = (exported(dir.path()), dir.path().join("out"));
        let config = std::fs::read_to_string(out.join(CONFIG)).unwrap();
        for (from, to, why) in [
            ("\"LORA\"", "\"IA3\"", "not plain LoRA"),
            ("\"r\": 4", "\"r\": 5", "expected [5, 64]"),
            ("\"use_dora\": false", "\"use_dora\": true", "not plain LoRA"),
        ] {
            std::fs::write(out.join(CONFIG), config.replace(from, to)).unwrap();
            let message = import(&out, &model).unwrap_err().to_string();
            assert!(message.contains(why), "{message}");
        }
        std::fs::write(out.join(CONFIG), config).unwrap();
        let bytes = std::fs::read(out.join(WEIGHTS)).unwrap();
        std::fs::write(out.join(WEIGHTS), &bytes[..bytes.len() / 2]).unwrap();
        assert!(import(&out, &model).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn rslora_is_folded_into_alpha() {
        let dir = tempfile::tempdir().unwrap();
        let (model, out) = (exported(dir.path()), dir.path().join("out"));
        let config = std::fs::read_to_string(out.join(CONFIG)).unwrap();
        let config = config.replace("\"use_rslora\": false", "\"use_rslora\": true");
        std::fs::write(out.join(CONFIG), config).unwrap();
        assert_eq!(import(&out, &model).unwrap().layout.alpha, 16.0);
    }
}
