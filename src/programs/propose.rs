//! Wordings that the model itself writes.
//!
//! The model is shown what the questions are, and some on which its samples disagree, and writes an
//! instruction for all questions of the kind. GEPA (arXiv 2507.19457) and MIPRO (arXiv 2406.11695) do
//! this with labels; here disagreement takes their place. Small models answer the questions shown, repeat
//! them, or name what is asked about, instead of writing an instruction. Such proposals are rejected with
//! a reason; what is left are programs like those of the library, of which nothing is known either until
//! they have been tried.

use super::wording::{Wording, literal};
use super::{AnswerKind, AnswerStyle, Brief, Candidate, TaskMaker};
use crate::Result;
use crate::task::Question;
use crate::words::words;

/// Words of an instruction.
const WORDS: std::ops::RangeInclusive<usize> = 4..=60;
/// A run of so many words that also stands in a question is copied from it.
const COPIED_WORDS: usize = 5;
/// Characters of a question that are shown.
const MAX_QUESTION: usize = 600;

/// A question, and the different answers that samples gave to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Disagreement<'q> {
    /// The question.
    pub question: &'q Question,
    /// Each answer with the number of its samples.
    pub answers: Vec<(String, usize)>,
}

/// What kind of instruction the model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProposalShape {
    /// How to work on the question before answering it.
    Reason,
    /// How to write the question again, so that the new text is answered alone.
    Rewrite,
}

/// The user message that asks the model for one instruction. Different instructions come from sampling
/// it several times, and from different questions.
pub fn proposal_prompt(brief: &Brief, cases: &[Disagreement], shape: ProposalShape) -> String {
    let mut text = String::from("Here are questions of one kind.");
    if let Some(description) =
        brief.description.as_deref().map(super::one_line).filter(|text| !text.is_empty())
    {
        text += &format!(" {description}");
    }
    for case in cases {
        text += "\n\n";
        text += &shown(case.question, &brief.fields);
        let answers: Vec<String> =
            case.answers.iter().map(|(answer, n)| format!("{answer} ({n} times)")).collect();
        if !answers.is_empty() {
            text += &format!("\nPeople gave different answers: {}.", answers.join(", "));
        }
    }
    text += match shape {
        ProposalShape::Reason => {
            "\n\nWrite one instruction that helps a person to answer any question of this kind rightly: what \
             to pay attention to, and what to write down before the answer. Write one or two sentences. Do not \
             answer the questions, and do not mention anything that stands in one of them only."
        }
        ProposalShape::Rewrite => {
            "\n\nAnother person will answer these questions and must see only what is needed for it. Write one \
             instruction that says how to write any question of this kind again: what to keep and what to \
             leave out. Write one or two sentences. Do not answer the questions, and do not mention anything \
             that stands in one of them only."
        }
    };
    text
}

fn shown(question: &Question, fields: &[String]) -> String {
    let text = |name: &String| {
        let text = super::one_line(question.fields.get(name).map_or("", String::as_str));
        text.chars().take(MAX_QUESTION).collect::<String>()
    };
    match fields {
        [one] => format!("Question: {}", text(one)),
        several => {
            let lines: Vec<String> = several
                .iter()
                .map(|name| format!("{}: {}", super::wording::label(name), text(name)))
                .collect();
            lines.join("\n")
        }
    }
}

