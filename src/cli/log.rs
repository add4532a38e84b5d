//! The logger of the program: the library's warnings and errors as lines on standard error.
//!
//! llama.cpp's lines are left out; where it fails, the error of the command has its reason.

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::output;

struct Stderr;

/// Installs it for the process.
pub fn to_stderr() {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= Level::Warn && metadata.target().starts_with("secondnature")
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            output::print_error(&format!("{}: {}", record.level().as_str().to_lowercase(), record.args()));
        }
    }

    fn flush(&self) {}
}
