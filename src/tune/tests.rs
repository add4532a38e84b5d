//! Races over scripted engines.

use std::cell::Cell;
use std::path::Path;

use super::*;
use crate::engine::{Message, Request, Scripted};

const MODEL: &[u8] = include_bytes!("../../fixtures/coin-flip-tiny-q8_0.gguf");
const CITIES: [&str; 12] =
    ["Lima", "Oslo", "Doha", "Kyiv", "Bern", "Riga", "Cairo", "Quito", "Minsk", "Sofia", "Accra", "Hanoi"];

/// City `i` lies in `land i`, and somebody thinks it is `wrong i`.
fn questions() -> Vec<Question> {
    (0..24)
        .map(|i| {
            let text =
                format!("I think {}{i} is in wrong{i}. Where is {}{i}?", CITIES[i % 12], CITIES[i % 12]);
            Question::new(format!("q{i}"), text, vec!["GOLD".into()])
        })
        .collect()
}

/// A task whose prompt begins with `word`, by which the script knows it.
fn task(word: &str) -> Task {
    let text = format!(
        r#"{{"name": "{word}", "method": "{word}", "system1": {{"prompt": "ASK {{{{ question }}}}"}},
            "system2": [{{"prompt": "{word} {{{{ question }}}}"}}], "answer": {{"kind": "text"}}}}"#
    );
    Task::from_json(&text, word).unwrap()
}

/// What the model says: by its prompt's first word, the number of its city, and its seed.
fn say(request: &Request) -> String {
    let prompt = &request.messages.last().unwrap().content;
    assert!(!prompt.contains("GOLD"), "gold reaches a prompt: {prompt}");
    let number: String =
        prompt.rsplit_once("Where is ").unwrap().1.chars().filter(char::is_ascii_digit).collect();
    let seed = request.seed;
    match prompt.split(' ').next().unwrap() {
        "good" if !seed.is_multiple_of(4) => format!("land{number}"),
        "fair" if !seed.is_multiple_of(2) => format!("land{number}"),
        "sure" => format!("land{number}"),
        "paris" => "Paris".into(),
        "opinion" => format!("wrong{number}"),
        "ASK" if !seed.is_multiple_of(3) => format!("wrong{number}"),
        "silent" => String::new(),
        _ => format!("odd{}", seed % 1000),
    }
}

fn setup(dir: &Path, out: &str, words: &[&str]) -> TuneSetup {
    let model = dir.join("model.gguf");
    std::fs::write(&model, MODEL).unwrap();
    TuneSetup {
        model,
        questions: questions(),
        tasks: words.iter().map(|word| task(word)).collect(),
        out: dir.join(out),
        seed: 3,
        ..TuneSetup::default()
    }
}

fn options() -> TuneOptions {
    TuneOptions {
        only_given: true,
        n_questions: 24,
        finalists: 2,
        no_own_examples: true,
        no_temperatures: true,
        ..TuneOptions::default()
    }
}

/// A stopwatch that goes on by a second with every call of the engine.
#[derive(Default)]
struct Ticks(Cell<f64>);

impl Stopwatch for Ticks {
    fn seconds(&self) -> f64 {
        self.0.get()
    }
}

/// The report, and the number of calls of the engine.
fn raced(setup: &TuneSetup, options: &TuneOptions) -> (TuneReport, u64) {
    let ticks = Ticks::default();
    let mut engine = Scripted::new(|request: &Request| {
        ticks.0.set(ticks.0.get() + 1.0);
        say(request)
    });
    let report = tune_timed(setup, options, &ticks, &mut Context::new().engine(&mut engine)).unwrap();
    let calls = engine.calls();
    (report, calls)
}

fn candidate<'a>(report: &'a TuneReport, name: &str) -> &'a CandidateReport {
    report.candidates.iter().find(|c| c.name == name).unwrap()
}

#[test]
fn the_good_program_wins_over_opinions_one_answer_to_everything_and_silence() {
    let dir = tempfile::tempdir().unwrap();
    let setup = setup(dir.path(), "t", &["opinion", "paris", "silent", "good", "fair"]);
    let (report, _) = raced(&setup, &options());
    assert_eq!(report.winner.as_deref(), Some("good"), "{:#?}", report.reasons);
    assert!(candidate(&report, "silent").dropped.as_ref().unwrap().contains("no answer"));
    assert_eq!(candidate(&report, "silent").rounds, 1);
    assert_eq!(report.baseline.as_deref(), Some("direct.opinion"));
    let chosen = Task::load(setup.out.join("task.json").to_str().unwrap()).unwrap();
    assert_eq!(chosen.system2, task("good").system2);
    assert_eq!(read_report(&setup.out).unwrap().winner, report.winner);
}

