//! `hallpass agents`: the registry as the broker serves it.

mod explain;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::admin::AdminArgs;
use crate::cli::client::wait;
use crate::cli::show::{facts_within, json_line, or_dash, safe, words};
use crate::cli::table::{Column, Holds, Table, TableArgs, width};
use crate::cli::{Failure, Host, Outcome};
use crate::domain::count::counted;
use crate::domain::id::AgentId;

#[derive(Debug, clap::Subcommand)]
pub enum AgentsCommand {
    /// Every registered agent, with its owner, status and live tokens
    #[command(after_help = "\
Examples:
  hallpass agents list
  hallpass agents list --json | jq -r '.agents[] | select(.status == \"stopped\") | .id'")]
    List(ListArgs),
    /// One agent: what it may do, how it proves itself, who answers for it
    #[command(after_help = "\
Examples:
  hallpass agents show payments-refactorer
  hallpass agents show payments-refactorer --json | jq .permissions")]
    Show(ShowArgs),
    /// What would happen if an agent, or an identity, asked for a token; and why
    #[command(after_help = "\
A dry run: nothing is issued and nothing is written to the audit log. Of each action it says whether it
is free, gated or forbidden, and by which rule: `file.…` is the agent's file, `guardrails.…` the broker's
configuration. An identity that is no agent's learns which agents it came closest to, and which claims
did not match.

Examples:
  hallpass agents explain payments-refactorer
  hallpass agents explain payments-refactorer --scope \"payments:merge ledger:GET\"
  hallpass agents explain --issuer github --claims @claims.json
  hallpass agents explain --issuer github --claims '{\"repository_id\":\"456789\"}' --json")]
    Explain(explain::ExplainArgs),
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The agent: the name of its file, without `.toml`
    #[arg(value_name = "ID")]
    id: AgentId,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    admin: AdminArgs,
}

const AGENTS: &[Column] = &[
    Column::new("AGENT", Holds::Names, 0),
    Column::new("OWNER", Holds::Names, 2),
    Column::new("STATUS", Holds::Names, 1),
    Column::new("LIVE TOKENS", Holds::Names, 3),
    Column::new("LAST ISSUED", Holds::Instants, 4),
];

const PERMISSIONS: &[Column] = &[
    Column::new("PERMISSION", Holds::Names, 0),
    Column::new("WHERE", Holds::Names, 3),
    Column::new("ENVIRONMENT", Holds::Names, 5),
    Column::new("LIMITED TO", Holds::Names, 4),
    Column::new("FREE", Holds::Names, 1),
    Column::new("GATED", Holds::Names, 2),
];

/// The first is what `hallpass revoke` takes.
const TOKENS: &[Column] = &[
    Column::new("LIVE TOKEN", Holds::Names, 0),
    Column::new("ISSUED", Holds::Instants, 2),
    Column::new("EXPIRES", Holds::Instants, 1),
    Column::new("OPENS", Holds::Words, 3),
    Column::new("DELEGATED FROM", Holds::Names, 4),
];

#[derive(Deserialize)]
struct Agent {
    id: String,
    #[serde(default)]
    purpose: String,
    owner: String,
    status: String,
    stopped_by: Option<String>,
    #[serde(default)]
    sentence: String,
    last_issued: Option<String>,
    #[serde(default)]
    live_tokens: u64,
    max_ttl: Option<u64>,
    require: Option<String>,
    #[serde(default)]
    identities: Vec<serde_json::Value>,
    #[serde(default)]
    permissions: Vec<Permission>,
    #[serde(default)]
    tokens: Vec<LiveToken>,
    registry: Option<String>,
}

#[derive(Deserialize)]
struct LiveToken {
    id: String,
    issued: String,
    expires: String,
    scope: String,
    delegated_from: Option<String>,
}

#[derive(Deserialize)]
struct Permission {
    name: String,
    url: String,
    environment: Option<String>,
    #[serde(default)]
    patterns: Vec<String>,
    #[serde(default)]
    free: Vec<String>,
    #[serde(default)]
    gated: Vec<String>,
}

impl Agent {
    fn standing(&self) -> String {
        match &self.stopped_by {
            Some(target) => format!("{} by {target}", self.status),
            None => self.status.clone(),
        }
    }
}

/// # Errors
/// See [`crate::cli::failure::Exit`].
pub fn run(command: AgentsCommand, host: &mut Host<'_>) -> Outcome {
    match command {
        AgentsCommand::List(args) => list(&args, host),
        AgentsCommand::Show(args) => show(&args, host),
        AgentsCommand::Explain(args) => explain::run(&args, host),
    }
}

