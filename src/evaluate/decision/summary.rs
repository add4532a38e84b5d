//! A decision, as `report.json` has it.

use serde::{Deserialize, Serialize};

/// Whether distilling this task pays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether to go on and distill.
    #[serde(alias = "distil")]
    pub distill: bool,
    /// In one sentence, with the figures.
    pub why: String,
    /// Where not: each reason by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Where not: what to try, with the figures it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
}

impl Decision {
    /// It pays.
    pub fn yes(why: String) -> Decision {
        Decision { distill: true, why, ..Decision::default() }
    }

    /// It does not.
    pub fn no(reasons: Vec<String>, advice: Vec<String>) -> Decision {
        Decision { distill: false, why: reasons.join("; "), reasons, advice }
    }

    /// It pays only if it does by both; all reasons of both where it does not.
    pub fn and(self, other: Decision) -> Decision {
        match (self.distill, other.distill) {
            (true, true) => Decision::yes(format!("{}; {}", self.why, other.why)),
            (false, true) => self,
            (true, false) => other,
            (false, false) => Decision::no(
                self.reasons.into_iter().chain(other.reasons).collect(),
                self.advice.into_iter().chain(other.advice).collect(),
            ),
        }
    }

    /// Why not and what to try, in one line.
    pub fn refusal(&self) -> String {
        match self.advice.is_empty() {
            true => self.why.clone(),
            false => format!("{}. What may help: {}", self.why, self.advice.join("; ")),
        }
    }
}
