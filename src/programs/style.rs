//! The ways in which a program gives its answer.

use std::fmt;
use std::str::FromStr;

/// How the last step of a program gives the answer. It is the last part of a program's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AnswerStyle {
    /// The answer and nothing else.
    Bare,
    /// The same, with less said about its form: "in a few words".
    Few,
    /// Behind the marker `Answer:`.
    Marker,
    /// In a sentence of the model's own, or at the end of its reasoning.
    Sentence,
    /// Held to the choices, for answers that are choices.
    Choices,
    /// Stated by a further step that sees the reasoning.
    Conclude,
    /// Asked for by a closing turn of the same conversation.
    Closing,
}

impl AnswerStyle {
    /// All styles.
    pub const ALL: [AnswerStyle; 7] = [
        AnswerStyle::Bare,
        AnswerStyle::Few,
        AnswerStyle::Marker,
        AnswerStyle::Sentence,
        AnswerStyle::Choices,
        AnswerStyle::Conclude,
        AnswerStyle::Closing,
    ];

    /// The name of the style in the names of programs.
    pub fn as_str(self) -> &'static str {
        match self {
            AnswerStyle::Bare => "bare",
            AnswerStyle::Few => "few",
            AnswerStyle::Marker => "marker",
            AnswerStyle::Sentence => "sentence",
            AnswerStyle::Choices => "choices",
            AnswerStyle::Conclude => "conclude",
            AnswerStyle::Closing => "closing",
        }
    }
}

impl fmt::Display for AnswerStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AnswerStyle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        AnswerStyle::ALL.into_iter().find(|style| style.as_str() == text).ok_or_else(|| {
            let names = AnswerStyle::ALL.map(AnswerStyle::as_str).join(", ");
            format!("no such style of answers {text:?}; styles are {names}")
        })
    }
}
