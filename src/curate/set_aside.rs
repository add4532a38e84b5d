//! Questions that cannot be asked: each is set aside with its reason, and the others go on. Where most of
//! them have the same fault, it is the task's or the file's, and the run ends with it.

use std::collections::HashMap;

use crate::{Error, Result};

/// Counts the questions that were set aside, by their reason.
#[derive(Debug, Default)]
pub struct SetAside {
    /// Reason without its numbers → how often, and the first question with its reason.
    reasons: HashMap<String, (usize, String, String)>,
}

impl SetAside {
    /// Counts `question`, one of `total`.
    ///
    /// # Errors
    /// [`Error::Input`] once more than half of the questions have the same reason.
    pub fn add(&mut self, question: &str, why: &str, total: usize) -> Result<()> {
        // The lengths of two prompts that are too long differ.
        let kind: String = why.chars().filter(|c| !c.is_ascii_digit()).collect();
        let (count, first, reason) =
            self.reasons.entry(kind).or_insert_with(|| (0, question.to_string(), why.to_string()));
        *count += 1;
        if *count * 2 <= total {
            return Ok(());
        }
        Err(match total {
            1 => Error::input(format!("question {first:?}"), reason.clone()),
            _ => Error::input(
                "questions",
                format!(
                    "more than half of the {total} questions cannot be asked, all for the same reason; \
                     of question {first:?}: {reason}"
                ),
            ),
        })
    }
}

/// The reason in `error` if it is the question's fault, such as a missing field; otherwise the error.
pub fn fault_of_question(error: Error) -> Result<String> {
    match error {
        Error::Input { reason, .. } | Error::Unsupported(reason) => Ok(reason.text),
        error => Err(error),
    }
}
