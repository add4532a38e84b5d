//! The trainer's forward pass against llama.cpp's, on random models, prompts of unequal length.

use super::batch::{Batch, Example};
use super::lora::{Layout, LoraWeights};
use super::model::{Tape, Transformer};
use super::ops::testing::random;
use super::{AdapterDtype, TrainOptions};
use crate::engine::{Decoder, Llama, LlamaOptions, Weights};
use crate::gguf::{Gguf, GgufWriter, QuantType, quantize_for_tests};
use crate::kernels::gemm::Prepacked;
use crate::model::arch::ARCHITECTURES;
use crate::model::spec::Module;
use crate::testing::random_model::RandomModel;

fn write(model: &RandomModel, ty: QuantType, path: &std::path::Path) {
    let mut w = GgufWriter::new();
    model.write(&mut w, &|values, cols| {
        // A type whose blocks do not fit a row falls back, as llama.cpp's own quantizer does.
        let ty = if cols % ty.block_len() == 0 { ty } else { QuantType::Q8_0 };
        (ty, quantize_for_tests(ty, values, cols))
    });
    w.write(path).unwrap();
}

fn examples() -> Vec<Example> {
    let example =
        |prompt: &[i32], target: &[i32]| Example { prompt: prompt.to_vec(), target: target.to_vec() };
    vec![
        example(&[5, 6, 7, 8, 9, 33, 21, 90, 4, 4, 61], &[20, 3, 0]),
        example(&[5, 6, 7], &[21, 22, 0]),
        example(&[5, 6, 7, 8, 1], &[23]),
        example(&[70], &[43, 0]),
    ]
}

/// Root mean square difference over the standard deviation of the logits.
fn relative_rms(a: &[f32], b: &[f32]) -> f64 {
    let mean = a.iter().map(|x| f64::from(*x)).sum::<f64>() / a.len() as f64;
    let spread: f64 = a.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
    let square: f64 = a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum();
    (square / spread).sqrt()
}

/// A random model's file, open for training, and a random adapter of it, in memory and as a file.
struct Adapted {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    model: Transformer,
    adapter: std::path::PathBuf,
    trained: LoraWeights,
}

fn adapted(spec: &RandomModel, ty: QuantType) -> Adapted {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    write(spec, ty, &path);
    let model = Transformer::open(&Gguf::open(&path).unwrap()).unwrap();
    let layout = Layout::new(&model.spec, 4, 8.0, &Module::ALL);
    let params: Vec<f32> = random(layout.len(), 3).iter().map(|x| x * 0.3).collect();
    let adapter = dir.path().join("a.gguf");
    let trained = LoraWeights { layout, params };
    crate::adapter::write(&adapter, &model.spec, &trained, AdapterDtype::F32, &[]).unwrap();
    Adapted { _dir: dir, path, model, adapter, trained }
}

fn compare(spec: &RandomModel, ty: QuantType) -> f64 {
    let Adapted { _dir, path, model, adapter, trained } = adapted(spec, ty);
    let LoraWeights { layout, params } = trained;
    let options = LlamaOptions { slots: 1, context: Some(256), f32_kv: true, ..LlamaOptions::default() };
    let mut llama = Llama::load(&path, &options).unwrap();
    llama.set_adapter(Some(&adapter)).unwrap();

    // All examples in one batch with shared prefixes here, one by one there.
    let all = examples();
    let batch = Batch::pack(&all, true);
    let logits = model.logits(&layout, &params, &batch, &mut Tape::default()).unwrap();
    let v = spec.n_vocab;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for example in &all {
        let alone = Batch::pack([example], false);
        let reference = llama.logits_for(&alone.tokens).unwrap();
        let logits_alone = model.logits(&layout, &params, &alone, &mut Tape::default()).unwrap();
        for (row, token) in alone.loss_tokens.iter().enumerate() {
            ours.extend_from_slice(&logits_alone[row * v..(row + 1) * v]);
            theirs.extend_from_slice(&reference[*token]);
        }
    }
    // The shared batch has the same rows in another order: every one must occur among them.
    for row in logits.chunks_exact(v) {
        let best = ours.chunks_exact(v).map(|r| relative_rms(r, row)).fold(f64::INFINITY, f64::min);
        assert!(best < 1e-5, "a row of the shared batch matches no row of the plain ones: {best}");
    }
    relative_rms(&ours, &theirs)
}

