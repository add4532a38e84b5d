//! Task files: from JSON to a valid [`Task`]. This is the only place where tasks are checked.

use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use crate::grammar::Grammar;

use super::closing::{CLOSING, RawClosing};
use super::example::WorkedExample;
use super::name::check_name;
use super::perturbation::{self, RawPerturbation};
use super::step::{ITEM, REPEAT_LAST};
use super::{
    AnswerRule, Equivalence, ItemRule, Marker, Select, Step, Target, Task, VoteRule, Weighing, validate,
};

const MAX_SAMPLES: usize = 1000;
const MAX_TOKENS: usize = 1 << 20;
const MAX_ITEMS: usize = 64;

/// A kind of question: how to ask it directly, how to reason about it, and how to read and vote on
/// the answers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Task of secondnature")]
struct RawTask {
    /// The address of this schema, for editors; ignored.
    #[serde(rename = "$schema", default)]
    _schema: Option<String>,
    /// Short name: letters, digits and `-` `_` `.`, a letter first.
    name: String,
    /// A description of one line.
    #[serde(default)]
    description: String,
    /// The name of the System 2 method; it has no effect.
    #[serde(default = "own_method")]
    method: String,
    /// The direct prompt, which the distilled model is trained to answer.
    system1: RawStep,
    /// The reasoning program: steps in order. The completion of the last step holds the answer.
    #[schemars(length(min = 1))]
    system2: Vec<RawStep>,
    /// How an answer is read from a completion, and when two answers are the same.
    answer: AnswerRule,
    /// A last turn that asks for the answer alone, for samples whose last completion holds none, or for
    /// all. Without it, there is none.
    closing: Option<RawClosing>,
    /// How many samples vote, and when their answer is accepted.
    #[serde(default)]
    vote: VoteRule,
    /// The text that the distilled model is trained to write.
    #[serde(default, alias = "learn")]
    target: Target,
    /// Variants of the question that must not change its answer.
    #[serde(default)]
    perturbations: Vec<RawPerturbation>,
}

/// One call of the model. Templates are Jinja. They see the question's fields and, in `system2`, the
/// outputs of earlier steps by the names of the steps.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Step")]
struct RawStep {
    /// The name under which later steps see the output of this step. Required if there are several
    /// steps.
    name: Option<String>,
    /// The name of an earlier step. This step runs once for each item of its output, which the template
    /// sees as `item`. Later steps see a list of objects with an `item` and an `output`. If there is no
    /// item, the sample has no answer.
    for_each: Option<String>,
    /// The name of an earlier step that ran once. This step is the next turn of its conversation: the
    /// model sees all its messages, what it wrote, then the prompt of this step. It has no `system`
    /// message and no `examples` of its own.
    continues: Option<String>,
    /// How that output is split into items; by default at line ends.
    items: Option<ItemRule>,
    /// Template of the system message; without it there is no system message.
    system: Option<String>,
    /// Template of the user message.
    prompt: String,
    /// Worked examples, shown as turns of the conversation before the real question: this prompt filled in
    /// for the example, then its `output` as the model's turn. One whose fields are those of the question
    /// is left out.
    #[serde(default)]
    examples: Vec<WorkedExample>,
    /// Number of examples to draw for each sample, so that samples differ; by default all are shown, in
    /// their order. Not in `system1`, which asks alike each time.
    #[schemars(range(min = 1, max = 1000))]
    max_examples: Option<usize>,
    /// Maximal number of tokens to generate, including the end of the turn; by default 32 in `system1`
    /// and 256 in `system2`.
    #[schemars(range(min = 1, max = 1048576))]
    max_tokens: Option<usize>,
    /// Sampling temperature, 0 to 10; 0 always takes the most likely token. By default 0 in `system1`
    /// and 0.7 in `system2`.
    #[schemars(range(min = 0, max = 10))]
    temperature: Option<f32>,
    /// Samples only from the most likely tokens that together have this probability; above 0, and 1 is
    /// off.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1))]
    top_p: f32,
    /// Samples only from this number of most likely tokens; 0 is off.
    #[serde(default)]
    top_k: usize,
    /// Leaves out tokens that are less likely than this fraction of the most likely one; below 1, and 0
    /// is off.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    min_p: f32,
    /// Makes recently generated tokens less likely: 1.1 is a little, 1 is off; above 0.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 10))]
    repeat_penalty: f32,
    /// Number of last generated tokens to which `repeat_penalty` applies.
    #[serde(default = "repeat_last")]
    #[schemars(range(min = 1, max = 1048576))]
    repeat_last: usize,
    /// The texts that the completion can be; empty allows all texts.
    #[serde(default)]
    choices: Vec<String>,
    /// A grammar that the completion follows, in GBNF, the notation of llama.cpp.
    grammar: Option<String>,
    /// Texts that end the completion, of which they are not a part.
    #[serde(default)]
    stop: Vec<String>,
    /// A text that announces the answer, such as `Answer:`. The answer is read after its last
    /// occurrence, and a completion without it has no answer.
    marker: Option<Marker>,
    /// Whether a model with a thinking mode uses it.
    #[serde(default)]
    thinking: bool,
}

