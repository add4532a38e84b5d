//! Options and their descriptions, each defined once.
//!
//! A row of an `options!` table is a field of a struct. From it follow its default, its range check and
//! its serialized name, and an [`OptionInfo`], from which the program makes its flags and `make header`
//! the params structs of C and C++. `choices!` does the same for an enum: its names, and an
//! [`EnumInfo`].

mod value;

use crate::{Error, Result};
pub use value::{OptionChoice, OptionValue};

/// A group of options: a struct whose fields are rows of a table.
pub trait OptionGroup: Default {
    /// What the group is about, as a heading: `Training`.
    const HEADING: &'static str;
    /// Its options, in the order in which they are shown.
    const OPTIONS: &'static [OptionInfo];

    /// Sets the option called `name` to what `texts` say: one text, or any number for a list of paths.
    ///
    /// # Errors
    /// [`Error::Input`] for a text that is not a value of the option, or a name that is not an option.
    fn set(&mut self, name: &str, texts: &[&str]) -> Result<()>;

    /// The option called `name` as a text; empty where it is unset, or not an option.
    fn get(&self, name: &str) -> String;

    /// Refuses values outside their ranges.
    ///
    /// # Errors
    /// [`Error::Input`] that names the field.
    fn check(&self) -> Result<()>;
}

/// What one option is.
#[derive(Debug, Clone, Copy)]
pub struct OptionInfo {
    /// Its name: the field, the C and C++ member, and the flag with `-` for `_`.
    pub name: &'static str,
    /// Lines of its documentation, as in the source; [`OptionInfo::doc`] joins them.
    pub lines: &'static str,
    /// What its values are.
    pub kind: OptionKind,
    /// Whether it may be left unset.
    pub is_optional: bool,
    /// Its range and how it is presented.
    pub row: OptionRow,
}

/// What is written in a row besides name, type and default.
#[derive(Debug, Clone, Copy)]
pub struct OptionRow {
    /// The numbers that are allowed.
    pub range: Range,
    /// A usual value, for messages.
    pub usual: &'static str,
    /// What stands for the value in a synopsis: `N`, `SHARE`.
    pub placeholder: &'static str,
    /// What an unset option means: `all cores`.
    pub unset: &'static str,
    /// Whether it is a number of bytes, which a person writes as `800M`.
    pub is_bytes: bool,
}

impl OptionRow {
    /// Any number, nothing else said.
    pub const PLAIN: OptionRow =
        OptionRow { range: Range::ANY, usual: "", placeholder: "N", unset: "", is_bytes: false };
}

