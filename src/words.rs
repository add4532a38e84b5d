//! Texts as their words, without case and punctuation.

/// The words of `text` in lower case, separated by spaces, without punctuation.
pub fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’') {
        let word = word.trim_matches(|c| c == '\'' || c == '’');
        if !word.is_empty() {
            if !out.is_empty() {
                out.push(' ');
            }
            out.extend(word.chars().flat_map(char::to_lowercase));
        }
    }
    out
}

/// Number of words of a text from [`words`].
pub fn count(words: &str) -> usize {
    words.split(' ').filter(|word| !word.is_empty()).count()
}

/// Whether `part` is a run of whole words of `whole`, both from [`words`].
pub fn contains(whole: &str, part: &str) -> bool {
    !part.is_empty() && format!(" {whole} ").contains(&format!(" {part} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_by_their_words() {
        assert_eq!(words(" **Who** painted the “Mona Lisa”?\n"), "who painted the mona lisa");
        assert_eq!(words("L'Hospitalet — Ürümqi, 3.5"), "l'hospitalet ürümqi 3 5");
        assert!(contains("is it mars or not", "mars") && !contains("is it marsupial", "mars"));
    }
}
