//! Advice for runs that do not look worthwhile; each piece of it names the figures it rests on.

use super::Acceptance;
use super::{Evaluation, Measurement};
use crate::curate::Curation;
use crate::task::{AnswerRule, Task};
use crate::train::Training;
use crate::vote::Verdict;

/// Thresholds that are suggested, and the least gap that is called one.
const THRESHOLDS: [f32; 4] = [0.75, 0.7, 0.6, 0.5];
const GAP: f64 = 0.05;
/// From here on there is little left to gain.
const RIGHT_ALREADY: f64 = 0.9;

/// Too few questions reach agreement.
pub fn on_few_labels(
    acceptance: &Acceptance,
    task: &Task,
    curation: &Curation,
    verdicts: &[Verdict],
) -> Vec<String> {
    let n = verdicts.len();
    let kept = verdicts.iter().filter(|verdict| verdict.kept).count();
    let wanted = acceptance.wanted(n);
    let mut advice = Vec::new();
    advice.extend(on_unreadable(curation.unparsed, curation.cut_off, curation.samples, "samples.jsonl"));
    let all_are_read = advice.is_empty();
    advice.extend(task.perturbations.iter().filter_map(|perturbation| {
        let variants = verdicts.iter().filter_map(|verdict| {
            let variant = verdict.variants.iter().find(|variant| variant.perturbation == perturbation.name)?;
            Some(variant.answer != verdict.answer)
        });
        let changed: Vec<bool> = variants.collect();
        let (of, changed) = (changed.len(), changed.iter().filter(|changed| **changed).count());
        (changed * 4 > of).then(|| {
            format!(
                "under {} the answers to {changed} of {of} questions change: the model goes by what should not \
                 matter; a larger model or a method that hides it may help",
                perturbation.name
            )
        })
    }));
    if acceptance.has_share(kept, n) && kept > 0 {
        advice.push(format!(
            "ask more questions: at this rate {} would give {}",
            (acceptance.min_kept * n).div_ceil(kept),
            acceptance.min_kept
        ));
    }
    let would_keep = |threshold: f32| verdicts.iter().filter(|v| would_be_kept(v, threshold)).count();
    let lower = THRESHOLDS.into_iter().filter(|threshold| *threshold < curation.threshold - 1e-6);
    let lower: Vec<(f32, usize)> = lower.map(|threshold| (threshold, would_keep(threshold))).collect();
    let best = lower.iter().find(|(_, kept)| *kept >= wanted).or(lower.last());
    // A lower threshold helps neither with too few questions nor with perturbations that change the answer.
    let votes_fail = verdicts.iter().filter(|verdict| !own_vote_is_kept(verdict)).count() * 2 > n;
    match best {
        Some((threshold, then)) if *then > kept && n >= wanted => advice.push(format!(
            "at threshold {threshold}, {then} of {n} would have been kept, as far as they were sampled \
             (the labels are less sure)"
        )),
        Some((threshold, then)) if votes_fail => {
            advice.push(format!("even at threshold {threshold}, only {then} of {n} would have been kept"));
        }
        _ => {}
    }
    if votes_fail && all_are_read && best.is_none_or(|(_, then)| *then < wanted) {
        advice.push(format!(
            "the samples contradict each other: try a model that reasons better, a lower temperature, or more \
             than {} samples",
            curation.max_samples
        ));
    }
    advice.extend(on_gate(acceptance, kept, n));
    advice
}

/// What `acceptance` would have to ask for, so that `kept` of `n` questions are enough.
pub fn on_gate(acceptance: &Acceptance, kept: usize, n: usize) -> Option<String> {
    let mut options = Vec::new();
    if kept < acceptance.min_kept {
        options.push(format!("min_kept {kept}"));
    }
    if !acceptance.has_share(kept, n) {
        // Rounded down, so that it suffices.
        options.push(format!("min_kept_share {}", (1000.0 * kept as f64 / n as f64).floor() / 1000.0));
    }
    (kept > 0 && !options.is_empty())
        .then(|| format!("where {kept} of {n} are enough, lower the acceptance: {}", options.join(", ")))
}

/// Whether the vote on the question itself was kept.
fn own_vote_is_kept(verdict: &Verdict) -> bool {
    verdict.variants.first().map_or(verdict.kept, |own| own.kept)
}

/// Whether `verdict` would be kept at a lower threshold, from the samples that were taken. A vote
/// in which half agree may be a tie, and is not counted.
fn would_be_kept(verdict: &Verdict, threshold: f32) -> bool {
    let reaches = |agreement: f32| agreement > 0.5 && agreement >= threshold - 1e-4;
    match verdict.variants.is_empty() {
        true => verdict.kept || (verdict.answer.is_some() && reaches(verdict.agreement)),
        // One that was not asked to the last variant has lost one, or is known to.
        false => {
            verdict.kept
                || verdict.variants.iter().all(|b| reaches(b.agreement) && b.answer == verdict.answer)
        }
    }
}

