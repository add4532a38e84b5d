//! A run directory under repetition: what is finished is not done again, and nothing unfinished, foreign
//! or outdated is taken for the run's own.

use std::path::Path;
use std::sync::Mutex;

use super::survival_tests::Script;
use super::*;
use crate::answer::{AnswerOptions, Answerer};
use crate::engine::{ChatTemplate, Message, Request, Scheduler, Scripted};
use crate::{EngineOptions, Progress, Update};

const MODEL: &[u8] = include_bytes!("../../fixtures/coin-flip-tiny-q8_0.gguf");

fn question(i: usize) -> Question {
    let names = ["Ann", "Bob", "Carla", "Dan", "Eve"];
    let text = format!(
        "A coin is heads up. {} flips the coin. {} flips the coin. Is the coin still heads up?",
        names[i % 5],
        names[i / 5]
    );
    Question::new(format!("q{i}"), text, vec!["yes".into()])
}

fn setup(dir: &Path, out: &str) -> Setup {
    let model = dir.join("model.gguf");
    std::fs::write(&model, MODEL).unwrap();
    let task = Task::load("coin-flip").unwrap();
    Setup { model, task, questions: (0..22).map(question).collect(), out: dir.join(out), seed: 5 }
}

/// A run with every question answered "yes" by a script.
fn curated(dir: &Path, out: &str) -> Run {
    let mut run = Run::create(&setup(dir, out), &mut Context::new()).unwrap();
    let mut engine = Scripted::new(|_: &Request| "Answer: yes".into());
    run.curate(&CurateOptions::default(), &mut Context::new().engine(&mut engine)).unwrap();
    run
}

fn options() -> TrainOptions {
    TrainOptions { max_steps: Some(2), rank: 2, lr: 1e-3, ..TrainOptions::default() }
}

/// Every note of progress, with its stage.
#[derive(Default)]
struct Notes(Mutex<Vec<(Stage, String)>>);

impl Progress for Notes {
    fn update(&self, update: &Update) {
        self.0.lock().unwrap().push((update.stage, update.note.clone()));
    }
}

impl Notes {
    fn take(&self) -> Vec<(Stage, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn finished_training_and_evaluation_are_found_without_loading_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = curated(dir.path(), "run");
    let (data, notes) = (DataMix::default(), Notes::default());
    let mut cx = Context::new().progress(&notes);
    let held_out = [question(23), question(24)];
    let training = run.train(&options(), &data, &mut cx).unwrap();
    assert!(!run.path().join("adapter.unverified.gguf").exists());
    let evaluation = run.evaluate(&held_out, None, &CurateOptions::default(), &mut cx).unwrap();
    assert!(notes.take().iter().any(|(stage, _)| *stage == Stage::Load));
    drop(run);

    let mut run = Run::open(&dir.path().join("run"), None, &mut cx).unwrap();
    // Neither changes the adapter.
    let again = TrainOptions { threads: Some(1), recompute: crate::train::Recompute::Always, ..options() };
    assert_eq!(run.train(&again, &data, &mut cx).unwrap(), training);
    assert_eq!(run.evaluate(&held_out, None, &CurateOptions::default(), &mut cx).unwrap(), evaluation);
    let loaded: Vec<_> =
        notes.take().into_iter().filter(|(stage, _)| matches!(stage, Stage::Load | Stage::Train)).collect();
    assert!(loaded.is_empty(), "{loaded:?}");

    let other = TrainOptions { lr: 2e-3, ..options() };
    assert_ne!(run.train(&other, &data, &mut cx).unwrap().loss_last, training.loss_last);
}

#[test]
fn an_adapter_of_interrupted_training_is_not_measured() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = curated(dir.path(), "run");
    std::fs::write(run.path().join("adapter.gguf"), "not verified").unwrap();
    let refusal =
        run.evaluate(&[question(23)], None, &CurateOptions::default(), &mut Context::new()).unwrap_err();
    assert!(refusal.to_string().contains("no finished adapter"), "{refusal}");
}

