//! `hallpass check-config`: every mistake of the configuration and the agent files, offline.

use std::path::Path;

use crate::cli::args::CheckArgs;
use crate::cli::show::safe;
use crate::cli::{Failure, Host, Outcome};
use crate::config::{self, Checked};
use crate::domain::diagnostic::Diagnostic;

/// # Errors
/// When there is a mistake; each is on standard output, one a line.
pub fn run(args: &CheckArgs, host: &mut Host<'_>) -> Outcome {
    let path = &args.config.config;
    if args.json {
        return as_json(path, host);
    }
    let checked = match config::check(path, environment()) {
        Ok(checked) => checked,
        Err(mistakes) => {
            host.out.write_all(lines(&mistakes).as_bytes())?;
            return Err(counted(&mistakes));
        }
    };
    let agents = checked.registry.agents();
    writeln!(
        host.out,
        "{}: no mistakes, {} agents, {}",
        path.display(),
        agents.len(),
        checked.registry.revision()
    )?;
    for agent in checked.registry.agents() {
        writeln!(host.out, "  {}", safe(&agent.sentence()))?;
    }
    Ok(())
}

fn as_json(path: &Path, host: &mut Host<'_>) -> Outcome {
    let mistakes = read(path, host).err().unwrap_or_default();
    let list: Vec<_> = mistakes
        .iter()
        .map(|Diagnostic { file, line, key, problem, remedy }| {
            serde_json::json!({"file": file, "line": line, "key": key, "problem": problem, "remedy": remedy})
        })
        .collect();
    writeln!(host.out, "{}", serde_json::Value::from(list))?;
    if mistakes.is_empty() { Ok(()) } else { Err(counted(&mistakes)) }
}

/// Reads and checks the configuration with the environment laid over it.
pub(super) fn checked(path: &Path, host: &mut Host<'_>) -> Outcome<Checked> {
    read(path, host).or_else(|mistakes| explained(&mistakes, host))
}

fn read(path: &Path, host: &Host<'_>) -> Result<Checked, Vec<Diagnostic>> {
    let checked = config::check(path, environment())?;
    let mistakes = checked.config.certificates_at(host.clock.now());
    if mistakes.is_empty() { Ok(checked) } else { Err(mistakes) }
}

/// The variables that may override keys. What is not UTF-8 cannot be one.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.into_string().ok();
    std::env::vars_os().filter_map(move |(name, value)| Some((text(name)?, text(value)?)))
}

/// Says each mistake on a line of its own, beside the output: nobody asked this command for them.
pub(super) fn explained<T>(mistakes: &[Diagnostic], host: &mut Host<'_>) -> Outcome<T> {
    // Nobody is left to tell where standard error cannot be written.
    let _ = host.err.write_all(lines(mistakes).as_bytes());
    Err(counted(mistakes))
}

fn lines(mistakes: &[Diagnostic]) -> String {
    mistakes.iter().map(|mistake| format!("{}\n", safe(&mistake.to_string()))).collect()
}

fn counted(mistakes: &[Diagnostic]) -> Failure {
    let count = mistakes.len();
    let mistakes = if count == 1 { "mistake" } else { "mistakes" };
    Failure::failed(format!("{count} {mistakes} in the configuration"))
        .remedy("docs/CONFIGURATION.md lists every key")
}
