//! Each kind of finding is provoked by a scripted model, and a near miss does not provoke it.

use super::{Evidence, Prompt, findings};
use crate::curate::{ReadFrom, Sample};
use crate::engine::{Message, Request, Role, Scripted, TemplateFacts, TurnEnd};
use crate::preview::look::Look;
use crate::preview::{FindingKind, Preview, PreviewOptions};
use crate::task::{Question, Task};
use crate::{Cancel, Error, Progress, Silent, Stage, Update};

const CITIES: [(&str, &str, &str); 8] = [
    ("Doha", "Myanmar", "Qatar"),
    ("Seoul", "Armenia", "Korea"),
    ("Odesa", "Slovakia", "Ukraine"),
    ("Lisbon", "Romania", "Portugal"),
    ("Essen", "Finland", "Germany"),
    ("Zapopan", "Cuba", "Mexico"),
    ("Kisumu", "Chad", "Kenya"),
    ("Pokhara", "Peru", "Nepal"),
];

/// A question with an opinion for each city.
fn questions() -> Vec<Question> {
    let ask = |(i, (city, opinion, _)): (usize, &(&str, &str, &str))| {
        let text = format!("My colleague says that {city} lies in {opinion}. Which country is {city} in?");
        Question::new(format!("q{i}"), text, vec![])
    };
    CITIES.iter().enumerate().map(ask).collect()
}

const REWRITE: &str = "Write the text as a plain question.\\n\\nText: I believe Monet painted the Mona Lisa. Who \
    painted the Mona Lisa?\\nRewritten: Who painted the Mona Lisa?\\n\\nText: {{ question }}\\nRewritten:";

/// A task that rewrites and then answers from the rewrite alone; `rest` are further members.
fn task_with(rewrite: &str, answer: &str, rest: &str) -> Task {
    Task::from_json(
        &format!(
            r#"{{"name": "t", "description": "d", "method": "system-2-attention",
                "system1": {{"prompt": "{{{{ question }}}}\nThe name only."}},
                "system2": [
                    {{"name": "rewrite", "prompt": "{rewrite}", "max_tokens": 20, "temperature": 1.0}},
                    {{"name": "answer", "prompt": "{answer}", "max_tokens": 12, "temperature": 1.0}}
                ],
                "answer": {{"kind": "text"}}{rest}}}"#
        ),
        "test",
    )
    .unwrap()
}

fn task() -> Task {
    task_with(REWRITE, "{{ rewrite }}\\nThe country only.", "")
}

/// The city that a prompt is about; the last one named.
fn city(prompt: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    CITIES.iter().find(|(city, ..)| prompt.contains(city))
}

/// What a good model answers.
fn good(request: &Request) -> String {
    let prompt = &request.messages.last().unwrap().content;
    match city(prompt) {
        // System 1 is misled by half of the opinions.
        Some((_, opinion, country)) if prompt.ends_with("The name only.") => {
            (if country.len() > 5 { opinion } else { country }).to_string()
        }
        Some((city, ..)) if prompt.ends_with("Rewritten:") => format!("Which country is {city} in?"),
        Some((_, _, country)) => country.to_string(),
        None => "Leonardo".into(),
    }
}

/// A preview of `task` on a model that answers as `model` does; a real engine's template is left out.
fn look(task: &Task, questions: &[Question], model: impl FnMut(&Request) -> String) -> Preview {
    let options = PreviewOptions { n_questions: questions.len(), ..PreviewOptions::default() };
    let look = Look { task, questions, seed: 3, options: &options };
    look.through(&mut Scripted::new(model), &Silent, &Cancel::new()).unwrap()
}

/// Kind, step, whether it is a fault and whether it stops.
fn kinds(preview: &Preview) -> Vec<(FindingKind, Option<&'static str>, bool, bool)> {
    let step = |name: &str| ["rewrite", "answer"].into_iter().find(|step| *step == name).unwrap();
    preview.findings.iter().map(|f| (f.kind, f.step.as_deref().map(step), f.fault, f.stops)).collect()
}

/// Cancels once so many samples are there.
struct CancelAfter(u64, Cancel);

impl Progress for CancelAfter {
    fn update(&self, update: &Update) {
        assert!(update.stage == Stage::Preview && update.done <= update.total);
        if update.done >= self.0 {
            self.1.cancel();
        }
    }
}

#[test]
fn a_look_that_is_cancelled_shows_what_it_has_seen() {
    let (task, options) = (task(), PreviewOptions::default());
    let questions = with_gold();
    let look = Look { task: &task, questions: &questions, seed: 3, options: &options };
    let after = |samples| {
        let progress = CancelAfter(samples, Cancel::new());
        look.through(&mut Scripted::new(good), &progress, &progress.1)
    };
    let seen = after(9).unwrap();
    assert!(seen.shown.len() >= 2 && seen.unseen > 0, "{} shown", seen.shown.len());
    assert_eq!((seen.shown.len() + seen.unseen, seen.kept), (8, seen.shown.len()));
    assert!(seen.shown.iter().all(|question| question.samples.len() == 4));
    assert_eq!(seen.accuracy.unwrap().votes, 1.0);
    let line = format!("stopped before {} further questions", seen.unseen);
    assert!(crate::preview::terminal(&seen, 100, false).contains(&line));
    assert!(crate::preview::html(&seen).contains(&line));
    assert!(matches!(after(1), Err(Error::Cancelled)), "no question is through");
    assert_eq!(after(100).unwrap().unseen, 0);

    let options = PreviewOptions { minutes: Some(1e-9), ..PreviewOptions::default() };
    let look = Look { options: &options, ..look };
    let error = look.through(&mut Scripted::new(good), &Silent, &Cancel::new()).unwrap_err().to_string();
    assert!(error.contains("minutes") && error.contains("expected time for one or more"), "{error}");
}

