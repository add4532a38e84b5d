//! The whole model against finite differences, and shared prefixes against plain batches.

use super::batch::{Batch, Example};
use super::lora::Layout;
use super::model::{Tape, Transformer};
use super::ops::testing::random;
use crate::gguf::{Gguf, GgufWriter, QuantType};
use crate::kernels::gemm::{ComputeDtype, Kernel};
use crate::model::spec::Module;
use crate::testing::random_model::RandomModel;

pub fn write_f32(model: &RandomModel, path: &std::path::Path) {
    let mut w = GgufWriter::new();
    model.write(&mut w, &|values, _| (QuantType::F32, values.iter().flat_map(|x| x.to_le_bytes()).collect()));
    w.write(path).unwrap();
}

pub fn open(model: &RandomModel) -> Transformer {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    write_f32(model, &path);
    Transformer::open(&Gguf::open(&path).unwrap()).unwrap()
}

fn examples() -> Vec<Example> {
    let example =
        |prompt: &[i32], target: &[i32]| Example { prompt: prompt.to_vec(), target: target.to_vec() };
    vec![
        example(&[5, 6, 7, 8, 9], &[20, 0]),
        example(&[5, 6, 7, 8, 10], &[21, 22, 0]),
        example(&[5, 6, 7, 8, 9], &[23, 0]),
        example(&[5, 30], &[20, 0]),
        example(&[40, 41, 42], &[43]),
    ]
}

fn models() -> Vec<RandomModel> {
    vec![
        RandomModel::new("llama"),
        RandomModel { tied: true, ..RandomModel::new("qwen2") },
        RandomModel { n_layer: 1, n_head_kv: 4, ..RandomModel::new("llama") },
        RandomModel::new("qwen3"),
        RandomModel::new("gemma2"),
        RandomModel { n_layer: 6, ..RandomModel::new("gemma3") },
        RandomModel::new("phi3"),
        RandomModel::new("granite"),
        RandomModel::new("olmo2"),
    ]
}

fn adapter(model: &Transformer) -> (Layout, Vec<f32>) {
    let layout = Layout::new(&model.spec, 4, 8.0, &Module::ALL);
    // B must not be zero here, or the gradient of A would be.
    let params = random(layout.len(), 3).iter().map(|x| x * 0.3).collect();
    (layout, params)
}

#[test]
fn the_gradient_of_every_tensor_of_every_layer_equals_finite_differences() {
    for spec in models() {
        let model = open(&spec);
        let (layout, params) = adapter(&model);
        let batch = Batch::pack(&examples(), true);
        let weight = 1.0 / batch.target_count() as f32;
        let mut tape = Tape::default();
        let mut grads = vec![0.0; layout.len()];
        model.loss_and_gradient(&layout, &params, &batch, weight, &mut tape, &mut grads).unwrap();
        for (layer, module, a, bt) in layout.pairs() {
            for (name, range) in [("a", a), ("bt", bt)] {
                // Along a random direction and along the gradient itself: the loss is f32, so single
                // elements would drown in its rounding; a direction sums over the whole tensor.
                let g = &grads[range.clone()];
                let norm = g.iter().map(|x| x * x).sum::<f32>().sqrt();
                assert!(norm > 0.0, "layer {layer} {module:?} {name}: the gradient is zero");
                let direction: Vec<f32> = g
                    .iter()
                    .zip(random(g.len(), 9))
                    .map(|(g, r)| g / norm + r / (g.abs() + 1.0) / (range.len() as f32).sqrt())
                    .collect();
                let along = |step: f32| {
                    let mut moved = params.clone();
                    for (p, d) in moved[range.clone()].iter_mut().zip(&direction) {
                        *p += step * d;
                    }
                    model.loss(&layout, &moved, &batch, weight, &mut Tape::default()).unwrap()
                };
                let step = 2e-3;
                let want = (along(step) - along(-step)) / (2.0 * f64::from(step));
                let got: f64 = g.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
                // Second-order terms of the step and f32 rounding of the loss: under 1% here; a
                // missing term would be off by its own size.
                assert!(
                    (got - want).abs() <= 0.01 * want.abs() + 2e-4,
                    "{} layer {layer} {module:?} {name}: gradient {got} but difference quotient {want}",
                    spec.arch
                );
            }
        }
    }
}

#[test]
fn shared_prefixes_give_the_loss_and_gradient_of_the_plain_batch() {
    for spec in models() {
        let model = open(&spec);
        let (layout, params) = adapter(&model);
        let run = |share| {
            let batch = Batch::pack(&examples(), share);
            let mut grads = vec![0.0; layout.len()];
            let weight = 1.0 / batch.target_count() as f32;
            let loss =
                model.loss_and_gradient(&layout, &params, &batch, weight, &mut Tape::default(), &mut grads);
            (loss.unwrap(), grads)
        };
        let ((shared, gs), (plain, gp)) = (run(true), run(false));
        // The same sums in another order: f32 rounding only.
        assert!((shared - plain).abs() < 1e-5, "{shared} != {plain}");
        let top = gp.iter().map(|g| g.abs()).fold(0.0, f32::max);
        for (a, b) in gs.iter().zip(&gp) {
            assert!((a - b).abs() <= 1e-5 * top, "{a} != {b}");
        }
    }
}

#[test]
fn a_tape_that_keeps_inputs_only_gives_the_same_bits() {
    for spec in models() {
        let model = open(&spec);
        let (layout, params) = adapter(&model);
        let run = |recomputes| {
            let mut grads = vec![0.0; layout.len()];
            let batch = Batch::pack(&examples(), true);
            let mut tape = Tape::new(recomputes, Kernel::of(ComputeDtype::F32).unwrap());
            // Twice, so that what the first left behind cannot help the second.
            model.loss_and_gradient(&layout, &params, &batch, 0.1, &mut tape, &mut grads).unwrap();
            grads.fill(0.0);
            let loss = model.loss_and_gradient(&layout, &params, &batch, 0.1, &mut tape, &mut grads);
            (loss.unwrap(), grads)
        };
        assert_eq!(run(false), run(true), "{}", spec.arch);
    }
}

#[test]
fn a_used_tape_gives_the_same_result_as_a_fresh_one() {
    let model = open(&RandomModel::new("llama"));
    let (layout, params) = adapter(&model);
    let all = examples();
    let run = |tape: &mut Tape, examples: &[Example]| {
        let mut grads = vec![0.0; layout.len()];
        let loss =
            model.loss_and_gradient(&layout, &params, &Batch::pack(examples, true), 0.1, tape, &mut grads);
        (loss.unwrap(), grads)
    };
    let fresh = run(&mut Tape::default(), &all[..2]);
    let mut tape = Tape::default();
    run(&mut tape, &all);
    assert_eq!(run(&mut tape, &all[..2]), fresh);
}
