//! Findings about the direct answers.

use super::gold::{is_right, with_gold};
use super::text::{examples, such_as};
use super::{Finding, FindingKind, Observed, ObservedQuestion};
use crate::evaluate::Direct;

/// Share of the voted answers that System 1 gives, and how many there must be.
const AS_GOOD: f64 = 0.9;
const AS_GOOD_QUESTIONS: usize = 6;

pub fn find(view: &Observed, found: &mut Vec<Finding>) {
    // Of answers that are not read it cannot be said how good they are.
    found.extend(system1_unread(view).or_else(|| system1_as_good(view)));
}

/// Whether so many of System 1's answers are not read that what System 2 gains over it is mostly that its own
/// are.
pub fn is_mostly_unread(unread: usize, of: usize) -> bool {
    unread > 1 && unread * 2 > of
}

fn system1_unread(view: &Observed) -> Option<Finding> {
    let asked = view.asked.iter().filter(|asked| asked.set_aside().is_none());
    let direct: Vec<&Direct> = asked.filter_map(|asked| asked.system1).collect();
    let unread: Vec<&&Direct> = direct.iter().filter(|direct| direct.answer.is_none()).collect();
    let (n, of) = (unread.len(), direct.len());
    let cut = unread.iter().filter(|direct| direct.generated_tokens >= view.task.system1.max_tokens).count();
    is_mostly_unread(n, of).then(|| {
        let examples = examples(unread.iter().map(|direct| direct.text.as_str()));
        let what = "until they are, System 1 looks worse than it is, and the gain over it larger";
        Finding {
            kind: FindingKind::System1Unread,
            step: None,
            count: n,
            of,
            message: format!("no answer was read from {n} of {of} direct answers{}", such_as(&examples)),
            examples,
            advice: match cut * 2 > n {
                true => format!("{cut} of them end at \"max_tokens\": give \"system1\" more; {what}"),
                false => format!(
                    "ask in the prompt of \"system1\" for the answer alone, as the rule reads it; {what}"
                ),
            },
            fault: true,
            stops: false,
        }
    })
}

/// Only questions whose vote was accepted say what System 1 should answer, unless there are gold answers.
fn system1_as_good(view: &Observed) -> Option<Finding> {
    if let Some(finding) = system1_right_as_often(view) {
        return Some(finding);
    }
    let compared: Vec<(&ObservedQuestion, bool)> = view
        .asked
        .iter()
        .filter_map(|asked| {
            let vote = asked.verdict?.answer.as_ref()?;
            let direct = asked.system1?.answer.as_ref();
            Some((asked, direct.is_some_and(|direct| direct.key == vote.key)))
        })
        .collect();
    let accepted = |asked: &ObservedQuestion| asked.verdict.is_some_and(|verdict| verdict.kept);
    let kept: Vec<bool> = compared.iter().filter(|(a, _)| accepted(a)).map(|(_, same)| *same).collect();
    let (n, of) = (kept.iter().filter(|same| **same).count(), kept.len());
    let among_all = compared.iter().filter(|(_, same)| *same).count() as f64;
    let is_as_good = of >= AS_GOOD_QUESTIONS
        && n as f64 >= AS_GOOD * of as f64
        && among_all >= AS_GOOD * compared.len() as f64;
    is_as_good.then(|| {
        let message = format!(
            "System 1 gives the accepted answer to {n} of {of} of these questions already, right or wrong"
        );
        nothing_to_distill(n, of, message, NOTHING_HERE)
    })
}

/// What to do where System 1 is as good, as far as can be told.
const NOTHING_HERE: &str = "look at more questions; where that holds for them too, there is nothing to distill in \
                            this way: choose another program (tune), ask harder questions or use the model as it is";
/// What to do where both are wrong on most questions.
const BOTH_WRONG: &str = "agreement does not mean that an answer is right here: reason in another way (tune with more \
                          --minutes, or a step of your own that computes what the question needs), or take a larger \
                          model";

fn nothing_to_distill(count: usize, of: usize, message: String, advice: &str) -> Finding {
    Finding {
        kind: FindingKind::System1AsGood,
        step: None,
        count,
        of,
        examples: Vec::new(),
        message,
        advice: advice.into(),
        fault: false,
        stops: false,
    }
}

/// By gold answers, where all questions have them.
fn system1_right_as_often(view: &Observed) -> Option<Finding> {
    let asked = with_gold(view)?;
    let of = asked.len();
    let direct =
        |asked: &&&ObservedQuestion| is_right(view, asked, asked.system1.and_then(|one| one.answer.as_ref()));
    let voted = |asked: &&&ObservedQuestion| {
        is_right(view, asked, asked.verdict.and_then(|verdict| verdict.answer.as_ref()))
    };
    let n = asked.iter().filter(direct).count();
    let votes = asked.iter().filter(voted).count();
    (votes <= n && of >= AS_GOOD_QUESTIONS).then(|| {
        let message = format!("System 1 is right on {n} of these {of} questions, the votes on {votes}");
        nothing_to_distill(n, of, message, if 2 * n < of { BOTH_WRONG } else { NOTHING_HERE })
    })
}
