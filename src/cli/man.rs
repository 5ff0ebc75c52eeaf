//! `hallpass man`: the manual pages, made from what `--help` says, so that they cannot differ from it.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::{Cli, Failure, Host, Outcome};

#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The folder for a page of each command; without it hallpass(1) is printed
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// # Errors
/// When the folder or standard output cannot be written.
pub fn run(args: &ManArgs, host: &mut Host<'_>) -> Outcome {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page)?;
        return Ok(host.out.write_all(&page)?);
    };
    let failed =
        |error: std::io::Error| Failure::failed(format!("cannot write into {}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
    host.note(&format!(
        "wrote the pages to {}; read one with: man -l {}/hallpass.1",
        dir.display(),
        dir.display()
    ));
    Ok(())
}
