//! `hallpass whoami`: who this workload says that it is, and what the broker makes of it.
//!
//! It gets a token as `hallpass token` does, says what that token is and opens, and ends it. The token is never
//! printed.

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use crate::cli::client::{Answer, wait};
use crate::cli::show::{facts_within, json_line, safe, words};
use crate::cli::table::width;
use crate::cli::token::ask::{AskArgs, Asker, Issued};
use crate::cli::token::dpop::DpopArgs;
use crate::cli::token::identity::{in_words, instant, payload};
use crate::cli::{Host, Outcome};
use crate::domain::permission::GrantedPermission;

pub const AFTER_HELP: &str = "\
Finds the proof as `hallpass token` does, asks for a token with everything that is free, says what it is
and opens, and ends it. The token is not printed. Where the broker refuses, standard output has who you
said you are, and standard error why it was refused.

Examples:
  hallpass whoami
  hallpass whoami --agent payments-refactorer --key-file agent.key
  hallpass whoami --json | jq .proof.claims";

#[derive(Debug, clap::Args)]
pub struct WhoamiArgs {
    /// Print JSON instead of text; it has every claim of the proof
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    dpop: DpopArgs,
    #[command(flatten)]
    ask: AskArgs,
}

/// # Errors
/// As `hallpass token`; who the proof says that this is was printed by then.
pub fn run(args: &WhoamiArgs, host: &mut Host<'_>) -> Outcome {
    let key = args.dpop.key(host)?;
    let asker = Asker::new(&args.ask, host)?.bound_to(key);
    wait(tell(args, &asker, host))
}

async fn tell(args: &WhoamiArgs, asker: &Asker, host: &mut Host<'_>) -> Outcome {
    let identity = asker.identity(host).await?;
    let source = asker.source().to_string();
    if !args.json {
        let mut lines = vec![("proof", source.clone())];
        lines.extend(identity.facts.iter().cloned());
        write!(host.out, "this workload says that it is\n{}\n", facts_within(&lines, width(host)))?;
        host.out.flush()?;
    }
    let proof = json!({"source": source, "claims": identity.claims});
    let answer = match asker.ask(&Vec::new(), host).await {
        Ok(answer) => answer,
        Err(failure) if args.json => {
            print_json(&json!({"proof": proof, "token": null}), host)?;
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    };
    let issued = Issued::read(&answer, asker.scheme())?;
    let told = Told::of(&answer, &issued)?;
    if args.json {
        print_json(&json!({"proof": proof, "broker": asker.broker().to_string(), "token": told.0}), host)?;
    } else {
        write!(host.out, "{}", told.in_words(&asker.broker().to_string(), &issued, width(host)))?;
    }
    if let Err(failure) = asker.end(&issued.token).await {
        host.warn(&format!(
            "the token that was asked for to find this out was not ended, and lives for {} s: {}",
            issued.lifetime.as_secs(),
            failure.message()
        ));
    }
    Ok(())
}

fn print_json(value: &Value, host: &mut Host<'_>) -> Outcome {
    Ok(writeln!(host.out, "{}", json_line(&value.to_string(), host.terminal))?)
}

/// What the broker says of the token: its claims, without what only matters to whoever checks it.
struct Told(Map<String, Value>);

impl Told {
    fn of(answer: &Answer, issued: &Issued) -> Outcome<Self> {
        const KEPT: [&str; 10] = [
            "iss",
            "sub",
            "client_id",
            "owner",
            "scope",
            "exp",
            "aud",
            "authorization_details",
            "act",
            "cnf",
        ];
        let claims = payload(issued.token.expose_secret())
            .ok_or_else(|| answer.foreign("its access token is not a JWT"))?;
        let mut kept: Map<_, _> =
            claims.into_iter().filter(|(name, _)| KEPT.contains(&name.as_str())).collect();
        kept.insert("expires_in".to_owned(), issued.lifetime.as_secs().into());
        Ok(Self(kept))
    }

    fn claim(&self, name: &str) -> String {
        self.0.get(name).map_or_else(|| "-".to_owned(), in_words)
    }

    fn in_words(&self, broker: &str, issued: &Issued, width: Option<usize>) -> String {
        let (agent, subject) = (self.claim("client_id"), self.claim("sub"));
        let lives = issued.lifetime.as_secs();
        let until = self.0.get("exp").and_then(Value::as_i64).map(instant).unwrap_or_default();
        let mut lines = vec![("owner", self.claim("owner")), ("scope", self.claim("scope"))];
        if subject != format!("agent:{agent}") {
            lines.push(("acts for", subject));
        }
        lines.push(("lives", format!("{lives} s, until {until}")));
        lines.push(("bound to", self.bound_to().to_owned()));
        lines.extend(issued.granted.iter().map(|granted| ("opens", opened(granted))));
        let lines = facts_within(&lines, width);
        format!("the broker at {} knows it as the agent {}\n{lines}", safe(broker), safe(&agent))
    }

    fn bound_to(&self) -> &'static str {
        let cnf = self.0.get("cnf");
        match cnf {
            None => "nothing: whoever has the token can use it",
            Some(cnf) if cnf.get("jkt").is_some() => "the DPoP key",
            Some(_) => "the certificate",
        }
    }
}

/// `read, push on refs/heads/agent/* in https://github.com/acme/payments`
fn opened(granted: &GrantedPermission) -> String {
    let actions: Vec<_> = granted.actions.iter().collect();
    let limits = match granted.patterns() {
        [] => String::new(),
        patterns => format!(" on {}", words(patterns)),
    };
    format!("{}{limits} in {}", words(&actions), words(&granted.locations))
}
