//! From JSON to a [`Task`] whose every part can be used: the one place where tasks are checked.

use serde::Deserialize;

use crate::grammar::Grammar;

use super::perturbation::{self, RawPerturbation};
use super::{AnswerRule, Learn, Marker, Select, Step, Task, VoteRule, Weighing};

const MAX_SAMPLES: usize = 1000;
const MAX_TOKENS: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTask {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default = "own_method")]
    method: String,
    system1: RawStep,
    system2: Vec<RawStep>,
    answer: AnswerRule,
    #[serde(default)]
    vote: VoteRule,
    #[serde(default)]
    learn: Learn,
    #[serde(default)]
    perturbations: Vec<RawPerturbation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    name: Option<String>,
    system: Option<String>,
    prompt: String,
    max_tokens: Option<usize>,
    temperature: Option<f32>,
    #[serde(default = "one")]
    top_p: f32,
    #[serde(default)]
    top_k: usize,
    #[serde(default)]
    min_p: f32,
    #[serde(default = "one")]
    repeat_penalty: f32,
    #[serde(default)]
    choices: Vec<String>,
    grammar: Option<String>,
    #[serde(default)]
    stop: Vec<String>,
    marker: Option<Marker>,
}

fn own_method() -> String {
    "custom".into()
}

fn one() -> f32 {
    1.0
}

/// What a step does where the file does not say: System 1 answers shortly and always the same,
/// System 2 takes its time and varies, without which a vote would be pointless.
struct Defaults {
    name: &'static str,
    max_tokens: usize,
    temperature: f32,
}

const SYSTEM1: Defaults = Defaults { name: "system1", max_tokens: 32, temperature: 0.0 };
const SYSTEM2: Defaults = Defaults { name: "answer", max_tokens: 256, temperature: 0.7 };

/// Parses and checks; the error is one line without the origin.
pub(super) fn parse(text: &str) -> Result<Task, String> {
    let raw: RawTask = serde_json::from_str(text).map_err(|error| format!("not a task: {error}"))?;
    check_name("task", &raw.name, "-_.")?;
    if raw.system2.is_empty() {
        return Err("\"system2\" is empty; it needs at least one step".into());
    }
    let several = raw.system2.len() > 1;
    let task = Task {
        name: raw.name,
        description: raw.description,
        method: raw.method,
        system1: step(raw.system1, &SYSTEM1).map_err(|why| format!("\"system1\": {why}"))?,
        system2: raw
            .system2
            .into_iter()
            .enumerate()
            .map(|(index, raw)| {
                let at = format!("\"system2\" step {}", index + 1);
                if several && raw.name.is_none() {
                    return Err(format!("{at}: \"name\" is missing; a program of several steps names each"));
                }
                step(raw, &SYSTEM2).map_err(|why| format!("{at}: {why}"))
            })
            .collect::<Result<_, _>>()?,
        perturbations: perturbation::parse(raw.perturbations, &raw.answer)?,
        answer: raw.answer,
        vote: raw.vote,
        learn: raw.learn,
    };
    if let AnswerRule::Text(rule) = &task.answer {
        check(rule.max_words, "max_words", "1 or more", |n| n > 0)
            .map_err(|why| format!("\"answer\": {why}"))?;
    }
    check_program(&task)?;
    check_vote(&task.vote).map_err(|why| format!("\"vote\": {why}"))?;
    if task.vote.samples > 1 && task.system2.iter().all(|step| step.temperature == 0.0) {
        return Err(format!(
            "every \"system2\" step has temperature 0, so all {} samples would be the same; raise one or set \
             \"samples\" and \"min_samples\" to 1",
            task.vote.samples
        ));
    }
    Ok(task)
}

