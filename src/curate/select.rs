//! Selections of a universal vote: the model reads its own responses and picks the one that agrees most
//! with the others (Chen et al., *Universal Self-Consistency for Large Language Model Generation*,
//! 2023).
//!
//! Each selection shows the responses in another order. Small models prefer the first number; in one
//! fixed order, that preference would count as agreement.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::SelectionCost;
use crate::Result;
use crate::engine::{Completion, Message, Request, Sampling};
use crate::task::{Answer, Question, Step, Task, read_number};
use crate::vote::Tally;

/// Enough for a number and the end of the turn.
const MAX_TOKENS: usize = 8;

/// A finished selection: a line of `selections.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectionRecord {
    /// The question's id.
    pub question: String,
    /// The name of the perturbation that was asked; `none` for the question itself.
    pub perturbation: String,
    /// The selection's index among those of the variant, from 0.
    pub index: usize,
    /// The seed of its call.
    pub seed: u64,
    /// The indices of the samples whose responses were shown, in the order in which they were shown.
    pub shown: Vec<usize>,
    /// The completion.
    pub text: String,
    /// The index of the picked sample; `None` if the completion names no response.
    pub picked: Option<usize>,
    /// Number of tokens of the prompt.
    pub prompt_tokens: usize,
    /// Number of tokens generated.
    pub generated_tokens: usize,
}

/// A response that can be picked.
pub struct Response {
    /// The sample's index.
    pub sample: usize,
    pub answer: Answer,
    pub text: String,
}

/// A selection that was requested from the engine.
pub struct PendingSelection {
    /// The place of its variant in the driver.
    pub variant: usize,
    pub index: usize,
    pub seed: u64,
    /// The samples in the order in which the prompt shows their responses.
    pub shown: Vec<usize>,
}

impl PendingSelection {
    /// The record of this selection, with its completion.
    pub fn finish(self, question: &str, perturbation: &str, completion: Completion) -> SelectionRecord {
        SelectionRecord {
            question: question.into(),
            perturbation: perturbation.into(),
            index: self.index,
            seed: self.seed,
            picked: read_number(&completion.text, self.shown.len()).map(|number| self.shown[number - 1]),
            shown: self.shown,
            text: completion.text,
            prompt_tokens: completion.prompt_tokens,
            generated_tokens: completion.generated_tokens,
        }
    }
}

/// The selections of one variant of a question.
pub struct SelectionRound {
    responses: Vec<Response>,
    wanted: usize,
    next: usize,
    finished: BTreeMap<usize, SelectionRecord>,
}

impl SelectionRound {
    /// A round of `wanted` selections. Of `earlier` it takes over those that chose among the same
    /// responses: a run that resumes with more samples selects again.
    pub fn new(responses: Vec<Response>, earlier: Vec<SelectionRecord>, wanted: usize) -> SelectionRound {
        let mut selecting = SelectionRound { responses, wanted, next: 0, finished: BTreeMap::new() };
        let now: Vec<usize> = selecting.responses.iter().map(|response| response.sample).collect();
        for selection in earlier.into_iter().filter(|selection| selection.index < wanted) {
            let mut then = selection.shown.clone();
            then.sort_unstable();
            if then == now {
                selecting.finished.entry(selection.index).or_insert(selection);
            }
        }
        selecting
    }

    pub fn is_done(&self) -> bool {
        self.finished.len() >= self.wanted
    }

    /// The index of the next selection to ask for.
    pub fn next(&mut self) -> Option<usize> {
        let index = (self.next..self.wanted).find(|index| !self.finished.contains_key(index))?;
        self.next = index + 1;
        Some(index)
    }

    /// Whether [`SelectionRound::next`] returns an index.
    pub fn has_next(&self) -> bool {
        (self.next..self.wanted).any(|index| !self.finished.contains_key(&index))
    }

    /// The order in which a selection with this seed shows the responses, as sample indices.
    pub fn order(&self, seed: u64) -> Vec<usize> {
        let mut order: Vec<usize> = self.responses.iter().map(|response| response.sample).collect();
        order.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
        order
    }

    /// The request of a selection that shows the responses of the samples `shown`, in that order.
    pub fn request(
        &self,
        id: u64,
        task: &Task,
        question: &Question,
        shown: &[usize],
        seed: u64,
    ) -> Result<Request> {
        let text =
            |sample: &usize| self.responses.iter().find(|r| r.sample == *sample).map(|r| r.text.as_str());
        let texts: Vec<&str> = shown.iter().filter_map(text).collect();
        let prompt = task.vote.select_prompt.render(question, &texts)?;
        let messages = vec![Message::user(&prompt)];
        let sampling = sampling(task.system2.last().unwrap_or(&task.system1), texts.len());
        Ok(Request { id, messages, thinking: false, sampling, seed })
    }

    pub fn take(&mut self, selection: SelectionRecord) {
        self.finished.entry(selection.index).or_insert(selection);
    }

    /// The tally of the answers of the picked responses.
    pub fn picks(&self) -> Tally {
        let mut tally = Tally::new();
        self.finished.values().for_each(|s| tally.add(self.picked(s).map(|response| &response.answer)));
        tally
    }

    /// Of the responses with this answer, the one that was picked most often; the first in a tie.
    pub fn best_of(&self, key: &str) -> Option<String> {
        let times = |r: &Response| self.finished.values().filter(|s| s.picked == Some(r.sample)).count();
        let candidates = self.responses.iter().filter(|response| response.answer.key == key);
        candidates.rev().max_by_key(|response| times(response)).map(|response| response.text.clone())
    }

    /// The tokens that the selections took.
    pub fn costs(&self, variant: usize) -> Vec<SelectionCost> {
        let cost = |s: &SelectionRecord| SelectionCost {
            variant,
            prompt_tokens: s.prompt_tokens,
            generated_tokens: s.generated_tokens,
        };
        self.finished.values().map(cost).collect()
    }

    fn picked(&self, selection: &SelectionRecord) -> Option<&Response> {
        self.responses.iter().find(|response| Some(response.sample) == selection.picked)
    }
}

/// The parameters that sample a number in `1..=max` at the temperature of `last`, the last step of the
/// program.
fn sampling(last: &Step, max: usize) -> Sampling {
    Sampling {
        temperature: last.temperature,
        max_tokens: MAX_TOKENS,
        choices: (1..=max).map(|number| number.to_string()).collect(),
        ..Sampling::default()
    }
}
