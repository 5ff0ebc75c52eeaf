//! What to ask for: the narrowing parameters of a token request.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{Failure, Host, Outcome, moment};

/// Parameters of `POST /oauth/token` beside the proof.
pub type Parameters = Vec<(&'static str, String)>;

const REQUESTED_TTL: &str = "requested_ttl";

/// What to ask for. Who names nothing asks for every action that is free.
#[derive(Debug, clap::Args)]
pub struct NarrowArgs {
    /// Permissions such as payments:read; give it again, or several with commas or in quotes
    #[arg(long, value_name = "NAME:ACTION", value_delimiter = ',')]
    scope: Vec<String>,
    /// Only what is registered at this origin, or the resource of this URL (RFC 8707)
    #[arg(long, value_name = "ORIGIN")]
    resource: Option<String>,
    /// A JSON array (RFC 9396), or @FILE that holds one
    #[arg(long, value_name = "JSON|@FILE")]
    authorization_details: Option<String>,
    #[command(flatten)]
    pub life: LifeArgs,
}

/// How long the token is to live.
#[derive(Debug, clap::Args)]
pub struct LifeArgs {
    /// A shorter life than the broker would give: 5m, or seconds. A longer one is not given, and a warning says so
    #[arg(long, value_name = "DURATION", value_parser = moment::lifetime)]
    ttl: Option<Duration>,
}

impl LifeArgs {
    pub fn parameter(&self) -> Option<(&'static str, String)> {
        self.ttl.map(|ttl| (REQUESTED_TTL, ttl.as_secs().to_string()))
    }

    /// Says that the token lives shorter than it was asked to.
    pub fn warn_of_less(&self, given: Duration, host: &mut Host<'_>) {
        if let Some(asked) = self.ttl.filter(|asked| *asked > given) {
            host.warn(&format!(
                "--ttl asks for {} s, and the token lives {} s: no more is allowed by the agent's file and the broker's \
                 limits, or left of what it rests on (a certificate, a parent's token)",
                asked.as_secs(),
                given.as_secs()
            ));
        }
    }
}

impl NarrowArgs {
    /// # Errors
    /// Usage, when `--authorization-details` cannot be read or is not a JSON array.
    pub fn parameters(&self) -> Outcome<Parameters> {
        let mut asked = Vec::new();
        if !self.scope.is_empty() {
            asked.push(("scope", self.scope.join(" ")));
        }
        asked.extend(self.resource.clone().map(|resource| ("resource", resource)));
        asked.extend(self.life.parameter());
        if let Some(given) = &self.authorization_details {
            asked.push(("authorization_details", authorization_details(given)?));
        }
        Ok(asked)
    }
}

fn authorization_details(given: &str) -> Outcome<String> {
    let text = match given.strip_prefix('@') {
        None => given.to_owned(),
        Some(file) => std::fs::read_to_string(PathBuf::from(file))
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", Path::new(file).display())))?,
    };
    match serde_json::from_str::<Vec<&serde_json::value::RawValue>>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::usage(format!("--authorization-details is not a JSON array: {error}"))
            .remedy(r#"write [{"type":"git_repository","identifier":"payments","actions":["read"]}]"#)),
    }
}