/// The JSON Schema of task files.
pub(super) fn schema() -> Schema {
    schema_for!(RawTask)
}

static SCHEMA: LazyLock<Value> = LazyLock::new(|| schema().to_value());

fn own_method() -> String {
    "custom".into()
}

fn one() -> f32 {
    1.0
}

fn repeat_last() -> usize {
    REPEAT_LAST
}

/// Defaults of a step. System 1 gives a short answer, always the same. System 2 reasons, and its samples
/// differ, since a vote of equal samples would be pointless.
struct Defaults {
    name: &'static str,
    max_tokens: usize,
    temperature: f32,
}

const SYSTEM1: Defaults = Defaults { name: "system1", max_tokens: 32, temperature: 0.0 };
const SYSTEM2: Defaults = Defaults { name: "answer", max_tokens: 256, temperature: 0.7 };

/// Parses and checks; the error is one line without the origin.
pub(super) fn parse(text: &str) -> Result<Task, String> {
    let raw: RawTask = validate::from_json(text, &SCHEMA)?;
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
        closing: raw
            .closing
            .map(|closing| closing.checked(&raw.answer))
            .transpose()
            .map_err(|why| format!("\"closing\": {why}"))?,
        answer: raw.answer,
        vote: raw.vote,
        target: raw.target,
    };
    check_program(&task)?;
    check_vote(&task.vote).map_err(|why| format!("\"vote\": {why}"))?;
    check_equivalence(&task).map_err(|why| format!("\"vote\": {why}"))?;
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
        for_each: raw.for_each,
        continues: raw.continues,
        items: raw.items.unwrap_or_default(),
        system: raw.system,
        prompt: raw.prompt,
        examples: raw.examples,
        max_examples: raw.max_examples,
        max_tokens: raw.max_tokens.unwrap_or(defaults.max_tokens),
        temperature: raw.temperature.unwrap_or(defaults.temperature),
        top_p: raw.top_p,
        top_k: raw.top_k,
        min_p: raw.min_p,
        repeat_penalty: raw.repeat_penalty,
        repeat_last: raw.repeat_last,
        choices: raw.choices,
        grammar: raw.grammar,
        stop: raw.stop,
        marker: raw.marker,
        thinking: raw.thinking,
    };
    check_name("step", &step.name, "_")?;
    check_step(&step)?;
    Ok(step)
}

fn check_step(step: &Step) -> Result<(), String> {
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
    check(step.repeat_last, "repeat_last", "1 to 1048576", |n| (1..=MAX_TOKENS).contains(&n))?;
    if step.repeat_penalty == 1.0 && step.repeat_last != REPEAT_LAST {
        return Err("\"repeat_last\" says how far back \"repeat_penalty\" reaches, but that is off".into());
    }
    check_constraint(step)?;
    check_examples(step)?;
    check(step.items.max_items, "max_items", "1 to 64", |n| (1..=MAX_ITEMS).contains(&n))
        .map_err(|why| format!("\"items\": {why}"))?;
    if step.for_each.is_none() && !step.items.is_default() {
        return Err("\"items\" says how to split an output, but no \"for_each\" names one".into());
    }
    if step.for_each.is_some() && !step.names_used().iter().any(|name| name == ITEM) {
        return Err("\"for_each\" would ask the same for every item; use {{ item }} in the template".into());
    }
    if step.continues.is_some() && step.system.is_some() {
        return Err(
            "\"continues\" and \"system\" are both there; a conversation that goes on has the system \
            message of its first step, so put the text into the prompt"
                .into(),
        );
    }
    if step.continues.is_some() && !step.examples.is_empty() {
        return Err("\"continues\" and \"examples\" are both there; give the examples to the step that \
            begins the conversation"
            .into());
    }
    Ok(())
}