#[test]
fn a_look_that_is_stopped_shows_questions_from_the_whole_file_and_those_that_were_set_aside() {
    let rest = r#", "perturbations": [{"name": "other", "fields": {"question": "{{ question }} Well?"}}]"#;
    let task = task_with(REWRITE, "{{ rewrite }}\\nThe country only.", rest);
    let mut questions = with_gold();
    let long = questions[0].text().to_string() + &" and so on".repeat(60);
    questions[0].fields.insert("question".into(), long);
    let options = PreviewOptions::default();
    let look = Look { task: &task, questions: &questions, seed: 3, options: &options };
    let after = |samples| {
        let progress = CancelAfter(samples, Cancel::new());
        look.through(&mut Scripted::new(good).with_limit(100), &progress, &progress.1)
    };
    let seen = after(20).unwrap();
    assert!(seen.unseen > 0 && seen.shown.len() + seen.unseen == 8, "{} shown", seen.shown.len());
    let ids: Vec<&str> = seen.shown.iter().map(|question| question.id.as_str()).collect();
    assert!(ids.is_sorted() && ["q0", "q4"].iter().all(|id| ids.contains(id)), "{ids:?}");
    assert!(!ids.contains(&"q1"), "those are spread over the file: {ids:?}");
    assert!(seen.shown[0].verdict.set_aside.is_some());
    assert!(seen.shown[1..].iter().all(|question| question.samples.len() == 8));
    let calls: usize = seen.cost.steps.iter().map(|step| step.calls).sum();
    assert!(calls >= 2 * 20, "what was not voted on has its cost: {calls}");
    assert!(matches!(after(1), Err(Error::Cancelled)), "a question that is set aside is no vote");
}

fn is_rewrite(request: &Request) -> bool {
    request.messages[0].content.ends_with("Rewritten:")
}

fn is_answer(request: &Request) -> bool {
    request.messages[0].content.ends_with("The country only.")
}

#[test]
fn a_good_model_has_no_finding() {
    let preview = look(&task(), &questions(), good);
    assert_eq!(kinds(&preview), [], "{:?}", preview.findings);
    assert_eq!(preview.kept, 8);
}

#[test]
fn copies_of_the_worked_example_are_found_and_stop_where_they_are_most_outputs() {
    let copies_where = |share: u64| {
        move |request: &Request| match is_rewrite(request) && request.seed % 100 < share {
            true => "Who painted the Mona Lisa?".into(),
            false => good(request),
        }
    };
    let preview = look(&task(), &questions(), copies_where(80));
    let found = kinds(&preview);
    assert_eq!(found[0], (FindingKind::CopiesPrompt, Some("rewrite"), true, true), "{found:?}");
    let finding = &preview.findings[0];
    assert_eq!(finding.examples, ["Who painted the Mona Lisa?"]);
    assert!(finding.of == 32 && finding.message.contains(&format!("{} of 32", finding.count)));
    assert!(!found.iter().any(|f| f.0 == FindingKind::SameOutput), "one cause is told once: {found:?}");

    let some = kinds(&look(&task(), &questions(), copies_where(40)));
    assert!(some.contains(&(FindingKind::CopiesPrompt, Some("rewrite"), true, false)), "{some:?}");
    let few = kinds(&look(&task(), &questions(), copies_where(6)));
    assert!(!few.iter().any(|f| f.0 == FindingKind::CopiesPrompt), "{few:?}");
}

#[test]
fn copies_of_an_example_that_is_a_turn_of_the_conversation_are_found_too() {
    let json = r#"{"name": "t", "description": "d", "method": "system-2-attention",
        "system1": {"prompt": "{{ question }}\nThe name only."},
        "system2": [
            {"name": "rewrite", "prompt": "{{ question }} Rewritten:", "examples": [
                {"question": "I believe Monet painted the Mona Lisa. Who painted the Mona Lisa?",
                 "output": "Who painted the Mona Lisa?"}]},
            {"name": "answer", "prompt": "{{ question }} {{ rewrite }}\nThe country only."}
        ],
        "answer": {"kind": "text"}}"#;
    let task = Task::from_json(json, "test").unwrap();
    let found = kinds(&look(&task, &questions(), |request| match request.messages.len() {
        3 => "Who painted the Mona Lisa?".into(),
        _ => good(request),
    }));
    assert!(found.contains(&(FindingKind::CopiesPrompt, Some("rewrite"), true, true)), "{found:?}");
}

#[test]
fn an_answer_is_shown_with_where_it_was_read() {
    let rest = r#", "closing": {"when": "unread"}"#;
    let task = task_with(REWRITE, "{{ rewrite }}\\nThe country only.", rest);
    let preview = look(&task, &questions(), |request| {
        let city = city(&request.messages[0].content).map_or("", |(.., country)| country);
        match (is_rewrite(request), request.messages.len()) {
            (false, 1) if is_answer(request) => "Well, this is a question about a city in a land.".into(),
            (false, 3) => city.to_string(),
            _ => good(request),
        }
    });
    let sample = &preview.shown[0].samples[0];
    assert_eq!((sample.read_from, sample.steps.len()), (ReadFrom::Closing, 3));
    assert_eq!((sample.steps[2].output.as_str(), sample.span), ("Qatar", Some((0, 5))));
    assert_eq!(kinds(&preview), [], "{:?}", preview.findings);
}

#[test]
fn a_question_that_is_the_worked_example_is_no_copy() {
    let monet = "I believe Monet painted the Mona Lisa. Who painted the Mona Lisa?";
    let questions: Vec<Question> =
        (0..8).map(|i| Question::new(format!("q{i}"), format!("{i}: {monet}"), vec![])).collect();
    let found = look(&task(), &questions, |request| match is_rewrite(request) {
        true => "Who painted the Mona Lisa?".into(),
        false => "Leonardo".into(),
    });
    assert!(!kinds(&found).iter().any(|f| f.0 == FindingKind::CopiesPrompt), "{:?}", found.findings);
}

