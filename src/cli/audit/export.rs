//! `hallpass audit export`: the log as a file, from the store of this machine or through the broker.

use std::io::Write;

use super::{FilterArgs, SourceArgs, local, query};
use crate::broker::Format;
use crate::cli::client::wait;
use crate::cli::{Failure, Host, Outcome};
use crate::domain::event::EventFilter;
use crate::store::Reader;

/// Events in memory at once.
const PAGE: u32 = 256;

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// How to write the events
    #[arg(long, value_enum, default_value_t = Form::Jsonl)]
    format: Form,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// One stored event a line, byte for byte
    Jsonl,
    /// RFC 4180, for a spreadsheet
    Csv,
}

pub(super) fn run(args: &ExportArgs, host: &mut Host<'_>) -> Outcome {
    // Its bytes are kept as they are, and could act on a terminal.
    if host.terminal {
        return Err(Failure::usage("an export is for a file or a pipe, not for a terminal").remedy(
            "write it to a file (hallpass audit export > audit.jsonl), or use hallpass audit search",
        ));
    }
    let filter = args.filter.filter(host);
    match &args.source.admin_url {
        None => {
            let config = local::config(&args.source.config, host)?;
            let reader = local::open(&config.store)?;
            let format = match args.format {
                Form::Jsonl => Format::JsonLines,
                Form::Csv => Format::Csv,
            };
            write_all(&reader, &filter, format, host.out)
        }
        Some(url) => {
            let client = args.source.key.connect(url, host)?;
            let mut asked = query(&filter);
            asked.push(("format", if args.format == Form::Csv { "csv" } else { "jsonl" }.to_owned()));
            wait(client.copy("/v1/audit/export", &asked, host.out))
        }
    }
}

/// What the log holds now; what is appended meanwhile is not part of it.
fn write_all(reader: &Reader, filter: &EventFilter, format: Format, out: &mut dyn Write) -> Outcome {
    let mut before = reader.head().map_err(anyhow::Error::from)?.size.saturating_add(1);
    let mut text = String::new();
    format.begin(&mut text);
    loop {
        let page = reader.events(filter, PAGE, Some(before)).map_err(anyhow::Error::from)?;
        for event in &page {
            format.append(&mut text, event);
        }
        out.write_all(text.as_bytes())?;
        text.clear();
        match page.last() {
            Some(last) if page.len() == PAGE as usize => before = last.seq,
            _ => return Ok(()),
        }
    }
}
