use crate::task::Task;

/// A task with an answer rule and a marker, as users write it.
pub(super) fn task(answer: &str, marker: Option<&str>) -> Task {
    let marker = marker.map_or(String::new(), |marker| format!(", \"marker\": \"{marker}\""));
    let text = format!(
        r#"{{"name": "t", "system1": {{"prompt": "{{{{ question }}}}"}},
            "system2": [{{"prompt": "{{{{ question }}}}"{marker}}}], "answer": {answer}}}"#
    );
    Task::from_json(&text, "test").unwrap()
}

fn text2(task: &Task, completion: &str) -> Option<String> {
    task.read_reasoned(completion, false).map(|answer| answer.text)
}

const YES_NO: &str = r#"{"kind": "choice", "choices": ["yes", "no"], "aliases": {"true": "yes"}}"#;
const A_B: &str = r#"{"kind": "choice", "choices": ["A", "B", "tie"]}"#;
const NUMBER: &str = r#"{"kind": "number"}"#;
const TEXT: &str = r#"{"kind": "text", "max_words": 4}"#;
const BOXED: &str = r#"{"kind": "pattern", "pattern": "boxed[{]([^}]*)[}]", "as": {"kind": "number"}}"#;
const WINNER: &str =
    r#"{"kind": "json", "field": "verdict.winner", "as": {"kind": "choice", "choices": ["A", "B", "tie"]}}"#;
const LAST_LINE: &str = r#"{"kind": "last_line"}"#;
const ALL: [&str; 7] = [YES_NO, A_B, NUMBER, TEXT, BOXED, WINNER, LAST_LINE];

/// Unusual completions, which every rule must handle.
fn odd() -> Vec<String> {
    let mut odd: Vec<String> = [
        "",
        " ",
        "\n\n",
        "Answer:",
        "Answer: ",
        "Answer: **",
        "answer:\n\n",
        "\u{0}",
        "\u{feff}",
        "🪙",
        "…",
        "'",
        "-",
        "--1-",
        "=",
        "Answer: =",
        "$",
        "1,",
        ".5.",
        "(",
        "<think>",
        "<think>Answer: yes",
        "</think>",
        "İ ß ﬁ",
        "नमस्ते",
        "\u{202e}yes",
        "Answer:Answer:Answer:",
        "e\u{301}",
        "a\u{300}\u{301}\u{302}",
        "−3 ",
        " −x\n",
        "Answer: –−x ",
    ]
    .map(String::from)
    .to_vec();
    odd.push("a ".repeat(200_000));
    odd.push("9".repeat(200_000));
    odd.push("Answer: ".repeat(50_000));
    odd.push("é".repeat(100_000));
    odd.push("{".repeat(100_000));
    odd.push("{\"verdict\": ".repeat(20_000));
    odd.push("boxed{".repeat(50_000));
    odd
}

#[test]
fn odd_and_huge_completions_are_read_without_harm() {
    for answer in ALL {
        for task in [task(answer, None), task(answer, Some("Answer:"))] {
            for text in odd() {
                let read = task.read_reasoned(&text, false);
                assert!(read.is_none_or(|answer| !answer.key.is_empty() && !answer.text.is_empty()));
                task.reasoned_is_complete(&text);
            }
        }
    }
}

#[test]
fn every_prefix_of_a_completion_can_be_read() {
    let text = "<think>hm…</think>**Answer**: “Ñandú” = −1,234.50 (yes) İ\nno";
    for answer in ALL {
        for task in [task(answer, None), task(answer, Some("Answer:"))] {
            for (end, _) in text.char_indices() {
                task.read_reasoned(&text[..end], false);
                task.reasoned_is_complete(&text[..end]);
            }
        }
    }
}

#[test]
fn a_bare_choice_is_read_from_its_beginning() {
    let task = task(YES_NO, Some("Answer:"));
    for (text, answer) in [
        ("yes", Some("yes")),
        ("Yes.", Some("yes")),
        ("**No**, it is not.", Some("no")),
        (" \"NO\"\n", Some("no")),
        ("Yes, the coin is still heads up. No one flipped it.", Some("yes")),
        ("True", Some("yes")),
        ("The answer is no.", Some("no")),
        ("Answer: yes", Some("yes")),
        ("It could be yes, it could be no.", None),
        ("yes or no", None),
        ("Yes/No", None),
        ("nobody knows", None),
        ("yesterday", None),
        ("maybe", None),
        ("", None),
    ] {
        assert_eq!(task.read_direct(text, false).map(|a| a.text).as_deref(), answer, "{text:?}");
    }
}