#[test]
fn a_race_of_bad_programs_ends_without_a_worthwhile_one() {
    let dir = tempfile::tempdir().unwrap();
    for words in [&["paris"][..], &["silent"], &["noise"]] {
        let (report, _) = raced(&setup(dir.path(), words[0], words), &options());
        assert!(!report.worthwhile, "{words:?}: {:?}", report.reasons);
        assert_eq!(report.winner.as_deref(), Some(words[0]), "it comes closest");
        assert!(report.reasons.concat().contains("larger model"), "{:?}", report.reasons);
    }
}

#[test]
fn an_interrupted_race_resumes_to_the_same_report_and_samples_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["opinion", "good", "fair", "noise", "paris"];
    let (whole, calls) = raced(&setup(dir.path(), "whole", &words), &options());
    let interrupted = setup(dir.path(), "interrupted", &words);
    let mut total = 0;
    for stop in [7, 40, 111] {
        let (cancel, ticks) = (crate::Cancel::new(), Ticks::default());
        let mut left = stop;
        let mut engine = Scripted::new(|request: &Request| {
            ticks.0.set(ticks.0.get() + 1.0);
            left -= 1;
            if left == 0 {
                cancel.cancel();
            }
            say(request)
        });
        let mut cx = Context::new().cancel(&cancel).engine(&mut engine);
        assert!(tune_timed(&interrupted, &options(), &ticks, &mut cx).is_err());
        drop(cx);
        total += engine.calls();
    }
    let (resumed, rest) = raced(&interrupted, &options());
    assert_eq!(total + rest, calls);
    let figures = |report: &TuneReport| {
        let figures = report.candidates.iter().map(|c| (c.name.clone(), c.features.clone(), c.votes.clone()));
        (report.winner.clone(), report.rounds.clone(), report.system1.clone(), figures.collect::<Vec<_>>())
    };
    assert_eq!(figures(&resumed), figures(&whole));
    assert_eq!(raced(&interrupted, &options()).1, 0, "a finished race calls no engine");
}

#[test]
fn a_race_ends_when_its_time_is_up_and_compares_on_the_same_questions() {
    let dir = tempfile::tempdir().unwrap();
    let setup = setup(dir.path(), "t", &["good", "fair", "noise", "opinion"]);
    let (whole, calls) = raced(&setup, &options());
    assert!(whole.rounds.last().unwrap().is_last && calls > 200, "{calls}");
    for seconds in [10.0, 60.0, 120.0, 200.0] {
        let setup = TuneSetup { out: dir.path().join(format!("of{seconds}")), ..setup.clone() };
        let minutes = TuneOptions { minutes: seconds / 60.0, ..options() };
        let (report, calls) = raced(&setup, &minutes);
        // The direct answers come after the race.
        let after = report.system1.len() as f64;
        // The first two candidates are sampled in any time.
        assert!(calls as f64 - after <= seconds.max(12.0) + 1.0, "{calls} calls in {seconds} s");
        assert!(report.winner.is_some());
        let last = report.rounds.last().unwrap();
        let judged: std::collections::HashSet<_> = report
            .candidates
            .iter()
            .filter(|c| last.candidates.contains(&c.name) && c.dropped.is_none())
            .map(|c| c.judged.questions)
            .collect();
        assert_eq!(judged.len(), 1, "{:#?}", report.rounds);
        assert_eq!(raced(&setup, &minutes).0.winner, report.winner);
    }
}

#[test]
fn gold_chooses_among_candidates_and_reaches_no_prompt_or_file_of_samples() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup(dir.path(), "t", &["good", "opinion"]);
    setup.gold = (100..120)
        .map(|i| {
            let text = format!("I think Rome{i} is in wrong{i}. Where is Rome{i}?");
            Question::new(format!("q{i}"), text, vec![format!("wrong{i}")])
        })
        .collect();
    let (report, _) = raced(&setup, &options());
    assert_eq!(report.winner.as_deref(), Some("opinion"), "gold says that the opinions are right");
    let opinion = candidate(&report, "opinion");
    assert_eq!((opinion.features.gold_accuracy, opinion.features.gold_questions), (Some(1.0), 12));
    assert_eq!(report.expected.as_ref().unwrap().vote_accuracy, Some(1.0));

    // The same question again, to learn from.
    setup.questions.push(Question { id: "other".into(), ..setup.gold[0].clone() });
    setup.out = dir.path().join("overlap");
    let error = tune(&setup, &options(), &mut Context::new()).unwrap_err().to_string();
    assert!(error.starts_with("gold: question \"q100\" is also among"), "{error}");
    setup.questions.pop();
    setup.gold[0].gold.clear();
    let error = tune(&setup, &options(), &mut Context::new()).unwrap_err().to_string();
    assert!(error.contains("\"q100\" has no answer"), "{error}");
}

