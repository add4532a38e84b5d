//! Every built-in method, from questions to a measured adapter, at small size.
//!
//! The tests assert what must hold whatever a small model writes (`truth.rs`). A grammar constrains
//! answers, so that some are accepted. Tests with a real model in their names run only if
//! `SN_TEST_MODELS` is the directory with SmolLM2-135M-Instruct, and pass without doing anything
//! otherwise. The other tests do the same with the fixture, a model that knows no English.

mod truth;
mod workbench;

use secondnature::curate::messages;
use secondnature::engine::{Decoder, Finish};
use serde_json::Value;
use truth::{Finished, check};
use workbench::{Workbench, constrain, fixture, real_model, with_thinking_mode};

/// `" Answer: "`, in GBNF.
const MARKER: &str = r#"". Answer: ""#;
/// Few possible answers, so that samples agree on some.
const CITY: &str = r#"("Paris" | "Rome" | "Cairo")"#;
const LETTERS: &str = r#"("an" | "es" | "th")"#;
const YES_OR_NO: &str = r#"("yes" | "no")"#;

/// Runs the whole pipeline on the task and the questions of `bench`, and checks all results.
fn distill(bench: &Workbench) -> Finished {
    bench.distill("run", &["--force"]);
    check(&bench.model, &bench.path("run"), &bench.path("eval.jsonl"))
}

/// The names of a sample's steps, in order. A step that ran on several items is listed once.
fn program(finished: &Finished) -> Vec<&str> {
    let whole = finished.samples.iter().find(|sample| sample.answer.is_some()).unwrap();
    let mut names: Vec<&str> = whole.steps.iter().map(|step| step.name.as_str()).collect();
    names.dedup();
    names
}

/// Runs a method for short answers, whose last step is constrained to the marker and `answer`.
fn short_answer(model: std::path::PathBuf, task: &str, kind: &str, answer: &str) -> Finished {
    let bench = Workbench::new(model);
    bench.ask(kind);
    bench.shorten(task, |json| constrain(json, MARKER, answer));
    distill(&bench)
}

/// A pairwise question as one text, for tasks that have a single field.
fn in_one_text(line: &str) -> String {
    let mut asked: Value = serde_json::from_str(line).unwrap();
    let fields = asked.as_object_mut().unwrap().remove("fields").unwrap();
    let part = |name: &str| fields[name].as_str().unwrap();
    asked["question"] = format!(
        "{}\nResponse A: {}\nResponse B: {}",
        asked["question"].as_str().unwrap(),
        part("response_a"),
        part("response_b")
    )
    .into();
    asked.to_string() + "\n"
}

#[test]
fn chain_of_thought_on_a_real_model() {
    let Some(model) = real_model() else { return };
    assert_eq!(program(&short_answer(model, "cot", "capitals", CITY)), ["reason"]);
}

#[test]
fn rephrasing_in_one_call_on_a_real_model() {
    let Some(model) = real_model() else { return };
    assert_eq!(program(&short_answer(model, "rar-1", "capitals", CITY)), ["respond"]);
}

#[test]
fn rephrasing_in_two_calls_on_a_real_model() {
    let Some(model) = real_model() else { return };
    assert_eq!(program(&short_answer(model, "rar-2", "capitals", CITY)), ["rephrase", "respond"]);
}

#[test]
fn system_2_attention_on_a_real_model() {
    let Some(model) = real_model() else { return };
    assert_eq!(program(&short_answer(model, "s2a", "biased-capitals", CITY)), ["rewrite", "respond"]);
}

#[test]
fn the_task_of_coin_flips_on_a_real_model() {
    let Some(model) = real_model() else { return };
    assert_eq!(program(&short_answer(model, "coin-flip", "coin-flip", YES_OR_NO)), ["reason"]);
}

#[test]
fn the_task_of_last_letters_on_a_real_model() {
    let Some(model) = real_model() else { return };
    let finished = short_answer(model, "last-letters", "last-letters", LETTERS);
    assert_eq!(program(&finished), ["rephrase", "respond"]);
}