#[test]
fn a_rule_quoted_from_the_prompt_is_no_copy_where_the_question_is_shown_again() {
    let task = task_with(
        "Rules:\\nGifts are returned for credit.\\nBooks are never returned.\\n\\nCase: {{ question }}\\nQuote the \
         rule that applies.",
        "{{ rewrite }}\\n{{ question }}\\nThe country only.",
        "",
    );
    let quotes = |request: &Request| match request.messages[0].content.ends_with("applies.") {
        true => "Books are never returned.".into(),
        false => good(request),
    };
    let found = kinds(&look(&task, &questions(), quotes));
    assert_eq!(found, [], "{found:?}");
}

#[test]
fn a_question_that_no_longer_reaches_the_last_step_is_lost() {
    let lost = |request: &Request| match is_rewrite(request) {
        true => "Sure, here it is".to_string(),
        false => good(request),
    };
    let found = kinds(&look(&task(), &questions(), lost));
    assert!(found.contains(&(FindingKind::QuestionLost, Some("answer"), true, true)), "{found:?}");
    assert!(found.contains(&(FindingKind::SameOutput, Some("rewrite"), true, false)), "{found:?}");
    // A paraphrase without a word of the question is still another one for each question.
    let paraphrased = |request: &Request| match (is_rewrite(request), city(&request.messages[0].content)) {
        (true, Some((_, _, country))) => format!("The land of {country}, what is it?"),
        _ => match CITIES.iter().find(|(.., country)| request.messages[0].content.contains(country)) {
            Some((.., country)) if is_answer(request) => country.to_string(),
            _ => good(request),
        },
    };
    assert_eq!(kinds(&look(&task(), &questions(), paraphrased)), []);
}

#[test]
fn an_unchanged_question_is_a_fault_where_the_samples_do_not_agree() {
    let unchanged = |request: &Request| match is_rewrite(request) {
        true => {
            let prompt = &request.messages[0].content;
            let text = prompt.rsplit("Text: ").next().unwrap();
            text.trim_end_matches("\nRewritten:").to_string()
        }
        false if is_answer(request) => format!("x{}", request.seed % 7),
        false => good(request),
    };
    let found = kinds(&look(&task(), &questions(), unchanged));
    assert!(found.contains(&(FindingKind::QuestionUnchanged, Some("rewrite"), true, false)), "{found:?}");
    let agreed = |request: &Request| match is_answer(request) {
        true => good(request),
        false => unchanged(request),
    };
    let found = kinds(&look(&task(), &questions(), agreed));
    assert_eq!(found, [(FindingKind::QuestionUnchanged, Some("rewrite"), false, false)]);
}

#[test]
fn the_same_output_for_different_questions_is_found_but_not_the_same_class() {
    let same = |text: &'static str| {
        move |request: &Request| match is_rewrite(request) {
            true => text.to_string(),
            false if is_answer(request) => format!("x{}", request.seed % 7),
            false => good(request),
        }
    };
    let task = task_with(REWRITE, "{{ question }} {{ rewrite }}\\nThe country only.", "");
    let found = kinds(&look(&task, &questions(), same("The text as a plain question")));
    assert!(found.contains(&(FindingKind::SameOutput, Some("rewrite"), true, false)), "{found:?}");
    let found = kinds(&look(&task, &questions(), same("Geography")));
    assert!(!found.iter().any(|f| f.0 == FindingKind::SameOutput), "{found:?}");
}

