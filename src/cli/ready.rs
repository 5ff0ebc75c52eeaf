//! `hallpass ready`: the health check of containers and start-up scripts.

use std::path::{Path, PathBuf};

use crate::cli::admin::{ADMIN_URL, KEY_FILE, OperatorKey};
use crate::cli::broker_url::BrokerUrl;
use crate::cli::client::{Client, wait};
use crate::cli::listener::Listener;
use crate::cli::show::json_line;
use crate::cli::token::BrokerArgs;
use crate::cli::{Failure, Host, Outcome};

#[derive(Debug, clap::Args)]
pub struct ReadyArgs {
    /// Print each part of the broker that is not well; without an operator key one word
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    broker: BrokerArgs,
    /// The broker's admin listener, which -v asks with an operator key
    #[arg(long, value_name = "URL", env = "HALLPASS_ADMIN_URL", hide_env_values = true, default_value = ADMIN_URL)]
    admin_url: BrokerUrl,
    /// The file with your operator key; unless named, data/operator.key if it is there and both listeners are on one host
    #[arg(long, value_name = "FILE", env = "HALLPASS_OPERATOR_KEY_FILE", hide_env_values = true)]
    key_file: Option<PathBuf>,
}

/// # Errors
/// Failed when `/readyz` answers anything but 200, or nothing.
pub fn run(args: &ReadyArgs, host: &mut Host<'_>) -> Outcome {
    let client = Client::new(args.broker.url.clone(), Listener::Public)?;
    let answer = wait(client.get("/readyz", &[]))?;
    let body = json_line(answer.text()?.trim(), true).into_owned();
    let mut has_details = false;
    if args.verbose {
        let details = details(args, host)?;
        has_details = details.is_some();
        writeln!(host.out, "{}", details.unwrap_or(body))?;
    }
    match answer.status {
        200 => Ok(()),
        status => {
            let failure = Failure::failed(format!("{} is not ready: it answers {status}", args.broker.url));
            let remedy = "to see what is not, say -v where `hallpass serve` runs, or with --key-file or HALLPASS_OPERATOR_KEY_FILE";
            Err(if has_details { failure } else { failure.remedy(remedy) })
        }
    }
}

/// What the admin listener says, if there is an operator key to ask it with.
fn details(args: &ReadyArgs, host: &mut Host<'_>) -> Outcome<Option<String>> {
    match &args.key_file {
        Some(key_file) => ask(key_file.clone(), args, host).map(Some),
        // On another host the key is that of another broker.
        None if Path::new(KEY_FILE).exists() && args.admin_url.is_on_host_of(&args.broker.url) => {
            // Nobody named it, so that it does not fit is no failure.
            let told = ask(KEY_FILE.into(), args, host);
            told.map(Some).or_else(|failure| {
                host.note(&format!("{KEY_FILE} does not open {}: {}", args.admin_url, failure.message()));
                Ok(None)
            })
        }
        None => Ok(None),
    }
}

fn ask(key_file: PathBuf, args: &ReadyArgs, host: &mut Host<'_>) -> Outcome<String> {
    let client = OperatorKey { key_file }.connect(&args.admin_url, host)?;
    let answer = wait(client.get("/readyz", &[]))?;
    // 503 is an answer too: no token can be issued.
    let answer = if answer.status == 503 { answer } else { answer.success()? };
    Ok(json_line(answer.text()?.trim(), true).into_owned())
}
