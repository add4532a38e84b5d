use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::task::Question;

fn rule(json: Value) -> AnswerRule {
    serde_json::from_value(json).unwrap()
}

/// Every kind of answer there is, with every set of fields.
fn briefs() -> Vec<Brief> {
    let rules = [
        json!({"kind": "text"}),
        json!({"kind": "number"}),
        json!({"kind": "choice", "choices": ["yes", "no"]}),
        json!({"kind": "choice", "choices": ["A", "B", "tie"]}),
        json!({"kind": "text", "normalize": "letters"}),
        json!({"kind": "last_line", "as": {"kind": "number"}}),
        json!({"kind": "json", "field": "winner", "as": {"kind": "choice", "choices": ["A", "B"]}}),
        json!({"kind": "date"}),
    ];
    let fields = [vec!["question"], vec!["question", "response_a", "response_b"], vec!["policy", "message"]];
    let mut briefs = Vec::new();
    for rule in rules.iter().filter_map(|json| serde_json::from_value::<AnswerRule>(json.clone()).ok()) {
        for names in &fields {
            for description in [None, Some("Which is {{ right }}?\nA test.".to_string())] {
                let fields = names.iter().map(|name| name.to_string()).collect();
                briefs.push(Brief { description, answer: rule.clone(), fields, ..Brief::default() });
            }
        }
    }
    briefs
}

/// A question with the fields of the brief; each holds its own name in capitals.
fn question(brief: &Brief) -> Question {
    let mut question = Question::new("q", "QUESTION", vec![]);
    question.fields = brief.fields.iter().map(|name| (name.clone(), name.to_uppercase())).collect();
    question
}

#[test]
fn every_program_is_a_task_for_every_kind_of_answer_and_set_of_fields() {
    let mut built = BTreeSet::new();
    for brief in briefs() {
        for name in all_names() {
            let Some(candidate) = find(&name, &brief).unwrap() else { continue };
            built.insert(name.clone());
            assert_eq!(candidate.name, name);
            let text = candidate.task.to_json();
            assert!(!text.contains("[["), "{name}: a placeholder is left: {text}");
            // The first step and the direct prompt show every field.
            for step in [&candidate.task.system1, &candidate.task.system2[0]] {
                let messages = step.render(&question(&brief), &[]).unwrap();
                for field in &brief.fields {
                    assert!(messages.iter().any(|(_, text)| text.contains(&field.to_uppercase())), "{name}");
                }
            }
        }
    }
    let wordings: BTreeSet<&str> = built.iter().map(|name| name.rsplit_once('.').unwrap().0).collect();
    for wording in super::wordings() {
        assert!(wordings.contains(wording.name.as_str()), "no brief has {}", wording.name);
    }
}

#[test]
fn the_library_is_small_and_of_several_methods_and_its_order_names_programs() {
    for brief in briefs() {
        let found = library(&brief).unwrap();
        assert!((8..=20).contains(&found.len()), "{}: {brief:?}", found.len());
        let first: BTreeSet<ReasoningMethod> = found[..4].iter().map(|candidate| candidate.method).collect();
        assert!(first.len() >= 3, "{:?}", &found[..4].iter().map(|c| &c.name).collect::<Vec<_>>());
        let tasks: HashSet<String> = found.iter().map(|c| format!("{:?}", c.task.system2)).collect();
        assert_eq!(tasks.len(), found.len(), "two programs are equal: {brief:?}");
    }
    for name in ORDER.values().flatten() {
        assert!(split(name).is_some(), "{name}");
        let fits = |brief: &Brief| find(name, brief).unwrap().is_some();
        assert!(briefs().iter().any(fits), "{name} fits no questions");
    }
}

#[test]
fn the_methods_that_are_wanted_are_the_ones_there_are() {
    for method in ReasoningMethod::ALL {
        let brief = Brief { methods: vec![method], ..Brief::default() };
        let found = library(&brief).unwrap();
        assert!(!found.is_empty() && found.iter().all(|candidate| candidate.method == method), "{method}");
        assert!(found.iter().all(|candidate| candidate.task.method == method.as_str()));
    }
    let thinks = |thinking| {
        let found = library(&Brief { thinking, ..Brief::default() }).unwrap();
        found.iter().any(|candidate| candidate.method == ReasoningMethod::Thinking)
    };
    assert!(thinks(true) && !thinks(false));
}

