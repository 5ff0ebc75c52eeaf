//! `hallpass git-credential`: a token for exactly the repository that git asks about, made when it asks.
//!
//! Promises: no credential is printed for another host or path, for a connection without TLS, or where
//! the token would open more than that repository; nothing is stored.

pub mod protocol;
mod why;

use serde_json::json;

use crate::cli::client::wait;
use crate::cli::token::ask::{AskArgs, Asker, Issued};
use crate::cli::token::narrow::{LifeArgs, Parameters};
use crate::cli::{Exit, Failure, Host, Outcome};
use crate::domain::permission::{GrantedPermission, Location, ResourceKind};
use protocol::{Answer, NoRepository, Question};

pub const AFTER_HELP: &str = "\
git calls this by itself, with what it asks on standard input, once it is configured:

  git config --global credential.https://git.acme.internal.helper '!hallpass git-credential'
  git config --global credential.https://git.acme.internal.useHttpPath true

The proof is found as by `hallpass token`. Without --scope two tokens are made: one for what is
free at that host, to learn which permission is the repository's, ended at once; and one for that
permission alone. With --scope it is one, and it must be for that repository alone.

git 2.46 and later sends the token as `Authorization: Bearer`, and forgets it. Older ones can only
send a name and a password: they get nothing, unless --basic-username says which name the server
expects with a token. `store` and `erase` do nothing, for nothing is kept.

git is given nothing for another host, for a path that is no registered repository, and without TLS,
so that it asks its next helper. -v says which of these it was.

Examples:
  hallpass git-credential get
  hallpass git-credential --scope payments:read,payments:push get
  hallpass git-credential --basic-username x-access-token get";

#[derive(Debug, clap::Args)]
pub struct GitCredentialArgs {
    /// What git wants
    #[arg(value_enum)]
    operation: Operation,
    /// Permissions of the repository, such as payments:read; give it again, or several with commas
    #[arg(long, value_name = "NAME:ACTION", value_delimiter = ',')]
    scope: Vec<String>,
    #[command(flatten)]
    life: LifeArgs,
    /// The name to send with the token as its password, where git or the server knows no bearer tokens
    #[arg(long, value_name = "NAME", value_parser = username)]
    basic_username: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
}

impl GitCredentialArgs {
    /// Says why git gets nothing, where that is asked for: git shows it before what its next helper says.
    fn explain(&self, host: &mut Host<'_>, why: impl std::fmt::Display) {
        if self.ask.verbose {
            host.note(&format!("git gets nothing from hallpass: {why}"));
        }
    }
}

/// The operations of a helper (gitcredentials(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Operation {
    /// A credential for what standard input describes
    Get,
    /// Nothing: no credential is kept
    Store,
    /// Nothing: no credential is kept
    Erase,
}

fn username(name: &str) -> Result<String, &'static str> {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if plain { Ok(name.to_owned()) } else { Err("a name is letters, digits and signs, without a colon") }
}

/// # Errors
/// As `hallpass token`; usage when standard input is not git's, or standard output is a terminal.
pub fn run(args: &GitCredentialArgs, host: &mut Host<'_>) -> Outcome {
    let question = Question::read(host.input)?;
    if args.operation != Operation::Get {
        return Ok(());
    }
    if host.terminal {
        return Err(Failure::usage("a token on a terminal stays in its scrollback, so none was asked for")
            .remedy("git calls this by itself; `hallpass token --format …` prints a token"));
    }
    let repository = match question.repository() {
        Ok(repository) => repository,
        Err(why @ NoRepository::NoPath) => {
            host.warn(&why.to_string());
            return Ok(());
        }
        Err(why) => {
            args.explain(host, why);
            return Ok(());
        }
    };
    let Some(answer) = form(args, &question, host) else { return Ok(()) };
    let asker = Asker::new(&args.ask, host)?;
    let token = wait(token_for(&repository, args, &asker, host))?;
    if let Some(Issued { token, lifetime, .. }) = token {
        args.life.warn_of_less(lifetime, host);
        let expires = host.clock.now() + lifetime;
        host.out.write_all(answer.lines(&token, expires).as_bytes())?;
    }
    Ok(())
}

/// How git can send a token; `None` when it cannot.
fn form<'a>(args: &'a GitCredentialArgs, question: &Question, host: &mut Host<'_>) -> Option<Answer<'a>> {
    match &args.basic_username {
        Some(username) if !question.knows_authtype || question.wants_password() => {
            Some(Answer::Basic { username })
        }
        _ if question.knows_authtype => Some(Answer::Bearer),
        _ => {
            host.warn("this git cannot send a bearer token (2.46 and later can); see --basic-username");
            None
        }
    }
}

/// A token that opens `repository` and nothing else; `None` where the agent has no permission for it.
async fn token_for(
    repository: &Location,
    args: &GitCredentialArgs,
    asker: &Asker,
    host: &mut Host<'_>,
) -> Outcome<Option<Issued>> {
    let mut asked = vec![("resource", repository.origin().to_string())];
    asked.extend(args.life.parameter());
    if !args.scope.is_empty() {
        asked.push(("scope", args.scope.join(" ")));
    }
    let Some(first) = issued(args, asker, &asked, host).await? else { return Ok(None) };
    if is_for_alone(&first.granted, repository) {
        return Ok(Some(first));
    }
    let details = details_for(&first.granted, repository);
    if let Err(failure) = asker.end(&first.token).await {
        host.warn(&format!("a token that was too wide was not ended: {}", failure.message()));
    }
    if details.is_empty() {
        args.explain(host, why::not_among(&first.granted, repository));
        return Ok(None);
    }
    if !args.scope.is_empty() {
        host.warn("--scope names more than this repository, so git got nothing; name its permissions alone");
        return Ok(None);
    }
    asked.push(("authorization_details", serde_json::Value::from(details).to_string()));
    let second = issued(args, asker, &asked, host).await?;
    let fits = |second: &Issued| is_for_alone(&second.granted, repository);
    if second.as_ref().is_some_and(|second| !fits(second)) {
        args.explain(host, "the broker's token opens more than the repository that was asked for");
    }
    Ok(second.filter(fits))
}

/// `None` where the broker says that there is nothing for this agent there: git asks its next helper.
async fn issued(
    args: &GitCredentialArgs,
    asker: &Asker,
    asked: &Parameters,
    host: &mut Host<'_>,
) -> Outcome<Option<Issued>> {
    match asker.ask(asked, host).await {
        Ok(answer) => Issued::read(&answer, asker.scheme()).map(Some),
        Err(failure) if failure.exit == Exit::Refused && failure.is_of_target() => {
            args.explain(host, failure.message());
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

fn is_at(element: &GrantedPermission, repository: &Location) -> bool {
    let here = |location: &Location| protocol::without_git(location) == *repository;
    let places = &element.locations;
    element.kind == ResourceKind::GitRepository && !places.is_empty() && places.iter().all(here)
}

fn is_for_alone(granted: &[GrantedPermission], repository: &Location) -> bool {
    !granted.is_empty() && granted.iter().all(|element| is_at(element, repository))
}

/// What to ask for to get just that (RFC 9396 §2).
fn details_for(granted: &[GrantedPermission], repository: &Location) -> Vec<serde_json::Value> {
    let here = granted.iter().filter(|element| is_at(element, repository));
    here.map(
        |element| json!({"type": element.kind, "identifier": element.identifier, "actions": element.actions}),
    )
    .collect()
}
