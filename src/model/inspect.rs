//! The facts of a GGUF file: of a model, or of an adapter and its provenance.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::gguf::{Gguf, Value};
use crate::model::spec::Spec;

/// The facts of a GGUF file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// `model` or `adapter`.
    pub kind: String,
    /// Names and values, the most important first.
    pub facts: Vec<(String, String)>,
}

impl Inspection {
    /// The kind and the facts as one JSON object.
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let kind = ("kind".to_string(), self.kind.clone().into());
        let facts = self.facts.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        std::iter::once(kind).chain(facts).collect()
    }
}

/// Reads the facts of the model or adapter at `path`.
///
/// # Errors
/// The errors of [`Gguf::open`].
pub fn inspect(path: &Path) -> Result<Inspection> {
    Ok(of(&Gguf::open(path)?))
}

/// The facts of an opened file.
pub(crate) fn of(gguf: &Gguf) -> Inspection {
    let is_adapter = gguf.str("general.type") == Some("adapter");
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            facts.push((name.to_string(), value));
        }
    };
    let text = |key: &str| gguf.str(key).map(str::to_string);
    add("name", text("general.name"));
    add("architecture", text("general.architecture"));
    add("tensors", Some(gguf.tensors().count().to_string()));
    add("parameters", Some(gguf.tensors().map(|t| t.elements()).sum::<usize>().to_string()));
    if is_adapter {
        let rank = gguf.tensors().find(|t| t.name.ends_with(".lora_a")).and_then(|t| t.dims.get(1));
        add("rank", rank.map(usize::to_string));
        add("alpha", gguf.float("adapter.lora.alpha").map(|a| a.to_string()));
    } else {
        let mut types = std::collections::BTreeMap::<String, usize>::new();
        gguf.tensors().for_each(|t| *types.entry(t.ty.name()).or_default() += 1);
        let types: Vec<String> = types.iter().map(|(ty, n)| format!("{ty} ×{n}")).collect();
        add("weights", Some(types.join(", ")));
        add("license", text("general.license"));
        add(
            "chat template",
            Some(if gguf.str("tokenizer.chat_template").is_some() { "yes" } else { "none" }.into()),
        );
        add(
            "trainable",
            Some(match Spec::of(gguf) {
                Ok(spec) => format!("yes, {} layers of width {}", spec.n_layer, spec.n_embd),
                Err(why) => format!("no: {why}"),
            }),
        );
    }
    for (key, value) in gguf.values() {
        if let (Some(name), Value::Str(value)) = (key.strip_prefix("secondnature."), value) {
            add(name, Some(value.clone()));
        }
    }
    Inspection { kind: if is_adapter { "adapter" } else { "model" }.into(), facts }
}
