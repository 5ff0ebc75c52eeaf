//! `hallpass store copy`: a store in a file into PostgreSQL.

use std::path::PathBuf;

use serde_json::json;

use crate::app::opens_every_key;
use crate::cli::args::ConfigArgs;
use crate::cli::check::{environment, explained};
use crate::cli::{Failure, Host, Outcome};
use crate::config::Config;
use crate::domain::count::counted;
use crate::store::{self, Reader, StoreSettings, Verified, VerifyError};

#[derive(Debug, Clone, clap::Subcommand)]
pub enum StoreCommand {
    /// Copies a store in a file into the empty PostgreSQL database of the configuration
    #[command(after_help = "\
Stop the broker first. The audit log keeps its bytes, its order and its root, so checkpoints that you kept go
on to hold. The file stays as it is: start no broker on it again. The key-encryption key must be the same.

Examples:
  hallpass store copy --from data/hallpass.db --config hallpass.toml")]
    Copy(CopyArgs),
}

#[derive(Debug, Clone, clap::Args)]
pub struct CopyArgs {
    /// The database file of SQLite
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// # Errors
/// When the configuration names no PostgreSQL, or another key-encryption key; as [`store::move_to_postgres`].
pub fn copy(args: &CopyArgs, host: &mut Host<'_>) -> Outcome {
    let config =
        Config::load(&args.config.config, environment()).or_else(|mistakes| explained(&mistakes, host))?;
    let StoreSettings::Postgres(to) = &config.store else {
        return Err(Failure::failed(format!("nothing was copied: store.url names {}", config.store.name()))
            .remedy("name the configuration with url = \"postgres://…\" with --config"));
    };
    let keys =
        Reader::open(&args.from).and_then(|reader| reader.keys()).map_err(|error| failure(&error.into()))?;
    if !opens_every_key(&config, &keys)? {
        return Err(Failure::failed(
            "nothing was copied: the key-encryption key of the configuration does not open the signing keys",
        )
        .remedy(
            "give the key of the file: its store.key_encryption_key_file, or the file's name with .key",
        ));
    }
    let Verified { size, root } = store::move_to_postgres(&args.from, to).map_err(|error| failure(&error))?;
    let name = to.name();
    if args.json {
        writeln!(host.out, "{}", json!({"copied": name, "size": size, "root": root}))?;
    } else {
        writeln!(host.out, "{name}: a whole copy that verifies: {}, root {root}", counted(size, "event"))?;
    }
    host.note(&format!(
        "start no broker on {} again: two logs of one name would go on from it",
        args.from.display()
    ));
    Ok(())
}

fn failure(error: &VerifyError) -> Failure {
    match error {
        VerifyError::Store(error) => Failure::failed(format!("nothing was copied: {error}")),
        VerifyError::Differs(differences) => Failure::failed(format!(
            "nothing was copied, because the audit log does not verify: {differences}"
        ))
        .remedy("hallpass audit verify --database FILE names everything that differs"),
    }
}
