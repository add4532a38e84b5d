//! The training loop: it learns, and an interrupted run ends with the same bytes.

use std::sync::atomic::{AtomicU64, Ordering};

use super::batch::Example;
use super::model_tests::open;
use super::{ComputeDtype, Recompute, Schedule, TrainOptions, train};
use crate::model::spec::Module;
use crate::testing::random_model::RandomModel;
use crate::{Cancel, Error, Progress, Silent, Update};

fn examples() -> Vec<Example> {
    (0..24).map(|i| Example { prompt: vec![5, 6, 10 + i, 40 + i % 7], target: vec![60 + i % 3, 0] }).collect()
}

fn options() -> TrainOptions {
    TrainOptions {
        lr: 1e-2,
        epochs: 6,
        batch: 5,
        rank: 4,
        threads: Some(2),
        max_tokens: 16,
        patience: 0,
        // Otherwise it is measured, and may differ between two runs on a busy machine.
        compute_dtype: Some(ComputeDtype::F32),
        ..TrainOptions::default()
    }
}

/// Cancels after so many steps.
struct StopAt(u64, Cancel, AtomicU64);

impl Progress for StopAt {
    fn update(&self, _: &Update) {
        if self.2.fetch_add(1, Ordering::Relaxed) + 1 >= self.0 {
            self.1.cancel();
        }
    }
}

#[test]
fn the_loss_falls_and_an_interrupted_run_ends_with_the_same_bytes() {
    let model = open(&RandomModel::new("llama"));
    let (all, dir) = (examples(), tempfile::tempdir().unwrap());
    let (learn, held) = all.split_at(20);
    let whole =
        train(&model, learn, held, None, &options(), &dir.path().join("a"), &Silent, &Cancel::new()).unwrap();
    assert!(whole.summary.loss_last < 0.5 * whole.summary.loss_first, "{:?}", whole.summary.loss_curve);
    assert!(whole.summary.tokens_computed < whole.summary.tokens);

    let mut interruptions = 0;
    let resumed = loop {
        let cancel = Cancel::new();
        let stop = StopAt(3, cancel.clone(), AtomicU64::new(0));
        match train(&model, learn, held, None, &options(), &dir.path().join("b"), &stop, &cancel) {
            Ok(trained) => break trained,
            Err(Error::Cancelled) => interruptions += 1,
            Err(e) => panic!("{e}"),
        }
    };
    assert!(interruptions >= 5, "only {interruptions} interruptions");
    assert_eq!(whole.adapter, resumed.adapter);
    assert_eq!(whole.summary.loss_curve, resumed.summary.loss_curve);
}

#[test]
fn every_option_of_training_learns_and_memory_changes_no_bit() {
    let model = open(&RandomModel::new("llama"));
    let run = |options: &TrainOptions| {
        let dir = tempfile::tempdir().unwrap();
        let held = &examples()[20..];
        train(&model, &examples()[..20], held, None, options, dir.path(), &Silent, &Cancel::new()).unwrap()
    };
    let base = run(&options());
    assert_eq!(run(&TrainOptions { recompute: Recompute::Always, ..options() }).adapter, base.adapter);
    for (name, other) in [
        ("rslora", TrainOptions { rslora: true, ..options() }),
        ("dropout", TrainOptions { dropout: 0.1, ..options() }),
        ("lora_plus", TrainOptions { lora_plus: 4.0, ..options() }),
        ("linear", TrainOptions { schedule: Schedule::Linear, ..options() }),
        ("constant", TrainOptions { schedule: Schedule::Constant, ..options() }),
        ("modules", TrainOptions { modules: vec![Module::Q, Module::V], ..options() }),
    ] {
        let trained = run(&other);
        let (first, last) = (trained.summary.loss_first, trained.summary.loss_last);
        assert!(last < 0.8 * first, "{name}: {first} to {last}");
        assert_ne!(trained.adapter, base.adapter, "{name} changed nothing");
        if name == "dropout" {
            let lean = run(&TrainOptions { recompute: Recompute::Always, ..other });
            assert_eq!(lean.adapter, trained.adapter, "dropout masks differ where a layer is run again");
        }
    }
    assert_eq!(run(&TrainOptions { max_steps: Some(3), ..options() }).summary.steps, 3);
}

