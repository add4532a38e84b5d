//! Decisions whether to distill: from the labels; before training, from System 1 and System 2 on
//! held-out questions; after training, from the measured gain. A refusal gives all its reasons, with
//! figures, and advice.

use std::collections::BTreeMap;

use super::Evaluation;
use super::{Counted, DirectAnswers, Reasoned, Scorer, advice};
use crate::curate::Curation;
use crate::curate::Outcome;
use crate::train::Training;
pub use summary::Decision;

mod summary;
use crate::options::{Range, options};
use crate::task::{Question, Task};
use crate::vote::Verdict;

/// A gain with a larger p may be chance.
const SIGNIFICANT: f64 = 0.05;
/// Labels of which more than this share are one answer have collapsed onto it. Only with enough labels
/// can that be told from chance.
const COLLAPSED: f64 = 0.95;
const ENOUGH_TO_COLLAPSE: usize = 20;

options! {
    /// How many questions must be kept for their labels to be trained on.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Acceptance: "Acceptance" {
        /// Minimum number of kept questions. Under 20 there are too few to hold any out, and a LoRA adapter
        /// learns them by heart.
        min_kept: usize = 20, {};
        /// Minimum share of kept questions, also of held-out ones that have no answers. Where under a tenth
        /// is kept, the kept ones are the exceptions, not the task.
        min_kept_share: f64 = 0.1, { range: Range::closed(0.0, 1.0), placeholder: "SHARE" };
    }
}

impl Acceptance {
    /// Whether `kept` of `questions` are not too small a share.
    pub(super) fn has_share(&self, kept: usize, questions: usize) -> bool {
        kept as f64 / questions.max(1) as f64 >= self.min_kept_share
    }

    /// Kept questions that are enough of `questions`.
    pub(super) fn wanted(&self, questions: usize) -> usize {
        self.min_kept.max((self.min_kept_share * questions as f64 - 1e-9).ceil() as usize)
    }
}

/// Whether the labels are worth training on: enough of them, and not all the same.
pub(crate) fn labels_are_worth_it(
    acceptance: &Acceptance,
    task: &Task,
    curation: &Curation,
    verdicts: &[Verdict],
) -> Decision {
    let n = verdicts.iter().filter(|verdict| verdict.set_aside.is_none()).count();
    let kept: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.kept).collect();
    let (mut reasons, mut advice) = (Vec::new(), Vec::new());
    if kept.is_empty() {
        reasons.push(format!("no question was kept: in none of {n} did enough samples agree"));
    } else if kept.len() < acceptance.min_kept {
        reasons.push(format!(
            "only {} of {n} questions were kept; fewer than {} are too few to learn from",
            kept.len(),
            acceptance.min_kept
        ));
    }
    if !kept.is_empty() && !acceptance.has_share(kept.len(), n) {
        reasons.push(format!(
            "only {:.1}% of {n} questions were kept, under {:.0}%: the samples seldom agree",
            100.0 * kept.len() as f64 / n as f64,
            100.0 * acceptance.min_kept_share
        ));
    }
    if !reasons.is_empty() {
        advice.extend(advice::on_few_labels(acceptance, task, curation, verdicts));
    }
    let mut counts = BTreeMap::new();
    for verdict in &kept {
        *counts.entry(verdict.answer.as_ref().map_or("", |answer| answer.key.as_str())).or_insert(0usize) +=
            1;
    }
    if let Some((answer, most)) = counts.into_iter().max_by_key(|(_, count)| *count)
        && kept.len() >= ENOUGH_TO_COLLAPSE
        && most as f64 > COLLAPSED * kept.len() as f64
    {
        reasons.push(format!(
            "{most} of {} kept answers are \"{answer}\": the labels have collapsed onto one answer",
            kept.len()
        ));
        advice.push(
            "check whether the prompts favour that answer, and ask questions whose answers differ".into(),
        );
    }
    match reasons.is_empty() {
        true => Decision::yes(format!("{} of {n} questions were kept", kept.len())),
        false => Decision::no(reasons, advice),
    }
}

