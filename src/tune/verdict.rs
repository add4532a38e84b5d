//! Whether the chosen program is worth distilling, in figures and in words.

use std::collections::HashMap;

use super::contestant::Origin;
use super::race::Race;
use super::report::{CandidateReport, Expectation, SystemOneAnswer};
use super::terminal::{hundredths, percent};
use super::training_time::TrainingSpeed;
use super::vote_size::VoteSize;
use crate::evaluate::wilson;
use crate::preview::is_mostly_unread;
use crate::programs::capitalized;

/// Fewer accepted answers are too few to learn from.
const MIN_KEPT: f64 = 20.0;
const MIN_KEPT_SHARE: f64 = 0.1;
/// From this share on, System 1 gives the voted answers already.
const SAME_AS_SYSTEM1: f64 = 0.97;
/// From this share on, a vote says the same to everything.
const ONE_ANSWER: f64 = 0.95;
/// From this share on, that cannot be told from what is right of most questions.
const MOSTLY_ONE_ANSWER: f64 = 0.75;
/// Candidates that confirm fewer answers agree no more than by chance (measured: 0.09 and 0.13 where no program
/// was right more often than chance, 0.44 and more elsewhere), if they are not too few.
const MIN_CONFIRMED: f64 = 0.2;
const MIN_WITNESSES: usize = 4;
/// What may help where no wording does.
const LARGER: &str = "a larger model may do better than any wording";
/// What a verdict without gold is worth.
const NOT_CERTAIN: &str = "This is judged by how the samples agree; 20 questions with answers to choose by (gold) \
                           would make it surer.";

/// What the written vote keeps and takes: as `size` tells, or else as `winner` was sampled. The race may have
/// taken fewer samples than the `min_samples` of the vote.
pub fn written_vote(winner: &CandidateReport, size: Option<&VoteSize>, min_samples: usize) -> VoteSize {
    let (kept_share, needed) = (winner.features.kept, mean_needed(winner));
    let vote = size.copied().unwrap_or(VoteSize { kept_share, needed, ..VoteSize::default() });
    VoteSize { needed: vote.needed.max(min_samples as f64), ..vote }
}

/// What to expect of distilling `winner` with all of `questions` questions, of which `vote` tells what is kept.
pub fn expectation(
    winner: &CandidateReport,
    vote: VoteSize,
    baseline: Option<&CandidateReport>,
    system1: &[SystemOneAnswer],
    race: &Race,
    questions: usize,
    training: &TrainingSpeed,
) -> Expectation {
    let direct: HashMap<&str, Option<&str>> =
        system1.iter().map(|answer| (answer.question.as_str(), answer.key.as_deref())).collect();
    let share = |flags: Vec<bool>| -> Option<f64> {
        (!flags.is_empty()).then(|| flags.iter().filter(|flag| **flag).count() as f64 / flags.len() as f64)
    };
    let leader = |votes: &super::votes::QuestionVotes| votes.leader().map(|leader| leader.key.clone());
    let is_right = |question: &str, key: Option<&str>| -> Option<bool> {
        let gold = race.gold.get(question)?;
        let mut keys = gold.iter().filter_map(|gold| race.rule.key(gold));
        Some(key.is_some_and(|key| keys.any(|gold| gold == key)))
    };
    let kept = || winner.votes.iter().filter(|votes| votes.kept);
    let same =
        kept().filter_map(|votes| Some(*direct.get(votes.question.as_str())? == leader(votes).as_deref()));
    let VoteSize { kept_share, needed, .. } = vote;
    let variants = 1.0
        + winner.votes.iter().map(|votes| votes.perturbed_n).sum::<usize>() as f64
            / winner.votes.iter().map(|votes| votes.n).sum::<usize>().max(1) as f64;
    let per_sample = winner.time.seconds / winner.time.samples.max(1) as f64;
    // An example is the direct prompt and an answer.
    let tokens = |c: &CandidateReport| (c.counts.prompt_tokens + c.counts.generated_tokens) as f64;
    let per_example = baseline.map_or(0.0, |b| tokens(b) / b.counts.samples.max(1) as f64);
    Expectation {
        kept_share,
        kept_interval: wilson(kept_share, winner.features.questions),
        samples_per_question: needed,
        system1_agreement: share(same.collect()).unwrap_or(0.0),
        label_precision: share(kept().filter_map(|v| is_right(&v.question, leader(v).as_deref())).collect()),
        system1_accuracy: share(
            system1.iter().filter_map(|a| is_right(&a.question, a.key.as_deref())).collect(),
        ),
        vote_accuracy: share(
            winner.votes.iter().filter_map(|v| is_right(&v.question, leader(v).as_deref())).collect(),
        ),
        curate_hours: questions as f64 * needed * variants * per_sample / 3600.0,
        train_hours: training.hours(questions as f64 * kept_share, per_example),
    }
}