#[test]
fn reasoning_is_read_only_after_its_last_marker() {
    let task = task(YES_NO, Some("Answer:"));
    for (text, answer) in [
        ("Mia flips it, so it is tails up. Answer: no", Some("no")),
        ("Yes, let me think. **Answer:** No.", Some("no")),
        ("Answer: yes. Wait, Noah flips it. Answer: no", Some("no")),
        ("answer :\n\n*yes*", Some("yes")),
        ("Answer: the coin is heads up, so yes.", Some("yes")),
        ("<think>Answer: yes</think>Answer: no", Some("no")),
        ("Mia flips it, so it is tails up. No", None),
        ("yes", None),
        ("Answer: yes. Answer:", None),
        ("Answer: heads", None),
        ("<think>so far: Answer: yes", None),
    ] {
        assert_eq!(text2(&task, text).as_deref(), answer, "{text:?}");
    }
}

#[test]
fn sampling_stops_once_a_choice_cannot_change() {
    let task = task(YES_NO, Some("Answer:"));
    for text in ["So. Answer: yes.", "Answer: no\n", "Answer: **yes** it ", "Answer: no, the "] {
        assert!(task.reasoned_is_complete(text), "{text:?}");
        assert!(text2(&task, text).is_some(), "{text:?}");
    }
    for text in [
        "",
        "yes.",
        "Answer:",
        "Answer: y",
        "Answer: yes",
        "Answer: no'",
        "Answer: yes ",
        "Answer: no, b",
        "Answer: nob",
        "Answer: the coin is yes.",
    ] {
        assert!(!task.reasoned_is_complete(text), "{text:?}");
    }
    assert!(
        task.direct_is_complete("Yes, the ")
            && !task.direct_is_complete("Yes")
            && !task.direct_is_complete("It is yes.")
    );
}

