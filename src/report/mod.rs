//! The report of a run: `report.json`, whose keys are stable, and its table for a terminal.

mod table;

use serde::{Deserialize, Serialize};

pub use table::table;

use crate::adapter::AdapterFacts;
use crate::curate::Curation;
use crate::evaluate::{Decision, Evaluation};
use crate::train::Training;

/// `report.json`. Keys are stable; a stage that has not run is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The base model.
    pub model: BaseModel,
    /// The task's name.
    pub task: String,
    /// What sampling and voting gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curation: Option<Curation>,
    /// What training took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// System 1, System 2 and the distilled model on held-out questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// The adapter file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterFacts>,
    /// Whether distilling this task pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// The base model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BaseModel {
    /// The file as it was named.
    pub path: String,
    /// Its `general.name`.
    pub name: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its `general.architecture`.
    pub architecture: String,
    /// Its parameters.
    pub parameters: u64,
}
