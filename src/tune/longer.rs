//! A program that is often cut off runs the last round with twice the room in its last step.
//!
//! A completion that is cut has an answer only if nothing could have changed it, so a program that reasons
//! well but at length loses votes. What was not cut is what the longer program would have said as well, and
//! is not sampled again.

use super::contestant::{Contestant, SamplingTime};
use super::features::Features;
use super::race::Race;
use crate::Result;
use crate::curate::Sample;
use crate::engine::Finish;
use crate::run::Journal;
use crate::task::Task;

/// The share of a program's samples that are cut from which on it gets more room, and from which on it is not
/// reasoning that lacks an end.
const CUT: [f64; 2] = [0.1, 0.9];
/// How the names of these variations end.
const ENDING: &str = ".longer";

/// Whether a program with these features is often cut off.
pub fn is_cut_off(features: &Features) -> bool {
    (CUT[0]..CUT[1]).contains(&features.cut)
}

/// `task` with twice the room in its last step; `None` where no task file would allow it.
pub fn with_more_room(task: &Task) -> Option<Task> {
    let mut varied = task.clone();
    varied.name = format!("{}{ENDING}", task.name);
    varied.system2.last_mut()?.max_tokens *= 2;
    Task::from_json(&varied.to_json(), &varied.name).ok()
}

impl Race<'_> {
    /// Hands the samples of `base` that were not cut to its longer variation, unless that has samples already.
    pub(super) fn hand_on_whole_samples(&self, base: &Contestant, longer: &mut Contestant) -> Result<()> {
        let (mut journal, mut earlier) = Journal::<Sample>::open(self.sampler.dir.file(&longer.journal()))?;
        if earlier.next().is_some() {
            return Ok(());
        }
        let (mut samples, mut tokens) = (0, 0);
        for sample in Journal::<Sample>::read(self.sampler.dir.file(&base.journal()))? {
            let sample = sample?;
            let question = self.questions.iter().find(|question| question.id == sample.question);
            let Some(question) = question.filter(|_| sample.finish != Finish::Length) else { continue };
            journal.append(&sample)?;
            samples += 1;
            tokens += sample.steps.iter().map(|step| step.generated_tokens).sum::<usize>();
            longer.take_over(sample, question);
        }
        // They took the part of the time that is theirs by their tokens.
        let seconds = base.time.seconds * tokens as f64 / base.time.tokens.max(1) as f64;
        longer.time = SamplingTime { seconds, samples, tokens };
        journal.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_often_cut_off_gets_twice_the_room_in_its_last_step() {
        let task = Task::load("s2a").unwrap();
        let features = |cut| Features { cut, ..Features::default() };
        assert!(is_cut_off(&features(0.2)) && !is_cut_off(&features(0.05)) && !is_cut_off(&features(1.0)));
        let longer = with_more_room(&task).unwrap();
        assert_eq!(longer.name, "s2a.longer");
        let room = |task: &Task| task.system2.iter().map(|step| step.max_tokens).collect::<Vec<_>>();
        let (was, is) = (room(&task), room(&longer));
        assert_eq!((is[0], is[1]), (was[0], 2 * was[1]));
    }
}