fn step(raw: RawStep, defaults: &Defaults) -> Result<Step, String> {
    let step = Step {
        name: raw.name.unwrap_or_else(|| defaults.name.into()),
        system: raw.system,
        prompt: raw.prompt,
        max_tokens: raw.max_tokens.unwrap_or(defaults.max_tokens),
        temperature: raw.temperature.unwrap_or(defaults.temperature),
        top_p: raw.top_p,
        top_k: raw.top_k,
        min_p: raw.min_p,
        repeat_penalty: raw.repeat_penalty,
        choices: raw.choices,
        grammar: raw.grammar,
        stop: raw.stop,
        marker: raw.marker,
    };
    check_name("step", &step.name, "_")?;
    if step.prompt.trim().is_empty() {
        return Err("\"prompt\" is empty".into());
    }
    step.check_templates().map_err(|why| format!("the template does not compile: {why}"))?;
    check(step.max_tokens, "max_tokens", "1 to 1048576", |n| (1..=MAX_TOKENS).contains(&n))?;
    check(step.temperature, "temperature", "0 to 10", |t| (0.0..=10.0).contains(&t))?;
    check(step.top_p, "top_p", "above 0, at most 1", |p| p > 0.0 && p <= 1.0)?;
    check(step.min_p, "min_p", "0 to below 1", |p| (0.0..1.0).contains(&p))?;
    if step.stop.iter().any(String::is_empty) {
        return Err("\"stop\" holds an empty text, which would end every completion at once".into());
    }
    check(step.repeat_penalty, "repeat_penalty", "above 0, at most 10", |p| p > 0.0 && p <= 10.0)?;
    check_constraint(&step)?;
    Ok(step)
}

fn check_constraint(step: &Step) -> Result<(), String> {
    if step.choices.iter().any(String::is_empty) {
        return Err("\"choices\" holds an empty text; a completion needs at least a letter".into());
    }
    let Some(grammar) = &step.grammar else {
        return Ok(());
    };
    if !step.choices.is_empty() {
        return Err("\"choices\" and \"grammar\" are both there; a completion follows either".into());
    }
    Grammar::parse(grammar).map(|_| ()).map_err(|why| format!("\"grammar\": {why}"))
}

/// Step names are what templates call them, so each must be new, and be used only after it exists.
fn check_program(task: &Task) -> Result<(), String> {
    let names: Vec<&str> = task.system2.iter().map(|step| step.name.as_str()).collect();
    for (index, step) in task.system2.iter().enumerate() {
        let at = format!("\"system2\" step {}", index + 1);
        if names[..index].contains(&names[index]) || step.name == "question" {
            return Err(format!("{at}: the name {:?} is taken; give each step its own", step.name));
        }
        // The last step's name is free for a field: nothing can refer to its output.
        let ahead = &names[index..names.len() - 1];
        if let Some(name) = step.names_used().iter().find(|name| ahead.contains(&name.as_str())) {
            return Err(format!("{at}: the template uses {name:?}, which only exists after that step"));
        }
    }
    let earlier = &names[..names.len() - 1];
    if let Some(name) = task.system1.names_used().iter().find(|name| earlier.contains(&name.as_str())) {
        return Err(format!(
            "\"system1\": the template uses {name:?}, a \"system2\" step; it sees only fields"
        ));
    }
    Ok(())
}

fn check_vote(rule: &VoteRule) -> Result<(), String> {
    check(rule.samples, "samples", "1 to 1000", |n| (1..=MAX_SAMPLES).contains(&n))?;
    check(rule.threshold, "threshold", "above 0, at most 1", |p| p > 0.0 && p <= 1.0)?;
    check(rule.min_samples, "min_samples", "1 to \"samples\"", |n| (1..=rule.samples).contains(&n))?;
    check(rule.confidence, "confidence", "above 0.5, at most 1", |p| p > 0.5 && p <= 1.0)?;
    check(rule.selections, "selections", "1 to 100", |n| (1..=100).contains(&n))?;
    if rule.select == Select::Universal && rule.weights == Weighing::Confidence {
        return Err("\"weights\" and \"select\" are both set; a universal vote weighs nothing".into());
    }
    Ok(())
}

fn check<T: Copy + std::fmt::Display>(
    value: T,
    key: &str,
    range: &str,
    ok: impl Fn(T) -> bool,
) -> Result<(), String> {
    if ok(value) { Ok(()) } else { Err(format!("\"{key}\" must be {range}, found {value}")) }
}

pub(super) fn check_name(what: &str, name: &str, also: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && name.chars().all(fits) {
        return Ok(());
    }
    let marks: Vec<String> = also.chars().map(String::from).collect();
    Err(format!(
        "{what} name {name:?} must start with a letter and hold only letters, digits and {}",
        marks.join(" ")
    ))
}