#[test]
fn files_that_training_needs_are_checked_before_sampling() {
    let dir = tempfile::tempdir().unwrap();
    let run = curated(dir.path(), "run");
    for data in [
        DataMix { init_adapter: Some(run.model().into()), ..DataMix::default() },
        DataMix { extra_runs: vec![dir.path().join("nowhere")], ..DataMix::default() },
    ] {
        let refusal = run.check_data(&data, &options()).unwrap_err().to_string();
        assert!(refusal.contains("is not a LoRA adapter") || refusal.contains("nowhere"), "{refusal}");
    }
}

#[test]
fn training_with_other_options_keeps_the_old_adapter_and_drops_its_figures() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = curated(dir.path(), "run");
    let mut cx = Context::new();
    run.train(&options(), &DataMix::default(), &mut cx).unwrap();
    let first = std::fs::read(run.adapter().unwrap()).unwrap();
    run.evaluate(&[question(23), question(24)], None, &CurateOptions::default(), &mut cx).unwrap();
    let decided = run.report().unwrap().decision;
    assert!(decided.is_some());
    run.decide(&[], &Default::default(), &CurateOptions::default(), &mut cx).unwrap();
    assert_eq!(run.report().unwrap().decision, decided, "the evaluation decided after training");
    run.train(&TrainOptions { lr: 2e-3, ..options() }, &DataMix::default(), &mut cx).unwrap();
    assert_eq!(std::fs::read(run.path().join("adapter.previous.gguf")).unwrap(), first);
    let report = run.report().unwrap();
    assert_eq!((report.evaluation, report.decision), (None, None), "they were those of the old adapter");
}

#[test]
fn training_questions_are_not_measured_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = curated(dir.path(), "run");
    let eval = [question(23), question(3)];
    let refusal = run.evaluate(&eval, None, &CurateOptions::default(), &mut Context::new()).unwrap_err();
    assert!(refusal.to_string().contains("\"q3\" is also among the training questions"), "{refusal}");
}

#[test]
fn another_adapters_figures_do_not_replace_those_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = curated(dir.path(), "run");
    let mut cx = Context::new();
    let held_out = [question(23), question(24)];
    run.train(&options(), &DataMix::default(), &mut cx).unwrap();
    let other = dir.path().join("other.gguf");
    std::fs::copy(run.adapter().unwrap(), &other).unwrap();
    run.train(&TrainOptions { lr: 2e-3, ..options() }, &DataMix::default(), &mut cx).unwrap();
    run.evaluate(&held_out, None, &CurateOptions::default(), &mut cx).unwrap();
    let read = |name: &str| std::fs::read(dir.path().join("run").join(name)).unwrap();
    let own = ["evaluation.json", "decision.json", "evaluation/distilled.json"];
    let before = own.map(read);
    let evaluation = run.evaluate(&held_out, Some(&other), &CurateOptions::default(), &mut cx).unwrap();
    assert_eq!(own.map(read), before);
    let folder = std::fs::read_dir(run.path().join("evaluation")).unwrap();
    let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("adapter-") && !name.ends_with(".answers.json"));
    assert_eq!(names.len(), 1);
    let saved: crate::evaluate::Evaluation =
        serde_json::from_slice(&read(&format!("evaluation/{}", names[0]))).unwrap();
    assert_eq!(saved, evaluation);
}

