//! `hallpass init`: the configuration of a broker and a first agent, from flags or a few questions.
//!
//! Promises: nothing that is there is overwritten; what is written passes `hallpass check-config` and
//! `hallpass serve` starts with it.

mod answers;
pub mod repository;
mod text;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use crate::cli::broker_url::BrokerUrl;
use crate::cli::key_file;
use crate::cli::keygen;
use crate::cli::show::safe;
use crate::cli::{Failure, Host, Outcome};
use crate::domain::id::{AgentId, Owner};
use answers::Answers;
use repository::Repository;

pub const AFTER_HELP: &str = "\
Writes config/hallpass.toml and config/agents/ID.toml, and with --key the agent's private key, agent.key.
It asks where neither --github nor --key is given. A file that is there is never overwritten. What it
writes passes `hallpass check-config`; read it, and change it by review, like code.

Examples:
  hallpass init
  hallpass init --github acme/payments --repository-id 456789 --owner team-payments
  hallpass init --key --agent payments-refactorer
  hallpass init --github acme/payments --key --dir /etc/hallpass";

#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The GitHub repository that the agent works in. Without --key its jobs in GitHub Actions are the agent
    #[arg(long, value_name = "OWNER/NAME")]
    github: Option<Repository>,
    /// The repository's number, by which its jobs are told from others; --github needs it unless --key is given: gh api repos/OWNER/NAME --jq .id
    #[arg(long, value_name = "NUMBER", requires = "github")]
    repository_id: Option<NonZero<u64>>,
    /// The agent proves itself by a key, which is made here: for a host without an identity of its own
    #[arg(long)]
    key: bool,
    /// The agent's name, which names its file [default: after the repository]
    #[arg(long, value_name = "ID")]
    agent: Option<AgentId>,
    /// The team that answers for the agent [default: after the repository]
    #[arg(long, value_name = "TEAM")]
    owner: Option<Owner>,
    /// The address by which agents reach the broker [default: http://127.0.0.1:8700]
    #[arg(long, value_name = "URL")]
    public_url: Option<BrokerUrl>,
    /// The folder to write into
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// # Errors
/// Usage where nothing was answered; failed where a file is there already or cannot be written.
pub fn run(args: &InitArgs, host: &mut Host<'_>) -> Outcome {
    // Without `./` before each path that is told.
    let dir = if args.dir == Path::new(".") { Path::new("") } else { &args.dir };
    let config = dir.join("config/hallpass.toml");
    // Before anybody answers questions for nothing.
    refuse_existing(&config)?;
    let answers = Answers::of(args, host)?;
    let agent = dir.join(format!("config/agents/{}.toml", answers.agent));
    let key_file = dir.join("agent.key");
    refuse_existing(&agent)?;
    let mut written = Vec::new();
    let key = match answers.key {
        false => None,
        true => {
            refuse_existing(&key_file)?;
            make_folder(&args.dir)?;
            let (pem, public) = keygen::pair(host)?;
            key_file::write_new(&key_file, &pem)?;
            written.push(&key_file);
            Some(public)
        }
    };
    write_new(&agent, &text::agent(&answers, key.as_ref()))?;
    written.push(&agent);
    write_new(&config, &text::configuration(&answers))?;
    written.push(&config);
    for file in written {
        writeln!(host.out, "wrote {}", safe(&file.display().to_string()))?;
    }
    write!(host.out, "{}", text::next_steps(&answers, &args.dir))?;
    for gap in answers.gaps() {
        host.warn(&format!("{}: {gap}", agent.display()));
    }
    Ok(())
}

fn refuse_existing(path: &Path) -> Outcome {
    // A link that leads nowhere is something, too.
    match fs::symlink_metadata(path) {
        Ok(_) => Err(exists(path)),
        Err(_) => Ok(()),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::failed(format!("{} exists, and nothing is overwritten", path.display()))
        .remedy("change that file, or name another folder with --dir; README.md shows an agent's file")
}

fn make_folder(path: &Path) -> Outcome {
    fs::create_dir_all(path)
        .map_err(|error| Failure::failed(format!("cannot make {}: {error}", path.display())))
}

fn write_new(path: &Path, text: &str) -> Outcome {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::failed(format!("cannot write {}: {error}", path.display())),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
