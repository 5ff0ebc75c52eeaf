use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::domain::permission::Tier;

mod find;
mod folder;
mod laws;
mod mistakes;
mod watcher;

/// An agent's file in which nothing is wrong; the tests number its lines.
const GOOD: &str = r#"purpose = "Changes code."
owner   = "team-a"
max_ttl = "10m"

[[identity]]
issuer = "github"
claims = { repository_id = "1", ref = "refs/heads/main" }

[[repository]]
name  = "code"
url   = "https://github.com/acme/code"
refs  = ["refs/heads/agent/*"]
free  = ["read", "push"]
gated = ["merge"]

[[endpoint]]
name  = "api"
url   = "https://api.acme.internal"
environment = "staging"
paths = ["/v1/**"]
free  = ["GET"]
gated = ["POST"]
"#;

fn guardrails() -> Guardrails {
    let actions = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect();
    Guardrails {
        ttl: Duration::from_secs(600),
        max_ttl: Duration::from_secs(900),
        protected_refs: vec!["refs/heads/main".parse().unwrap(), "refs/heads/release/**".parse().unwrap()],
        always_gated: actions(&["merge", "deploy"]),
        never: actions(&["secrets:read", "access:write"]),
        production: Tier::Gated,
        max_delegation_depth: 3,
    }
}

fn issuers() -> BTreeSet<IssuerName> {
    ["github", "gitlab"].map(|name| name.parse().unwrap()).into()
}

fn rules() -> Rules {
    Rules {
        guardrails: guardrails(),
        issuers: Some(issuers().into_iter().map(|name| (name, Platform::Oidc)).collect()),
        trust_domains: Some(vec!["acme.internal".parse().unwrap()]),
        tokens_per_minute: NonZeroU32::new(6000),
    }
}

/// `GOOD` for another agent: of another repository.
fn good(repository_id: u32) -> String {
    GOOD.replace("repository_id = \"1\"", &format!("repository_id = \"{repository_id}\""))
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

/// Each mistake as it is printed, without the folder.
fn lines(dir: &Path, mistakes: &[Diagnostic]) -> Vec<String> {
    let prefix = format!("{}/", dir.display());
    mistakes.iter().map(|mistake| mistake.to_string().replace(&prefix, "")).collect()
}

fn told(files: &[(&str, &str)]) -> Vec<String> {
    let dir = folder(files);
    match rules().load(dir.path()) {
        Ok(_) => Vec::new(),
        Err(mistakes) => lines(dir.path(), &mistakes),
    }
}

fn id(text: &str) -> AgentId {
    text.parse().unwrap()
}
