//! What the stages of a run found, as numbers.

use std::mem::size_of;

use super::output::Output;
use crate::curate::Curation;
use crate::evaluate::Evaluation;
use crate::report::Report;
use crate::train::Training;

/// What curation gave. Set `struct_size` to `sizeof(sn_curation)` before the call that fills it.
/// Later versions append members.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sn_curation {
    /// The size of this struct as the caller knows it. Set by the caller.
    pub struct_size: usize,
    /// Training questions asked.
    pub questions: u64,
    /// Questions whose voted answer was accepted to learn from.
    pub kept: u64,
    /// Samples finished.
    pub samples: u64,
    /// Samples that hold no answer, those that a verifier rejected included.
    pub unparsed: u64,
    /// Prompt tokens of all samples, as if none were shared.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Seconds spent sampling, over all calls that the run took.
    pub seconds: f64,
    /// Share of the accepted answers that equal the gold answer, 0 to 1; NaN without gold answers.
    pub precision: f64,
    /// Questions that were not sampled, since their prompts are too long or cannot be rendered.
    pub set_aside: u64,
    /// Samples whose answer was read from the closing turn.
    pub read_by_closing: u64,
    /// Pairs of different answers of which the model judged whether they mean the same.
    pub judged_pairs: u64,
}

/// What training gave. Set `struct_size` to `sizeof(sn_training)` before the call that fills it.
/// Later versions append members.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sn_training {
    /// The size of this struct as the caller knows it. Set by the caller.
    pub struct_size: usize,
    /// Examples trained on.
    pub examples: u64,
    /// Examples held out to choose the best moment.
    pub held_out: u64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Tokens fed, as the examples count them.
    pub tokens: u64,
    /// Passes over the examples, of the adapter that was chosen.
    pub epochs: f64,
    /// Seconds spent training.
    pub seconds: f64,
    /// Loss per target token of the first step, in nats.
    pub loss_first: f64,
    /// Loss per target token of the last step, in nats.
    pub loss_last: f64,
    /// The lowest loss on held-out examples, that of the adapter chosen; NaN where none are held out.
    pub held_out_loss: f64,
}

/// What an evaluation measured. Set `struct_size` to `sizeof(sn_evaluation)` before the call that
/// fills it. Shares are 0 to 1. Later versions append members.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sn_evaluation {
    /// The size of this struct as the caller knows it. Set by the caller.
    pub struct_size: usize,
    /// Questions measured on.
    pub n: u64,
    /// Not 0: accuracy is the share that equals the gold answer. 0: the questions have none, and
    /// accuracy is the share that equals the base model's vote.
    pub against_gold: i32,
    /// Not 0: the adapter is worth using. Its direct answers are better than the base model's, and than
    /// always giving the same answer, by more than chance explains.
    pub worthwhile: i32,
    /// Accuracy of the base model asked directly.
    pub system1_accuracy: f64,
    /// Accuracy of the base model's vote after reasoning.
    pub system2_accuracy: f64,
    /// Accuracy of the base model with the adapter, asked directly.
    pub distilled_accuracy: f64,
    /// Tokens generated for each answer of the base model asked directly.
    pub system1_tokens: f64,
    /// Tokens generated for each vote, those of all its samples.
    pub system2_tokens: f64,
    /// Tokens generated for each answer of the base model with the adapter.
    pub distilled_tokens: f64,
    /// McNemar's exact two-sided p of the distilled model against the base model asked directly.
    pub mcnemar_p: f64,
    /// Accuracy of always giving the most frequent answer, the least an adapter must beat; NaN without
    /// gold answers.
    pub constant_accuracy: f64,
    /// The probability from which the distilled model answers directly and below which it reasons,
    /// chosen on held-out training questions; NaN where none could be chosen, as the next three are.
    pub fallback_threshold: f64,
    /// Share of the questions that are answered directly with that threshold.
    pub fallback_coverage: f64,
    /// Accuracy with that threshold.
    pub fallback_accuracy: f64,
    /// Tokens generated for each answer with that threshold.
    pub fallback_tokens: f64,
    /// Questions that count for nothing, since their prompts are too long or cannot be rendered.
    pub set_aside: u64,
}

/// What sn_distill() came to; everything else is in the JSON text beside it. Set `struct_size` to
/// `sizeof(sn_report)` before the call. Later versions append members.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sn_report {
    /// The size of this struct as the caller knows it. Set by the caller.
    pub struct_size: usize,
    /// Not 0: the adapter is worth using. 0: it is not, or `force` made it where it would have been
    /// refused; the JSON text says why under "decision".
    pub worthwhile: i32,
    /// 0.
    pub reserved: u32,
    /// Training questions asked.
    pub questions: u64,
    /// Questions whose voted answer was accepted to learn from.
    pub kept: u64,
    /// Held-out questions measured on; 0 where there were none.
    pub n: u64,
    /// As in sn_evaluation; NaN where nothing was measured, as the next six are.
    pub system1_accuracy: f64,
    pub system2_accuracy: f64,
    pub distilled_accuracy: f64,
    pub system1_tokens: f64,
    pub system2_tokens: f64,
    pub distilled_tokens: f64,
    pub mcnemar_p: f64,
}

