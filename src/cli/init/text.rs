//! The files that are written. Every value that goes in is of a type whose characters need no escape in TOML.

use std::path::Path;

use url::Url;

use super::answers::{Answers, LOCAL};
use crate::domain::key::PublicKey;

pub(super) fn configuration(answers: &Answers) -> String {
    let (url, listen) = (&answers.public_url, listen(&answers.public_url));
    let mut text = format!(
        r#"# hallpass: one broker on this machine. Every key: docs/CONFIGURATION.md.
#
#   hallpass check-config          says what is wrong in this file and in agents/, all at once
#   hallpass serve                 starts the broker

[server]                                  # where agents ask for tokens
listen     = "{listen}"
public_url = "{url}"      # `iss` of every token; must be https once it leaves this machine

[admin]                                   # where operators revoke, lift and read the audit log
listen = "127.0.0.1:8701"
local_operator_key_file = "../data/operator.key"   # made at the first start; the commands find it themselves

[store]                                   # the audit log, the stops and the sealed signing keys
url = "sqlite://../data/hallpass.db"

[registry]
path = "agents"                           # one file an agent; changes are noticed while serving

[guardrails]                              # what no agent's file may exceed, whoever wrote it
max_ttl        = "15m"
protected_refs = ["refs/heads/main", "refs/heads/release/**"]   # no agent may push here
always_gated   = ["merge", "deploy"]      # a person approves first
never          = ["secrets:read", "access:write"]
production     = "gated"                  # free, gated or forbidden: all that is in environment "production"
"#
    );
    if !answers.key {
        text.push_str(&format!(
            r#"
# Who may vouch for a workload. Nobody else is ever asked.
[[issuer]]
name     = "github"
kind     = "github"
audience = "{url}"      # what a job asks its token for: this broker's public_url
"#
        ));
    }
    text
}

pub(super) fn agent(answers: &Answers, key: Option<&PublicKey>) -> String {
    let Answers { agent, owner, .. } = answers;
    let (name, url, works_on) = match &answers.repository {
        Some(repository) => (repository.slug(), repository.url(), repository.to_string()),
        None => {
            ("payments".to_owned(), "https://github.com/acme/payments".to_owned(), "acme/payments".to_owned())
        }
    };
    let identity = match (key, &answers.repository) {
        (Some(PublicKey { kty, crv, x, .. }), _) => {
            format!("key = {{ kty = \"{kty}\", crv = \"{crv}\", x = \"{x}\" }}")
        }
        (None, _) => {
            // Answers without a key have the number.
            let id = answers.repository_id.map_or(String::new(), |id| id.to_string());
            format!(
                "issuer = \"github\"\nclaims = {{ repository_id = \"{id}\", ref = \"refs/heads/main\", \
                 job_workflow_ref = \"{works_on}/.github/workflows/agent.yml@refs/heads/main\" }}"
            )
        }
    };
    let example = match answers.repository {
        Some(_) => "",
        None => " The one below is an example.",
    };
    let purpose = format!("purpose = \"Works on {works_on}.\"");
    let owner = format!("owner   = \"{owner}\"");
    let named = format!("name = \"{name}\"");
    format!(
        r#"# The agent `{agent}`: its id is the name of this file. Changed by review, like code.

{purpose:<41} # a sentence for whoever reviews this file or reads the audit log
{owner:<41} # answers for it; in every token and every event
max_ttl = "10m"

# How it proves to be itself. No other agent may have the same.
[[identity]]
{identity}

# What it may do. What is not listed is forbidden.{example}
[[repository]]
{named:<41} # `{name}:read` and `{name}:push` are its scope words
url  = "{url}"
refs = ["refs/heads/agent/*"]             # where it may push; `*` stays within one segment
free = ["read", "push"]
"#
    )
}

pub(super) fn next_steps(answers: &Answers, dir: &Path) -> String {
    let enter = match dir.to_str() {
        Some(".") => String::new(),
        _ => format!("  cd {}\n", crate::cli::show::safe(&dir.display().to_string())),
    };
    let token = match answers.key {
        true if answers.public_url == LOCAL => {
            format!("hallpass whoami --agent {} --key-file agent.key", answers.agent)
        }
        true => {
            let Answers { public_url, agent, .. } = answers;
            format!("hallpass whoami --url {public_url} --agent {agent} --key-file agent.key")
        }
        false => "hallpass whoami".to_owned(),
    };
    let place = match answers.key {
        true => "in another terminal",
        false => "in a job of GitHub Actions, with HALLPASS_URL and `permissions: id-token: write`",
    };
    format!("next:\n{enter}  hallpass check-config\n  hallpass serve\n  {token}    # {place}\n")
}

/// Behind an address of this machine the broker listens there itself; before any other stands a TLS proxy.
fn listen(public_url: &str) -> String {
    const DEFAULT: &str = "127.0.0.1:8700";
    let url: Option<Url> = public_url.parse().ok();
    let local = url.filter(|url| url.scheme() == "http" && url.host_str() == Some("127.0.0.1"));
    local
        .and_then(|url| url.port_or_known_default())
        .map_or(DEFAULT.to_owned(), |port| format!("127.0.0.1:{port}"))
}
