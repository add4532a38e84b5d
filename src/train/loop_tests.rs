//! The training loop: it learns, and an interrupted run ends with the same bytes.

use std::sync::atomic::{AtomicU64, Ordering};

use super::batch::Example;
use super::model_tests::{open, random_model::RandomModel};
use super::{TrainOptions, train};
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
        train(&model, learn, held, &options(), &dir.path().join("a"), &Silent, &Cancel::new()).unwrap();
    assert!(whole.summary.loss_last < 0.5 * whole.summary.loss_first, "{:?}", whole.summary.loss_curve);
    assert!(whole.summary.tokens_computed < whole.summary.tokens);

    let mut interruptions = 0;
    let resumed = loop {
        let cancel = Cancel::new();
        let stop = StopAt(3, cancel.clone(), AtomicU64::new(0));
        match train(&model, learn, held, &options(), &dir.path().join("b"), &stop, &cancel) {
            Ok(trained) => break trained,
            Err(Error::Cancelled) => interruptions += 1,
            Err(e) => panic!("{e}"),
        }
    };
    assert!(interruptions >= 5, "only {interruptions} interruptions");
    assert_eq!(whole.params, resumed.params);
    assert_eq!(whole.summary.loss_curve, resumed.summary.loss_curve);
}

#[test]
fn a_damaged_checkpoint_and_one_of_another_run_start_over() {
    let model = open(&RandomModel::new("llama"));
    let (all, dir) = (examples(), tempfile::tempdir().unwrap());
    let run = |options: &TrainOptions| {
        train(&model, &all, &[], options, dir.path(), &Silent, &Cancel::new()).unwrap()
    };
    let first = run(&options());
    let file = dir.path().join("checkpoint.bin");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(run(&options()).params, first.params);
    let other = run(&TrainOptions { seed: 9, ..options() });
    assert_ne!(other.params, first.params);
}

#[test]
fn a_learning_rate_that_diverges_is_one_clear_error() {
    let model = open(&RandomModel::new("llama"));
    let dir = tempfile::tempdir().unwrap();
    let wild = TrainOptions { lr: 0.99, epochs: 200, clip: 0.0, alpha: 3e38, rank: 1, ..options() };
    match train(&model, &examples(), &[], &wild, dir.path(), &Silent, &Cancel::new()) {
        Err(Error::Training(why)) => assert!(why.contains("lower --lr"), "{why}"),
        other => panic!("trained to loss {:?}", other.map(|t| t.summary.loss_last)),
    }
}
