//! What is to be written: from flags, or from a person's answers.

use std::io::Read;
use std::num::NonZero;
use std::str::FromStr;

use super::InitArgs;
use super::repository::Repository;
use crate::cli::broker_url::BrokerUrl;
use crate::cli::show::safe;
use crate::cli::{Failure, Host, Outcome};
use crate::domain::id::{AgentId, Owner};

pub(super) const LOCAL: &str = "http://127.0.0.1:8700";
/// More than any answer; what is longer is something else on standard input.
const MAX_ANSWER: usize = 4096;

/// All that differs between one installation and another.
pub(super) struct Answers {
    pub(super) repository: Option<Repository>,
    /// GitHub's number of it.
    pub(super) repository_id: Option<NonZero<u64>>,
    /// The agent proves itself by a key.
    pub(super) key: bool,
    pub(super) agent: AgentId,
    pub(super) owner: Owner,
    pub(super) public_url: String,
}

impl Answers {
    /// What the flags say. Who gave neither `--github` nor `--key` is asked for all that is missing.
    pub(super) fn of(args: &InitArgs, host: &mut Host<'_>) -> Outcome<Self> {
        let asks = args.github.is_none() && !args.key;
        let (mut repository, mut key) = (args.github.clone(), args.key);
        let mut repository_id = args.repository_id;
        if asks {
            let question = "GitHub repository that the agent works in, OWNER/NAME (empty: none)";
            let Some(found) = ask::<Repository>(question, None, host)? else {
                return Err(Failure::usage("nobody answered what the agent works in").remedy(
                    "give --github OWNER/NAME for jobs of GitHub Actions, or --key for any other host",
                ));
            };
            repository = found;
            key = repository.is_none();
        }
        if let (true, Some(repository)) = (asks, &repository) {
            let question = format!("its number, which `gh api repos/{repository} --jq .id` prints");
            while repository_id.is_none() {
                let Some(answer) = ask::<NonZero<u64>>(&question, None, host)? else { break };
                repository_id = answer;
            }
        }
        if let (false, None, Some(repository)) = (key, repository_id, &repository) {
            return Err(Failure::usage("without the repository's number no job of it could be told from another's")
                .remedy(format!(
                    "give --repository-id, the number that `gh api repos/{repository} --jq .id` prints, or --key for an \
                     agent on any other host"
                )));
        }
        let slug = repository.as_ref().map_or_else(|| "first".to_owned(), Repository::slug);
        let mut agent = args.agent.clone();
        let mut owner = args.owner.clone();
        let mut public_url = args.public_url.as_ref().map(ToString::to_string);
        let (default_agent, default_owner) = (format!("{slug}-agent"), format!("team-{slug}"));
        if asks {
            agent = or_ask(agent, "the agent's name", &default_agent, host)?;
            owner = or_ask(owner, "the team that answers for it", &default_owner, host)?;
            let question = "the address by which agents reach the broker";
            let url = or_ask::<BrokerUrl>(args.public_url.clone(), question, LOCAL, host)?;
            public_url = url.map(|url| url.to_string());
        }
        let named = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
        Ok(Self {
            agent: agent.map_or_else(|| default_agent.parse().map_err(|e| named(&e)), Ok)?,
            owner: owner.map_or_else(|| default_owner.parse().map_err(|e| named(&e)), Ok)?,
            public_url: public_url.unwrap_or_else(|| LOCAL.to_owned()),
            repository,
            repository_id,
            key,
        })
    }

    /// What is still to be filled in, in the agent's file.
    pub(super) fn gaps(&self) -> Vec<String> {
        let example = "its repository is an example: write what the agent works in";
        self.repository.is_none().then(|| example.to_owned()).into_iter().collect()
    }
}

fn or_ask<T: FromStr>(
    given: Option<T>,
    question: &str,
    default: &str,
    host: &mut Host<'_>,
) -> Outcome<Option<T>>
where
    T::Err: std::fmt::Display,
{
    match given {
        Some(given) => Ok(Some(given)),
        None => Ok(ask(question, Some(default), host)?.flatten()),
    }
}

/// The answer; `Some(None)` where it is empty and there is no default, `None` at the end of standard input.
fn ask<T: FromStr>(question: &str, default: Option<&str>, host: &mut Host<'_>) -> Outcome<Option<Option<T>>>
where
    T::Err: std::fmt::Display,
{
    loop {
        let hint = default.map(|default| format!(" [{default}]")).unwrap_or_default();
        // Nobody is left to ask where standard error cannot be written.
        let _ = write!(host.err, "{question}{hint}: ").and_then(|()| host.err.flush());
        let Some(answer) = line(host.input)? else { return Ok(None) };
        let answer = match (answer.trim(), default) {
            ("", Some(default)) => default,
            ("", None) => return Ok(Some(None)),
            (answer, _) => answer,
        };
        match answer.parse() {
            Ok(answer) => return Ok(Some(Some(answer))),
            Err(error) => {
                let _ = writeln!(host.err, "{}", safe(&error.to_string()));
            }
        }
    }
}

/// One line, and not a byte after it.
fn line(input: &mut dyn Read) -> Outcome<Option<String>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while bytes.len() < MAX_ANSWER {
        match input.read(&mut byte) {
            Ok(0) if bytes.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => bytes.push(byte[0]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::failed(format!("cannot read standard input: {error}"))),
        }
    }
    String::from_utf8(bytes).map(Some).map_err(|_| Failure::usage("the answer is not text"))
}
