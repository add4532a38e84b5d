//! One question asked in several perturbed: each perturbation is a variant with its own samples and vote, and
//! the answer is trusted where all variants agree.

use serde::{Deserialize, Serialize};

use super::{StopReason, Verdict};
use crate::task::{Answer, Perturbation, UNPERTURBED};

/// The vote on one perturbation of a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantVote {
    /// The perturbation's name; `none` is the question itself.
    pub perturbation: String,
    /// The answer with most votes, as it answers the question itself.
    pub answer: Option<Answer>,
    /// What the first sample that gave it wrote, where this perturbation is trained on too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    /// Its votes.
    pub votes: usize,
    /// Samples, those without an answer included.
    pub n: usize,
    /// As [`Verdict::agreement`].
    pub agreement: f32,
    /// Why sampling stopped.
    pub stop: StopReason,
    /// Whether this vote alone would be kept.
    pub kept: bool,
}

/// Whether a variant settles that its question is not kept: its own vote is dropped, or it says
/// something else than the question itself.
pub fn rejects_question(own: &Verdict, variant: &Verdict) -> bool {
    !variant.kept || key(own) != key(variant)
}

/// The verdict on a question from those on its perturbed, the question itself first, then as many of
/// `perturbations`, in order, as were asked. Its counts are those of the question itself.
pub fn combine_variants(perturbations: &[Perturbation], mut votes: Vec<Verdict>) -> Option<Verdict> {
    let variants = votes.iter().enumerate().map(|(at, vote)| {
        let perturbation = at.checked_sub(1).and_then(|at| perturbations.get(at));
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
                said(vote),
                said(own)
            ));
        } else if !vote.kept {
            faults.push(format!("under {}: {}", perturbation.name, vote.reason));
        }
    }
    let agreed = || {
        let perturbed =
            perturbed().map(|(vote, perturbation)| format!("; under {}: {}", perturbation.name, vote.reason));
        format!("{}{}", own.reason, perturbed.collect::<String>())
    };
    let reason = if faults.is_empty() { agreed() } else { faults.join("; ") };
    let kept = faults.is_empty() && votes.len() == perturbations.len() + 1;
    let own = votes.swap_remove(0);
    match perturbations {
        [] => Some(own),
        _ => Some(Verdict { kept, reason, variants, ..own }),
    }
}

fn key(vote: &Verdict) -> Option<&str> {
    vote.answer.as_ref().map(|answer| answer.key.as_str())
}

fn said(vote: &Verdict) -> &str {
    vote.answer.as_ref().map_or("nothing", |answer| &answer.text)
}