#[test]
fn answers_in_the_question_file_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let with = setup(dir.path(), "with", &["good", "opinion", "fair"]);
    let mut without = TuneSetup { out: dir.path().join("without"), ..with.clone() };
    without.questions.iter_mut().for_each(|question| question.gold.clear());
    let candidates = |report: TuneReport| {
        report.candidates.into_iter().map(|c| (c.name, c.features, c.votes)).collect::<Vec<_>>()
    };
    let (with, without) = (raced(&with, &options()).0, raced(&without, &options()).0);
    assert_eq!(candidates(with), candidates(without));
    let file = std::fs::read_to_string(dir.path().join("with/tune.json")).unwrap();
    assert!(!file.contains("GOLD"));
}

#[test]
fn keep_all_samples_every_candidate_on_every_question_and_a_later_race_reuses_them() {
    let dir = tempfile::tempdir().unwrap();
    let setup = setup(dir.path(), "t", &["good", "silent", "opinion", "fair", "paris"]);
    let all = TuneOptions { keep_all: true, minutes: 0.01, ..options() };
    let (report, _) = raced(&setup, &all);
    assert!(report.candidates.iter().all(|c| c.judged.questions == 24 && c.counts.samples == 24 * 8));
    let (later, calls) = raced(&setup, &options());
    assert_eq!(calls, 0, "direct answers to the same questions are there, too");
    let fresh = raced(&TuneSetup { out: dir.path().join("fresh"), ..setup }, &options()).0;
    assert_eq!((later.winner, later.rounds), (fresh.winner, fresh.rounds));
}

#[test]
fn a_task_whose_fields_the_questions_lack_is_refused_before_the_race() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup(dir.path(), "t", &["good"]);
    setup.tasks[0].system2[0].prompt = "{{ city }}".into();
    let error = tune(&setup, &options(), &mut Context::new()).unwrap_err().to_string();
    assert!(error.contains("uses a field that the question does not have (city)"), "{error}");
}

#[test]
fn samples_of_another_program_under_the_same_name_are_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup(dir.path(), "t", &["good", "fair"]);
    raced(&setup, &options());
    setup.tasks[0].system2[0].prompt = "paris {{ question }}".into();
    let (report, calls) = raced(&setup, &options());
    assert!(calls > 0);
    assert!(candidate(&report, "good").features.top_answer > 0.9, "it says Paris now");
}

/// Samples as curation would take them are the same samples.
#[test]
fn a_candidate_is_sampled_with_the_seeds_of_curation() {
    let dir = tempfile::tempdir().unwrap();
    let setup = setup(dir.path(), "t", &["good"]);
    raced(&setup, &options());
    let journal = setup.out.join("candidates/good/samples.jsonl");
    let samples: Vec<crate::curate::Sample> =
        crate::run::Journal::read(journal).unwrap().collect::<Result<_>>().unwrap();
    assert!(samples.len() > 100);
    for sample in samples {
        assert_eq!(sample.seed, crate::curate::sample_seed(3, &sample.question, sample.index, 0));
    }
}

#[test]
fn the_best_program_is_varied_by_its_own_unanimous_samples_and_a_resumed_race_has_the_same_variation() {
    let dir = tempfile::tempdir().unwrap();
    let with = TuneOptions { no_own_examples: false, ..options() };
    let setup = setup(dir.path(), "t", &["sure", "opinion", "noise", "paris"]);
    let (report, _) = raced(&setup, &with);
    let variation = candidate(&report, "sure.own-examples");
    assert_eq!((variation.origin, variation.family.as_str()), (Origin::OwnExamples, "sure"));
    let task =
        Task::load(setup.out.join("candidates/sure.own-examples/task.json").to_str().unwrap()).unwrap();
    let examples = &task.system2[0].examples;
    assert!((2..=3).contains(&examples.len()), "{examples:?}");
    for example in examples {
        let number: String = example.output.chars().filter(char::is_ascii_digit).collect();
        assert_eq!(example.output, format!("land{number}"));
        assert!(example.question.as_ref().unwrap().ends_with(&format!("{number}?")), "{example:?}");
    }
    let again = raced(&setup, &with);
    assert_eq!((again.1, again.0.winner), (0, report.winner));
}

