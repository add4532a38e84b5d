//! Against PyTorch + PEFT: the gradient of every LoRA tensor, and ten steps of training.
//!
//! The golden values, and the script that made them, are in `tests/goldens`.

use std::path::PathBuf;

use safetensors::SafeTensors;
use serde::Deserialize;

use super::batch::{Batch, Example};
use super::model::{Tape, Transformer};
use super::{Schedule, TrainOptions, train};
use crate::adapter::peft;
use crate::gguf::Gguf;
use crate::kernels::gemm::{ComputeDtype, Kernel};
use crate::{Cancel, Silent};

#[derive(Deserialize)]
struct Golden {
    examples: Vec<Example>,
    loss: f64,
    lr: f32,
    steps: u64,
    curve: Vec<f64>,
}

const ARCHITECTURES: [&str; 3] = ["llama", "qwen2", "gemma3"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn golden(arch: &str) -> (Golden, Gguf) {
    let text = std::fs::read_to_string(folder().join(format!("{arch}.json"))).unwrap();
    (serde_json::from_str(&text).unwrap(), Gguf::open(folder().join(format!("{arch}.gguf"))).unwrap())
}

#[test]
fn every_gradient_equals_pytorch_with_shared_prefixes_and_without() {
    for arch in ARCHITECTURES {
        let (golden, gguf) = golden(arch);
        let model = Transformer::open(&gguf).unwrap();
        let start = peft::import(&folder().join(arch).join("start"), &gguf).unwrap();
        let want = peft::import(&folder().join(arch).join("gradient"), &gguf).unwrap();
        for share in [true, false] {
            let batch = Batch::pack(&golden.examples, share);
            let weight = 1.0 / batch.target_count() as f32;
            let mut grads = vec![0.0; start.layout.len()];
            let loss = model
                .loss_and_gradient(
                    &start.layout,
                    &start.params,
                    &batch,
                    weight,
                    &mut Tape::default(),
                    &mut grads,
                )
                .unwrap();
            // f32 on both sides, sums in another order.
            assert!((loss - golden.loss).abs() < 1e-5 * golden.loss, "{arch}: {loss} != {}", golden.loss);
            for (layer, module, a, bt) in want.layout.pairs() {
                for range in [a, bt] {
                    let (ours, theirs) = (&grads[range.clone()], &want.params[range]);
                    let top = theirs.iter().map(|x| x.abs()).fold(0.0, f32::max);
                    assert!(top > 0.0, "{arch} layer {layer} {module:?}: the golden gradient is zero");
                    let error = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    // A wrong term shows as an error of the gradient's own size.
                    assert!(error <= 1e-4 * top, "{arch} layer {layer} {module:?}: {error} of {top}");
                }
            }
        }
    }
}

#[test]
fn bf16_gradients_equal_pytorchs_of_f32_within_their_rounding() {
    let Some(kernel) = Kernel::of(ComputeDtype::Bf16) else { return };
    for arch in ARCHITECTURES {
        let (golden, gguf) = golden(arch);
        let model = Transformer::open(&gguf).unwrap();
        let start = peft::import(&folder().join(arch).join("start"), &gguf).unwrap();
        let want = peft::import(&folder().join(arch).join("gradient"), &gguf).unwrap().params;
        let batch = Batch::pack(&golden.examples, true);
        let mut got = vec![0.0; start.layout.len()];
        let mut tape = Tape::new(false, kernel);
        let weight = 1.0 / batch.target_count() as f32;
        model.loss_and_gradient(&start.layout, &start.params, &batch, weight, &mut tape, &mut got).unwrap();
        let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let error = norm(&mut got.iter().zip(&want).map(|(a, b)| a - b)) / norm(&mut want.iter().copied());
        // Factors are rounded to 2⁻⁹, some dozen times one after the other, and these gradients are
        // differences of larger terms; a wrong half of a lane would be an error of their own size.
        // That there is any error shows that bf16 was used. (Products alone: exact, in `gemm`.)
        assert!((1e-4..5e-2).contains(&error), "{arch}: {error}");
    }
}

#[test]
fn an_exported_adapter_holds_what_peft_saved() {
    for arch in ARCHITECTURES {
        let (_, gguf) = golden(arch);
        let (theirs, dir) = (folder().join(arch).join("start"), tempfile::tempdir().unwrap());
        peft::export(&peft::import(&theirs, &gguf).unwrap(), &gguf, arch, dir.path()).unwrap();
        let read = |dir: &std::path::Path| std::fs::read(dir.join("adapter_model.safetensors")).unwrap();
        let (theirs, ours) = (read(&theirs), read(dir.path()));
        let (theirs, ours) =
            (SafeTensors::deserialize(&theirs).unwrap(), SafeTensors::deserialize(&ours).unwrap());
        assert_eq!(theirs.len(), ours.len());
        for (name, tensor) in theirs.iter() {
            assert_eq!(tensor, ours.tensor(name).unwrap(), "{arch} {name}");
        }
    }
}

#[test]
fn ten_steps_of_training_follow_the_loss_curve_of_pytorch_and_peft() {
    // AdamW divides by √v, so the rounding of tiny gradients grows over the steps; what bf16 rounds is more.
    for (compute_dtype, tolerance) in [(ComputeDtype::F32, 1e-3), (ComputeDtype::Bf16, 2e-2)] {
        if Kernel::of(compute_dtype).is_some() {
            ARCHITECTURES.iter().for_each(|arch| follows_the_loss_curve(arch, compute_dtype, tolerance));
        }
    }
}

/// `tolerance` is a share of the loss at the beginning.
fn follows_the_loss_curve(arch: &str, compute_dtype: ComputeDtype, tolerance: f64) {
    let (golden, gguf) = golden(arch);
    let model = Transformer::open(&gguf).unwrap();
    let start = peft::import(&folder().join(arch).join("start"), &gguf).unwrap();
    let options = TrainOptions {
        rank: start.layout.rank,
        alpha: start.layout.alpha,
        lr: golden.lr,
        schedule: Schedule::Constant,
        warmup: 0.0,
        clip: 0.0,
        epochs: golden.steps as usize,
        batch: golden.examples.len(),
        compute_dtype: Some(compute_dtype),
        ..TrainOptions::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let start = Some(start.params);
    let trained =
        train(&model, &golden.examples, &[], start, &options, dir.path(), &Silent, &Cancel::new()).unwrap();
    let ours = &trained.summary.loss_curve;
    assert_eq!(ours.len(), golden.curve.len());
    assert!(golden.curve[9] < 0.7 * golden.curve[0], "{arch}: the golden curve shows no learning");
    for (step, (a, b)) in ours.iter().zip(&golden.curve).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * golden.curve[0],
            "{arch} step {step}, {compute_dtype:?}: {a} != {b}"
        );
    }
}
