//! A library of System 2 programs, and wordings of the direct question.
//!
//! The wording decides how good a vote is, more than the method and more than the training, and which
//! wording a model needs cannot be told beforehand. So there are several for each method, in two parts:
//! how the question is worked on (`data/wordings.json`) and how the answer is given ([`AnswerStyle`]). A
//! [`Brief`] says what is known of the user's questions; [`library`] makes tasks for them, in an order in
//! which the first few are already different and the most promising come first (`data/order.json`).
//!
//! The wordings hold no worked examples, with one exception: small models copy an example that stands in
//! their prompt in place of the question.
//!
//! This module calls no model.

mod answer_kind;
mod infer;
mod method;
mod offered_choices;
mod phrases;
mod propose;
mod style;
mod wording;

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use serde_json::{Value, json};

pub use answer_kind::{parse_answer_kind, short_text};
pub use infer::{infer_noun, infer_rule};
pub use method::ReasoningMethod;
pub use phrases::AnswerKind;
pub use propose::{Disagreement, ProposalShape, proposal_prompt, proposed, read_proposal};
pub use style::AnswerStyle;

use phrases::{Phrases, rule_as_json};
pub(crate) use wording::capitalized;
use wording::{ProgramSteps, Setting, Wording, direct_wordings, fields_template, literal, pairs, wordings};

use crate::task::{AnswerRule, Task};
use crate::{Error, Result};

/// What is known about the questions for which programs are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Brief {
    /// A description of the questions in one line, if the user has given one. Some of the programs show
    /// it to the model.
    pub description: Option<String>,
    /// How answers are read, and when they are equal. A rule that says where the answer is (`pattern`,
    /// `json`, `last_line`) counts as the rule for what it is.
    pub answer: AnswerRule,
    /// What the answer is, as in "Answer with the NOUN only": `name of the country`. By default a word
    /// that fits the kind of answer; [`infer_noun`] finds a better one in the questions.
    pub noun: Option<String>,
    /// The names of the questions' fields, in the order in which a prompt shows them.
    pub fields: Vec<String>,
    /// The methods that are wanted; empty for all.
    pub methods: Vec<ReasoningMethod>,
    /// Whether the model has a thinking mode. Without it the method [`ReasoningMethod::Thinking`] is left
    /// out unless it is wanted by name.
    pub thinking: bool,
}

/// Questions of one field, `question`, with a short text as the answer.
impl Default for Brief {
    fn default() -> Self {
        Brief {
            description: None,
            answer: short_text(),
            noun: None,
            fields: vec!["question".into()],
            methods: Vec::new(),
            thinking: false,
        }
    }
}

/// A program of the library, for the questions of a [`Brief`].
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The name in the library and of the task, `method.wording.style`, such as `s2a.which-question.bare`.
    pub name: String,
    /// The method.
    pub method: ReasoningMethod,
    /// The task: the first direct wording as System 1, and the program as System 2.
    pub task: Task,
}

/// The most programs of methods that were wanted by name.
const MAX_WANTED: usize = 20;

/// The programs for the questions of `brief`, 12 to 20: the most promising and most different first.
///
/// With [`Brief::methods`] these are programs of the wanted methods alone, and more of each.
///
/// # Errors
/// [`Error::Input`] if a field's name cannot stand in a template, or if no program fits.
pub fn library(brief: &Brief) -> Result<Vec<Candidate>> {
    let mut names: Vec<String> = order(brief).to_vec();
    if !brief.methods.is_empty() {
        names.extend(all_names());
    }
    let wanted = |method: ReasoningMethod| match brief.methods.as_slice() {
        [] => method != ReasoningMethod::Thinking || brief.thinking,
        some => some.contains(&method),
    };
    let builder = TaskMaker::new(brief)?;
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for name in names {
        let Some((wording, style)) = split(&name) else { continue };
        if !wanted(wording.method()) || !seen.insert(name) {
            continue;
        }
        found.extend(builder.candidate(wording, style)?);
    }
    if !brief.methods.is_empty() {
        found.truncate(MAX_WANTED);
    }
    if found.is_empty() {
        let methods: Vec<&str> = brief.methods.iter().map(|method| method.short()).collect();
        return Err(Error::input(
            "the library of programs",
            format!(
                "the library has no program of the methods {} for these questions; leave the method out or \
                 write a task file",
                methods.join(", ")
            ),
        ));
    }
    Ok(found)
}