#[test]
fn a_program_that_is_cut_off_gets_more_room_in_the_last_round_and_keeps_what_was_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup(dir.path(), "t", &["long", "fair", "noise"]);
    setup.tasks[0].system2[0].max_tokens = 6;
    setup.tasks[0].answer = serde_json::from_str(r#"{"kind": "text", "patterns": ["so (.*)"]}"#).unwrap();
    let mut asked = std::collections::BTreeMap::<(String, u64), Vec<usize>>::new();
    let ticks = Ticks::default();
    let mut engine = Scripted::new(|request: &Request| {
        ticks.0.set(ticks.0.get() + 1.0);
        let prompt = &request.messages.last().unwrap().content;
        let Some(question) = prompt.strip_prefix("long ") else { return say(request) };
        asked.entry((question.into(), request.seed)).or_default().push(request.sampling.max_tokens);
        let wordy = if request.seed.is_multiple_of(3) { "it is near the sea and it is far" } else { "well" };
        let number = say(&Request {
            messages: vec![Message::user(prompt.replace("long ", "sure "))],
            ..request.clone()
        });
        format!("{wordy} so {number}\n")
    });
    let report = tune_timed(&setup, &options(), &ticks, &mut Context::new().engine(&mut engine)).unwrap();
    drop(engine);
    let [base, longer] = ["long", "long.longer"].map(|name| candidate(&report, name));
    assert!(base.features.cut > 0.2 && base.features.read < 0.8, "{:#?}", base.features);
    assert_eq!((longer.features.cut, longer.features.read, longer.features.questions), (0.0, 1.0, 24));
    assert_eq!(report.winner.as_deref(), Some("long.longer"), "{:#?}", report.reasons);
    assert!(report.reasons.concat().contains("which was often cut off"), "{:#?}", report.reasons);
    assert!(asked.values().any(|rooms| *rooms == [6, 12]), "what was cut is sampled again");
    let again = asked.iter().filter(|(_, rooms)| rooms.len() > 1);
    assert!({ again }.all(|((_, seed), rooms)| seed.is_multiple_of(3) && *rooms == [6, 12]), "{asked:?}");
}

#[test]
fn wordings_that_the_model_proposes_take_part() {
    let dir = tempfile::tempdir().unwrap();
    let options = TuneOptions { propose: 1, n_questions: 24, ..options() };
    let setup = setup(dir.path(), "t", &["fair", "opinion", "noise", "paris", "silent"]);
    let race = || {
        let ticks = Ticks::default();
        let mut engine = Scripted::new(|request: &Request| {
            let prompt = &request.messages.last().unwrap().content;
            if prompt.starts_with("Here are questions of one kind") {
                return "Name the land that the town truly belongs to today.".into();
            }
            if prompt.contains("truly belongs") {
                let number: String = prompt.split("Where is ").nth(1).unwrap()[..8]
                    .chars()
                    .filter(char::is_ascii_digit)
                    .collect();
                return format!("land{number}");
            }
            say(request)
        });
        let report = tune_timed(&setup, &options, &ticks, &mut Context::new().engine(&mut engine)).unwrap();
        (report, engine.calls())
    };
    let (report, _) = race();
    let proposed: Vec<_> = report.candidates.iter().filter(|c| c.origin == Origin::Proposed).collect();
    assert_eq!(proposed.len(), 1);
    assert!(proposed[0].rounds >= 3, "it joins in the third round");
    let (again, calls) = race();
    assert_eq!((calls, again.winner), (0, report.winner));
}

#[test]
fn nobody_is_dropped_for_what_a_few_questions_say_where_there_is_time_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let setup = setup(dir.path(), "t", &["noise", "paris", "good", "fair", "opinion"]);
    let (report, _) = raced(&setup, &TuneOptions { minutes: 60.0, ..options() });
    assert_eq!((report.rounds[1].candidates.len(), report.rounds[1].extent.questions), (6, 24));
    assert!(report.rounds[2].is_last && report.rounds[2].candidates.len() == 3, "{:#?}", report.rounds);
    let (report, _) = raced(
        &TuneSetup { out: dir.path().join("short"), ..setup },
        &TuneOptions { minutes: 7.0, ..options() },
    );
    let questions: Vec<usize> = report.rounds.iter().map(|round| round.extent.questions).collect();
    assert!(report.rounds[1].candidates.len() < 6, "{:#?}", report.rounds);
    assert!(questions.is_sorted() && questions[1] >= 6, "{questions:?}");
}

