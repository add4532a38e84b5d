//! The verdict on a question that was asked in several variants: the question itself and its
//! perturbations. Each variant has its own samples and its own vote.

use serde::{Deserialize, Serialize};

use super::{StopReason, Verdict};
use crate::task::{Answer, Perturbation, UNPERTURBED};

/// The vote on one variant of a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantVote {
    /// The name of the perturbation; `none` for the question itself.
    pub perturbation: String,
    /// The answer with most votes, mapped back to an answer to the question itself.
    pub answer: Option<Answer>,
    /// The last completion of the first sample that gave this answer, if the perturbed question is
    /// trained on too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    /// Number of votes for the answer.
    pub votes: usize,
    /// Number of samples, including those without an answer.
    pub n: usize,
    /// Share of the samples that agrees, as [`Verdict::agreement`].
    pub agreement: f32,
    /// Why sampling stopped.
    pub stop: StopReason,
    /// Whether this vote alone would accept the answer.
    pub kept: bool,
}

/// Whether the vote on a variant rejects the whole question, whose own vote is `own`: the variant's
/// answer is not accepted, or it is another answer.
pub(crate) fn rejects_question(own: &Verdict, variant: &Verdict) -> bool {
    !variant.kept || key(own) != key(variant)
}

/// Combines the votes on the variants of a question into its verdict.
///
/// `votes` starts with the vote on the question itself, whose figures the verdict has. The votes on
/// `perturbations` follow in their order; they may end early. The question is accepted if all votes
/// are there and accept the same answer. `None` if `votes` is empty.
pub(crate) fn combine_variants(perturbations: &[Perturbation], mut votes: Vec<Verdict>) -> Option<Verdict> {
    let variants = votes.iter().enumerate().map(|(index, vote)| {
        let perturbation = index.checked_sub(1).and_then(|index| perturbations.get(index));
        VariantVote {
            perturbation: perturbation.map_or(UNPERTURBED, |p| &p.name).to_string(),
            answer: vote.answer.clone(),
            completion: vote.completion.clone().filter(|_| perturbation.is_some_and(|p| p.distill)),
            votes: vote.votes,
            n: vote.n,
            agreement: vote.agreement,
            stop: vote.stop,
            kept: vote.kept,
        }
    });
    let variants: Vec<VariantVote> = variants.collect();
    let own = votes.first()?;
    let perturbed = || votes[1..].iter().zip(perturbations);
    let mut faults = Vec::new();
    if !own.kept {
        faults.push(own.reason.clone());
    }
    for (vote, perturbation) in perturbed() {
        if key(own) != key(vote) {
            faults.push(format!(
                "{} says {} where the question itself says {}",
                perturbation.name,
                answer_text(vote),
                answer_text(own)
            ));
        } else if !vote.kept {
            faults.push(format!("under {}: {}", perturbation.name, vote.reason));
        }
    }
    let reason = if faults.is_empty() {
        let others = perturbed().map(|(vote, p)| format!("; under {}: {}", p.name, vote.reason));
        format!("{}{}", own.reason, others.collect::<String>())
    } else {
        faults.join("; ")
    };
    let kept = faults.is_empty() && votes.len() == perturbations.len() + 1;
    let own = votes.swap_remove(0);
    Some(if perturbations.is_empty() { own } else { Verdict { kept, reason, variants, ..own } })
}

fn key(vote: &Verdict) -> Option<&str> {
    vote.answer.as_ref().map(|answer| answer.key.as_str())
}

fn answer_text(vote: &Verdict) -> &str {
    vote.answer.as_ref().map_or("nothing", |answer| &answer.text)
}
