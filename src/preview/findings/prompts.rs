//! Findings about what the model is asked: text that a template loses, a turn that has no end.

use std::collections::BTreeMap;

use super::text::{examples, such_as};
use super::{Finding, FindingKind, Observed, is_share};
use crate::curate::turns_lost;
use crate::engine::TurnEnd;
use crate::task::Step;
use crate::words::words;

/// From this share of the samples on, a question that no longer reaches the last step is lost.
const LOST: f64 = 0.5;

pub fn find(view: &Observed, found: &mut Vec<Finding>) {
    found.extend(template_cannot_show(view));
    found.extend(lost_by_the_model_s_template(view));
    found.extend(never_shown(view));
    found.extend(no_end_of_turn(view));
    found.extend(question_lost(view));
    found.extend(set_aside(view));
}

/// What a trial of the template has shown, before anything was asked.
fn template_cannot_show(view: &Observed) -> Option<Finding> {
    let facts = view.template?;
    let why = facts.loses.clone().or_else(|| turns_lost(view.task, facts))?;
    Some(Finding {
        kind: FindingKind::TemplateLosesText,
        step: None,
        count: 1,
        of: 1,
        examples: Vec::new(),
        message: why,
        advice: "nothing was asked; take another file of the model, or another model".into(),
        fault: true,
        stops: true,
    })
}

/// The rendered prompt must show every message.
fn lost_by_the_model_s_template(view: &Observed) -> Option<Finding> {
    let rendered = || view.all.iter().filter_map(|call| Some((call, call.prompt.rendered.as_ref()?)));
    let lost = rendered().filter_map(|(call, rendered)| {
        let message = call.prompt.messages.iter().find(|message| !message.is_shown_in(rendered))?;
        Some((call, message.content.trim()))
    });
    let lost: Vec<_> = lost.collect();
    let (count, of) = (lost.len(), rendered().count());
    (count > 0).then(|| {
        let examples = examples(lost.iter().map(|(_, text)| *text));
        Finding {
            kind: FindingKind::TemplateLosesText,
            step: lost[0].0.step.map(|step| step.name.clone()),
            count,
            of,
            message: format!(
                "the model's chat template leaves text of {count} of {of} prompts out{}",
                such_as(&examples)
            ),
            examples,
            advice: "use a model file whose chat template shows every message, or one without a template"
                .into(),
            fault: true,
            stops: true,
        }
    })
}

/// Fields that System 1 is shown must be shown to System 2 by some step.
fn never_shown(view: &Observed) -> Option<Finding> {
    let question = view.asked.first()?.question;
    let shown: Vec<&String> =
        question.fields.keys().filter(|field| uses(&view.task.system1, field)).collect();
    let is_shown = |asked: &super::ObservedQuestion, field: &String| {
        let value = asked.question.fields.get(field.as_str()).map_or(String::new(), |text| words(text));
        let prompts = asked.samples.iter().flat_map(|sampled| &sampled.calls);
        value.is_empty() || prompts.map(|call| words(&call.prompt.text())).any(|text| text.contains(&value))
    };
    let sampled: Vec<&super::ObservedQuestion> =
        view.asked.iter().filter(|asked| !asked.samples.is_empty()).collect();
    let hidden: Vec<&String> = shown
        .iter()
        .copied()
        .filter(|field| !sampled.is_empty() && !sampled.iter().any(|asked| is_shown(asked, field)))
        .collect();
    (!hidden.is_empty()).then(|| {
        let names = hidden.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        Finding {
            kind: FindingKind::TemplateLosesText,
            step: None,
            count: hidden.len(),
            of: question.fields.len(),
            message: format!("no prompt of \"system2\" shows {names}, which \"system1\" shows"),
            examples: hidden.iter().map(|name| name.to_string()).collect(),
            advice: format!("use {{{{ {} }}}} in the prompt of a step of \"system2\"", hidden[0]),
            fault: true,
            stops: hidden.len() == shown.len(),
        }
    })
}

/// Whether the templates of a step use the field.
pub fn uses(step: &Step, field: &str) -> bool {
    let templates = [step.system.as_deref().unwrap_or_default(), &step.prompt];
    templates.iter().any(|template| contains_name(template, field))
}

/// Whether a template has the name `field` as a whole word.
fn contains_name(template: &str, field: &str) -> bool {
    template.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == field)
}

fn no_end_of_turn(view: &Observed) -> Option<Finding> {
    (view.template?.turn_end == TurnEnd::Missing).then(|| Finding {
        kind: FindingKind::NoEndOfTurn,
        step: None,
        count: 1,
        of: 1,
        examples: Vec::new(),
        message: "the model has no token that ends its turn, neither in its chat template nor as the end of \
                  a sequence"
            .into(),
        advice: "use a chat model, or a model file with tokenizer.ggml.eos_token_id".into(),
        fault: true,
        stops: true,
    })
}

/// The last step is asked the same thing for different questions, and it has nothing of them.
fn question_lost(view: &Observed) -> Option<Finding> {
    let mut by_prompt = BTreeMap::<String, Vec<&str>>::new();
    for (asked, sampled) in view.samples() {
        if let Some(call) = sampled.last() {
            by_prompt.entry(words(&call.prompt.text())).or_default().push(&asked.question.id);
        }
    }
    let is_shared =
        |prompt: &str| by_prompt.get(prompt).is_some_and(|ids| ids.iter().any(|id| *id != ids[0]));
    let of = view.samples().count();
    let lost: Vec<String> = view
        .samples()
        .filter(|(asked, sampled)| !sampled.shows(asked))
        .filter_map(|(_, sampled)| sampled.last().map(|call| call.prompt.text()))
        .filter(|prompt| is_shared(&words(prompt)))
        .collect();
    let count = lost.len();
    is_share(count, of, LOST).then(|| {
        let examples = examples(lost.iter().map(String::as_str));
        Finding {
            kind: FindingKind::QuestionLost,
            step: view.last_step(),
            count,
            of,
            message: format!(
                "the last step was asked something without any word of the question in {count} of {of} \
                 samples{}",
                such_as(&examples)
            ),
            examples,
            advice:
                "show the question to the last step as well ({{ question }}), or change the steps before \
                     it, so that they keep it"
                    .into(),
            fault: true,
            stops: true,
        }
    })
}

/// Questions that could not be asked, which count for no way of answering.
fn set_aside(view: &Observed) -> Option<Finding> {
    let reasons: Vec<(&str, &str)> = view
        .asked
        .iter()
        .filter_map(|asked| Some((asked.question.id.as_str(), asked.set_aside()?)))
        .collect();
    let (count, of) = (reasons.len(), view.asked.len());
    let (id, why) = *reasons.first()?;
    Some(Finding {
        kind: FindingKind::SetAside,
        step: None,
        count,
        of,
        examples: examples(reasons.iter().map(|(id, _)| *id)),
        message: format!(
            "{count} of {of} questions cannot be asked and are set aside; of question {:?}: {why}",
            super::text::example(id)
        ),
        advice: "they count for no way of answering and nothing is learned from them: shorten or mend these \
                 questions, leave them out, or change the prompts"
            .into(),
        fault: true,
        stops: false,
    })
}
