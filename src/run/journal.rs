//! An append-only file of JSON lines that survives being cut off at any byte.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Result};

/// A journal of `T`s. Lines are handed to the system at once and synced by [`Journal::sync`].
#[derive(Debug)]
pub struct Journal<T> {
    path: PathBuf,
    file: File,
    len: u64,
    appended: usize,
    _items: PhantomData<fn(T)>,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens or creates the journal and returns what it holds. A last line that was cut off by a
    /// crash is dropped, from the file as well.
    ///
    /// # Errors
    /// [`Error::Input`] naming the line when a line before the last is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<(Journal<T>, Vec<T>)> {
        let path = path.as_ref().to_path_buf();
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let mut items = Vec::new();
        for (i, line) in bytes[..whole].split_inclusive(|b| *b == b'\n').enumerate() {
            items.push(serde_json::from_slice(line).map_err(|e| {
                Error::input(
                    format!("{}:{}", path.display(), i + 1),
                    format!("is not a line of this journal ({e}); remove the line to sample it again"),
                )
            })?);
        }
        let mut journal = Journal { path, file, len: whole as u64, appended: 0, _items: PhantomData };
        if whole < bytes.len() {
            journal.rewind()?;
        }
        journal.file.seek(SeekFrom::Start(journal.len)).map_err(Error::io("read", &journal.path))?;
        Ok((journal, items))
    }

    /// Appends one item. After an error the file is as before.
    pub fn append(&mut self, item: &T) -> Result<()> {
        let mut line = serde_json::to_vec(item).map_err(|e| Error::Internal(e.to_string()))?;
        line.push(b'\n');
        if let Err(source) = self.file.write_all(&line) {
            self.rewind()?;
            return Err(Error::Io { doing: "append to", path: self.path.clone(), source });
        }
        self.len += line.len() as u64;
        self.appended += 1;
        Ok(())
    }

    /// Items appended since the journal was opened.
    pub fn appended(&self) -> usize {
        self.appended
    }

    /// Forces everything appended to the disk.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(Error::io("sync", &self.path))
    }

    fn rewind(&mut self) -> Result<()> {
        self.file.set_len(self.len).map_err(Error::io("truncate", &self.path))?;
        self.file.seek(SeekFrom::Start(self.len)).map_err(Error::io("truncate", &self.path))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_cut_at_any_byte_keeps_its_whole_lines_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.jsonl");
        let (mut journal, _) = Journal::<String>::open(&path).unwrap();
        for word in ["one", "two\n", "three"] {
            journal.append(&word.to_string()).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, items) = Journal::<String>::open(&path).unwrap();
            let lines = whole[..cut].iter().filter(|b| **b == b'\n').count();
            assert_eq!(items.len(), lines);
            journal.append(&"next".to_string()).unwrap();
            let (_, items) = Journal::<String>::open(&path).unwrap();
            assert_eq!(items.len(), lines + 1);
        }
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.jsonl");
        std::fs::write(&path, "\"a\"\n{oops\n\"b\"\n").unwrap();
        let message = Journal::<String>::open(&path).unwrap_err().to_string();
        assert!(message.contains("j.jsonl:2"), "{message}");
    }
}
