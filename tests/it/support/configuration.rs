//! What most tests write into `hallpass.toml`.

use crate::support::broker::AUDIENCE;

/// The configuration of most tests.
pub(crate) fn configuration(revocation: &str, issuer: &str, more: &str) -> String {
    let more = format!("{more}\n\n[guardrails]\nprotected_refs = [\"refs/heads/main\"]");
    configuration_of("sqlite://hallpass.db", revocation, issuer, &more)
}

/// What every broker of the tests has, with the URLs of its store, its revocation and its issuer `ci`. `more` goes on
/// with the table of that issuer.
pub(crate) fn configuration_of(store: &str, revocation: &str, issuer: &str, more: &str) -> String {
    format!(
        r#"[server]
name = "broker-a"
listen = "127.0.0.1:0"
public_url = "{AUDIENCE}"

[admin]
listen = "127.0.0.1:0"
local_operator_key_file = "operator.key"

[store]
url = "{store}"

[revocation]
url = "{revocation}"

[registry]
path = "agents"

[[resource_server]]
name = "ledger"
origins = ["https://ledger.staging.acme.internal"]
# The key is `ledger-key`.
key_sha256 = "{}"

[[issuer]]
name = "ci"
url = "{issuer}"
audience = "{AUDIENCE}"
{more}
"#,
        hallpass::domain::digest::Digest::of(b"ledger-key")
    )
}
