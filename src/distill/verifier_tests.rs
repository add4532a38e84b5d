//! A run directory remembers whether a verifier is in force.

use std::path::Path;

use super::*;
use crate::Cancel;
use crate::curate::Verifier;
use crate::engine::{Request, Scripted};
use crate::task::Answer;

struct Never;

impl Verifier for Never {
    fn accepts(&self, _: &Question, _: &Answer, _: &str) -> Result<bool> {
        Ok(false)
    }
}

fn create(out: &Path) -> Run {
    let setup = Setup {
        model: Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coin-flip-tiny-q8_0.gguf"),
        task: Task::load("coin-flip").unwrap(),
        questions: vec![Question::new("q", "is it up?", vec![])],
        out: out.into(),
        seed: 5,
    };
    Run::create(&setup, &mut Context::new()).unwrap()
}

fn open(out: &Path) -> Run {
    Run::open(out, None, &mut Context::new()).unwrap()
}

fn curate(mut run: Run, verifier: bool) -> Result<usize> {
    run.verifier = verifier.then(|| Arc::new(Never) as Arc<dyn Verifier>);
    let mut engine = Scripted::new(|_: &Request| "Answer: yes".into());
    Ok(run.curate(&CurateOptions::default(), &mut Context::new().engine(&mut engine))?.kept)
}

#[test]
fn a_run_begun_with_a_verifier_is_not_resumed_without_or_the_reverse() {
    let dir = tempfile::tempdir().unwrap();
    for checked in [true, false] {
        let out = dir.path().join(checked.to_string());
        assert_eq!(curate(create(&out), checked).unwrap(), usize::from(!checked));
        let before = std::fs::read(out.join("verdicts.jsonl")).unwrap();
        for run in [create, open] {
            let refusal = curate(run(&out), !checked).unwrap_err().to_string();
            let part = if checked { "begun with a verifier" } else { "begun without a verifier" };
            assert!(refusal.contains(part) && refusal.contains("set out"), "{refusal}");
            assert_eq!(std::fs::read(out.join("verdicts.jsonl")).unwrap(), before);
            assert_eq!(curate(run(&out), checked).unwrap(), usize::from(!checked), "as it was begun");
        }
    }
}

#[test]
fn a_held_out_question_is_reasoned_about_under_the_verifier_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    curate(create(dir.path()), true).unwrap();
    let held_out = [Question::new("e", "is it down?", vec!["no".into()])];
    let (acceptance, options) = (Acceptance::default(), CurateOptions::default());
    let refusal =
        open(dir.path()).compare_systems(&held_out, &acceptance, &options, &mut Context::new()).unwrap_err();
    assert!(refusal.to_string().contains("begun with a verifier"), "{refusal}");
    assert!(!dir.path().join("evaluation").exists());
}

#[test]
fn a_directory_without_a_sample_takes_any_verifier() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    assert!(!read_manifest(dir.path()).unwrap().verifier);
    // Ended before the first sample.
    let mut run = open(dir.path());
    run.verifier = Some(Arc::new(Never));
    let cancel = Cancel::new();
    cancel.cancel();
    let mut engine = Scripted::new(|_: &Request| String::new());
    let ended =
        run.curate(&CurateOptions::default(), &mut Context::new().engine(&mut engine).cancel(&cancel));
    assert!(matches!(ended, Err(Error::Cancelled)));
    drop(run);
    assert!(read_manifest(dir.path()).unwrap().verifier);
    assert_eq!(curate(open(dir.path()), false).unwrap(), 1);
    assert!(!read_manifest(dir.path()).unwrap().verifier);
    let json = std::fs::read_to_string(dir.path().join("run.json")).unwrap();
    assert!(!json.contains("verifier"), "written as before where there is none: {json}");
}

#[test]
fn gold_that_the_answer_rule_cannot_read_is_refused_before_anything_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let question = |id: &str, gold: &str| Question::new(id, format!("is {id} up?"), vec![gold.into()]);
    let refusal = |result: Result<()>| result.unwrap_err().to_string();
    let mut run = create(&dir.path().join("run"));
    run.questions.push(question("bad", "perhaps"));
    let mut engine = Scripted::new(|_: &Request| panic!("nothing is asked"));
    let mut cx = Context::new().engine(&mut engine);
    let options = CurateOptions::default();
    let error = refusal(run.curate(&options, &mut cx).map(drop));
    assert!(error.starts_with("questions: the answer of question \"bad\" is \"perhaps\""), "{error}");
    let eval = [question("held", "yes"), question("out", "7")];
    let error = refusal(run.evaluate(&eval, None, &options, &mut cx).map(drop));
    assert!(error.starts_with("eval: the answer of question \"out\" is \"7\""), "{error}");
    let error = refusal(run.decide(&eval, &Default::default(), &options, &mut cx).map(drop));
    assert!(error.starts_with("eval: the answer of question \"out\""), "{error}");
    let setup = Setup {
        model: run.model().into(),
        task: run.task.clone(),
        questions: vec![question("a", "no")],
        out: dir.path().join("new"),
        seed: 1,
    };
    let error = refusal(distill(&setup, &eval, &Options::default(), &mut cx).map(drop));
    assert!(error.starts_with("eval: the answer of question \"out\"") && !setup.out.exists(), "{error}");
    let shared = [question("A", "yes")];
    let error = refusal(distill(&setup, &shared, &Options::default(), &mut cx).map(drop));
    assert!(error.contains("\"A\" is also among the training questions"), "{error}");
}