/// Wordings of the direct question, the best first, as tasks in which only `system1` differs from one to
/// the next. Each System 2 is the same question sampled at a temperature.
///
/// # Errors
/// Those of [`library`].
pub fn direct(brief: &Brief) -> Result<Vec<Candidate>> {
    let builder = TaskMaker::new(brief)?;
    let mut found = Vec::new();
    for wording in direct_wordings() {
        if let Some(step) = wording.direct(&builder.setting()) {
            let mut sampled = step.clone();
            sampled["temperature"] = json!(0.7);
            let name = wording.name.replacen(wording.method().short(), "direct", 1);
            let program = ProgramSteps { steps: vec![sampled], closing: None };
            found.push(builder.task(&name, wording.method(), step, program)?);
        }
    }
    Ok(found)
}

/// The program of this name for the questions of `brief`; `None` if the library has no such program for
/// them.
///
/// # Errors
/// Those of [`library`].
pub fn find(name: &str, brief: &Brief) -> Result<Option<Candidate>> {
    match split(name) {
        Some((wording, style)) => TaskMaker::new(brief)?.candidate(wording, style),
        None => Ok(None),
    }
}

/// Whether this is the name of a program of the library, for whatever questions.
pub fn is_program(name: &str) -> bool {
    split(name).is_some()
}

/// Why nothing is loaded for a name.
fn no_such_task() -> String {
    format!(
        "no such file, built-in task ({}) or program of the library (`secondnature tasks programs` lists them)",
        Task::builtin_names().join(", ")
    )
}

/// The task of this name or in this file: a program of the library for the questions of `brief`, or else
/// what [`Task::load`] finds.
///
/// # Errors
/// [`Error::Input`] if there is nothing of this name, or the library has the program and not for these
/// questions; those of [`Task::load`].
pub fn load(name_or_path: &str, brief: &Brief) -> Result<Task> {
    let Some((wording, style)) = split(name_or_path) else {
        let is_nothing =
            !Task::builtin_names().contains(&name_or_path) && !std::path::Path::new(name_or_path).exists();
        return match is_nothing {
            true => Err(Error::input(format!("task {name_or_path:?}"), no_such_task())),
            false => Task::load(name_or_path),
        };
    };
    let found = TaskMaker::new(brief)?.candidate(wording, style)?;
    found.map(|candidate| candidate.task).ok_or_else(|| {
        Error::input(
            format!("program {name_or_path:?}"),
            format!(
                "it is not for these questions (answers: {}; fields: {}; {}); take another, or write this one \
                 for yours into a file: `secondnature tasks show {name_or_path} --answer KIND > my-task.json`, \
                 with --fields and --description where they apply",
                AnswerKind::of(&brief.answer).as_str(),
                brief.fields.join(", "),
                if brief.description.is_some() { "described" } else { "no description" }
            ),
        )
    })
}

/// The names of all programs, whether or not they fit some questions.
pub fn all_names() -> Vec<String> {
    let named = |wording: &Wording| AnswerStyle::ALL.map(|style| format!("{}.{style}", wording.name));
    wordings().iter().flat_map(named).collect()
}

static ORDER: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("data/order.json")).expect("the file of the order is valid")
});

/// The names of the programs that are tried by default.
fn order(brief: &Brief) -> &'static [String] {
    let kind = AnswerKind::of(&brief.answer);
    let list = match kind {
        AnswerKind::Choice if !pairs(&brief.fields).is_empty() => "pair",
        AnswerKind::Text if rule_as_json(&brief.answer)["normalize"] == "letters" => "letters",
        _ => kind.as_str(),
    };
    &ORDER[list]
}

