//! What no value that a person wrote may hold, because nobody who reads it sees it.

use std::path::Path;

use crate::domain::diagnostic::{is_deceptive, must_be_escaped};

/// What to do about a [`flaw`].
pub const FLAW_REMEDY: &str = "take it out";

/// White space at an end of `text`, or a control character in it. The words repeat no more than that character.
pub fn flaw(text: &str) -> Option<String> {
    let is_outer = |c: &char| c.is_whitespace() || is_deceptive(*c);
    if let Some(c) = text.chars().next_back().filter(is_outer) {
        return Some(format!("ends with {}", name(c)));
    }
    if let Some(c) = text.chars().next().filter(is_outer) {
        return Some(format!("begins with {}", name(c)));
    }
    if text.contains('\u{fffd}') {
        return Some("holds U+FFFD, which stands where there was no text".to_owned());
    }
    text.chars().find(|c| c.is_control()).map(|c| format!("holds {}", name(c)))
}

/// A character within `text` that does not show, or that looks like another spelling of the same text.
pub fn hidden(text: &str) -> Option<String> {
    let (at, found) = text.char_indices().find(|(_, c)| must_be_escaped(*c))?;
    Some(match text[..at].chars().next_back() {
        Some(before) if !is_deceptive(found) && !found.is_whitespace() => {
            format!("holds `{before}` and U+{:04X}, where one character may look the same", u32::from(found))
        }
        _ => format!("holds {}", name(found)),
    })
}

/// What is wrong with a line `key = word` whose word should stand in quotes, and what to write instead.
pub(super) fn unquoted(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.split('#').next().unwrap_or_default().trim());
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_word = value.starts_with(|c: char| c.is_alphabetic() || matches!(c, '/' | '.' | '~'))
        && !value.contains(['"', '\'', '[', ']', '{', '}', ',', '\\', '=']);
    if key.is_empty() || !key.chars().all(is_key) || !is_word || matches!(value, "true" | "false") {
        return None;
    }
    let secret =
        may_be_secret(value) || value.chars().count() > MOST_SHOWN || value.contains(must_be_escaped);
    let (told, shown) = if secret { ("the value", "…") } else { (value, value) };
    Some((format!("not TOML: {told} stands without quotes"), format!("write {key} = \"{shown}\"")))
}

/// Longer values are cut: their beginning says which one it is.
const MOST_SHOWN: usize = 60;

/// What is wrong with `text`, with the value where it may be shown: not if it could be a secret that was pasted into the
/// wrong place.
pub fn wrong_value(text: &str, problem: &str) -> String {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_said = problem.match_indices(text).any(|(at, _)| {
        let (before, after) = (&problem[..at], &problem[at + text.len()..]);
        !before.ends_with(is_of_word) && !after.starts_with(is_of_word)
    });
    if may_be_secret(text) || is_said {
        return problem.to_owned();
    }
    let cut: String = text.chars().take(MOST_SHOWN).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    let verbs = ["is ", "has ", "holds ", "must ", "needs ", "names ", "looks ", "matches ", "would "];
    let join = if verbs.iter().any(|verb| problem.starts_with(verb)) { "" } else { ":" };
    format!("\"{cut}{dots}\"{join} {problem}")
}

/// A URL with a user or a query, a key of ours or of PEM, or one long word of letters and digits, as tokens, keys and hashes are.
fn may_be_secret(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-');
    let is_long = |word: &str| {
        word.len() >= 24
            && word.contains(|c: char| c.is_ascii_digit())
            && word.contains(|c: char| c.is_ascii_alphabetic())
    };
    (text.contains("://") && text.contains(['@', '?']))
        || text.contains("hpo_")
        || text.contains("-----BEGIN")
        || text.split(|c| !is_word(c)).any(is_long)
}

fn name(c: char) -> String {
    let code = u32::from(c);
    match c {
        ' ' => "a space".to_owned(),
        '\r' => "a carriage return (U+000D, as Windows ends lines)".to_owned(),
        '\n' => "a line break (U+000A)".to_owned(),
        '\t' => "a tab (U+0009)".to_owned(),
        _ if c.is_control() => format!("a control character (U+{code:04X})"),
        _ if c.is_whitespace() => format!("white space that is no plain space (U+{code:04X})"),
        _ => format!("a character that does not show (U+{code:04X})"),
    }
}

