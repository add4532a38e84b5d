//! The copy is the same model; the cache keeps its promises under races, damage, limits and full
//! disks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::*;
use crate::Silent;
use crate::engine::Llama;
use crate::tensor::{GgufWriter, QuantType, quantize_for_tests};
use crate::train::model_tests::random_model::RandomModel;

/// Wide enough for every type's blocks.
fn wide() -> RandomModel {
    RandomModel { n_embd: 256, n_head: 4, n_ff: 256, n_layer: 3, ..RandomModel::new("llama") }
}

fn random_model<'a>(spec: &RandomModel, ty: QuantType) -> GgufWriter<'a> {
    let mut w = GgufWriter::new();
    spec.write(&mut w, &|values, cols| (ty, quantize_for_tests(ty, values, cols)));
    w
}

fn write(dir: &Path, ty: QuantType) -> Gguf {
    let path = dir.join("model.gguf");
    random_model(&wide(), ty).write(&path).unwrap();
    Gguf::open(&path).unwrap()
}

fn copy_of(source: &Gguf, target: Target, dir: &Path) -> Gguf {
    let path = dir.join(target.name());
    let copy = expanded(source, target);
    copy.write(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), copy.file_bytes());
    Gguf::open(&path).unwrap()
}

/// Root mean square of the differences over that of `a`.
fn difference(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x).powi(2);
    let sum: f64 = a.iter().map(|x| square(*x)).sum();
    (a.iter().zip(b).map(|(x, y)| square(x - y)).sum::<f64>() / sum).sqrt()
}

fn logits(path: &Path) -> Vec<f32> {
    let options =
        LlamaOptions { slots: 1, context: Some(256), f32_kv: true, threads: Some(1), ..Default::default() };
    let tokens = [5, 6, 7, 8, 9, 33, 21, 90, 4, 4, 61, 20, 3];
    Llama::load(path, &options).unwrap().logits_for(&tokens).unwrap().concat()
}

fn weight_types() -> impl Iterator<Item = QuantType> {
    (0..64).filter_map(QuantType::from_id).filter(|ty| ty.is_readable() && ty.is_weight_type())
}