#[test]
fn logits_equal_llama_cpp_on_f32_weights_with_and_without_biases_ties_and_shared_heads() {
    for spec in [
        RandomModel::new("llama"),
        RandomModel { bias: true, ..RandomModel::new("llama") },
        RandomModel { tied: true, n_head_kv: 4, ..RandomModel::new("llama") },
        RandomModel::new("qwen2"),
        RandomModel { tied: true, n_head_kv: 1, ..RandomModel::new("qwen2") },
        RandomModel { rope_factors: true, ..RandomModel::new("llama") },
        RandomModel { rotated: 8, ..RandomModel::new("phi3") },
    ] {
        let error = compare(&spec, QuantType::F32);
        // Both sides are f32 throughout: only the order of sums differs.
        assert!(error < 1e-4, "{spec:?}: relative rms {error}");
    }
}

#[test]
fn logits_equal_llama_cpp_on_every_architecture() {
    let tried: Vec<_> =
        ARCHITECTURES.iter().map(|a| (a.name, compare(&RandomModel::new(a.name), QuantType::F32))).collect();
    let wrong: Vec<_> = tried
        .iter()
        .filter(|(name, error)| {
            // f32 on both sides, but ggml looks GELU up in a table of 16-bit floats.
            let tolerance = if name.starts_with("gemma") { 2e-3 } else { 1e-4 };
            error.is_nan() || *error > tolerance
        })
        .collect();
    assert!(wrong.is_empty(), "relative rms {wrong:?} of {tried:?}");
}

#[test]
fn logits_equal_llama_cpp_on_every_kind_of_weights_within_its_8_bit_activations() {
    let mut unread = Vec::new();
    for id in 0..64 {
        let Some(ty) = QuantType::from_id(id).filter(|t| t.is_readable() && t.is_weight_type()) else {
            continue;
        };
        {
            let spec =
                RandomModel { n_embd: 256, n_head: 4, n_ff: 256, n_layer: 1, ..RandomModel::new("llama") };
            let error = compare(&spec, ty);
            // llama.cpp rounds activations to 8 bits (f16, bf16 for those weights): about 1% of
            // their spread. Wrong weights would be off by 100%.
            if error.is_nan() || error >= 0.04 {
                unread.push(format!("{}: {error}", ty.name()));
            }
        }
    }
    assert!(unread.is_empty(), "{unread:#?}");
}

#[test]
fn expanded_weights_decode_what_the_trainer_computes_on_every_architecture() {
    let (mut wrong, mut sums) = (Vec::new(), (0.0, 0.0));
    let is_int8 = Prepacked::dtype(QuantType::Q8_0, 64) == "int8";
    for arch in ARCHITECTURES {
        let spec = RandomModel::new(arch.name);
        let Adapted { _dir, path, model, adapter, trained } = adapted(&spec, QuantType::Q8_0);
        let LoraWeights { layout, params } = trained;
        let logits = |weights| {
            let options = LlamaOptions { slots: 1, context: Some(256), weights, ..LlamaOptions::default() };
            let mut llama = Llama::load(&path, &options).unwrap();
            assert_eq!(llama.weights_used().contains("expanded"), weights == Weights::Expanded);
            llama.set_adapter(Some(&adapter)).unwrap();
            let alone = Batch::pack([&examples()[0]], false);
            let all = llama.logits_for(&alone.tokens).unwrap();
            alone.loss_tokens.iter().flat_map(|t| all[*t].clone()).collect::<Vec<f32>>()
        };
        let alone = Batch::pack([&examples()[0]], false);
        let ours = model.logits(&layout, &params, &alone, &mut Tape::default()).unwrap();
        let (expanded, as_is) = (logits(Weights::Expanded), logits(Weights::AsIs));
        let (error, theirs) = (relative_rms(&ours, &expanded), relative_rms(&ours, &as_is));
        sums = (sums.0 + error, sums.1 + theirs);
        // As bf16: weights rounded to 8 bits of precision, the cache to 11: nearer to the values in the file
        // than llama.cpp's own products, which round what they multiply to 8-bit integers. As 8-bit
        // integers: rounded like those. Matrices under 64 rows stay with llama.cpp, and these models have
        // some.
        let is_far =
            if is_int8 { error > 0.03 || expanded == as_is } else { error > 0.015 || error >= theirs };
        if error.is_nan() || is_far {
            wrong.push((arch.name, error, theirs));
        }
    }
    assert!(wrong.is_empty(), "(architecture, expanded, as they are): {wrong:?}");
    let (ours, theirs) = sums;
    assert!(ours < if is_int8 { 1.1 } else { 1.0 } * theirs, "{ours}, llama.cpp's own: {theirs}");
}

