use super::*;

const MINIMAL: &str = r#"{
    "name": "t",
    "system1": {"prompt": "{{ question }}"},
    "system2": [{"name": "a", "prompt": "{{ question }}"}, {"name": "b", "prompt": "{{ a }}"}],
    "answer": {"kind": "choice", "choices": ["yes", "no"]}
}"#;

/// `MINIMAL` with one change.
fn changed(from: &str, to: &str) -> String {
    assert!(MINIMAL.contains(from), "{from}");
    MINIMAL.replacen(from, to, 1)
}

fn refusal(text: &str) -> String {
    let message = Task::from_json(text, "t.json").unwrap_err().to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

#[test]
fn a_short_task_gets_defaults() {
    let task = Task::from_json(MINIMAL, "t.json").unwrap();
    assert_eq!((task.system1.max_tokens, task.system1.temperature), (32, 0.0));
    assert_eq!((task.system2[1].max_tokens, task.system2[1].temperature), (256, 0.7));
    assert_eq!((task.system1.top_p, task.system1.top_k, task.system1.min_p), (1.0, 0, 0.0));
    assert_eq!(task.vote, VoteRule::default());
    assert_eq!(task.method, "custom");
}

#[test]
fn a_step_can_be_constrained_and_is_written_without_the_field_otherwise() {
    let free = Task::from_json(MINIMAL, "t.json").unwrap();
    for key in ["repeat_penalty", "choices\": [\n      \"x", "grammar", "for_each", "items", "thinking"] {
        assert!(!free.to_json().contains(key), "{key}");
    }
    let more = r#""name": "b", "repeat_penalty": 1.1, "choices": ["x", "y"]"#;
    let task = Task::from_json(&changed(r#""name": "b""#, more), "t.json").unwrap();
    assert_eq!((task.system2[1].repeat_penalty, task.system2[1].choices.len()), (1.1, 2));
    assert_eq!(task.system2[1].repeat_last, 64);
    assert!(!task.to_json().contains("repeat_last"));
    let more = r#""name": "b", "repeat_penalty": 1.1, "repeat_last": 8"#;
    let task = Task::from_json(&changed(r#""name": "b""#, more), "t.json").unwrap();
    assert_eq!(task.system2[1].repeat_last, 8);
    assert_eq!(Task::from_json(&task.to_json(), "copy").unwrap(), task);
    let more = r#""name": "b", "grammar": "root ::= [a-z]+ \".\"""#;
    let task = Task::from_json(&changed(r#""name": "b""#, more), "t.json").unwrap();
    assert_eq!(task.system2[1].grammar.as_deref(), Some("root ::= [a-z]+ \".\""));
    assert_eq!(Task::from_json(&task.to_json(), "copy").unwrap(), task);
}

#[test]
fn built_in_tasks_load_and_read_back_unchanged() {
    for name in Task::builtin_names() {
        let task = Task::load(name).unwrap();
        assert_eq!(task.name, *name);
        assert!(!task.description.is_empty());
        assert_eq!(Task::from_json(&task.to_json(), "copy").unwrap(), task);
    }
}

#[test]
fn every_kind_of_rule_reads_back_unchanged() {
    for rule in [
        r#"{"kind": "number"}"#,
        r#"{"kind": "text", "patterns": ["is (.+)"], "max_words": 3, "strip_articles": false}"#,
        r#"{"kind": "choice", "choices": ["A", "B"], "aliases": {"first": "A"}}"#,
        r#"{"kind": "text", "normalize": "letters", "aliases": {"ab": ["first, second"]}}"#,
        r#"{"kind": "pattern", "pattern": "<(.+)>"}"#,
        r#"{"kind": "json", "field": "a.0.b", "as": {"kind": "number"}}"#,
        r#"{"kind": "last_line", "as": {"kind": "choice", "choices": ["A", "B"]}}"#,
    ] {
        let task = changed(r#"{"kind": "choice", "choices": ["yes", "no"]}"#, rule);
        let task = Task::from_json(&task, "t.json").unwrap();
        assert_eq!(Task::from_json(&task.to_json(), "copy").unwrap(), task);
    }
}

#[test]
fn the_coin_flip_prompts_are_those_the_fixture_model_knows() {
    let task = Task::load("coin-flip").unwrap();
    let question = Question::new("q", "Is it?", vec![]);
    assert_eq!(task.system1.render(&question, &[]).unwrap(), [("user", "Is it? Answer yes or no.".into())]);
    assert_eq!(
        task.system2[0].render(&question, &[]).unwrap(),
        [("user", "Is it? Think step by step, then write \"Answer: yes\" or \"Answer: no\".".into())]
    );
    assert_eq!(task.system1.marker, None);
    assert_eq!((task.vote.samples, task.vote.threshold, task.system2[0].temperature), (8, 0.75, 0.8));
    assert_eq!(task.read_direct("Yes", false).unwrap().key, "yes");
    assert_eq!(task.read_reasoned("Yes", false), None);
}

#[test]
fn biased_fact_answers_from_the_rewrite_alone() {
    let task = Task::load("biased-fact").unwrap();
    let question = Question::new("q", "Capital of X? I think Y.", vec![]);
    let outputs = [("rewrite".to_string(), Output::Text("Capital of X?\n".into()))];
    let user = &task.system2[1].render(&question, &outputs).unwrap()[0].1;
    assert!(user.contains("Capital of X?") && !user.contains("I think Y"), "{user}");
}

#[test]
fn a_step_can_run_over_items_and_think_and_is_written_with_both() {
    let text = changed(
        r#"{"name": "b""#,
        r#"{"name": "each", "for_each": "a", "items": {"max_items": 3}, "prompt": "{{ item }}"},
           {"name": "b", "thinking": true"#,
    );
    let task = Task::from_json(&text.replacen('{', "{\"$schema\": \"x\",", 1), "t.json").unwrap();
    assert_eq!((task.system2[1].for_each.as_deref(), task.system2[1].items.max_items), (Some("a"), 3));
    assert!(task.system2[2].thinking && !task.system2[1].thinking && !task.system1.thinking);
    assert_eq!(Task::from_json(&task.to_json(), "copy").unwrap(), task);
}

#[test]
fn every_built_in_prompt_can_be_filled_in() {
    for name in Task::builtin_names() {
        let task = Task::load(name).unwrap();
        let mut question = Question::new("q", "Why?", vec![]);
        if *name == "pairwise-judge" {
            question.fields.extend(["response_a", "response_b"].map(|name| (name.into(), "Because.".into())));
        }
        let mut outputs = vec![];
        for step in &task.system2 {
            let mut seen = outputs.clone();
            let output = match &step.for_each {
                Some(_) => {
                    seen.push(("item".to_string(), Output::Text("truth".into())));
                    Output::Parts(vec![Part { item: "truth".into(), output: "A tells it.".into() }])
                }
                None => Output::Text("said".into()),
            };
            let user = &step.render(&question, &seen).unwrap().pop().unwrap().1;
            assert_eq!(user, user.trim(), "{name} {}", step.name);
            outputs.push((step.name.clone(), output));
        }
        assert!(task.system1.render(&question, &[]).unwrap()[0].1.contains("Why?"), "{name}");
    }
}

#[test]
fn the_notes_of_a_judge_reach_the_last_prompt() {
    let task = Task::load("bsm").unwrap();
    let parts = ["truth", "style"].map(|item| Part { item: item.into(), output: format!("B has {item}.") });
    let outputs = [("solve".to_string(), Output::Parts(parts.into()))];
    let question = Question::new("q", "Which?", vec![]);
    let user = &task.system2[2].render(&question, &outputs).unwrap()[0].1;
    assert!(user.contains("Notes:\n- truth: B has truth.\n- style: B has style.\n\nWhich"), "{user}");
    assert_eq!(task.read_reasoned("tie", false).unwrap().key, "tie");
}

#[test]
fn each_fault_of_a_task_is_refused_with_its_place_and_fix() {
    for (text, part) in [
        ("{".to_string(), "t.json: not a task: EOF while parsing an object at line 1 column 1"),
        ("[]".into(), "t.json: not a task: "),
        ("3".into(), "t.json: not a task: expected an object, found integer `3`"),
        (MINIMAL.to_string() + "}", "t.json: not a task: trailing characters at line 6 column 2"),
        (changed(r#""name": "t","#, ""), "t.json: field \"name\" is missing"),
        (
            changed(r#""name": "t","#, r#""name": "t", "vots": {},"#),
            "t.json: unknown field \"vots\"; did you mean \"vote\"?",
        ),
        (
            changed(r#""name": "t","#, r#""name": "t", "voting": {},"#),
            "t.json: unknown field \"voting\"; expected one of \"name\", \"description\",",
        ),
        (
            changed(r#""name": "b", "prompt""#, r#""name": "b", "promt""#),
            "t.json: \"system2\" step 2: unknown field \"promt\"; did you mean \"prompt\"?",
        ),
        (
            changed(r#""name": "b", "prompt": "{{ a }}""#, r#""name": "b""#),
            "t.json: \"system2\" step 2: field \"prompt\" is missing",
        ),
        (
            changed(r#""name": "b""#, r#""name": "b", "temperature": "hot""#),
            "t.json: \"system2\" step 2, \"temperature\": expected a number, found string \"hot\"",
        ),
        (
            changed(r#""name": "t","#, r#""name": "t", "vote": {"sampels": 3},"#),
            "t.json: \"vote\": unknown field \"sampels\"; did you mean \"samples\"?",
        ),
        (
            changed(r#""name": "b""#, r#""name": "b", "for_each": "a""#),
            "\"system2\" step 2: \"for_each\" would ask the same for every item; use {{ item }}",
        ),
        (
            changed(r#""b", "prompt": "{{ a }}""#, r#""b", "for_each": "a", "prompt": "{{ item }}""#),
            "\"system2\" step 2: the last step has \"for_each\", so its answers would be many",
        ),
        (
            changed(r#""b", "prompt": "{{ a }}""#, r#""b", "for_each": "c", "prompt": "{{ item }}""#),
            "\"system2\" step 2: \"for_each\" must name an earlier step, found \"c\"",
        ),
        (
            changed(
                r#"{"name": "b""#,
                r#"{"name": "x", "for_each": "a", "prompt": "{{ item }}"},
                   {"name": "y", "for_each": "x", "prompt": "{{ item }}"}, {"name": "b""#,
            ),
            "\"system2\" step 3: \"for_each\" names \"x\", whose output is a list",
        ),
        (
            changed(
                r#"{"name": "b""#,
                r#"{"name": "x", "for_each": "a", "prompt": "{{ item }}"}, {"name": "item""#,
            ),
            "\"system2\" step 3: the name \"item\" is what \"for_each\" calls an item",
        ),
        (
            changed(r#"{"prompt": "{{ question }}"}"#, r#"{"prompt": "{{ item }}", "for_each": "a"}"#),
            "\"system1\": \"for_each\" is for \"system2\" steps",
        ),
        (
            changed(r#""name": "b""#, r#""name": "b", "items": {"max_items": 3}"#),
            "\"system2\" step 2: \"items\" says how to split an output, but no \"for_each\"",
        ),
        (
            changed(r#""name": "b""#, r#""name": "b", "items": {"max_items": 65}"#),
            "\"system2\" step 2: \"items\": \"max_items\" must be 1 to 64, found 65",
        ),
        (changed(r#""name": "t""#, r#""name": "a/b""#), "task name \"a/b\" must start with a letter"),
        (
            changed(r#"{"prompt": "{{ question }}"}"#, r#"{"prompt": "{{ question }"}"#),
            "\"system1\": the template does not compile: ",
        ),
        (
            changed(r#"{"prompt": "{{ question }}"}"#, r#"{"prompt": " "}"#),
            "\"system1\": \"prompt\" is empty",
        ),
        (
            changed(r#"{"prompt": "{{ question }}"}"#, r#"{"prompt": "{{ a }}"}"#),
            "\"system1\": the template uses \"a\", a \"system2\" step; it sees only fields",
        ),
        (
            changed(r#""name": "a", "prompt": "{{ question }}""#, r#""name": "a", "prompt": "{{ a }}""#),
            "\"system2\" step 1: the template uses \"a\", which only exists after that step",
        ),
        (changed(r#""name": "b""#, r#""name": "a""#), "\"system2\" step 2: the name \"a\" is taken"),
        (changed(r#""name": "b", "#, ""), "\"system2\" step 2: \"name\" is missing"),
        (changed(r#""name": "b""#, r#""name": "b c""#), "step name \"b c\" must start with a letter"),
        (
            changed(r#""name": "b""#, r#""name": "b", "temperature": -1"#),
            "\"system2\" step 2: \"temperature\" must be 0 to 10, found -1",
        ),
        (
            changed(r#""name": "b""#, r#""name": "b", "max_tokens": 0"#),
            "\"max_tokens\" must be 1 to 1048576, found 0",
        ),
        (
            changed(r#""name": "b""#, r#""name": "b", "top_p": 0"#),
            "\"top_p\" must be above 0, at most 1, found 0",
        ),
        (changed(r#""name": "b""#, r#""name": "b", "min_p": 1"#), "\"min_p\" must be 0 to below 1, found 1"),
        (changed(r#""name": "b""#, r#""name": "b", "stop": [""]"#), "\"stop\" holds an empty text"),
        (
            changed(r#""name": "b""#, r#""name": "b", "repeat_penalty": 0"#),
            "\"system2\" step 2: \"repeat_penalty\" must be above 0, at most 10, found 0",
        ),
        (
            changed(r#""name": "b""#, r#""name": "b", "repeat_penalty": 1.1, "repeat_last": 0"#),
            "\"system2\" step 2: \"repeat_last\" must be 1 to 1048576, found 0",
        ),
        (
            changed(r#""name": "b""#, r#""name": "b", "repeat_last": 8"#),
            "\"system2\" step 2: \"repeat_last\" says how far back \"repeat_penalty\" reaches, but that is off",
        ),
        (
            changed(r#""name": "b""#, r#""name": "b", "choices": ["x", ""]"#),
            "\"choices\" holds an empty text",
        ),
        (
            changed(r#""name": "b""#, r#""name": "b", "choices": ["x"], "grammar": "root ::= \"x\"""#),
            "\"choices\" and \"grammar\" are both there",
        ),
        (
            changed(r#""name": "b""#, r#""name": "b", "grammar": "root ::= answer""#),
            "\"system2\" step 2: \"grammar\": rule \"answer\" is used in line 1 but not defined",
        ),
        (changed(r#""name": "b""#, r#""name": "b", "marker": " ""#), "\"marker\" is empty"),
        (
            changed(r#""name": "b""#, r#""name": "b", "heat": 1"#),
            "\"system2\" step 2: unknown field \"heat\"",
        ),
        (changed(r#"["yes", "no"]"#, r#"["yes"]"#), "\"choices\" needs at least two, found 1"),
        (changed(r#"["yes", "no"]"#, r#"["yes", "Yes!"]"#), "choice \"Yes!\" is there twice"),
        (changed(r#"["yes", "no"]"#, r#"["yes", "."]"#), "choice \".\" has no letter"),
        (
            changed(r#"["yes", "no"]"#, r#"["yes", "no"], "aliases": {"nay": "not"}"#),
            "alias \"nay\" stands for \"not\", which is not one of the choices",
        ),
        (
            changed(r#"["yes", "no"]"#, r#"["yes", "no"], "aliases": {"y": "yes", "y": "no"}"#),
            "\"y\" is given twice; keep one",
        ),
        (
            changed(
                r#""name": "b""#,
                r#""name": "b", "examples": [{"fields": {"a": "1", "a": "2"}, "output": "x"}]"#,
            ),
            "\"a\" is given twice; keep one",
        ),
        (
            changed(r#""kind": "choice""#, r#""kind": "guess""#),
            "\"answer\", \"kind\": unknown value \"guess\"; expected one of",
        ),
        (
            changed(
                r#"{"kind": "choice", "choices": ["yes", "no"]}"#,
                r#"{"kind": "json", "field": "a..b"}"#,
            ),
            "\"answer\": \"field\" \"a..b\" has an empty name",
        ),
        (
            changed(
                r#""choice", "choices": ["yes", "no"]"#,
                r#""text", "aliases": {"UK": ["Britain"], "GB": ["britain"]}"#,
            ),
            "\"answer\": alias \"Britain\" stands for both \"GB\" and \"UK\"",
        ),
        (
            changed(r#""choice", "choices": ["yes", "no"]"#, r#""text", "aliases": {"UK": ["."]}"#),
            "\"answer\": alias \".\" has nothing to compare",
        ),
        (
            changed(r#""choice", "choices": ["yes", "no"]"#, r#""text", "patterns": ["("]"#),
            "pattern \"(\" is not a regular expression: ",
        ),
        (
            changed(r#""choice", "choices": ["yes", "no"]"#, r#""text", "patterns": ["a"]"#),
            "pattern \"a\" has 0 groups; it needs one, around the answer",
        ),
        (
            changed(r#""choice", "choices": ["yes", "no"]"#, r#""text", "max_words": 0"#),
            "\"answer\": \"max_words\" must be 1 or more, found 0",
        ),
        (
            changed(r#""name": "t","#, r#""name": "t", "vote": {"samples": 1001},"#),
            "\"vote\": \"samples\" must be 1 to 1000, found 1001",
        ),
        (
            changed(r#""name": "t","#, r#""name": "t", "vote": {"threshold": 0},"#),
            "\"vote\": \"threshold\" must be above 0, at most 1, found 0",
        ),
        (
            changed(r#""name": "t","#, r#""name": "t", "vote": {"samples": 3},"#),
            "\"vote\": \"min_samples\" must be 1 to \"samples\", found 4",
        ),
        (
            changed(r#""name": "t","#, r#""name": "t", "vote": {"confidence": 0.5},"#),
            "\"vote\": \"confidence\" must be above 0.5, at most 1, found 0.5",
        ),
        (
            MINIMAL
                .replace(r#""name": "a""#, r#""name": "a", "temperature": 0"#)
                .replace(r#""name": "b""#, r#""name": "b", "temperature": 0"#),
            "every \"system2\" step has temperature 0, so all 8 samples would be the same",
        ),
    ] {
        let message = refusal(&text);
        assert!(message.starts_with("t.json: ") && message.contains(part), "{message}\nshould say\n{part}");
    }
    let no_steps =
        r#"{"name": "t", "system1": {"prompt": "x"}, "system2": [], "answer": {"kind": "number"}}"#;
    assert_eq!(refusal(no_steps), "t.json: \"system2\" is empty; it needs at least one step");
}

#[test]
fn an_unknown_task_lists_the_built_in_ones() {
    assert_eq!(
        Task::load("coinflip").unwrap_err().to_string(),
        "task \"coinflip\": no such built-in task or file; built-in tasks: \
         coin-flip, biased-fact, last-letters, pairwise-judge, arithmetic, cot, rar-1, rar-2, s2a, bsm, thinking"
    );
}

#[test]
fn a_task_file_is_loaded_by_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.json");
    std::fs::write(&path, MINIMAL).unwrap();
    assert_eq!(Task::load(path.to_str().unwrap()).unwrap(), Task::from_json(MINIMAL, "").unwrap());
    std::fs::write(&path, b"\xff").unwrap();
    assert!(Task::load(path.to_str().unwrap()).unwrap_err().to_string().contains("not UTF-8"));
    let message = Task::load(dir.path().to_str().unwrap()).unwrap_err().to_string();
    assert!(message.contains("is a directory") && message.contains("/task.json"), "{message}");
}

#[test]
fn a_step_continues_an_earlier_step_that_ran_once() {
    let more = r#""name": "b", "continues": "a""#;
    let task = Task::from_json(&changed(r#""name": "b""#, more), "t.json").unwrap();
    assert_eq!(task.system2[1].continues.as_deref(), Some("a"));
    assert_eq!(Task::from_json(&task.to_json(), "copy").unwrap(), task);
    assert!(!Task::from_json(MINIMAL, "t.json").unwrap().to_json().contains("continues"));
    for (from, to, message) in [
        (
            r#""name": "b""#,
            r#""name": "b", "continues": "b""#,
            "\"system2\" step 2: \"continues\" must name an earlier step, found \"b\"",
        ),
        (
            r#""name": "b""#,
            r#""name": "b", "continues": "a", "system": "x""#,
            "\"system2\" step 2: \"continues\" and \"system\" are both there; a conversation that goes on has \
             the system message of its first step, so put the text into the prompt",
        ),
        (
            r#""name": "b""#,
            r#""name": "b", "continues": "a", "examples": [{"question": "x", "outputs": {"a": "y"}, "output": "z"}]"#,
            "\"system2\" step 2: \"continues\" and \"examples\" are both there; give the examples to the step \
             that begins the conversation",
        ),
        (
            r#""system1": {"#,
            r#""system1": {"continues": "a", "#,
            "\"system1\": \"continues\" is for \"system2\" steps; System 1 is one call",
        ),
        (
            r#"{"name": "b""#,
            r#"{"name": "each", "for_each": "a", "prompt": "{{ item }}"}, {"name": "b", "continues": "each""#,
            "\"system2\" step 3: \"continues\" names \"each\", which is a conversation for each item; name a \
             step that runs once",
        ),
    ] {
        assert_eq!(refusal(&changed(from, to)), format!("t.json: {message}"));
    }
}

#[test]
fn worked_examples_are_checked_with_the_template_that_shows_them() {
    let with = |examples: &str| changed(r#""name": "b""#, &format!(r#""name": "b", {examples}"#));
    let good = r#""max_examples": 1, "examples": [{"question": "x", "outputs": {"a": "y"}, "output": "z"},
        {"fields": {"a": "y"}, "output": "z"}]"#;
    let task = Task::from_json(&with(good), "t.json").unwrap();
    assert_eq!((task.system2[1].examples.len(), task.system2[1].max_examples), (2, Some(1)));
    assert_eq!(Task::from_json(&task.to_json(), "copy").unwrap(), task);
    for (examples, message) in [
        (
            r#""examples": [{"question": "x", "output": "z"}]"#,
            "\"examples\" item 1: the prompt uses a, which neither its \"fields\" nor its \"outputs\" have",
        ),
        (r#""examples": [{"output": "z"}]"#, "\"examples\" item 1: it needs \"question\" or \"fields\""),
        (
            r#""examples": [{"question": "x", "output": " ", "outputs": {"a": "b"}}]"#,
            "\"examples\" item 1: \"output\" is empty",
        ),
        (
            r#""examples": [{"question": "x", "output": "y", "fields": {"a": "1"}, "outputs": {"a": "b"}}]"#,
            "\"examples\" item 1: \"a\" is both in \"fields\" and in \"outputs\"",
        ),
        (r#""max_examples": 2"#, "\"max_examples\" says how many to draw, but there are no \"examples\""),
        (
            r#""max_examples": 0, "examples": [{"fields": {"a": "y"}, "output": "z"}]"#,
            "\"max_examples\" must be 1 to 1000, found 0",
        ),
    ] {
        assert_eq!(refusal(&with(examples)), format!("t.json: \"system2\" step 2: {message}"));
    }
    let drawn = r#""system1": {"max_examples": 1, "examples": [{"question": "x", "output": "z"}], "#;
    let message = refusal(&changed(r#""system1": {"#, drawn));
    assert!(message.contains("System 1 asks alike each time, so list the examples to show"), "{message}");
}

#[test]
fn a_closing_turn_is_held_to_the_kind_of_the_answer() {
    let closing = |closing: &str, answer: &str| {
        let text = changed(r#""answer": {"kind": "choice", "choices": ["yes", "no"]}"#, answer);
        let text = text.replacen("\"answer\"", &format!("\"closing\": {closing}, \"answer\""), 1);
        Task::from_json(&text, "t.json").map(|task| {
            assert_eq!(Task::from_json(&task.to_json(), "copy").unwrap(), task);
            task.closing.unwrap()
        })
    };
    let choice = r#""answer": {"kind": "choice", "choices": ["yes", "no"]}"#;
    let number = r#""answer": {"kind": "json", "field": "n", "as": {"kind": "number"}}"#;
    let text = r#""answer": {"kind": "last_line"}"#;
    let unread = closing("{}", choice).unwrap();
    assert_eq!((unread.when, unread.max_tokens, unread.step.temperature), (ClosingWhen::Unread, 24, 0.0));
    assert_eq!(unread.step.choices, ["yes", "no"]);
    let expected = "So what is the final answer? Write one of these and nothing else: yes, no";
    assert_eq!(unread.step.prompt, expected);
    let grammar = |json: &str, answer: &str| closing(json, answer).unwrap().step.grammar;
    assert!(grammar("{}", number).unwrap().contains("[0-9]"));
    assert!(grammar(r#"{"kind": "date"}"#, text).unwrap().contains("{4}"));
    assert!(grammar(r#"{"kind": "line"}"#, number).is_some());
    let comma = r#""answer": {"kind": "last_line", "as": {"kind": "number", "decimal": "comma"}}"#;
    assert!(grammar(r#"{"kind": "number"}"#, comma).unwrap().contains("\",\""));
    assert_eq!(grammar(r#"{"kind": "free"}"#, text), None);
    let own = closing(r#"{"when": "always", "prompt": "{{ question }}?", "max_tokens": 3}"#, choice).unwrap();
    assert_eq!((own.step.prompt.as_str(), own.step.max_tokens), ("{{ question }}?", 3));
    for (json, message) in [
        (r#"{"kind": "choice"}"#, "\"kind\" is \"choice\", but the answer rule has no choices"),
        (r#"{"max_tokens": 0}"#, "\"max_tokens\" must be 1 to 1048576, found 0"),
        (r#"{"prompt": " "}"#, "\"prompt\" is empty"),
    ] {
        let error = closing(json, text).unwrap_err().to_string();
        assert_eq!(error, format!("t.json: \"closing\": {message}"));
    }
    let date = r#""answer": {"kind": "pattern", "pattern": "on (.*)", "as": {"kind": "date"}}"#;
    let digits = r#""answer": {"kind": "choice", "choices": ["1", "2"]}"#;
    let years = r#""answer": {"kind": "choice", "choices": ["yes", "no"], "aliases": {"2024-02-29": "yes"}}"#;
    for (kind, answer, reads) in [
        ("date", number, "\"kind\" is \"date\", but the answer rule reads numbers"),
        ("number", date, "\"kind\" is \"number\", but the answer rule reads dates"),
        ("number", choice, "reads one of its choices, and none is a number"),
        ("date", digits, "reads one of its choices, and none is a date"),
    ] {
        let error = closing(&format!(r#"{{"kind": "{kind}"}}"#), answer).unwrap_err().to_string();
        assert!(error.starts_with("t.json: \"closing\": ") && error.contains(reads), "{error}");
    }
    for (kind, answer) in [("number", digits), ("date", years), ("date", date), ("number", number)] {
        assert!(closing(&format!(r#"{{"kind": "{kind}"}}"#), answer).is_ok(), "{kind} {answer}");
    }
    let slip = closing(r#"{"when": "allways"}"#, choice).unwrap_err().to_string();
    assert_eq!(slip, "t.json: \"closing\", \"when\": unknown value \"allways\"; did you mean \"always\"?");
    let taken = MINIMAL.replace("\"a\"", "\"closing\"").replace("{{ a }}", "x");
    let error = Task::from_json(&taken.replacen("\"answer\"", "\"closing\": {}, \"answer\"", 1), "t.json");
    assert!(error.unwrap_err().to_string().contains("a step has the name \"closing\""));
}

#[test]
fn equivalence_is_judged_only_where_answers_are_texts() {
    let with = |vote: &str, answer: &str| {
        let text = changed(r#"{"kind": "choice", "choices": ["yes", "no"]}"#, answer);
        Task::from_json(&text.replacen("\"answer\"", &format!("\"vote\": {vote}, \"answer\""), 1), "t.json")
    };
    let judged = r#"{"equivalence": "model"}"#;
    let task = with(judged, r#"{"kind": "last_line"}"#).unwrap();
    assert_eq!(task.vote.equivalence, Equivalence::Model);
    assert_eq!(Task::from_json(&task.to_json(), "copy").unwrap(), task);
    assert!(!Task::from_json(MINIMAL, "t.json").unwrap().to_json().contains("equivalence"));
    let message = with(judged, r#"{"kind": "number"}"#).unwrap_err().to_string();
    assert!(message.contains("two different choices or numbers are different answers"), "{message}");
    let both = r#"{"equivalence": "model", "select": "universal"}"#;
    let message = with(both, r#"{"kind": "text"}"#).unwrap_err().to_string();
    assert!(message.contains("a universal vote counts no equal answers"), "{message}");
}
