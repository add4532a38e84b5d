//! The named texts of a question, in little memory: a file may hold a million questions, nearly all of them
//! with one field.

use std::borrow::Cow;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// The field that most questions have alone.
const QUESTION: &str = "question";

/// The fields of a question: texts by name, in the order of their names.
///
/// Copies share the texts.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Fields(Arc<[(Cow<'static, str>, Box<str>)]>);

impl Fields {
    /// The one field `question`.
    pub fn question(text: impl Into<String>) -> Fields {
        [(QUESTION.to_string(), text.into())].into()
    }

    /// The text of the field `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.place(name).ok().map(|i| &*self.0[i].1)
    }

    /// Whether there is a field `name`.
    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Sets the field `name`. Returns the text that it had.
    pub fn insert(&mut self, name: impl Into<String>, text: impl Into<String>) -> Option<String> {
        let (name, text) = (name.into(), text.into().into_boxed_str());
        let mut all = self.0.to_vec();
        let before = match self.place(&name) {
            Ok(i) => Some(std::mem::replace(&mut all[i].1, text).into()),
            Err(i) => {
                all.insert(i, (named(name), text));
                None
            }
        };
        self.0 = all.into();
        before
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and texts.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (&**name, &**text))
    }

    /// The names.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// The texts.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> {
        self.iter().map(|(_, text)| text)
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (**other).cmp(name))
    }
}

fn named(name: String) -> Cow<'static, str> {
    if name == QUESTION { Cow::Borrowed(QUESTION) } else { Cow::Owned(name) }
}

/// # Panics
/// If there is no such field.
impl Index<&str> for Fields {
    type Output = str;

    fn index(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("no field {name:?}"))
    }
}

impl FromIterator<(String, String)> for Fields {
    /// Of fields with the same name, the last counts.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(fields: I) -> Fields {
        let mut all: Vec<(Cow<'static, str>, Box<str>)> =
            fields.into_iter().map(|(name, text)| (named(name), text.into())).collect();
        all.reverse();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|later, first| later.0 == first.0);
        Fields(all.into())
    }
}

impl<const N: usize> From<[(String, String); N]> for Fields {
    fn from(fields: [(String, String); N]) -> Fields {
        fields.into_iter().collect()
    }
}

impl Extend<(String, String)> for Fields {
    fn extend<I: IntoIterator<Item = (String, String)>>(&mut self, fields: I) {
        let own = self.iter().map(|(name, text)| (name.to_string(), text.to_string()));
        *self = own.collect::<Vec<_>>().into_iter().chain(fields).collect();
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, text) in self.iter() {
            map.serialize_entry(name, text)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    #[test]
    fn fields_are_in_the_order_of_their_names_and_the_last_of_a_name_counts() {
        let mut some = fields(&[("b", "1"), ("question", "?"), ("a", "2"), ("b", "3")]);
        assert_eq!(some.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3"), ("question", "?")]);
        assert_eq!(some.insert("b", "4"), Some("3".into()));
        assert_eq!(some.insert("0", "5"), None);
        assert_eq!(some.values().collect::<String>(), "524?");
        assert_eq!((some.get("c"), some.get("a"), &some["question"]), (None, Some("2"), "?"));
        assert_eq!(serde_json::to_string(&some).unwrap(), r#"{"0":"5","a":"2","b":"4","question":"?"}"#);
    }

    #[test]
    fn a_copy_is_not_changed_with_the_original() {
        let one = Fields::question("x");
        let mut other = one.clone();
        other.insert("question", "y");
        assert_eq!((&one["question"], &other["question"]), ("x", "y"));
        other.extend([("a".to_string(), "z".to_string())]);
        assert_eq!((one.len(), other.len()), (1, 2));
    }
}
