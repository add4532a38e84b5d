//! Flags made from the library's tables of options.

use std::marker::PhantomData;

use clap::builder::{NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use secondnature::options::{OptionChoice, OptionGroup, OptionInfo, OptionKind};
use secondnature::{Error, Result};

/// The flags of the option group `G`. A flag that another group has already, such as the threads, serves
/// both groups; one that the command itself has is taken by the command.
#[derive(Debug, Clone)]
pub struct Flags<G> {
    /// The options that were given, with their texts.
    given: Vec<(&'static str, Vec<String>)>,
    group: PhantomData<G>,
}

impl<G: OptionGroup> Flags<G> {
    /// The names of the options that were given.
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        self.given.iter().map(|(name, _)| *name)
    }

    /// The options, with defaults where no flag was given.
    pub fn read(&self) -> Result<G> {
        let mut group = G::default();
        for (name, texts) in &self.given {
            group.set(name, &texts.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        group.check()?;
        Ok(group)
    }
}

impl<G: OptionGroup> Args for Flags<G> {
    fn augment_args(command: Command) -> Command {
        G::OPTIONS.iter().fold(command, |command, option| {
            let is_there = command.get_arguments().any(|arg| arg.get_id() == option.name);
            if is_there { command } else { command.arg(flag::<G>(option)) }
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<G: OptionGroup> FromArgMatches for Flags<G> {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let is_given =
            |option: &&OptionInfo| matches.value_source(option.name) == Some(ValueSource::CommandLine);
        let texts = |option: &OptionInfo| match option.kind {
            OptionKind::Switch => Ok(vec!["true".to_string()]),
            _ if option.row.is_bytes => {
                Ok(matches.get_one::<u64>(option.name).iter().map(|bytes| bytes.to_string()).collect())
            }
            _ => {
                let raw = matches.get_raw(option.name).into_iter().flatten();
                let text = |raw: &std::ffi::OsStr| raw.to_str().map(str::to_string);
                raw.map(text)
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| clap::Error::new(ErrorKind::InvalidUtf8))
            }
        };
        let given = G::OPTIONS.iter().filter(is_given).map(|option| Ok((option.name, texts(option)?)));
        Ok(Flags { given: given.collect::<std::result::Result<_, clap::Error>>()?, group: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn flag<G: OptionGroup>(option: &'static OptionInfo) -> Arg {
    let arg = Arg::new(option.name).long(option.name.replace('_', "-")).help_heading(G::HEADING);
    let arg = arg.help(help::<G>(option)).allow_negative_numbers(true);
    match option.kind {
        OptionKind::Switch => arg.action(ArgAction::SetTrue),
        OptionKind::Choice(_) => arg.value_parser(possible_values(&option.values())),
        OptionKind::Paths => arg
            .action(ArgAction::Append)
            .value_parser(NonEmptyStringValueParser::new())
            .value_name(option.row.placeholder),
        OptionKind::Count(_) if option.row.is_bytes => {
            arg.value_parser(bytes).value_name(option.row.placeholder)
        }
        OptionKind::Count(_) | OptionKind::Real => {
            let number = move |text: &str| match G::default().set(option.name, &[text]) {
                Ok(()) if text.is_empty() => Err("is empty; expected a number".into()),
                Ok(()) => Ok(text.to_string()),
                Err(Error::Input { reason, .. }) => Err(reason.text),
                Err(other) => Err(other.to_string()),
            };
            arg.value_parser(number).value_name(option.row.placeholder)
        }
        OptionKind::Names(_) | OptionKind::Path => {
            arg.value_parser(NonEmptyStringValueParser::new()).value_name(option.row.placeholder)
        }
    }
}

/// Documentation, range and default, in one paragraph.
fn help<G: OptionGroup>(option: &OptionInfo) -> String {
    let mut help = option.doc().trim_end_matches('.').to_string();
    let range = option.row.range.text();
    if !range.is_empty() && !option.row.is_bytes {
        help += &format!(" ({range})");
    }
    if let OptionKind::Names(_) = option.kind {
        let names: Vec<_> = option.values().into_iter().map(|(name, _)| name).collect();
        help += &format!("; some of {}, with commas between them", names.join(","));
    }
    if option.row.is_bytes {
        help += ", such as 800M (10⁶ bytes each) or 2GiB (2³⁰)";
    }
    let default = match option.kind {
        OptionKind::Switch | OptionKind::Paths => String::new(),
        OptionKind::Names(_) => match G::default().get(option.name) {
            none if none.is_empty() => "none".into(),
            _ => "all".into(),
        },
        OptionKind::Choice(_) if option.is_optional => secondnature::options::AUTO.into(),
        _ if option.is_optional => option.row.unset.into(),
        _ => G::default().get(option.name),
    };
    if !default.is_empty() {
        help += &format!(" [default: {default}]");
    }
    if let OptionKind::Paths = option.kind {
        help += "; may be repeated";
    }
    help
}

fn possible_values(values: &[(&'static str, String)]) -> PossibleValuesParser {
    let value = |(name, doc): &(&'static str, String)| {
        PossibleValue::new(name).help(doc.trim_end_matches('.').to_string())
    };
    PossibleValuesParser::new(values.iter().map(value))
}

/// A parser of the names of `T`.
pub fn choice<T: OptionChoice + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let values: Vec<_> = T::INFO
        .values
        .iter()
        .map(|value| (value.name, secondnature::options::paragraph(value.lines)))
        .collect();
    possible_values(&values).try_map(|name| T::named(T::INFO.name, &name))
}

/// A number of bytes such as `800M` (10⁶ bytes each) or `2GiB` (2³⁰ bytes each).
fn bytes(text: &str) -> std::result::Result<u64, String> {
    let expected = || "expected a number with K, M, G, T or KiB, MiB, GiB, TiB, such as 800M".to_string();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1.0,
        "K" | "KB" => 1e3,
        "M" | "MB" => 1e6,
        "G" | "GB" => 1e9,
        "T" | "TB" => 1e12,
        "KI" | "KIB" => 1024f64,
        "MI" | "MIB" => 1024f64.powi(2),
        "GI" | "GIB" => 1024f64.powi(3),
        "TI" | "TIB" => 1024f64.powi(4),
        _ => return Err(expected()),
    };
    match number.parse::<f64>() {
        Ok(n) if n * unit >= 1.0 && n * unit < 1e18 => Ok((n * unit) as u64),
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use secondnature::train::TrainOptions;

    use super::*;

    #[test]
    fn a_size_in_powers_of_two_is_not_read_as_one_in_powers_of_ten() {
        for (text, size) in [
            ("800M", 800_000_000),
            ("800MB", 800_000_000),
            ("2G", 2_000_000_000),
            ("2GiB", 2 << 30),
            ("2gi", 2 << 30),
            ("1.5 KiB", 1536),
            ("4096", 4096),
            ("1T", 1_000_000_000_000),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "GiB", "2GIBIB", "2GBB", "2iB", "-1G", "0", "1e9", "2X", "9999999T"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        training: Flags<TrainOptions>,
    }

    fn parse(args: &[&str]) -> std::result::Result<Program, clap::Error> {
        Program::try_parse_from([&["program"], args].concat())
    }

    #[test]
    fn every_row_of_the_tables_is_a_flag_with_its_default_in_the_help() {
        use clap::CommandFactory;
        use secondnature::EngineOptions;
        use secondnature::answer::RoutingOptions;
        use secondnature::distill::{CurateOptions, DataMix};
        use secondnature::evaluate::Acceptance;
        use secondnature::preview::PreviewOptions;

        fn check<G: OptionGroup>(command: &str) {
            let mut program = super::super::Cli::command();
            let command = program.find_subcommand_mut(command).unwrap();
            // Lines are folded at the width of the terminal.
            let help = command.render_long_help().to_string();
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            for option in G::OPTIONS {
                let flag = format!("--{}", option.name.replace('_', "-"));
                assert!(command.get_arguments().any(|arg| arg.get_id() == option.name), "{}", option.name);
                assert!(help.contains(&flag), "{flag} in {help}");
                for (value, _) in option.values() {
                    assert!(help.contains(value), "{value} of {flag} in {help}");
                }
                let default = G::default().get(option.name);
                let is_number = matches!(option.kind, OptionKind::Count(_) | OptionKind::Real);
                if is_number && !option.is_optional && option.name != "seed" {
                    assert!(help.contains(&format!("[default: {default}]")), "{flag} in {help}");
                }
            }
        }
        check::<EngineOptions>("distill");
        check::<CurateOptions>("distill");
        check::<Acceptance>("distill");
        check::<TrainOptions>("distill");
        check::<DataMix>("distill");
        check::<RoutingOptions>("answer");
        check::<PreviewOptions>("preview");
    }

    #[test]
    fn flags_are_read_as_options_and_absent_ones_are_defaults() {
        let program = parse(&[]).unwrap();
        assert_eq!(program.training.read().unwrap(), TrainOptions::default());
        let args = ["--lora-plus", "16", "--rslora", "--schedule", "linear", "--compute-dtype", "auto"];
        let options = parse(&[&args[..], &["--modules", "attn_q,attn_v", "--seed", "7"]].concat()).unwrap();
        let options = options.training.read().unwrap();
        assert!(options.lora_plus == 16.0 && options.rslora && options.modules.len() == 2);
        assert_eq!((options.seed, options.compute_dtype), (7, None));
    }

    #[test]
    fn what_is_not_a_value_is_an_argument_error_and_what_is_out_of_range_names_the_field() {
        assert!(parse(&["--rank", "many"]).unwrap_err().to_string().contains("is not a whole number"));
        assert!(parse(&["--schedule", "sine"]).is_err());
        for empty in ["--max-steps=", "--modules=", "--rank="] {
            assert!(parse(&[empty]).is_err(), "an unset variable is not a default: {empty}");
        }
        let clip = parse(&["--clip", "-1"]).unwrap().training.read().unwrap_err();
        assert_eq!(clip.to_string(), "clip: -1 is not at least 0");
    }
}
