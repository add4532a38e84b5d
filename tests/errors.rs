//! The program's expected failures: one clear line, an exit code, and no loss of data.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use secondnature::gguf::GgufWriter;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coin-flip-tiny-q8_0.gguf")
}

/// A fast task: four tokens, two samples. `choice` determines whether there are answers.
fn quick_task(choice: &str) -> String {
    format!(
        r#"{{"name": "quick", "description": "For tests.", "method": "chain-of-thought",
            "system1": {{"prompt": "{{{{ question }}}}", "max_tokens": 4, "temperature": 0.0}},
            "system2": [{{"name": "answer", "prompt": "{{{{ question }}}} Answer yes or no.", "max_tokens": 4}}],
            "answer": {{"kind": "choice", "choices": [{choice}]}},
            "vote": {{"samples": 2, "threshold": 0.5, "min_samples": 1, "confidence": 0.95}}}}"#
    )
}

/// A directory with the files of a run, in which the program runs.
struct Workbench(tempfile::TempDir);

impl Workbench {
    fn new() -> Workbench {
        let bench = Workbench(tempfile::tempdir().unwrap());
        let ask = |name: &str, i: usize| {
            format!(
                "{{\"question\": \"A coin is heads up. {name} flips the coin. {i} Is the coin still heads up?\"}}\n"
            )
        };
        bench.write("train.jsonl", (0..6).map(|i| ask("Mia", i)).collect::<String>());
        bench.write("eval.jsonl", (0..3).map(|i| ask("Tom", i)).collect::<String>());
        bench.write("quick.json", quick_task(r#""yes", "no""#));
        std::fs::copy(fixture(), bench.path("model.gguf")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secondnature"));
        command.args(args).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    fn distill(&self, model: &str, task: &str, questions: &str) -> Command {
        self.command(&[
            "distill",
            "--model",
            model,
            "--task",
            task,
            "--questions",
            questions,
            "--eval",
            "eval.jsonl",
            "--out",
            "run",
        ])
    }

    fn curate(&self, model: &str) -> Command {
        self.command(&[
            "curate",
            "--model",
            model,
            "--task",
            "quick.json",
            "--questions",
            "train.jsonl",
            "--out",
            "run",
        ])
    }
}

#[track_caller]
fn succeed(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs `command`, which must fail with exit code `code` and one line that contains all `words`.
#[track_caller]
fn fail_with(mut command: Command, code: i32, words: &[&str]) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let line = stderr.strip_suffix('\n').unwrap_or("");
    assert!(line.starts_with("secondnature: ") && !line.contains('\n'), "not one line: {stderr:?}");
    for word in words {
        assert!(line.contains(word), "{word:?} is missing in: {line}");
    }
}

#[track_caller]
fn fail(command: Command, words: &[&str]) {
    fail_with(command, 1, words);
}

#[test]
fn a_missing_model_is_named() {
    let b = Workbench::new();
    fail(b.distill("missing.gguf", "coin-flip", "train.jsonl"), &["missing.gguf", "No such file"]);
    assert!(!b.path("run").exists(), "no run directory is made for a model that cannot be used");
    let answer = ["answer", "--model", "missing.gguf", "--task", "coin-flip", "heads?"];
    fail(b.command(&answer), &["missing.gguf"]);
    fail(b.command(&["inspect", "missing.gguf"]), &["missing.gguf"]);
}

#[test]
fn a_file_that_is_not_a_gguf_is_named() {
    let b = Workbench::new();
    b.write("notes.txt", "Dear diary, today I bought a GPU. ".repeat(100));
    b.write("empty.gguf", "");
    for file in ["notes.txt", "empty.gguf"] {
        fail(b.distill(file, "coin-flip", "train.jsonl"), &[file, "GGUF"]);
        fail(b.command(&["inspect", file]), &[file, "GGUF"]);
        fail(b.command(&["answer", "--model", file, "--task", "coin-flip", "heads?"]), &[file, "GGUF"]);
    }
    fail(b.distill(".", "coin-flip", "train.jsonl"), &["directory"]);
    assert!(!b.path("run").exists());
}

#[test]
fn a_truncated_gguf_is_named_wherever_it_ends() {
    let b = Workbench::new();
    let whole = std::fs::read(fixture()).unwrap();
    for part in [30, 1000, whole.len() / 2, whole.len() - 1] {
        b.write("part.gguf", &whole[..part]);
        fail(b.distill("part.gguf", "coin-flip", "train.jsonl"), &["part.gguf", "truncated"]);
        fail(b.command(&["answer", "--model", "part.gguf", "--task", "coin-flip", "heads?"]), &["part.gguf"]);
    }
}

#[test]
fn an_unsupported_architecture_lists_the_supported_ones() {
    let b = Workbench::new();
    let mut gguf = GgufWriter::new();
    gguf.str("general.architecture", "mamba");
    gguf.tensor_f32("token_embd.weight", &[32, 4], &[0.5; 128]);
    gguf.write(&b.path("mamba.gguf")).unwrap();
    fail(b.distill("mamba.gguf", "coin-flip", "train.jsonl"), &["mamba", "supported: llama", "qwen2"]);
    assert!(!b.path("run").exists());
}

#[test]
fn a_malformed_question_is_named_by_its_line() {
    let b = Workbench::new();
    b.write("bad.jsonl", "{\"question\": \"one?\"}\n{\"question\": \"two?\"\n");
    fail(b.distill("model.gguf", "coin-flip", "bad.jsonl"), &["bad.jsonl:2"]);
    b.write("bad.jsonl", "{\"question\": \"one?\"}\n\n{\"query\": \"two?\"}\n");
    fail(b.distill("model.gguf", "coin-flip", "bad.jsonl"), &["bad.jsonl:3", "\"question\""]);
    b.write("bad.jsonl", b"{\"question\": \"\xff?\"}\n");
    fail(b.distill("model.gguf", "coin-flip", "bad.jsonl"), &["bad.jsonl:1", "UTF-8"]);
    fail(b.distill("model.gguf", "coin-flip", "missing.jsonl"), &["missing.jsonl", "No such file"]);
}

#[test]
fn an_empty_question_file_is_named() {
    let b = Workbench::new();
    b.write("empty.jsonl", "\n \n");
    fail(b.distill("model.gguf", "coin-flip", "empty.jsonl"), &["empty.jsonl", "no question"]);
}

#[test]
fn held_out_questions_must_not_be_training_questions() {
    let b = Workbench::new();
    b.write("eval.jsonl", b.read("train.jsonl"));
    fail(b.distill("model.gguf", "coin-flip", "train.jsonl"), &["--eval", "training"]);
}

#[test]
fn an_unknown_task_lists_those_there_are() {
    let b = Workbench::new();
    fail(b.distill("model.gguf", "coinflip", "train.jsonl"), &["coinflip", "coin-flip", "biased-fact"]);
    fail(b.command(&["tasks", "coinflip"]), &["coinflip", "coin-flip"]);
    fail(b.command(&["tasks", "show", "rar"]), &["\"rar\"", "rar-1", "rar-2"]);
    fail(b.command(&["tasks", "show", "cot.numbers.sentence"]), &["cot.numbers.sentence", "answers: text"]);
    fail(b.command(&["tasks", "programs", "--answer", "numbers"]), &["--answer", "number, text, date"]);
    fail_with(
        b.command(&["tasks", "programs", "--method", "chain"]),
        2,
        &["\"chain\"", "plain, cot, s2a", "--help"],
    );
    b.write("bad.json", "{\"name\": \"x\"");
    fail(b.distill("model.gguf", "bad.json", "train.jsonl"), &["bad.json"]);
    b.write(
        "bad.json",
        quick_task(r#""yes", "no""#).replace("\"prompt\": \"{{ question }} A", "\"promt\": \"A"),
    );
    fail(
        b.distill("model.gguf", "bad.json", "train.jsonl"),
        &["bad.json: \"system2\" step 1: unknown field \"promt\"; did you mean \"prompt\"?"],
    );
}

#[test]
fn wrong_arguments_are_one_line_and_exit_code_2() {
    let b = Workbench::new();
    fail_with(b.command(&["distil"]), 2, &["distil", "--help"]);
    fail_with(b.command(&["distill", "--out", "run"]), 2, &["--model", "distill --help"]);
    fail_with(b.command(&["questions", "coin-flip", "--n", "many"]), 2, &["many", "--n"]);
    fail_with(b.command(&["questions", "coin-flip", "--split", "dev"]), 2, &["dev", "--split"]);
    fail(b.command(&["questions", "riddles"]), &["riddles", "coin-flip"]);
}

#[test]
fn options_that_cannot_work_are_named_before_any_work() {
    let b = Workbench::new();
    for (option, value) in [
        ("--rank", "0"),
        ("--lr", "7"),
        ("--threshold", "1.5"),
        ("--modules", "attn_z"),
        ("--min-kept-share", "2"),
    ] {
        let mut command = b.distill("model.gguf", "quick.json", "train.jsonl");
        command.args([option, value]);
        fail(command, &[option]);
        assert!(!b.path("run/samples.jsonl").exists(), "{option}");
    }
    for (option, value) in [("--answer", "number"), ("--minutes", "3")] {
        let mut command = b.distill("model.gguf", "quick.json", "train.jsonl");
        command.args([option, value]);
        fail(command, &[option, "--tune"]);
        assert!(!b.path("run").exists(), "{option}");
    }
}

#[test]
fn without_accepted_answers_training_is_refused_and_no_sample_is_lost() {
    let b = Workbench::new();
    b.write("quick.json", quick_task("\"perhaps\", \"never\""));
    fail(b.distill("model.gguf", "quick.json", "train.jsonl"), &["no answer was read", "--force"]);
    assert!(!b.path("run/adapter.gguf").exists());
    let samples = b.read("run/samples.jsonl");
    fail(b.distill("model.gguf", "quick.json", "train.jsonl"), &["no answer was read", "--force"]);
    let mut forced = b.distill("model.gguf", "quick.json", "train.jsonl");
    let forced = forced.arg("--force").output().unwrap();
    assert!(String::from_utf8_lossy(&forced.stderr).contains("kept"), "{forced:?}");
    assert!(!b.path("run/adapter.gguf").exists());
    assert_eq!(b.read("run/verdicts.jsonl").lines().count(), 6);
    assert_eq!(b.read("run/samples.jsonl"), samples, "nothing is sampled again");
}

#[test]
fn a_directory_of_another_run_is_not_changed() {
    let b = Workbench::new();
    succeed(b.curate("model.gguf"));
    let before = b.read("run/samples.jsonl");
    let mut other = std::fs::read(fixture()).unwrap();
    *other.last_mut().unwrap() ^= 1;
    b.write("other.gguf", other);
    fail(b.curate("other.gguf"), &["another model", "model.gguf", "other.gguf", "--out"]);
    let mut seed = b.curate("model.gguf");
    seed.args(["--seed", "9"]);
    fail(seed, &["seed 0", "not 9"]);
    b.write("train.jsonl", "What else?\n");
    fail(b.curate("model.gguf"), &["other questions"]);
    assert_eq!(b.read("run/samples.jsonl"), before);

    std::fs::create_dir(b.path("home")).unwrap();
    b.write("home/diary.txt", "dear");
    let args = ["curate", "--model", "model.gguf", "--task", "quick.json", "--questions", "train.jsonl"];
    let mut home = b.command(&args);
    home.args(["--out", "home"]);
    fail(home, &["home", "not a run directory"]);
    assert_eq!(std::fs::read_dir(b.path("home")).unwrap().count(), 1);
}

#[test]
fn a_stage_out_of_order_names_the_one_before() {
    let b = Workbench::new();
    fail(b.command(&["train", "--out", "run"]), &["run", "not a run directory"]);
    succeed(b.curate("model.gguf"));
    let evaluate = ["evaluate", "--out", "run", "--eval", "eval.jsonl"];
    fail(b.command(&evaluate), &["no finished adapter yet", "secondnature train"]);
    succeed(b.command(&["report", "--out", "run"]));
    std::fs::remove_file(b.path("model.gguf")).unwrap();
    fail(b.command(&["train", "--out", "run"]), &["model.gguf"]);
}

/// Limits the size of files: writing more fails, as on a full disk.
fn limit_files(command: &mut Command, bytes: u64) {
    // SAFETY: both calls are async-signal-safe and have valid arguments.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
            if libc::setrlimit(libc::RLIMIT_FSIZE, &limit) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_finished() {
    let b = Workbench::new();
    let mut full = b.curate("model.gguf");
    limit_files(&mut full, 2500);
    fail(full, &["samples.jsonl", "too large"]);
    let kept = b.read("run/samples.jsonl");
    assert!(!kept.is_empty() && kept.ends_with('\n'), "whole lines only: {kept:?}");
    succeed(b.curate("model.gguf"));
    assert!(b.read("run/samples.jsonl").starts_with(&kept), "finished samples are kept");

    let mut full = b.command(&["train", "--out", "run", "--epochs", "1"]);
    limit_files(&mut full, 20_000);
    fail(full, &["too large"]);
    assert!(!b.path("run/adapter.gguf").exists());
    for entry in
        std::fs::read_dir(b.path("run")).unwrap().chain(std::fs::read_dir(b.path("run/train")).unwrap())
    {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with(".writing"), "{name} is left behind");
    }
    succeed(b.command(&["train", "--out", "run", "--epochs", "1"]));
    assert!(b.path("run/adapter.gguf").exists());
}

#[test]
fn a_full_standard_output_is_an_error_and_a_closed_one_is_not() {
    let b = Workbench::new();
    let mut full = b.command(&["questions", "coin-flip", "--n", "2000"]);
    full.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    fail(full, &["standard output", "No space left"]);

    let mut closed = b.command(&["questions", "coin-flip", "--n", "2000"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    closed.stdout(writer);
    let output = closed.stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn ctrl_c_stops_the_run_which_can_be_resumed() {
    let b = Workbench::new();
    let questions = ["questions", "coin-flip", "--n", "400"];
    b.write("train.jsonl", succeed(b.command(&questions)).stdout);
    let curate = || {
        b.command(&[
            "curate",
            "--model",
            "model.gguf",
            "--task",
            "coin-flip",
            "--questions",
            "train.jsonl",
            "--out",
            "run",
            "--quiet",
        ])
    };
    let child = curate().stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let samples = || std::fs::read_to_string(b.path("run/samples.jsonl")).unwrap_or_default();
    while samples().lines().count() < 3 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // SAFETY: the child was not waited for, so the process id is still its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "secondnature: stopped; everything finished so far is kept; run the same command again to resume\n"
    );
    let kept = samples();
    assert!(kept.lines().count() >= 3 && kept.ends_with('\n'));
}

/// A command that keeps nothing on the way has nothing to finish first.
#[test]
fn ctrl_c_ends_a_command_without_work_to_keep_at_once() {
    let b = Workbench::new();
    let mut command = b.command(&["questions", "coin-flip", "--n", "1000000"]);
    let child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    // SAFETY: the child was not waited for, so the process id is still its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let status = child.wait_with_output().unwrap().status;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGINT));
}
