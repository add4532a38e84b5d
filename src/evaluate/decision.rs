//! Whether to distil: asked before training of what sampling showed, and after it of what was gained.

use super::{DirectAnswers, Judge, Reasoned};
use crate::report::{Decision, Evaluation};
use crate::task::{Question, Task};

/// A gain with a larger p may be luck.
const SIGNIFICANT: f64 = 0.05;

/// Before training: whether the System 2 vote is better than the direct answer on held-out
/// questions or, without gold answers to tell, whether it agrees with itself at all.
pub fn worth_trying(
    task: &Task,
    questions: &[Question],
    system1: &DirectAnswers,
    system2: &Reasoned,
) -> Decision {
    let n = questions.len();
    if questions.iter().any(|q| q.gold.is_empty()) {
        let settled = system2.outcomes.iter().filter(|o| o.verdict.agreement >= task.vote.threshold).count();
        let figures = format!("{settled} of {n} held-out questions reach agreement");
        return match settled * 10 < n {
            true => Decision { distil: false, why: format!("only {figures}") },
            false => Decision { distil: true, why: figures },
        };
    }
    let judge = Judge::new(task, questions, system2);
    let (one, two) = (judge.direct(system1).0.accuracy, judge.reasoned(system2).0.accuracy);
    let figures = format!(
        "on {n} held-out questions System 1 is right {:.1}% of the time, the System 2 vote {:.1}%",
        100.0 * one,
        100.0 * two
    );
    match two > one {
        true => Decision { distil: true, why: figures },
        false => Decision { distil: false, why: format!("reasoning does not help: {figures}") },
    }
}

/// After training: whether the distilled model's direct answers are better than the base model's,
/// and than always giving the same answer, by more than luck explains.
pub fn was_worth_it(e: &Evaluation) -> Decision {
    let times = e.system2.tokens_per_sample.unwrap_or(0.0) / e.distilled.tokens_per_answer.max(1e-9);
    let figures = format!(
        "direct answers went from {:.1}% to {:.1}% (System 2 vote: {:.1}%) at 1/{times:.1} of the tokens of one reasoned sample, McNemar p = {:.2e}",
        100.0 * e.system1.accuracy,
        100.0 * e.distilled.accuracy,
        100.0 * e.system2.accuracy,
        e.mcnemar_p
    );
    let beats = |accuracy: f64, p: f64| e.distilled.accuracy > accuracy && p < SIGNIFICANT;
    if !beats(e.system1.accuracy, e.mcnemar_p) {
        let why = format!("no gain over the base model that luck does not explain: {figures}");
        return Decision { distil: false, why };
    }
    match &e.constant {
        Some(c) if !beats(c.accuracy, c.mcnemar_p) => Decision {
            distil: false,
            why: format!(
                "always answering \"{}\" is right {:.1}% of the time, no worse than luck explains (p = {:.2e}): {figures}",
                c.answer,
                100.0 * c.accuracy,
                c.mcnemar_p
            ),
        },
        _ => Decision { distil: true, why: figures },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Constant, Measured};

    fn evaluation(before: f64, after: f64, p: f64, constant: f64, constant_p: f64) -> Evaluation {
        let accuracy = |accuracy| Measured { accuracy, tokens_per_answer: 2.0, ..Measured::default() };
        Evaluation {
            n: 200,
            system1: accuracy(before),
            distilled: accuracy(after),
            mcnemar_p: p,
            constant: Some(Constant { answer: "yes".into(), accuracy: constant, mcnemar_p: constant_p }),
            ..Evaluation::default()
        }
    }

    #[test]
    fn a_gain_counts_only_when_luck_does_not_explain_it() {
        assert!(was_worth_it(&evaluation(0.4, 0.9, 1e-9, 0.5, 1e-9)).distil);
        let lucky = was_worth_it(&evaluation(0.40, 0.42, 0.7, 0.3, 1e-3));
        assert!(!lucky.distil && lucky.why.contains("luck"), "{}", lucky.why);
        assert!(!was_worth_it(&evaluation(0.6, 0.4, 1e-9, 0.1, 1e-9)).distil);
    }

    #[test]
    fn learning_to_say_always_the_same_is_not_a_gain() {
        let yes_man = was_worth_it(&evaluation(0.335, 0.505, 1e-4, 0.50, 1.0));
        assert!(!yes_man.distil && yes_man.why.starts_with("always answering \"yes\""), "{}", yes_man.why);
    }
}
