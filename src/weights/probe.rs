//! Measures the candidates: the model's first layers and its output, in each type, decoding as many
//! sequences as will be sampled. Kept beside the copies, so that it happens once.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cache::Cache;
use crate::engine::measure::decode_rate;
use crate::engine::{Llama, LlamaOptions};
use crate::tensor::Gguf;
use crate::tensor::expand::{Target, first_layers};
use crate::{Cancel, Error, Result};

/// Rounds, each of every candidate; the median is taken, and a first one not counted.
const ROUNDS: usize = 3;
const PROMPT: usize = 16;
const NEW_TOKENS: usize = 4;

/// What decoding `slots` sequences reached, in tokens/s of the first `layers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    cpu: String,
    threads: Option<u32>,
    slots: u32,
    layers: usize,
    /// The model's own weights.
    pub as_is: f64,
    expanded: Vec<(Target, f64)>,
}

impl Rates {
    /// The fastest candidate and its rate.
    pub fn fastest(&self) -> Option<(Target, f64)> {
        self.expanded.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// What was measured, in words.
    pub fn scope(&self) -> String {
        format!("measured on {} layers", self.layers)
    }

    fn is_of(&self, options: &LlamaOptions, cpu: &str) -> bool {
        self.cpu == cpu && self.threads == options.threads && self.slots == options.slots
    }
}

/// The rates of `targets` on this machine with `options`: from the cache, or measured now.
pub fn measured(
    cache: &Cache,
    source: &Gguf,
    content: &str,
    targets: &[Target],
    options: &LlamaOptions,
    say: &dyn Fn(&str, u64, u64),
    cancel: &Cancel,
) -> Result<Rates> {
    let cpu = crate::machine::cpu_name().unwrap_or_else(|| std::env::consts::ARCH.into());
    let file = format!("{content}.rates.json");
    let mut all: Vec<Rates> = cache.saved(&file).unwrap_or_default();
    if let Some(known) = all.iter().find(|rates| rates.is_of(options, &cpu)) {
        return Ok(known.clone());
    }
    let layers = layers(source);
    let dir = tempfile::Builder::new().prefix(".probe-").tempdir_in(cache.dir()?);
    let dir = dir.map_err(Error::io("create a directory in", cache.dir()?))?;
    let candidates: Vec<Option<Target>> =
        std::iter::once(None).chain(targets.iter().copied().map(Some)).collect();
    let total = (candidates.len() * (ROUNDS + 2)) as u64;
    let mut done = 0;
    let mut step = |note: &str| {
        say(note, done, total);
        done += 1;
        cancel.check()
    };
    let mut engines = Vec::new();
    for target in &candidates {
        step("preparing to measure types")?;
        engines.push(load(dir.path(), source, *target, layers, options)?);
    }
    let mut rates = vec![Vec::new(); engines.len()];
    for round in 0..=ROUNDS {
        for (engine, rates) in engines.iter_mut().zip(&mut rates) {
            step("measuring which type is fastest")?;
            let rate = decode_rate(engine, options.slots as usize, PROMPT, NEW_TOKENS)?;
            if round > 0 {
                rates.push(rate.median_tokens_per_s);
            }
        }
    }
    let mut medians = rates.iter_mut().map(|rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    let as_is = medians.next().unwrap_or(f64::NAN);
    let expanded = targets.iter().copied().zip(medians).collect();
    let rates = Rates { cpu, threads: options.threads, slots: options.slots, layers, as_is, expanded };
    all.push(rates.clone());
    let _ = cache.save(&file, &all); // Or it is measured again.
    Ok(rates)
}

/// So many layers that they outweigh the output twice, as they do in whole models; two at least.
fn layers(source: &Gguf) -> usize {
    let elements = |name: &str| source.tensor(name).map(|t| t.elements());
    let output = elements("output.weight").or_else(|| elements("token_embd.weight")).unwrap_or(0);
    let layer: usize =
        source.tensors().filter(|t| t.name.starts_with("blk.0.")).map(|t| t.elements()).sum::<usize>();
    let arch = source.str("general.architecture").unwrap_or_default();
    let all = source.int(&format!("{arch}.block_count")).and_then(|n| usize::try_from(n).ok()).unwrap_or(2);
    (2 * output).div_ceil(layer.max(1)).clamp(2, all.max(2))
}

fn load(
    dir: &Path,
    source: &Gguf,
    target: Option<Target>,
    layers: usize,
    options: &LlamaOptions,
) -> Result<Llama> {
    let path = dir.join(target.map_or("as-is", Target::name));
    let write = |file: &mut dyn std::io::Write| first_layers(source, target, layers).write_to(file);
    // Not synced: it is deleted in a moment.
    std::fs::File::create(&path)
        .map(std::io::BufWriter::new)
        .and_then(|mut file| write(&mut file).and_then(|()| std::io::Write::flush(&mut file)))
        .map_err(Error::io("write", &path))?;
    let cells = PROMPT + options.slots as usize * NEW_TOKENS;
    let context = Some(cells.next_multiple_of(256) as u32);
    Llama::load(&path, &LlamaOptions { context, batch: options.slots.max(32), ..options.clone() })
}
