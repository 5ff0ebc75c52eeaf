//! `hallpass audit`: what was issued, refused, stopped and lifted, and the signed state of the log.

mod events;
mod export;
mod local;
mod log;
mod progress;
mod tail;
mod verify;

use std::str::FromStr;

pub use events::{events_table, show_events};
use log::Log;
pub use verify::verify_file;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::admin::OperatorKey;
use crate::cli::args::ConfigArgs;
use crate::cli::broker_url::BrokerUrl;
use crate::cli::client::{Client, wait};
use crate::cli::moment::Moment;
use crate::cli::table::TableArgs;
use crate::cli::{Failure, Host, Outcome};
use crate::domain::event::{EventFilter, Kind, Outcome as EventOutcome};
use crate::domain::id::{AgentId, Owner, RequestId, TokenId};

/// What the listener gives in one page.
const PAGE: u32 = 500;

#[derive(Debug, clap::Subcommand)]
pub enum AuditCommand {
    /// Events, newest first
    #[command(after_help = "\
Examples:
  hallpass audit search --since 1h
  hallpass audit search --agent payments-refactorer --outcome refused --since 7d
  hallpass audit search --resource https://github.com/acme/payments --limit 500
  hallpass audit search --token 01933b1e-5f0a-7c3e-9a55-0d7d3f5f5b11
  hallpass audit search --since 2026-11-23T09:00:00Z --json | jq .reason")]
    Search(SearchArgs),
    /// The newest events, oldest first, and with -f what comes
    #[command(after_help = "\
Examples:
  hallpass audit tail -f
  hallpass audit tail -f --outcome refused
  hallpass audit tail -n 100 --agent payments-refactorer
  hallpass audit tail -f --json | jq .reason")]
    Tail(tail::TailArgs),
    /// Every event that matches, as JSON Lines or CSV, newest first
    #[command(after_help = "\
Writes what the log holds at this moment, however much it is, to a file or a pipe. JSON Lines are the
stored events, byte for byte; CSV (RFC 4180) has a header line and a column for each member, and begins
a cell that a spreadsheet would take for a formula with an apostrophe. Where the exit code is not 0, the
output is not whole.

Examples:
  hallpass audit export > audit.jsonl
  hallpass audit export --format csv --since 2026-11-01T00:00:00Z > november.csv
  hallpass audit export --kind token.refused --since 7d | jq -r .reason | sort | uniq -c")]
    Export(export::ExportArgs),
    /// The signed size and root of the log, for an auditor to keep
    #[command(after_help = "\
Keep what it prints where nobody who runs the broker can change it. `hallpass audit verify
--checkpoint FILE` then proves that nothing it covers was changed, removed or inserted.

Examples:
  hallpass audit checkpoint > checkpoint-2026-11-23
  hallpass audit checkpoint --key")]
    Checkpoint(CheckpointArgs),
    /// Recomputes the whole log and names everything that is not as it was
    #[command(after_help = "\
Reads the store of --config, also beside a serving broker. Exit code 0: every event is as it was
written, in one unbroken order. Give it a checkpoint that was kept elsewhere: without one nobody can
tell whether the whole log was written anew.

Examples:
  hallpass audit verify
  hallpass audit verify --checkpoint checkpoint-2026-11-23 --verifier-key \"$(cat log.key)\"
  hallpass audit verify --database /var/backups/hallpass.db")]
    Verify(verify::VerifyArgs),
}

/// Where the log is: in the store of the configuration, or behind a broker.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Ask the broker at this admin listener instead of reading the store
    #[arg(long, value_name = "URL", env = "HALLPASS_ADMIN_URL", hide_env_values = true)]
    pub admin_url: Option<BrokerUrl>,
    #[command(flatten)]
    pub key: OperatorKey,
}

