//! Chat templates of model files: what they do to the question is found before the first sample.

#[path = "common/gguf_edit.rs"]
mod gguf_edit;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gguf_edit::edit;

const TEMPLATE: &str = "tokenizer.chat_template";
const EOS: &str = "tokenizer.ggml.eos_token_id";

/// Content as a string, otherwise as in `content-parts.jinja`.
const STRINGS: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
    {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

const TASK: &str = r#"{"name": "quick", "description": "For tests.", "method": "chain-of-thought",
    "system1": {"prompt": "{{ question }}", "max_tokens": 4, "temperature": 0.0},
    "system2": [{"name": "answer", "prompt": "{{ question }} Answer yes or no.", "max_tokens": 4,
        "choices": ["yes", "no"]}],
    "answer": {"kind": "choice", "choices": ["yes", "no"]},
    "vote": {"samples": 2, "threshold": 0.5, "min_samples": 1, "confidence": 0.95}}"#;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/templates").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A directory with a model whose metadata is changed, a task and six questions.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new(changes: &[(&str, Option<&str>)]) -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coin-flip-tiny-q8_0.gguf");
        std::fs::write(bench.path("model.gguf"), edit(&std::fs::read(model).unwrap(), changes)).unwrap();
        std::fs::write(bench.path("task.json"), TASK).unwrap();
        let questions: String = (0..6)
            .map(|i| format!("A coin is heads up. Mia flips the coin {i} times. Is it still heads up?\n"))
            .collect();
        std::fs::write(bench.path("questions.txt"), questions).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secondnature"));
        command.args(args).args(["--out", "run", "--quiet"]).current_dir(&self.0).stdin(Stdio::null());
        command.output().unwrap()
    }

    fn curate(&self) -> Output {
        self.program(&[
            "curate",
            "--model",
            "model.gguf",
            "--task",
            "task.json",
            "--questions",
            "questions.txt",
        ])
    }

    /// The samples of a curation that must succeed.
    fn samples(&self) -> String {
        let output = self.curate();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read_to_string(self.path("run/samples.jsonl")).unwrap()
    }

    /// The one line of a curation that must fail before its first sample.
    fn refusal(&self) -> String {
        let output = self.curate();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(line.matches('\n').count(), 1, "not one line: {line}");
        let samples = std::fs::read_to_string(self.path("run/samples.jsonl")).unwrap_or_default();
        assert_eq!(samples, "", "nothing was sampled");
        line
    }
}

#[test]
fn a_template_that_loops_over_typed_parts_gets_them_and_its_prompts_are_those_of_strings() {
    let parts = Bench::new(&[(TEMPLATE, Some(&file("content-parts.jinja")))]).samples();
    let strings = Bench::new(&[(TEMPLATE, Some(STRINGS))]).samples();
    assert_eq!(parts.lines().count(), strings.lines().count());
    assert_eq!(parts, strings);
}

#[test]
fn a_template_that_loses_the_question_is_refused_before_the_first_sample() {
    for template in [
        "{% for m in messages %}<|im_start|>{{ m.role }}<|im_end|>{% endfor %}",
        "{% for m in messages %}{{ m.text }}<|im_end|>{% endfor %}",
        "<|im_start|>user\nHello<|im_end|>",
    ] {
        let line = Bench::new(&[(TEMPLATE, Some(template))]).refusal();
        assert!(line.contains("leaves out the text of the user's message"), "{line}");
        assert!(line.contains("tokenizer.chat_template"), "{line}");
    }
    let line = Bench::new(&[(TEMPLATE, Some("{{ raise_exception('only tools') }}"))]).refusal();
    assert!(line.contains("only tools"), "{line}");
}

#[test]
fn without_an_end_in_the_template_the_end_of_sequence_token_ends_the_turn_in_training_too() {
    let bench = Bench::new(&[(TEMPLATE, Some(&file("no-end-of-turn.jinja")))]);
    assert!(bench.samples().lines().count() >= 6);
    let output = bench.program(&["train", "--epochs", "1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let examples = std::fs::read_to_string(bench.path("run/train/examples.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(examples.lines().next().unwrap()).unwrap();
    let target = first["target"].as_array().unwrap();
    assert_eq!(target.last().unwrap().as_i64(), Some(eos()), "the target ends with it");
}

/// The end-of-sequence token of the model.
fn eos() -> i64 {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coin-flip-tiny-q8_0.gguf");
    secondnature::gguf::Gguf::open(model).unwrap().int(EOS).unwrap() as i64
}

#[test]
fn a_model_without_any_template_is_sampled_up_to_its_end_of_sequence_token() {
    assert!(Bench::new(&[(TEMPLATE, None)]).samples().lines().count() >= 6);
}

#[test]
fn a_model_whose_turns_have_no_end_is_refused_before_the_first_sample() {
    for template in [None, Some(file("no-end-of-turn.jinja"))] {
        let line = Bench::new(&[(TEMPLATE, template.as_deref()), (EOS, None)]).refusal();
        assert!(line.contains("the model has no end of turn"), "{line}");
        assert!(line.contains("tokenizer.ggml.eos_token_id"), "{line}");
    }
    // The template's own end suffices.
    assert!(Bench::new(&[(TEMPLATE, Some(STRINGS)), (EOS, None)]).samples().lines().count() >= 6);
}
