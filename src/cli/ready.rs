//! `hallpass ready`: the health check of containers and start-up scripts.

use crate::cli::client::{Client, wait};
use crate::cli::show::json_line;
use crate::cli::token::BrokerArgs;
use crate::cli::{Failure, Host, Outcome};

#[derive(Debug, clap::Args)]
pub struct ReadyArgs {
    /// Print what the broker says of itself
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// # Errors
/// Failed when `/readyz` answers anything but 200, or nothing.
pub fn run(args: &ReadyArgs, host: &mut Host<'_>) -> Outcome {
    let client = Client::new(args.broker.url.clone(), BrokerArgs::NAMED_BY)?;
    let answer = wait(client.get("/readyz", &[]))?;
    let body = json_line(answer.text()?.trim(), true).into_owned();
    if args.verbose {
        writeln!(host.out, "{body}")?;
    }
    match answer.status {
        200 => Ok(()),
        status => {
            let failure = Failure::failed(format!("{} is not ready: it answers {status}", args.broker.url));
            Err(if args.verbose { failure } else { failure.remedy("say -v to see what is not") })
        }
    }
}
