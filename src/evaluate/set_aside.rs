//! Held-out questions that some way of answering could not be asked. They count for none, so that all are
//! measured on the same questions.

use super::{DirectAnswers, PerturbedAnswers, Reasoned};
use crate::task::Question;

/// Questions that every way of answering was asked, with their answers.
pub struct Counted {
    pub questions: Vec<Question>,
    pub direct: Vec<DirectAnswers>,
    pub reasoned: Reasoned,
}

impl Counted {
    pub fn of(questions: &[Question], direct: &[&DirectAnswers], reasoned: &Reasoned) -> Counted {
        let was_asked = |i: usize| {
            let directly = direct.iter().all(|asked| {
                let own = asked.answers.get(i);
                let perturbed = asked.perturbed.iter().filter_map(|under| under.answers.get(i));
                own.into_iter().chain(perturbed).all(|answer| answer.set_aside.is_none())
            });
            directly && reasoned.outcomes.get(i).is_none_or(|outcome| outcome.verdict.set_aside.is_none())
        };
        let counts: Vec<bool> = (0..questions.len()).map(was_asked).collect();
        let directly = |asked: &&DirectAnswers| DirectAnswers {
            answers: only(&counts, &asked.answers),
            seconds: asked.seconds,
            perturbed: asked
                .perturbed
                .iter()
                .map(|under| PerturbedAnswers {
                    perturbation: under.perturbation.clone(),
                    answers: only(&counts, &under.answers),
                })
                .collect(),
        };
        Counted {
            questions: only(&counts, questions),
            direct: direct.iter().map(directly).collect(),
            reasoned: Reasoned { outcomes: only(&counts, &reasoned.outcomes), seconds: reasoned.seconds },
        }
    }
}

fn only<T: Clone>(counts: &[bool], all: &[T]) -> Vec<T> {
    all.iter().zip(counts).filter(|(_, counts)| **counts).map(|(item, _)| item.clone()).collect()
}