#[test]
fn replayed_answers_are_sampled_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = curated(dir.path(), "run");
    let prompts: Vec<Question> =
        ["Tell me of the sea.", "What is a horse?"].map(|text| Question::new(text, text, vec![])).into();
    let data = |n: usize| DataMix { replay: prompts[..n].to_vec(), replay_share: 1.0, ..DataMix::default() };
    let notes = Notes::default();
    let mut cx = Context::new().progress(&notes);
    let mut replayed = |options: &TrainOptions, n: usize| {
        run.train(options, &data(n), &mut cx).unwrap();
        let notes = notes.take();
        let mut counts = notes.iter().filter_map(|(_, note)| note.strip_suffix(" replayed answers"));
        (
            counts.next().map(str::to_string),
            std::fs::read_to_string(run.path().join("train/replay.jsonl")).unwrap(),
        )
    };
    let (sampled, first) = replayed(&options(), 1);
    assert_eq!((sampled.as_deref(), first.lines().count()), (Some("1"), 1));
    let (sampled, second) = replayed(&TrainOptions { lr: 2e-3, ..options() }, 1);
    assert_eq!((sampled, &second), (None, &first), "they were sampled again");
    let (sampled, third) = replayed(&options(), 2);
    assert_eq!(sampled.as_deref(), Some("1"));
    assert!(third.starts_with(&first) && third.lines().count() == 2);
}

#[test]
fn a_run_keeps_the_date_on_which_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let run = curated(dir.path(), "run");
    let file = run.path().join("run.json");
    let out = run.path().to_path_buf();
    drop(run);
    assert_eq!(read_manifest(&out).unwrap().date, Some(today()));
    // As an earlier version left it.
    let manifest = Manifest { date: None, ..read_manifest(&out).unwrap() };
    std::fs::write(&file, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let began = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_721_984_461);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(began).unwrap();
    for _ in 0..2 {
        let run = Run::open(&out, None, &mut Context::new()).unwrap();
        assert_eq!(run.manifest.date.as_deref(), Some("2024-07-26"));
        drop(run);
        let run = Run::create(&setup(dir.path(), "run"), &mut Context::new()).unwrap();
        assert_eq!(run.manifest.date.as_deref(), Some("2024-07-26"));
    }

    let template = "{{ strftime_now('%d %b %Y') }} {{ messages[0].content }}";
    let template = ChatTemplate::new(Some(template), "", "").unwrap();
    let mut engine = Scheduler::new(Script { template, ..Script::new() });
    let mut cx = Context::new().engine(&mut engine);
    let mut run = Run::open(&out, None, &mut cx).unwrap();
    let engine = run.base.engine(&mut cx, None, &EngineOptions::default()).unwrap();
    let prompt = engine.decoder().unwrap().prompt(&[Message::user("?")], false).unwrap();
    let text: Vec<u8> = prompt.iter().map(|token| *token as u8).collect();
    assert_eq!(String::from_utf8(text).unwrap(), "26 Jul 2024 ?");
}

#[test]
fn a_report_is_read_while_the_run_is_in_use_and_without_its_model() {
    let dir = tempfile::tempdir().unwrap();
    let run = curated(dir.path(), "run");
    let report = Run::read_report(run.path(), None).unwrap();
    assert_eq!(report, run.report().unwrap());
    assert_eq!(report.curation.as_ref().unwrap().kept, 22);
    std::fs::remove_file(run.model()).unwrap();
    let without = Run::read_report(run.path(), None).unwrap();
    assert_eq!(without.model.sha256, report.model.sha256);
    run.write_report().unwrap();
    assert_eq!(Run::read_report(run.path(), None).unwrap(), report);
    let refusal = Run::read_report(dir.path(), None).unwrap_err().to_string();
    assert!(refusal.contains("not a run directory"), "{refusal}");
}

#[test]
fn a_run_is_not_an_extra_run_of_itself_and_others_are_read_while_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = curated(dir.path(), "run");
    let data = DataMix { extra_runs: vec![run.path().join("../run")], ..DataMix::default() };
    let refusal = run.train(&options(), &data, &mut Context::new()).unwrap_err().to_string();
    assert!(refusal.contains("is the run itself"), "{refusal}");
    let other = curated(dir.path(), "other");
    let data = DataMix { extra_runs: vec![other.path().to_path_buf()], ..DataMix::default() };
    let alone = run.train(&options(), &DataMix::default(), &mut Context::new()).unwrap();
    let both = run.train(&options(), &data, &mut Context::new()).unwrap();
    assert_eq!(both.examples, 2 * alone.examples);
}

