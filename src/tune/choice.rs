//! The end of a race: the winner, the wording of its direct prompt, the size of its vote, and what to expect.

use super::contestant::{Contestant, Origin};
use super::race::Race;
use super::report::{CandidateReport, SystemOneAnswer, TuneReport};
use super::temperature::is_clearly_better;
use super::training_time::TrainingSpeed;
use super::vote_size::{enough, vote_sizes, with_samples};
use super::{TuneSetup, verdict};
use crate::context::EngineCache;
use crate::evaluate::{DirectAnswers, ask_directly};
use crate::task::Task;
use crate::{Context, Error, Result};

/// The report of a race, without what needs the direct answers.
pub fn report(setup: &TuneSetup, race: &Race, questions: usize) -> TuneReport {
    let (votes, features) = (race.votes(), race.features());
    let mut candidates: Vec<CandidateReport> = race
        .contestants
        .iter()
        .zip(votes)
        .zip(features)
        .filter(|((contestant, _), _)| contestant.judged.questions > 0)
        .map(|((contestant, votes), features)| CandidateReport {
            name: contestant.name().into(),
            method: votes.method,
            origin: contestant.entrant.origin,
            family: contestant.entrant.family.clone(),
            base: contestant.entrant.base.clone(),
            score: race.score(&features),
            rounds: contestant.rounds,
            dropped: contestant.dropped.clone(),
            judged: contestant.judged,
            features,
            counts: votes.counts,
            time: contestant.time,
            votes: votes.questions,
        })
        .collect();
    candidates.sort_by(|a, b| {
        let by_rounds = (b.dropped.is_none(), b.rounds).cmp(&(a.dropped.is_none(), a.rounds));
        by_rounds.then(b.score.total_cmp(&a.score))
    });
    TuneReport {
        model: setup.model.display().to_string(),
        questions,
        seed: setup.seed,
        answer: race.rule.clone(),
        winner: None,
        worthwhile: false,
        reasons: Vec::new(),
        baseline: None,
        expected: None,
        seconds: race.state.seconds,
        rounds: race.state.rounds.clone(),
        shortage: race.shortage(),
        not_proposed: race.not_proposed.clone(),
        vote_sizes: Vec::new(),
        samples: None,
        candidates,
        unjudged: race
            .contestants
            .iter()
            .filter(|contestant| contestant.judged.questions == 0)
            .map(|contestant| contestant.name().into())
            .collect(),
        system1: Vec::new(),
    }
}

/// Chooses the winner and the baseline, asks the baseline's direct prompt, and judges. Returns the winner's
/// task.
pub fn complete(
    report: &mut TuneReport,
    race: &Race,
    training: &TrainingSpeed,
    base: &mut EngineCache,
    cx: &mut Context,
) -> Result<Option<Task>> {
    let finalists: Vec<&str> = race.finalists().iter().map(|i| race.contestants[*i].name()).collect();
    // Those that came furthest, if all of the last round have faults.
    let best = |direct: bool| {
        let of_kind = || report.candidates.iter().filter(move |c| c.is_direct() == direct);
        let finished: Vec<&CandidateReport> = of_kind()
            .filter(|c| finalists.contains(&c.name.as_str()) && replaces_its_base(c, report))
            .collect();
        best_or_cheaper(&finished).or_else(|| of_kind().next()).cloned()
    };
    let (Some(winner), baseline) = (best(false), best(true)) else { return Ok(None) };
    let contestant = |name: &str| race.contestants.iter().find(|c| c.name() == name);
    let missing = || Error::Internal("a candidate of the report is not in the race".into());
    let chosen = contestant(&winner.name).ok_or_else(missing)?;
    let mut task = chosen.entrant.task.clone();
    report.vote_sizes = vote_sizes(chosen, race.questions, race.rule);
    report.samples = enough(&report.vote_sizes, &task.vote);
    if let Some(samples) = report.samples {
        task.vote = with_samples(&task.vote, samples);
    }
    if let Some(baseline) = &baseline {
        let direct = contestant(&baseline.name).ok_or_else(missing)?;
        report.system1 = direct_answers(direct, race, winner.judged.questions, base, cx)?;
        task.system1 = direct.entrant.task.system1.clone();
    }
    let size = report.vote_sizes.iter().find(|size| Some(size.samples) == report.samples);
    let mut expected = verdict::expectation(
        &winner,
        verdict::written_vote(&winner, size, task.vote.min_samples),
        baseline.as_ref(),
        &report.system1,
        race,
        report.questions,
        training,
    );
    let not_asked = chosen.not_asked(race.questions);
    if let Some((n, _)) = not_asked {
        expected.leave_out(n, winner.judged.questions);
    }
    let is_witness = |c: &&CandidateReport| c.family != winner.family && c.dropped.is_none();
    let witnesses = report.candidates.iter().filter(is_witness).count();
    (report.worthwhile, report.reasons) =
        verdict::judge(&winner, baseline.as_ref(), witnesses, &expected, report.questions);
    report.reasons.extend(verdict::system1_unread(&report.system1));
    report.reasons.extend(not_asked.map(|(n, why)| {
        format!(
            "It cannot be asked {n} of {} questions, which curation will set aside as well; of the first of them, \
             {why}.",
            winner.judged.questions
        )
    }));
    report.expected = Some(expected);
    report.winner = Some(winner.name);
    report.baseline = baseline.map(|baseline| baseline.name);
    Ok(Some(task))
}

