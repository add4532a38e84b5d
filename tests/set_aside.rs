//! Questions that cannot be asked do not end a run: they are set aside, counted, and said.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const TASK: &str = r#"{"name": "quick", "description": "For tests.", "method": "chain-of-thought",
    "system1": {"prompt": "{{ question }}", "max_tokens": 4, "temperature": 0.0},
    "system2": [{"name": "answer", "prompt": "{{ question }} {{ hint }}", "max_tokens": 4,
        "choices": ["yes", "no"]}],
    "answer": {"kind": "choice", "choices": ["yes", "no"]},
    "vote": {"samples": 2, "threshold": 0.5, "min_samples": 1, "confidence": 0.95}}"#;

struct Bench(tempfile::TempDir);

impl Bench {
    fn new(questions: &[serde_json::Value]) -> Bench {
        Bench::of(TASK, questions)
    }

    fn of(task: &str, questions: &[serde_json::Value]) -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        std::fs::write(bench.path("task.json"), task).unwrap();
        let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
        std::fs::write(bench.path("questions.jsonl"), lines).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn curate(&self) -> Output {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coin-flip-tiny-q8_0.gguf");
        let mut command = Command::new(env!("CARGO_BIN_EXE_secondnature"));
        command.args(["curate", "--task", "task.json", "--questions", "questions.jsonl", "--out", "run"]);
        command.args(["--quiet", "--model"]).arg(model).current_dir(&self.0).stdin(Stdio::null());
        command.output().unwrap()
    }

    fn curation(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.path("run/curation.json")).unwrap()).unwrap()
    }
}

fn question(text: &str, hint: Option<&str>) -> serde_json::Value {
    match hint {
        Some(hint) => serde_json::json!({"question": text, "fields": {"hint": hint}}),
        None => serde_json::json!({"question": text}),
    }
}

#[test]
fn long_and_incomplete_questions_are_set_aside_in_the_same_way_on_resume() {
    let coin = |i: usize| question(&format!("A coin is heads up. {i}. Is it heads up?"), Some("Well?"));
    let mut questions: Vec<_> = (0..4).map(coin).collect();
    questions.insert(1, question(&"A coin is heads up. ".repeat(400), Some("Well?")));
    questions.insert(3, question("A coin is heads up. Is it?", None));
    let bench = Bench::new(&questions);

    let first = bench.curate();
    let said = String::from_utf8_lossy(&first.stdout).into_owned();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(said.contains("2 of 6 questions set aside; the first: its prompt has"), "{said}");
    let curation = bench.curation();
    assert_eq!((curation["questions"].as_u64(), curation["set_aside"].as_u64()), (Some(6), Some(2)));
    let verdicts = std::fs::read_to_string(bench.path("run/verdicts.jsonl")).unwrap();
    let reasons: Vec<bool> = verdicts.lines().map(|line| line.contains("\"set_aside\"")).collect();
    assert_eq!(reasons, [false, true, false, true, false, false]);
    assert!(verdicts.contains("uses a field that the question does not have (hint)"));

    // As if it had been interrupted after its first samples.
    let samples = std::fs::read_to_string(bench.path("run/samples.jsonl")).unwrap();
    let begun: String = samples.lines().take(2).map(|line| format!("{line}\n")).collect();
    std::fs::write(bench.path("run/samples.jsonl"), begun).unwrap();
    std::fs::remove_file(bench.path("run/verdicts.jsonl")).unwrap();
    assert!(bench.curate().status.success());
    assert_eq!(std::fs::read_to_string(bench.path("run/verdicts.jsonl")).unwrap(), verdicts);
    assert_eq!(bench.curation()["set_aside"], curation["set_aside"]);
}

#[test]
fn a_field_that_most_questions_lack_is_an_error_before_anything_is_sampled() {
    let bare = |i: usize| question(&format!("A coin is heads up. {i}. Is it heads up?"), None);
    let bench = Bench::new(&(0..5).map(bare).collect::<Vec<_>>());
    let output = bench.curate();
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains("more than half of the 5 questions cannot be asked"), "{line}");
    assert!(line.contains("(hint)") && line.matches('\n').count() == 1, "{line}");
    assert_eq!(std::fs::read_to_string(bench.path("run/samples.jsonl")).unwrap_or_default(), "");
}

#[test]
fn a_selection_that_cannot_be_asked_sets_its_question_aside() {
    // Only real responses make it fail.
    let select = r#""select": "universal",
        "select_prompt": "{{ question }}{% if 'tails' in question and responses[0] %}{{ nothing }}{% endif %}","#;
    let task = TASK
        .replace(r#""vote": {"#, &format!(r#""vote": {{{select} "#))
        .replace(r#""samples": 2"#, r#""samples": 12"#)
        .replace(
            r#""max_tokens": 4,
        "choices""#,
            r#""max_tokens": 4, "temperature": 2.0,
        "choices""#,
        );
    let coin =
        |i: usize, side: &str| question(&format!("A coin is {side} up. {i}. Is it heads up?"), Some("Well?"));
    let coins: Vec<_> = (0..9).map(|i| coin(i, if i % 3 == 1 { "tails" } else { "heads" })).collect();
    let bench = Bench::of(&task, &coins);
    let output = bench.curate();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let set_aside = bench.curation()["set_aside"].as_u64().unwrap_or_default();
    assert!((1..=3).contains(&set_aside), "{set_aside}");
    let verdicts = std::fs::read_to_string(bench.path("run/verdicts.jsonl")).unwrap();
    assert!(verdicts.contains("\"select_prompt\\\" cannot be filled in"), "{verdicts}");
}

#[test]
fn a_field_with_the_name_of_the_last_step_is_told_before_a_closing_turn_needs_it() {
    let task = TASK.replace(r#""answer": {"kind""#, r#""closing": {}, "answer": {"kind""#);
    let coin = |i: usize| {
        let fields = serde_json::json!({"hint": "Well?", "answer": "no"});
        serde_json::json!({"question": format!("A coin is heads up. {i}. Is it heads up?"), "fields": fields})
    };
    let bench = Bench::of(&task, &(0..5).map(coin).collect::<Vec<_>>());
    let output = bench.curate();
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains("its field \"answer\" has the name of a step"), "{line}");
    assert_eq!(std::fs::read_to_string(bench.path("run/samples.jsonl")).unwrap_or_default(), "");
}
