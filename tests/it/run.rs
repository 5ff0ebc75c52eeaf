//! `hallpass run`: the real program around real commands, a real broker before it.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::broker::{Backend, TestApp};
use crate::support::command::{HALLPASS, Ran, bare, hallpass, proven, ran};
use crate::support::proxy::Proxy;

/// `hallpass run MORE -- sh -c SCRIPT`
fn shell(app: &TestApp, more: &[&str], script: &str) -> Command {
    let runtime = app.file("");
    let mut command = proven(app, &[&["run"], more, &["--", "sh", "-c", script]].concat());
    command.env("XDG_RUNTIME_DIR", runtime);
    command
}

/// What is left of the folders that hold token files.
fn left_behind(app: &TestApp) -> Vec<String> {
    let names = std::fs::read_dir(app.file("")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("hallpass-")).collect()
}

/// Starts it, and waits for the line `ready`.
async fn ready(mut command: Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(next(&mut lines).await, "ready");
    (child, lines)
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await;
    line.expect("a line in time").unwrap().expect("a line")
}

async fn kill(child: &Child, signal: &str) {
    let id = child.id().expect("it runs").to_string();
    assert!(bare("kill").args([&format!("-{signal}"), &id]).status().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_has_a_good_token_while_it_runs_and_nobody_has_one_after() {
    let app = TestApp::start(Backend::Memory).await;
    let script = "cat \"$HALLPASS_TOKEN_FILE\"; echo; stat -c '%a %F' \"$HALLPASS_TOKEN_FILE\" \
                  \"$(dirname \"$HALLPASS_TOKEN_FILE\")\"; echo ready; read line; exit 7";
    let mut command = shell(&app, &["--scope", "payments:read,ledger:GET"], script);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let token = next(&mut lines).await;
    assert_eq!(app.introspect(&token).await["scope"], "payments:read ledger:GET");
    assert_eq!(next(&mut lines).await, "600 regular file");
    assert_eq!(next(&mut lines).await, "700 directory");
    assert_eq!(next(&mut lines).await, "ready");
    assert_eq!(left_behind(&app).len(), 1, "it is where XDG_RUNTIME_DIR says");
    child.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    let done: Ran = child.wait_with_output().await.unwrap().into();
    assert_eq!((done.code, done.err.as_str()), (Some(7), ""));
    assert!(!app.active(&token).await, "ended (RFC 7009)");
    assert!(left_behind(&app).is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_the_commands() {
    let app = TestApp::start(Backend::Memory).await;
    for (script, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 139),
    ] {
        let done = ran(shell(&app, &[], script)).await;
        assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (Some(code), "", ""), "{script}");
    }
    for (program, code) in [("/nowhere/program", 127), ("/", 126)] {
        let mut command = proven(&app, &["run", "--", program]);
        command.env("XDG_RUNTIME_DIR", app.file(""));
        let done = ran(command).await;
        assert_eq!(done.code, Some(code), "{done:?}");
        assert!(done.err.contains(&format!("cannot run {program}")), "{done:?}");
    }
    let (issued, ended) =
        (app.events("kind=token.issued").await, app.events("kind=revocation.stopped").await);
    assert_eq!((issued.len(), ended.len()), (9, 9), "each token is ended, whatever became of the command");
    assert!(left_behind(&app).is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_the_command_is_not_started() {
    let app = TestApp::start(Backend::Memory).await;
    let done = ran(shell(&app, &["--scope", "payments:fly"], "echo started")).await;
    assert_eq!((done.code, done.out.as_str()), (Some(3), ""), "{done:?}");
    let done = ran(hallpass(&app, &["run", "--", "echo", "started"])).await;
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{done:?}");
    assert!(done.err.contains("found no proof"), "{done:?}");
    assert_eq!(ran(hallpass(&app, &["run"])).await.code, Some(2));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_the_command() {
    let app = TestApp::start(Backend::Memory).await;
    for signal in ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"] {
        let script = format!("trap 'echo got; exit 9' {signal}; echo ready; while :; do sleep 0.05; done");
        let mut command = shell(&app, &[], &script);
        // Not in the group of a terminal that the tests may run at.
        command.process_group(0);
        let (mut child, mut lines) = ready(command).await;
        kill(&child, signal).await;
        assert_eq!(next(&mut lines).await, "got", "{signal}");
        assert_eq!(child.wait().await.unwrap().code(), Some(9), "{signal}");
    }
    // One that it does not catch kills it, and this is told as a shell tells it.
    let (mut child, _lines) = ready(shell(&app, &[], "echo ready; exec sleep 60")).await;
    kill(&child, "TERM").await;
    assert_eq!(child.wait().await.unwrap().code(), Some(143));
    assert!(left_behind(&app).is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_ignored_before_stays_ignored() {
    let app = TestApp::start(Backend::Memory).await;
    let script = "echo ready; read line; echo alive";
    let mut command = bare("sh");
    let nohup = format!("trap '' HUP; exec '{HALLPASS}' run -- sh -c '{script}'");
    command.args(["-c", &nohup]).env("HALLPASS_URL", &app.public).env("HALLPASS_IDENTITY_TOKEN", app.proof());
    command.env("XDG_RUNTIME_DIR", app.file("")).stdin(Stdio::piped());
    let (mut child, mut lines) = ready(command).await;
    kill(&child, "HUP").await;
    child.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    assert_eq!(next(&mut lines).await, "alive");
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    app.finish().await;
}

/// At a terminal, which sends Ctrl-C to the command by itself.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_reaches_the_command_once() {
    let app = TestApp::start(Backend::Memory).await;
    // Busy with nothing but itself, so that it takes each signal as it comes: while it waited for another program, two
    // would become one.
    let script = "n=0; i=0; trap \"n=\\$((n+1))\" INT; echo ready; \
                  while [ $n -eq 0 ]; do :; done; while [ $i -lt 1000000 ]; do i=$((i+1)); done; echo got $n";
    let line = format!("exec '{HALLPASS}' run -- sh -c '{script}'");
    let mut command = bare("script");
    command.args(["-qec", &line, "/dev/null"]).env("SHELL", "/bin/sh").stdin(Stdio::piped());
    command.env("HALLPASS_URL", &app.public).env("HALLPASS_IDENTITY_TOKEN", app.proof());
    command.env("XDG_RUNTIME_DIR", app.file(""));
    let (mut child, mut lines) = ready(command).await;
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(b"\x03").await.unwrap();
    let mut last = next(&mut lines).await;
    while !last.contains("got") {
        last = next(&mut lines).await;
    }
    assert_eq!(last.trim_start_matches("^C"), "got 1");
    drop(keyboard);
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_renewed_at_two_thirds_and_never_half_there() {
    let app = TestApp::start(Backend::Memory).await;
    // Reads as fast as a shell can, and says each token it sees once; a torn one would be one more.
    let script = "end=$(($(date +%s)+5)); while [ $(date +%s) -lt $end ]; do \
                  read -r t < \"$HALLPASS_TOKEN_FILE\" || [ -n \"$t\" ]; \
                  [ \"$t\" = \"$last\" ] || echo \"$(date +%s%3N) $t\"; last=$t; done";
    let done = ran(shell(&app, &["--ttl", "3s"], script)).await;
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let seen: Vec<(i64, &str)> = done
        .out
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(at, token)| (at.parse().unwrap(), token))
        .collect();
    let issued = app.events("kind=token.issued").await.len();
    assert!((2..=4).contains(&seen.len()) && seen.len() <= issued, "{done:?}");
    for pair in seen.windows(2) {
        let between = pair[1].0 - pair[0].0;
        assert!((1500..2900).contains(&between), "two thirds of 3 s, before it expires: {between} ms");
    }
    for (_, token) in &seen {
        assert_eq!(token.split('.').count(), 3);
        assert!(!app.active(token).await, "the last and the one before are ended, the others have expired");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_fails_is_told_and_tried_again_and_the_command_lives() {
    let app = TestApp::start(Backend::Memory).await;
    let proxy = Proxy::to(app.public.rsplit(':').next().unwrap().parse().unwrap()).await;
    let script =
        "cat \"$HALLPASS_TOKEN_FILE\"; echo; echo ready; read line; cat \"$HALLPASS_TOKEN_FILE\"; exit 5";
    let mut command = shell(&app, &["--ttl", "3s"], script);
    command.env("HALLPASS_URL", format!("http://127.0.0.1:{}", proxy.port)).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = next(&mut lines).await;
    assert_eq!(next(&mut lines).await, "ready");
    proxy.cut();
    for words in ["warning: the token was not renewed: ", "warning: the token has expired"] {
        let line = told.next_line().await.unwrap().unwrap();
        assert!(line.starts_with(words), "{line}");
    }
    proxy.pass();
    assert_eq!(told.next_line().await.unwrap().unwrap(), "the token is renewed");
    child.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    let second = next(&mut lines).await;
    assert_ne!(first, second);
    assert_eq!(child.wait().await.unwrap().code(), Some(5));
    assert!(left_behind(&app).is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_ended_is_told() {
    let app = TestApp::start(Backend::Memory).await;
    let proxy = Proxy::to(app.public.rsplit(':').next().unwrap().parse().unwrap()).await;
    let mut command = shell(&app, &[], "echo ready; read line");
    command.env("HALLPASS_URL", format!("http://127.0.0.1:{}", proxy.port)).stdin(Stdio::piped());
    let (mut child, _lines) = ready(command).await;
    proxy.cut();
    child.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    let done: Ran = child.wait_with_output().await.unwrap().into();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.err.starts_with("warning: a token was not ended and lives for "), "{done:?}");
    assert!(left_behind(&app).is_empty(), "the file goes all the same");
    app.finish().await;
}