#[test]
fn an_answerer_on_the_callers_engine_reads_the_model_file_once() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.gguf");
    std::fs::write(&model, MODEL).unwrap();
    let task = Task::load("coin-flip").unwrap();
    let options = AnswerOptions {
        model: &model,
        adapter: None,
        task: Some(&task),
        routing: crate::answer::RoutingOptions { threshold: Some(0.0), ..Default::default() },
        engine: EngineOptions::default(),
    };
    let mut engine = Scheduler::new(Script::new());
    let mut cx = Context::new().engine(&mut engine);
    let mut answerer = Answerer::load(&options, &mut cx).unwrap();
    std::fs::remove_file(&model).unwrap();
    for i in 0..2 {
        assert!(answerer.answer(&question(i), &mut cx).unwrap().answer.is_some());
    }
}

#[test]
fn a_run_whose_task_was_written_in_the_words_of_an_earlier_version_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let out = curated(dir.path(), "run").path().to_path_buf();
    let now = std::fs::read_to_string(out.join("task.json")).unwrap();
    let then = now.replace("\"target\": \"answer\"", "\"learn\": \"answer\"");
    assert_ne!(then, now);
    let manifest = Manifest { task_sha256: sha256(then.as_bytes()), ..read_manifest(&out).unwrap() };
    std::fs::write(out.join("task.json"), then).unwrap();
    std::fs::write(out.join("run.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    for _ in 0..2 {
        Run::create(&setup(dir.path(), "run"), &mut Context::new()).unwrap();
    }
    let other = Setup { task: Task::load("biased-fact").unwrap(), ..setup(dir.path(), "run") };
    let refusal = Run::create(&other, &mut Context::new()).unwrap_err().to_string();
    assert!(refusal.contains("belongs to task"), "{refusal}");
}

/// The kinds of findings that were told.
#[derive(Default)]
struct Told(Mutex<Vec<crate::preview::FindingKind>>);

impl Progress for Told {
    fn update(&self, _: &Update) {}
    fn finding(&self, stage: Stage, finding: &crate::preview::Finding) {
        assert_eq!(stage, Stage::Curate);
        self.0.lock().unwrap().push(finding.kind);
    }
}

#[test]
fn a_run_that_its_first_questions_stop_is_stopped_again_and_goes_on_when_forced() {
    use crate::preview::{Finding, FindingKind};
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::create(&setup(dir.path(), "run"), &mut Context::new()).unwrap();
    let told = Told::default();
    let mut curate = |force: bool| {
        let mut engine = Scripted::new(|_: &Request| "I do not know.".into());
        let options = CurateOptions { force, ..CurateOptions::default() };
        let found = run.curate(&options, &mut Context::new().engine(&mut engine).progress(&told));
        (found, engine.calls())
    };
    let (stopped, calls) = curate(false);
    assert!(matches!(stopped, Err(Error::Refused(_))), "{stopped:?}");
    let (again, calls_again) = curate(false);
    assert!(matches!(again, Err(Error::Refused(_))), "{again:?}");
    assert!(calls > 0 && calls_again == 0, "{calls} and {calls_again} calls");
    let (forced, _) = curate(true);
    let forced = forced.unwrap();
    assert_eq!((forced.questions, forced.kept), (22, 0));
    assert_eq!(forced.findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [FindingKind::Unread]);
    let saved = std::fs::read_to_string(dir.path().join("run/findings.json")).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Finding>>(&saved).unwrap(), forced.findings);
    assert_eq!(*told.0.lock().unwrap(), [FindingKind::Unread], "a warning where it is not the error");
}
