//! As much of a shell's grammar as the documents use: which commands a text runs, and with which words.

/// The commands of `text` in order, those of a substitution before the one that it stands in. Words
/// lose their quotes; a substitution is the word `$`; redirections and assignments are left out.
pub(super) fn commands(text: &str) -> Vec<Vec<String>> {
    let mut reader =
        Reader { rest: text, found: Vec::new(), words: Vec::new(), word: None, redirected: false };
    while let Some(next) = reader.take() {
        reader.step(next);
    }
    reader.end_command();
    reader.found
}

struct Reader<'a> {
    rest: &'a str,
    found: Vec<Vec<String>>,
    words: Vec<String>,
    word: Option<String>,
    /// The next word is a file.
    redirected: bool,
}

impl Reader<'_> {
    fn take(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn step(&mut self, next: char) {
        match next {
            '\n' | ';' | '|' | '&' => self.end_command(),
            '>' | '<' => {
                self.end_word();
                self.redirected = true;
            }
            ' ' | '\t' => self.end_word(),
            '#' if self.word.is_none() => {
                let line = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = &self.rest[line..];
            }
            '\'' => {
                let (quoted, after) = self.rest.split_once('\'').expect("a closing quote");
                self.word.get_or_insert_default().push_str(quoted);
                self.rest = after;
            }
            '"' => {
                self.word.get_or_insert_default();
                loop {
                    match self.take().expect("a closing quote") {
                        '"' => break,
                        other => self.inside(other),
                    }
                }
            }
            '\\' if self.rest.starts_with('\n') => self.rest = &self.rest[1..],
            other => self.inside(other),
        }
    }

    /// One character of a word, or the substitution that starts with it.
    fn inside(&mut self, next: char) {
        self.word.get_or_insert_default().push(next);
        let Some(substituted) = self.rest.strip_prefix('(').filter(|_| next == '$') else { return };
        let mut open = 1;
        let end = substituted.char_indices().find(|(_, c)| {
            open += i32::from(*c == '(') - i32::from(*c == ')');
            open == 0
        });
        let (end, _) = end.expect("a closing parenthesis");
        self.found.extend(commands(&substituted[..end]));
        self.rest = &substituted[end + 1..];
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        let assigns = self.words.is_empty()
            && word.split_once('=').is_some_and(|(name, _)| {
                name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty()
            });
        if !std::mem::take(&mut self.redirected) && !assigns {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.redirected = false;
        if !self.words.is_empty() {
            self.found.push(std::mem::take(&mut self.words));
        }
    }
}

#[test]
fn commands_are_found_where_they_are_run() {
    let found = |text: &str| -> Vec<String> { commands(text).iter().map(|words| words.join("·")).collect() };
    assert_eq!(found("a b  c # d\n\ne"), ["a·b·c", "e"]);
    assert_eq!(found("a \"b c\" 'd \"e'"), ["a·b c·d \"e"]);
    assert_eq!(found("a \\\n  b"), ["a·b"]);
    assert_eq!(found("a > f | b >> \"$g\" && c <h d; e"), ["a", "b", "c·d", "e"]);
    assert_eq!(found("x=$(a b) y"), ["a·b", "y"]);
    assert_eq!(found("a \"b $(c \"d e\") f\""), ["c·d e", "a·b $ f"]);
    assert_eq!(found("A=1 b=2"), Vec::<String>::new());
    assert_eq!(found("curl \"$U/x?y=z\" -d a=b"), ["curl·$U/x?y=z·-d·a=b"]);
}
