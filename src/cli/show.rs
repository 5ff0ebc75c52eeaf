//! How things look on standard output: plain tables, aligned facts, JSON lines. Text that came
//! from elsewhere passes through [`safe`] first, so that it cannot drive the terminal that shows it.

use std::borrow::Cow;
use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use crate::domain::diagnostic::must_be_escaped;

/// `text` on one line, with every character that could act on a terminal, or be taken for another, written as `\u{1b}`.
pub fn safe(text: &str) -> Cow<'_, str> {
    if !text.contains(must_be_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if must_be_escaped(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// One JSON value on one line. Away from a terminal its bytes are kept as the broker sent them,
/// so that an event hashes to its leaf; a terminal gets the same value with unsafe characters as `\u001b`.
pub fn json_line(raw: &str, terminal: bool) -> Cow<'_, str> {
    // Within a JSON string a raw newline is not valid, so those that are there stand between tokens.
    let line: Cow<'_, str> = match raw.contains(['\n', '\r']) {
        true => Cow::Owned(raw.replace(['\n', '\r'], " ")),
        false => Cow::Borrowed(raw),
    };
    if !terminal || !line.contains(must_be_escaped) {
        return line;
    }
    let mut shown = String::with_capacity(line.len() + 8);
    for c in line.chars() {
        if must_be_escaped(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// A table without lines, one row a line whatever the terminal's width, so that `grep` and `awk`
/// work on it. Ends with a newline. Cells are made safe here.
pub fn table<R>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String
where
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| safe(&cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `  label  value` lines with the values in one column. Values are made safe here.
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let line = |(label, value): &(&str, String)| format!("  {label:width$}  {}\n", safe(value));
    facts.iter().map(line).collect()
}

/// The same in lines of at most `width`, where a word is not longer: what is over goes on below the value. `None` keeps each
/// value on one line.
pub fn facts_within(facts: &[(&str, String)], width: Option<usize>) -> String {
    let Some(width) = width else { return self::facts(facts) };
    let indent = facts.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + 4;
    let lines = facts.iter().flat_map(|(label, value)| {
        let lines = wrapped(safe(value).split(' '), " ", width.saturating_sub(indent));
        let labels = std::iter::once(*label).chain(std::iter::repeat(""));
        lines
            .into_iter()
            .zip(labels)
            .map(|(line, label)| format!("  {label:0$}  {line}", indent - 4))
            .collect::<Vec<_>>()
    });
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// `parts` with `between` them, in lines of at most `width` where no part is longer.
pub fn wrapped<'p>(parts: impl IntoIterator<Item = &'p str>, between: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for (index, part) in parts.into_iter().enumerate() {
        let last = lines.last_mut().expect("there is one from the start");
        let needed = last.chars().count() + between.chars().count() + part.chars().count();
        match index {
            0 => last.push_str(part),
            _ if needed <= width => {
                last.push_str(between);
                last.push_str(part);
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}

/// Rows as a table, or where that would be wider than `width`, each row as lines with the head of every cell before it.
pub fn table_within(header: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let whole = table(header, rows.iter().cloned());
    match width {
        Some(width) if whole.lines().any(|line| line.chars().count() > width) => {
            let labels: Vec<String> = header.iter().map(|head| head.to_ascii_lowercase()).collect();
            let blocks = rows.iter().map(|row| {
                let cells: Vec<_> = labels.iter().map(String::as_str).zip(row.iter().cloned()).collect();
                facts_within(&cells, Some(width))
            });
            blocks.collect::<Vec<_>>().join("\n")
        }
        _ => whole,
    }
}

/// `a, b, c`, or `none`.
pub fn words<T: ToString>(words: &[T]) -> String {
    match words {
        [] => "none".to_owned(),
        words => words.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// What is not there, in a table.
pub fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn controls_are_written_out_and_text_is_left_alone() {
        assert_eq!(safe("\u{1b}[31mred\u{7}\r\n"), "\\u{1b}[31mred\\u{7}\\u{d}\\u{a}");
        assert_eq!(
            safe("\u{9b}2J\u{7f}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}").matches("\\u{").count(),
            7
        );
        assert!(matches!(safe("zażółć — «日本» 🔑"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_unsafe_gets_through(text in any::<String>()) {
            prop_assert!(!safe(&text).contains(must_be_escaped));
        }

        /// A terminal sees the same value, and no terminal sees the same bytes.
        #[test]
        fn json_keeps_its_value(text in any::<String>()) {
            let raw = serde_json::to_string(&serde_json::json!([text])).unwrap();
            let shown = json_line(&raw, true).into_owned();
            prop_assert!(!shown.contains(must_be_escaped));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), serde_json::json!([text]));
            prop_assert_eq!(json_line(&raw, false).into_owned(), raw);
        }
    }
}
