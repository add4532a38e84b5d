//! Standard output and standard error, neither of which may be there.

use std::io::{ErrorKind, IsTerminal, Write};

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
