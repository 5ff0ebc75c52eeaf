//! `hallpass check-config`: every mistake of the configuration and the agent files, and what is weaker in
//! them than it need be, offline.

use std::ffi::OsString;
use std::path::Path;

use crate::cli::args::CheckArgs;
use crate::cli::show::safe;
use crate::cli::{Failure, Host, Outcome};
use crate::config::{self, Checked};
use crate::domain::count::counted;
use crate::domain::diagnostic::{Diagnostic, Warning};
use crate::registry::Registry;

/// What was found: the agents with every warning, or every mistake.
type Found = Result<(Registry, Vec<Warning>), Vec<Diagnostic>>;

/// # Errors
/// When there is a mistake, or a warning where those are denied; each is on standard output, one a line.
pub fn run(args: &CheckArgs, host: &mut Host<'_>) -> Outcome {
    let path = args.file.as_ref().unwrap_or(&args.config.config);
    let found = found(path, args, host);
    if args.json {
        return as_json(found, args, host);
    }
    let (registry, warnings) = match found {
        Ok(found) => found,
        Err(mistakes) => {
            host.out.write_all(lines(&mistakes).as_bytes())?;
            return Err(failure(&mistakes));
        }
    };
    for warning in &warnings {
        writeln!(host.out, "{}", safe(&warning.to_string()))?;
    }
    if args.deny_warnings {
        denied(&warnings)?;
    }
    let (agents, revision) = (registry.agents(), registry.revision());
    writeln!(host.out, "{}: no mistakes, {}, {revision}", path.display(), counted(agents.len(), "agent"))?;
    for agent in registry.agents() {
        writeln!(host.out, "  {}", safe(&agent.sentence()))?;
    }
    Ok(())
}

fn found(path: &Path, args: &CheckArgs, host: &Host<'_>) -> Found {
    if args.agents_only {
        let registry = config::check_agents(path, environment())?;
        let warnings = registry.warnings().to_vec();
        return Ok((registry, warnings));
    }
    let checked = match args.skip_files {
        true => config::check_without_files(path, environment())?,
        false => read(path, host)?,
    };
    Ok((checked.registry, checked.warnings))
}

fn as_json(found: Found, args: &CheckArgs, host: &mut Host<'_>) -> Outcome {
    let (mistakes, warnings) = match found {
        Ok((_, warnings)) => (Vec::new(), warnings),
        Err(mistakes) => (mistakes, Vec::new()),
    };
    let mistakes_told = mistakes.iter().map(|mistake| told("mistake", mistake));
    let warnings_told = warnings.iter().map(|Warning(warning)| told("warning", warning));
    let list: Vec<_> = mistakes_told.chain(warnings_told).collect();
    writeln!(host.out, "{}", serde_json::Value::from(list))?;
    match mistakes[..] {
        [] if args.deny_warnings => denied(&warnings),
        [] => Ok(()),
        _ => Err(failure(&mistakes)),
    }
}

fn told(severity: &str, diagnostic: &Diagnostic) -> serde_json::Value {
    let Diagnostic { file, line, key, problem, remedy } = diagnostic;
    serde_json::json!({
        "severity": severity, "file": file, "line": line, "key": key, "problem": problem, "remedy": remedy
    })
}

fn denied(warnings: &[Warning]) -> Outcome {
    let count = counted(warnings.len(), "warning");
    match warnings {
        [] => Ok(()),
        _ => Err(Failure::failed(format!("{count} in the configuration, and --deny-warnings"))
            .remedy("each says what to do; docs/CONFIGURATION.md and docs/IDENTITIES.md say why")),
    }
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

/// The variables that may override keys. Bytes that are not UTF-8 become a character that every reader of a value refuses.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// Says each mistake on a line of its own, beside the output: nobody asked this command for them.
pub(super) fn explained<T>(mistakes: &[Diagnostic], host: &mut Host<'_>) -> Outcome<T> {
    // Nobody is left to tell where standard error cannot be written.
    let _ = host.err.write_all(lines(mistakes).as_bytes());
    Err(failure(mistakes))
}

fn lines(mistakes: &[Diagnostic]) -> String {
    mistakes.iter().map(|mistake| format!("{}\n", safe(&mistake.to_string()))).collect()
}

fn failure(mistakes: &[Diagnostic]) -> Failure {
    Failure::failed(format!("{} in the configuration", counted(mistakes.len(), "mistake")))
        .remedy("docs/CONFIGURATION.md lists every key")
}