/// Many samples hold no answer.
fn on_unreadable(unread: usize, cut_off: usize, samples: usize, journal: &str) -> Option<String> {
    if unread * 3 < samples || unread == 0 {
        return None;
    }
    let fix = match cut_off * 2 > unread {
        true => format!("{cut_off} of them ended at \"max_tokens\", which the last step should have more of"),
        false => format!("see in {journal} how they end, and fit the prompt, the marker or the answer rule"),
    };
    Some(format!("{unread} of {samples} samples hold no answer: {fix}"))
}

/// What a comparison of the systems on held-out questions showed.
pub struct Seen<'a> {
    pub system1: &'a Measurement,
    pub system2: &'a Measurement,
    /// System 2 samples, and those that hold no answer.
    pub samples: usize,
    pub unread: usize,
}

/// Reasoning does not help.
pub fn on_reasoning(task: &Task, seen: Option<Seen>) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(seen) = seen {
        if seen.system1.accuracy >= RIGHT_ALREADY {
            advice.push(format!(
                "System 1 is right {:.1}% of the time already: use it as it is, or ask harder questions",
                100.0 * seen.system1.accuracy
            ));
            return advice;
        }
        advice.extend(on_unreadable(seen.unread, 0, seen.samples, "evaluation/system2.jsonl"));
        if let Some(single) = seen.system2.accuracy_per_sample
            && single > seen.system2.accuracy + GAP
        {
            advice.push(format!(
                "single samples are right more often ({:.1}%) than their vote: a wrong answer is the common \
                 one, and voting cannot correct that",
                100.0 * single
            ));
        }
    }
    advice.push(Method::of(task).where_reasoning_does_not_help().into());
    advice
}

/// Training gained nothing.
pub fn on_no_gain(task: &Task, e: &Evaluation, training: &Training) -> Vec<String> {
    let gap = e.system2.accuracy - e.system1.accuracy;
    if gap < GAP {
        return vec![Method::of(task).where_reasoning_does_not_help().into()];
    }
    let mut advice = Vec::new();
    let method = Method::of(task);
    let ahead = format!("System 2 is {:.1} points better than System 1", 100.0 * gap);
    let learned = format!("{} examples in {:.0} epochs", training.examples, training.epochs);
    if method == Method::ChainOfThought || matches!(task.answer, AnswerRule::Number(_)) {
        advice.push(format!(
            "{ahead}, but the distilled model cannot follow: either {learned} are too few (more epochs, a higher lr, more patience \
             or more questions may do), or the steps do not fold into one answer, as is known of multi-step \
             arithmetic; where none of these help, go on reasoning for this task"
        ));
    } else {
        advice.push(format!(
            "{ahead}, so there is something to learn: more than {learned}, a higher lr or a larger rank may do it"
        ));
    }
    if let Some(f) = e.fallback.as_ref().filter(|f| f.coverage > 0.0 && f.accuracy > e.distilled.accuracy) {
        advice.push(format!(
            "answering directly only when sure is right {:.1}% of the time at {:.0} tokens, \
             against {:.0} of the vote",
            100.0 * f.accuracy,
            f.tokens_per_answer,
            e.system2.tokens_per_answer
        ));
    }
    if e.constant.as_ref().is_some_and(|c| e.distilled.accuracy <= c.accuracy) {
        advice.push("see whether the kept labels favour one answer, and balance the questions".into());
    }
    advice
}

/// The family of a task's method, from the name it gives itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    ChainOfThought,
    Rephrase,
    Attention,
    Branch,
    Thinking,
    Other,
}

impl Method {
    fn of(task: &Task) -> Method {
        let name = task.method.to_lowercase();
        let is = |names: &[&str]| names.iter().any(|known| name.starts_with(known));
        match () {
            () if is(&["chain-of-thought", "cot"]) => Method::ChainOfThought,
            () if is(&["rephrase", "rar"]) => Method::Rephrase,
            () if is(&["system-2-attention", "s2a"]) => Method::Attention,
            () if is(&["branch", "bsm"]) => Method::Branch,
            () if is(&["thinking", "native-thinking"]) => Method::Thinking,
            () => Method::Other,
        }
    }

    fn where_reasoning_does_not_help(self) -> &'static str {
        match self {
            Method::ChainOfThought => {
                "the model may be too small to reason in steps: try a larger one, or a worked example in the prompt"
            }
            Method::Rephrase => {
                "read the rephrased questions: a small model may change their meaning; try a larger one, or an \
                 example of a good rephrasing in the prompt"
            }
            Method::Attention => {
                "read the rewrites: where the text holds nothing that distracts, or loses its question, removing \
                 does not help; try questions with opinions in them, or an example in the prompt"
            }
            Method::Branch => {
                "read the criteria and the verdicts on each: a small model may not judge by them; try a larger \
                 one, or criteria fixed in the prompt"
            }
            Method::Thinking => {
                "see whether the thinking comes to its end: give the step more \"max_tokens\", or try a larger model"
            }
            Method::Other => "read the samples of a few questions: do the steps lead to the answer?",
        }
    }
}
