//! `hallpass operator`: keys for the people and systems on the admin listener.

use std::collections::BTreeSet;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use zeroize::Zeroizing;

use crate::cli::key_file::write_new;
use crate::cli::show::words;
use crate::cli::{Failure, Host, Outcome};
use crate::domain::digest::Digest;
use crate::domain::id::OperatorName;

#[derive(Debug, clap::Subcommand)]
pub enum OperatorCommand {
    /// Makes a key, and the configuration that gives it its roles
    #[command(after_help = "\
The broker knows the key by its hash alone; nobody can print it again.

Examples:
  hallpass operator new oncall --roles admin --out oncall.key
  hallpass operator new compliance --roles auditor --out compliance.key >> config/hallpass.toml")]
    New(NewArgs),
}

#[derive(Debug, clap::Args)]
pub struct NewArgs {
    /// The name that events will carry
    name: OperatorName,
    /// What the key may do, comma-separated
    #[arg(long, required = true, value_delimiter = ',', value_parser = role())]
    roles: Vec<String>,
    /// Where the key goes, readable by you alone; without it the key is printed, once
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON instead of TOML
    #[arg(long)]
    json: bool,
}

fn role() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(["admin", "approver", "auditor"])
}

/// # Errors
/// When the file exists or cannot be written.
pub fn run(command: &OperatorCommand, host: &mut Host<'_>) -> Outcome {
    match command {
        OperatorCommand::New(args) => new(args, host),
    }
}

fn new(args: &NewArgs, host: &mut Host<'_>) -> Outcome {
    let random = host.random.bytes::<32>().map_err(|error| Failure::failed(error.to_string()))?;
    let random = Zeroizing::new(random);
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
    // The prefix lets leak scanners find a key that went astray.
    let key = Zeroizing::new(format!("hpo_{}", *secret));
    let hash = Digest::of(key.as_bytes());
    let roles: BTreeSet<_> = args.roles.iter().collect();
    let quoted: Vec<_> = roles.iter().map(|role| format!("\"{role}\"")).collect();
    if let Some(file) = &args.out {
        write_new(file, &Zeroizing::new(format!("{}\n", *key)))?;
    }
    if args.json {
        let mut made = serde_json::json!({ "name": args.name, "roles": roles, "key_sha256": hash });
        match &args.out {
            Some(file) => made["key_file"] = serde_json::json!(file),
            None => made["key"] = serde_json::json!(*key),
        }
        writeln!(host.out, "{made}")?;
    } else {
        if args.out.is_none() {
            writeln!(host.out, "The key of {}, shown this once:\n\n  {}\n", args.name, *key)?;
            writeln!(host.out, "For the broker's configuration:")?;
        }
        // After an empty line, for the file that it goes into may not end its last one.
        writeln!(host.out, "\n[[admin.operator]]\nname = \"{}\"\nroles = [{}]", args.name, words(&quoted))?;
        writeln!(host.out, "key_sha256 = \"{hash}\"")?;
    }
    if let Some(file) = &args.out {
        host.note(&format!("wrote the key to {}; use it with --key-file", file.display()));
    }
    Ok(())
}
