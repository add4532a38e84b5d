//! The cache of expanded copies: a directory of GGUF files that are made once and shared.
//!
//! A copy is named by the content it was made from, so a model that moves or is downloaded again
//! finds it. Beside each lies a lock file: shared while a process samples from the copy, exclusive
//! while one writes or removes it; its time is when the copy was last used. Copies appear whole, by
//! a rename. What the cache cannot do is said and never fails a run: the caller samples from the
//! original then.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::run::{sha256_files, write_atomically};
use crate::tensor::{Gguf, GgufWriter};
use crate::{Cancel, Error, Result};

/// Changes when copies are made in another way.
const FORMAT: u32 = 1;
const DEFAULT_LIMIT: u64 = 8 << 30;
/// How often a wait for another process looks again.
const POLL: Duration = Duration::from_millis(100);

/// A directory of copies, at most `limit` bytes of them.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
    limit: u64,
}

/// A copy that nobody removes while this value lives.
#[derive(Debug)]
pub struct CachedCopy {
    path: PathBuf,
    _lock: File,
}

impl CachedCopy {
    /// The GGUF file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Why there is no copy, in words that follow "as they are: "; or that the caller stopped.
#[derive(Debug)]
pub enum NoCopy {
    Cancelled,
    Because(String),
}

impl From<Error> for NoCopy {
    fn from(error: Error) -> NoCopy {
        match error {
            Error::Cancelled => NoCopy::Cancelled,
            other => NoCopy::Because(other.to_string()),
        }
    }
}

impl Cache {
    /// The user's cache: `SN_CACHE`, or `secondnature` in the system's cache directory; at most
    /// `SN_CACHE_GIB` of copies, by default 8.
    ///
    /// # Errors
    /// [`Error::Input`] where there is no home either, or `SN_CACHE_GIB` is not a number.
    pub fn of_user() -> Result<Cache> {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let dir = set("SN_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("secondnature")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/secondnature")))
            .ok_or_else(|| Error::input("SN_CACHE", "is not set, and neither is HOME"))?;
        let limit = match std::env::var("SN_CACHE_GIB") {
            Err(_) => DEFAULT_LIMIT,
            Ok(text) => match text.parse::<f64>() {
                Ok(gib) if gib >= 0.0 => (gib * (1u64 << 30) as f64) as u64,
                _ => return Err(Error::input("SN_CACHE_GIB", format!("expected a number, found {text:?}"))),
            },
        };
        Ok(Cache::new(dir, limit))
    }

    /// A cache below `dir`.
    pub fn new(dir: PathBuf, limit: u64) -> Cache {
        Cache { dir: dir.join("expanded"), limit }
    }

    /// The directory, made where it is missing.
    pub fn dir(&self) -> Result<&Path> {
        std::fs::create_dir_all(&self.dir).map_err(Error::io("create", &self.dir))?;
        Ok(&self.dir)
    }

    /// SHA-256 of a model's files; computed once for as long as path, size and time stay the same.
    pub fn content_of(&self, model: &Gguf, cancel: &Cancel) -> Result<String> {
        #[derive(Serialize, Deserialize, PartialEq, Clone)]
        struct Stamp {
            files: Vec<(u64, u128)>,
            sha256: String,
        }
        let path = std::path::absolute(model.path()).map_err(Error::io("find", model.path()))?;
        let key = path.display().to_string();
        let files = model
            .files()
            .iter()
            .map(|file| stamp(file).map_err(Error::io("read", file)))
            .collect::<Result<Vec<_>>>()?;
        let mut memo: BTreeMap<String, Stamp> = self.saved("hashes.json").unwrap_or_default();
        if let Some(known) = memo.get(&key).filter(|known| known.files == files) {
            return Ok(known.sha256.clone());
        }
        let sha256 = sha256_files(model.files(), cancel)?;
        // A file may change twice within one tick of its clock; only one at rest is remembered.
        let rested = |(_, time): &(u64, u128)| nanos(SystemTime::now()).saturating_sub(*time) > 2_000_000_000;
        if files.iter().all(rested) {
            memo.insert(key, Stamp { files, sha256: sha256.clone() });
            let _ = self.save("hashes.json", &memo); // Or it is computed again.
        }
        Ok(sha256)
    }

    /// The copy of the model with SHA-256 `content` in the type called `target`, which `copy` writes
    /// where it is not there. While another process does that, waits for it. `say` is told what is
    /// being done, with bytes done and in all.
    pub fn get(
        &self,
        content: &str,
        target: &str,
        copy: &GgufWriter<'_>,
        say: &dyn Fn(&str, u64, u64),
        cancel: &Cancel,
    ) -> std::result::Result<CachedCopy, NoCopy> {
        self.dir()?;
        let path = self.dir.join(format!("{content}-{target}-{FORMAT}.gguf"));
        let mut in_use = Duration::ZERO;
        loop {
            cancel.check()?;
            let lock = open_lock(&path)?;
            match lock.try_lock_shared() {
                Ok(()) if is_whole(&path, copy) => {
                    let _ = lock.set_modified(SystemTime::now()); // Least recently used goes first.
                    return Ok(CachedCopy { path, _lock: lock });
                }
                Ok(()) => drop(lock),
                Err(TryLockError::WouldBlock) => {
                    say("waiting for another process that writes the copy", 0, 0);
                    std::thread::sleep(POLL);
                    continue;
                }
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e).into()),
            }
            let lock = open_lock(&path)?;
            match lock.try_lock() {
                // Another process may have written it in between.
                Ok(()) if is_whole(&path, copy) => {}
                Ok(()) => self.write(&path, copy, say, cancel)?,
                // Readers: of a copy that was whole for them. Or one that is about to write.
                Err(TryLockError::WouldBlock) if in_use < POLL * 50 => {
                    in_use += POLL;
                    std::thread::sleep(POLL);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(NoCopy::Because(format!("{} is damaged and in use", path.display())));
                }
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e).into()),
            }
        }
    }

    fn write(
        &self,
        path: &Path,
        copy: &GgufWriter<'_>,
        say: &dyn Fn(&str, u64, u64),
        cancel: &Cancel,
    ) -> std::result::Result<(), NoCopy> {
        let bytes = copy.file_bytes();
        let _ = std::fs::remove_file(path); // Damaged, if it is there.
        self.make_room(bytes)?;
        if crate::machine::free_disk(&self.dir).is_some_and(|free| free < bytes) {
            let (gb, dir) = (bytes as f64 / 1e9, self.dir.display());
            return Err(NoCopy::Because(format!("the copy takes {gb:.1} GB, more than is free in {dir}")));
        }
        let written = write_atomically(path, |file| {
            copy.write_to(&mut Watched { out: file, done: 0, bytes, say, cancel })
        });
        match written {
            Ok(()) => Ok(()),
            Err(_) if cancel.is_cancelled() => Err(NoCopy::Cancelled),
            Err(e) => Err(Error::io("write", path)(e).into()),
        }
    }

    /// Removes copies, the least recently used first and never one in use, until `bytes` more fit
    /// under the limit; and what a crash left half written.
    fn make_room(&self, bytes: u64) -> std::result::Result<(), NoCopy> {
        let entries = std::fs::read_dir(&self.dir).map_err(Error::io("read", &self.dir))?;
        let mut copies = Vec::new();
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(meta) = entry.metadata() else { continue };
            if name.to_string_lossy().starts_with(".writing-") {
                let idle = meta.modified().ok().and_then(|time| time.elapsed().ok());
                if idle.is_some_and(|idle| idle > Duration::from_secs(3600)) {
                    let _ = std::fs::remove_file(path);
                }
            } else if path.extension().is_some_and(|e| e == "gguf") {
                let used = std::fs::metadata(lock_path(&path)).and_then(|lock| lock.modified());
                copies.push((used.unwrap_or(UNIX_EPOCH), meta.len(), path));
            }
        }
        copies.sort();
        let mut total: u64 = copies.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in copies {
            if total.saturating_add(bytes) <= self.limit {
                break;
            }
            let free = open_lock(&path).is_ok_and(|lock| {
                // Held until the file is gone.
                lock.try_lock().is_ok() && std::fs::remove_file(&path).is_ok()
            });
            if free {
                total -= len;
            }
        }
        if total.saturating_add(bytes) <= self.limit {
            return Ok(());
        }
        let (gb, limit) = (bytes as f64 / 1e9, self.limit as f64 / (1u64 << 30) as f64);
        Err(NoCopy::Because(format!(
            "the copy takes {gb:.1} GB, more than is left of the cache's {limit:.1} GiB; set SN_CACHE_GIB for more"
        )))
    }

    /// What [`Cache::save`] wrote; `None` where there is nothing readable.
    pub fn saved<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&std::fs::read(self.dir.join(name)).ok()?).ok()
    }

    /// Keeps `value` beside the copies.
    pub fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let json = serde_json::to_vec_pretty(value).map_err(|e| Error::Internal(e.to_string()))?;
        let path = self.dir()?.join(name);
        write_atomically(&path, |f| f.write_all(&json)).map_err(Error::io("write", &path))
    }
}