#[test]
fn training_goes_on_from_an_adapter() {
    let model = open(&RandomModel::new("llama"));
    let run = |start| {
        let dir = tempfile::tempdir().unwrap();
        train(&model, &examples(), &[], start, &options(), dir.path(), &Silent, &Cancel::new()).unwrap()
    };
    let first = run(None);
    let second = run(Some(first.adapter.params.clone()));
    // The order of examples is the same, so the first step sees the same ones.
    assert!(second.summary.loss_first < 0.5 * first.summary.loss_first);
}

#[test]
fn modules_that_the_model_lacks_are_refused() {
    let model = open(&RandomModel::new("phi3"));
    let dir = tempfile::tempdir().unwrap();
    let options = TrainOptions { modules: vec![Module::Gate], ..options() };
    let error = train(&model, &examples(), &[], None, &options, dir.path(), &Silent, &Cancel::new());
    let message = error.unwrap_err().to_string();
    assert!(message.contains("attn_qkv"), "{message}");
}

#[test]
fn a_damaged_checkpoint_and_one_of_another_run_start_over() {
    let model = open(&RandomModel::new("llama"));
    let (all, dir) = (examples(), tempfile::tempdir().unwrap());
    let run = |options: &TrainOptions| {
        train(&model, &all, &[], None, options, dir.path(), &Silent, &Cancel::new()).unwrap()
    };
    let first = run(&options());
    let file = dir.path().join("checkpoint.bin");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(run(&options()).adapter, first.adapter);
    let other = run(&TrainOptions { seed: 9, ..options() });
    assert_ne!(other.adapter, first.adapter);
}

#[test]
fn a_learning_rate_that_diverges_is_one_clear_error() {
    let model = open(&RandomModel::new("llama"));
    let dir = tempfile::tempdir().unwrap();
    let wild = TrainOptions { lr: 0.99, epochs: 200, clip: 0.0, alpha: 3e38, rank: 1, ..options() };
    match train(&model, &examples(), &[], None, &wild, dir.path(), &Silent, &Cancel::new()) {
        Err(Error::Training(reason)) => assert!(reason.to_string().contains("lower lr"), "{reason}"),
        other => panic!("trained to loss {:?}", other.map(|t| t.summary.loss_last)),
    }
}

/// Trains in `dir` with `options` until `stop` steps are done in this call; returns how many were.
fn train_some(options: &TrainOptions, held_out: &[Example], dir: &std::path::Path, stop: u64) -> u64 {
    let model = open(&RandomModel::new("llama"));
    let cancel = Cancel::new();
    let stop = StopAt(stop, cancel.clone(), AtomicU64::new(0));
    let _ = train(&model, &examples()[..20], held_out, None, options, dir, &stop, &cancel);
    stop.2.into_inner()
}

#[test]
fn what_does_not_change_the_adapter_may_change_when_training_resumes() {
    let (dir, held_out) = (tempfile::tempdir().unwrap(), &examples()[20..]);
    let steps = train_some(&options(), held_out, &dir.path().join("whole"), u64::MAX);
    let resumed = dir.path().join("resumed");
    let before = train_some(&options(), held_out, &resumed, 5);
    let changed = TrainOptions {
        threads: Some(1),
        adapter_dtype: super::AdapterDtype::F16,
        recompute: Recompute::Always,
        ..options()
    };
    assert_eq!(before + train_some(&changed, held_out, &resumed, u64::MAX), steps, "it started over");
    let model = open(&RandomModel::new("llama"));
    let adapter = |name: &str| {
        let folder = dir.path().join(name);
        train(&model, &examples()[..20], held_out, None, &options(), &folder, &Silent, &Cancel::new())
            .unwrap()
            .adapter
    };
    assert_eq!(adapter("resumed"), adapter("whole"));
}

#[test]
fn a_finished_checkpoint_without_held_out_examples_keeps_its_epochs() {
    let model = open(&RandomModel::new("llama"));
    let dir = tempfile::tempdir().unwrap();
    let run =
        || train(&model, &examples(), &[], None, &options(), dir.path(), &Silent, &Cancel::new()).unwrap();
    assert_eq!(run().summary.epochs, 6.0);
    assert_eq!(run().summary.epochs, 6.0, "of the checkpoint alone");
}