#[test]
fn the_task_of_biased_facts_on_a_real_model() {
    let Some(model) = real_model() else { return };
    let bench = Workbench::new(model);
    bench.ask("biased-capitals");
    // Its answers need no marker.
    bench.shorten("biased-fact", |json| json["system2"][1]["grammar"] = format!("root ::= {CITY}").into());
    assert_eq!(program(&distill(&bench)), ["rewrite", "answer"]);
}

#[test]
fn branch_solve_merge_on_a_real_model() {
    let Some(model) = real_model() else { return };
    let bench = Workbench::new(model);
    bench.ask("pairwise-judge");
    for file in ["train.jsonl", "eval.jsonl"] {
        bench.write(file, &bench.read(file).lines().map(in_one_text).collect::<String>());
    }
    bench.shorten("bsm", several_points);
    let finished = distill(&bench);
    assert_eq!(program(&finished), ["branch", "solve", "merge"]);
    assert_each_point_is_judged(&finished);
}

/// Constrains the list of points to three lines.
fn several_points(json: &mut Value) {
    json["system2"][0]["grammar"] =
        r#"root ::= ("- " [a-z] [a-z ]{3,20} "\n"){2} "- " [a-z] [a-z ]{3,20} "\n\n""#.into();
    json["system2"][0]["max_tokens"] = 96.into();
}

fn assert_each_point_is_judged(finished: &Finished) {
    for sample in &finished.samples {
        let judged: Vec<_> = sample.steps.iter().filter(|step| step.name == "solve").collect();
        assert!((1..=3).contains(&judged.len()), "{sample:?}");
        let listed = &sample.steps[0].text;
        assert!(judged.iter().all(|step| listed.contains(step.item.as_deref().unwrap())), "{sample:?}");
    }
}

#[test]
fn the_task_of_judging_pairs_on_a_real_model() {
    let Some(model) = real_model() else { return };
    let bench = Workbench::new(model);
    bench.ask("pairwise-judge");
    bench.shorten("pairwise-judge", |json| {
        several_points(json);
        // A model of this size depends on the order alone, so that a swap changes all its answers but
        // this one. Constrained to it, all questions are accepted.
        json["system2"][2]["choices"] = serde_json::json!(["tie"]);
    });
    let finished = distill(&bench);
    assert_eq!(program(&finished), ["branch", "solve", "merge"]);
    assert_each_point_is_judged(&finished);
    for verdict in &finished.verdicts {
        let names: Vec<&str> = verdict.variants.iter().map(|v| v.perturbation.as_str()).collect();
        assert_eq!(names, ["none", "swap"]);
    }
    // Both orders are distilled.
    assert_eq!(finished.report.training.as_ref().unwrap().examples, 2 * finished.verdicts.len());
    let shares = &finished.report.evaluation.as_ref().unwrap().inconsistent;
    assert_eq!((shares.len(), shares[0].perturbation.as_str(), shares[0].system2), (1, "swap", 0.0));
}

#[test]
fn a_verdict_of_a_real_model_that_depends_on_the_order_is_rejected() {
    let Some(model) = real_model() else { return };
    let bench = Workbench::new(model);
    bench.ask("pairwise-judge");
    // Always taking the first response gives another answer when the responses are swapped.
    bench.shorten("pairwise-judge", |json| {
        several_points(json);
        json["system2"][2]["choices"] = serde_json::json!(["A"]);
    });
    let refusal = bench.refused("run", &["--force"]);
    assert!(refusal.contains("no question was kept: in none of 4"), "{refusal}");
    assert!(refusal.contains("under swap the answers to 4 of 4 questions change"), "{refusal}");
    assert!(!bench.path("run/adapter.gguf").exists());
}

