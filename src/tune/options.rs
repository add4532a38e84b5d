//! How a program is chosen.

use crate::context::EngineOptions;
use crate::options::{Range, options};

options! {
    /// How to choose a program.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct TuneOptions: "Choosing" {
        /// Minutes that choosing may take. Rounds are planned from the measured speed.
        minutes: f64 = 20.0, { range: Range::above(0.0), placeholder: "M" };
        /// Number of questions on which the finalists are compared.
        n_questions: usize = 48, { range: Range::closed(2.0, 100000.0) };
        /// Maximum number of samples of a question in the race, which takes no more than a task's vote has.
        samples: Option<usize> = None, { range: Range::closed(1.0, 1000.0), unset: "the task's" };
        /// Number of programs in the last round.
        finalists: usize = 3, { range: Range::closed(1.0, 64.0) };
        /// Number of wordings that the model itself writes, from questions on which the samples disagree.
        propose: usize = 0, { range: Range::closed(0.0, 64.0) };
        /// Leave out the variation that shows the best program its own unanimous samples as examples.
        no_own_examples: bool = false, {};
        /// Leave out the variations of the best program at other temperatures.
        no_temperatures: bool = false, {};
        /// Race the given tasks, and the programs of the given methods, alone, without the rest of the
        /// library.
        only_given: bool = false, {};
        /// Sample every candidate on all questions, whatever that takes: to measure candidates and scores.
        keep_all: bool = false, {};
    }
    with {
        /// The engine.
        engine: EngineOptions,
    }
}
