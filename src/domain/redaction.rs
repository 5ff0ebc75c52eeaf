//! Words that may be secrets, taken out of what is said about them (law 7).

/// `text` with each word for which `is_secret` holds replaced. Words are made of the characters of tokens and keys.
pub fn redacted(text: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '+' | '=');
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_of_token) {
        let (between, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !is_of_token(c)).unwrap_or(from.len()));
        kept.push_str(between);
        kept.push_str(if is_secret(word) { "[redacted]" } else { word });
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// Whether `word` begins as a JWT or an operator's key does. No name, action or pattern need begin so.
pub fn is_credential(word: &str) -> bool {
    word.starts_with("eyJ") || word.starts_with("hpo_")
}
