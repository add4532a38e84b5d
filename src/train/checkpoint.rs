//! A training run frozen between two optimiser steps.
//!
//! `checkpoint.bin`: 8 bytes of magic, the length of a JSON cursor, the cursor, then the parameters,
//! both moments and the best parameters as little-endian `f32`, then the SHA-256 of all before it.
//! Written through a rename, so there is always one whole checkpoint.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::adamw::Moments;
use crate::kernels::gemm::ComputeDtype;
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"SNTRAIN1";

/// Where training is, and its curves so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingCursor {
    /// Hash of options and examples: a checkpoint of another run is ignored.
    pub identity: String,
    /// What its products multiply.
    #[serde(default)]
    pub arithmetic: ComputeDtype,
    pub step: u64,
    pub adam_steps: u64,
    pub finished: bool,
    #[serde(rename = "judged_without_gain")]
    pub validations_without_gain: usize,
    pub best_epochs: f64,
    pub tokens: u64,
    pub tokens_computed: u64,
    pub seconds: f64,
    pub loss_curve: Vec<f64>,
    pub held_out_curve: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub cursor: TrainingCursor,
    pub params: Vec<f32>,
    pub moments: Moments,
    /// The parameters with the lowest held-out loss so far; empty before the first epoch ends.
    pub best: Vec<f32>,
}

impl Checkpoint {
    pub fn save(&self, path: &Path) -> Result<()> {
        let cursor = TrainingCursor { adam_steps: self.moments.steps, ..self.cursor.clone() };
        let json = serde_json::to_vec(&cursor).map_err(|e| Error::Internal(e.to_string()))?;
        let mut bytes = Vec::with_capacity(16 + json.len() + 16 * self.params.len() + 32);
        bytes.extend(MAGIC);
        bytes.extend((json.len() as u64).to_le_bytes());
        bytes.extend(&json);
        for values in [&self.params, &self.moments.mean, &self.moments.square, &self.best] {
            bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        }
        let hash = crate::fs::sha256(&bytes);
        bytes.extend(hash.as_bytes());
        crate::fs::write_atomically(path, |f| f.write_all(&bytes)).map_err(Error::io("write", path))
    }

    /// The checkpoint of the run `identity` with `n` parameters; `None` where there is none, or one
    /// of another run, or a damaged one: training then starts over, which is always right.
    pub fn load(path: &Path, identity: &str, n: usize) -> Result<Option<Checkpoint>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", path)(e)),
        };
        Ok(parse(&bytes, n).filter(|c| c.cursor.identity == identity))
    }
}

fn parse(bytes: &[u8], n: usize) -> Option<Checkpoint> {
    let (body, hash) = bytes.split_at_checked(bytes.len().checked_sub(64)?)?;
    if crate::fs::sha256(body).as_bytes() != hash {
        return None;
    }
    let rest = body.strip_prefix(MAGIC)?;
    let (len, rest) = rest.split_first_chunk::<8>()?;
    let (json, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    let cursor: TrainingCursor = serde_json::from_slice(json).ok()?;
    let values: Vec<f32> =
        rest.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    if values.len() != 3 * n && values.len() != 4 * n {
        return None;
    }
    let take = |i: usize| values[i * n..(i + 1) * n].to_vec();
    Some(Checkpoint {
        params: take(0),
        moments: Moments { mean: take(1), square: take(2), steps: cursor.adam_steps },
        best: values[3 * n..].to_vec(),
        cursor,
    })
}
