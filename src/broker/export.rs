//! The audit log as a stream of text: newest first, page by page, as it was when the export began.
//!
//! Between two pages nothing of the store is held, so a reader may take as long as it likes, or stop.

use std::fmt::Write;
use std::sync::Arc;

use crate::broker::AuditLog;
use crate::domain::event::{Event, EventFilter};
use crate::store::{Recorded, StoreError};

/// Events in memory at once.
const PAGE: u32 = 256;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The bytes of each event as they were hashed, and a newline.
    JsonLines,
    /// RFC 4180 with a header line. A cell that a spreadsheet would take for a formula begins with `'`.
    Csv,
}

/// The columns: every member of an event.
const COLUMNS: [&str; 30] = [
    "seq",
    "at",
    "kind",
    "outcome",
    "reason",
    "agent",
    "owner",
    "workload",
    "token",
    "token_sha256",
    "cnf",
    "parent",
    "permissions",
    "ttl",
    "as_of",
    "registry",
    "request",
    "peer",
    "operator",
    "approval",
    "target",
    "stop",
    "again",
    "revision",
    "in_force",
    "floor",
    "origin",
    "keys",
    "removed_key",
    "detail",
];

/// An export on its way.
pub struct Export {
    log: Arc<AuditLog>,
    filter: EventFilter,
    format: Format,
    /// Only events with a lower `seq` are left. It starts at the log's end, so what is appended later is
    /// not part of it.
    before: u64,
    begun: bool,
    done: bool,
}

impl AuditLog {
    /// The events that the filter means, as they are now.
    pub fn export(self: &Arc<Self>, filter: EventFilter, format: Format) -> Export {
        let before = self.size().saturating_add(1);
        Export { log: Arc::clone(self), filter, format, before, begun: false, done: false }
    }
}

