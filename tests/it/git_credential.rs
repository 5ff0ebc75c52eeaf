//! `hallpass git-credential`: what git gets for which repository, by the protocol and through real git.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::support::broker::{Backend, TestApp, decode};
use crate::support::command::{HALLPASS, Ran, bare, hallpass, proven, ran, ran_with};
use crate::support::git::{BASIC, BEARER, GitServer};

/// A server with three repositories, and an agent that may use two of them.
async fn world(challenge: &'static str) -> (GitServer, TestApp) {
    let server =
        GitServer::start(challenge, &["acme/payments.git", "acme/docs.git", "acme/secret.git"]).await;
    let agent = format!(
        r#"purpose = "Refactors the payments service."
owner = "team-payments"

[[identity]]
issuer = "ci"
claims = {{ repository_id = "456789" }}

[[repository]]
name = "payments"
url = "{origin}/acme/payments"
refs = ["refs/heads/agent/*"]
free = ["read", "push"]
gated = ["merge"]

[[repository]]
name = "docs"
url = "{origin}/acme/docs.git"
free = ["read"]

[[endpoint]]
name = "ledger"
url = "https://ledger.staging.acme.internal"
paths = ["/v1/entries/**"]
free = ["GET"]
"#,
        origin = server.origin
    );
    let register =
        |folder: &Path| std::fs::write(folder.join("agents/payments-refactorer.toml"), agent).unwrap();
    let app = TestApp::prepared(Backend::Memory, "", register).await;
    server.trust(&app);
    (server, app)
}

fn asks(origin: &str, path: &str) -> String {
    let (protocol, host) = origin.split_once("://").unwrap();
    format!(
        "capability[]=authtype\ncapability[]=state\nprotocol={protocol}\nhost={host}\npath={path}\n\
         wwwauth[]=Bearer realm=\"x\"\n\n"
    )
}

async fn get(app: &TestApp, more: &[&str], question: &str) -> Ran {
    ran_with(proven(app, &[&["git-credential"], more, &["get"]].concat()), question).await
}