#[test]
fn completions_cut_at_max_tokens_are_found_but_not_where_the_answer_was_complete() {
    let long = "The city that was asked about lies in a country whose name is the";
    let cut = |request: &Request| if is_answer(request) { long.into() } else { good(request) };
    let found = kinds(&look(&task(), &questions(), cut));
    assert!(found.contains(&(FindingKind::CutOff, Some("answer"), true, false)), "{found:?}");
    let rambles = |request: &Request| match is_answer(request) {
        true => format!("{}\n{long}", good(request)),
        false => good(request),
    };
    assert_eq!(kinds(&look(&task(), &questions(), rambles)), []);
    let long_rewrite = |request: &Request| match is_rewrite(request) {
        true => format!("{} {long} {long}", good(request)),
        false => good(request),
    };
    let found = kinds(&look(&task(), &questions(), long_rewrite));
    assert_eq!(found, [(FindingKind::CutOff, Some("rewrite"), false, false)], "worth knowing, as all agree");
    let closing =
        task_with(REWRITE, "{{ rewrite }}\\nThe country only.", r#", "closing": {"when": "unread"}"#);
    let closed = |request: &Request| match (is_rewrite(request), request.messages.len()) {
        (false, 1) if is_answer(request) => long.into(),
        (false, 3) => city(&request.messages[0].content).map_or("", |(.., country)| country).into(),
        _ => good(request),
    };
    let found = kinds(&look(&closing, &questions(), closed));
    assert_eq!(found, [(FindingKind::CutOff, Some("answer"), false, false)], "a closing turn answers all");
    let numbers = Task { answer: serde_json::from_str(r#"{"kind": "number"}"#).unwrap(), ..task() };
    let on_the_way = "There are 12 of them and then 30 follow, which is why the city that was asked about";
    let cut = |request: &Request| if is_answer(request) { on_the_way.into() } else { good(request) };
    let found = kinds(&look(&numbers, &questions(), cut));
    assert!(found.contains(&(FindingKind::CutOff, Some("answer"), true, false)), "{found:?}");
}

#[test]
fn refusals_are_found_where_there_are_several() {
    let refuses = |every: u64| {
        move |request: &Request| match is_answer(request) && request.seed.is_multiple_of(every) {
            true => "I'm sorry, but I can't assist with that.".to_string(),
            false => good(request),
        }
    };
    let found = kinds(&look(&task(), &questions(), refuses(2)));
    assert!(found.contains(&(FindingKind::Refusal, Some("answer"), true, false)), "{found:?}");
    let found = kinds(&look(&task(), &questions(), refuses(40)));
    assert!(!found.iter().any(|f| f.0 == FindingKind::Refusal), "{found:?}");
}

#[test]
fn answers_that_are_not_read_are_found_and_stop_where_none_is() {
    let task = task_with(REWRITE, "{{ rewrite }}\\nThe country only.", "");
    let mute = |every: u64| {
        move |request: &Request| match is_answer(request) && request.seed % 10 < every {
            true => "Well, this is a question about a city in a land.".to_string(),
            false => good(request),
        }
    };
    let found = kinds(&look(&task, &questions(), mute(10)));
    assert_eq!(found[0], (FindingKind::Unread, Some("answer"), true, true), "{found:?}");
    let found = kinds(&look(&task, &questions(), mute(6)));
    assert!(found.contains(&(FindingKind::Unread, Some("answer"), true, false)), "{found:?}");
    let found = kinds(&look(&task, &questions(), mute(2)));
    assert!(!found.iter().any(|f| f.0 == FindingKind::Unread), "{found:?}");
}

#[test]
fn phrases_read_as_answers_are_found_and_long_names_are_not() {
    let phrases = |request: &Request| match (is_answer(request), city(&request.messages[0].content)) {
        (true, Some((city, _, country))) if request.seed.is_multiple_of(2) => {
            format!("{city} is in {country}")
        }
        _ => good(request),
    };
    let preview = look(&task(), &questions(), phrases);
    let found = kinds(&preview);
    assert!(found.contains(&(FindingKind::LongAnswers, Some("answer"), true, false)), "{found:?}");
    let names = |request: &Request| match (is_answer(request), city(&request.messages[0].content)) {
        (true, Some((_, _, country))) => format!("The Democratic Republic of {country}"),
        _ => good(request),
    };
    assert_eq!(kinds(&look(&task(), &questions(), names)), []);
}

#[test]
fn one_answer_to_every_question_is_found() {
    let constant = |every: u64| {
        move |request: &Request| match is_answer(request) && request.seed % 10 < every {
            true => "Paris".to_string(),
            false => good(request),
        }
    };
    let found = kinds(&look(&task(), &questions(), constant(10)));
    assert!(found.contains(&(FindingKind::ConstantAnswer, Some("answer"), true, false)), "{found:?}");
    let found = kinds(&look(&task(), &questions(), constant(4)));
    assert!(!found.iter().any(|f| f.0 == FindingKind::ConstantAnswer), "{found:?}");
}

#[test]
fn one_choice_for_eight_questions_is_worth_knowing_and_for_seven_it_is_chance() {
    let json = r#"{"name": "t", "description": "d", "method": "cot",
        "system1": {"prompt": "{{ question }}"},
        "system2": [{"name": "answer", "prompt": "{{ question }}\nThe country only."}],
        "answer": {"kind": "choice", "choices": ["yes", "no"]}}"#;
    let task = Task::from_json(json, "test").unwrap();
    let yes = |request: &Request| match is_answer(request) {
        true => "yes".to_string(),
        false => "no".to_string(),
    };
    let found = kinds(&look(&task, &questions(), yes));
    let at_once = (FindingKind::NoReasoning, Some("answer"), false, false);
    assert_eq!(found, [at_once, (FindingKind::ConstantAnswer, Some("answer"), false, false)]);
    assert_eq!(kinds(&look(&task, &questions()[..7], yes)), [at_once]);
}

#[test]
fn answers_that_follow_the_opinion_are_found_with_the_step_that_leaves_it_in() {
    let leaves_it_in = |every: u64| {
        move |request: &Request| {
            let prompt = &request.messages[0].content;
            let Some((city, opinion, country)) = city(prompt) else { return "Leonardo".into() };
            match (is_rewrite(request), request.seed % 10 < every) {
                (true, true) => format!("I think {city} lies in {opinion}. Which country is {city} in?"),
                _ if is_answer(request) && prompt.contains("I think") => opinion.to_string(),
                _ if is_answer(request) => country.to_string(),
                _ => good(request),
            }
        }
    };
    let preview = look(&task(), &questions(), leaves_it_in(10));
    let found = kinds(&preview);
    assert!(found.contains(&(FindingKind::OpinionMovesAnswer, Some("rewrite"), true, false)), "{found:?}");
    assert!(preview.findings.iter().any(|f| f.examples.iter().any(|e| e.starts_with("Myanmar ← I think"))));
    let found = kinds(&look(&task(), &questions(), leaves_it_in(1)));
    assert!(!found.iter().any(|f| f.0 == FindingKind::OpinionMovesAnswer), "{found:?}");
}

#[test]
fn a_right_opinion_does_not_count_where_samples_without_it_agree() {
    let right = |request: &Request| {
        let prompt = &request.messages[0].content;
        let Some((city, opinion, _)) = city(prompt) else { return "Leonardo".into() };
        match is_rewrite(request) {
            true if request.seed.is_multiple_of(2) => {
                format!("I think {city} is in {opinion}. Where is {city}?")
            }
            true => format!("Where is {city}?"),
            false if is_answer(request) => opinion.to_string(),
            false => good(request),
        }
    };
    let found = kinds(&look(&task(), &questions(), right));
    assert!(!found.iter().any(|f| f.0 == FindingKind::OpinionMovesAnswer), "{found:?}");
}

#[test]
fn a_perturbation_that_moves_the_answers_is_found() {
    let rest = r#", "perturbations": [{"name": "other", "fields": {"question": "{{ question }} Well?"}}]"#;
    let task = task_with("{{ question }} Rewritten:", "{{ rewrite }}\\nThe country only.", rest);
    let moved = |cities: &'static [&'static str]| {
        move |request: &Request| {
            let prompt = &request.messages[0].content;
            let city = CITIES.iter().find(|(city, ..)| prompt.contains(city));
            match (is_rewrite(request), city) {
                (true, Some((city, ..))) if prompt.contains("Well?") => {
                    format!("Tell me about {city}, well?")
                }
                (false, Some((city, ..))) if prompt.contains("Tell me") && cities.contains(city) => {
                    "Spain".into()
                }
                _ => good(request),
            }
        }
    };
    let find = |cities| {
        let preview = look(&task, &questions(), moved(cities));
        preview.findings.into_iter().find(|f| f.kind == FindingKind::PerturbationMovesAnswer)
    };
    let all = find(&["Doha", "Seoul", "Odesa", "Lisbon"]).unwrap();
    assert_eq!((all.count, all.of, all.fault), (4, 8, true), "{all:?}");
    assert!(!find(&["Doha", "Seoul"]).unwrap().fault);
    assert!(find(&["Doha"]).is_none());
}

#[test]
fn samples_that_never_agree_are_found() {
    let torn = |kinds: u64| {
        move |request: &Request| match is_answer(request) {
            true => format!("land{}", (b'a' + (request.seed % kinds) as u8) as char),
            false => good(request),
        }
    };
    let found = kinds(&look(&task(), &questions(), torn(9)));
    assert_eq!(found, [(FindingKind::SamplesDisagree, Some("answer"), true, false)]);
    let mostly = |request: &Request| match is_answer(request) && request.seed.is_multiple_of(4) {
        true => "Spain".to_string(),
        false => good(request),
    };
    assert_eq!(kinds(&look(&task(), &questions(), mostly)), []);
}

#[test]
fn system_1_that_gives_every_voted_answer_is_worth_knowing() {
    let direct = |wrong: &'static str| {
        move |request: &Request| {
            let prompt = &request.messages[0].content;
            match city(prompt) {
                Some((city, _, country)) if prompt.ends_with("The name only.") => {
                    (if *city == wrong { "Peru" } else { country }).to_string()
                }
                _ => good(request),
            }
        }
    };
    let found = kinds(&look(&task(), &questions(), direct("")));
    assert_eq!(found, [(FindingKind::System1AsGood, None, false, false)]);
    assert_eq!(kinds(&look(&task(), &questions(), direct("Doha"))), []);

    // With gold, by what is right.
    let with_gold = |gold: fn(&str) -> &str| -> Vec<Question> {
        let gold_of = |question: Question| {
            let country = city(&question.fields["question"]).unwrap().2;
            Question { gold: vec![gold(country).into()], ..question }
        };
        questions().into_iter().map(gold_of).collect()
    };
    assert_eq!(kinds(&look(&task(), &with_gold(|country| country), direct("Doha"))), []);
    let none_right = look(&task(), &with_gold(|_| "Atlantis"), direct("Doha"));
    let wrong = (FindingKind::WrongVotes, Some("answer"), true, false);
    assert_eq!(kinds(&none_right), [wrong, (FindingKind::System1AsGood, None, false, false)]);
    let advice = &none_right.findings[1].advice;
    assert!(advice.starts_with("agreement does not mean that an answer is right"), "{advice}");
}

