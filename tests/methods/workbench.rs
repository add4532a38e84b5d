//! A workbench for the program: a directory, small tasks, and the commands to run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// The model that is part of the crate. It knows coin flips and no English.
pub fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coin-flip-tiny-q8_0.gguf")
}

/// SmolLM2-135M-Instruct, if `SN_TEST_MODELS` is the directory with it.
pub fn real_model() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("SN_TEST_MODELS")?).join("smollm2-135m-instruct-q4_1.gguf");
    path.exists().then_some(path)
}

/// Options of a run. Tests run in parallel and llama.cpp's threads wait by spinning, so a run has one
/// thread. Weights are expanded whatever memory is free, so that two runs take the same samples.
const SAMPLING: [&str; 6] = ["--threads", "1", "--slots", "8", "--weights", "expanded"];

pub struct Workbench {
    dir: tempfile::TempDir,
    pub model: PathBuf,
}

impl Workbench {
    pub fn new(model: PathBuf) -> Workbench {
        Workbench { dir: tempfile::tempdir().unwrap(), model }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Writes `train.jsonl` and `eval.jsonl` with four and three questions of a kind.
    pub fn ask(&self, kind: &str) {
        for (file, n, split) in [("train.jsonl", "4", "train"), ("eval.jsonl", "3", "test")] {
            let questions = self.run(&["questions", kind, "--n", n, "--seed", "5", "--split", split]);
            self.write(file, &questions);
        }
    }

    /// Writes `task.json`: the built-in `task` with its prompts, short completions, and two samples that
    /// nearly always agree. `change` is applied last.
    pub fn shorten(&self, task: &str, change: impl FnOnce(&mut Value)) {
        let mut json: Value = serde_json::from_str(&self.run(&["tasks", "show", task])).unwrap();
        let at_most = |step: &mut Value, max: u64| {
            let tokens = step["max_tokens"].as_u64().unwrap();
            step["max_tokens"] = tokens.min(max).into();
        };
        at_most(&mut json["system1"], 8);
        for step in json["system2"].as_array_mut().unwrap() {
            at_most(step, 24);
            step["temperature"] = 0.02.into();
        }
        json["vote"] = json!({"samples": 2, "min_samples": 2, "threshold": 0.5});
        change(&mut json);
        self.write("task.json", &json.to_string());
    }

    pub fn curate(&self, questions: &str, out: &str) {
        let model = self.model.to_str().unwrap();
        let about =
            ["curate", "--model", model, "--task", "task.json", "--questions", questions, "--out", out];
        self.run(&[&about[..], &SAMPLING].concat());
    }

    pub fn train(&self, out: &str) {
        self.run(&["train", "--out", out, "--threads", "1", "--epochs", "1", "--max-steps", "1"]);
    }

    /// The arguments of a whole run on the files that [`Workbench::ask`] and [`Workbench::shorten`] wrote.
    fn distilling<'a>(&'a self, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let model = self.model.to_str().unwrap();
        let about = ["distill", "--model", model, "--task", "task.json", "--questions", "train.jsonl"];
        let rest =
            ["--eval", "eval.jsonl", "--out", out, "--epochs", "1", "--max-steps", "2", "--batch", "4"];
        [&about[..], &rest, &SAMPLING, more].concat()
    }

    pub fn distill(&self, out: &str, more: &[&str]) {
        self.run(&self.distilling(out, more));
    }

    /// The error of a whole run, which must be refused in one line.
    pub fn refused(&self, out: &str, more: &[&str]) -> String {
        let output = self.output(&self.distilling(out, more));
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(line.matches('\n').count(), 1, "not one line: {line}");
        line
    }

    /// Runs the program, which must succeed, and returns its standard output.
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secondnature"));
        command.args(args).arg("--quiet").current_dir(&self.dir).stdin(Stdio::null());
        command.output().unwrap()
    }
}

/// Constrains the last step to some words of reasoning, the marker and an answer, both in GBNF. A model
/// of this size often forgets the marker, and a test must not depend on that.
pub fn constrain(task: &mut Value, marker: &str, answer: &str) {
    let last = task["system2"].as_array_mut().unwrap().last_mut().unwrap();
    last["grammar"] = format!("root ::= [A-Z] [a-z ,]{{8,40}} {marker} {answer}").into();
    // A token has at least one letter.
    last["max_tokens"] = 96.into();
}

/// Copies a model and gives it a chat template with a thinking mode like those of Qwen3 and Granite: the
/// template opens the thinking block, or opens and closes it.
pub fn with_thinking_mode(model: &Path, copy: &Path) {
    const TEMPLATE: &str = "{%for m in messages%}<|im_start|>{{m.role}}\n{{m.content}}<|im_end|>\n{%endfor%}\
        {%if add_generation_prompt%}<|im_start|>assistant\n<think>\n\
        {{'' if thinking else '\\n</think>\\n\\n'}}{%endif%}";
    let mut bytes = std::fs::read(model).unwrap();
    let key = b"tokenizer.chat_template";
    let at = bytes.windows(key.len()).position(|window| window == key).expect("the model has a template");
    // After the key: the type of the value, 4 bytes; its length, 8 bytes; the text.
    let length = at + key.len() + 4;
    let text = length + 8;
    let old = u64::from_le_bytes(bytes[length..text].try_into().unwrap()) as usize;
    // A comment makes it as long as the old one, so that the file's offsets stay the same.
    let room = old.checked_sub(TEMPLATE.len() + 4).expect("the old template is longer");
    let new = format!("{TEMPLATE}{{#{}#}}", " ".repeat(room));
    bytes[text..text + old].copy_from_slice(new.as_bytes());
    std::fs::write(copy, bytes).unwrap();
}
