//! Variations of the best program in temperature, and how they are compared with it.
//!
//! At a lower temperature samples agree more, without being right more often, and so do they with the votes
//! of other candidates. The score would always prefer the lowest. A variation in temperature therefore has
//! the self-agreement of its base, and in all else the difference between the two is that of their votes, a
//! vote for each question: it is better by as much as more of its votes are confirmed by the others (or are
//! right, of questions with gold). It replaces its base only where that is a clear difference.

use super::features::{Features, features};
use super::race::Race;
use super::votes::{AnswerVotes, CandidateVotes, QuestionVotes};
use crate::task::Task;

/// The temperatures, and how the names of the variations end.
const COOL: f32 = 0.4;
const WARM: f32 = 1.0;
/// A score that is higher by less than this is none to change the temperature for: about one vote of forty.
const CLEAR: f64 = 0.02;

/// `task` with all its steps that vary between samples at a lower and at a higher temperature, where that
/// changes anything.
pub fn at_other_temperatures(task: &Task) -> Vec<Task> {
    let at = |ending: &str, change: &dyn Fn(f32) -> f32| {
        let mut varied = task.clone();
        varied.name = format!("{}{ending}", task.name);
        for step in varied.system2.iter_mut().filter(|step| step.temperature > 0.0) {
            step.temperature = change(step.temperature);
        }
        (varied.system2 != task.system2).then_some(varied)
    };
    at(".cooler", &|t| t.min(COOL)).into_iter().chain(at(".warmer", &|t| t.max(WARM))).collect()
}

/// Whether the score of a variation in temperature is clearly higher than that of its base.
pub fn is_clearly_better(variation: f64, base: f64) -> bool {
    variation >= base + CLEAR
}

impl Race<'_> {
    /// Whether candidate `base` is what candidate `variation` is a variation in temperature of.
    pub(super) fn is_base_of(&self, base: usize, variation: usize) -> bool {
        let (base, variation) = (&self.contestants[base], &self.contestants[variation]);
        variation.entrant.base.as_ref() == Some(&base.entrant.name)
    }

    /// The features of a variation in temperature with these votes. `of_base` are those of its base, which is
    /// in place `base` of `others`, the votes of all candidates but such variations.
    pub(super) fn features_at_temperature(
        &self,
        of_base: &Features,
        base: usize,
        others: &[CandidateVotes],
        votes: &CandidateVotes,
    ) -> Features {
        let in_place = |votes: CandidateVotes| {
            let mut all = others.to_vec();
            all[base] = votes;
            features(&all).swap_remove(base)
        };
        let own = in_place(votes.clone());
        let (base_votes, its_votes) = (decided(&others[base]), decided(votes));
        let gold = [self.by_gold(&base_votes).0, self.by_gold(&its_votes).0];
        let [was, is] = [base_votes, its_votes].map(in_place);
        let moved = |base: f64, was: f64, is: f64| (base + is - was).clamp(0.0, 1.0);
        Features {
            agreement: of_base.agreement,
            chance: of_base.chance,
            consistency: of_base.consistency,
            information: of_base.information,
            stability: of_base.stability,
            consensus: moved(of_base.consensus, was.consensus, is.consensus),
            plain_consensus: moved(of_base.plain_consensus, was.plain_consensus, is.plain_consensus),
            reasoned_consensus: moved(
                of_base.reasoned_consensus,
                was.reasoned_consensus,
                is.reasoned_consensus,
            ),
            direct_agreement: moved(of_base.direct_agreement, was.direct_agreement, is.direct_agreement),
            verbatim: moved(of_base.verbatim, was.verbatim, is.verbatim),
            vote_consensus: moved(of_base.vote_consensus, was.vote_consensus, is.vote_consensus),
            opinion: moved(of_base.opinion, was.opinion, is.opinion),
            outside: moved(of_base.outside, was.outside, is.outside),
            gold_accuracy: match (of_base.gold_accuracy, gold) {
                (Some(base), [Some(was), Some(is)]) => Some(moved(base, was, is)),
                (base, _) => base,
            },
            gold_questions: of_base.gold_questions,
            ..own
        }
    }
}

/// The votes of a candidate as if each question had one sample: its leading answer, or in equal parts those
/// that lead together.
fn decided(votes: &CandidateVotes) -> CandidateVotes {
    let decide = |votes: &QuestionVotes| {
        let most = votes.leader().map_or(0, |leader| leader.votes);
        let leading = votes.answers.iter().filter(|answer| answer.votes == most);
        let answers: Vec<AnswerVotes> =
            leading.map(|a| AnswerVotes { votes: 1, samples: Vec::new(), ..a.clone() }).collect();
        QuestionVotes { n: answers.len().max(1), answers, ..votes.clone() }
    };
    CandidateVotes { questions: votes.questions.iter().map(decide).collect(), ..votes.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_steps_that_vary_change_their_temperature() {
        let mut task = Task::load("s2a").unwrap();
        let temperatures = |task: &Task| task.system2.iter().map(|s| s.temperature).collect::<Vec<_>>();
        (task.system2[0].temperature, task.system2[1].temperature) = (0.7, 0.0);
        let varied = at_other_temperatures(&task);
        assert_eq!(varied.iter().map(temperatures).collect::<Vec<_>>(), [[0.4, 0.0], [1.0, 0.0]]);
        assert_eq!(varied[0].name, format!("{}.cooler", task.name));
        task.system2[0].temperature = 0.3;
        let varied = at_other_temperatures(&task);
        assert_eq!(varied.iter().map(temperatures).collect::<Vec<_>>(), [[1.0, 0.0]]);
        task.system2[0].temperature = 0.0;
        assert!(at_other_temperatures(&task).is_empty());
    }

    #[test]
    fn a_vote_is_decided_by_its_leaders() {
        let answer = |key: &str, votes| AnswerVotes { key: key.into(), votes, ..AnswerVotes::default() };
        let question = |answers| QuestionVotes { n: 8, answers, ..QuestionVotes::default() };
        let votes = CandidateVotes {
            questions: vec![
                question(vec![answer("a", 5), answer("b", 3)]),
                question(vec![answer("a", 3), answer("b", 3)]),
                question(vec![]),
            ],
            ..CandidateVotes::default()
        };
        let decided = decided(&votes);
        let shares = |k: usize| decided.questions[k].shares().map(|(_, share)| share).collect::<Vec<_>>();
        assert_eq!((shares(0), shares(1), shares(2)), (vec![1.0], vec![0.5, 0.5], vec![]));
        assert_eq!(decided.questions[2].n, 1);
    }
}