/// Samples after which a vote of `winner` ends, on average.
fn mean_needed(winner: &CandidateReport) -> f64 {
    let sum: usize = winner.votes.iter().map(|votes| votes.needed).sum();
    sum as f64 / winner.votes.len().max(1) as f64
}

/// Whether distilling is worthwhile, and why. `witnesses` is the number of candidates that are no relatives of
/// the winner.
pub fn judge(
    winner: &CandidateReport,
    baseline: Option<&CandidateReport>,
    witnesses: usize,
    expected: &Expectation,
    questions: usize,
) -> (bool, Vec<String>) {
    if let Some(fault) = &winner.dropped {
        let remedy = match winner.features.read < 0.5 {
            true => format!("the answer rule may be of the wrong kind, or {LARGER}"),
            false => LARGER.into(),
        };
        let why = format!(
            "No program looks worth distilling; {} comes closest, but: {fault}. {}",
            winner.name,
            sentence(remedy)
        );
        return (false, vec![why]);
    }
    let against = objections(winner, baseline, witnesses, expected, questions);
    let is_worthwhile = against.is_empty();
    let mut reasons = match is_worthwhile {
        true => figures(winner, baseline, expected),
        false => vec![format!("No program looks worth distilling; {} comes closest.", winner.name)],
    };
    reasons.extend(against.into_iter().map(sentence));
    if expected.vote_accuracy.is_none() {
        reasons.extend([Some(winner), baseline].into_iter().flatten().filter_map(mostly_one_answer));
        reasons.extend((!is_worthwhile).then(|| NOT_CERTAIN.into()));
    }
    (is_worthwhile, reasons)
}

/// What speaks against distilling `winner`.
fn objections(
    winner: &CandidateReport,
    baseline: Option<&CandidateReport>,
    witnesses: usize,
    expected: &Expectation,
    questions: usize,
) -> Vec<String> {
    let f = &winner.features;
    let mut against = Vec::new();
    if f.read < 0.5 {
        against.push(format!(
            "only {} of the samples hold an answer that can be read: the answer rule may be of the wrong kind, \
             or {LARGER}",
            percent(f.read)
        ));
    }
    let kept = expected.kept_share * questions as f64;
    if expected.kept_share < MIN_KEPT_SHARE {
        against.push(format!(
            "the samples agree on {} of the questions only, so there is next to nothing to learn; {LARGER}",
            percent(expected.kept_share)
        ));
    } else if kept < MIN_KEPT {
        against.push(format!(
            "of {questions} questions about {kept:.0} would be kept, and {MIN_KEPT:.0} is the least to learn from; \
             give more questions"
        ));
    }
    if f.top_answer >= ONE_ANSWER && f.questions > 4 {
        against.push(format!(
            "{} of the answers are the same one, whatever is asked; {LARGER}",
            percent(f.top_answer)
        ));
    }
    if f.consensus < MIN_CONFIRMED && witnesses >= MIN_WITNESSES && expected.vote_accuracy.is_none() {
        against.push(format!(
            "the {witnesses} other candidates confirm {} of its answers only, which is about what chance does; \
             {LARGER}",
            percent(f.consensus)
        ));
    }
    if expected.system1_agreement >= SAME_AS_SYSTEM1 {
        against.push(format!(
            "asked directly, the model gives {} of the answers that the vote accepts, right or wrong: distilling \
             would change nothing",
            percent(expected.system1_agreement)
        ));
    }
    match (expected.system1_accuracy, expected.vote_accuracy, baseline) {
        (Some(one), Some(two), _) if one >= two => against.push(format!(
            "on the questions with gold, direct answers are right as often ({}) as the vote ({}): nothing has to \
             be distilled",
            percent(one),
            percent(two)
        )),
        (None, _, Some(baseline)) if baseline.score >= winner.score => against.push(format!(
            "samples of the direct prompt ({}, {}) score as high as those of any program that came as far ({}), so \
             that no way of reasoning that was tried seems to help",
            baseline.name,
            hundredths(baseline.score),
            hundredths(winner.score)
        )),
        _ => {}
    }
    against
}