#[derive(Debug, clap::Args)]
pub struct SearchArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    /// At most so many events
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Print one stored event a line, byte for byte, instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub table: TableArgs,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, clap::Args)]
pub struct CheckpointArgs {
    /// Print the verifier key that checkpoints are signed with, instead
    #[arg(long)]
    pub key: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Which events. Every one that is given must hold.
#[derive(Debug, clap::Args)]
pub struct FilterArgs {
    /// Of this agent, with the stops and lifts that hit it
    #[arg(long, value_name = "ID")]
    agent: Option<AgentId>,
    /// Of agents that this team answers for, with the stops and lifts that hit them
    #[arg(long, value_name = "TEAM")]
    owner: Option<Owner>,
    /// What happened
    #[arg(long, value_parser = one_of(Kind::ALL, Kind::as_str))]
    kind: Option<Kind>,
    /// How it ended
    #[arg(long, value_parser = one_of(EventOutcome::ALL, EventOutcome::as_str))]
    outcome: Option<EventOutcome>,
    /// With a permission of this name or URL; a URL with or without .git
    #[arg(long, value_name = "NAME|URL")]
    resource: Option<String>,
    /// About the token with this `jti`, with its stop and what was handed down from it
    #[arg(long, value_name = "JTI")]
    token: Option<TokenId>,
    /// Of the call with this request id
    #[arg(long, value_name = "ID")]
    request: Option<RequestId>,
    /// At or after: 15m, 2h or 7d ago, a day such as 2026-11-23 (UTC), or 2026-11-23T09:30:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Before: 15m, 2h or 7d ago, or 2026-11-23T09:30:00Z; a day such as 2026-11-23 is part of it
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
}

/// A parser that help and completions can list the words of.
fn one_of<T>(all: &'static [T], word: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|value| word(*value))).try_map(|text| text.parse())
}

impl FilterArgs {
    /// The filter, as it is meant now. A window whose ends are in the wrong order is turned, and that is said.
    pub fn filter(&self, host: &mut Host<'_>) -> EventFilter {
        let now = host.clock.now();
        let ends = |first: Option<Moment>, last: Option<Moment>| {
            (first.map(|moment| moment.begin(now)), last.map(|moment| moment.end(now)))
        };
        let (mut since, mut until) = ends(self.since, self.until);
        if let (Some(from), Some(to)) = (since, until)
            && from > to
        {
            (since, until) = ends(self.until, self.since);
            if let (Some(from), Some(to)) = (since, until) {
                host.note(&format!("--since is after --until; taken as from {from} to {to}"));
            }
        }
        EventFilter {
            agent: self.agent.clone(),
            owner: self.owner.clone(),
            kind: self.kind,
            outcome: self.outcome,
            resource: self.resource.clone(),
            token: self.token,
            request: self.request,
            since,
            until,
        }
    }
}

/// # Errors
/// See [`crate::cli::failure::Exit`].
pub fn run(command: &AuditCommand, host: &mut Host<'_>) -> Outcome {
    match command {
        AuditCommand::Search(args) => search(args, host),
        AuditCommand::Tail(args) => tail::run(args, host),
        AuditCommand::Export(args) => export::run(args, host),
        AuditCommand::Checkpoint(args) => checkpoint(args, host),
        AuditCommand::Verify(args) => verify::run(args, host),
    }
}

fn search(args: &SearchArgs, host: &mut Host<'_>) -> Outcome {
    let filter = args.filter.filter(host);
    let log = Log::open(&args.source, host)?;
    let events = log.newest(&filter, args.limit)?;
    if events.is_empty()
        && let Some(resource) = filter.resource
    {
        let alone = EventFilter { resource: Some(resource.clone()), ..EventFilter::default() };
        if log.newest(&alone, 1)?.is_empty() {
            host.note(&format!(
                "no event has ever named the resource {resource}; names and URLs are as the agents' files \
                 write them (hallpass agents show ID)"
            ));
        }
    }
    show_events(&events, args.json, &args.table, host)
}

/// The filter as the admin listener takes it.
fn query(filter: &EventFilter) -> Vec<(&'static str, String)> {
    let optional = [
        ("agent", filter.agent.as_ref().map(ToString::to_string)),
        ("owner", filter.owner.as_ref().map(ToString::to_string)),
        ("kind", filter.kind.map(|kind| kind.as_str().to_owned())),
        ("outcome", filter.outcome.map(|outcome| outcome.as_str().to_owned())),
        ("resource", filter.resource.clone()),
        ("token", filter.token.map(|id| id.to_string())),
        ("request", filter.request.map(|id| id.to_string())),
        ("since", filter.since.map(|at| at.to_string())),
        ("until", filter.until.map(|at| at.to_string())),
    ];
    optional.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn checkpoint(args: &CheckpointArgs, host: &mut Host<'_>) -> Outcome {
    let note = match &args.source.admin_url {
        None => {
            let config = local::config(&args.source.config, host)?;
            let reader = local::open(&config.store)?;
            let signer = local::Signer::of(&config, &reader)?;
            if args.key { signer.verifier()?.to_string() } else { signer.checkpoint(&reader)? }
        }
        Some(url) => {
            let client = args.source.key.connect(url, host)?;
            wait(fetch_note(&client, if args.key { "/v1/audit/key" } else { "/v1/audit/checkpoint" }))?
        }
    };
    host.out.write_all(note.as_bytes())?;
    if !note.ends_with('\n') {
        writeln!(host.out)?;
    }
    Ok(())
}

/// A note or a key must be printed byte for byte, and neither ever holds a control character but
/// the newline (C2SP signed-note). One that does is refused instead of made safe.
async fn fetch_note(client: &Client, path: &str) -> Outcome<String> {
    let answer = client.get(path, &[]).await?.success()?;
    match answer.text()? {
        "" => Err(answer.foreign("it is empty")),
        note if note.contains(|c: char| c.is_control() && c != '\n') => {
            Err(Failure::failed("the broker's note holds control characters, which no signed note does"))
        }
        note => Ok(note.to_owned()),
    }
}