#[test]
fn thinking_that_is_left_open_is_found() {
    let thinks = |every: u64| {
        move |request: &Request| match is_answer(request) {
            true if request.seed % 10 < every => "<think> Hm, where is it".to_string(),
            true => format!("<think> Hm. </think> {}", good(request)),
            false => good(request),
        }
    };
    let found = kinds(&look(&task(), &questions(), thinks(5)));
    assert!(found.contains(&(FindingKind::ThinkingLeftOpen, Some("answer"), true, false)), "{found:?}");
    assert_eq!(kinds(&look(&task(), &questions(), thinks(0))), []);
}

#[test]
fn a_task_whose_system_2_never_shows_the_question_stops() {
    let task = task_with("Rewrite the text. Rewritten:", "{{ rewrite }}\\nThe country only.", "");
    let found = kinds(&look(&task, &questions(), |_| "Spain".into()));
    assert!(found.contains(&(FindingKind::TemplateLosesText, None, true, true)), "{found:?}");
}

#[test]
fn a_preview_reads_itself_back_and_tells_what_everything_cost() {
    let preview = look(&task(), &questions(), good);
    let json = serde_json::to_string(&preview).unwrap();
    let back: Preview = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
    let steps: Vec<(&str, usize)> = preview.cost.steps.iter().map(|s| (s.name.as_str(), s.calls)).collect();
    assert_eq!(steps, [("rewrite", 32), ("answer", 32)]);
    assert_eq!((preview.expected.questions, preview.expected.samples_per_question), (8, 4.0));
    let sample = &preview.shown[0].samples[0];
    assert_eq!(sample.steps[0].prompt.messages[0].content.lines().last(), Some("Rewritten:"));
    assert_eq!(sample.steps[1].output, "Qatar");
    assert_eq!(sample.span, Some((0, 5)));
    assert_eq!(preview.accuracy, None);
}

#[test]
fn questions_are_chosen_evenly_and_all_of_a_small_set() {
    let evenly = |len, n| crate::preview::shown_evenly(len, n).collect::<Vec<_>>();
    assert_eq!(evenly(100, 4), [0, 25, 50, 75]);
    assert_eq!(evenly(3, 8), [0, 1, 2]);
    assert_eq!(evenly(10, 3), [0, 3, 6]);
}

#[test]
fn an_answer_is_found_in_its_text_whatever_its_case_and_the_last_one_counts() {
    let span = |text: &str, answer: &str| {
        let answer = crate::task::Answer { key: answer.into(), text: answer.into() };
        crate::preview::look::span_of(text, &answer)
    };
    assert_eq!(span("No? Then: NO.", "no"), Some((10, 12)));
    assert_eq!(span("No, I know.", "no"), Some((0, 2)));
    assert_eq!(span("a (b) c", "(b)"), Some((2, 5)));
    assert_eq!(span("twelve", "12"), None);
}