#[test]
fn a_model_that_llama_cpp_would_assert_on_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    write(&RandomModel { rotated: 8, ..RandomModel::new("llama") }, QuantType::F32, &path);
    let message = Transformer::open(&Gguf::open(&path).unwrap()).unwrap_err().to_string();
    assert!(message.contains("rotates 8 of 16 dimensions"), "{message}");
}

#[test]
fn a_split_model_is_the_same_model_here_and_in_llama_cpp() {
    let dir = tempfile::tempdir().unwrap();
    let part = |n: usize| dir.path().join(format!("m-0000{n}-of-00002.gguf"));
    let (spec, whole) = (RandomModel::new("llama"), dir.path().join("whole.gguf"));
    write(&spec, QuantType::Q8_0, &whole);
    let tensors = Gguf::open(&whole).unwrap().tensors().count();
    let mut first = GgufWriter::new();
    spec.write(&mut first, &|values, cols| {
        (QuantType::Q8_0, quantize_for_tests(QuantType::Q8_0, values, cols))
    });
    let mut second = first.split_off(tensors / 2);
    for (number, (writer, path)) in [(&mut first, part(1)), (&mut second, part(2))].into_iter().enumerate() {
        writer.u16("split.no", number as u16);
        writer.u16("split.count", 2);
        writer.i32("split.tensors.count", tensors as i32);
        writer.write(&path).unwrap();
    }
    let logits = |path: &std::path::Path| {
        let model = Transformer::open(&Gguf::open(path).unwrap()).unwrap();
        let layout = Layout::new(&model.spec, 2, 4.0, &Module::ALL);
        let params = random(layout.len(), 3);
        model.logits(&layout, &params, &Batch::pack(&examples(), true), &mut Tape::default()).unwrap()
    };
    assert_eq!(logits(&part(1)), logits(&whole));
    let options = LlamaOptions { slots: 1, context: Some(256), f32_kv: true, ..LlamaOptions::default() };
    let theirs = |path: &std::path::Path| {
        Llama::load(path, &options).unwrap().logits_for(&examples()[0].prompt).unwrap()
    };
    assert_eq!(theirs(&part(1)), theirs(&whole));
}

