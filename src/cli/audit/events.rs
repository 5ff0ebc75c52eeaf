//! Events as people and programs read them.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::agents::parse;
use crate::cli::show::{json_line, or_dash};
use crate::cli::table::{Column, Holds, Table, TableArgs};
use crate::cli::{Host, Outcome};

/// One stored event, as far as the table shows it.
#[derive(Deserialize)]
struct Row {
    seq: u64,
    at: String,
    kind: String,
    outcome: String,
    reason: Option<String>,
    agent: Option<String>,
    owner: Option<String>,
    token: Option<String>,
    target: Option<String>,
    operator: Option<String>,
    request: Option<String>,
}

/// The columns of a table of events.
const COLUMNS: &[Column] = &[
    Column::new("SEQ", Holds::Names, 5),
    Column::new("AT", Holds::Instants, 1),
    Column::new("KIND", Holds::Names, 2),
    Column::new("OUTCOME", Holds::Names, 0),
    Column::new("REASON", Holds::Words, 3),
    Column::new("AGENT", Holds::Names, 4),
    Column::new("OWNER", Holds::Names, 10),
    Column::new("TOKEN", Holds::Names, 9),
    Column::new("TARGET", Holds::Names, 7),
    Column::new("OPERATOR", Holds::Names, 8),
    Column::new("REQUEST", Holds::Names, 6),
];

/// Prints events that came newest first, as they are stored: a table, or JSON Lines.
///
/// # Errors
/// When one of them is not an event, or standard output cannot be written.
pub fn show_events(events: &[Box<RawValue>], json: bool, table: &TableArgs, host: &mut Host<'_>) -> Outcome {
    if json {
        for event in events {
            writeln!(host.out, "{}", json_line(event.get(), host.terminal))?;
        }
        return Ok(());
    }
    if events.is_empty() {
        host.note("no event matches");
        return Ok(());
    }
    events_table(events)?.print(table, host)
}

/// Events as a table, one a line.
///
/// # Errors
/// When one of them is not an event.
pub fn events_table(events: &[Box<RawValue>]) -> Outcome<Table> {
    let rows = parse::<Row>(events)?;
    let rows = rows.into_iter().map(|row| {
        let optional = [row.reason, row.agent, row.owner, row.token, row.target, row.operator, row.request];
        let shown = [row.seq.to_string(), row.at, row.kind, row.outcome].into_iter();
        shown.chain(optional.map(|cell| or_dash(cell.as_deref()))).collect::<Vec<_>>()
    });
    Ok(Table::new(COLUMNS, rows))
}
