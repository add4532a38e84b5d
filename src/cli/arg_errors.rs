//! Arguments that make no sense, in one line; help and version, as asked for.

use std::process::ExitCode;

use clap::error::ErrorKind;

use super::output;

/// Prints what the argument parser has to say instead of running a command.
pub fn print(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Prints with the terminal's colours, and copes with a closed pipe.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            output::print_error(&one_line(&error.render().to_string()));
            ExitCode::from(2)
        }
    }
}

/// The parser writes paragraphs: the error, tips, the usage, a pointer to the help.
fn one_line(rendered: &str) -> String {
    let mut said = Vec::new();
    let mut help = "secondnature --help".to_string();
    for paragraph in rendered.split("\n\n") {
        let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(usage) = paragraph.strip_prefix("Usage: ") {
            help = help_of(usage);
        } else if !paragraph.starts_with("For more information") && !paragraph.is_empty() {
            said.push(paragraph.trim_start_matches("error: ").trim_start_matches("tip: ").to_string());
        }
    }
    format!("{}; see {help}", said.join("; "))
}

/// `secondnature bench train [OPTIONS] …` → `secondnature bench train --help`
fn help_of(usage: &str) -> String {
    let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    let names: Vec<&str> = usage.split(' ').take_while(is_name).collect();
    format!("{} --help", names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::Parser;

    fn complaint(args: &[&str]) -> String {
        let args = [&["secondnature"], args].concat();
        one_line(&Cli::try_parse_from(args).unwrap_err().render().to_string())
    }

    #[test]
    fn a_wrong_argument_is_one_line_with_the_cure() {
        assert_eq!(
            complaint(&["questions", "coin-flip", "--nn", "3"]),
            "unexpected argument '--nn' found; a similar argument exists: '--n'; see secondnature questions --help"
        );
        assert_eq!(
            complaint(&["distill", "--model", "m.gguf", "--out", "run"]),
            "the following required arguments were not provided: --questions <FILE> --task <TASK>; \
             see secondnature distill --help"
        );
        assert!(complaint(&["bench", "train", "--rows", "x"]).ends_with("; see secondnature --help"));
    }
}
