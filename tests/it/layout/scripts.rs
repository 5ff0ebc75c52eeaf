//! Scripts can be run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::{files, root};

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
