//! Standard output and standard error, neither of which may be there.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Prints a result. A reader that has gone away (`secondnature questions … | head`) has all it
/// wanted, so that is no failure; a full disk is.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let written = write!(stdout, "{text}{newline}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// That a file can be written at `path`, found before the work that it is for; a file there stays as it is.
pub fn check_writable(path: &Path) -> Result<()> {
    let is_new = !path.exists();
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))?;
    if is_new {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Prints a result for machines.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Says what went wrong, in one line whatever the message holds.
pub fn print_error(message: &str) {
    eprint_line(&format!("secondnature: {}", message.split_whitespace().collect::<Vec<_>>().join(" ")));
}

/// A line for the person watching. Nobody may be: a closed standard error is not a failure.
pub fn eprint_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The columns of the terminal; 100 where there is none.
pub fn width() -> usize {
    let size = std::io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
    size.map_or(100, |(width, _)| usize::from(width.0).max(40))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_is_found_writable_or_not_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (new, old) = (dir.path().join("new.html"), dir.path().join("old.html"));
        std::fs::write(&old, "page").unwrap();
        assert!(super::check_writable(&new).is_ok() && !new.exists());
        assert!(super::check_writable(&old).is_ok());
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "page");
        for bad in [dir.path().join("none/x.html"), dir.path().to_path_buf()] {
            let error = super::check_writable(&bad).unwrap_err().to_string();
            assert!(error.starts_with("cannot write "), "{error}");
        }
    }
}
