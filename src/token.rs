//! The type of a token.

/// A token: its index in the model's vocabulary.
pub type Token = i32;