/// Whether a candidate is no variation in temperature, or one that is clearly better than its base.
fn replaces_its_base(candidate: &CandidateReport, report: &TuneReport) -> bool {
    let base = report.candidates.iter().find(|base| Some(&base.name) == candidate.base.as_ref());
    candidate.origin != Origin::Temperature
        || base.is_some_and(|base| is_clearly_better(candidate.score, base.score))
}

/// The one with the best score, or of those that are behind it by less than the race can tell the one with the
/// fewest tokens.
fn best_or_cheaper<'a>(candidates: &[&'a CandidateReport]) -> Option<&'a CandidateReport> {
    const EQUAL: f64 = 0.005;
    let best = candidates.iter().map(|c| c.score).max_by(f64::total_cmp)?;
    let equal = candidates.iter().filter(|c| best - c.score < EQUAL);
    let cost = |c: &CandidateReport| c.features.tokens_per_sample;
    equal.copied().min_by(|a, b| cost(a).total_cmp(&cost(b)).then(b.score.total_cmp(&a.score)))
}

/// The answers to the direct prompt of `contestant` at temperature 0; asked only where they are not there.
fn direct_answers(
    contestant: &Contestant,
    race: &Race,
    questions: usize,
    base: &mut EngineCache,
    cx: &mut Context,
) -> Result<Vec<SystemOneAnswer>> {
    let questions = &race.questions[..questions.min(race.questions.len())];
    let file = format!("candidates/{}/direct.json", contestant.name());
    let task = &contestant.entrant.task;
    let saved = race.sampler.dir.saved::<DirectAnswers>(&file)?.filter(|saved| {
        saved.answers.iter().map(|answer| &answer.question).eq(questions.iter().map(|q| &q.id))
    });
    let answers = match saved {
        Some(answers) => answers,
        None => {
            let cancel = cx.cancel.clone();
            let engine = base.engine(cx, None, &race.sampler.engine_options)?;
            let answers = ask_directly(engine, task, questions, race.sampler.seed, &cancel)?;
            race.sampler.dir.save(&file, &answers)?;
            answers
        }
    };
    Ok(answers
        .answers
        .into_iter()
        .map(|answer| SystemOneAnswer {
            question: answer.question,
            key: answer.answer.as_ref().map(|a| race.rule.key(&a.text).unwrap_or(a.key.clone())),
            text: answer.answer.map(|a| a.text),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::super::report::candidate;
    use super::*;

    #[test]
    fn the_cheapest_of_those_that_are_as_good_as_the_best_wins() {
        let with_tokens = |name: &str, score, tokens| {
            let mut made = candidate(name, score);
            made.features.tokens_per_sample = tokens;
            made
        };
        let all = [
            with_tokens("best", 0.508, 100.0),
            with_tokens("as good", 0.504, 60.0),
            with_tokens("as good as that", 0.500, 20.0),
        ];
        // As good as the second is not as good as the best, in whatever order they come.
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let chosen = best_or_cheaper(&order.map(|i| &all[i])).unwrap();
            assert_eq!(chosen.name, "as good");
        }
        assert_eq!(best_or_cheaper(&[]), None);
    }
}
