//! Which weights computed a KV cell: the base model's alone, or those with one of the adapters that
//! were applied.
//!
//! A cell computed with one adapter is wrong for every other, so a prefix is shared between requests
//! only where tokens and adapters agree. A request names an adapter for its prompt and one for its
//! answer. With plain LoRA both are the same; with activated LoRA (Greenewald et al. 2025, arXiv
//! 2504.12397) the base model reads the prompt, whose cells then serve requests with and without the
//! adapter alike.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The base model's weights, or those with one adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AdapterId(u32);

impl AdapterId {
    /// The base model without an adapter.
    pub const BASE: AdapterId = AdapterId(0);
}

/// The weights that compute a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestAdapters {
    /// Those that read its prompt.
    pub prompt: AdapterId,
    /// Those that write its answer.
    pub answer: AdapterId,
}

impl RequestAdapters {
    /// The same weights for all of it, as plain LoRA needs.
    pub fn all(id: AdapterId) -> RequestAdapters {
        RequestAdapters { prompt: id, answer: id }
    }

    /// The weights that compute position `pos` of a request whose prompt has `prompt` tokens.
    pub fn at(self, pos: usize, prompt: usize) -> AdapterId {
        if pos < prompt { self.prompt } else { self.answer }
    }
}

/// The adapter files that were applied. A file that is written anew under its old name is another
/// adapter.
#[derive(Debug, Default)]
pub(super) struct KnownAdapters {
    /// The ids given out, and the file that each belongs to; none for one that cannot be told apart.
    files: Vec<Option<FileStamp>>,
}

/// What changes when a file is written or replaced.
#[derive(Debug, PartialEq, Eq)]
struct FileStamp {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
    /// Device and inode, where there are such.
    place: (u64, u64),
}

impl FileStamp {
    fn of(path: &Path) -> Option<FileStamp> {
        let facts = path.metadata().ok()?;
        #[cfg(unix)]
        let place = {
            use std::os::unix::fs::MetadataExt;
            (facts.dev(), facts.ino())
        };
        #[cfg(not(unix))]
        let place = (0, 0);
        Some(FileStamp { path: path.into(), bytes: facts.len(), modified: facts.modified().ok()?, place })
    }
}

impl KnownAdapters {
    /// The id of the adapter in the file `path`; the base model's for none.
    pub fn id(&mut self, path: Option<&Path>) -> AdapterId {
        let Some(path) = path else { return AdapterId::BASE };
        let stamp = FileStamp::of(path);
        let known = self.files.iter().position(|file| file.is_some() && *file == stamp);
        let index = known.unwrap_or_else(|| {
            self.files.push(stamp);
            self.files.len() - 1
        });
        AdapterId(index as u32 + 1)
    }

    /// An id that no cell has, for weights of which nothing is known.
    pub fn unknown(&mut self) -> AdapterId {
        self.files.push(None);
        AdapterId(self.files.len() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_id_until_it_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.gguf"), dir.path().join("b.gguf"));
        std::fs::write(&a, "one").unwrap();
        std::fs::write(&b, "one").unwrap();
        let mut known = KnownAdapters::default();
        assert_eq!(known.id(None), AdapterId::BASE);
        let (first, second) = (known.id(Some(&a)), known.id(Some(&b)));
        assert!(first != second && first != AdapterId::BASE);
        assert_eq!((known.id(Some(&a)), known.id(Some(&b))), (first, second));
        crate::fs::write_atomically(&a, |file| file.write_all(b"two")).unwrap();
        assert_ne!(known.id(Some(&a)), first);
        // What cannot be read cannot be known to be the same.
        let missing = dir.path().join("missing.gguf");
        assert_ne!(known.id(Some(&missing)), known.id(Some(&missing)));
        assert_ne!(known.unknown(), known.unknown());
    }

    #[test]
    fn a_prompt_may_be_read_by_other_weights_than_the_answer_is_written_by() {
        let adapters = RequestAdapters { prompt: AdapterId::BASE, answer: AdapterId(1) };
        assert_eq!([0, 4, 5, 9].map(|pos| adapters.at(pos, 5).0), [0, 0, 1, 1]);
    }
}