#[test]
fn a_race_with_too_little_time_asks_every_candidate_something_and_says_what_it_would_need() {
    let dir = tempfile::tempdir().unwrap();
    let setup = setup(dir.path(), "t", &["noise", "paris", "good", "fair", "opinion"]);
    // Six candidates: 36 calls for a whole first round.
    let minutes = TuneOptions { minutes: 20.0 / 60.0, ..options() };
    let (report, _) = raced(&setup, &minutes);
    assert!(report.candidates.iter().all(|c| c.features.questions >= 1), "{:#?}", report.rounds);
    assert_eq!((report.candidates.len(), report.unjudged.len()), (6, 0));
    assert!(report.rounds[0].extent.questions < 3, "{:#?}", report.rounds[0]);
    let shortage = report.shortage.unwrap();
    assert!((1..3).contains(&shortage.first_questions), "{shortage:?}");
    assert_eq!(shortage.questions, 24);
    // In this script samples take no less time beside others, which the estimate expects.
    let enough = TuneOptions { minutes: 4.0 * shortage.minutes_needed, ..options() };
    let (whole, calls) = raced(&TuneSetup { out: dir.path().join("whole"), ..setup.clone() }, &enough);
    assert_eq!((whole.shortage, whole.rounds[0].extent.questions), (None, 3));
    assert!((60.0 * shortage.minutes_needed) < 2.0 * calls as f64, "{calls} of {shortage:?}");

    // Not even time for one sample of each.
    let none = TuneOptions { minutes: 3.0 / 60.0, ..options() };
    let setup = TuneSetup { out: dir.path().join("none"), ..setup };
    let (report, _) = raced(&setup, &none);
    assert_eq!(report.candidates.len() + report.unjudged.len(), 6);
    assert!(report.unjudged.len() >= 2 && report.winner.is_some() && report.baseline.is_some());
    let questions = report.rounds[0].extent.questions;
    assert!(report.candidates.iter().all(|c| c.features.questions == questions), "all are asked the same");
    let again = raced(&setup, &none);
    assert_eq!((again.1, again.0.unjudged), (0, report.unjudged), "a resumed race knows who was not judged");
}

#[test]
fn a_question_that_cannot_be_asked_is_set_aside_and_a_finished_race_stays_finished() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup(dir.path(), "t", &["good", "fair", "long"]);
    setup.tasks[2].system2[0].prompt = format!("good {} {{{{ question }}}}", "word ".repeat(80));
    let long = "Some words more than fit. ".repeat(20);
    setup.questions[4].fields = Question::new("q4", format!("{long} Where is Rome4?"), vec![]).fields;
    let race = || {
        let ticks = Ticks::default();
        let mut engine = Scripted::new(|request: &Request| {
            ticks.0.set(ticks.0.get() + 1.0);
            say(request)
        })
        .with_limit(60);
        let mut cx = Context::new().engine(&mut engine);
        let report = tune_timed(&setup, &options(), &ticks, &mut cx).unwrap();
        drop(cx);
        (report, engine.calls())
    };
    let (report, calls) = race();
    assert!(calls > 100);
    let good = candidate(&report, "good");
    assert_eq!((good.judged.questions, good.features.questions), (24, 23));
    assert!(good.votes.iter().all(|votes| votes.question != "q4"));
    let expected = report.expected.as_ref().unwrap();
    let kept = report.vote_sizes.iter().find(|size| Some(size.samples) == report.samples);
    let kept = kept.map_or(good.features.kept, |size| size.kept_share);
    assert!((expected.kept_share - kept * 23.0 / 24.0).abs() < 1e-9, "{expected:?}");
    let told = report.reasons.last().unwrap();
    assert!(told.starts_with("It cannot be asked 1 of 24 questions") && told.contains("tokens"), "{told}");
    let why = candidate(&report, "long").dropped.clone().unwrap();
    assert!(why.starts_with("no question can be asked: ") && why.contains("tokens"), "{why}");
    assert_eq!(race().1, 0, "nothing is asked again");
}

#[test]
fn a_candidate_is_dropped_in_the_words_of_the_preview() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup(dir.path(), "t", &["good", "fair", "lost"]);
    // The last step sees what the first one writes, which has nothing of the question.
    let text = r#"{"name": "lost", "method": "lost", "system1": {"prompt": "ASK {{ question }}"},
        "system2": [{"name": "rewrite", "prompt": "hidden {{ question }}"},
                    {"name": "answer", "prompt": "sure of {{ rewrite }}"}], "answer": {"kind": "text"}}"#;
    setup.tasks[2] = Task::from_json(text, "lost").unwrap();
    let ticks = Ticks::default();
    let mut engine = Scripted::new(|request: &Request| {
        ticks.0.set(ticks.0.get() + 1.0);
        match request.messages[0].content.split(' ').next().unwrap() {
            "hidden" => "Name what was asked for.".into(),
            "sure" => format!("odd{}", request.seed % 7),
            _ => say(request),
        }
    });
    let report = tune_timed(&setup, &options(), &ticks, &mut Context::new().engine(&mut engine)).unwrap();
    let lost = candidate(&report, "lost");
    assert!(
        lost.dropped.as_ref().unwrap().contains("without any word of the question"),
        "{:?}",
        lost.dropped
    );
    assert_eq!(lost.rounds, 1);
}

