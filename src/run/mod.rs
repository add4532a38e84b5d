//! The run directory: what a run is about, what it has finished, and how a second invocation goes on.
//!
//! Every write is either an appended, synced line (journals) or a temporary file that is synced and
//! renamed into place, so that a crash or a full disk at any moment loses at most the line being
//! written. One process at a time: the directory is locked while open.

mod journal;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use journal::{Items, Journal};

use crate::fs::write_atomically;
use crate::{Error, Hint, Result};

const MANIFEST: &str = "run.json";

/// What a run is about. Two runs with equal manifests may share a directory; the second resumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this crate that made the directory.
    pub version: String,
    /// The model file as it was named.
    pub model: String,
    /// SHA-256 of the model file.
    pub model_sha256: String,
    /// The task's name.
    pub task: String,
    /// SHA-256 of the task's JSON.
    pub task_sha256: String,
    /// SHA-256 of the training questions.
    pub questions_sha256: String,
    /// The sampling seed.
    pub seed: u64,
    /// Whether a verifier checks the sampled answers; set with the first sample.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verifier: bool,
}

/// An open, locked run directory.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    _lock: File,
}

impl RunDir {
    /// Creates the directory for `manifest`, or opens an existing one that has the same manifest.
    ///
    /// # Errors
    /// [`Error::Run`] when the directory belongs to another model, task, question set or seed, is
    /// in use by another process, or holds files that are not a run; nothing is touched then.
    pub fn open(path: impl AsRef<Path>, manifest: &Manifest) -> Result<RunDir> {
        let path = path.as_ref().to_path_buf();
        let file = path.join(MANIFEST);
        if path.exists() && !file.exists() && !is_empty_dir(&path)? {
            return Err(Error::run(&path, "exists and is not a run directory (no run.json in it)")
                .hint(Hint::set("out", "an empty or new directory")));
        }
        std::fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        let lock = lock(&path)?;
        if file.exists() {
            let found = read_manifest(&path)?;
            if let Some(why) = difference(&found, manifest) {
                return Err(Error::run(&path, why).hint(Hint::other_directory()).hint(Hint::Resume));
            }
        } else {
            save_manifest(&file, manifest)?;
        }
        Ok(RunDir { path, _lock: lock })
    }

    /// Replaces the manifest: for what is only known later.
    pub fn amend(&self, manifest: &Manifest) -> Result<()> {
        save_manifest(&self.file(MANIFEST), manifest)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes `value` to the file `name`, as JSON and atomically.
    pub fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let json = serde_json::to_vec_pretty(value).map_err(|e| Error::Internal(e.to_string()))?;
        self.write(name, &json)
    }

    /// Writes `values` to the file `name`, a line of JSON each and atomically.
    pub fn save_lines<T: Serialize>(&self, name: &str, values: &[T]) -> Result<()> {
        let lines: String = values
            .iter()
            .map(|value| serde_json::to_string(value).map(|line| line + "\n"))
            .collect::<std::result::Result<_, _>>()
            .map_err(|e| Error::Internal(e.to_string()))?;
        self.write(name, lines.as_bytes())
    }

    /// What [`RunDir::save`] wrote to the file `name`; `None` where there is no such file.
    pub fn saved<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.file(name);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| {
                Error::run(&self.path, format!("{name} is damaged ({e}); delete it and run again"))
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", &path)(e)),
        }
    }

    /// Writes `bytes` to the file `name`, atomically.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.file(name);
        write_atomically(&path, |f| f.write_all(bytes)).map_err(Error::io("write", &path))
    }
}

fn save_manifest(file: &Path, manifest: &Manifest) -> Result<()> {
    let json = serde_json::to_vec_pretty(manifest).map_err(|e| Error::Internal(e.to_string()))?;
    write_atomically(file, |f| f.write_all(&json)).map_err(Error::io("write", file))
}

/// The manifest of an existing run directory.
pub fn read_manifest(dir: &Path) -> Result<Manifest> {
    let file = dir.join(MANIFEST);
    let text = std::fs::read_to_string(&file).map_err(Error::io("read", &file))?;
    serde_json::from_str(&text)
        .map_err(|e| Error::run(dir, format!("run.json is damaged ({e})")).hint(Hint::other_directory()))
}

fn is_empty_dir(path: &Path) -> Result<bool> {
    let mut entries = std::fs::read_dir(path).map_err(Error::io("read directory", path))?;
    Ok(entries.next().is_none())
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::run(dir, "is in use by another process; wait for it").hint(Hint::other_directory()))
        }
        Err(TryLockError::Error(source)) => Err(Error::Io { action: "lock", path, source }),
    }
}

fn difference(found: &Manifest, wanted: &Manifest) -> Option<String> {
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    if found.model_sha256 != wanted.model_sha256 {
        return Some(format!(
            "belongs to another model ({}, sha256 {}…; this run is for {}, sha256 {}…)",
            found.model,
            short(&found.model_sha256),
            wanted.model,
            short(&wanted.model_sha256)
        ));
    }
    if found.task_sha256 != wanted.task_sha256 {
        return Some(format!(
            "belongs to task \"{}\" ({}…), not to \"{}\" ({}…)",
            found.task,
            short(&found.task_sha256),
            wanted.task,
            short(&wanted.task_sha256)
        ));
    }
    if found.questions_sha256 != wanted.questions_sha256 {
        return Some(format!("was made from other questions"));
    }
    if found.seed != wanted.seed {
        return Some(format!("was made with seed {}, not {}", found.seed, wanted.seed));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            version: "0".into(),
            model: "a.gguf".into(),
            model_sha256: "aa".into(),
            task: "t".into(),
            task_sha256: "bb".into(),
            questions_sha256: "cc".into(),
            seed: 1,
            verifier: false,
        }
    }

    #[test]
    fn the_same_manifest_resumes_and_another_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("run");
        drop(RunDir::open(&out, &manifest()).unwrap());
        drop(RunDir::open(&out, &manifest()).unwrap());
        let other = Manifest { model: "b.gguf".into(), model_sha256: "dd".into(), ..manifest() };
        let message = RunDir::open(&out, &other).unwrap_err().to_string();
        assert!(message.contains("belongs to another model (a.gguf"), "{message}");
    }

    #[test]
    fn a_directory_in_use_or_of_other_things_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("run");
        let open = RunDir::open(&out, &manifest()).unwrap();
        assert!(RunDir::open(&out, &manifest()).unwrap_err().to_string().contains("in use"));
        drop(open);
        let other = dir.path().join("home");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("diary.txt"), "dear").unwrap();
        assert!(RunDir::open(&other, &manifest()).unwrap_err().to_string().contains("not a run directory"));
    }
}
