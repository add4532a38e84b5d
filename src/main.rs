//! The `secondnature` program.
#![warn(missing_docs, clippy::undocumented_unsafe_blocks)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