/// The figures that speak for `winner`.
fn figures(
    winner: &CandidateReport,
    baseline: Option<&CandidateReport>,
    expected: &Expectation,
) -> Vec<String> {
    let f = &winner.features;
    let mut reasons = vec![format!(
        "{} scores {}: {} of its samples are read, two samples agree on {} of the questions, and other \
         candidates confirm {} of its answers.",
        winner.name,
        hundredths(winner.score),
        percent(f.read),
        percent(f.agreement),
        percent(f.consensus)
    )];
    if let Some(base) = winner.base.as_ref().filter(|_| winner.origin == Origin::Longer) {
        reasons.push(format!(
            "It is {base} with twice the \"max_tokens\" in its last step, which was often cut off."
        ));
    }
    if let Some(base) = winner.base.as_ref().filter(|_| winner.origin == Origin::Temperature) {
        reasons.push(format!(
            "It is {base} at another temperature, at which other candidates confirm more of its votes; how far its \
             samples agree is told as of {base}."
        ));
    }
    if let Some(baseline) = baseline {
        reasons.push(format!(
            "Asked directly in the best wording ({}), samples score {}; {} of the accepted answers are \
             System 1's already, the others are to be learned.",
            baseline.name,
            hundredths(baseline.score),
            percent(expected.system1_agreement)
        ));
    }
    reasons
}

/// That most answers of a candidate are one and the same, which only gold answers can tell from what is right.
fn mostly_one_answer(candidate: &CandidateReport) -> Option<String> {
    let f = &candidate.features;
    (f.top_answer >= MOSTLY_ONE_ANSWER && f.questions > 4).then(|| {
        format!(
            "Be careful: {} of the answers of {} are the same one. Whether that is right of so many questions, \
             only some questions with answers can tell; give 20 to choose by.",
            percent(f.top_answer),
            candidate.name
        )
    })
}

/// That most answers of System 1 are not read, which makes all that is compared with them look better.
pub fn system1_unread(answers: &[SystemOneAnswer]) -> Option<String> {
    let (n, of) = (answers.iter().filter(|answer| answer.key.is_none()).count(), answers.len());
    is_mostly_unread(n, of).then(|| {
        format!(
            "Be careful: no answer is read from {n} of {of} direct answers, so System 1 is better than it looks; see \
             with preview what it writes."
        )
    })
}

/// `text` with a large first letter and a full stop.
fn sentence(text: String) -> String {
    capitalized(&text) + "."
}

#[cfg(test)]
mod tests {
    use super::super::report::candidate;
    use super::*;

    #[test]
    fn answers_that_nobody_confirms_are_not_worth_learning() {
        let mut winner = candidate("cot.steps.conclude", 0.1);
        let mut expected = Expectation { kept_share: 0.9, system1_agreement: 0.5, ..Expectation::default() };
        let mut judged = |consensus, witnesses, vote_accuracy: Option<f64>| {
            winner.features.consensus = consensus;
            (expected.system1_accuracy, expected.vote_accuracy) =
                (vote_accuracy.and(Some(0.1)), vote_accuracy);
            judge(&winner, None, witnesses, &expected, 200).0
        };
        assert!(judged(0.5, 9, None) && judged(0.1, 2, None) && judged(0.1, 9, Some(0.6)));
        assert!(!judged(0.1, 9, None));
    }

    #[test]
    fn direct_answers_that_are_not_read_are_told() {
        let answers = |unread: usize| -> Vec<SystemOneAnswer> {
            let key = |i: usize| (i >= unread).then(|| "7".to_string());
            let answer = |i| SystemOneAnswer { question: format!("q{i}"), key: key(i), text: key(i) };
            (0..8).map(answer).collect()
        };
        assert_eq!(system1_unread(&answers(4)), None);
        assert!(system1_unread(&answers(5)).unwrap().contains("from 5 of 8 direct answers"));
        assert_eq!(system1_unread(&[]), None);
    }

    #[test]
    fn what_is_mostly_one_answer_is_told_where_no_gold_can_judge_it() {
        let mut winner = candidate("s2a.which-question.bare", 0.8);
        let mut expected = Expectation { kept_share: 0.9, system1_agreement: 0.5, ..Expectation::default() };
        let mut judged = |top_answer: f64, vote_accuracy: Option<f64>| {
            winner.features.top_answer = top_answer;
            (expected.system1_accuracy, expected.vote_accuracy) =
                (vote_accuracy.and(Some(0.1)), vote_accuracy);
            let (worthwhile, reasons) = judge(&winner, None, 0, &expected, 200);
            (worthwhile, reasons.concat().contains("Be careful"))
        };
        assert_eq!(judged(0.5, None), (true, false));
        assert_eq!(judged(0.8, None), (true, true));
        assert_eq!(judged(0.8, Some(0.9)), (true, false));
        assert_eq!(judged(0.96, None), (false, true));

        let mut baseline = candidate("direct.form", 0.1);
        baseline.features.top_answer = 1.0;
        winner.features.top_answer = 0.3;
        let expected = Expectation { kept_share: 0.9, ..Expectation::default() };
        let (_, reasons) = judge(&winner, Some(&baseline), 0, &expected, 200);
        assert!(
            reasons.concat().contains("100% of the answers of direct.form are the same one"),
            "{reasons:?}"
        );
    }
}
