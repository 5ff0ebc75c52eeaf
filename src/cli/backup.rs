//! `hallpass backup` and `hallpass restore`: the store of this machine, as one file that was checked.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::args::ConfigArgs;
use crate::cli::check::{environment, explained};
use crate::cli::{Failure, Host, Outcome};
use crate::config::{Config, KeyEncryptionKeySource};
use crate::domain::count::counted;
use crate::files::beside;
use crate::revocation::settings::Backend;
use crate::store::{self, Reader, Restored, StoreError, StoreSettings, Verified, VerifyError};

/// `hallpass backup`
#[derive(Debug, Clone, clap::Args)]
pub struct BackupArgs {
    /// The file to make; it must not exist. By default beside the database, with the time in its name
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `hallpass restore`
#[derive(Debug, Clone, clap::Args)]
pub struct RestoreArgs {
    /// A backup
    #[arg(value_name = "FILE")]
    pub backup: PathBuf,
    /// Where there is a store, keep it beside under another name
    #[arg(long)]
    pub replace: bool,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// # Errors
/// When the file is there, or the store or its copy does not verify.
pub fn back_up(args: &BackupArgs, host: &mut Host<'_>) -> Outcome {
    let config = config(&args.config, host)?;
    let database = database(&config, "backed up", BACK_UP_POSTGRES)?;
    let to = match &args.to {
        Some(to) => to.clone(),
        None => beside(database, &format!(".backup-{}", store::stamp(host.clock.now()))),
    };
    if Reader::open(database).and_then(|reader| reader.was_copied_open()).unwrap_or(false) {
        host.warn(COPIED_OPEN);
    }
    let Verified { size, root } =
        store::back_up(database, &to).map_err(|error| failure("backed up", &error))?;
    if args.json {
        writeln!(host.out, "{}", json!({"backup": to.display().to_string(), "size": size, "root": root}))?;
        return Ok(());
    }
    writeln!(
        host.out,
        "{}: a whole copy that verifies: {}, root {root}",
        to.display(),
        counted(size, "event")
    )?;
    if let KeyEncryptionKeySource::File(key) | KeyEncryptionKeySource::DefaultFile(key) =
        &config.key_encryption_key
    {
        host.note(&format!(
            "the key-encryption key is not in it: keep a copy of {} in another place",
            key.display()
        ));
    }
    let waiting = beside(database, ".unjournaled");
    if waiting.exists() {
        host.warn(&format!("stops that wait for the store are not in it: copy {} too", waiting.display()));
    }
    Ok(())
}

/// # Errors
/// While a broker runs, when there is a store that must not be replaced, or when the backup does not verify.
pub fn restore(args: &RestoreArgs, host: &mut Host<'_>) -> Outcome {
    let config = config(&args.config, host)?;
    let database = database(&config, "restored", RESTORE_POSTGRES)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start an event loop: {error}")))?;
    let restoring = store::restore(&args.backup, database, args.replace, host.clock.now());
    let restored = runtime.block_on(restoring).map_err(|error| match error {
        VerifyError::Store(StoreError::Taken(_)) => {
            Failure::failed(format!("{} is a store already: nothing was restored", database.display()))
                .remedy("--replace keeps that store beside it under another name")
        }
        error => failure("restored", &error),
    })?;
    let Restored { events, log, replaced, was_copied_open } = restored;
    let replaced = replaced.map(|path| path.display().to_string());
    if args.json {
        let verdict = json!({
            "restored": database.display().to_string(), "size": log.size, "root": log.root, "events": events,
            "replaced": replaced, "copy_of_running": was_copied_open,
        });
        writeln!(host.out, "{verdict}")?;
    } else {
        writeln!(host.out, "{}: restored from a backup of {}", database.display(), counted(events, "event"))?;
        if let Some(replaced) = replaced {
            writeln!(host.out, "the store before it is {replaced}")?;
        }
    }
    if was_copied_open {
        host.warn(COPIED_OPEN);
    }
    host.note(match config.revocation.backend {
        Backend::Memory => {
            "every token issued before is dead; stops made after the backup are lost: stop again whomever you stopped since"
        }
        Backend::Redis(_) => {
            "every token issued before is dead; stops made after the backup are taken over from Redis when the broker starts"
        }
    });
    Ok(())
}

/// What a copy made by `cp` lacks.
pub(super) const COPIED_OPEN: &str = "this is a plain copy of a database that a broker had open: the last events and stops may be \
                                      missing; hallpass backup makes whole copies";

fn config(args: &ConfigArgs, host: &mut Host<'_>) -> Outcome<Config> {
    Config::load(&args.config, environment()).or_else(|mistakes| explained(&mistakes, host))
}

const BACK_UP_POSTGRES: &str = "back it up with PostgreSQL's own tools, such as pg_dump or pg_basebackup; docs/OPERATIONS.md has the procedure";
const RESTORE_POSTGRES: &str =
    "restore it with PostgreSQL's own tools, such as pg_restore; docs/OPERATIONS.md has the procedure";

/// The file of a store in SQLite.
fn database<'c>(config: &'c Config, what: &str, remedy: &str) -> Outcome<&'c Path> {
    match &config.store {
        StoreSettings::Sqlite { path } => Ok(path),
        StoreSettings::Postgres(_) => {
            let problem =
                format!("nothing was {what}: the store is in PostgreSQL, and is no file of this machine");
            Err(Failure::failed(problem).remedy(remedy))
        }
    }
}

fn failure(what: &str, error: &VerifyError) -> Failure {
    match error {
        VerifyError::Store(error @ StoreError::Taken(_)) => {
            Failure::failed(error.to_string()).remedy("give another name with --to")
        }
        VerifyError::Store(error) => Failure::failed(format!("nothing was {what}: {error}")),
        VerifyError::Differs(differences) => Failure::failed(format!(
            "nothing was {what}, because the audit log does not verify: {differences}"
        ))
        .remedy("hallpass audit verify --database FILE names everything that differs"),
    }
}