fn value<'a>(answer: &'a Ran, key: &str) -> &'a str {
    let line = answer.out.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key}: {answer:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_the_repository_that_git_asks_about_and_no_other() {
    let (server, app) = world(BEARER).await;
    for (path, name, actions) in
        [("acme/payments.git", "payments", "read push"), ("acme/docs", "docs", "read")]
    {
        let answer = get(&app, &[], &asks(&server.origin, path)).await;
        assert_eq!((answer.code, answer.err.as_str()), (Some(0), ""), "{answer:?}");
        assert!(answer.out.starts_with("capability[]=authtype\n"), "{answer:?}");
        assert_eq!((value(&answer, "authtype"), value(&answer, "ephemeral")), ("Bearer", "1"));
        let claims = decode(value(&answer, "credential"));
        let scope: Vec<String> = actions.split(' ').map(|action| format!("{name}:{action}")).collect();
        assert_eq!(claims["scope"], scope.join(" "), "{claims}");
        // The command counts from when it has the token, which may be in the second after the broker's.
        let (exp, told) = (claims["exp"].as_i64().unwrap(), value(&answer, "password_expiry_utc"));
        assert!((exp..=exp + 1).contains(&told.parse().unwrap()), "{exp}: {told}");
        assert!(app.active(value(&answer, "credential")).await);
    }
    // Two tokens each time, of which the wider one was ended before the other was made.
    let events = app.events("").await;
    let of = |kind: &str| -> Vec<&Value> { events.iter().filter(|event| event["kind"] == kind).collect() };
    let (issued, stopped) = (of("token.issued"), of("revocation.stopped"));
    assert_eq!((issued.len(), stopped.len()), (4, 2), "{events:#?}");
    for wide in [issued[1], issued[3]] {
        let target = format!("token:{}", wide["token"].as_str().unwrap());
        assert!(stopped.iter().any(|stop| stop["target"] == target.as_str()), "{target} {stopped:?}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_another_path_and_no_path_get_nothing() {
    let (server, app) = world(BEARER).await;
    let elsewhere = "http://127.0.0.1:9";
    for (question, code) in [
        (asks(&server.origin, "acme/secret.git"), 0),
        (asks(&server.origin, "acme/payments.git.git"), 0),
        (asks(&server.origin, "acme/../acme/payments"), 0),
        (asks(&server.origin, "acme"), 0),
        (asks(elsewhere, "acme/payments"), 0),
        (asks(&server.origin.replace("http:", "https:"), "acme/payments"), 0),
        (asks("http://git.acme.example", "acme/payments"), 0),
        (asks("https://ledger.staging.acme.internal", "v1/entries"), 0),
        (asks("https://ledger.staging.acme.internal", "acme/payments"), 0),
        (asks("ssh://git.acme.example", "acme/payments"), 0),
        ("protocol=https\nhost=github.com\n\n".to_owned(), 0),
        ("nonsense\n".to_owned(), 2),
    ] {
        for scope in [&[][..], &["--scope", "docs:read"]] {
            let answer = get(&app, scope, &question).await;
            // With --scope the broker says that the permission is not there, and so does the command.
            let codes: &[i32] = if scope.is_empty() { &[code] } else { &[code, 3] };
            assert!(codes.contains(&answer.code.unwrap()), "{question}: {answer:?}");
            assert_eq!(answer.out, "", "{question}");
        }
    }
    let stops = app.events("kind=revocation.stopped").await;
    let issued = app.events("kind=token.issued").await;
    assert!(!issued.is_empty(), "to learn that there is nothing");
    for event in issued {
        let target = format!("token:{}", event["token"].as_str().unwrap());
        let ended = stops.iter().any(|stop| stop["target"] == target.as_str());
        assert!(ended, "{target} lives on, though nobody has it");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verbose_says_why_git_gets_nothing() {
    let (server, app) = world(BEARER).await;
    let lfs = "https://lfs.github.com";
    for (question, why) in [
        (asks(&server.origin, "acme/Payments.git"), "/acme/payments is: write the remote's URL in that case"),
        (asks(&server.origin, "acme/payments.wiki.git"), "is the wiki of"),
        (asks(&server.origin, "acme/payments.git/info/lfs"), "is where git LFS keeps the large files of"),
        (
            asks(&server.origin, "acme/secret.git"),
            "/acme/secret is not registered for this agent; at that host it has",
        ),
        (asks(lfs, "acme/payments"), "https://lfs.github.com: neither an origin nor the URL of a resource"),
        (asks("https://ledger.staging.acme.internal", "acme/payments"), "no other repository at that host"),
        (asks("http://git.acme.example", "acme/payments"), "http to another machine"),
        (asks("ssh://git.acme.example", "acme/payments"), "neither https nor http"),
        (asks(&server.origin, "acme/../payments"), "`..` segment"),
    ] {
        let quiet = get(&app, &[], &question).await;
        assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (Some(0), "", ""), "{question}");
        for flag in ["-v", "--verbose"] {
            let answer = get(&app, &[flag], &question).await;
            assert_eq!((answer.code, answer.out.as_str()), (Some(0), ""), "{question}");
            assert!(answer.err.contains("git gets nothing from hallpass: "), "{answer:?}");
            assert!(answer.err.contains(why), "{why}: {answer:?}");
        }
    }
    // What git gets is the same with it.
    let given = get(&app, &["-v"], &asks(&server.origin, "acme/payments.git")).await;
    assert!(given.code == Some(0) && !given.err.contains("git gets nothing"), "{given:?}");
    assert!(given.out.contains("authtype=Bearer"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_asked_for_in_one_call_and_must_be_the_repositorys_alone() {
    let (server, app) = world(BEARER).await;
    let payments = asks(&server.origin, "acme/payments.git");
    let answer = get(&app, &["--scope", "payments:read", "--ttl", "2m"], &payments).await;
    let claims = decode(value(&answer, "credential"));
    assert_eq!(claims["scope"], "payments:read");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 120);
    assert_eq!(app.events("kind=token.issued").await.len(), 1);
    let wide = get(&app, &["--scope", "payments:read,docs:read"], &payments).await;
    assert_eq!((wide.code, wide.out.as_str()), (Some(0), ""));
    assert!(wide.err.contains("--scope names more"), "{wide:?}");
    assert_eq!(app.events("kind=revocation.stopped").await.len(), 1);
    let gated = get(&app, &["--scope", "payments:merge"], &payments).await;
    assert_eq!((gated.code, gated.out.as_str()), (Some(3), ""), "{gated:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_without_authtype_gets_a_password_only_when_a_name_was_given() {
    let (server, app) = world(BASIC).await;
    let host = server.origin.trim_start_matches("http://");
    let old = format!("protocol=http\nhost={host}\npath=acme/payments.git\n\n");
    let nothing = get(&app, &[], &old).await;
    assert_eq!((nothing.code, nothing.out.as_str()), (Some(0), ""));
    assert!(nothing.err.contains("--basic-username"), "{nothing:?}");
    assert!(app.events("kind=token.issued").await.is_empty(), "nobody could have used it");
    let answer = get(&app, &["--basic-username", "x-access-token"], &old).await;
    assert_eq!(value(&answer, "username"), "x-access-token");
    assert_eq!(decode(value(&answer, "password"))["scope"], "payments:read payments:push");
    assert!(!answer.out.contains("authtype") && !answer.out.contains("credential="), "{answer:?}");
    // A git that knows better, and a server that takes no bearer token.
    let basic = format!("capability[]=authtype\nwwwauth[]=Basic realm=\"x\"\n{old}");
    assert!(get(&app, &["--basic-username", "x"], &basic).await.out.starts_with("username=x\n"));
    assert!(get(&app, &[], &basic).await.out.contains("authtype=Bearer\n"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn store_and_erase_do_nothing_and_say_nothing() {
    let (server, app) = world(BEARER).await;
    let input = asks(&server.origin, "acme/payments.git").trim_end().to_owned() + "\ncredential=canary\n\n";
    for operation in ["store", "erase"] {
        // Without a proof, too: nothing is asked.
        let answer = ran_with(hallpass(&app, &["git-credential", operation]), &input).await;
        assert_eq!((answer.code, answer.out.as_str(), answer.err.as_str()), (Some(0), "", ""));
    }
    assert!(app.events("kind=token.issued").await.is_empty());
    app.finish().await;
}

// ---- real git ----

/// A git that knows `authtype` (2.46 and later): the machine's own, or the one that `scripts/setup-git` made.
async fn modern_git() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().unwrap_or_default().join(".cache");
    let made = cache.unwrap_or_else(home).join("hallpass/git/bin/git");
    for git in [PathBuf::from("git"), made] {
        let Ok(output) = Command::new(&git).arg("version").output().await else { continue };
        let text = String::from_utf8(output.stdout).unwrap();
        let version = text.trim_start_matches("git version ");
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2, 46) {
            return git;
        }
    }
    panic!("no git of 2.46 or later; run scripts/setup-git, which builds one");
}

/// git as an agent's machine has it: our helper, no terminal, no other configuration.
fn git(program: &Path, app: &TestApp, more: &str, args: &[&str]) -> Command {
    let mut command = bare(program.to_str().unwrap());
    let helper = format!("credential.helper=!'{HALLPASS}' git-credential {more}");
    command.args(["-c", "credential.helper=", "-c", &helper, "-c", "credential.useHttpPath=true"]);
    command.args(["-c", "user.name=agent", "-c", "user.email=agent@example.org"]).args(args);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("HOME", "/nonexistent");
    command.env("HALLPASS_URL", &app.public).env("HALLPASS_IDENTITY_TOKEN", app.proof());
    command
}

/// Clones, commits and pushes; nothing of the repository that the agent has no permission for.
async fn works(program: &Path, server: &GitServer, app: &TestApp, more: &str) {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    let work = work.to_str().unwrap();
    let payments = format!("{}/acme/payments.git", server.origin);
    for args in [
        &["clone", &payments, work][..],
        &["-C", work, "commit", "-q", "--allow-empty", "-m", "first"],
        &["-C", work, "push", "origin", "HEAD:refs/heads/agent/one"],
        &["-C", work, "fetch", "origin"],
    ] {
        let done = ran(git(program, app, more, args)).await;
        assert_eq!(done.code, Some(0), "git {args:?}: {done:?}");
    }
    let pushed = server.path().join("acme/payments.git");
    let log =
        bare("git").args(["-C", pushed.to_str().unwrap(), "log", "--format=%s", "agent/one"]).output().await;
    assert_eq!(String::from_utf8(log.unwrap().stdout).unwrap(), "first\n");
    for refused in [
        &["clone", &format!("{}/acme/secret.git", server.origin), &format!("{work}-secret")][..],
        // Read alone is registered for it.
        &["-C", work, "push", &format!("{}/acme/docs.git", server.origin), "HEAD:refs/heads/agent/one"],
    ] {
        let done = ran(git(program, app, more, refused)).await;
        assert_eq!(done.code, Some(128), "git {refused:?}: {done:?}");
    }
    let tokens = server.tokens();
    assert!(tokens.len() >= 4, "{}", tokens.len());
    for token in &tokens {
        assert_eq!(decode(token)["scope"], "payments:read payments:push");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_git_works_with_bearer_tokens() {
    let git = modern_git().await;
    let (server, app) = world(BEARER).await;
    works(&git, &server, &app, "").await;
    // Killed between two calls of git: its next one gets nothing.
    app.revoke("agent:payments-refactorer").await;
    let refused = self::git(&git, &app, "", &["ls-remote", &format!("{}/acme/payments.git", server.origin)]);
    let refused = ran(refused).await;
    assert_eq!(refused.code, Some(128), "{refused:?}");
    assert!(refused.err.contains("payments-refactorer is stopped"), "{refused:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_git_of_any_age_works_with_a_password() {
    let (server, app) = world(BASIC).await;
    works(Path::new("git"), &server, &app, "--basic-username x-access-token").await;
    app.finish().await;
}