/// The instruction in a completion of [`proposal_prompt`], on one line.
///
/// # Errors
/// Why it is rejected: a text that is too short or too long for an instruction, a copy of a question or of
/// the prompt, an instruction that names an answer, or one of `known`.
pub fn read_proposal(
    completion: &str,
    brief: &Brief,
    cases: &[Disagreement],
    known: &[String],
) -> std::result::Result<String, String> {
    let text = instruction(completion);
    let words = words_of(&text);
    if !WORDS.contains(&words.len()) {
        let (min, max) = (WORDS.start(), WORDS.end());
        return Err(format!("an instruction has {min} to {max} words, found {}", words.len()));
    }
    if text.contains("[[") {
        return Err("it holds \"[[\", which marks a placeholder".into());
    }
    if known.iter().any(|known| words_of(known) == words) {
        return Err("there is one like it already".into());
    }
    let asked = proposal_prompt(brief, &[], ProposalShape::Reason)
        + &proposal_prompt(brief, &[], ProposalShape::Rewrite);
    if shares_a_run(&words, &words_of(&asked), 2 * COPIED_WORDS) {
        return Err("it repeats the prompt that asked for it".into());
    }
    for case in cases {
        if case.question.fields.values().any(|field| shares_a_run(&words, &words_of(field), COPIED_WORDS)) {
            return Err("it repeats a question".into());
        }
        // "Answer yes or no" is no answer to a question whose choices are these.
        let names = |answer: &&(String, usize)| {
            let answer = words_of(&answer.0);
            !answer.is_empty() && words.windows(answer.len()).any(|run| run == answer)
        };
        let closed = AnswerKind::of(&brief.answer) == AnswerKind::Choice;
        if let Some((answer, _)) = case.answers.iter().find(names).filter(|_| !closed) {
            return Err(format!("it names an answer ({answer:?})"));
        }
    }
    Ok(text)
}

/// The programs that follow an instruction, the most promising first. `number` tells them from those of
/// other instructions.
///
/// # Errors
/// Those of [`super::library`].
pub fn proposed(
    instruction: &str,
    shape: ProposalShape,
    number: usize,
    brief: &Brief,
) -> Result<Vec<Candidate>> {
    let wording = wording(&literal(instruction), shape, number);
    let maker = TaskMaker::new(brief)?;
    let styles = [
        AnswerStyle::Choices,
        AnswerStyle::Conclude,
        AnswerStyle::Bare,
        AnswerStyle::Sentence,
        AnswerStyle::Marker,
    ];
    let mut found = Vec::new();
    for style in styles {
        found.extend(maker.candidate(&wording, style)?);
    }
    Ok(found)
}

fn wording(instruction: &str, shape: ProposalShape, number: usize) -> Wording {
    let wording = match shape {
        ProposalShape::Reason => serde_json::json!({
            "name": format!("cot.proposed-{number}"),
            "reasons": true,
            "steps": [{
                "name": "reason",
                "prompt": format!("[[question]]\n\n{instruction} [[ask]]"),
                "max_tokens": 256,
            }],
        }),
        ProposalShape::Rewrite => serde_json::json!({
            "name": format!("s2a.proposed-{number}"),
            "steps": [
                {
                    "name": "rewrite",
                    "prompt": format!("Text: [[question]]\n\n{instruction} Do not answer it."),
                    "max_tokens": 128,
                    "temperature": 0.5,
                    "stop": ["\n\n"],
                },
                { "name": "answer", "prompt": "{{ rewrite }}\n[[ask]]" },
            ],
        }),
    };
    serde_json::from_value(wording).expect("a wording of this module's own is valid")
}

/// The text of a completion without what small models put around it: a label, a list mark, quotes.
fn instruction(completion: &str) -> String {
    let completion = completion.rsplit_once("</think>").map_or(completion, |(_, rest)| rest).trim();
    let paragraph =
        completion.split("\n\n").find(|text| !text.trim().trim_end().ends_with(':')).unwrap_or("");
    let text = super::one_line(paragraph).replace("**", "");
    let text = text.trim_start_matches(|c: char| c.is_ascii_digit() || ".)-*# ".contains(c));
    let label = |text: &str| {
        let (label, rest) = text.split_once(':')?;
        (label.split(' ').count() <= 2).then(|| rest.trim().to_string())
    };
    let text = label(text).unwrap_or_else(|| text.to_string());
    text.trim_matches(|c: char| c.is_whitespace() || "\"“”'`".contains(c)).to_string()
}

fn words_of(text: &str) -> Vec<String> {
    words(text).split(' ').filter(|word| !word.is_empty()).map(str::to_string).collect()
}