#[test]
fn multi_step_arithmetic_of_a_real_model_is_refused_with_reasons_and_advice_unless_forced() {
    let Some(model) = real_model() else { return };
    let bench = Workbench::new(model);
    bench.ask("arithmetic");
    // Too hard to be right by chance.
    let hard = [("4817 * 3926 + 775", "18912317"), ("9203 * 7148 - 366", "65782678")];
    let line = |(sum, gold): &(&str, &str)| {
        serde_json::json!({"question": format!("What is {sum}?"), "answer": gold}).to_string() + "\n"
    };
    bench.write("eval.jsonl", &hard.iter().map(line).collect::<String>());
    bench.shorten("arithmetic", |json| {
        constrain(json, MARKER, "[0-9]{1,8}");
        // The numbers of a model of this size never agree.
        json["vote"] = serde_json::json!({"samples": 1, "min_samples": 1, "threshold": 0.5});
    });

    let refusal = bench.refused("run", &[]);
    for part in [
        "of 4 questions were kept; fewer than 20 are too few",
        "reasoning does not help: on 2 held-out questions System 1 is right 0.0% of the time, the System 2 vote 0.0%",
        "What may help: ",
        "min_kept ",
        "worked example in the prompt",
        "set --force to go on all the same",
    ] {
        assert!(refusal.contains(part), "{part:?} is missing in {refusal}");
    }
    // With a lower threshold there are enough labels, but reasoning still does not help.
    let refusal = bench.refused("run", &["--min-kept", "1", "--min-kept-share", "0"]);
    assert!(!refusal.contains("too few") && refusal.contains("reasoning does not help"), "{refusal}");
    let decision: Value = serde_json::from_str(&bench.read("run/decision.json")).unwrap();
    assert_eq!(decision["distill"], false);
    assert_eq!(decision["reasons"].as_array().unwrap().len(), 1, "{decision}");
    assert!(!decision["advice"].as_array().unwrap().is_empty(), "{decision}");
    assert!(!bench.path("run/adapter.gguf").exists());

    let samples = bench.read("run/samples.jsonl");
    let finished = distill(&bench);
    assert_eq!(bench.read("run/samples.jsonl"), samples, "nothing is sampled again");
    assert_eq!(program(&finished), ["reason"]);
    assert!(!finished.report.decision.as_ref().unwrap().distill, "{:?}", finished.report.decision);
}

