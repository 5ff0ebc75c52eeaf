//! A mistake in a file that a person wrote: where it is, what is wrong, what to write instead.

use std::fmt::{self, Write};
use std::path::PathBuf;

/// One mistake. Prints as `file:line: key: what is wrong; what to write`, on one line whatever is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    pub file: PathBuf,
    /// 1-based; `None` when the mistake is of the whole file.
    pub line: Option<usize>,
    /// The dotted key, such as `identity[0].issuer`; empty when the mistake has none.
    pub key: String,
    pub problem: String,
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "")
    }
}

impl Diagnostic {
    fn write(&self, f: &mut fmt::Formatter<'_>, severity: &str) -> fmt::Result {
        write!(f, "{}:", Plain(&self.file.to_string_lossy()))?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", Plain(&self.key))?;
        }
        write!(f, " {severity}{}; {}", Plain(&self.problem), Plain(&self.remedy))
    }
}

/// What is no mistake and likely not meant either. Prints as [`Diagnostic`] does, with `warning:` before what
/// is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning(pub Diagnostic);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(diagnostic) = self;
        diagnostic.write(f, "warning: ")
    }
}

/// Text with every character escaped that acts on a terminal or that a reader would take for another. Names of
/// files and keys come from whoever proposed the change, and are read in terminals and CI logs.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if must_be_escaped(c) { write!(f, "{}", c.escape_unicode())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

/// Whether a character acts on a terminal or hides text instead of being text: controls (C0, DEL, C1), what turns or
/// hides writing (UAX #9, zero width), and what separates lines.
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Whether a reader could take text with this character for another text: besides [`is_deceptive`], white space that is
/// no plain space, and marks that are put on the letter before them (`e\u{301}` looks like `é`).
pub fn must_be_escaped(c: char) -> bool {
    is_deceptive(c) || (c.is_whitespace() && c != ' ') || matches!(c, '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_looks_like_another_is_escaped() {
        let shown = Plain("cafe\u{301}\u{a0}b\u{200b}c caf\u{e9}").to_string();
        assert_eq!(shown, "cafe\\u{301}\\u{a0}b\\u{200b}c café");
    }

    #[test]
    fn a_mistake_is_one_line_whatever_is_in_it() {
        let mistake = Diagnostic {
            file: "agents/a\nagents/b.toml:1: all is well".into(),
            line: Some(7),
            key: "x\u{1b}[2K\u{202e}".into(),
            problem: "é is fine".into(),
            remedy: "leave it".into(),
        };
        assert_eq!(
            mistake.to_string(),
            "agents/a\\u{a}agents/b.toml:1: all is well:7: x\\u{1b}[2K\\u{202e}: é is fine; leave it"
        );
        let warning = Warning(Diagnostic { key: "k".into(), file: "f".into(), ..mistake });
        assert_eq!(warning.to_string(), "f:7: k: warning: é is fine; leave it");
    }
}
