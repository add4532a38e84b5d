//! The table of cases: completions, the rules that read them, and what is read.

use serde::Deserialize;

use super::AnswerRule;
use super::tests::task;

/// A line of `cases.jsonl`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    rule: AnswerRule,
    marker: Option<String>,
    completion: String,
    /// The text of the answer; nothing if there must be none.
    answer: Option<String>,
    /// The key of the answer, where it is not that of `answer` read alone.
    key: Option<String>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

fn cases() -> Vec<Case> {
    include_str!("cases.jsonl").lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn every_case_of_the_table_is_read_as_it_says() {
    let cases = cases();
    let mut wrong = Vec::new();
    for case in &cases {
        let task = task(&serde_json::to_string(&case.rule).unwrap(), case.marker.as_deref());
        let read = task.read_reasoned(&case.completion, false);
        let text = read.as_ref().map(|answer| answer.text.as_str());
        let key = read.as_ref().map(|answer| answer.key.as_str());
        if text != case.answer.as_deref() || (case.key.is_some() && key != case.key.as_deref()) {
            wrong.push(format!("{:?}: expected {:?}, read {read:?}", case.completion, case.answer));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() >= 400, "{} cases", cases.len());
}

#[test]
fn what_is_read_from_a_cut_completion_is_what_the_whole_would_have_said() {
    let (mut read, mut wrong) = (0, Vec::new());
    for case in &cases() {
        let task = task(&serde_json::to_string(&case.rule).unwrap(), case.marker.as_deref());
        let whole = task.read_reasoned(&case.completion, false);
        for (end, _) in case.completion.char_indices() {
            let cut = &case.completion[..end];
            let Some(answer) = task.read_reasoned(cut, true) else { continue };
            read += 1;
            if Some(&answer.key) != whole.as_ref().map(|whole| &whole.key) {
                wrong.push(format!("{cut:?} of {:?}: {answer:?}, not {whole:?}", case.completion));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {read}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(read >= 100, "{read}");
}
