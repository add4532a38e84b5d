//! The library without its default features: a Rust program that uses it holds no C function of ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    output
}

/// The library as an rlib without features, and the folders that its native libraries are in. The shared
/// library beside it, which other tests use meanwhile, is not touched: only the rlib is asked for.
fn library() -> (PathBuf, Vec<String>) {
    let output = run(Command::new(env!("CARGO"))
        .current_dir(ROOT)
        .args(["rustc", "--release", "--lib", "--no-default-features", "--crate-type", "rlib"])
        .args(["--message-format", "json"]));
    let (mut rlib, mut native) = (None, Vec::new());
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let texts = |key: &str| -> Vec<String> {
            let all = message[key].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_string).collect()
        };
        match message["reason"].as_str() {
            Some("build-script-executed") => native.extend(texts("linked_paths")),
            Some("compiler-artifact") if message["target"]["name"] == "secondnature" => {
                rlib = texts("filenames").into_iter().find(|name| name.ends_with(".rlib")).or(rlib);
            }
            _ => {}
        }
    }
    (rlib.expect("cargo names the rlib").into(), native)
}

#[test]
fn a_rust_program_of_the_library_alone_distills_and_holds_no_c_symbol() {
    let (rlib, native) = library();
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("distill");
    let deps = rlib.parent().unwrap();
    let deps = if deps.ends_with("deps") { deps.to_path_buf() } else { deps.join("deps") };
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-C", "opt-level=2"]).arg(Path::new(ROOT).join("examples/distill.rs"));
    rustc.arg("--extern").arg(format!("secondnature={}", rlib.display()));
    rustc.arg("-L").arg(format!("dependency={}", deps.display()));
    rustc.args(native.iter().flat_map(|folder| ["-L", folder]));
    run(rustc.arg("-o").arg(&program));

    let symbols = run(Command::new("nm").arg("--defined-only").arg(&program)).stdout;
    let symbols = String::from_utf8(symbols).unwrap();
    let names: Vec<&str> = symbols.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(names.len() > 1000, "a program with its symbols");
    let ours: Vec<&&str> = names.iter().filter(|name| name.starts_with("sn_")).collect();
    assert!(ours.is_empty(), "C functions in a Rust program: {ours:?}");

    let questions = |name: &str, n, split| {
        let questions = secondnature::datasets::generate("coin-flip", n, 7, split).unwrap();
        let lines: String = questions.iter().map(|question| question.to_json_line() + "\n").collect();
        std::fs::write(dir.path().join(name), lines).unwrap();
    };
    questions("train.jsonl", 64, secondnature::datasets::Split::Train);
    questions("eval.jsonl", 8, secondnature::datasets::Split::Test);
    let fixture = Path::new(ROOT).join("fixtures/coin-flip-tiny-q8_0.gguf");
    let output = run(Command::new(&program).current_dir(&dir).arg(fixture).args([
        "coin-flip",
        "train.jsonl",
        "eval.jsonl",
        "run",
    ]));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("distilled") && said.contains(" by "), "{said}");
    assert!(dir.path().join("run/adapter.gguf").exists());
}
