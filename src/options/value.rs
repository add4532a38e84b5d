//! The types that an option may have.

use std::path::PathBuf;

use super::{AUTO, EnumInfo, OptionKind};
use crate::{Error, Result};

/// A type of options.
pub trait OptionValue: Sized {
    /// What its values are.
    const KIND: OptionKind;
    /// Whether it may be unset.
    const IS_OPTIONAL: bool = false;

    /// The value that `texts` say, for the option called `option`.
    ///
    /// # Errors
    /// [`Error::Input`] where they say none.
    fn parse(option: &'static str, texts: &[&str]) -> Result<Self>;

    /// The value as a text that [`OptionValue::parse`] reads; empty where it is unset.
    fn text(&self) -> String;

    /// The value as a number, where it is one.
    fn number(&self) -> Option<f64> {
        None
    }

    /// What is wrong with the value, apart from its range.
    fn objection(&self) -> Option<String> {
        None
    }
}

/// An enum of named values; see `choices!`.
pub trait OptionChoice: Copy + PartialEq + 'static {
    /// Its description.
    const INFO: &'static EnumInfo;
    /// All values, in the order of the description.
    const VALUES: &'static [Self];

    /// Its name.
    fn name(self) -> &'static str {
        let at = Self::VALUES.iter().position(|value| *value == self);
        at.map_or("", |at| Self::INFO.values[at].name)
    }

    /// The value called `name`, for the option called `option`.
    ///
    /// # Errors
    /// [`Error::Input`] with the names there are.
    fn named(option: &'static str, name: &str) -> Result<Self> {
        Self::VALUES.iter().copied().find(|value| value.name() == name).ok_or_else(|| {
            let known: Vec<_> = Self::INFO.values.iter().map(|value| value.name).collect();
            Error::field(option, format!("{name:?} is not one of {}", known.join(", ")))
        })
    }
}

macro_rules! number {
    ($($type:ty: $kind:expr, $what:literal;)+) => {$(
        impl OptionValue for $type {
            const KIND: OptionKind = $kind;

            fn parse(option: &'static str, texts: &[&str]) -> Result<$type> {
                let text = texts.first().copied().unwrap_or_default();
                text.parse().map_err(|_| Error::field(option, format!("{text:?} is not a {}", $what)))
            }

            fn text(&self) -> String {
                self.to_string()
            }

            fn number(&self) -> Option<f64> {
                Some(*self as f64)
            }
        }
    )+};
}

number! {
    usize: OptionKind::Count(32), "whole number";
    u32: OptionKind::Count(32), "whole number";
    u64: OptionKind::Count(64), "whole number";
    f32: OptionKind::Real, "number";
    f64: OptionKind::Real, "number";
}

impl OptionValue for bool {
    const KIND: OptionKind = OptionKind::Switch;

    fn parse(option: &'static str, texts: &[&str]) -> Result<bool> {
        match texts.first().copied() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            other => {
                Err(Error::field(option, format!("{:?} is not true or false", other.unwrap_or_default())))
            }
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl<T: OptionValue> OptionValue for Option<T> {
    const KIND: OptionKind = T::KIND;
    const IS_OPTIONAL: bool = true;

    fn parse(option: &'static str, texts: &[&str]) -> Result<Option<T>> {
        match (texts.first().copied().unwrap_or_default(), T::KIND) {
            ("", _) | (AUTO, OptionKind::Choice(_)) => Ok(None),
            _ => T::parse(option, texts).map(Some),
        }
    }

    fn text(&self) -> String {
        self.as_ref().map_or_else(String::new, OptionValue::text)
    }

    fn number(&self) -> Option<f64> {
        self.as_ref().and_then(OptionValue::number)
    }

    fn objection(&self) -> Option<String> {
        self.as_ref().and_then(OptionValue::objection)
    }
}

/// Some of an enum's values, such as `attn_q,attn_v`.
impl<T: OptionChoice> OptionValue for Vec<T> {
    const KIND: OptionKind = OptionKind::Names(T::INFO);

    fn parse(option: &'static str, texts: &[&str]) -> Result<Vec<T>> {
        let text = texts.first().copied().unwrap_or_default();
        text.split(',').map(|name| T::named(option, name.trim())).collect()
    }

    fn text(&self) -> String {
        self.iter().map(|value| value.name()).collect::<Vec<_>>().join(",")
    }

    fn objection(&self) -> Option<String> {
        let known = T::INFO.values.iter().map(|value| value.name).collect::<Vec<_>>().join(", ");
        self.is_empty().then(|| format!("names nothing; name some of {known}"))
    }
}

impl OptionValue for PathBuf {
    const KIND: OptionKind = OptionKind::Path;

    fn parse(_: &'static str, texts: &[&str]) -> Result<PathBuf> {
        Ok(texts.first().copied().unwrap_or_default().into())
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl OptionValue for Vec<PathBuf> {
    const KIND: OptionKind = OptionKind::Paths;

    fn parse(_: &'static str, texts: &[&str]) -> Result<Vec<PathBuf>> {
        Ok(texts.iter().map(PathBuf::from).collect())
    }

    fn text(&self) -> String {
        self.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",")
    }
}
