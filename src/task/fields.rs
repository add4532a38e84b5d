//! The named texts of a question, in little memory: a file may hold a million questions, nearly all of them
//! with one field, and a node of a tree takes more than 500 bytes.

use std::fmt;
use std::ops::Index;
use std::slice;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// The fields of a question: texts by name, in the order of their names.
///
/// Copies share the texts.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Fields(Arc<[(String, String)]>);

impl Fields {
    /// The text of the field `name`.
    pub fn get(&self, name: &str) -> Option<&String> {
        self.place(name).ok().map(|i| &self.0[i].1)
    }

    /// Whether there is a field `name`.
    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Sets the field `name`. Returns the text that it had.
    pub fn insert(&mut self, name: String, text: String) -> Option<String> {
        let mut all = self.0.to_vec();
        let before = match self.place(&name) {
            Ok(i) => Some(std::mem::replace(&mut all[i].1, text)),
            Err(i) => {
                all.insert(i, (name, text));
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
    pub fn iter(&self) -> FieldIter<'_> {
        FieldIter(self.0.iter())
    }

    /// The names.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &String> {
        self.iter().map(|(name, _)| name)
    }

    /// The texts.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &String> {
        self.iter().map(|(_, text)| text)
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_str().cmp(name))
    }
}

/// The names and texts of [`Fields`].
#[derive(Debug, Clone)]
pub struct FieldIter<'a>(slice::Iter<'a, (String, String)>);

impl<'a> Iterator for FieldIter<'a> {
    type Item = (&'a String, &'a String);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, text)| (name, text))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for FieldIter<'_> {}

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a String, &'a String);
    type IntoIter = FieldIter<'a>;

    fn into_iter(self) -> FieldIter<'a> {
        self.iter()
    }
}

/// # Panics
/// If there is no such field.
impl Index<&str> for Fields {
    type Output = String;

    fn index(&self, name: &str) -> &String {
        self.get(name).unwrap_or_else(|| panic!("no field {name:?}"))
    }
}

impl FromIterator<(String, String)> for Fields {
    /// Of fields with the same name, the last counts.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(fields: I) -> Fields {
        let mut all: Vec<(String, String)> = fields.into_iter().collect();
        all.reverse();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|later, first| later.0 == first.0);
        for (name, text) in &mut all {
            name.shrink_to_fit();
            text.shrink_to_fit();
        }
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
        *self = self.0.iter().cloned().chain(fields).collect();
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
        for (name, text) in self {
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
        let pairs: Vec<_> = some.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(pairs, [("a", "2"), ("b", "3"), ("question", "?")]);
        assert_eq!(some.insert("b".into(), "4".into()), Some("3".into()));
        assert_eq!(some.insert("0".into(), "5".into()), None);
        assert_eq!(some.values().map(String::as_str).collect::<String>(), "524?");
        assert_eq!((some.get("c"), some.get("a").map(String::as_str)), (None, Some("2")));
        assert_eq!(serde_json::to_string(&some).unwrap(), r#"{"0":"5","a":"2","b":"4","question":"?"}"#);
    }

    #[test]
    fn a_copy_is_not_changed_with_the_original() {
        let one = Fields::from([("question".to_string(), "x".to_string())]);
        let mut other = one.clone();
        other.insert("question".into(), "y".into());
        assert_eq!((one["question"].as_str(), other["question"].as_str()), ("x", "y"));
        other.extend([("a".to_string(), "z".to_string())]);
        assert_eq!((one.len(), other.len()), (1, 2));
    }
}