/// At 0.4 the model always says what is wrong, at 1.0 it is right more often than at its own temperature.
fn by_temperature(request: &Request) -> String {
    let prompt = &request.messages.last().unwrap().content;
    if !prompt.starts_with("warm ") && !prompt.starts_with("other ") {
        return say(request);
    }
    let number: String =
        prompt.rsplit_once("Where is ").unwrap().1.chars().filter(char::is_ascii_digit).collect();
    let n: u64 = number.parse().unwrap();
    match request.sampling.temperature {
        // As often right as "fair", by other seeds.
        _ if prompt.starts_with("other ") && (request.seed / 2).is_multiple_of(2) => format!("land{number}"),
        _ if prompt.starts_with("other ") => format!("odd{}", request.seed % 1000),
        t if t < 0.5 => format!("mistake{number}"),
        t if t > 0.9 && !request.seed.is_multiple_of(3) => format!("land{number}"),
        // Its votes are right for seven of eight questions.
        t if t < 0.9 && !n.is_multiple_of(8) && !request.seed.is_multiple_of(10) => format!("land{number}"),
        _ => format!("odd{}", request.seed % 1000),
    }
}

fn raced_by_temperature(setup: &TuneSetup, options: &TuneOptions) -> (TuneReport, u64) {
    let ticks = Ticks::default();
    let mut engine = Scripted::new(|request: &Request| {
        ticks.0.set(ticks.0.get() + 1.0);
        by_temperature(request)
    });
    let mut cx = Context::new().engine(&mut engine);
    let report = tune_timed(setup, options, &ticks, &mut cx).unwrap();
    drop(cx);
    (report, engine.calls())
}

#[test]
fn the_best_program_is_varied_in_temperature_and_votes_decide_not_how_much_samples_agree() {
    let dir = tempfile::tempdir().unwrap();
    let with = TuneOptions { no_temperatures: false, ..options() };
    // Others that confirm the truth, too seldom to win themselves.
    let setup = setup(dir.path(), "t", &["warm", "fair", "other", "noise"]);
    let (report, _) = raced_by_temperature(&setup, &with);
    let [base, cooler, warmer] = ["warm", "warm.cooler", "warm.warmer"].map(|name| candidate(&report, name));
    assert_eq!((warmer.origin, warmer.family.as_str()), (Origin::Temperature, "warm"));
    // Its samples always agree, and nobody else says so.
    assert!(cooler.votes.iter().all(|votes| votes.answers[0].votes == votes.n));
    assert_eq!(cooler.features.consistency, base.features.consistency);
    assert!(cooler.score < base.score && base.score < warmer.score, "{:#?}", report.candidates);
    assert_eq!(report.winner.as_deref(), Some("warm.warmer"), "{:#?}", report.reasons);
    let task = Task::load(setup.out.join("task.json").to_str().unwrap()).unwrap();
    assert_eq!(task.system2[0].temperature, 1.0);
    let again = raced_by_temperature(&setup, &with);
    assert_eq!((again.1, again.0.winner), (0, report.winner));
}

#[test]
fn a_variation_in_temperature_that_says_the_same_does_not_replace_its_base() {
    let dir = tempfile::tempdir().unwrap();
    let with = TuneOptions { no_temperatures: false, ..options() };
    let (report, _) = raced(&setup(dir.path(), "t", &["good", "fair", "sure"]), &with);
    let names: Vec<&str> = report.candidates.iter().map(|c| c.name.as_str()).collect();
    assert!(names.contains(&"sure.cooler") && names.contains(&"sure.warmer"), "{names:?}");
    assert_eq!(report.winner.as_deref(), Some("sure"));
}

#[test]
fn other_temperatures_cost_the_finalists_no_question() {
    let dir = tempfile::tempdir().unwrap();
    let setup = setup(dir.path(), "t", &["good", "fair", "noise", "opinion"]);
    let short = TuneOptions { minutes: 200.0 / 60.0, ..options() };
    let (without, _) = raced(&setup, &short);
    assert!(without.shortage.is_some());
    let setup = TuneSetup { out: dir.path().join("with"), ..setup };
    let (with, _) = raced(&setup, &TuneOptions { no_temperatures: false, ..short });
    assert_eq!(with.rounds, without.rounds);
}

