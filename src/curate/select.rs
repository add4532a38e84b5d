//! Selections: the model is shown its own responses and picks the one that agrees most with the
//! others (universal self-consistency; Chen et al., *Universal Self-Consistency for Large Language
//! Model Generation*, 2023).
//!
//! Each selection sees the responses in an order of its own. Small models like the first number, and
//! a vote of selections in one fixed order would take that for agreement.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::SelectionCost;
use crate::Result;
use crate::engine::{Completion, Message, Request, Sampling};
use crate::task::{Answer, Question, Step, Task, read_number};
use crate::vote::Tally;

/// A number, and the end of the turn.
const MAX_TOKENS: usize = 8;

/// A finished selection: a line of `selections.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectionRecord {
    /// The question's id.
    pub question: String,
    /// Which perturbation of the question was asked; `none` is the question itself.
    pub perturbation: String,
    /// Its index among the selections, from 0.
    pub index: usize,
    /// Its seed.
    pub seed: u64,
    /// The samples whose responses were shown, by index, in the order they were shown.
    pub shown: Vec<usize>,
    /// What the model wrote.
    pub text: String,
    /// The sample it picked, by index; none where it named no response.
    pub picked: Option<usize>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens sampled.
    pub generated_tokens: usize,
}

/// A response that can be picked.
pub struct Response {
    /// The sample's index.
    pub sample: usize,
    pub answer: Answer,
    pub text: String,
}

/// The selections of one variant, under way.
pub struct SelectionRound {
    responses: Vec<Response>,
    wanted: usize,
    next: usize,
    finished: BTreeMap<usize, SelectionRecord>,
}

impl SelectionRound {
    /// Counts those of `earlier` that chose among the same responses: a run that is resumed with
    /// more samples selects anew.
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

    /// Whether [`SelectionRound::next`] has one.
    pub fn has_next(&self) -> bool {
        (self.next..self.wanted).any(|index| !self.finished.contains_key(&index))
    }

    /// The order in which a selection shows the responses: samples by index.
    pub fn order(&self, seed: u64) -> Vec<usize> {
        let mut order: Vec<usize> = self.responses.iter().map(|response| response.sample).collect();
        order.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
        order
    }

    /// The request that shows them so.
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

    /// The vote of the selections on the answers of what they picked.
    pub fn picks(&self) -> Tally {
        let mut tally = Tally::new();
        self.finished.values().for_each(|s| tally.add(self.picked(s).map(|response| &response.answer)));
        tally
    }

    /// The response with this answer that was picked most often; the first of several.
    pub fn best_of(&self, key: &str) -> Option<String> {
        let times = |r: &Response| self.finished.values().filter(|s| s.picked == Some(r.sample)).count();
        let candidates = self.responses.iter().filter(|response| response.answer.key == key);
        candidates.rev().max_by_key(|response| times(response)).map(|response| response.text.clone())
    }

    /// What the selections took.
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

impl SelectionRecord {
    /// What `completion` of a selection that showed `shown` says.
    pub fn of(
        question: &str,
        perturbation: &str,
        (index, seed): (usize, u64),
        shown: Vec<usize>,
        completion: Completion,
    ) -> SelectionRecord {
        SelectionRecord {
            question: question.into(),
            perturbation: perturbation.into(),
            index,
            seed,
            picked: read_number(&completion.text, shown.len()).map(|number| shown[number - 1]),
            shown,
            text: completion.text,
            prompt_tokens: completion.prompt_tokens,
            generated_tokens: completion.generated_tokens,
        }
    }
}

/// A number of `1..=most`, at the temperature of `last`, the last step of the program.
fn sampling(last: &Step, most: usize) -> Sampling {
    Sampling {
        temperature: last.temperature,
        max_tokens: MAX_TOKENS,
        choices: (1..=most).map(|number| number.to_string()).collect(),
        ..Sampling::default()
    }
}
