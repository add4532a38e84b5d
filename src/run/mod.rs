//! Run directories: the manifest of what a run is about, its lock, and files that survive a crash.
//!
//! Every write is either an appended, synced line (journals) or a temporary file that is synced and
//! renamed into place, so that a crash or a full disk at any moment loses at most the line being
//! written. One process at a time: the directory is locked while open.

mod journal;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use journal::Journal;

use crate::fs::{is_unfinished, write_atomically};
use crate::{Error, Hint, Result};

const MANIFEST: &str = "run.json";
const LOCK: &str = "lock";

/// What a run is about. Two runs with equal manifests may share a directory; the second resumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this crate that made the directory.
    pub version: String,
    /// The path of the model file.
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
    /// The date given to chat templates, `2026-07-31`: the day on which the run began, so that it
    /// has the same prompts on every day. Earlier versions did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
}

/// Today's date (UTC), as manifests have it.
pub fn today() -> String {
    date_of(Timestamp::now())
}

fn date_of(time: Timestamp) -> String {
    TimeZone::UTC.to_datetime(time).date().to_string()
}

/// The first second of `date`, since 1970 (UTC); `None` for a text that is not a date.
pub fn unix_seconds(date: &str) -> Option<i64> {
    let date: Date = date.parse().ok()?;
    TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok().map(Timestamp::as_second)
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
        if path.as_os_str().is_empty() {
            return Err(Error::field("out", "is empty; expected a directory"));
        }
        let file = path.join(MANIFEST);
        if path.exists() && !path.is_dir() {
            return Err(Error::run(&path, "is a file; expected a directory")
                .hint(Hint::set("out", "an empty or new directory")));
        }
        if path.exists() && !file.exists() && !is_unused(&path)? {
            return Err(Error::run(&path, "exists and is not a run directory (no run.json in it)")
                .hint(Hint::set("out", "an empty or new directory")));
        }
        std::fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        let lock = lock(&path)?;
        remove_unfinished(&path);
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

    /// The day on which the manifest was written: what a run of an earlier version is dated.
    pub fn date_of_manifest(&self) -> Result<String> {
        let path = self.file(MANIFEST);
        let written =
            std::fs::metadata(&path).and_then(|file| file.modified()).map_err(Error::io("read", &path))?;
        Ok(Timestamp::try_from(written).map_or_else(|_| today(), date_of))
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
        read_saved(&self.path, name)
    }

    /// Writes `bytes` to the file `name`, atomically.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.file(name);
        write_atomically(&path, |f| f.write_all(bytes)).map_err(Error::io("write", &path))
    }

    /// Writes `texts`, one after the other, to the file `name`, atomically.
    pub fn write_all(&self, name: &str, mut texts: impl Iterator<Item = String>) -> Result<()> {
        let path = self.file(name);
        write_atomically(&path, |f| texts.try_for_each(|text| f.write_all(text.as_bytes())))
            .map_err(Error::io("write", &path))
    }
}

/// What [`RunDir::save`] wrote to the file `name` of the run directory `dir`; `None` where there is no
/// such file. Needs no lock: files are replaced as a whole.
pub fn read_saved<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Option<T>> {
    let path = dir.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::run(dir, format!("{name} is damaged ({e}); delete it and run again"))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", &path)(e)),
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

/// Whether the directory is empty but for what a run leaves that was stopped before its manifest was
/// written, and the race that chose its task.
fn is_unused(path: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(path).map_err(Error::io("read directory", path))? {
        let name = entry.map_err(Error::io("read directory", path))?.file_name();
        if name != LOCK && name != "tune" && !is_unfinished(&name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes what interrupted writes left behind, which only costs disk space. The directory is locked.
fn remove_unfinished(dir: &Path) {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = ["", "train", "evaluation", "candidates"].map(|name| dir.join(name));
    let of_candidates = entries(&dir.join("candidates")).map(|entry| entry.path());
    for folder in folders.into_iter().chain(of_candidates) {
        for entry in entries(&folder).filter(|entry| is_unfinished(&entry.file_name())) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
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
        return Some("was made from other questions".into());
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
            date: Some("2026-07-31".into()),
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
    fn dates_are_days_in_utc() {
        assert_eq!(unix_seconds("2024-07-26"), Some(1_721_952_000));
        assert_eq!(date_of(Timestamp::from_second(1_721_984_461).unwrap()), "2024-07-26");
        assert_eq!(unix_seconds("yesterday"), None);
    }

    #[test]
    fn a_run_that_was_stopped_before_its_manifest_was_written_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("run");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(out.join("lock"), "").unwrap();
        std::fs::write(out.join(".writing-a1b2c3"), "{").unwrap();
        drop(RunDir::open(&out, &manifest()).unwrap());
        assert!(!out.join(".writing-a1b2c3").exists(), "what an interrupted write left behind is removed");
    }

    #[test]
    fn what_interrupted_writes_left_behind_is_removed_in_all_folders() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("run");
        drop(RunDir::open(&out, &manifest()).unwrap());
        let left_behind = ["train", "evaluation", "candidates", "candidates/cot"].map(|folder| {
            std::fs::create_dir_all(out.join(folder)).unwrap();
            out.join(folder).join(".writing-a1b2c3")
        });
        left_behind.iter().for_each(|file| std::fs::write(file, "{").unwrap());
        drop(RunDir::open(&out, &manifest()).unwrap());
        assert!(left_behind.iter().all(|file| !file.exists()));
    }

    #[test]
    fn an_empty_path_is_not_the_current_directory() {
        let message = RunDir::open("", &manifest()).unwrap_err().to_string();
        assert!(message.contains("out: is empty"), "{message}");
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
        let file = RunDir::open(other.join("diary.txt"), &manifest()).unwrap_err().to_string();
        assert!(file.contains("is a file; expected a directory"), "{file}");
    }
}