#[test]
fn the_written_vote_is_as_large_as_is_worth_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup(dir.path(), "t", &["sure", "fair"]);
    setup.tasks.iter_mut().for_each(|task| task.vote.samples = 16);
    let (report, _) = raced(&setup, &options());
    let sizes: Vec<usize> = report.vote_sizes.iter().map(|size| size.samples).collect();
    assert_eq!(sizes, [4, 8, 12, 16]);
    // All samples agree; 9 of 12 is the first weakest vote that is as sure as the rule asks for.
    assert_eq!((report.winner.as_deref(), report.samples), (Some("sure"), Some(12)));
    assert!(report.vote_sizes.iter().all(|size| size.kept_share == 1.0 && size.needed == 4.0));
    let chosen = Task::load(setup.out.join("task.json").to_str().unwrap()).unwrap();
    assert_eq!(chosen.vote.samples, 12);
    // Of fewer samples nothing is known of the task's own number.
    setup.out = dir.path().join("few");
    let (report, _) = raced(&setup, &TuneOptions { samples: Some(8), ..options() });
    assert_eq!((report.vote_sizes.len(), report.samples), (2, None));
    let chosen = Task::load(setup.out.join("task.json").to_str().unwrap()).unwrap();
    assert_eq!(chosen.vote.samples, 16);
}

/// Questions with gold that are none of [`questions`].
fn gold(n: usize) -> Vec<Question> {
    (100..100 + n)
        .map(|i| Question::new(format!("g{i}"), format!("Where is Rome{i}?"), vec![format!("land{i}")]))
        .collect()
}

