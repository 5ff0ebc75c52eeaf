//! `hallpass demo`: the whole story in one run of the real program.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The program in an empty machine: nothing but a folder for what is temporary, which is also where it runs.
fn demo(temporary: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.arg("demo").env_clear().env("TMPDIR", temporary.path()).current_dir(temporary.path());
    command
}

fn left_behind(temporary: &TempDir) -> Vec<String> {
    let name =
        |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().to_string_lossy().into_owned();
    fs::read_dir(temporary.path()).unwrap().map(name).collect()
}

#[test]
fn the_story_is_told_whole_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    // Ends only when every process that holds the pipes has ended.
    let told = demo(&temporary).output().unwrap();
    let took = begun.elapsed();
    let (out, err) = (String::from_utf8(told.stdout).unwrap(), String::from_utf8(told.stderr).unwrap());
    assert!(told.status.success(), "{out}\n{err}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(err, "");
    assert_eq!(left_behind(&temporary), Vec::<String>::new());
    let steps: Vec<&str> =
        out.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    for (n, step) in steps.iter().enumerate() {
        assert!(step.starts_with(&format!("{}. ", n + 1)), "{step}");
    }
    assert_eq!(steps.len(), 8, "{out}");
    // Each step came out as told, and says how long it took.
    for step in out.split("\n\n").filter(|step| step.starts_with(|c: char| c.is_ascii_digit())) {
        let done = step.lines().filter(|line| line.starts_with("   ✓ ") && line.ends_with(" ms)")).count();
        assert!(done > 0, "{step}");
    }
    for told in [
        "sub       agent:payments-refactorer",
        "invalid_scope (scope_not_registered)",
        "access_denied (approval_required)",
        "introspection: active: true, agent:payments-refactorer of team-payments",
        "confirmed by broker",
        "introspection: {\"active\":false}",
        "agent:payments-refactorer is stopped",
        "revocation.stopped",
        "the copy fails: event 9",
    ] {
        assert!(out.contains(told), "{told} is not in\n{out}");
    }
    let (_, trail) = out.split_once("\n7. ").expect("the audit trail");
    let table: Vec<&str> = trail.lines().skip(1).take_while(|line| !line.contains('✓')).collect();
    assert!(table.len() > 10, "{trail}");
    for line in table {
        assert!(line.chars().count() <= 80, "it fits the narrowest terminal: {line}");
    }
    // The token itself is nowhere: it is decoded, and its scrollback is no place for it.
    assert!(!out.contains("eyJ"), "{out}");
}

#[test]
fn configuration_of_the_machine_does_not_change_it() {
    let temporary = tempfile::tempdir().unwrap();
    let told = demo(&temporary)
        .env("HALLPASS_SERVER__LISTEN", "192.0.2.1:1")
        .env("HALLPASS_STORE__URL", "sqlite:///nowhere/hallpass.db")
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(left_behind(&temporary), Vec::<String>::new());
}

#[test]
fn a_reader_that_leaves_and_an_interrupt_leave_nothing_behind() {
    use std::io::{BufRead, BufReader};
    for interrupt in [false, true] {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = demo(&temporary).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // In the middle of the story.
        let reached = lines.by_ref().map(Result::unwrap).any(|line| line.starts_with("5. "));
        assert!(reached);
        if interrupt {
            let pid = child.id().to_string();
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        }
        drop(lines);
        let ended = child.wait_with_output().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        if interrupt {
            assert_eq!(ended.status.code(), Some(1), "{err}");
            assert!(err.contains("interrupted"), "{err}");
        } else {
            assert_eq!((ended.status.code(), err.as_str()), (Some(0), ""));
        }
        assert_eq!(left_behind(&temporary), Vec::<String>::new());
    }
}