impl Export {
    /// The next piece of text; none after the last.
    ///
    /// # Errors
    /// When the store cannot be read. What was given until then is true and not the whole.
    pub async fn next(&mut self) -> Result<Option<String>, StoreError> {
        if self.done {
            return Ok(None);
        }
        let page = self.log.events(&self.filter, PAGE, Some(self.before)).await?;
        self.done = page.len() < PAGE as usize;
        self.before = page.last().map_or(0, |event| event.seq);
        let mut text = String::with_capacity(page.iter().map(|event| event.bytes.len() + 64).sum());
        if !std::mem::replace(&mut self.begun, true) {
            self.format.begin(&mut text);
        }
        for event in &page {
            self.format.append(&mut text, event);
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

impl Format {
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// What stands before the first event.
    pub fn begin(self, text: &mut String) {
        if self == Self::Csv {
            row(text, COLUMNS);
        }
    }

    pub fn append(self, text: &mut String, recorded: &Recorded) {
        match (self, recorded.event()) {
            (Self::JsonLines, _) => {
                text.push_str(&recorded.bytes);
                text.push('\n');
            }
            (Self::Csv, Some(event)) => row(text, cells(recorded.seq, &event).iter().map(String::as_str)),
            // It is in the log, so it is told.
            (Self::Csv, None) => {
                let seq = recorded.seq.to_string();
                let mut cells = [""; COLUMNS.len()];
                cells[0] = &seq;
                cells[COLUMNS.len() - 1] = "not an event as hallpass writes it: run hallpass audit verify";
                row(text, cells);
            }
        }
    }
}

/// In the order of [`COLUMNS`].
fn cells(seq: u64, event: &Event) -> [String; COLUMNS.len()] {
    fn text(value: Option<&impl ToString>) -> String {
        value.map(ToString::to_string).unwrap_or_default()
    }
    let permissions = match &event.permissions[..] {
        [] => String::new(),
        permissions => serde_json::to_string(permissions).unwrap_or_default(),
    };
    let keys = match &event.keys[..] {
        [] => String::new(),
        keys => serde_json::to_string(keys).unwrap_or_default(),
    };
    [
        seq.to_string(),
        event.at.to_string(),
        event.kind.as_str().to_owned(),
        event.outcome.as_str().to_owned(),
        text(event.reason.as_ref()),
        text(event.agent.as_ref()),
        text(event.owner.as_ref()),
        text(event.workload.as_ref()),
        text(event.token.as_ref()),
        text(event.token_sha256.as_ref()),
        event.cnf.and_then(|cnf| serde_json::to_string(&cnf).ok()).unwrap_or_default(),
        text(event.parent.as_ref()),
        permissions,
        text(event.ttl.as_ref()),
        text(event.as_of.as_ref()),
        text(event.registry.as_ref()),
        text(event.request.as_ref()),
        text(event.peer.as_ref()),
        text(event.operator.as_ref()),
        text(event.approval.as_ref()),
        text(event.target.as_ref()),
        text(event.stop.as_ref()),
        text(event.again.as_ref()),
        text(event.revision.as_ref()),
        text(event.in_force.as_ref()),
        text(event.floor.as_ref()),
        text(event.origin.as_ref()),
        keys,
        text(event.removed_key.as_ref()),
        text(event.detail.as_ref()),
    ]
}

/// One line of RFC 4180.
fn row<'a>(text: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
        let defused = if formula { "'" } else { "" };
        // Writing to a String cannot fail.
        let _ = if cell.contains([',', '"', '\r', '\n']) {
            write!(text, "\"{defused}{}\"", cell.replace('"', "\"\""))
        } else {
            write!(text, "{defused}{cell}")
        };
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Kind, Outcome};
    use crate::domain::time::Timestamp;

    fn line(cells: &[&str]) -> String {
        let mut text = String::new();
        row(&mut text, cells.iter().copied());
        text
    }

    #[test]
    fn cells_are_quoted_as_rfc_4180_has_it() {
        assert_eq!(line(&["a", "", "b c"]), "a,,b c\r\n");
        assert_eq!(
            line(&["a,b", "say \"no\"", "two\nlines", "x\r"]),
            "\"a,b\",\"say \"\"no\"\"\",\"two\nlines\",\"x\r\"\r\n"
        );
    }

    #[test]
    fn no_cell_is_a_formula() {
        for cell in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=HYPERLINK(\"http://x\",\"y\")"]
        {
            let line = line(&[cell]);
            assert!(line.starts_with('\'') || line.starts_with("\"'"), "{line:?}");
        }
        assert_eq!(line(&["a=1", "1-2"]), "a=1,1-2\r\n", "only the beginning makes a formula");
    }

    /// The columns are the members, each in its place.
    #[test]
    fn a_row_has_what_the_event_says() {
        let mut event = Event::new(Timestamp::from_seconds(0), Kind::TokenRefused, Outcome::Refused);
        event.reason = Some("=cmd".to_owned());
        event.ttl = Some(std::time::Duration::from_secs(60).into());
        event.detail = Some("the last".to_owned());
        let mut expected = vec![""; COLUMNS.len()];
        let place = |name: &str| COLUMNS.iter().position(|column| *column == name).unwrap();
        for (name, cell) in [
            ("seq", "7"),
            ("at", "1970-01-01T00:00:00.000Z"),
            ("kind", "token.refused"),
            ("outcome", "refused"),
            ("reason", "=cmd"),
            ("ttl", "60"),
            ("detail", "the last"),
        ] {
            expected[place(name)] = cell;
        }
        assert_eq!(cells(7, &event).each_ref().map(String::as_str)[..], expected[..]);
    }

    #[test]
    fn what_is_no_event_is_told_and_not_left_out() {
        let broken = Recorded { seq: 9, bytes: "=not an event".into() };
        let mut csv = String::new();
        Format::Csv.append(&mut csv, &broken);
        assert!(csv.starts_with("9,") && csv.contains("audit verify") && !csv.contains("=not"), "{csv}");
        let mut lines = String::new();
        Format::JsonLines.append(&mut lines, &broken);
        assert_eq!(lines, "=not an event\n");
    }
}