// SAFETY: numbers of eight bytes, the size first, and two of four together.
unsafe impl Output for sn_curation {
    const FIRST_SIZE: usize = size_of::<sn_curation>();
}

// SAFETY: numbers of eight bytes, the size first, and two of four together.
unsafe impl Output for sn_training {
    const FIRST_SIZE: usize = size_of::<sn_training>();
}

// SAFETY: numbers of eight bytes, the size first, and two of four together.
unsafe impl Output for sn_evaluation {
    const FIRST_SIZE: usize = size_of::<sn_evaluation>();
}

// SAFETY: numbers of eight bytes, the size first, and two of four together.
unsafe impl Output for sn_report {
    const FIRST_SIZE: usize = size_of::<sn_report>();
}

impl From<&Curation> for sn_curation {
    fn from(found: &Curation) -> sn_curation {
        sn_curation {
            struct_size: size_of::<sn_curation>(),
            questions: found.questions as u64,
            kept: found.kept as u64,
            samples: found.samples as u64,
            unparsed: found.unparsed as u64,
            prompt_tokens: found.prompt_tokens as u64,
            generated_tokens: found.generated_tokens as u64,
            seconds: found.seconds,
            precision: found.precision.unwrap_or(f64::NAN),
            set_aside: found.set_aside as u64,
            read_by_closing: found.read_by_closing as u64,
            judged_pairs: found.equivalences.as_ref().map_or(0, |judged| judged.judged as u64),
        }
    }
}

impl From<&Training> for sn_training {
    fn from(found: &Training) -> sn_training {
        sn_training {
            struct_size: size_of::<sn_training>(),
            examples: found.examples as u64,
            held_out: found.held_out as u64,
            steps: found.steps,
            tokens: found.tokens,
            epochs: found.epochs,
            seconds: found.seconds,
            loss_first: found.loss_first,
            loss_last: found.loss_last,
            held_out_loss: found.held_out_loss.unwrap_or(f64::NAN),
        }
    }
}

impl From<&Evaluation> for sn_evaluation {
    fn from(found: &Evaluation) -> sn_evaluation {
        let fallback = found.fallback.as_ref();
        let constant = found.constant.as_ref();
        sn_evaluation {
            struct_size: size_of::<sn_evaluation>(),
            n: found.n as u64,
            against_gold: (found.against == "gold").into(),
            worthwhile: found.worthwhile.into(),
            system1_accuracy: found.system1.accuracy,
            system2_accuracy: found.system2.accuracy,
            distilled_accuracy: found.distilled.accuracy,
            system1_tokens: found.system1.tokens_per_answer,
            system2_tokens: found.system2.tokens_per_answer,
            distilled_tokens: found.distilled.tokens_per_answer,
            mcnemar_p: found.mcnemar_p,
            constant_accuracy: constant.map_or(f64::NAN, |constant| constant.accuracy),
            fallback_threshold: fallback.map_or(f64::NAN, |fallback| fallback.threshold),
            fallback_coverage: fallback.map_or(f64::NAN, |fallback| fallback.coverage),
            fallback_accuracy: fallback.map_or(f64::NAN, |fallback| fallback.accuracy),
            fallback_tokens: fallback.map_or(f64::NAN, |fallback| fallback.tokens_per_answer),
            set_aside: found.set_aside as u64,
        }
    }
}

impl From<&Report> for sn_report {
    fn from(found: &Report) -> sn_report {
        let measured = found.evaluation.as_ref().map(sn_evaluation::from);
        let figure = |of: fn(&sn_evaluation) -> f64| measured.as_ref().map_or(f64::NAN, of);
        sn_report {
            struct_size: size_of::<sn_report>(),
            worthwhile: found.decision.as_ref().is_some_and(|decision| decision.distill).into(),
            reserved: 0,
            questions: found.curation.as_ref().map_or(0, |curation| curation.questions as u64),
            kept: found.curation.as_ref().map_or(0, |curation| curation.kept as u64),
            n: measured.as_ref().map_or(0, |measured| measured.n),
            system1_accuracy: figure(|measured| measured.system1_accuracy),
            system2_accuracy: figure(|measured| measured.system2_accuracy),
            distilled_accuracy: figure(|measured| measured.distilled_accuracy),
            system1_tokens: figure(|measured| measured.system1_tokens),
            system2_tokens: figure(|measured| measured.system2_tokens),
            distilled_tokens: figure(|measured| measured.distilled_tokens),
            mcnemar_p: figure(|measured| measured.mcnemar_p),
        }
    }
}