fn shares_a_run(words: &[String], others: &[String], length: usize) -> bool {
    words.windows(length).any(|run| others.windows(length).any(|other| run == other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(text: &str) -> Question {
        Question::new("q", text, vec!["GOLD".into()])
    }

    fn case<'q>(question: &'q Question, answers: &[(&str, usize)]) -> Disagreement<'q> {
        Disagreement { question, answers: answers.iter().map(|(text, n)| (text.to_string(), *n)).collect() }
    }

    #[test]
    fn the_model_sees_the_description_the_questions_and_their_answers_and_no_gold_answer() {
        let brief = Brief { description: Some("Countries of\ncities.".into()), ..Brief::default() };
        let lisbon = question("Where is Lisbon? I say Spain.");
        let cases = [case(&lisbon, &[("Spain", 3), ("Portugal", 2)])];
        for shape in [ProposalShape::Reason, ProposalShape::Rewrite] {
            let prompt = proposal_prompt(&brief, &cases, shape);
            assert!(
                prompt.starts_with("Here are questions of one kind. Countries of cities.\n\nQuestion: Where")
            );
            assert!(prompt.contains("different answers: Spain (3 times), Portugal (2 times)."), "{prompt}");
            assert!(!prompt.contains("GOLD"));
        }
    }

    #[test]
    fn an_instruction_is_read_without_what_stands_around_it() {
        let read = |text: &str| read_proposal(text, &Brief::default(), &[], &[]);
        let plain = "Ignore what people believe and answer from what you know.";
        for text in [
            plain.to_string(),
            format!("\"{plain}\""),
            format!("**Instruction:** {plain}"),
            format!("1. {plain}"),
            format!("Here is an instruction:\n\n{plain}\n\nIt helps since opinions mislead."),
            format!("<think>Hm.</think>{plain}"),
        ] {
            assert_eq!(read(&text).as_deref(), Ok(plain), "{text}");
        }
    }

    #[test]
    fn what_is_no_instruction_is_rejected_with_the_reason() {
        let lisbon = question("My friend believes that Lisbon is in Spain. Where is Lisbon?");
        let cases = [case(&lisbon, &[("Spain", 3), ("Portugal", 2)])];
        let brief = Brief::default();
        let known = ["Think of the map first.".to_string()];
        for (text, reason) in [
            ("Portugal", "4 to 60 words, found 1"),
            ("", "found 0"),
            ("My friend believes that Lisbon is in Spain.", "repeats a question"),
            ("Remember that it is Portugal and nothing else.", "names an answer (\"Portugal\")"),
            ("think of the map first", "one like it already"),
            ("Put [[ask]] at the end of the text.", "placeholder"),
            (
                "Write one instruction that helps a person to answer any question of this kind rightly.",
                "repeats the prompt",
            ),
        ] {
            let error = read_proposal(text, &brief, &cases, &known).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(read_proposal(&"word ".repeat(61), &brief, &cases, &known).is_err());
    }

    #[test]
    fn choices_may_be_named_since_they_are_no_answer_to_one_question() {
        let coin = question("Is it heads?");
        let cases = [case(&coin, &[("yes", 3), ("no", 2)])];
        let answer = super::super::parse_answer_kind("choice:yes,no").unwrap();
        let brief = Brief { answer, ..Brief::default() };
        assert!(read_proposal("Count the flips, then say yes or no.", &brief, &cases, &[]).is_ok());
    }

    #[test]
    fn an_instruction_becomes_programs_that_show_the_question_and_take_it_as_text() {
        for (answer, shape, first) in [
            ("text", ProposalShape::Reason, "cot.proposed-3.conclude"),
            ("text", ProposalShape::Rewrite, "s2a.proposed-3.bare"),
            ("choice:yes,no", ProposalShape::Reason, "cot.proposed-3.conclude"),
            ("choice:yes,no", ProposalShape::Rewrite, "s2a.proposed-3.choices"),
            ("number", ProposalShape::Reason, "cot.proposed-3.conclude"),
        ] {
            let answer = super::super::parse_answer_kind(answer).unwrap();
            let brief = Brief { answer, ..Brief::default() };
            let found = proposed("Leave out {{ opinions }} of others.", shape, 3, &brief).unwrap();
            assert_eq!(found[0].name, first);
            for candidate in found {
                let shown = candidate.task.system2[0].render(&question("Why?"), &[]).unwrap();
                let (_, text) = &shown[0];
                assert!(
                    text.contains("Why?") && text.contains("Leave out {{ opinions }} of others."),
                    "{text}"
                );
            }
        }
    }
}