/// Runs `thinking` on a copy of `model` that has a thinking mode, and trains on completions.
fn think(model: std::path::PathBuf) {
    let mut bench = Workbench::new(model);
    let copy = bench.path("thinks.gguf");
    with_thinking_mode(&bench.model, &copy);
    bench.model = copy;
    bench.ask("coin-flip");
    bench.shorten("thinking", |json| {
        constrain(json, r#""\n</think>\n\n""#, CITY);
        // The harder case: the target is the completion, which contained the thinking block.
        json["target"] = "completion".into();
    });
    let finished = distill(&bench);
    assert_eq!(program(&finished), ["think"]);

    let (task, llama) = (&finished.task, &finished.llama);
    let rendered = |step: &secondnature::task::Step, thinking: bool| {
        let messages = messages(step, &finished.questions[0], &[]).unwrap();
        llama.chat_template().render(&messages, true, thinking).unwrap()
    };
    // `check` compared these prompts with those that were sampled, measured and trained on.
    assert!(task.system2[0].thinking && !task.system1.thinking);
    assert!(rendered(&task.system2[0], true).ends_with("assistant\n<think>\n"));
    assert!(rendered(&task.system1, false).ends_with("assistant\n<think>\n\n</think>\n\n"));
    for sample in &finished.samples {
        assert!(sample.steps[0].text.contains("</think>"), "{sample:?}");
    }

    let examples = secondnature::distill::read_examples(&bench.path("run/train/examples.jsonl")).unwrap();
    let kept = finished.verdicts.iter().filter(|verdict| verdict.kept);
    for (example, verdict) in examples.iter().zip(kept) {
        let mut said = Vec::new();
        example.target.iter().for_each(|token| llama.piece(*token, &mut said));
        assert_eq!(String::from_utf8(said).unwrap(), verdict.answer.as_ref().unwrap().text);
    }
}

/// A thinking block that does not end has no answer, even if the completion does not show its beginning.
fn think_too_long(model: std::path::PathBuf) {
    let mut bench = Workbench::new(model);
    let copy = bench.path("thinks.gguf");
    with_thinking_mode(&bench.model, &copy);
    bench.model = copy;
    bench.ask("coin-flip");
    bench.shorten("thinking", |json| {
        json["system2"][0]["grammar"] = "root ::= [a-z ]{400}".into();
        json["system2"][0]["max_tokens"] = 8.into();
    });
    let refusal = bench.refused("run", &["--force"]);
    let samples: Vec<secondnature::curate::Sample> = truth::lines(&bench.path("run/samples.jsonl"));
    assert!(samples.len() >= 4, "{samples:?}");
    assert!(samples.iter().all(|s| s.answer.is_none() && s.finish == Finish::Length), "{samples:?}");
    let (n, fix) = (samples.len(), "which the last step should have more of");
    for part in [&format!("{n} of {n} samples hold no answer: {n} of them ended at \"max_tokens\""), fix] {
        assert!(refusal.contains(part), "{part:?} is missing in {refusal}");
    }
}

#[test]
fn thinking_of_a_real_model_is_not_trained_on() {
    let Some(model) = real_model() else { return };
    think(model);
}

#[test]
fn thinking_of_the_fixture_is_not_trained_on() {
    think(fixture());
}

#[test]
fn unfinished_thinking_of_a_real_model_has_no_answer() {
    let Some(model) = real_model() else { return };
    think_too_long(model);
}

#[test]
fn unfinished_thinking_of_the_fixture_has_no_answer() {
    think_too_long(fixture());
}

#[test]
fn methods_for_short_answers_on_the_fixture() {
    for (task, steps) in [
        ("cot", &["reason"][..]),
        ("rar-1", &["respond"]),
        ("rar-2", &["rephrase", "respond"]),
        ("s2a", &["rewrite", "respond"]),
    ] {
        assert_eq!(program(&short_answer(fixture(), task, "coin-flip", CITY)), steps);
    }
}

#[test]
fn the_unchanged_task_of_coin_flips_on_the_fixture() {
    let bench = Workbench::new(fixture());
    bench.ask("coin-flip");
    bench.write("task.json", &bench.run(&["tasks", "show", "coin-flip"]));
    let finished = distill(&bench);
    assert_eq!(program(&finished), ["reason"]);
}

/// Curates and trains on `train.jsonl` with its gold answers, without gold answers, and with wrong ones.
fn gold_changes_nothing(bench: &Workbench) {
    let with_gold = bench.read("train.jsonl");
    let change = |new: fn(&Value) -> Option<&'static str>| {
        let line = |line: &str| {
            let mut asked: Value = serde_json::from_str(line).unwrap();
            let gold = asked.as_object_mut().unwrap().remove("answer").unwrap();
            new(&gold).into_iter().for_each(|new| asked["answer"] = new.into());
            asked.to_string() + "\n"
        };
        with_gold.lines().map(line).collect::<String>()
    };
    bench.write("none.jsonl", &change(|_| None));
    bench.write("wrong.jsonl", &change(|gold| Some(if gold == "yes" { "no" } else { "yes" })));
    for (questions, out) in [("train.jsonl", "gold"), ("none.jsonl", "none"), ("wrong.jsonl", "wrong")] {
        bench.curate(questions, out);
        bench.train(out);
    }
    for file in ["verdicts.jsonl", "train/examples.jsonl"] {
        let gold = bench.read(&format!("gold/{file}"));
        assert!(!gold.is_empty());
        for other in ["none", "wrong"] {
            assert_eq!(bench.read(&format!("{other}/{file}")), gold, "{file} depends on gold answers");
        }
    }
    let precision = |out: &str| {
        let curation: Value = serde_json::from_str(&bench.read(&format!("{out}/curation.json"))).unwrap();
        curation["precision"].as_f64()
    };
    assert!(precision("none").is_none());
    let both = precision("gold").zip(precision("wrong")).map(|(right, wrong)| right + wrong);
    assert!(both.is_some_and(|both| (both - 1.0).abs() < 1e-9), "gold answers measure precision: {both:?}");
}

#[test]
fn gold_answers_change_no_label_of_a_real_model() {
    let Some(model) = real_model() else { return };
    let bench = Workbench::new(model);
    bench.ask("coin-flip");
    bench.shorten("coin-flip", |json| constrain(json, MARKER, YES_OR_NO));
    gold_changes_nothing(&bench);
}

#[test]
fn gold_answers_change_no_label_of_the_fixture() {
    let bench = Workbench::new(fixture());
    bench.ask("coin-flip");
    bench.write("task.json", &bench.run(&["tasks", "show", "coin-flip"]));
    gold_changes_nothing(&bench);
}
