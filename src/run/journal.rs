//! An append-only file of JSON lines that survives being cut off at any byte.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Take, Write};
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
    /// Opens or creates the journal; with what it holds, read as it is asked for. A last line that
    /// was cut off by a crash is dropped, from the file as well.
    pub fn open(path: impl AsRef<Path>) -> Result<(Journal<T>, JournalItems<T>)> {
        let path = path.as_ref().to_path_buf();
        let open = || OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = open().map_err(Error::io("open", &path))?;
        let all = file.metadata().map_err(Error::io("read", &path))?.len();
        let len = whole_lines(&mut file, all).map_err(Error::io("read", &path))?;
        let mut journal = Journal { path: path.clone(), file, len, appended: 0, _items: PhantomData };
        if len < all {
            let lost = all - len;
            log::warn!("{}: dropped a torn last line of {lost} bytes", path.display());
            journal.rewind()?;
        }
        journal.file.seek(SeekFrom::Start(len)).map_err(Error::io("read", &path))?;
        let lines = BufReader::new(open().map_err(Error::io("open", &path))?).take(len);
        Ok((journal, JournalItems { path, lines, line: 0, _items: PhantomData }))
    }

    /// Reads the whole lines of a journal without changing or locking it.
    pub fn read(path: impl AsRef<Path>) -> Result<JournalItems<T>> {
        let path = path.as_ref().to_path_buf();
        let mut file = File::open(&path).map_err(Error::io("open", &path))?;
        let all = file.metadata().map_err(Error::io("read", &path))?.len();
        let len = whole_lines(&mut file, all).map_err(Error::io("read", &path))?;
        file.rewind().map_err(Error::io("read", &path))?;
        Ok(JournalItems { path, lines: BufReader::new(file).take(len), line: 0, _items: PhantomData })
    }

    /// Appends one item. After an error the file is as before.
    pub fn append(&mut self, item: &T) -> Result<()> {
        let mut line = serde_json::to_vec(item).map_err(|e| Error::Internal(e.to_string()))?;
        line.push(b'\n');
        if let Err(source) = self.file.write_all(&line) {
            self.rewind()?;
            return Err(Error::Io { action: "append to", path: self.path.clone(), source });
        }
        self.len += line.len() as u64;
        self.appended += 1;
        Ok(())
    }

    /// JournalItems appended since the journal was opened.
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

/// Where the last whole line of the first `len` bytes ends.
fn whole_lines(file: &mut File, len: u64) -> std::io::Result<u64> {
    const BLOCK: u64 = 1 << 16;
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let mut block = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        if let Some(at) = block.iter().rposition(|b| *b == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// What a journal held when it was opened.
#[derive(Debug)]
pub struct JournalItems<T> {
    path: PathBuf,
    lines: Take<BufReader<File>>,
    line: usize,
    _items: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iterator for JournalItems<T> {
    /// [`Error::Input`] naming the line where it is damaged.
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let mut line = Vec::new();
        self.line += 1;
        match self.lines.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_slice(&line).map_err(|e| {
                Error::input(
                    format!("{}:{}", self.path.display(), self.line),
                    format!("is not a line of this journal ({e}); remove the line to sample it again"),
                )
            })),
            Err(source) => Some(Err(Error::Io { action: "read", path: self.path.clone(), source })),
        }
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
            assert_eq!(items.count(), lines);
            journal.append(&"next".to_string()).unwrap();
            let (_, items) = Journal::<String>::open(&path).unwrap();
            assert_eq!(items.count(), lines + 1);
        }
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.jsonl");
        std::fs::write(&path, "\"a\"\n{oops\n\"b\"\n").unwrap();
        let (_, mut items) = Journal::<String>::open(&path).unwrap();
        assert_eq!(items.next().unwrap().unwrap(), "a");
        let message = items.next().unwrap().unwrap_err().to_string();
        assert!(message.contains("j.jsonl:2"), "{message}");
    }
}