fn list(args: &ListArgs, host: &mut Host<'_>) -> Outcome {
    let client = args.admin.connect(host)?;
    let raw = wait(client.list("/v1/agents", &[], "agents", usize::MAX))?;
    if args.json {
        return Ok(writeln!(host.out, "{}", json_list("agents", &raw, host.terminal))?);
    }
    let agents = parse::<Agent>(&raw)?;
    if agents.is_empty() {
        host.note("no agent is registered");
        return Ok(());
    }
    let rows = agents.iter().map(|agent| {
        let last = or_dash(agent.last_issued.as_deref());
        vec![agent.id.clone(), agent.owner.clone(), agent.standing(), agent.live_tokens.to_string(), last]
    });
    Table::new(AGENTS, rows).print(&args.table, host)
}

fn show(args: &ShowArgs, host: &mut Host<'_>) -> Outcome {
    let client = args.admin.connect(host)?;
    let path = format!("/v1/agents/{}", args.id);
    let answer = wait(async { client.get(&path, &[]).await?.success() })?;
    let agent: Agent = answer.json()?;
    if args.json {
        return Ok(writeln!(host.out, "{}", json_line(answer.text()?.trim(), host.terminal))?);
    }
    writeln!(host.out, "{}\n", safe(&agent.sentence))?;
    let mut about = vec![
        ("purpose", agent.purpose.clone()),
        ("owner", agent.owner.clone()),
        ("status", agent.standing()),
        ("live tokens", agent.live_tokens.to_string()),
        ("last issued", agent.last_issued.clone().unwrap_or_else(|| "never".to_owned())),
    ];
    about.extend(agent.max_ttl.map(|seconds| ("longest token", format!("{seconds} s"))));
    about.extend(agent.require.clone().map(|what| ("requires", what)));
    about.extend(agent.registry.clone().map(|revision| ("registry", revision)));
    about.extend(agent.identities.iter().map(|identity| ("identity", identity_in_words(identity))));
    host.out.write_all(facts_within(&about, width(host)).as_bytes())?;
    let rows = agent.permissions.iter().map(|permission| {
        let environment = or_dash(permission.environment.as_deref());
        let limits = words(&permission.patterns);
        let (free, gated) = (words(&permission.free), words(&permission.gated));
        vec![permission.name.clone(), permission.url.clone(), environment, limits, free, gated]
    });
    writeln!(host.out)?;
    Table::new(PERMISSIONS, rows).print(&args.table, host)?;
    // Columns that are named are those of the permissions.
    if agent.tokens.is_empty() || args.table.names_columns() {
        return Ok(());
    }
    let rest = agent.live_tokens.saturating_sub(agent.tokens.len() as u64);
    let rows = agent.tokens.into_iter().map(|token| {
        let from = token.delegated_from.map_or_else(|| "-".to_owned(), |from| format!("token:{from}"));
        vec![format!("token:{}", token.id), token.issued, token.expires, token.scope, from]
    });
    writeln!(host.out)?;
    Table::new(TOKENS, rows).print(&args.table, host)?;
    if rest > 0 {
        host.note(&format!(
            "{} not shown; `hallpass audit search` finds them",
            counted(rest, "older live token")
        ));
    }
    Ok(())
}

/// `github: ref = refs/heads/main, repository_id = 456789`, or `registered key Ed25519 x`.
fn identity_in_words(identity: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    let claims = identity.get("claims").and_then(|claims| claims.as_object());
    match (identity.get("issuer"), claims, identity.get("key")) {
        (Some(issuer), Some(claims), _) => {
            let rules: Vec<_> =
                claims.iter().map(|(name, rule)| format!("{name} = {}", text(rule))).collect();
            format!("{}: {}", text(issuer), words(&rules))
        }
        (_, _, Some(key)) => {
            let member = |name| key.get(name).map(text).unwrap_or_default();
            format!("registered key {} {}", member("crv"), member("x"))
        }
        _ => identity.to_string(),
    }
}

/// What a list holds, as this version reads it.
///
/// # Errors
/// When an element is not of that shape.
pub fn parse<T: serde::de::DeserializeOwned>(raw: &[Box<RawValue>]) -> Outcome<Vec<T>> {
    raw.iter().map(|item| serde_json::from_str(item.get())).collect::<Result<_, _>>().map_err(|error| {
        Failure::failed(format!("the broker's list is not as this version knows it: {error}"))
            .remedy("use a hallpass of the broker's version, or --json")
    })
}

/// A whole list as one JSON document, its elements as the broker sent them.
pub fn json_list(member: &str, raw: &[Box<RawValue>], terminal: bool) -> String {
    let items: Vec<_> = raw.iter().map(|item| json_line(item.get(), terminal)).collect();
    format!("{{\"{member}\":[{}]}}", items.join(","))
}
