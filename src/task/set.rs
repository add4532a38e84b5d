//! Question sets, to which questions are added one by one.

use std::collections::HashSet;

use super::Question;
use crate::{Error, Result};

/// Questions with different ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuestionSet {
    all: Vec<Question>,
    ids: HashSet<String>,
}

impl QuestionSet {
    /// An empty set.
    pub fn new() -> QuestionSet {
        QuestionSet::default()
    }

    /// Adds the question `text` with the given id, or with the id `q<number>`. `gold` is a gold answer,
    /// which only measures.
    ///
    /// # Errors
    /// [`Error::Input`] if the text or the id is empty, or if the id is already used.
    pub fn add(&mut self, id: Option<&str>, text: &str, gold: Option<&str>) -> Result<()> {
        let number = self.all.len() + 1;
        let refuse = |why: String| Err(Error::input(format!("question {number}"), why));
        if text.trim().is_empty() {
            return refuse("\"question\" is empty".into());
        }
        let id = match id {
            Some(id) if id.trim().is_empty() => {
                return refuse("\"id\" is empty; leave it out or give each question its own".into());
            }
            Some(id) if self.ids.contains(id) => {
                return refuse(format!("id {id:?} is already used; ids must be unique"));
            }
            Some(id) => id.to_string(),
            None => self.unused_id(),
        };
        self.ids.insert(id.clone());
        self.all.push(Question::new(id, text, gold.map(str::to_string).into_iter().collect()));
        Ok(())
    }

    fn unused_id(&self) -> String {
        let mut number = self.all.len() + 1;
        loop {
            let id = format!("q{number}");
            if !self.ids.contains(&id) {
                return id;
            }
            number += 1;
        }
    }

    /// The questions, in the order in which they were added.
    pub fn as_slice(&self) -> &[Question] {
        &self.all
    }
}

/// The questions must have different ids, as those of a file or of a generated set.
impl From<Vec<Question>> for QuestionSet {
    fn from(all: Vec<Question>) -> QuestionSet {
        QuestionSet { ids: all.iter().map(|question| question.id.clone()).collect(), all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_gets_an_id_that_no_other_has() {
        let mut questions = QuestionSet::from(vec![Question::new("q2", "a", vec![])]);
        questions.add(None, "b", Some("yes")).unwrap();
        questions.add(Some("q5"), "c", None).unwrap();
        questions.add(None, "d", None).unwrap();
        questions.add(None, "e", None).unwrap();
        let ids: Vec<&str> = questions.as_slice().iter().map(|q| q.id.as_str()).collect();
        assert_eq!(ids, ["q2", "q3", "q5", "q4", "q6"]);
        assert_eq!(questions.as_slice()[1].gold, ["yes"]);
    }

    #[test]
    fn what_no_question_file_could_hold_is_refused_and_nothing_is_added() {
        let mut questions = QuestionSet::new();
        questions.add(Some("a"), "x", None).unwrap();
        let refusals = [(Some("b"), " "), (Some(" "), "x"), (Some("a"), "y")]
            .map(|(id, text)| questions.add(id, text, None).unwrap_err().to_string());
        assert_eq!(refusals[0], "question 2: \"question\" is empty");
        assert!(refusals[1].contains("\"id\" is empty"));
        assert!(refusals[2].contains("already used"));
        assert_eq!(questions.as_slice().len(), 1);
    }
}
