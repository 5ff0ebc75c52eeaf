//! `hallpass token`: proves an identity to the broker, and prints the token in the form its user needs.

pub mod ask;
pub mod assertion;
pub mod dpop;
pub mod github;
pub mod identity;
pub mod jws;
pub mod narrow;
pub mod patience;
pub mod proof;
pub mod source;
pub mod workload_api;

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::cli::client::{Answer, wait};
use crate::cli::show::json_line;
use crate::cli::{Failure, Host, Outcome};
pub use ask::BrokerArgs;
use ask::{AskArgs, Asker, Issued, Scheme};
use dpop::DpopArgs;
use narrow::NarrowArgs;

pub const AFTER_HELP: &str = "\
The proof is the first of these that is there; a proof that fails is never replaced by the next:
  1. --identity-token-file FILE       an OIDC token, as a platform mounts it
  2. --key-file FILE with --agent ID  a registered key (hallpass keygen)
  3. --svid-file FILE                 an X.509-SVID with its --svid-key-file, shown in TLS
  4. HALLPASS_IDENTITY_TOKEN_FILE     as 1
  5. HALLPASS_IDENTITY_TOKEN          the OIDC token itself: the name to use in GitLab's `id_tokens:`
  6. GitHub Actions                   ACTIONS_ID_TOKEN_REQUEST_URL and _TOKEN, which a job with
                                      `permissions: id-token: write` has; a token is made for this call
  7. /var/run/secrets/hallpass/token  as 1: a projected service-account token of Kubernetes
  8. SPIFFE_ENDPOINT_SOCKET           the SPIFFE Workload API: a JWT-SVID for this call, or
                                      --x509-svid. --spiffe-socket names it before 4
  9. HALLPASS_KEY_FILE                as 2; the agent from --agent or HALLPASS_AGENT
-v says which it was. With --agent the proof is a key: 4 to 8 are passed over.

A broker that is not reached, or answers 429 or 503, is asked again: the waits grow, are partly random
and keep to its Retry-After, up to --timeout in all.

Formats:
  token   the token and a newline (the default, where standard output is not a terminal)
  json    the broker's whole answer
  env     HALLPASS_TOKEN=… and HALLPASS_TOKEN_EXPIRES_AT=… (Unix seconds)
  header  Authorization: Bearer …, or Authorization: DPoP …

With --dpop-key the token is bound to that key (token_type DPoP, cnf.jkt). Each request that uses it
brings a proof of its own by the same key in its DPoP header (RFC 9449 §7), which an OAuth library
makes. An X.509-SVID binds it to the certificate (cnf.x5t#S256), which is shown wherever it is used
(RFC 8705 §3). An agent whose file says require = \"sender-constrained\" gets no other token.

Examples:
  hallpass token --identity-token-file /var/run/secrets/tokens/hallpass --scope payments:read
  hallpass token --key-file agent.key --agent payments-refactorer --ttl 5m --format json
  curl -H \"$(hallpass token --format header)\" https://ledger.staging.acme.internal/v1/entries/7
  hallpass token -v --format env >> \"$GITHUB_ENV\"
  hallpass token --parent-token-file \"$PARENT_TOKEN_FILE\" --scope code:read
  hallpass keygen --out dpop.key && hallpass token --dpop-key dpop.key --format json
  hallpass token --svid-file svid.pem --svid-key-file svid_key.pem --format header
  hallpass token --authorization-details @narrow.json --resource https://github.com";

#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    #[command(flatten)]
    narrow: NarrowArgs,
    /// The form to print the token in
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    dpop: DpopArgs,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Token,
    Json,
    Env,
    Header,
}

/// # Errors
/// Usage without `--format` on a terminal, failed without a proof, refused when the broker says no.
pub fn run(args: &TokenArgs, host: &mut Host<'_>) -> Outcome {
    if args.format.is_none() && host.terminal {
        return Err(Failure::usage("a token on a terminal stays in its scrollback, so none was asked for")
            .remedy(
                "send it to a program or a file, or say which --format to print: token, json, env or header",
            ));
    }
    let asked = args.narrow.parameters()?;
    let key = args.dpop.key(host)?;
    let asker = Asker::new(&args.ask, host)?.bound_to(key);
    let answer = wait(asker.ask(&asked, host))?;
    let issued = Issued::read(&answer, asker.scheme())?;
    args.narrow.life.warn_of_less(issued.lifetime, host);
    print(&answer, &issued, asker.scheme(), args.format.unwrap_or(Format::Token), host)
}

fn print(answer: &Answer, issued: &Issued, scheme: Scheme, format: Format, host: &mut Host<'_>) -> Outcome {
    let token = issued.token.expose_secret();
    let text = Zeroizing::new(match format {
        Format::Token => format!("{token}\n"),
        Format::Json => format!("{}\n", json_line(answer.text()?.trim(), host.terminal)),
        Format::Header => format!("Authorization: {} {token}\n", scheme.as_str()),
        Format::Env => {
            let expires = (host.clock.now() + issued.lifetime).seconds();
            format!("HALLPASS_TOKEN={token}\nHALLPASS_TOKEN_EXPIRES_AT={expires}\n")
        }
    });
    Ok(host.out.write_all(text.as_bytes())?)
}