/// What the values of an option are.
#[derive(Debug, Clone, Copy)]
pub enum OptionKind {
    /// On or off.
    Switch,
    /// A whole number of so many bits.
    Count(u32),
    /// A real number.
    Real,
    /// One of several names.
    Choice(&'static EnumInfo),
    /// Some of several names, with commas between them.
    Names(&'static EnumInfo),
    /// A file or directory.
    Path,
    /// Any number of files or directories.
    Paths,
}

/// What an enum is.
#[derive(Debug)]
pub struct EnumInfo {
    /// Its name in snake case: `adapter_dtype`.
    pub name: &'static str,
    /// Lines of its documentation, as in the source.
    pub lines: &'static str,
    /// Its values, the default first.
    pub values: &'static [ValueInfo],
}

/// What one value of an enum is.
#[derive(Debug)]
pub struct ValueInfo {
    /// Its name, as files and flags have it: `as-is`.
    pub name: &'static str,
    /// Lines of its documentation, as in the source.
    pub lines: &'static str,
}

/// The text of doc comment `lines`, as one paragraph.
pub fn paragraph(lines: &str) -> String {
    lines.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl OptionInfo {
    /// Its documentation as one paragraph.
    pub fn doc(&self) -> String {
        paragraph(self.lines)
    }

    /// Whether the number 0 stands for the default in a params struct: where it is not a value itself.
    pub fn zero_is_default(&self) -> bool {
        self.is_optional || !self.row.range.holds(0.0)
    }

    /// The names of its values and their documentation, where it is a choice or a list of names: `auto`
    /// first where it may be unset.
    pub fn values(&self) -> Vec<(&'static str, String)> {
        let (OptionKind::Choice(info) | OptionKind::Names(info)) = self.kind else { return Vec::new() };
        let auto = self.is_optional.then(|| (AUTO, self.row.unset.to_string()));
        auto.into_iter().chain(info.values.iter().map(|v| (v.name, paragraph(v.lines)))).collect()
    }

    /// Refuses a value that is out of range.
    pub fn check<T: OptionValue>(&self, value: &T) -> Result<()> {
        let usual = match self.row.usual {
            "" => String::new(),
            usual => format!("; {usual} is usual"),
        };
        let outside = value.number().and_then(|number| self.row.range.objection(number));
        match outside.map(|objection| format!("{} {objection}{usual}", value.text())).or(value.objection()) {
            Some(reason) => Err(Error::field(self.name, reason)),
            None => Ok(()),
        }
    }
}

/// The name that leaves an optional choice unset.
pub const AUTO: &str = "auto";

/// Numbers from `min` to `max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The least number, or what all are above.
    pub min: f64,
    /// Whether `min` itself is allowed.
    pub has_min: bool,
    /// The greatest number, or what all are below.
    pub max: f64,
    /// Whether `max` itself is allowed.
    pub has_max: bool,
}

impl Range {
    /// Every finite number.
    pub const ANY: Range =
        Range { min: f64::NEG_INFINITY, has_min: false, max: f64::INFINITY, has_max: false };

    /// From `min` to `max`, both included.
    pub const fn closed(min: f64, max: f64) -> Range {
        Range { min, has_min: true, max, has_max: true }
    }

    /// From `min` on.
    pub const fn at_least(min: f64) -> Range {
        Range { min, has_min: true, max: f64::INFINITY, has_max: false }
    }

    /// Above `min`.
    pub const fn above(min: f64) -> Range {
        Range { min, has_min: false, max: f64::INFINITY, has_max: false }
    }

    /// The same without `max`, or as far as `max`, which is excluded.
    pub const fn below(self, max: f64) -> Range {
        Range { max, has_max: false, ..self }
    }

    /// The same as far as `max`, which is included.
    pub const fn up_to(self, max: f64) -> Range {
        Range { max, has_max: true, ..self }
    }

    /// Whether it holds `number`.
    pub fn holds(&self, number: f64) -> bool {
        (number > self.min || self.has_min && number == self.min)
            && (number < self.max || self.has_max && number == self.max)
    }

    /// What is wrong with `number`: `is not above 0`.
    fn objection(&self, number: f64) -> Option<String> {
        (!self.holds(number)).then(|| match self.text() {
            text if text.is_empty() => "is not a finite number".into(),
            text if number == f64::INFINITY && self.max == f64::INFINITY => {
                format!("is not a finite number {text}")
            }
            text => format!("is not {text}"),
        })
    }

    /// The range in words: `at least 1`, `above 0 and below 1`, `from 1 to 256`. Empty for any number.
    pub fn text(&self) -> String {
        let min = match (self.min.is_finite(), self.has_min) {
            (false, _) => String::new(),
            (true, true) => format!("at least {}", self.min),
            (true, false) => format!("above {}", self.min),
        };
        let max = match (self.max.is_finite(), self.has_max) {
            (false, _) => String::new(),
            (true, true) => format!("at most {}", self.max),
            (true, false) => format!("below {}", self.max),
        };
        match (min.is_empty(), max.is_empty()) {
            (false, false) if self.has_min && self.has_max => format!("from {} to {}", self.min, self.max),
            (false, false) => format!("{min} and {max}"),
            _ => min + &max,
        }
    }
}

/// A struct of options from a table of rows:
///
/// ```text
/// options! {
///     /// What the struct is.
///     pub struct Example: "Heading" {
///         /// What the option is.
///         rank: usize = 16, { range: Range::closed(1.0, 256.0), placeholder: "R" };
///     }
///     with {
///         /// A field that is not an option.
///         engine: EngineOptions,
///     }
/// }
/// ```
///
/// `early_stopping as disable_early_stop` gives an option another name than its field.
macro_rules! options {
    (
        $(#[$meta:meta])*
        pub struct $group:ident: $heading:literal {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)*)])*
                $field:ident $(as $name:ident)?: $type:ty = $default:expr, { $($key:ident: $value:expr),* $(,)? };
            )+
        }
        $(with { $( $(#[doc = $other_doc:literal])+ $other:ident: $other_type:ty, )+ })?
    ) => {
        $(#[$meta])*
        pub struct $group {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!("Default: `", stringify!($default), "`.")]
                $(#[serde($($serde)*)])*
                pub $field: $type,
            )+
            $($( $(#[doc = $other_doc])+ pub $other: $other_type, )+)?
        }

        impl Default for $group {
            fn default() -> Self {
                $group { $($field: $default,)+ $($($other: Default::default(),)+)? }
            }
        }

        impl $crate::options::OptionGroup for $group {
            const HEADING: &'static str = $heading;
            const OPTIONS: &'static [$crate::options::OptionInfo] = &[$(
                $crate::options::OptionInfo {
                    name: $crate::options::options!(@name $field $($name)?),
                    lines: concat!($($doc, "\n"),+),
                    kind: <$type as $crate::options::OptionValue>::KIND,
                    is_optional: <$type as $crate::options::OptionValue>::IS_OPTIONAL,
                    row: $crate::options::OptionRow { $($key: $value,)* ..$crate::options::OptionRow::PLAIN },
                },
            )+];

            fn set(&mut self, name: &str, texts: &[&str]) -> $crate::Result<()> {
                match name {
                    $(
                        $crate::options::options!(@name $field $($name)?) => {
                            let name = $crate::options::options!(@name $field $($name)?);
                            self.$field = $crate::options::OptionValue::parse(name, texts)?;
                            Ok(())
                        }
                    )+
                    _ => Err($crate::Error::input(name, "is not an option")),
                }
            }

            fn get(&self, name: &str) -> String {
                match name {
                    $($crate::options::options!(@name $field $($name)?) =>
                        $crate::options::OptionValue::text(&self.$field),)+
                    _ => String::new(),
                }
            }

            fn check(&self) -> $crate::Result<()> {
                $($crate::options::check::<Self, _>(
                    $crate::options::options!(@name $field $($name)?), &self.$field)?;)+
                Ok(())
            }
        }

        impl $group {
            /// Refuses values outside their ranges.
            ///
            /// # Errors
            /// [`Error::Input`](crate::Error::Input) that names the field.
            pub fn check(&self) -> $crate::Result<()> {
                $crate::options::OptionGroup::check(self)
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:ident) => { stringify!($name) };
}
pub(crate) use options;

/// Refuses `value` where it is out of the range of the option `name` of the group `G`.
pub(crate) fn check<G: OptionGroup, T: OptionValue>(name: &str, value: &T) -> Result<()> {
    G::OPTIONS.iter().find(|info| info.name == name).map_or(Ok(()), |info| info.check(value))
}

/// An enum of named values, of which the first is the default:
///
/// ```text
/// choices! {
///     /// What the enum is.
///     pub enum Example: "example" {
///         /// What the value is.
///         First = "first",
///     }
/// }
/// ```
///
/// A second name, as in `First = "first" | "1st"`, is one that files of earlier versions hold.
macro_rules! choices {
    (
        $(#[doc = $doc:literal])+
        $(#[derive($($derive:ident),+)])?
        pub enum $choice:ident: $id:literal {
            $( $(#[doc = $value_doc:literal])+ $variant:ident = $name:literal $(| $alias:literal)*, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        $(#[derive($($derive),+)])?
        pub enum $choice {
            $( $(#[doc = $value_doc])+ #[serde(rename = $name $(, alias = $alias)*)] $variant, )+
        }

        impl Default for $choice {
            fn default() -> Self {
                <$choice as $crate::options::OptionChoice>::VALUES[0]
            }
        }

        impl $crate::options::OptionChoice for $choice {
            const INFO: &'static $crate::options::EnumInfo = &$crate::options::EnumInfo {
                name: $id,
                lines: concat!($($doc, "\n"),+),
                values: &[$(
                    $crate::options::ValueInfo { name: $name, lines: concat!($($value_doc, "\n"),+) },
                )+],
            };
            const VALUES: &'static [$choice] = &[$($choice::$variant),+];
        }

        impl $crate::options::OptionValue for $choice {
            const KIND: $crate::options::OptionKind =
                $crate::options::OptionKind::Choice(<$choice as $crate::options::OptionChoice>::INFO);

            fn parse(option: &'static str, texts: &[&str]) -> $crate::Result<$choice> {
                $crate::options::OptionChoice::named(option, texts.first().copied().unwrap_or_default())
            }

            fn text(&self) -> String {
                $crate::options::OptionChoice::name(*self).into()
            }
        }
    };
}
pub(crate) use choices;

#[cfg(test)]
mod tests {
    use super::*;

    choices! {
        /// How it falls.
        pub enum Fall: "fall" {
            /// Along a curve.
            Curved = "curved" | "round",
            /// In a line.
            Straight = "straight",
        }
    }

    options! {
        /// Example.
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct Example: "Example" {
            /// Rank of every
            /// pair.
            rank: usize = 16, { range: Range::closed(1.0, 256.0) };
            /// Ratio.
            ratio: f32 = 1.0, { range: Range::above(0.0), usual: "16" };
            /// Threads.
            threads: Option<u32> = None, { range: Range::closed(1.0, 1024.0), unset: "all cores" };
            /// Fall.
            fall: Fall = Fall::Curved, {};
        }
        with {
            /// Something else.
            other: Vec<u8>,
        }
    }

    #[test]
    fn a_row_is_a_field_with_a_default_a_check_and_a_description() {
        let mut example = Example::default();
        assert!(example.check().is_ok());
        for (name, text) in [("rank", "8"), ("ratio", "0.5"), ("threads", "2"), ("fall", "straight")] {
            example.set(name, &[text]).unwrap();
            assert_eq!(example.get(name), text);
        }
        assert_eq!((example.rank, example.ratio, example.threads), (8, 0.5, Some(2)));
        assert_eq!(example.fall, Fall::Straight);
        assert_eq!(Example::OPTIONS[0].doc(), "Rank of every pair.");
        assert_eq!(serde_json::to_value(&example).unwrap()["fall"], "straight");
        assert_eq!(serde_json::from_str::<Example>(r#"{"fall": "round"}"#).unwrap(), Example::default());
    }

    #[test]
    fn a_value_out_of_range_is_named_by_its_field_with_the_reason() {
        let check = |name, text| {
            let mut example = Example::default();
            example.set(name, &[text]).unwrap();
            example.check().unwrap_err().to_string()
        };
        assert_eq!(check("rank", "0"), "rank: 0 is not from 1 to 256");
        assert_eq!(check("ratio", "0"), "ratio: 0 is not above 0; 16 is usual");
        assert_eq!(check("ratio", "NaN"), "ratio: NaN is not above 0; 16 is usual");
        assert_eq!(check("threads", "1025"), "threads: 1025 is not from 1 to 1024");
    }

    #[test]
    fn a_text_that_is_not_a_value_is_named_by_its_field() {
        let set = |name: &str, text| Example::default().set(name, &[text]).unwrap_err().to_string();
        assert_eq!(set("rank", "-1"), "rank: \"-1\" is not a whole number");
        assert_eq!(set("ratio", "much"), "ratio: \"much\" is not a number");
        assert_eq!(set("fall", "free"), "fall: \"free\" is not one of curved, straight");
    }

    #[test]
    fn ranges_are_said_in_words() {
        let of = |range: Range| range.text();
        assert_eq!(of(Range::at_least(0.0).below(1.0)), "at least 0 and below 1");
        assert_eq!(of(Range::above(0.0).up_to(1.0)), "above 0 and at most 1");
        assert_eq!(of(Range::at_least(1.0)), "at least 1");
        assert_eq!(of(Range::ANY), "");
        let infinite = Range::above(0.0).objection(f64::INFINITY);
        assert_eq!(infinite.as_deref(), Some("is not a finite number above 0"));
        assert_eq!(Range::ANY.objection(f64::NAN).as_deref(), Some("is not a finite number"));
        assert!(!Range::ANY.holds(f64::NAN) && !Range::at_least(0.0).holds(f64::INFINITY));
    }
}
