//! `hallpass ready`: the health check of containers and start-up scripts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::cli::admin::{ADMIN_URL, KEY_FILE, OperatorKey};
use crate::cli::broker_url::BrokerUrl;
use crate::cli::check::environment;
use crate::cli::client::{Client, wait};
use crate::cli::listener::Listener;
use crate::cli::show::json_line;
use crate::cli::token::BrokerArgs;
use crate::cli::{Exit, Failure, Host, Outcome};
use crate::config::{self, Doors, ListensAt};

#[derive(Debug, clap::Args)]
pub struct ReadyArgs {
    /// Print each part of the broker that is not well; without an operator key one word
    #[arg(short, long)]
    verbose: bool,
    /// Ask the broker that serves this configuration on this machine, wherever it listens; over TLS it is known by its certificate file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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
    let doors = args.config.as_deref().map(doors).transpose()?;
    let client = match &doors {
        Some((file, doors)) => served_at(doors.public.as_ref(), file, Listener::Public)?,
        None => Client::over(args.broker.url.clone(), Listener::Public, host.way()?)?,
    };
    let answer = wait(client.get("/readyz", &[]))?;
    let body = json_line(answer.text()?.trim(), true).into_owned();
    let mut has_details = false;
    if args.verbose {
        let details = match &doors {
            Some((file, doors)) => details_of(file, doors, args, host)?,
            None => details(args, host)?,
        };
        has_details = details.is_some();
        writeln!(host.out, "{}", details.unwrap_or(body))?;
    }
    match answer.status {
        200 => Ok(()),
        // That no token can be issued is said so; anything else is no answer of `/readyz`.
        300..=499 => answer.success().map(drop).map_err(|mut failure| {
            failure.exit = Exit::Failed;
            failure
        }),
        status => {
            let failure = Failure::failed(format!("{} is not ready: it answers {status}", client.base()));
            let remedy = "to see what is not, say -v where `hallpass serve` runs, or with --key-file or HALLPASS_OPERATOR_KEY_FILE";
            Err(if has_details { failure } else { failure.remedy(remedy) })
        }
    }
}

/// Where the broker of the configuration in `file` listens.
fn doors(file: &Path) -> Outcome<(&Path, Doors)> {
    let doors = config::doors(file, environment()).ok_or_else(|| nowhere(file))?;
    Ok((file, doors))
}

fn nowhere(file: &Path) -> Failure {
    Failure::failed(format!("{} does not tell where the broker listens", file.display()))
        .remedy("see what is wrong with it: hallpass check-config")
}

/// A client of a listener of the configuration in `file`, on this machine. The certificate of a broker is for its public
/// name, and this machine's system need not trust who signed it: so the broker is known by the very certificate that it
/// serves with.
fn served_at(at: Option<&ListensAt>, file: &Path, listener: Listener) -> Outcome<Client> {
    let ListensAt { address, cert_file } = at.ok_or_else(|| nowhere(file))?;
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let address = SocketAddr::from((host, address.port()));
    let Some(cert_file) = cert_file else {
        let url = format!("http://{address}").parse();
        let url = url.map_err(|why| {
            let named_by = listener.named_by();
            Failure::failed(format!("{address}: {why}")).remedy(format!("name the address with {named_by}"))
        })?;
        return Client::new(url, listener);
    };
    let unusable = |why: String| Failure::failed(format!("{}: {why}", cert_file.display()));
    let pem = std::fs::read(cert_file).map_err(|error| unusable(error.to_string()))?;
    let url = format!("https://{address}").parse().map_err(|why: &str| unusable(why.to_owned()))?;
    Client::of_exactly(url, listener, &pem).map_err(|error| unusable(error.to_string()))
}

/// What the admin listener of the configuration in `file` says, with the key that was named or its local operator's.
fn details_of(file: &Path, doors: &Doors, args: &ReadyArgs, host: &mut Host<'_>) -> Outcome<Option<String>> {
    let local = doors.local_key_file.clone().filter(|key| key.exists());
    let Some(key_file) = args.key_file.clone().or(local) else { return Ok(None) };
    let client = served_at(doors.admin.as_ref(), file, Listener::Admin)?;
    said_by(&client.with_bearer(&OperatorKey { key_file }.read(host)?)?).map(Some)
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
    said_by(&OperatorKey { key_file }.connect(&args.admin_url, host)?)
}

fn said_by(client: &Client) -> Outcome<String> {
    let answer = wait(client.get("/readyz", &[]))?;
    // 503 is an answer too: no token can be issued.
    let answer = if answer.status == 503 { answer } else { answer.success()? };
    Ok(json_line(answer.text()?.trim(), true).into_owned())
}