#[test]
fn a_copy_of_every_type_of_weights_gives_the_same_logits() {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for ty in weight_types() {
        let source = write(dir.path(), ty);
        let reference = logits(source.path());
        for target in Target::ALL {
            let copy = copy_of(&source, target, dir.path());
            let error = difference(&reference, &logits(copy.path()));
            // The quantized original rounds activations to 8 bits, 1 to 2% of the logits after
            // three random layers; the copies' own rounding is below that.
            if error.is_nan() || error > 0.04 {
                wrong.push(format!("{} as {}: {error}", ty.name(), target.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn weights_differ_by_the_rounding_of_the_type_and_all_else_is_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    for ty in weight_types() {
        let source = write(dir.path(), ty);
        for target in Target::ALL {
            let copy = copy_of(&source, target, dir.path());
            for tensor in source.tensors() {
                let found = copy.tensor(&tensor.name).unwrap();
                let expands = is_matrix(&tensor.name) && ty.block_len() > 1;
                assert_eq!(found.ty, if expands { target.ty() } else { tensor.ty }, "{}", tensor.name);
                let error = difference(&source.read_f32(tensor), &copy.read_f32(found));
                let name = ty.name();
                let even = matches!(name.as_str(), "q4_1" | "q5_1" | "q4_K" | "q5_K");
                let most = match target {
                    _ if !expands => 0.0,
                    Target::F16 => 2f64.powi(-12),
                    Target::Bf16 => 2f64.powi(-9),
                    // The scale is the source's own, or a whole part of it.
                    Target::Q8 if matches!(name.as_str(), "q4_0" | "q5_0" | "q8_0") => 1e-6,
                    Target::Q8 if even => 2e-3,
                    Target::Q8 => 8e-3,
                };
                assert!(error <= most, "{name} as {}: {} differs by {error}", target.name(), tensor.name);
            }
            for (key, value) in source.values() {
                assert_eq!(copy.value(key), Some(value));
            }
        }
    }
}

/// An embedding that is not the output as well only hands out rows.
fn is_matrix(name: &str) -> bool {
    name.ends_with(".weight") && !name.contains("norm") && name != "token_embd.weight"
}

#[test]
fn a_split_model_becomes_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let whole = write(dir.path(), QuantType::Q4_0);
    let tensors = whole.tensors().count();
    let mut first = random_model(&wide(), QuantType::Q4_0);
    let mut second = first.split_off(tensors / 2);
    for (number, writer) in [&mut first, &mut second].into_iter().enumerate() {
        writer.u16("split.no", number as u16);
        writer.u16("split.count", 2);
        writer.i32("split.tensors.count", tensors as i32);
        writer.write(&dir.path().join(format!("m-0000{}-of-00002.gguf", number + 1))).unwrap();
    }
    let split = Gguf::open(dir.path().join("m-00001-of-00002.gguf")).unwrap();
    assert_eq!(expanded(&split, Target::Q8).to_bytes(), expanded(&whole, Target::Q8).to_bytes());
}

#[test]
fn a_weight_beyond_the_range_of_f16_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = GgufWriter::new();
    w.str("general.architecture", "llama");
    let huge = quantize_for_tests(QuantType::Q8_0, &[1e6; 32], 32);
    w.tensor("blk.0.ffn_up.weight", &[32, 1], QuantType::Q8_0, huge);
    w.write(&dir.path().join("m.gguf")).unwrap();
    let source = Gguf::open(dir.path().join("m.gguf")).unwrap();
    let error = expanded(&source, Target::F16).write_to(&mut io::sink()).unwrap_err();
    assert_eq!(error.to_string(), "blk.0.ffn_up.weight: holds weights beyond 65504");
}

/// A cache, and a copy of 64 KiB for it that counts how often it is written.
struct Shelf {
    dir: tempfile::TempDir,
    writes: AtomicUsize,
}

const COPY_BYTES: usize = 64 << 10;

impl Shelf {
    fn new() -> Shelf {
        Shelf { dir: tempfile::tempdir().unwrap(), writes: AtomicUsize::new(0) }
    }

    fn cache(&self, copies: u64) -> Cache {
        Cache::new(self.dir.path().into(), copies * (COPY_BYTES as u64 + 1024))
    }

    fn copy(&self) -> GgufWriter<'_> {
        let mut w = GgufWriter::new();
        w.tensor_made("x", &[COPY_BYTES / 4], QuantType::F32, |out| {
            self.writes.fetch_add(1, Ordering::SeqCst);
            for byte in 0..64 {
                std::thread::sleep(Duration::from_millis(1));
                out.write_all(&[byte; COPY_BYTES / 64])?;
            }
            Ok(())
        });
        w
    }

    fn get(&self, cache: &Cache, content: &str) -> std::result::Result<CachedCopy, NoCopy> {
        cache.get(content, "f16", &self.copy(), &|_, _, _| {}, &Cancel::new())
    }

    fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// Names of the copies, and of anything else but locks.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("expanded")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with(".lock"));
        names.sort();
        names
    }
}

fn why(result: std::result::Result<CachedCopy, NoCopy>) -> String {
    match result {
        Err(NoCopy::Because(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_many_that_want_a_copy_at_once_one_writes_it() {
    let shelf = Shelf::new();
    let paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let get = || shelf.get(&shelf.cache(2), "a").unwrap().path().to_path_buf();
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(get)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(paths.iter().all(|path| *path == paths[0]));
    assert_eq!((shelf.writes(), shelf.files().len()), (1, 1));
}

#[test]
fn a_damaged_copy_is_noticed_and_written_again() {
    let shelf = Shelf::new();
    let cache = shelf.cache(2);
    let path = shelf.get(&cache, "a").unwrap().path().to_path_buf();
    let whole = std::fs::read(&path).unwrap();
    let flipped = [&[!whole[0]], &whole[1..]].concat();
    for (times, damaged) in [&whole[..whole.len() - 100], &whole[..10], b"", &flipped].into_iter().enumerate()
    {
        std::fs::write(&path, damaged).unwrap();
        drop(shelf.get(&cache, "a").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        assert_eq!(shelf.writes(), 2 + times);
    }
    drop(shelf.get(&cache, "a").unwrap());
    assert_eq!(shelf.writes(), 5);
}

#[test]
fn the_least_recently_used_copy_makes_room_and_one_in_use_never_does() {
    let shelf = Shelf::new();
    let cache = shelf.cache(2);
    let a = shelf.get(&cache, "a").unwrap();
    drop(shelf.get(&cache, "b").unwrap());
    let age = |content: &str, seconds: u64| {
        let lock = shelf.dir.path().join(format!("expanded/{content}-f16-1.lock"));
        let lock = std::fs::OpenOptions::new().write(true).open(lock).unwrap();
        lock.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    };
    age("a", 100);
    age("b", 50);
    let c = shelf.get(&cache, "c").unwrap();
    assert_eq!(shelf.files(), ["a-f16-1.gguf", "c-f16-1.gguf"], "a was older, but in use");
    let text = why(shelf.get(&cache, "d"));
    assert!(text.contains("more than is left of the cache's") && text.contains("SN_CACHE_GIB"), "{text}");
    drop((a, c));
    age("a", 10);
    age("c", 20);
    drop(shelf.get(&cache, "d").unwrap());
    assert_eq!(shelf.files(), ["a-f16-1.gguf", "d-f16-1.gguf"]);
    assert!(why(shelf.get(&shelf.cache(0), "e")).contains("SN_CACHE_GIB"));
}

#[test]
fn a_full_disk_and_a_stop_leave_nothing_behind() {
    let shelf = Shelf::new();
    let cache = shelf.cache(2);
    let mut full = GgufWriter::new();
    full.tensor_made("x", &[1000], QuantType::F32, |out| {
        out.write_all(&[0; 100])?;
        Err(io::ErrorKind::StorageFull.into())
    });
    let text = why(cache.get("a", "f16", &full, &|_, _, _| {}, &Cancel::new()));
    assert!(text.starts_with("cannot write ") && text.ends_with("no storage space"), "{text}");
    assert!(shelf.files().is_empty());

    let cancel = Cancel::new();
    let mut stopped = GgufWriter::new();
    stopped.tensor_made("x", &[1 << 20], QuantType::F32, |out| {
        cancel.cancel();
        out.write_all(&[0; 4 << 20])
    });
    let result = cache.get("a", "f16", &stopped, &|_, _, _| {}, &cancel);
    assert!(matches!(result, Err(NoCopy::Cancelled)));
    assert!(shelf.files().is_empty());
}

#[test]
fn what_a_crash_left_half_written_is_removed_in_time() {
    let shelf = Shelf::new();
    drop(shelf.get(&shelf.cache(2), "a").unwrap());
    for (name, hours) in [(".writing-old", 2), (".writing-now", 0)] {
        let file = std::fs::File::create(shelf.dir.path().join("expanded").join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
    }
    drop(shelf.get(&shelf.cache(2), "b").unwrap());
    assert_eq!(shelf.files(), [".writing-now", "a-f16-1.gguf", "b-f16-1.gguf"]);
}

#[test]
fn content_is_hashed_once_while_the_file_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().into(), 0);
    cache.dir().unwrap();
    let model = write(dir.path(), QuantType::Q4_0);
    let rested = SystemTime::now() - Duration::from_secs(10);
    let file = std::fs::OpenOptions::new().write(true).open(model.path()).unwrap();
    file.set_modified(rested).unwrap();
    let first = cache.content_of(&model, &Cancel::new()).unwrap();
    let cancelled = Cancel::new();
    cancelled.cancel(); // Hashing would notice.
    assert_eq!(cache.content_of(&model, &cancelled).unwrap(), first);
    file.set_modified(rested - Duration::from_secs(1)).unwrap();
    assert!(cache.content_of(&model, &cancelled).is_err());
}

#[test]
fn an_expanded_copy_is_measured_once_and_chosen_and_everything_else_falls_back_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let source = write(dir.path(), QuantType::Q4_0);
    let options = LlamaOptions { slots: 4, threads: Some(1), ..LlamaOptions::default() };
    let choose = |weights, limit, options: &LlamaOptions| {
        let cache = Cache::new(dir.path().into(), limit);
        let (progress, cancel) = (&Silent, &Cancel::new());
        Chooser { source: &source, weights, options, cache: &cache, progress, cancel }.copy(None)
    };
    let because = |result| match result {
        Err(NoCopy::Because(why)) => why,
        other => panic!("{other:?}"),
    };
    let (first, why) = choose(Weights::Expanded, 1 << 30, &options).unwrap();
    assert!(why.starts_with("weights expanded to ") && why.contains("measured on 2 layers"), "{why}");
    assert!(difference(&logits(source.path()), &logits(first.path())) < 0.04);
    let (second, same) = choose(Weights::Expanded, 1 << 30, &options).unwrap();
    // Measured again, the figures would differ.
    assert_eq!((second.path(), same), (first.path(), why));
    drop((first, second));

    assert_eq!(because(choose(Weights::Auto, 1 << 30, &options)), "the model is tiny");
    std::fs::remove_file(
        std::fs::read_dir(dir.path().join("expanded"))
            .unwrap()
            .flatten()
            .map(|e| e.path())
            .find(|path| path.extension().is_some_and(|e| e == "gguf"))
            .unwrap(),
    )
    .unwrap();
    assert!(because(choose(Weights::Expanded, 0, &options)).contains("SN_CACHE_GIB"));
    let source = write(dir.path(), QuantType::F32);
    let cache = Cache::new(dir.path().into(), 0);
    let (progress, cancel) = (&Silent, &Cancel::new());
    let chooser = Chooser {
        source: &source,
        weights: Weights::Auto,
        options: &options,
        cache: &cache,
        progress,
        cancel,
    };
    assert_eq!(because(chooser.copy(None)), "none of them is quantized");
}

#[test]
fn real_models_are_the_same_models_expanded() {
    let Some(models) = std::env::var_os("SN_TEST_MODELS").map(PathBuf::from) else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = Gguf::open(models.join("smollm2-135m-instruct-q4_1.gguf")).unwrap();
    let reference = logits(source.path());
    for target in Target::ALL {
        let error = difference(&reference, &logits(copy_of(&source, target, dir.path()).path()));
        println!("{}: logits differ by {error:.4}", target.name());
        // What 8-bit activations do over 30 layers.
        assert!(error < 0.06, "{}: {error}", target.name());
    }
}
