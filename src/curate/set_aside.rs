//! Questions that cannot be asked: each is set aside with its reason, and the others go on. Where most of
//! them have the same fault, it is the task's or the file's, and the run ends with it.

use std::collections::HashMap;

use crate::{Error, Result};

/// Counts the questions that were set aside, by their reason.
#[derive(Debug, Default)]
pub struct SetAside {
    /// Reason without its numbers and quotations → how often, and the first question with its reason.
    reasons: HashMap<String, (usize, String, String)>,
}

impl SetAside {
    /// Counts `question`, one of `total`.
    ///
    /// # Errors
    /// [`Error::Input`] once more than half of the questions have the same reason.
    pub fn add(&mut self, question: &str, why: &str, total: usize) -> Result<()> {
        let (count, first, reason) =
            self.reasons.entry(kind_of(why)).or_insert_with(|| (0, question.to_string(), why.to_string()));
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

/// What two questions with the same fault have in common: the lengths of prompts that are too long differ, and
/// so do the texts that a template leaves out.
fn kind_of(why: &str) -> String {
    let (mut kind, mut is_quoted, mut is_escaped) = (String::new(), false, false);
    for c in why.chars() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted || c.is_ascii_digit() => {}
            _ => kind.push(c),
        }
    }
    kind
}

/// The reason in `error` if it is the question's fault, such as a missing field; otherwise the error.
pub fn fault_of_question(error: Error) -> Result<String> {
    match error {
        Error::Input { reason, .. } | Error::Unsupported(reason) => Ok(reason.text),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_quote_different_texts_are_one_reason() {
        let mut set_aside = SetAside::default();
        let why = |text: &str| format!("the template leaves out the user message {text:?}, of 3 words");
        assert!(set_aside.add("a", &why("Is it \"up\"?"), 4).is_ok());
        assert!(set_aside.add("b", "its prompt has 40 tokens", 4).is_ok());
        assert!(set_aside.add("c", &why("Is 2 > 1?"), 4).is_ok());
        let error = set_aside.add("d", &why("\\"), 4).unwrap_err().to_string();
        assert!(error.contains("of question \"a\": the template leaves out"), "{error}");
    }
}