/// Whether `path` holds what `copy` would write, as far as length and header tell.
fn is_whole(path: &Path, copy: &GgufWriter<'_>) -> bool {
    let mut found = vec![0; copy.header().len()];
    let read = File::open(path).and_then(|mut file| {
        io::Read::read_exact(&mut file, &mut found)?;
        file.metadata()
    });
    read.is_ok_and(|meta| meta.len() == copy.file_bytes()) && found == copy.header()
}

fn lock_path(copy: &Path) -> PathBuf {
    copy.with_extension("lock")
}

fn open_lock(copy: &Path) -> Result<File> {
    let path = lock_path(copy);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::io("create", &path))
}

fn stamp(file: &Path) -> io::Result<(u64, u128)> {
    let meta = std::fs::metadata(file)?;
    Ok((meta.len(), nanos(meta.modified()?)))
}

fn nanos(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// Tells how far the writing is, and ends it when the caller stops.
struct Watched<'a> {
    out: &'a mut dyn Write,
    done: u64,
    bytes: u64,
    say: &'a dyn Fn(&str, u64, u64),
    cancel: &'a Cancel,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        let n = self.out.write(bytes)?;
        let before = self.done;
        self.done += n as u64;
        if before >> 24 != self.done >> 24 {
            (self.say)("writing the copy, MB", self.done / 1_000_000, self.bytes / 1_000_000);
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