/// What a shell or a browser would replace in `path`, and hallpass does not.
/// Or a character that nobody sees in it: it would be another file than the one that was meant.
pub fn unexpanded(path: &str) -> Option<String> {
    if let Some(c) = path.chars().find(|c| is_deceptive(*c)) {
        return Some(format!("holds {}", name(c)));
    }
    let is_hex = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_hexdigit());
    let bytes = path.as_bytes();
    let after = |at: usize, n: usize| bytes.get(at + n).copied();
    let variable =
        |at: usize| after(at, 1).is_some_and(|b| b == b'{' || b.is_ascii_alphabetic() || b == b'_');
    let sign = path.bytes().enumerate().find_map(|(at, b)| match b {
        b'~' if at == 0 && matches!(after(0, 1), None | Some(b'/')) => Some("~"),
        b'$' if variable(at) => Some("$"),
        b'%' if is_hex(after(at, 1)) && is_hex(after(at, 2)) => Some("%"),
        _ => None,
    })?;
    Some(match sign {
        "~" => "begins with `~`, which hallpass does not replace with a home folder".to_owned(),
        "$" => "names a variable with `$`, which hallpass does not replace".to_owned(),
        _ => {
            let plain = percent_decoded(path);
            let shown = Path::new(&plain).display();
            format!("has an escape with `%`, which stands for itself here and not for a character of {shown}")
        }
    })
}

fn percent_decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if byte.is_ascii_graphic() || byte == b' ' => {
                text.push(char::from(byte));
                text.push_str(&part[2..]);
            }
            _ => {
                text.push('%');
                text.push_str(part);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_at_an_end_or_within_is_a_flaw() {
        for (text, words) in [
            ("sqlite://x\r", "ends with a carriage return (U+000D, as Windows ends lines)"),
            ("x\n", "ends with a line break (U+000A)"),
            (" x", "begins with a space"),
            ("x\u{a0}", "ends with white space that is no plain space (U+00A0)"),
            ("\u{feff}x", "begins with a character that does not show (U+FEFF)"),
            ("a\u{7}b", "holds a control character (U+0007)"),
            ("a\tb", "holds a tab (U+0009)"),
            ("a\u{fffd}b", "holds U+FFFD, which stands where there was no text"),
        ] {
            assert_eq!(flaw(text).as_deref(), Some(words), "{text:?}");
        }
        for text in ["x", "a b", "zażółć «日本» 🔑", "a\u{a0}b", "a\u{200d}b"] {
            assert_eq!(flaw(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_looks_like_another_text_is_told() {
        for (text, words) in [
            ("a\u{a0}b", "holds white space that is no plain space (U+00A0)"),
            ("a\u{200b}b", "holds a character that does not show (U+200B)"),
            ("cafe\u{301}", "holds `e` and U+0301, where one character may look the same"),
        ] {
            assert_eq!(hidden(text).as_deref(), Some(words), "{text:?}");
        }
        for text in ["x", "a b", "café", "zażółć «日本» 🔑"] {
            assert_eq!(hidden(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_wrong_value_is_shown_unless_it_may_be_a_secret() {
        for (text, problem, words) in [
            ("RS265", "is not one of RS256, ES256", "\"RS265\" is not one of RS256, ES256"),
            ("Broker A", "a name must be short", "\"Broker A\": a name must be short"),
            ("https://u:pw@h", "is not a URL", "is not a URL"),
            ("hpo_x", "is no hash", "is no hash"),
            ("0b3a4f0c5b8f0d6a7f5e0c1d2b3a4958", "is no hash", "is no hash"),
            ("loud", "`loud` is no level", "`loud` is no level"),
            (
                "no",
                "is not one of free, gated and forbidden",
                "\"no\" is not one of free, gated and forbidden",
            ),
        ] {
            assert_eq!(wrong_value(text, problem), words);
        }
        let long = "so many words that nobody wants to read all of them again in one line";
        assert!(wrong_value(long, "is long").contains("…\" is long"));
    }

    #[test]
    fn what_a_shell_would_replace_in_a_path_is_told() {
        for path in ["~", "~/x", "${HOME}/x", "a/$HOME/x", "a%20b", "/data%2Fx"] {
            assert!(unexpanded(path).is_some(), "{path}");
        }
        for path in ["x", "a~", "~backup", "a b", "100%", "50%off", "cost$", "/data/hallpass.db"] {
            assert_eq!(unexpanded(path), None, "{path}");
        }
        assert!(unexpanded("data/x\u{200b}.db").unwrap().contains("U+200B"));
        assert!(unexpanded("my%20data/x").unwrap().ends_with("a character of my data/x"));
    }
}