fn check_examples(step: &Step) -> Result<(), String> {
    for (index, example) in step.examples.iter().enumerate() {
        let at = |why: String| format!("\"examples\" item {}: {why}", index + 1);
        example.check().map_err(at)?;
        step.render_example(example).map_err(at)?;
    }
    let Some(max) = step.max_examples else { return Ok(()) };
    if step.examples.is_empty() {
        return Err("\"max_examples\" says how many to draw, but there are no \"examples\"".into());
    }
    check(max, "max_examples", "1 to 1000", |n| (1..=1000).contains(&n))
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
        check_fan_out(&task.system2, index).map_err(|why| format!("{at}: {why}"))?;
        check_continued(&task.system2, index).map_err(|why| format!("{at}: {why}"))?;
    }
    check_closing(task).map_err(|why| format!("\"closing\": {why}"))?;
    let earlier = &names[..names.len() - 1];
    if task.system1.for_each.is_some() {
        return Err("\"system1\": \"for_each\" is for \"system2\" steps; System 1 is one call".into());
    }
    if task.system1.continues.is_some() {
        return Err("\"system1\": \"continues\" is for \"system2\" steps; System 1 is one call".into());
    }
    if task.system1.max_examples.is_some() {
        return Err(
            "\"system1\": \"max_examples\" is for \"system2\" steps; System 1 asks alike each time, so \
            list the examples to show"
                .into(),
        );
    }
    if let Some(name) = task.system1.names_used().iter().find(|name| earlier.contains(&name.as_str())) {
        return Err(format!(
            "\"system1\": the template uses {name:?}, a \"system2\" step; it sees only fields"
        ));
    }
    Ok(())
}

/// A step may run over the items of an earlier step that ran once; the last must give one answer.
fn check_fan_out(steps: &[Step], index: usize) -> Result<(), String> {
    let step = &steps[index];
    let fans_out = steps.iter().any(|step| step.for_each.is_some());
    if fans_out && step.name == ITEM {
        return Err("the name \"item\" is what \"for_each\" calls an item; give the step another".into());
    }
    let Some(name) = &step.for_each else { return Ok(()) };
    match steps[..index].iter().find(|earlier| earlier.name == *name) {
        None => Err(format!("\"for_each\" must name an earlier step, found {name:?}")),
        Some(earlier) if earlier.for_each.is_some() => {
            Err(format!("\"for_each\" names {name:?}, whose output is a list; name a step that runs once"))
        }
        Some(_) if index + 1 == steps.len() => {
            Err("the last step has \"for_each\", so its answers would be many; add a step that merges them"
                .into())
        }
        Some(_) => Ok(()),
    }
}

/// A step may continue the conversation of an earlier step that ran once.
fn check_continued(steps: &[Step], index: usize) -> Result<(), String> {
    let Some(name) = &steps[index].continues else { return Ok(()) };
    match steps[..index].iter().find(|earlier| earlier.name == *name) {
        None => Err(format!("\"continues\" must name an earlier step, found {name:?}")),
        Some(earlier) if earlier.for_each.is_some() => Err(format!(
            "\"continues\" names {name:?}, which is a conversation for each item; name a step that runs once"
        )),
        Some(_) => Ok(()),
    }
}

fn check_closing(task: &Task) -> Result<(), String> {
    let Some(closing) = &task.closing else { return Ok(()) };
    if task.system2.iter().any(|step| step.name == CLOSING) {
        return Err(
            "a step has the name \"closing\", which is that of the closing turn; rename the step".into()
        );
    }
    check_step(&closing.step)
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

/// Only texts can have the same meaning in other words.
fn check_equivalence(task: &Task) -> Result<(), String> {
    if task.vote.equivalence == Equivalence::Exact {
        return Ok(());
    }
    if !matches!(task.answer.innermost(), AnswerRule::Text(_)) {
        return Err("\"equivalence\" is \"model\", but the answers are no texts: two different choices or \
            numbers are different answers"
            .into());
    }
    if task.vote.select == Select::Universal {
        return Err(
            "\"equivalence\" and \"select\" are both set; a universal vote counts no equal answers".into()
        );
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
