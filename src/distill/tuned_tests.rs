//! Distilling what a race chose: the winner's samples are the run's first.

use super::*;
use crate::engine::{Request, Scripted};
use crate::tune::{TuneOptions, TuneSetup, tune};

const MODEL: &[u8] = include_bytes!("../../fixtures/coin-flip-tiny-q8_0.gguf");

fn task(word: &str) -> Task {
    let text = format!(
        r#"{{"name": "{word}", "method": "{word}", "system1": {{"prompt": "ASK {{{{ question }}}}"}},
            "system2": [{{"prompt": "{word} {{{{ question }}}}"}}], "answer": {{"kind": "text"}}}}"#
    );
    Task::from_json(&text, word).unwrap()
}

fn say(request: &Request) -> String {
    let prompt = &request.messages.last().unwrap().content;
    match prompt.split_once(' ').unwrap() {
        ("good", city) => format!("land of {}", city.trim()),
        _ => format!("odd{}", request.seed % 1000),
    }
}

#[test]
fn curation_takes_over_the_winner_s_samples_and_takes_the_others_itself() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.gguf");
    std::fs::write(&model, MODEL).unwrap();
    let questions: Vec<Question> =
        (0..30).map(|i| Question::new(format!("q{i}"), format!("city{i}"), vec!["gold".into()])).collect();
    let (out, seed) = (dir.path().join("run"), 4);
    let choosing = TuneOptions { only_given: true, n_questions: 12, ..TuneOptions::default() };
    let setup = TuneSetup {
        model: model.clone(),
        questions: questions.clone(),
        tasks: vec![task("good"), task("noise")],
        out: out.join("tune"),
        seed,
        ..TuneSetup::default()
    };
    let mut engine = Scripted::new(say);
    let found = tune(&setup, &choosing, &mut Context::new().engine(&mut engine)).unwrap();
    assert_eq!(found.winner.as_deref(), Some("good"));

    let curated = |out: &Path, seed, verifier: Option<Arc<dyn Verifier>>| {
        let task = Task::load(setup.out.join("task.json").to_str().unwrap()).unwrap();
        let setup = Setup { model: model.clone(), task, questions: questions.clone(), out: out.into(), seed };
        let mut run = Run::create(&setup, &mut Context::new()).unwrap();
        run.verifier = verifier;
        let mut engine = Scripted::new(say);
        let curation =
            run.curate(&CurateOptions::default(), &mut Context::new().engine(&mut engine)).unwrap();
        (curation, engine.calls())
    };
    let (fresh, all) = curated(&dir.path().join("fresh"), seed, None);
    assert_eq!((all as usize, fresh.kept), (fresh.samples, 30));
    let (reused, rest) = curated(&out, seed, None);
    assert_eq!((reused.kept, reused.samples), (30, fresh.samples));
    assert_eq!(rest * 30, all * 18, "twelve of thirty questions are there already");
    assert_eq!(curated(&out, seed, None).1, 0);
}

#[test]
fn samples_of_another_seed_or_a_run_with_a_verifier_are_taken_anew() {
    struct Nobody;
    impl Verifier for Nobody {
        fn accepts(&self, _: &Question, _: &crate::task::Answer, _: &str) -> Result<bool> {
            Ok(true)
        }
    }
    for (seed, verifier) in [(5, None), (4, Some(Arc::new(Nobody) as Arc<dyn Verifier>))] {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model.gguf");
        std::fs::write(&model, MODEL).unwrap();
        let questions: Vec<Question> =
            (0..6).map(|i| Question::new(format!("q{i}"), format!("city{i}"), vec![])).collect();
        let out = dir.path().join("run");
        let setup = TuneSetup {
            model: model.clone(),
            questions: questions.clone(),
            tasks: vec![task("good")],
            out: out.join("tune"),
            seed: 4,
            ..TuneSetup::default()
        };
        let choosing = TuneOptions { only_given: true, ..TuneOptions::default() };
        tune(&setup, &choosing, &mut Context::new().engine(&mut Scripted::new(say))).unwrap();
        let setup = Setup { model, task: task("good"), questions, out, seed };
        let mut run = Run::create(&setup, &mut Context::new()).unwrap();
        run.verifier = verifier;
        let mut engine = Scripted::new(say);
        let curation =
            run.curate(&CurateOptions::default(), &mut Context::new().engine(&mut engine)).unwrap();
        assert_eq!(engine.calls() as usize, curation.samples, "seed {seed}");
    }
}

#[test]
fn a_race_without_a_worthwhile_program_is_refused_and_force_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.gguf");
    std::fs::write(&model, MODEL).unwrap();
    let setup = TuneSetup {
        model,
        questions: (0..6).map(|i| Question::new(format!("q{i}"), format!("city{i}"), vec![])).collect(),
        tasks: vec![task("noise")],
        out: dir.path().join("run"),
        ..TuneSetup::default()
    };
    let choosing = TuneOptions { only_given: true, ..TuneOptions::default() };
    let refused = |options: &Options| {
        let mut engine = Scripted::new(say);
        tune_and_distill(&setup, &[], &choosing, options, &mut Context::new().engine(&mut engine))
            .unwrap_err()
            .to_string()
    };
    let error = refused(&Options::default());
    assert!(error.contains("noise comes closest") && error.contains("set force"), "{error}");
    // With force it goes on to curation, where nothing is kept.
    assert!(!refused(&Options { force: true, ..Options::default() }).contains("comes closest"));
    let shared = [setup.questions[0].clone()];
    let error = tune_and_distill(&setup, &shared, &choosing, &Options::default(), &mut Context::new());
    assert!(error.unwrap_err().to_string().contains("is also among the training questions"));
}