#[test]
fn a_program_asks_for_the_kind_of_answer() {
    let ask = |brief: &Brief, name: &str| {
        let task = find(name, brief).unwrap().unwrap().task;
        task.system2.last().unwrap().prompt.clone()
    };
    let text = Brief::default();
    assert_eq!(ask(&text, "plain.direct.bare"), "{{ question }}\nAnswer with the name only.");
    let country = Brief { noun: Some("name of the country".into()), ..Brief::default() };
    assert_eq!(
        ask(&country, "plain.direct.bare"),
        "{{ question }}\nAnswer with the name of the country only."
    );
    let closes = |brief: &Brief| {
        let task = find("cot.short.closing", brief).unwrap().unwrap().task;
        task.closing.unwrap().prompt.unwrap()
    };
    assert_eq!(closes(&text), "Give only the answer to the question, nothing else.");
    assert_eq!(closes(&country), "What is the answer? Answer with the name of the country only.");
    let number = Brief { answer: rule(json!({"kind": "number"})), ..Brief::default() };
    assert_eq!(closes(&number), "What is the answer? Answer with the number only.");
    assert_eq!(ask(&number, "plain.direct.bare"), "{{ question }}\nAnswer with the number only.");
    let judge =
        Brief { answer: rule(json!({"kind": "choice", "choices": ["A", "B", "tie"]})), ..Brief::default() };
    assert_eq!(ask(&judge, "plain.direct.choices"), "{{ question }}\nAnswer A, B or tie.");
    assert!(find("plain.direct.choices", &text).unwrap().is_none(), "a text has no choices");
}

#[test]
fn a_description_is_shown_where_there_is_one_and_is_no_template() {
    let brief = Brief { description: Some(" What {{ x }} {% is %}\n this? ".into()), ..Brief::default() };
    let told = find("plain.told.bare", &brief).unwrap().unwrap().task;
    let messages = told.system2[0].render(&Question::new("q", "Why?", vec![]), &[]).unwrap();
    assert_eq!(messages[0], ("system", "What {{ x }} {% is %} this?".into()));
    assert!(find("plain.told.bare", &Brief::default()).unwrap().is_none());
    let open = Brief { description: Some("Numbers of things".into()), ..Brief::default() };
    let told = find("plain.told.bare", &open).unwrap().unwrap().task;
    let messages = told.system2[0].render(&Question::new("q", "Why?", vec![]), &[]).unwrap();
    assert_eq!(messages[0].1, "Numbers of things.");
}

#[test]
fn two_responses_are_judged_in_both_orders() {
    let fields = ["question", "response_a", "response_b"].map(String::from).to_vec();
    let answer = rule(json!({"kind": "choice", "choices": ["A", "B", "tie"]}));
    for candidate in library(&Brief { fields: fields.clone(), answer, ..Brief::default() }).unwrap() {
        assert_eq!(candidate.task.perturbations.len(), 1, "{}", candidate.name);
        assert_eq!(candidate.task.perturbations[0].fields["response_a"], "{{ response_b }}");
    }
    for candidate in library(&Brief { fields, ..Brief::default() }).unwrap() {
        assert!(candidate.task.perturbations.is_empty(), "no verdict to swap: {}", candidate.name);
    }
}

#[test]
fn direct_wordings_differ_in_the_direct_prompt() {
    for brief in briefs() {
        let found = direct(&brief).unwrap();
        assert!((3..=6).contains(&found.len()));
        let prompts: HashSet<String> = found.iter().map(|c| format!("{:?}", c.task.system1)).collect();
        assert_eq!(prompts.len(), found.len(), "{brief:?}");
        let first = &library(&brief).unwrap()[0].task.system1;
        assert_eq!(*first, found[0].task.system1, "the library asks directly as the first wording does");
    }
}

#[test]
fn a_field_that_no_template_can_name_is_refused_and_one_named_like_a_step_is_not() {
    let brief = |names: &[&str]| Brief {
        fields: names.iter().map(|name| name.to_string()).collect(),
        ..Brief::default()
    };
    let error = library(&brief(&["my text"])).unwrap_err().to_string();
    assert!(error.contains("\"my text\"") && error.contains("letters, digits and _"), "{error}");
    assert!(library(&brief(&[])).is_err());
    for candidate in library(&brief(&["rewrite", "item", "question"])).unwrap() {
        let steps = &candidate.task.system2;
        assert!(steps[..steps.len() - 1].iter().all(|step| step.name != "rewrite"), "{}", candidate.name);
        assert!(steps.iter().all(|step| step.for_each.is_none()), "{}", candidate.name);
    }
}

#[test]
fn a_task_is_found_by_the_name_of_a_program_or_of_a_built_in_task() {
    let named = |name: &str| load(name, &Brief::default()).map(|task| task.name);
    assert_eq!(named("s2a.which-question.bare").unwrap(), "s2a.which-question.bare");
    assert_eq!(named("coin-flip").unwrap(), "coin-flip");
    assert!(named("s2a.no-such.bare").unwrap_err().to_string().contains("no such file, built-in task"));
    let error = named("cot.numbers.sentence").unwrap_err().to_string();
    assert!(error.contains("not for these questions (answers: text; fields: question;"), "{error}");
    let answer = parse_answer_kind("number").unwrap();
    assert!(load("cot.numbers.sentence", &Brief { answer, ..Brief::default() }).is_ok());
}

#[test]
fn a_field_of_any_script_has_a_label() {
    assert_eq!(wording::label("response_a"), "Response A");
    assert_eq!(wording::label("état"), "État");
}
