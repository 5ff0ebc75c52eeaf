//! `hallpass audit verify`: recomputes the whole log and names everything that is not as it was.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::local;
use super::progress::Progress;
use crate::cli::args::ConfigArgs;
use crate::cli::backup::COPIED_OPEN;
use crate::cli::{Failure, Host, Outcome};
use crate::domain::checkpoint::{self, Checkpoint, VerifierKey};
use crate::domain::count::counted;
use crate::store::{Difference, Differences, Reader, StoreSettings, Verified, VerifyError};

#[derive(Debug, Clone, clap::Args)]
pub struct VerifyArgs {
    /// A checkpoint that you kept (`hallpass audit checkpoint`); the log must still contain what it covers
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// The verifier key that you kept (`hallpass audit checkpoint --key`), in place of the store's own
    #[arg(long, value_name = "KEY", requires = "checkpoint")]
    pub verifier_key: Option<VerifierKey>,
    /// Verify this database file instead of the configuration's
    #[arg(long, value_name = "FILE")]
    pub database: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// # Errors
/// With all that differs, and where.
pub(super) fn run(args: &VerifyArgs, host: &mut Host<'_>) -> Outcome {
    let (reader, checkpoint) = what(args, host)?;
    let was_copied_open = reader.was_copied_open().unwrap_or(false);
    if was_copied_open {
        host.warn(COPIED_OPEN);
    }
    let covered = checkpoint.as_ref().map(|checkpoint| checkpoint.size);
    let verified = with_progress(&reader, checkpoint.as_ref());
    if args.json
        && let Some(mut verdict) = verdict(&verified, covered)
    {
        verdict["copy_of_running"] = was_copied_open.into();
        writeln!(host.out, "{verdict}")?;
    }
    let Verified { size, root } = verified.map_err(|error| failure(&error))?;
    if args.json {
        return Ok(());
    }
    let how_far = if was_copied_open { " as far as this copy has it" } else { "" };
    writeln!(host.out, "the audit log verifies{how_far}: {}, root {root}", counted(size, "event"))?;
    match covered {
        Some(covered) => writeln!(host.out, "it extends the checkpoint of {}", counted(covered, "event"))?,
        None => host.note("without --checkpoint nobody can tell whether the whole log was written anew"),
    }
    Ok(())
}

/// What was found, for a program; `None` where the log could not be read, so that nothing was found.
fn verdict(verified: &Result<Verified, VerifyError>, covered: Option<u64>) -> Option<serde_json::Value> {
    match verified {
        Ok(Verified { size, root }) => {
            Some(json!({"verified": true, "size": size, "root": root, "checkpoint": covered}))
        }
        Err(VerifyError::Store(_)) => None,
        Err(VerifyError::Differs(differences)) => {
            let all: Vec<_> = differences.named().iter().map(difference).collect();
            let mut verdict = all.first().cloned().unwrap_or_else(|| json!({}));
            verdict["verified"] = false.into();
            verdict["checkpoint"] = json!(covered);
            verdict["more"] = differences.unnamed().into();
            verdict["judged"] = json!(differences.judged());
            verdict["differences"] = all.into();
            Some(verdict)
        }
    }
}

fn difference(difference: &Difference) -> serde_json::Value {
    let (first, last) = difference.events().unzip();
    json!({"first": first, "last": last, "problem": difference.to_string()})
}

/// So many differences are read on a terminal; `--json` has more.
const SHOWN: usize = 20;

fn failure(error: &VerifyError) -> Failure {
    const WHAT: &str = "the audit log does not verify";
    let failure = match error {
        VerifyError::Store(error) => Failure::failed(format!("{WHAT}: {error}")),
        VerifyError::Differs(differences) => {
            let named = differences.named();
            let shown = &named[..named.len().min(SHOWN)];
            let (first, rest) =
                shown.split_first().map_or((String::new(), shown), |(f, r)| (f.to_string(), r));
            let mut failure = Failure::failed(format!("{WHAT}: {first}"));
            for difference in rest {
                failure = failure.fact("also", difference.to_string());
            }
            match (named.len() - shown.len()) as u64 + differences.unnamed() {
                0 => {}
                more => {
                    let more = format!("{more} more differences; --json names up to {}", Differences::NAMED);
                    failure = failure.fact("also", more);
                }
            }
            match differences.judged() {
                None => failure,
                Some(last) => failure.fact("not judged", format!("nothing after event {last} was judged")),
            }
        }
    };
    failure.remedy(
        "keep the database as it is, and compare it with a backup from before the first of these events",
    )
}

fn what(args: &VerifyArgs, host: &mut Host<'_>) -> Outcome<(Reader, Option<Checkpoint>)> {
    let note = args.checkpoint.as_deref().map(read_note).transpose()?;
    let needs_config = args.database.is_none() || (note.is_some() && args.verifier_key.is_none());
    let config = needs_config.then(|| local::config(&args.config, host)).transpose()?;
    let store = match (&args.database, &config) {
        (Some(path), _) => StoreSettings::sqlite(path),
        (None, Some(config)) => config.store.clone(),
        (None, None) => return Err(Failure::usage("give --database or --config")),
    };
    let reader = Reader::open_store(&store)
        .map_err(|error| local::unusable(&store, &error, "the database itself with --database"))?;
    let Some(note) = note else { return Ok((reader, None)) };
    let key = match (&args.verifier_key, &config) {
        (Some(key), _) => key.clone(),
        (None, Some(config)) => {
            host.note("the checkpoint's signature is checked with the store's own key; --verifier-key takes the one you kept");
            local::Signer::of(config, &reader)?.verifier()?
        }
        (None, None) => return Err(Failure::usage("give --verifier-key or --config with --checkpoint")),
    };
    let checkpoint = checkpoint::verify(&note, &key)
        .map_err(|error| Failure::failed(format!("the checkpoint is not good: {error}")))?;
    Ok((reader, Some(checkpoint)))
}

fn read_note(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

fn with_progress(reader: &Reader, checkpoint: Option<&Checkpoint>) -> Result<Verified, VerifyError> {
    let mut progress = Progress::new();
    let verified = reader.verify(checkpoint, &mut |done, total| progress.at(done, total));
    progress.end();
    verified
}

/// Verifies the log in the database file `path`, whatever the configuration says.
///
/// # Errors
/// With all that differs, and where.
pub fn verify_file(path: &Path, checkpoint: Option<&Checkpoint>) -> Result<Verified, VerifyError> {
    Reader::open(path)?.verify(checkpoint, &mut |_, _| {})
}
