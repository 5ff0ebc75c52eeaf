//! Scripts can be run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::{files, root};

/// A mistyped flag must not start minutes of work without what it was to do. `scripts/test` hands its own on to cargo.
#[test]
fn no_script_ignores_an_argument() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    for script in files("scripts").iter().filter(|script| !script.ends_with("test")) {
        let known: &[&str] = match script.file_name().and_then(|name| name.to_str()).unwrap() {
            "compose-secrets" => &[made.to_str().unwrap()],
            "setup" | "setup-git" => &["--check"],
            "siege" => &["--short"],
            _ => &[],
        };
        for arguments in [&["--no-such-flag"] as &[_], &[known, &["surplus"]].concat()] {
            let run = Command::new(root().join(script)).args(arguments).current_dir(folder.path()).output();
            let (run, name) = (run.unwrap(), script.display());
            let said = String::from_utf8_lossy(&run.stderr);
            assert_eq!(run.status.code(), Some(2), "{name} {arguments:?}: {said}");
            assert!(said.starts_with("Usage: ") && run.stdout.is_empty(), "{name} {arguments:?}: {said}");
        }
    }
    assert!(!made.exists());
}

#[test]
fn every_script_can_be_run_and_says_what_it_does() {
    let scripts = files("scripts");
    assert!(scripts.len() >= 2, "{scripts:?}");
    for script in &scripts {
        let run = Command::new(root().join(script)).arg("--help").current_dir("/").output();
        let run = run.unwrap_or_else(|error| panic!("{}: {error}; chmod +x", script.display()));
        let help = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && help.starts_with("Usage: "), "{}: {help}", script.display());
    }
    let mode = fs::metadata(root().join(".ci/run")).expect(".ci/run").permissions().mode();
    assert_eq!(mode & 0o111, 0o111, ".ci/run must be executable");
}
