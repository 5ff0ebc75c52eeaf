//! `hallpass audit tail`: the newest events, and those that come.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::log::Log;
use super::{FilterArgs, SourceArgs};
use crate::cli::show::{json_line, safe, wrapped};
use crate::cli::table::{self, to_the_second};
use crate::cli::{Failure, Host, Outcome};
use crate::domain::event::EventFilter;

/// How often the log is asked for what is new.
const PAUSE: Duration = Duration::from_secs(1);

/// The most events that are looked back for at first, to find the end of what was shown; doubled until it is found.
const FIRST_LOOK: u32 = 100;

/// Between two parts of a line.
const BETWEEN: &str = "  ";
/// Before what did not fit on the line above.
const BELOW: &str = "    ";

#[derive(Debug, clap::Args)]
pub struct TailArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// So many of the newest events
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: u32,
    /// Go on with what comes, until it is interrupted
    #[arg(short, long)]
    follow: bool,
    /// Print one stored event a line, byte for byte, instead of words
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: SourceArgs,
}

/// What a line says of an event.
#[derive(Deserialize)]
struct Row {
    seq: u64,
    at: String,
    kind: String,
    outcome: String,
    reason: Option<String>,
    agent: Option<String>,
    target: Option<String>,
    operator: Option<String>,
    request: Option<String>,
}

pub(super) fn run(args: &TailArgs, host: &mut Host<'_>) -> Outcome {
    let filter = args.filter.filter(host);
    let log = Log::open(&args.source, host)?;
    let newest = if args.lines == 0 { Vec::new() } else { log.newest(&filter, args.lines)? };
    let mut shown = match newest.first() {
        Some(event) => seq(event)?,
        // What is there already was not asked for.
        None => log.newest(&EventFilter::default(), 1)?.first().map_or(Ok(0), |event| seq(event))?,
    };
    show(&newest, args.json, host)?;
    if !args.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(PAUSE);
        let new = newer(&log, &filter, shown)?;
        if let Some(last) = new.first() {
            shown = seq(last)?;
        }
        show(&new, args.json, host)?;
    }
}

/// The events after `seq` that match, the newest first.
fn newer(log: &Log, filter: &EventFilter, after: u64) -> Outcome<Vec<Box<RawValue>>> {
    let mut look = FIRST_LOOK;
    loop {
        let mut found = log.newest(filter, look)?;
        let count = found.len();
        let mut old = None;
        for (place, event) in found.iter().enumerate() {
            if seq(event)? <= after {
                old = Some(place);
                break;
            }
        }
        found.truncate(old.unwrap_or(count));
        if old.is_some() || count < usize::try_from(look).unwrap_or(usize::MAX) {
            return Ok(found);
        }
        look = look.saturating_mul(2);
    }
}

/// Prints events that came newest first, the oldest first.
fn show(events: &[Box<RawValue>], json: bool, host: &mut Host<'_>) -> Outcome {
    for event in events.iter().rev() {
        if json {
            writeln!(host.out, "{}", json_line(event.get(), host.terminal))?;
        } else {
            let width = table::width(host);
            for line in row(event)?.in_lines(width) {
                writeln!(host.out, "{}", safe(&line))?;
            }
        }
    }
    Ok(host.out.flush()?)
}

fn row(event: &RawValue) -> Outcome<Row> {
    serde_json::from_str(event.get())
        .map_err(|_| Failure::failed("the log has something that is not an event"))
}

fn seq(event: &RawValue) -> Outcome<u64> {
    row(event).map(|row| row.seq)
}

impl Row {
    /// What it says, on one line; on a terminal in lines of at most `width`.
    fn in_lines(&self, width: Option<usize>) -> Vec<String> {
        let at = if width.is_some() { to_the_second(&self.at) } else { self.at.clone() };
        let named = [
            ("", &self.agent),
            ("", &self.target),
            ("by ", &self.operator),
            ("", &self.reason),
            ("request ", &self.request),
        ];
        let named =
            named.into_iter().filter_map(|(before, value)| Some(format!("{before}{}", value.as_ref()?)));
        let parts: Vec<String> =
            [at, self.kind.clone(), self.outcome.clone()].into_iter().chain(named).collect();
        let parts = parts.iter().map(String::as_str);
        let Some(width) = width else { return vec![parts.collect::<Vec<_>>().join(BETWEEN)] };
        let lines = wrapped(parts, BETWEEN, width.saturating_sub(BELOW.len()));
        let below = |(index, line): (usize, String)| if index == 0 { line } else { format!("{BELOW}{line}") };
        lines.into_iter().enumerate().map(below).collect()
    }
}