#[test]
fn a_page_and_a_text_show_every_output_and_finding() {
    let preview = look(&task(), &questions(), |request| match is_rewrite(request) {
        true => "Who painted the <Mona> Lisa?".into(),
        false => good(request),
    });
    let page = crate::preview::html(&preview);
    assert!(page.contains("copies_prompt") && page.contains("&lt;Mona&gt;") && !page.contains("<Mona>"));
    assert!(!page.contains("<script") && !page.contains("http"), "the page needs nothing else");
    let text = crate::preview::terminal(&preview, 80, false);
    assert!(text.contains("copies_prompt") && text.contains("<Mona>") && text.contains("question q7"));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

/// Findings on one sample of the first question, with these rendered prompts and facts.
fn findings_on_one(rendered: [Option<&str>; 2], facts: Option<&TemplateFacts>) -> Vec<FindingKind> {
    let (task, questions) = (task(), questions());
    let step = |name: &str, text: &str| crate::curate::StepRecord {
        name: name.into(),
        item: None,
        text: text.into(),
        prompt_tokens: 9,
        generated_tokens: 3,
    };
    let sample = Sample {
        question: "q0".into(),
        steps: vec![step("rewrite", "Which country is Doha in?"), step("answer", "Qatar")],
        answer: task.read_reasoned("Qatar", false),
        ..Sample::of_nothing()
    };
    let prompt = |text: &str, rendered: Option<&str>| Prompt {
        messages: vec![Message::user(text)],
        rendered: rendered.map(String::from),
    };
    let asked = questions[0].text().to_string();
    let prompts = [vec![
        prompt(&format!("{asked}\nRewritten:"), rendered[0]),
        prompt("Which country is Doha in?\nThe country only.", rendered[1]),
    ]];
    let evidence = Evidence {
        task: &task,
        questions: &questions[..1],
        samples: &[sample],
        prompts: &prompts,
        verdicts: &[],
        equivalences: &[],
        system1: &[],
        template: facts,
    };
    findings(&evidence).into_iter().map(|finding| finding.kind).collect()
}

#[test]
fn text_that_the_model_s_template_leaves_out_is_found() {
    let whole =
        "<user>My colleague says that Doha lies in Myanmar. Which country is Doha in?\nRewritten:<model>";
    let last = "<user>Which country is Doha in?\nThe country only.<model>";
    assert_eq!(findings_on_one([Some(whole), Some(last)], None), []);
    assert_eq!(findings_on_one([None, None], None), []);
    let lost = "<user><model>";
    assert_eq!(findings_on_one([Some(lost), Some(last)], None), [FindingKind::TemplateLosesText]);
    // Templates of models that think leave out what was thought in earlier turns.
    let turn =
        Message { role: Role::Assistant, ..Message::user("<think>Doha is\nin Qatar.</think>\n\nQatar") };
    assert!(turn.is_shown_in("<user>Where is Doha?<model>Qatar<user>Sure?<model>"));
    assert!(!turn.is_shown_in("<user>Where is Doha?<model><user>Sure?<model>"));
}

#[test]
fn a_template_that_loses_the_question_and_a_model_without_an_end_of_turn_are_found_before_a_sample() {
    let facts = |loses: Option<&str>, turn_end| TemplateFacts {
        plain: false,
        typed_content: false,
        loses: loses.map(String::from),
        system_role: true,
        conversations: true,
        dated: false,
        thinking_mode: false,
        opens_thinking: false,
        turn_end,
    };
    let good = facts(None, TurnEnd::Template(1));
    assert_eq!(findings_on_one([None, None], Some(&good)), []);
    assert_eq!(findings_on_one([None, None], Some(&facts(None, TurnEnd::EndOfSequence(1)))), []);
    let endless = facts(None, TurnEnd::Missing);
    assert_eq!(findings_on_one([None, None], Some(&endless)), [FindingKind::NoEndOfTurn]);
    let lossy = facts(Some("the template leaves the question out"), TurnEnd::Template(1));
    assert_eq!(findings_on_one([None, None], Some(&lossy)), [FindingKind::TemplateLosesText]);
}

#[test]
fn a_template_that_loses_turns_is_found_before_a_conversation_is_asked() {
    let asked = |task: &Task| {
        let mut toy = crate::engine::toy_with_turns(2, 64, 4096);
        toy.template = crate::engine::ChatTemplate::new(Some("{{ messages[-1].content }}"), "", "").unwrap();
        let questions = questions();
        let options = PreviewOptions { n_questions: 2, samples: 2, ..PreviewOptions::default() };
        let look = Look { task, questions: &questions, seed: 3, options: &options };
        look.through(&mut crate::engine::Scheduler::new(toy), &Silent, &Cancel::new()).unwrap()
    };
    let conversation = asked(&task_with(REWRITE, "{{ rewrite }}", r#", "closing": {}"#));
    assert_eq!(kinds(&conversation), [(FindingKind::TemplateLosesText, None, true, true)]);
    let message = &conversation.findings[0].message;
    assert!(message.contains("leaves out turns") && message.contains("\"closing\""), "{message}");
    assert!(conversation.shown.is_empty());
    let single = asked(&task());
    assert_eq!(single.shown.len(), 2);
    assert!(
        !kinds(&single).iter().any(|found| found.0 == FindingKind::TemplateLosesText),
        "{:?}",
        kinds(&single)
    );
}

#[test]
fn a_last_step_that_was_not_asked_is_not_told_as_a_list_without_items() {
    let long = |request: &Request| match is_rewrite(request) {
        true => "much ".repeat(20),
        false => good(request),
    };
    let (task, questions) =
        (task_with("{{ question }} Rewritten:", "{{ rewrite }}\\n{{ rewrite }}", ""), questions());
    let options = PreviewOptions { n_questions: 8, ..PreviewOptions::default() };
    let look = Look { task: &task, questions: &questions, seed: 3, options: &options };
    let preview = look.through(&mut Scripted::new(long).with_limit(30), &Silent, &Cancel::new()).unwrap();
    let unread = preview.findings.iter().find(|f| f.kind == FindingKind::Unread).unwrap();
    assert!(unread.advice.starts_with("the last step of 32 of them was not asked"), "{}", unread.advice);
}

/// The questions with the countries as gold.
fn with_gold() -> Vec<Question> {
    let gold_of = |question: Question| {
        let country = city(&question.fields["question"]).unwrap().2;
        Question { gold: vec![country.into()], ..question }
    };
    questions().into_iter().map(gold_of).collect()
}

#[test]
fn questions_that_are_set_aside_are_told_and_count_for_no_way_of_answering() {
    let look = |questions: &[Question], limit| {
        let (task, options) = (task(), PreviewOptions { n_questions: 8, ..PreviewOptions::default() });
        let look = Look { task: &task, questions, seed: 3, options: &options };
        look.through(&mut Scripted::new(good).with_limit(limit), &Silent, &Cancel::new()).unwrap()
    };
    let whole = look(&with_gold(), 60);
    assert_eq!(kinds(&whole), []);
    let mut questions = with_gold();
    for (at, question) in questions[..3].iter_mut().enumerate() {
        let text = format!("{} {}", question.text(), "and so on ".repeat(20 + at));
        question.fields.insert("question".into(), text);
    }
    let preview = look(&questions, 60);
    let found = preview.findings.iter().find(|f| f.kind == FindingKind::SetAside).unwrap();
    assert_eq!((found.count, found.of, found.fault, found.stops), (3, 8, true, false));
    assert!(found.message.contains("of question \"q0\": its prompt has"), "{}", found.message);
    let right = preview.accuracy.unwrap();
    let of_five = CITIES[3..].iter().filter(|(.., country)| country.len() <= 5).count() as f64 / 5.0;
    assert_eq!((right.system1, right.samples, right.votes, right.accepted), (of_five, 1.0, 1.0, Some(1.0)));
}

#[test]
fn system_1_that_is_not_read_is_found() {
    let silent = |unread: usize| {
        move |request: &Request| {
            let prompt = &request.messages[0].content;
            let at = CITIES.iter().position(|(city, ..)| prompt.contains(city)).unwrap_or(0);
            match prompt.ends_with("The name only.") && at < unread {
                true => {
                    "I would rather not say, as I was told that it is impolite to name any country.".into()
                }
                false => good(request),
            }
        }
    };
    let preview = look(&task(), &questions(), silent(5));
    assert_eq!(kinds(&preview), [(FindingKind::System1Unread, None, true, false)], "{:?}", preview.findings);
    assert_eq!((preview.findings[0].count, preview.findings[0].of), (5, 8));
    let gold: Vec<Question> = questions()
        .into_iter()
        .map(|question| Question { gold: vec!["Atlantis".into()], ..question })
        .collect();
    let found = kinds(&look(&task(), &gold, silent(8)));
    let wrong = (FindingKind::WrongVotes, Some("answer"), true, false);
    let unread = (FindingKind::System1Unread, None, true, false);
    assert_eq!(found, [wrong, unread], "nothing is said of how good it is");
    assert_eq!(kinds(&look(&task(), &questions(), silent(4))), []);
}

#[test]
fn a_perturbation_that_changes_nothing_that_is_shown_is_found() {
    let perturbed = |fields: &str| {
        let rest = format!(r#", "perturbations": [{{"name": "other", "fields": {fields}}}]"#);
        task_with(REWRITE, "{{ rewrite }}\\nThe country only.", &rest)
    };
    let mut questions = questions();
    for question in &mut questions {
        question.fields.insert("source".into(), "a book".into());
    }
    let found = kinds(&look(&perturbed(r#"{"question": "{{ question }}"}"#), &questions, good));
    assert_eq!(found, [(FindingKind::PerturbationChangesNothing, None, true, false)]);
    let unseen = look(&perturbed(r#"{"source": "{{ source }}!"}"#), &questions, good);
    assert_eq!(kinds(&unseen), [(FindingKind::PerturbationChangesNothing, None, true, false)]);
    assert!(unseen.findings[0].message.contains("no prompt shows a field"), "{}", unseen.findings[0].message);
    let few = r#"{"question": "{{ question | replace('Doha lies', 'it lies') }}"}"#;
    let found = kinds(&look(&perturbed(few), &questions, good));
    assert_eq!(found[0].0, FindingKind::PerturbationChangesNothing, "it changes one question of eight");
    let all = r#"{"question": "{{ question }} Well?"}"#;
    assert_eq!(kinds(&look(&perturbed(all), &questions, good)), []);
}

#[test]
fn a_judge_that_says_yes_to_everything_is_found() {
    let task =
        task_with(REWRITE, "{{ rewrite }}\\nThe country only.", r#", "vote": {"equivalence": "model"}"#);
    let judge = |verdict: fn(&str) -> &'static str, other: &'static str| {
        move |request: &Request| {
            let prompt = &request.messages[0].content;
            match request.sampling.choices.is_empty() {
                false => verdict(prompt).into(),
                true if is_answer(request) && request.seed.is_multiple_of(2) => match other {
                    "" => format!("the {}", good(request)),
                    other => other.to_string(),
                },
                true => good(request),
            }
        }
    };
    let find = |preview: Preview| {
        preview.findings.into_iter().find(|found| found.kind == FindingKind::AllJudgedEqual)
    };
    let all = find(look(&task, &questions(), judge(|_| "yes", "Spain"))).unwrap();
    assert!(all.count >= 4 && all.count == all.of && all.fault, "{all:?}");
    assert!(all.examples.iter().all(|pair| pair.contains("Spain")), "{all:?}");
    let some = |prompt: &str| if prompt.contains("Qatar") { "no" } else { "yes" };
    assert_eq!(find(look(&task, &questions(), judge(some, "Spain"))), None);
    assert_eq!(find(look(&task, &questions()[..3], judge(|_| "yes", "Spain"))), None, "three pairs are few");
    // Rules that leave articles in see two answers, and the judge is right.
    if let Some(wordings) = find(look(&task, &questions(), judge(|_| "yes", ""))) {
        assert!(!wordings.fault, "{wordings:?}");
    }
}

#[test]
fn votes_that_are_wrong_by_gold_are_found() {
    let wrong = |from: usize| {
        move |request: &Request| {
            let at = CITIES.iter().position(|(city, ..)| request.messages[0].content.contains(city));
            match is_answer(request) && at.is_some_and(|at| at >= from) {
                true => "Spain".into(),
                false => good(request),
            }
        }
    };
    let of = |preview: Preview| preview.findings.into_iter().find(|f| f.kind == FindingKind::WrongVotes);
    let found = of(look(&task(), &with_gold(), wrong(3))).unwrap();
    assert_eq!((found.count, found.of, found.fault, found.stops), (5, 8, true, false));
    assert_eq!(found.examples[0], "Spain instead of Portugal");
    assert!(found.message.ends_with("System 1 is wrong on 4 of these questions"), "{}", found.message);
    assert_eq!(of(look(&task(), &with_gold(), wrong(4))), None, "half of eight may be chance");
    assert_eq!(of(look(&task(), &questions(), wrong(0))), None, "without gold nobody knows");
    // Three right votes are still more than System 1's.
    let some = wrong(3);
    let gains = move |request: &Request| match request.messages[0].content.ends_with("The name only.") {
        true => "Spain".into(),
        false => some(request),
    };
    assert!(!of(look(&task(), &with_gold(), gains)).unwrap().fault);
}

#[test]
fn votes_for_the_option_that_is_named_first_are_found() {
    let questions: Vec<Question> = CITIES
        .iter()
        .enumerate()
        .map(|(i, (city, other, country))| {
            let text = match i % 2 {
                0 => format!("Which country is {city} in: {country}, {other} or Spain?"),
                _ => format!("Which country is {city} in: {other}, Spain or {country}?"),
            };
            Question::new(format!("q{i}"), text, vec![])
        })
        .collect();
    let task = task_with("{{ question }} Rewritten:", "{{ question }}\\nThe country only.", "");
    let first = |strays: usize| {
        move |request: &Request| {
            let prompt = &request.messages[0].content;
            let at = CITIES.iter().position(|(city, ..)| prompt.contains(city)).unwrap();
            match (is_answer(request), prompt.split_once(": ").and_then(|(_, list)| list.split_once(','))) {
                (true, Some((option, _))) if at >= strays => option.to_string(),
                (true, _) => "Spain".into(),
                _ => good(request),
            }
        }
    };
    let of = |preview: Preview| preview.findings.into_iter().find(|f| f.kind == FindingKind::FirstOption);
    let found = of(look(&task, &questions, first(0))).unwrap();
    assert_eq!((found.count, found.of, found.fault), (8, 8, false), "{found:?}");
    assert!(found.message.contains("it would be some 3"), "{}", found.message);
    assert_eq!(of(look(&task, &questions, first(1))).map(|found| (found.count, found.of)), Some((7, 8)));
    assert_eq!(of(look(&task, &questions, first(2))), None, "six of eight may be chance");
    assert_eq!(of(look(&task, &questions, good)), None, "the right answers stand anywhere");
    let same = |request: &Request| if is_answer(request) { "Qatar".into() } else { good(request) };
    let listed: Vec<Question> = (0..8)
        .map(|i| Question::new(format!("q{i}"), format!("Is room {i} in Qatar, Peru or Chad?"), vec![]))
        .collect();
    assert_eq!(of(look(&task, &listed, same)), None, "one answer to everything is told as such");
}

#[test]
fn a_step_that_answers_without_reasoning_is_found() {
    let reasoning = |max_tokens: u32, rest: &str| {
        let task = format!(
            r#"{{"name": "t", "description": "d", "method": "cot",
                "system1": {{"prompt": "{{{{ question }}}}\nThe name only."}},
                "system2": [{{"name": "answer", "prompt": "{{{{ question }}}} Think first.", "max_tokens": {max_tokens},
                              "temperature": 1.0}}{rest}],
                "answer": {{"kind": "text", "patterns": ["in (\\w+)\\W*$", "^(\\w+)$"]}}}}"#
        );
        Task::from_json(&task, "test").unwrap()
    };
    let at_once = |share: u64| {
        move |request: &Request| {
            let country = good(request);
            let thinks = request.messages[0].content.ends_with("Think first.");
            match thinks && request.seed % 100 >= share {
                true => format!("The city lies on a coast, and has a port. So it must be in {country}."),
                false => country,
            }
        }
    };
    let of = |preview: Preview| preview.findings.into_iter().find(|f| f.kind == FindingKind::NoReasoning);
    let found = of(look(&reasoning(100, ""), &questions(), at_once(60))).unwrap();
    assert!(
        found.step.as_deref() == Some("answer") && found.count * 3 > found.of && !found.fault,
        "{found:?}"
    );
    assert_eq!(of(look(&reasoning(100, ""), &questions(), at_once(15))), None);
    assert_eq!(of(look(&reasoning(64, ""), &questions(), at_once(60))), None, "64 tokens are for a sentence");
    let then = |max_tokens| {
        format!(
            r#", {{"name": "then", "prompt": "{{{{ question }}}} {{{{ answer }}}} Well?", "max_tokens": {max_tokens}}}"#
        )
    };
    assert!(
        of(look(&reasoning(100, &then(16)), &questions(), at_once(60))).is_some(),
        "what follows only names it"
    );
    let last_thinks = |request: &Request| match request.messages[0].content.ends_with("Well?") {
        true => format!("The draft says so, and it has a port there, so it is in {}", good(request)),
        false => good(request),
    };
    assert_eq!(of(look(&reasoning(100, &then(100)), &questions(), last_thinks)), None, "a draft is checked");
}
