//! The text of a completion as it grows: tokens are pieces of bytes that may split a character,
//! and stop strings may span tokens.

/// The text so far, and the bytes of a character that is not complete yet.
#[derive(Default)]
pub(super) struct GrowingText {
    text: String,
    pending: Vec<u8>,
    /// Bytes of the text that belong to the prompt; stop strings are not searched there.
    prompt_bytes: usize,
}

impl GrowingText {
    /// A text that begins with `start`, which is part of the prompt.
    pub fn after(start: &str) -> GrowingText {
        GrowingText { text: start.to_string(), prompt_bytes: start.len(), ..GrowingText::default() }
    }

    /// Appends a token's bytes. Bytes that can never become a character turn into U+FFFD.
    /// Returns whether the text grew.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let before = self.text.len();
        self.pending.extend_from_slice(bytes);
        loop {
            let error = match std::str::from_utf8(&self.pending) {
                Ok(valid) => {
                    self.text.push_str(valid);
                    self.pending.clear();
                    break;
                }
                Err(error) => error,
            };
            let (valid, rest) = self.pending.split_at(error.valid_up_to());
            self.text.push_str(&String::from_utf8_lossy(valid));
            let Some(bad) = error.error_len() else {
                self.pending = rest.to_vec();
                break;
            };
            self.text.push('\u{fffd}');
            self.pending = rest[bad..].to_vec();
        }
        self.text.len() > before
    }

    /// The text so far.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text so far without what belongs to the prompt.
    pub fn generated(&self) -> &str {
        &self.text[self.prompt_bytes..]
    }

    /// Ends the text before the first of `stops` that ends within the last `grown` bytes; whether
    /// there was one. Empty stop strings are ignored.
    pub fn cut_at(&mut self, stops: &[String], grown: usize) -> bool {
        let longest = stops.iter().map(String::len).max().unwrap_or(0);
        let mut from = self.text.len().saturating_sub(grown + longest).max(self.prompt_bytes);
        while !self.text.is_char_boundary(from) {
            from -= 1;
        }
        let stops = stops.iter().filter(|stop| !stop.is_empty());
        let Some(at) = stops.filter_map(|stop| self.text[from..].find(stop.as_str())).min() else {
            return false;
        };
        self.text.truncate(from + at);
        self.pending.clear();
        true
    }

    /// The whole text; a character that was never completed becomes U+FFFD.
    pub fn finish(mut self) -> String {
        if !self.pending.is_empty() {
            self.text.push('\u{fffd}');
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_split_over_tokens_appears_when_it_is_complete() {
        let mut text = GrowingText::default();
        assert!(text.push(b"a\xe2"));
        assert!(!text.push(b"\x82"));
        assert_eq!(text.as_str(), "a");
        assert!(text.push(b"\xac!"));
        assert_eq!(text.finish(), "a\u{20ac}!");
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        let mut text = GrowingText::default();
        text.push(b"a\xffb\xe2");
        text.push(b"\x28c\xf0\x9f");
        assert_eq!(text.finish(), "a\u{fffd}b\u{fffd}(c\u{fffd}");
    }

    #[test]
    fn a_stop_string_is_found_across_tokens_and_left_out() {
        let stops = ["END".to_string(), String::new(), "\u{e9}!".to_string()];
        let mut text = GrowingText::default();
        for (piece, stopped) in [("x E", false), ("N", false), ("Dy", true)] {
            text.push(piece.as_bytes());
            assert_eq!(text.cut_at(&stops, piece.len()), stopped);
        }
        assert_eq!(text.as_str(), "x ");
        let mut text = GrowingText::default();
        text.push("a\u{e9}\u{e9}!END".as_bytes());
        assert!(text.cut_at(&stops, 20));
        assert_eq!(text.as_str(), "a\u{e9}");
        let mut text = GrowingText::after("END");
        text.push(b"x");
        assert!(!text.cut_at(&stops, 1));
        assert_eq!(text.finish(), "ENDx");
    }
}