/// Before training: whether the System 2 vote is better than the direct answer on held-out
/// questions or, without gold answers to tell, whether it agrees with itself at all.
pub(crate) fn worth_trying(
    acceptance: &Acceptance,
    task: &Task,
    questions: &[Question],
    system1: &DirectAnswers,
    system2: &Reasoned,
) -> Decision {
    let counted = Counted::of(questions, &[system1], system2);
    let (questions, system1, system2) = (&counted.questions[..], &counted.direct[0], &counted.reasoned);
    let n = questions.len();
    if questions.iter().any(|q| q.gold.is_empty()) {
        let agreeing = system2.outcomes.iter().filter(|o| survives(task, o)).count();
        let figures = format!("{agreeing} of {n} held-out questions reach agreement");
        if acceptance.has_share(agreeing, n) {
            return Decision::yes(figures);
        }
        let mut advice = advice::on_reasoning(task, None);
        let share_alone = Acceptance { min_kept: 0, ..*acceptance };
        advice.extend(advice::on_gate(&share_alone, agreeing, n));
        return Decision::no(vec![format!("only {figures}")], advice);
    }
    let scorer = Scorer::new(task, questions, system2);
    let (one, two) = (scorer.direct(system1).0, scorer.reasoned(system2).0);
    let figures = format!(
        "on {n} held-out questions System 1 is right {:.1}% of the time, the System 2 vote {:.1}%",
        100.0 * one.accuracy,
        100.0 * two.accuracy
    );
    match two.accuracy > one.accuracy {
        true => Decision::yes(figures),
        false => {
            let samples: Vec<_> = system2.outcomes.iter().flat_map(Outcome::own_samples).collect();
            let unread = samples.iter().filter(|sample| sample.answer.is_none()).count();
            let seen = advice::Seen { system1: &one, system2: &two, unread, samples: samples.len() };
            let advice = advice::on_reasoning(task, Some(seen));
            Decision::no(vec![format!("reasoning does not help: {figures}")], advice)
        }
    }
}

/// Whether a question's answer would be kept: its vote, and that under each perturbation, reach the
/// threshold and agree. The votes were held to their end, without a threshold.
fn survives(task: &Task, outcome: &Outcome) -> bool {
    let verdict = &outcome.verdict;
    verdict.kept
        && verdict.agreement >= task.vote.threshold
        && verdict.variants.iter().all(|variant| variant.agreement >= task.vote.threshold)
}

/// After training: whether the distilled model's direct answers are better than the base model's,
/// and than always giving the same answer, by more than chance explains.
pub(crate) fn was_worth_it(task: &Task, e: &Evaluation, training: &Training) -> Decision {
    let times = e.system2.tokens_per_sample.unwrap_or(0.0) / e.distilled.tokens_per_answer.max(1e-9);
    let figures = format!(
        "direct answers went from {:.1}% to {:.1}% (System 2 vote: {:.1}%) at 1/{times:.1} of the tokens of one reasoned sample, McNemar p = {}",
        100.0 * e.system1.accuracy,
        100.0 * e.distilled.accuracy,
        100.0 * e.system2.accuracy,
        probability(e.mcnemar_p)
    );
    let beats = |accuracy: f64, p: f64| e.distilled.accuracy > accuracy && p < SIGNIFICANT;
    let (mut reasons, mut advice) = (Vec::new(), Vec::new());
    if let Some(c) = e.constant.as_ref().filter(|c| !beats(c.accuracy, c.mcnemar_p)) {
        reasons.push(format!(
            "always answering \"{}\" is right {:.1}% of the time, which chance does not tell from the distilled model (p = {})",
            c.answer,
            100.0 * c.accuracy,
            probability(c.mcnemar_p)
        ));
    }
    if !beats(e.system1.accuracy, e.mcnemar_p) {
        reasons.push("no gain over the base model beyond chance".into());
    }
    let Some(last) = reasons.last_mut() else { return Decision::yes(figures) };
    *last += &format!(": {figures}");
    advice.extend(advice::on_no_gain(task, e, training));
    Decision::no(reasons, advice)
}

/// A probability with two digits: `0.039`, `4.9e-32`.
fn probability(p: f64) -> String {
    if p < 1e-3 {
        format!("{p:.1e}")
    } else {
        format!("{p:.3}").trim_end_matches('0').trim_end_matches('.').into()
    }
}

#[cfg(test)]
mod tests;
