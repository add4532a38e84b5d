//! Who takes part: the caller's tasks, programs of the library, and every wording of the direct prompt.

use std::collections::BTreeSet;

use super::TuneSetup;
use super::contestant::{Entrant, Origin};
use crate::curate::messages;
use crate::programs::{self, Brief, library};
use crate::task::{Output, Part, Question, Step, Task};
use crate::{Error, Result};

/// The temperature at which wordings of the direct prompt are sampled, whose answers vote like those of
/// programs.
const DIRECT_TEMPERATURE: f32 = 0.7;

/// All candidates, in an order that does not depend on anything but the setup: the caller's first, the
/// wordings of the direct prompt last.
pub fn entrants(
    setup: &TuneSetup,
    only_given: bool,
    brief: &Brief,
    questions: &[Question],
) -> Result<Vec<Entrant>> {
    // A method that was named is given, with its programs.
    let library = if only_given && setup.methods.is_empty() { Vec::new() } else { library(brief)? };
    if !library.is_empty() {
        check_fields_of_gold(&setup.gold, brief)?;
    }
    let mut names = BTreeSet::new();
    let mut all: Vec<Entrant> = Vec::new();
    let by_name = setup.programs.iter().map(|name| programs::load(name, brief));
    for task in setup.tasks.iter().cloned().map(Ok).chain(by_name) {
        let task = task?;
        check_prompts(&task, questions)?;
        all.push(entrant(task, Origin::Given, &mut names));
    }
    for task in library.into_iter().map(|program| program.task) {
        let task = Task { answer: brief.answer.clone(), ..task };
        // A program of the library that needs other fields is not for these questions.
        let is_new = all.iter().all(|other| other.task.system2 != task.system2);
        if is_new && check_prompts(&task, questions).is_ok() {
            all.push(entrant(task, Origin::Library, &mut names));
        }
    }
    if all.is_empty() {
        return Err(match only_given && setup.methods.is_empty() {
            true => {
                Error::field("only_given", "leaves the library out, and no task is given to race; give one")
            }
            false => Error::field("task", "no program fits these questions; give a task file"),
        });
    }
    let mut wordings: Vec<(String, Task)> = Vec::new();
    let others = if only_given { Vec::new() } else { programs::direct(brief)? };
    let others = others.into_iter().map(|wording| Task { answer: brief.answer.clone(), ..wording.task });
    // Those of the library come first, since its programs share one of them, which has a name of its own.
    for program in others.chain(all.iter().map(|entrant| entrant.task.clone())) {
        let wording = &program.system1;
        let is_new = |(_, known): &(String, Task)| {
            (&known.system1.prompt, &known.system1.system) != (&wording.prompt, &wording.system)
        };
        if wordings.iter().all(is_new) {
            let name = program.name.strip_prefix("direct.").unwrap_or(&program.name);
            wordings.push((format!("direct.{name}"), direct(&program)));
        }
    }
    all.extend(
        wordings.into_iter().map(|(name, task)| entrant(Task { name, ..task }, Origin::Direct, &mut names)),
    );
    Ok(all)
}

/// The library's programs show every field that the questions have, and have to be asked about gold questions too.
fn check_fields_of_gold(gold: &[Question], brief: &Brief) -> Result<()> {
    let lacks =
        |question: &Question| brief.fields.iter().find(|field| !question.fields.contains_key(field.as_str()));
    match gold.iter().find_map(|question| Some((question, lacks(question)?))) {
        Some((question, field)) => Err(Error::field(
            "gold",
            format!("question {:?} has no {field:?}, which all questions to learn from have", question.id),
        )),
        None => Ok(()),
    }
}

/// A task that samples the direct prompt of `task` as its program.
fn direct(task: &Task) -> Task {
    let sampled = Step { name: "answer".into(), temperature: DIRECT_TEMPERATURE, ..task.system1.clone() };
    Task {
        method: super::votes::DIRECT.into(),
        system2: vec![sampled],
        closing: None,
        perturbations: Vec::new(),
        ..task.clone()
    }
}

fn entrant(task: Task, origin: Origin, names: &mut BTreeSet<String>) -> Entrant {
    let mut name = task.name.clone();
    for number in 2.. {
        if names.insert(name.clone()) {
            break;
        }
        name = format!("{}-{number}", task.name);
    }
    // Variations are named by the task.
    let task = Task { name: name.clone(), ..task };
    Entrant { family: name.clone(), base: None, name, origin, task }
}

/// Renders every prompt of `task` for `questions`, so that a field that is missing is found before the
/// race.
fn check_prompts(task: &Task, questions: &[Question]) -> Result<()> {
    for question in questions {
        messages(&task.system1, question, &[])?;
        let mut outputs: Vec<(String, Output)> = Vec::new();
        for step in &task.system2 {
            let mut seen = outputs.clone();
            if step.for_each.is_some() {
                seen.push(("item".into(), Output::Text("item".into())));
            }
            messages(step, question, &seen)?;
            let text = || "output".to_string();
            outputs.push((
                step.name.clone(),
                match step.for_each {
                    Some(_) => Output::Parts(vec![Part { item: text(), output: text() }]),
                    None => Output::Text(text()),
                },
            ));
        }
    }
    Ok(())
}
