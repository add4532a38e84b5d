//! Findings by gold answers, where all questions have them and were asked directly: in a preview, never in
//! curation.

use super::text::{examples, such_as};
use super::{Finding, FindingKind, Observed, ObservedQuestion, at_least, is_share};
use crate::task::Answer;

/// Share of the accepted votes that are wrong; and so many are not by chance where a quarter of them usually is.
const WRONG: f64 = 0.5;
const USUALLY_WRONG: f64 = 0.25;
const BY_CHANCE: f64 = 0.05;

pub fn find(view: &Observed, found: &mut Vec<Finding>) {
    found.extend(wrong_votes(view));
}

/// The questions that were asked, if all have gold answers and were asked directly too.
pub fn with_gold<'v, 'a>(view: &'v Observed<'a>) -> Option<Vec<&'v ObservedQuestion<'a>>> {
    let asked: Vec<_> = view.asked.iter().filter(|asked| asked.set_aside().is_none()).collect();
    let can_tell = |asked: &&ObservedQuestion| !asked.question.gold.is_empty() && asked.system1.is_some();
    asked.iter().all(can_tell).then_some(asked)
}

pub fn is_right(view: &Observed, asked: &ObservedQuestion, answer: Option<&Answer>) -> bool {
    answer.is_some_and(|answer| view.task.answer.is_correct(answer, &asked.question.gold))
}

fn wrong_votes(view: &Observed) -> Option<Finding> {
    let asked = with_gold(view)?;
    let accepted: Vec<(&ObservedQuestion, &Answer)> = asked
        .into_iter()
        .filter_map(|asked| Some((asked, asked.verdict.filter(|verdict| verdict.kept)?.answer.as_ref()?)))
        .collect();
    let wrong: Vec<_> = accepted.iter().filter(|(asked, vote)| !is_right(view, asked, Some(vote))).collect();
    let (n, of) = (wrong.len(), accepted.len());
    let direct = accepted
        .iter()
        .filter(|(asked, _)| is_right(view, asked, asked.system1.and_then(|direct| direct.answer.as_ref())));
    let direct = direct.count();
    let is_chance = at_least(n, &vec![USUALLY_WRONG; of]) >= BY_CHANCE;
    (is_share(n, of, WRONG) && !is_chance).then(|| {
        let shown = wrong.iter().map(|(asked, vote)| format!("{} instead of {}", vote.text, asked.question.gold[0]));
        let shown: Vec<String> = shown.collect();
        let examples = examples(shown.iter().map(String::as_str));
        Finding {
            kind: FindingKind::WrongVotes,
            step: view.last_step(),
            count: n,
            of,
            message: format!(
                "{n} of the {of} answers that the vote accepts are wrong by the gold answers{}; System 1 is wrong on \
                 {} of these questions",
                such_as(&examples),
                of - direct
            ),
            examples,
            advice: "the samples agree on what is wrong, so that a stricter vote does not help: let a step find \
                     what decides the answer before it is given, choose another program (tune with --gold), or \
                     take a larger model"
                .into(),
            // What learns from them is still right more often than before.
            fault: of - n <= direct,
            stops: false,
        }
    })
}