#[test]
fn a_choice_that_another_begins_with_waits_for_more() {
    let task = task(r#"{"kind": "choice", "choices": ["not", "not sure", "not sure at all"]}"#, None);
    for (text, answer) in [("Not.", "not"), ("not sure", "not sure"), ("Not sure at all!", "not sure at all")]
    {
        assert_eq!(text2(&task, text).as_deref(), Some(answer));
    }
    assert!(!task.reasoned_is_complete("not ") && !task.reasoned_is_complete("not sure "));
    assert!(task.reasoned_is_complete("not really I") && task.reasoned_is_complete("not sure at all."));
}

#[test]
fn a_letter_is_a_choice_only_if_it_is_not_a_word() {
    let bare = task(A_B, None);
    for (text, answer) in [
        ("A", Some("A")),
        ("B.", Some("B")),
        ("(B) is better", Some("B")),
        ("**A**", Some("A")),
        ("A\nbecause", Some("A")),
        ("Response B wins.", Some("B")),
        ("It is a tie.", Some("tie")),
        ("a coin", None),
        ("A beats B", None),
        ("A coin has two sides, A and B.", None),
        ("so it is A's reply, B", None),
    ] {
        assert_eq!(text2(&bare, text).as_deref(), answer, "{text:?}");
    }
    let marked = task(A_B, Some("Verdict:"));
    assert_eq!(text2(&marked, "A thinks so, B too. Verdict: a").as_deref(), Some("A"));
    assert!(
        marked.reasoned_is_complete("Verdict: B. ")
            && !marked.reasoned_is_complete("Verdict: B ")
            && !bare.reasoned_is_complete("A ")
            && bare.reasoned_is_complete("A.\n")
    );
}

#[test]
fn aliases_count_as_their_choice_and_training_sees_the_choice() {
    let task = task(YES_NO, None);
    let answer = task.read_reasoned("TRUE!", false).unwrap();
    assert_eq!((answer.key.as_str(), task.answer.target(&answer).as_str()), ("yes", "yes"));
    assert!(task.answer.is_correct(&answer, &["Yes".into()]));
    assert!(task.answer.is_correct(&answer, &["true".into()]));
    assert!(!task.answer.is_correct(&answer, &["no".into()]));
    assert!(!task.answer.is_correct(&answer, &[]));
}

#[test]
fn numbers_are_compared_by_value_without_rounding() {
    let task = task(NUMBER, Some("Answer:"));
    for (text, answer) in [
        ("Answer: 12", Some("12")),
        ("Answer: $1,234.50 in all", Some("1234.5")),
        ("Answer: **007**.", Some("7")),
        ("Answer: -3", Some("-3")),
        ("Answer: −3", Some("-3")),
        ("Answer: 3 * 4 = 12 apples", Some("12")),
        ("Answer: 12 (3 boxes of 4)", Some("12")),
        ("Answer: .5", Some("0.5")),
        ("Answer: -0.0", Some("0")),
        ("Answer:\n 8\n9", Some("8")),
        ("Answer: 123456789012345678901", Some("123456789012345678901")),
        ("Answer: none", None),
        ("12", None),
    ] {
        assert_eq!(text2(&task, text).as_deref(), answer, "{text:?}");
    }
    let answer = task.read_reasoned("Answer: 1,000.0", false).unwrap();
    assert!(task.answer.is_correct(&answer, &["1000".into()]));
    assert!(!task.answer.is_correct(&answer, &["100".into(), "10000".into(), "many".into()]));
    assert!(
        task.reasoned_is_complete("Answer: 3\n")
            && !task.reasoned_is_complete("Answer: 3")
            && !task.reasoned_is_complete("Answer: 3 + 4 ")
    );
}

#[test]
fn a_number_without_a_marker_is_that_of_the_first_line_or_the_last_of_the_text() {
    let task = task(NUMBER, None);
    for (text, answer) in [
        ("12 apples, since 3 boxes hold 4", "12"),
        ("She has 3 and gets 4, so she has 7.", "7"),
        ("1. Count 3 boxes.\n2. Each holds 4.\nSo it is 12.", "12"),
    ] {
        assert_eq!(text2(&task, text).as_deref(), Some(answer), "{text:?}");
    }
}

#[test]
fn a_text_is_its_first_sentence_without_decoration() {
    let task = task(TEXT, None);
    for (text, answer) in [
        ("Canberra", Some("Canberra")),
        ("**Canberra**.", Some("Canberra")),
        ("\"Canberra.\"", Some("Canberra")),
        ("`Canberra`", Some("Canberra")),
        ("Canberra. It is not Sydney.", Some("Canberra")),
        ("Canberra\n\nNot Sydney", Some("Canberra")),
        ("\n\n Port-au-Prince!", Some("Port-au-Prince")),
        ("St. Petersburg. It lies", Some("St. Petersburg")),
        ("Washington, D.C.", Some("Washington, D.C.")),
        ("Kyiv (Kiev)", Some("Kyiv")),
        ("東京", Some("東京")),
        ("N'Djamena", Some("N'Djamena")),
        ("I really do not know that", None),
        ("...", None),
    ] {
        assert_eq!(text2(&task, text).as_deref(), answer, "{text:?}");
    }
    let answer = task.read_reasoned("The Brasília.", false).unwrap();
    assert!(task.answer.is_correct(&answer, &["BRASILIA".into()]));
    assert_eq!(task.answer.target(&answer), "The Brasília");
}

#[test]
fn patterns_find_the_answer_in_a_sentence() {
    let task = Task::load("biased-fact").unwrap();
    for (text, answer) in [
        ("Ottawa", Some("Ottawa")),
        ("The capital of Canada is Ottawa.", Some("Ottawa")),
        ("The capital of the United States is Washington, D.C.", Some("Washington")),
        ("Ottawa is the capital of Canada.", Some("Ottawa")),
        ("Yes, the capital city of Canada is **Ottawa**, not Toronto.", Some("Ottawa")),
        ("I believe it's Ottawa.", Some("Ottawa")),
        ("Port-au-Prince", Some("Port-au-Prince")),
        ("N'Djamena", Some("N'Djamena")),
        ("I am sorry, but I cannot help with that question.", None),
    ] {
        assert_eq!(text2(&task, text).as_deref(), answer, "{text:?}");
    }
    assert!(task.reasoned_is_complete("The capital of Canada is Ottawa.\n"));
    assert!(!task.reasoned_is_complete("The capital of Canada is Ottawa"));
    assert!(!task.reasoned_is_complete("Sure!\n"), "the point may still come");
}

#[test]
fn a_text_rule_without_patterns_is_complete_with_its_line() {
    let task = task(TEXT, None);
    assert!(
        task.reasoned_is_complete("Ottawa\n")
            && !task.reasoned_is_complete("Ottawa")
            && !task.reasoned_is_complete("\n")
    );
}

#[test]
fn a_pattern_s_last_match_is_the_answer() {
    let bare = task(BOXED, None);
    for (text, answer) in [
        (r"so \boxed{12}, no: \boxed{ 7 }.", Some("7")),
        (r"\boxed{7} or \boxed{ }", Some("7")),
        (r"\boxed{1,000.0}", Some("1000")),
        (r"\boxed{seven}", None),
        ("12", None),
        (r"<think>\boxed{7}", None),
    ] {
        assert_eq!(text2(&bare, text).as_deref(), answer, "{text:?}");
    }
    assert!(!bare.reasoned_is_complete("\\boxed{7}\n"), "another may follow");
    let marked = task(BOXED, Some("Answer:"));
    assert_eq!(text2(&marked, r"\boxed{1} Answer: \boxed{2}").as_deref(), Some("2"));
    assert!(
        marked.reasoned_is_complete("Answer: \\boxed{7}\n")
            && !marked.reasoned_is_complete("Answer: \\boxed{7}")
    );
    assert!(!marked.reasoned_is_complete("Answer:\nit is\n") && !marked.reasoned_is_complete("Answer: 3\n"));
    let answer = bare.read_reasoned(r"\boxed{7.0}", false).unwrap();
    assert!(
        bare.answer.is_correct(&answer, &["7".into()]) && !bare.answer.is_correct(&answer, &["8".into()])
    );
    assert_eq!(bare.answer.target(&answer), "7");
}

#[test]
fn a_field_of_the_last_json_object_is_the_answer() {
    let judge = task(WINNER, None);
    for (text, answer) in [
        (r#"{"verdict": {"winner": "A"}}"#, Some("A")),
        ("Sure!\n```json\n{\"verdict\": {\"winner\": \"response b\"}}\n```\n", Some("B")),
        (r#"{"verdict": {"winner": "A"}} No: {"verdict": {"winner": "tie"}}"#, Some("A")),
        (r#"So: {"verdict": {"winner": "A"}} No: {"verdict": {"winner": "tie"}}"#, Some("tie")),
        (r#"{not json {"verdict": {"winner": "A"}}"#, Some("A")),
        (r#"{"verdict": {"winner": "A"}} {"why": "{}"}"#, Some("A")),
        (r#"So {"verdict": {"winner": "A"}} {"why": "{}"}"#, None),
        (r#"{"verdict": {"winner": "C"}}"#, None),
        (r#"{"verdict": {"winner": ["A"]}}"#, None),
        (r#"{"verdict": "A"}"#, None),
        (r#"{"verdict": {"winner": "A"}"#, None),
        (r#"["A"]"#, None),
        ("A", None),
    ] {
        assert_eq!(text2(&judge, text).as_deref(), answer, "{text:?}");
    }
    assert!(judge.reasoned_is_complete("```json\n{\"verdict\": {\"winner\": \"A\"}}"));
    for text in ["{\"verdict\": {\"winner\": \"A\"}", "So {\"verdict\": {\"winner\": \"A\"}}", "{\"a\": 1}"] {
        assert!(!judge.reasoned_is_complete(text), "{text:?}");
    }
    let list = task(r#"{"kind": "json", "field": "cities.1"}"#, None);
    let answer = list.read_reasoned(r#"{"cities": ["Rome", "The Hague"]}"#, false).unwrap();
    assert_eq!((answer.key.as_str(), list.answer.target(&answer).as_str()), ("hague", "The Hague"));
    assert!(list.answer.is_correct(&answer, &["the hague".into()]));
    let number = task(r#"{"kind": "json", "field": "n", "as": {"kind": "number"}}"#, None);
    assert_eq!(text2(&number, r#"{"n": 12.0}"#), text2(&number, r#"{"n": "12"}"#));
}

#[test]
fn the_last_line_or_the_marked_one_is_the_answer() {
    let bare = task(LAST_LINE, None);
    for (text, answer) in [
        ("Let me see.\nIt is in Italy.\n\n**Rome**\n \n", Some("Rome")),
        ("Rome", Some("Rome")),
        (" \n", None),
    ] {
        assert_eq!(text2(&bare, text).as_deref(), answer, "{text:?}");
    }
    assert!(!bare.reasoned_is_complete("Rome\n"), "another line may follow");
    let marked = task(LAST_LINE, Some("Answer:"));
    assert_eq!(text2(&marked, "Answer: Oslo. Answer:\nRome\nthat is all").as_deref(), Some("Rome"));
    assert!(marked.reasoned_is_complete("Answer: Rome\n") && !marked.reasoned_is_complete("Answer: Rome"));
    let choice = r#"{"kind": "last_line", "as": {"kind": "choice", "choices": ["A", "B"]}}"#;
    let choice = task(choice, None);
    assert_eq!(text2(&choice, "B is short.\nA").as_deref(), Some("A"));
    assert_eq!(
        text2(&choice, "A\nA coin and B").as_deref(),
        Some("B"),
        "without a marker an article is no choice"
    );
    let answer = choice.read_reasoned("A", false).unwrap();
    assert!(choice.answer.is_correct(&answer, &["a".into()]));
    assert_eq!((choice.answer.key("b").as_deref(), choice.answer.target(&answer).as_str()), (Some("b"), "A"));
}

#[test]
fn aliases_of_a_text_are_one_answer_in_the_spelling_of_the_task() {
    let usa = r#"{"kind": "text", "aliases": {"USA": ["United States", "the United States of America"]}}"#;
    let task = task(usa, None);
    for text in ["U.S.A.", "United States.", "The United States of America"] {
        let answer = task.read_reasoned(text, false).unwrap();
        assert_eq!((answer.key.as_str(), task.answer.target(&answer).as_str()), ("usa", "USA"), "{text}");
        assert!(task.answer.is_correct(&answer, &["united states".into()]));
        assert!(!task.answer.is_correct(&answer, &["Mexico".into()]));
    }
    assert_eq!(task.read_reasoned("America", false).unwrap().key, "america");
}

#[test]
fn only_letters_or_all_characters_are_compared() {
    let letters = task(r#"{"kind": "text", "normalize": "letters", "max_words": 4}"#, Some("Answer:"));
    for text in ["Answer: ab", "Answer: \"A, b\".", "Answer: **a b**", "Answer: A-B"] {
        let answer = letters.read_reasoned(text, false).unwrap();
        assert_eq!((answer.key.as_str(), letters.answer.target(&answer).as_str()), ("ab", "ab"), "{text}");
        assert!(letters.answer.is_correct(&answer, &["AB".into()]));
        assert!(!letters.answer.is_correct(&answer, &["ba".into()]));
    }
    assert_eq!(text2(&letters, "Answer: 12"), None);
    assert!(letters.reasoned_is_complete("Answer: a, b\n") && !letters.reasoned_is_complete("Answer: a, b"));
    let exact = task(r#"{"kind": "text", "normalize": "exact"}"#, None);
    let answer = exact.read_reasoned("`The x_Y`.", false).unwrap();
    assert_eq!((answer.key.as_str(), exact.answer.target(&answer).as_str()), ("The x_Y", "The x_Y"));
    assert!(exact.answer.is_correct(&answer, &["The x_Y".into()]));
    assert!(!exact.answer.is_correct(&answer, &["the x_y".into()]));
}

#[test]
fn a_thinking_block_is_not_stopped_before_it_ends() {
    let task = task(YES_NO, Some("Answer:"));
    assert!(task.reasoned_is_complete("Answer: yes."));
    assert!(!task.reasoned_is_complete("<think>Answer: yes."));
    assert!(task.reasoned_is_complete("<think>Answer: yes.</think>Answer: no."));
}

#[test]
fn a_completion_counts_up_to_its_answer() {
    let task = Task::load("cot").unwrap();
    let text = "It flies.\nAnswer: a bird\n\nThat is because it flies.";
    assert!(task.reasoned_until_answer(text).len() < text.len());
    assert_eq!(task.reasoned_until_answer("It flies."), "It flies.");
}
