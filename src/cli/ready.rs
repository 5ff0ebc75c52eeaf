//! `hallpass ready`: the health check of containers and start-up scripts.

use std::path::PathBuf;

use crate::cli::admin::{ADMIN_URL, OperatorKey};
use crate::cli::broker_url::BrokerUrl;
use crate::cli::client::{Client, wait};
use crate::cli::show::json_line;
use crate::cli::token::BrokerArgs;
use crate::cli::{Failure, Host, Outcome};

#[derive(Debug, clap::Args)]
pub struct ReadyArgs {
    /// Print what the broker says of itself: one word, or with an operator key each part that is not well
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    broker: BrokerArgs,
    /// The broker's admin listener, which -v asks with an operator key
    #[arg(long, value_name = "URL", env = "HALLPASS_ADMIN_URL", hide_env_values = true, default_value = ADMIN_URL)]
    admin_url: BrokerUrl,
    /// The file with your operator key
    #[arg(long, value_name = "FILE", env = "HALLPASS_OPERATOR_KEY_FILE", hide_env_values = true)]
    key_file: Option<PathBuf>,
}

/// # Errors
/// Failed when `/readyz` answers anything but 200, or nothing.
pub fn run(args: &ReadyArgs, host: &mut Host<'_>) -> Outcome {
    let client = Client::new(args.broker.url.clone(), BrokerArgs::NAMED_BY)?;
    let answer = wait(client.get("/readyz", &[]))?;
    let body = json_line(answer.text()?.trim(), true).into_owned();
    if args.verbose {
        let details = details(args, host)?;
        writeln!(host.out, "{}", details.unwrap_or(body))?;
    }
    match answer.status {
        200 => Ok(()),
        status => {
            let failure = Failure::failed(format!("{} is not ready: it answers {status}", args.broker.url));
            let remedy = "say -v, with --key-file or HALLPASS_OPERATOR_KEY_FILE, to see what is not";
            Err(if args.verbose && args.key_file.is_some() { failure } else { failure.remedy(remedy) })
        }
    }
}

/// What the admin listener says, if there is an operator key to ask it with.
fn details(args: &ReadyArgs, host: &mut Host<'_>) -> Outcome<Option<String>> {
    let Some(key_file) = args.key_file.clone() else { return Ok(None) };
    let client = OperatorKey { key_file }.connect(&args.admin_url, host)?;
    let answer = wait(client.get("/readyz", &[]))?;
    // 503 is an answer too: no token can be issued.
    let answer = if answer.status == 503 { answer } else { answer.success()? };
    Ok(Some(json_line(answer.text()?.trim(), true).into_owned()))
}
