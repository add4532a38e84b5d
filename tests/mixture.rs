//! Adapters, through the program: killed training, several tasks in one adapter, continued training,
//! replay, and conversion to PEFT and back.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secondnature::gguf::Gguf;

struct Workbench(tempfile::TempDir);

impl Workbench {
    fn new() -> Workbench {
        let bench = Workbench(tempfile::tempdir().unwrap());
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coin-flip-tiny-q8_0.gguf");
        std::fs::copy(fixture, bench.path("model.gguf")).unwrap();
        for (name, seed, split) in [("a", "1", "train"), ("b", "2", "train"), ("eval", "3", "test")] {
            let questions =
                bench.run(&["questions", "coin-flip", "--n", "24", "--seed", seed, "--split", split]);
            std::fs::write(bench.path(&format!("{name}.jsonl")), questions).unwrap();
        }
        std::fs::write(bench.path("prompts.txt"), "Tell me of the sea.\nWhat is a horse?\n").unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the program, which must succeed, and returns its standard output.
    fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program, which must fail, and returns its error.
    fn fail(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(!output.status.success(), "{args:?} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secondnature"));
        command.args(args).arg("--quiet").current_dir(&self.0).stdin(Stdio::null());
        command
    }

    fn curate(&self, name: &str) {
        let questions = format!("{name}.jsonl");
        self.run(&[
            "curate",
            "--model",
            "model.gguf",
            "--task",
            "coin-flip",
            "--questions",
            &questions,
            "--out",
            name,
        ]);
    }

    fn train(&self, more: &[&str]) -> serde_json::Value {
        let args = [&["train", "--out", "a", "--max-steps", "4", "--lr", "2e-3", "--json"], more].concat();
        serde_json::from_str(&self.run(&args)).unwrap()
    }

    fn fact(&self, file: &str, name: &str) -> String {
        let facts: serde_json::Value = serde_json::from_str(&self.run(&["inspect", file, "--json"])).unwrap();
        facts[name].as_str().unwrap_or_default().to_string()
    }
}

#[test]
fn adapters_are_continued_mixed_and_converted() {
    let bench = Workbench::new();
    bench.curate("a");
    bench.curate("b");
    let alone = bench.train(&[]);
    let own = alone["examples"].as_u64().unwrap();
    assert!(own >= 15, "{alone}");
    std::fs::copy(bench.path("a/adapter.gguf"), bench.path("first.gguf")).unwrap();
    assert_eq!(bench.fact("first.gguf", "vote.threshold"), "0.75");

    let mixed = bench.train(&["--extra-runs", "b", "--replay", "prompts.txt", "--replay-share", "0.5"]);
    let both = mixed["examples"].as_u64().unwrap();
    assert!(both > own + own / 2 + 10, "{own} examples alone, {both} with another run and replay");
    assert_eq!(bench.fact("a/adapter.gguf", "task.also"), "coin-flip");

    let onward = bench.train(&["--init-adapter", "first.gguf"]);
    let loss = |v: &serde_json::Value, key: &str| v[key].as_f64().unwrap();
    assert!(loss(&onward, "loss_first") < 0.9 * loss(&alone, "loss_first"), "{onward}");
    let complaint = bench.fail(&["train", "--out", "a", "--init-adapter", "first.gguf", "--rank", "8"]);
    assert!(complaint.contains("set --rank to 16"), "{complaint}");

    bench.run(&["convert", "--model", "model.gguf", "first.gguf", "peft"]);
    bench.run(&["convert", "--model", "model.gguf", "peft", "back.gguf"]);
    let (first, back) =
        (Gguf::open(bench.path("first.gguf")).unwrap(), Gguf::open(bench.path("back.gguf")).unwrap());
    for tensor in first.tensors() {
        let other = back.tensor(&tensor.name).unwrap();
        assert_eq!(first.data(tensor), back.data(other), "{}", tensor.name);
    }

    let evaluated =
        bench.run(&["evaluate", "--out", "b", "--eval", "eval.jsonl", "--adapter", "first.gguf", "--json"]);
    let evaluated: serde_json::Value = serde_json::from_str(&evaluated).unwrap();
    assert_eq!(evaluated["n"], 24);
    assert!(evaluated["constant"]["accuracy"].as_f64().unwrap() >= 0.5, "{evaluated}");

    // The adapter contains its task.
    let question = "A coin is heads up. Ann flips the coin. Is the coin still heads up?";
    let answered =
        bench.run(&["answer", "--model", "model.gguf", "--adapter", "first.gguf", question, "--json"]);
    let answered: serde_json::Value = serde_json::from_str(&answered).unwrap();
    assert!(answered["answer"].is_string(), "{answered}");
    let complaint = bench.fail(&["answer", "--model", "model.gguf", question]);
    assert!(complaint.contains("--task"), "{complaint}");
}

#[test]
fn training_killed_again_and_again_ends_with_the_same_adapter() {
    let bench = Workbench::new();
    bench.curate("a");
    let args = ["train", "--out", "a", "--epochs", "40", "--batch", "4", "--patience", "0", "--threads", "2"];
    bench.run(&args);
    let whole = std::fs::read(bench.path("a/adapter.gguf")).unwrap();
    std::fs::remove_dir_all(bench.path("a/train")).unwrap();
    for file in ["adapter.gguf", "adapter.json", "training.json"] {
        std::fs::remove_file(bench.path("a").join(file)).unwrap();
    }

    let mut kills = 0;
    for patience in (1..).map(|n| std::time::Duration::from_millis(40 * n)) {
        let mut child = bench.command(&args).stderr(Stdio::null()).spawn().unwrap();
        let begin = std::time::Instant::now();
        let ended = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if begin.elapsed() > patience => break None,
                None => std::thread::sleep(std::time::Duration::from_millis(2)),
            }
        };
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        child.kill().unwrap(); // SIGKILL: it cannot write anything.
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills >= 3, "killed only {kills} times");
    assert!(whole == std::fs::read(bench.path("a/adapter.gguf")).unwrap(), "the adapters differ");
}
