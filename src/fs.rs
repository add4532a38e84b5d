//! Atomic writes and hashes of files.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Cancel, Error, Result};

/// SHA-256 of files, one after the other, in hex. Large models take a second or two, so it can be
/// cancelled.
pub fn sha256_files(paths: &[PathBuf], cancel: &Cancel) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for path in paths {
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        loop {
            cancel.check()?;
            let n = io::Read::read(&mut file, &mut buffer).map_err(Error::io("read", path))?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
        }
    }
    Ok(hex(&hasher.finalize()))
}

/// SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of texts, one after the other, in hex.
pub fn sha256_of(texts: impl IntoIterator<Item = String>) -> String {
    let mut hasher = Sha256::new();
    texts.into_iter().for_each(|text| hasher.update(text.as_bytes()));
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// How the names of files begin that [`write_atomically`] has not finished. A killed process leaves
/// them behind.
const UNFINISHED_PREFIX: &str = ".writing-";

/// Whether a file of this name was left behind by an interrupted [`write_atomically`].
pub(crate) fn is_unfinished(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with(UNFINISHED_PREFIX)
}

/// Writes `path` through a synced temporary file beside it and a rename.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<()> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED_PREFIX);
    // As any program creates files: the process's umask decides who else may read them.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temp = builder.tempfile_in(dir)?;
    {
        let mut buffered = io::BufWriter::new(temp.as_file_mut());
        write(&mut buffered)?;
        io::Write::flush(&mut buffered)?;
    }
    temp.as_file().sync_all()?;
    temp.persist(path).map_err(|e| e.error)?;
    // The rename itself must reach the disk as well.
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        write_atomically(&path, |f| f.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |f| {
            f.write_all(b"ne")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn a_file_gets_the_mode_that_the_umask_leaves() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        // SAFETY: a plain system call. Files that other tests create meanwhile only lose the group's
        // right to write and the others' to read.
        let before = unsafe { libc::umask(0o027) };
        let written = write_atomically(&dir.path().join("written"), |f| f.write_all(b"x"));
        // SAFETY: as above.
        unsafe { libc::umask(before) };
        written.unwrap();
        assert_eq!(mode(&dir.path().join("written")), 0o640);
    }
}
