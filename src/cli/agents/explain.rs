//! `hallpass agents explain`: the dry run, in words.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cli::admin::AdminArgs;
use crate::cli::client::wait;
use crate::cli::show::{facts_within, json_line, or_dash, safe, table_within};
use crate::cli::table::width;
use crate::cli::{Failure, Host, Outcome, moment};
use crate::domain::id::{AgentId, IssuerName};

#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The agent that asks; or give --issuer and --claims
    #[arg(value_name = "ID", required_unless_present = "issuer", conflicts_with_all = ["issuer", "claims"])]
    id: Option<AgentId>,
    /// The issuer of the identity that asks, by its name in the configuration
    #[arg(long, value_name = "NAME", requires = "claims")]
    issuer: Option<IssuerName>,
    /// The claims of its proof, a JSON object, or @FILE that holds one
    #[arg(long, value_name = "JSON|@FILE", requires = "issuer")]
    claims: Option<String>,
    /// Permissions such as payments:read; give it again, or several with commas or in quotes
    #[arg(long, value_name = "NAME:ACTION", value_delimiter = ',')]
    scope: Vec<String>,
    /// Only what is registered at this origin, or the resource of this URL (RFC 8707)
    #[arg(long, value_name = "ORIGIN")]
    resource: Vec<String>,
    /// A JSON array (RFC 9396), or @FILE that holds one
    #[arg(long, value_name = "JSON|@FILE")]
    authorization_details: Option<String>,
    /// A shorter life than the broker would give: 5m, or seconds
    #[arg(long, value_name = "DURATION", value_parser = moment::lifetime)]
    ttl: Option<Duration>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Deserialize)]
struct Explained {
    agent: Option<String>,
    require: Option<String>,
    grant: Option<Grant>,
    refusal: Option<Refusal>,
    #[serde(default)]
    actions: Vec<Action>,
    stopped_by: Option<String>,
    #[serde(default)]
    stops: Vec<Stop>,
    #[serde(default)]
    nearest: Vec<Near>,
    #[serde(default)]
    ambiguous: Vec<String>,
}

#[derive(Deserialize)]
struct Grant {
    scope: String,
    ttl: u64,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    reason: String,
    description: String,
}

#[derive(Deserialize)]
struct Action {
    word: String,
    tier: String,
    because: String,
}

#[derive(Deserialize)]
struct Stop {
    id: String,
    target: String,
    at: String,
    reason: String,
}

#[derive(Deserialize)]
struct Near {
    agent: String,
    mismatches: Vec<Mismatch>,
}

#[derive(Deserialize)]
struct Mismatch {
    claim: Option<String>,
    expected: String,
    given: Option<Value>,
}

pub(super) fn run(args: &ExplainArgs, host: &mut Host<'_>) -> Outcome {
    let question = args.question()?;
    let client = args.admin.connect(host)?;
    let answer = wait(async { client.post_json("/v1/explain", &question).await?.success() })?;
    let explained: Explained = answer.json()?;
    if args.json {
        return Ok(writeln!(host.out, "{}", json_line(answer.text()?.trim(), host.terminal))?);
    }
    Ok(host.out.write_all(explained.in_words(width(host)).as_bytes())?)
}

impl ExplainArgs {
    /// The body of `POST /v1/explain`.
    fn question(&self) -> Outcome<Value> {
        let mut question = Map::new();
        let mut ask = |name: &str, value: Value| question.insert(name.to_owned(), value);
        if let Some(id) = &self.id {
            ask("agent", json!(id));
        }
        if let (Some(issuer), Some(claims)) = (&self.issuer, &self.claims) {
            let claims: Map<String, Value> = given("--claims", "object", claims)?;
            ask("identity", json!({"issuer": issuer, "claims": claims}));
        }
        if !self.scope.is_empty() {
            ask("scope", json!(self.scope.join(" ")));
        }
        if !self.resource.is_empty() {
            ask("resource", json!(self.resource));
        }
        if let Some(details) = &self.authorization_details {
            let details: Vec<Value> = given("--authorization-details", "array", details)?;
            ask("authorization_details", details.into());
        }
        if let Some(ttl) = self.ttl {
            ask("requested_ttl", json!(ttl.as_secs()));
        }
        Ok(question.into())
    }
}

/// JSON from a flag, or from the file that it names.
fn given<T: serde::de::DeserializeOwned>(flag: &str, kind: &str, text: &str) -> Outcome<T> {
    let read = |file: &str| {
        std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", Path::new(file).display())))
    };
    let text = text.strip_prefix('@').map_or_else(|| Ok(text.to_owned()), read)?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{flag} is not a JSON {kind}: {error}")))
}

impl Explained {
    /// In lines of at most `width`, where that is given.
    fn in_words(&self, width: Option<usize>) -> String {
        let who = self.agent.as_deref().unwrap_or("this identity");
        let (headline, mut lines) = match (&self.grant, &self.refusal) {
            (Some(grant), _) => {
                let lines = vec![("scope", grant.scope.clone()), ("lives", format!("{} s", grant.ttl))];
                (format!("{who} would be granted a token"), lines)
            }
            (None, Some(refusal)) => {
                let lines =
                    vec![("reason", refusal.reason.clone()), ("because", refusal.description.clone())];
                (format!("{who} would be refused ({})", refusal.error), lines)
            }
            (None, None) => (format!("nothing is known of {who}"), Vec::new()),
        };
        lines.extend(self.require.clone().map(|what| ("requires", what)));
        lines.extend(self.stopped_by.clone().map(|target| ("stopped by", target)));
        lines.extend(self.stops.iter().map(|stop| {
            ("stop", format!("{} of {} since {}: {}", stop.id, stop.target, stop.at, stop.reason))
        }));
        if !self.ambiguous.is_empty() {
            lines.push(("matches", self.ambiguous.join(", ")));
        }
        let mut text = format!("{}\n{}", safe(&headline), facts_within(&lines, width));
        if !self.actions.is_empty() {
            let rows = self.actions.iter().map(|a| vec![a.word.clone(), a.tier.clone(), a.because.clone()]);
            text.push('\n');
            text.push_str(&table_within(&["ACTION", "TIER", "BECAUSE OF"], &rows.collect::<Vec<_>>(), width));
        }
        if !self.nearest.is_empty() {
            text.push('\n');
            let rows: Vec<_> = self.near_misses().collect();
            text.push_str(&table_within(&["NEAREST AGENT", "CLAIM", "EXPECTED", "GIVEN"], &rows, width));
        }
        text
    }

    fn near_misses(&self) -> impl Iterator<Item = Vec<String>> {
        self.nearest.iter().flat_map(|near| {
            near.mismatches.iter().map(|mismatch| {
                let claim = mismatch.claim.as_deref().unwrap_or("(issuer)");
                let given = mismatch.given.as_ref().map(|given| match given {
                    Value::String(text) => text.clone(),
                    // Claim rules match strings alone, so the difference has to be seen.
                    other => format!("{other} (not a string)"),
                });
                vec![
                    near.agent.clone(),
                    claim.to_owned(),
                    mismatch.expected.clone(),
                    or_dash(given.as_deref()),
                ]
            })
        })
    }
}
