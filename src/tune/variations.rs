//! Variations of the best program, which enter the last round: with its own examples, and at other
//! temperatures where the time allows.
//!
//! What was made is written down, so that a resumed race enters the same.

use serde::{Deserialize, Serialize};

use super::contestant::{Contestant, Entrant, Origin};
use super::race::{Race, RoundPlan};
use super::temperature::at_other_temperatures;
use crate::task::Task;
use crate::{Error, Result};

/// The file of the variations that were made.
const FILE: &str = "variations.json";

/// `variations.json`.
#[derive(Default, Serialize, Deserialize)]
struct Variations {
    /// Of the race.
    identity: String,
    made: Vec<Variation>,
}

/// A variation of a candidate.
#[derive(Clone, Serialize, Deserialize)]
struct Variation {
    base: String,
    origin: Origin,
    /// The task as JSON.
    task: String,
}

impl Race<'_> {
    /// The last round with variations of its best program.
    pub(super) fn with_variations(&mut self, plan: RoundPlan) -> Result<RoundPlan> {
        let mut chosen: Vec<usize> = plan.candidates.iter().filter_map(|name| self.place(name)).collect();
        let Some(best) = chosen.iter().copied().find(|i| !self.contestants[*i].is_direct()) else {
            return Ok(plan);
        };
        let mut made = Vec::new();
        let base = &self.contestants[best];
        let variation = |origin: Origin, task: &Task| Variation {
            base: base.name().into(),
            origin,
            task: task.to_json(),
        };
        if self.rules.own_examples {
            let with_examples = self.with_own_examples(base)?.filter(|task| self.place(&task.name).is_none());
            made.extend(with_examples.map(|task| variation(Origin::OwnExamples, &task)));
        }
        let tasks = at_other_temperatures(&base.entrant.task);
        let is_wanted = |task: &&Task| self.rules.temperatures && self.place(&task.name).is_none();
        let temperatures: Vec<Variation> =
            tasks.iter().filter(is_wanted).map(|task| variation(Origin::Temperature, task)).collect();
        let with_examples = self.enter(&made)?;
        chosen.splice(1..1, with_examples);
        let mut plan = self.last_round(&chosen, self.rules.seconds - self.state.seconds);
        // Other temperatures may cost the finalists no question.
        let base = &self.contestants[best];
        let speed = base.speed().unwrap_or_default();
        let seconds = temperatures.len() as f64 * speed.seconds(base.samples_in(plan.extent));
        let left = self.rules.seconds - self.state.seconds - self.estimate(&chosen, plan.extent);
        if seconds <= left {
            plan.candidates.extend(temperatures.iter().filter_map(|made| Some(made.task().ok()?.name)));
            self.enter(&temperatures)?;
            made.extend(temperatures);
        }
        self.sampler.dir.save(FILE, &Variations { identity: self.state.identity.clone(), made })?;
        Ok(plan)
    }

    /// Enters what an interrupted race made.
    pub(super) fn enter_earlier_variations(&mut self) -> Result<()> {
        let saved = self.sampler.dir.saved::<Variations>(FILE)?.unwrap_or_default();
        match saved.identity == self.state.identity {
            true => self.enter(&saved.made).map(drop),
            false => Ok(()),
        }
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.contestants.iter().position(|contestant| contestant.name() == name)
    }

    /// Enters variations and returns their places.
    fn enter(&mut self, variations: &[Variation]) -> Result<Vec<usize>> {
        let mut places = Vec::new();
        for made in variations {
            let task = made.task()?;
            let missing = || Error::Internal("a variation of a candidate that is not in the race".into());
            let base = &self.contestants[self.place(&made.base).ok_or_else(missing)?].entrant;
            let entrant = Entrant {
                name: task.name.clone(),
                origin: made.origin,
                family: base.family.clone(),
                base: Some(made.base.clone()),
                task,
            };
            self.contestants.push(Contestant::open(entrant, &self.sampler, self.questions)?);
            places.push(self.contestants.len() - 1);
        }
        Ok(places)
    }
}

impl Variation {
    fn task(&self) -> Result<Task> {
        Task::from_json(&self.task, FILE)
    }
}
