//! Curation with llama.cpp that is killed repeatedly.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_secondnature");

fn curate(dir: &Path, out: &str) -> Command {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coin-flip-tiny-q8_0.gguf");
    let mut command = Command::new(PROGRAM);
    command.args([
        "curate",
        "--quiet",
        "--task",
        "coin-flip",
        "--questions",
        "q.jsonl",
        "--out",
        out,
        "--model",
    ]);
    command.arg(fixture).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |at| &text[..at]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn ten_kills_lose_and_repeat_no_sample_and_change_almost_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let questions =
        Command::new(PROGRAM).args(["questions", "coin-flip", "--n", "200", "--seed", "4"]).output();
    std::fs::write(dir.join("q.jsonl"), questions.unwrap().stdout).unwrap();
    assert!(curate(dir, "whole").status().unwrap().success());

    let journal = dir.join("killed/samples.jsonl");
    let mut before = Vec::new();
    for kill in 0..10 {
        let mut child = curate(dir, "killed").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(250 + 37 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = lines(&journal);
        assert!(now.starts_with(&before), "a finished sample was lost");
        before = now;
    }
    assert!(curate(dir, "killed").status().unwrap().success());
    let mut seen = HashSet::new();
    for sample in lines(&journal) {
        let name = (sample["question"].to_string(), sample["index"].to_string());
        assert!(seen.insert(name), "sampled twice: {sample}");
    }
    let verdicts = |run: &str| -> HashMap<String, (String, String)> {
        lines(&dir.join(run).join("verdicts.jsonl"))
            .iter()
            .map(|v| (v["question"].to_string(), (v["answer"]["key"].to_string(), v["kept"].to_string())))
            .collect()
    };
    let (whole, killed) = (verdicts("whole"), verdicts("killed"));
    assert_eq!((whole.len(), killed.len()), (200, 200));
    let same = whole.iter().filter(|(question, verdict)| killed.get(*question) == Some(*verdict)).count();
    // Batches of other shapes round differently, so a few texts may differ.
    assert!(same * 100 >= 98 * 200, "{same} of 200 verdicts are the same");
}