#[test]
fn an_adapter_that_llama_cpp_reads_differently_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let (path, adapter) = (dir.path().join("m.gguf"), dir.path().join("a.gguf"));
    write(&RandomModel::new("llama"), QuantType::Q8_0, &path);
    let model = Transformer::open(&Gguf::open(&path).unwrap()).unwrap();
    let layout = Layout::new(&model.spec, 4, 8.0, &Module::ALL);
    let params: Vec<f32> = random(layout.len(), 3).iter().map(|x| x * 0.3).collect();
    let all = examples();
    let on_one_thread = TrainOptions { threads: Some(1), ..TrainOptions::default() };
    let verify = |written: &Layout, precision| {
        let file = LoraWeights { layout: written.clone(), params: params.clone() };
        crate::adapter::write(&adapter, &model.spec, &file, precision, &[]).unwrap();
        let examples: Vec<&Example> = all.iter().collect();
        let ours = LoraWeights { layout: layout.clone(), params: params.clone() };
        crate::adapter::verify(&path, &adapter, &model, &ours, &examples, &on_one_thread)
    };
    for precision in [AdapterDtype::F32, AdapterDtype::F16] {
        let parity = verify(&layout, precision).unwrap();
        assert!(parity.relative_rms < 0.05, "{parity:?}");
        let read = crate::adapter::read(&adapter, &model.spec).unwrap();
        assert_eq!(read.layout, layout);
        let error = read.params.iter().zip(&params).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // 11 bits of values under 0.15.
        assert!(error <= if precision == AdapterDtype::F32 { 0.0 } else { 1e-4 }, "{error}");
    }
    let other_scale = Layout::new(&model.spec, 4, 10.0, &Module::ALL);
    let message = verify(&other_scale, AdapterDtype::F32).unwrap_err().to_string();
    assert!(message.contains("differ from the trainer's"), "{message}");
}

#[test]
fn real_model_logits_equal_llama_cpp_with_a_random_adapter() {
    let Some(models) = std::env::var_os("SN_TEST_MODELS").map(std::path::PathBuf::from) else { return };
    for name in ["smollm2-135m-instruct-q4_1.gguf", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"] {
        let path = models.join(name);
        let model = Transformer::open(&Gguf::open(&path).unwrap()).unwrap();
        let layout = Layout::new(&model.spec, 8, 16.0, &Module::ALL);
        let params: Vec<f32> = random(layout.len(), 5).iter().map(|x| x * 0.02).collect();
        let dir = tempfile::tempdir().unwrap();
        let adapter = dir.path().join("a.gguf");
        let trained = LoraWeights { layout: layout.clone(), params: params.clone() };
        crate::adapter::write(&adapter, &model.spec, &trained, AdapterDtype::F32, &[]).unwrap();
        let llama = Llama::load(&path, &LlamaOptions { slots: 1, ..LlamaOptions::default() }).unwrap();
        let tokens = |text: &str| llama.tokenize(text, true).unwrap();
        let prompt =
            tokens("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n");
        let target = "The capital of France is Paris. It lies on the Seine, in the north of the country, and has \
                      some two million people; twelve million live in the region around it.<|im_end|>";
        let example = Example { prompt, target: tokens(target) };
        drop(llama);
        let parity =
            crate::adapter::verify(&path, &adapter, &model, &trained, &[&example], &Default::default())
                .unwrap();
        // Both models have quantized weights, so llama.cpp rounds activations to 8 bits: 4 to 8% of
        // the logits' spread after 24 and 30 layers, by processor.
        assert!(parity.relative_rms < 0.1, "{name}: {parity:?}");
        let batch = Batch::pack([&example], false);
        let ours = model.logits(&layout, &params, &batch, &mut Tape::default()).unwrap();
        let error = |weights| {
            let options = LlamaOptions { slots: 1, weights, ..LlamaOptions::default() };
            let mut llama = Llama::load(&path, &options).unwrap();
            llama.set_adapter(Some(&adapter)).unwrap();
            let all = llama.logits_for(&batch.tokens).unwrap();
            let theirs: Vec<f32> = batch.loss_tokens.iter().flat_map(|t| all[*t].clone()).collect();
            relative_rms(&ours, &theirs)
        };
        let (expanded, as_is) = (error(Weights::Expanded), error(Weights::AsIs));
        let dtype = Prepacked::dtype(QuantType::Q8_0, 64);
        println!("{name}: expanded to {dtype} {expanded:.4}, as they are {as_is:.4}");
        // As bf16 nothing is rounded but the weights, and the same graph is nearer. As integers the rows are
        // rounded like llama.cpp's, and weights of other types than blocks of 32.
        let limit = if dtype == "int8" { 1.1 * as_is } else { 0.02 };
        assert!(expanded < limit && expanded != as_is, "{name}: {expanded}, llama.cpp's own: {as_is}");
    }
}