#[test]
fn gold_that_cannot_judge_is_refused_before_anything_is_sampled() {
    let dir = tempfile::tempdir().unwrap();
    let setup = setup(dir.path(), "t", &["good"]);
    let refusal = |gold: Vec<Question>, change: &dyn Fn(&mut TuneSetup)| {
        let mut setup = TuneSetup { gold, ..setup.clone() };
        change(&mut setup);
        let mut engine = Scripted::new(|request: &Request| {
            assert!(
                request.messages[0].content.contains("Where is"),
                "only what finds the rule out is asked"
            );
            "7".into()
        });
        let mut cx = Context::new().engine(&mut engine);
        let error = tune(&setup, &options(), &mut cx).unwrap_err().to_string();
        drop(cx);
        (error, engine.calls())
    };
    let (few, calls) = refusal(gold(19), &|_| {});
    assert!(few.starts_with("gold: holds 19 questions") && few.contains("expected 20 or more"), "{few}");
    assert_eq!(calls, 0);
    let (unread, calls) = refusal(gold(20), &|setup| {
        setup.tasks[0].answer = serde_json::from_str(r#"{"kind": "date"}"#).unwrap();
    });
    assert!(unread.contains("question \"g100\" (and of 19 more) is \"land100\""), "{unread}");
    assert!(unread.contains(r#""kind":"date""#) && calls == 0, "{unread}");
    let (shared, _) = refusal(gold(20), &|setup| {
        setup.questions[3] = Question::new("q3", "where  is ROME105?", vec![]);
    });
    assert!(shared.contains("question \"g105\" is also among"), "{shared}");

    // A rule that is found out from direct answers is known a little later.
    let found_out = TuneSetup {
        tasks: vec![],
        methods: vec!["cot".parse().unwrap()],
        gold: gold(20),
        out: dir.path().join("found"),
        ..setup.clone()
    };
    let mut engine = Scripted::new(|_: &Request| "7".into());
    let mut cx = Context::new().engine(&mut engine);
    let error = tune(&found_out, &options(), &mut cx).unwrap_err().to_string();
    drop(cx);
    assert!(error.contains("is \"land100\"") && error.contains(r#""kind":"number""#), "{error}");
    assert!(engine.calls() <= 16, "{}", engine.calls());
}

#[test]
fn a_named_method_is_given_and_nothing_given_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup(dir.path(), "t", &[]);
    let entrants = |setup: &TuneSetup, only_given| {
        let brief = setup.brief(&programs::short_text());
        entrants::entrants(setup, only_given, &brief, &setup.questions)
    };
    let error = entrants(&setup, true).unwrap_err().to_string();
    assert!(error.starts_with("only_given: leaves the library out"), "{error}");
    setup.add("cot").unwrap();
    let of_cot = entrants(&setup, true).unwrap();
    assert!(of_cot.iter().any(|e| e.name.starts_with("cot.")), "{:?}", of_cot[0].name);
    assert!(of_cot.iter().all(|e| e.name.starts_with("cot.") || e.origin == Origin::Direct));
    assert!(entrants(&setup, false).unwrap().len() > of_cot.len(), "with more wordings of the direct prompt");
}

#[test]
fn wordings_that_the_model_does_not_propose_are_told_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let setup = setup(dir.path(), "t", &["fair", "opinion", "noise", "paris", "silent"]);
    let raced = |options: &TuneOptions| {
        let ticks = Ticks::default();
        let mut engine = Scripted::new(|request: &Request| {
            match request.messages[0].content.starts_with("Here are questions of one kind") {
                true => "No.".into(),
                false => say(request),
            }
        });
        tune_timed(&setup, options, &ticks, &mut Context::new().engine(&mut engine)).unwrap()
    };
    let options = TuneOptions { propose: 3, n_questions: 24, ..options() };
    for _ in 0..2 {
        let why = raced(&options).not_proposed.unwrap();
        assert!(why.starts_with("The model wrote 0 of the 3 wordings"), "{why}");
        assert!(why.contains(": of 9 of 9 that are not used, "), "{why}");
    }
    assert_eq!(raced(&TuneOptions { propose: 0, ..options }).not_proposed, None);
    let short =
        TuneSetup { tasks: vec![task("good")], questions: questions()[..2].to_vec(), ..setup.clone() };
    let short = TuneSetup { out: dir.path().join("short"), ..short };
    let mut engine = Scripted::new(say);
    let mut cx = Context::new().engine(&mut engine);
    let report = tune_timed(&short, &options, &Ticks::default(), &mut cx).unwrap();
    assert!(report.not_proposed.unwrap().contains("the race ended before the round"));
}

#[test]
fn tasks_of_one_name_are_two_candidates_with_names_and_samples_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup(dir.path(), "t", &["good", "fair"]);
    setup.tasks.iter_mut().for_each(|task| task.name = "mine".into());
    let found =
        entrants::entrants(&setup, true, &setup.brief(&programs::short_text()), &setup.questions).unwrap();
    let names: Vec<(&str, &str)> =
        found.iter().map(|entrant| (entrant.name.as_str(), entrant.task.name.as_str())).collect();
    assert_eq!(names[..2], [("mine", "mine"), ("mine-2", "mine-2")]);
    // Variations are named by the task.
    let longer: Vec<Task> = found[..2].iter().filter_map(|e| longer::with_more_room(&e.task)).collect();
    assert_ne!(longer[0].name, longer[1].name);
    assert_eq!(raced(&setup, &options()).0.winner.as_deref(), Some("mine"));
}

#[test]
fn a_program_of_the_library_leaves_the_kind_of_answers_to_be_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = TuneSetup { tasks: vec![], ..setup(dir.path(), "t", &[]) };
    setup.add("cot.steps.sentence").unwrap();
    assert!(setup.tasks.is_empty() && setup.programs == ["cot.steps.sentence"]);
    let mut engine = Scripted::new(|_: &Request| "7".into());
    let report = tune(&setup, &options(), &mut Context::new().engine(&mut engine)).unwrap();
    assert!(matches!(&report.answer, AnswerRule::Number { .. }), "{:?}", report.answer);
    assert!(report.candidates.iter().any(|c| c.name == "cot.steps.sentence"));
    let unfit = TuneSetup { answer: Some(programs::parse_answer_kind("number").unwrap()), ..setup.clone() };
    let unfit = TuneSetup { programs: vec!["cot.steps.choices".into()], out: dir.path().join("u"), ..unfit };
    let error = tune(&unfit, &options(), &mut Context::new().engine(&mut engine)).unwrap_err().to_string();
    assert!(error.contains("secondnature tasks show cot.steps.choices --answer KIND"), "{error}");
}

#[test]
fn gold_questions_need_the_fields_that_programs_of_the_library_show() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup(dir.path(), "t", &["good"]);
    setup.gold = (0..20)
        .map(|i| Question::new(format!("g{i}"), format!("Where is G{i}?"), vec!["x".into()]))
        .collect();
    for question in &mut setup.questions {
        question.fields.insert("context".into(), "some".into());
    }
    let found = |only_given| {
        entrants::entrants(&setup, only_given, &setup.brief(&programs::short_text()), &racing_order(&setup))
    };
    let error = found(false).unwrap_err().to_string();
    assert!(error.starts_with("gold: question \"g0\" has no \"context\""), "{error}");
    assert!(found(true).is_ok(), "the given task shows the question alone");
}

#[test]
fn samples_of_a_task_that_nobody_knows_are_taken_again() {
    let dir = tempfile::tempdir().unwrap();
    let setup = setup(dir.path(), "t", &["good", "paris"]);
    let (whole, calls) = raced(&setup, &options());
    let file = setup.out.join("candidates/good/task.json");
    std::fs::write(&file, "{}").unwrap();
    let (again, of_good) = raced(&setup, &options());
    assert!(of_good > 0 && of_good < calls, "{of_good} of {calls}");
    assert_eq!(again.winner, whole.winner);
}

#[test]
fn where_all_programs_have_faults_no_time_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup(dir.path(), "t", &["silent"]);
    setup.tasks[0].system1.prompt = "silent {{ question }}".into();
    let (report, _) = raced(&setup, &options());
    assert!(!report.worthwhile && report.candidates.iter().all(|c| c.dropped.is_some()), "{report:#?}");
    assert_eq!(report.shortage, None);
    assert!(report.reasons[0].contains("The answer rule may be of the wrong kind"), "{:?}", report.reasons);
}
