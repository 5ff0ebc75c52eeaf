//! What most tests write into `hallpass.toml`.

use crate::support::broker::AUDIENCE;

/// The configuration of most tests.
pub(crate) fn configuration(revocation: &str, issuer: &str, more: &str) -> String {
    format!(
        r#"[server]
name = "broker-a"
listen = "127.0.0.1:0"
public_url = "{AUDIENCE}"

[admin]
listen = "127.0.0.1:0"
local_operator_key_file = "operator.key"

[store]
url = "sqlite://hallpass.db"

[revocation]
url = "{revocation}"

[registry]
path = "agents"

[guardrails]
protected_refs = ["refs/heads/main"]

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