/// The wording and the style of a program's name.
fn split(name: &str) -> Option<(&'static Wording, AnswerStyle)> {
    let (wording, style) = name.rsplit_once('.')?;
    Some((wordings().iter().find(|known| known.name == wording)?, style.parse().ok()?))
}

/// Makes tasks for the questions of a brief.
struct TaskMaker<'b> {
    brief: &'b Brief,
    kind: AnswerKind,
    rule: Value,
    phrases: Phrases,
    question: String,
    description: Option<String>,
}

impl<'b> TaskMaker<'b> {
    fn new(brief: &'b Brief) -> Result<TaskMaker<'b>> {
        if brief.fields.is_empty() {
            return Err(Error::input(
                "the library of programs",
                "the questions have no field; each needs at least one",
            ));
        }
        let usable = |name: &str| {
            !name.starts_with(|c: char| c.is_ascii_digit())
                && !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if let Some(field) = brief.fields.iter().find(|field| !usable(field)) {
            return Err(Error::input(
                format!("field {field:?}"),
                "a template cannot name it; use letters, digits and _ in the names of fields",
            ));
        }
        let (kind, rule) = (AnswerKind::of(&brief.answer), rule_as_json(&brief.answer));
        let phrases = Phrases::new(kind, &rule, brief.noun.as_deref());
        let described = brief.description.as_deref().map(str::trim).filter(|text| !text.is_empty());
        Ok(TaskMaker {
            brief,
            kind,
            rule,
            phrases,
            question: fields_template(&brief.fields),
            description: described.map(|text| literal(&sentence(&one_line(text)))),
        })
    }

    fn setting(&self) -> Setting<'_> {
        Setting {
            kind: self.kind,
            rule: &self.rule,
            phrases: &self.phrases,
            question: &self.question,
            description: self.description.as_deref(),
            fields: &self.brief.fields,
        }
    }

    fn candidate(&self, wording: &Wording, style: AnswerStyle) -> Result<Option<Candidate>> {
        let setting = self.setting();
        let direct = direct_wordings()[0].direct(&setting).expect("the first direct wording fits always");
        match wording.program(style, &setting) {
            Some(program) => {
                self.task(&format!("{}.{style}", wording.name), wording.method(), direct, program).map(Some)
            }
            None => Ok(None),
        }
    }

    fn task(
        &self,
        name: &str,
        method: ReasoningMethod,
        direct: Value,
        program: ProgramSteps,
    ) -> Result<Candidate> {
        let description = self.brief.description.as_deref().map(one_line).unwrap_or_default();
        let mut json = json!({
            "name": name,
            "description": description,
            "method": method.as_str(),
            "system1": direct,
            "system2": program.steps,
            "answer": self.rule,
            "vote": { "samples": 8, "threshold": 0.75, "min_samples": 6, "confidence": 0.95 },
        });
        if let Some(closing) = program.closing {
            json["closing"] = closing;
        }
        if let Some(swap) = self.swap() {
            json["perturbations"] = json!([swap]);
        }
        Ok(Candidate { name: name.into(), method, task: Task::from_json(&json.to_string(), name)? })
    }

    /// Where the answer is which of two things is better, it must not depend on their order.
    fn swap(&self) -> Option<Value> {
        let choices = self.rule["choices"].as_array()?;
        let pairs = pairs(&self.brief.fields);
        if pairs.is_empty() || !["A", "B"].iter().all(|side| choices.iter().any(|choice| choice == side)) {
            return None;
        }
        let swapped =
            pairs.iter().flat_map(|(a, b)| [(*a, format!("{{{{ {b} }}}}")), (*b, format!("{{{{ {a} }}}}"))]);
        let fields: BTreeMap<&str, String> = swapped.collect();
        Some(json!({ "name": "swap", "fields": fields, "answers": { "A": "B", "B": "A" }, "distill": true }))
    }
}

/// A description without a full stop would run into the sentence behind it.
fn sentence(text: &str) -> String {
    let ends = text.ends_with(['.', '!', '?', ':', '…', '。', '？', '！']);
    if ends { text.to_string() } else { format!("{text}.") }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
