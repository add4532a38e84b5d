//! Variations of programs for the last round: those that are often cut off get more room; the best takes part with
//! its own examples as well, and at other temperatures where the time allows.
//!
//! What was made is written down, so that a resumed race enters the same.

use serde::{Deserialize, Serialize};

use super::contestant::{Contestant, Entrant, Origin};
use super::longer::{is_cut_off, with_more_room};
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
    /// The last round with variations of its programs.
    pub(super) fn with_variations(&mut self, plan: RoundPlan) -> Result<RoundPlan> {
        let mut chosen: Vec<usize> = plan.candidates.iter().filter_map(|name| self.place(name)).collect();
        let Some(best) = chosen.iter().position(|i| !self.contestants[*i].is_direct()) else {
            return Ok(plan);
        };
        let examples = match self.rules.own_examples {
            true => self.with_own_examples(&self.contestants[chosen[best]])?,
            false => None,
        };
        let mut made = Vec::new();
        for (at, longer) in self.longer(&chosen) {
            chosen[at] = self.enter(std::slice::from_ref(&longer))?[0];
            made.push(longer);
        }
        let base = &self.contestants[chosen[best]];
        let is_new = |task: &Task| self.place(&task.name).is_none();
        let variation = |origin, task: &Task| Variation::of(base, origin, task);
        let examples = examples.map(|task| match base.entrant.origin {
            Origin::Longer => with_more_room(&task).unwrap_or(task),
            _ => task,
        });
        let examples = examples.filter(is_new).map(|task| variation(Origin::OwnExamples, &task));
        let tasks = at_other_temperatures(&base.entrant.task);
        let is_wanted = |task: &&Task| self.rules.temperatures && is_new(task);
        let temperatures: Vec<Variation> =
            tasks.iter().filter(is_wanted).map(|task| variation(Origin::Temperature, task)).collect();
        let base = chosen[best];
        if let Some(examples) = examples {
            chosen.insert(best + 1, self.enter(std::slice::from_ref(&examples))?[0]);
            made.push(examples);
        }
        let mut plan = self.last_round(&chosen, self.rules.seconds - self.state.seconds);
        // Other temperatures may cost the finalists no question.
        let base = &self.contestants[base];
        let speed = base.speed().unwrap_or(self.usual_speed());
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

    /// The longer variations of the programs among `chosen` that are often cut off, with their places there.
    fn longer(&self, chosen: &[usize]) -> Vec<(usize, Variation)> {
        let features = self.features();
        let longer = chosen.iter().enumerate().filter_map(|(at, i)| {
            let base = &self.contestants[*i];
            let task = with_more_room(&base.entrant.task)?;
            let is_wanted =
                !base.is_direct() && is_cut_off(&features[*i]) && self.place(&task.name).is_none();
            is_wanted.then(|| (at, Variation::of(base, Origin::Longer, &task)))
        });
        longer.collect()
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
            let of_base = self.place(&made.base).ok_or_else(missing)?;
            let base = &self.contestants[of_base].entrant;
            let entrant = Entrant {
                name: task.name.clone(),
                origin: made.origin,
                family: base.family.clone(),
                base: Some(made.base.clone()),
                task,
            };
            let mut contestant = Contestant::open(entrant, &self.sampler, self.questions)?;
            if made.origin == Origin::Longer {
                self.hand_on_whole_samples(&self.contestants[of_base], &mut contestant)?;
            }
            self.contestants.push(contestant);
            places.push(self.contestants.len() - 1);
        }
        Ok(places)
    }
}

impl Variation {
    fn of(base: &Contestant, origin: Origin, task: &Task) -> Variation {
        Variation { base: base.name().into(), origin, task: task.to_json() }
    }

    fn task(&self) -> Result<Task> {
        Task::from_json(&self.task, FILE)
    }
}
