//! What operators and platforms put into the environment and the folders of a running broker, by accident.

use std::fs;
use std::time::Duration;

use tokio::process::Command;

use crate::support::command::{HALLPASS, Ran, bare, ran};
use crate::support::process::{Plan, Process, eventually};

/// `hallpass serve` of this broker's folder with one more variable, for a start that must fail.
async fn start_with(broker: &Process, name: &str, value: &str) -> Ran {
    let mut command: Command = bare(HALLPASS);
    command.arg("serve").arg("--config").arg(broker.file("hallpass.toml")).env(name, value);
    tokio::time::timeout(Duration::from_secs(20), ran(command)).await.expect("it does not serve")
}

#[tokio::test]
async fn a_line_end_of_windows_in_the_stores_url_makes_no_second_store() {
    let broker = Process::prepare(Plan::default());
    let url = format!("sqlite://{}\r", broker.database().display());
    let told = start_with(&broker, "HALLPASS_STORE__URL", &url).await;
    assert_eq!(told.code, Some(1), "{told:?}");
    let line = "environment: HALLPASS_STORE__URL: ends with a carriage return (U+000D, as Windows ends lines); take it out";
    assert!(told.err.contains(line), "{told:?}");
    assert_eq!(fs::read_dir(broker.file("data")).unwrap().count(), 0, "nothing was made");
    // So does a path that a command reads.
    let mut command = bare(HALLPASS);
    command.arg("check-config").env("HALLPASS_CONFIG", "hallpass.toml\r");
    let ran = ran(command).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("HALLPASS_CONFIG ends with a carriage return"), "{ran:?}");
}

#[tokio::test]
async fn a_value_that_is_no_text_is_refused_and_not_passed_over() {
    use std::os::unix::ffi::OsStrExt as _;
    let broker = Process::prepare(Plan::default());
    let mut command = bare(HALLPASS);
    command.arg("check-config").arg("--config").arg(broker.file("hallpass.toml"));
    command.env("HALLPASS_STORE__URL", std::ffi::OsStr::from_bytes(b"sqlite://caf\xe9.db"));
    let ran = ran(command).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("HALLPASS_STORE__URL: holds U+FFFD"), "{ran:?}");
}

#[tokio::test]
async fn a_level_that_is_none_stops_the_start_and_check_config() {
    let broker = Process::prepare(Plan::default());
    let ran = start_with(&broker, "HALLPASS_LOG", "warning").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("environment: HALLPASS_LOG: `warning` is no level"), "{ran:?}");
}

/// The variables of a Kubernetes Service named `hallpass`.
#[tokio::test]
async fn service_links_do_not_stop_the_start() {
    let before = "export HALLPASS_SERVICE_HOST=10.0.0.1 HALLPASS_SERVICE_PORT=8700 HALLPASS_PORT=tcp://10.0.0.1:8700 \
                  HALLPASS_PORT_8700_TCP=tcp://10.0.0.1:8700 HALLPASS_PORT_8700_TCP_ADDR=10.0.0.1 HALLPASS_TEAM=payments";
    let broker = Process::with(Plan { before: before.to_owned(), ..Plan::default() });
    broker.exchange().await.token();
    let log = broker.log();
    assert!(log.contains("HALLPASS_TEAM: warning: hallpass does not read this variable"), "{log}");
    assert!(!log.contains("HALLPASS_PORT"), "{log}");
}

#[tokio::test]
async fn a_folder_of_agents_that_falls_empty_leaves_the_last_registry_and_says_degraded() {
    let broker = Process::start();
    broker.exchange().await.token();
    let file = broker.file("agents/payments-refactorer.toml");
    let agent = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let readyz = || async { broker.admin_get("/readyz").await };
    eventually("the refusal", || async { readyz().await.text.contains("is its volume mounted?") }).await;
    assert_eq!(readyz().await.json()["status"], "degraded");
    broker.exchange().await.token();
    fs::write(&file, agent).unwrap();
    eventually("the registry", || async { readyz().await.json()["status"] == "ok" }).await;
    broker.exchange().await.token();
}

#[tokio::test]
async fn an_empty_folder_at_the_start_is_told() {
    let mut broker = Process::prepare(Plan::default());
    fs::remove_file(broker.file("agents/payments-refactorer.toml")).unwrap();
    broker.boot();
    assert!(broker.log().contains("holds no agent file, so nobody gets a token"), "{}", broker.log());
}

/// An editor that ends no last line, and `>>`.
#[tokio::test]
async fn what_keygen_prints_can_be_appended_to_a_file_without_a_last_line_break() {
    let broker = Process::prepare(Plan::default());
    let file = broker.file("agents/payments-refactorer.toml");
    let agent = fs::read_to_string(&file).unwrap();
    let mut keygen = bare(HALLPASS);
    keygen.arg("keygen").arg("--out").arg(broker.file("agent.key"));
    let made = ran(keygen).await;
    fs::write(&file, format!("{}{}", agent.trim_end(), made.out)).unwrap();
    let mut operator = bare(HALLPASS);
    operator.args(["operator", "new", "oncall", "--roles", "admin", "--out"]).arg(broker.file("oncall.key"));
    let config = fs::read_to_string(broker.file("hallpass.toml")).unwrap();
    fs::write(broker.file("hallpass.toml"), format!("{}{}", config.trim_end(), ran(operator).await.out))
        .unwrap();
    let mut check = bare(HALLPASS);
    check.arg("check-config").arg(broker.file("hallpass.toml"));
    let told = ran(check).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.out.contains("no mistakes, 1 agent,"), "{told:?}");
}

#[tokio::test]
async fn a_machine_without_the_secrets_checks_what_is_there() {
    let broker = Process::prepare(Plan::default());
    let good = fs::read_to_string(broker.file("hallpass.toml")).unwrap();
    fs::write(broker.file("hallpass.toml"), good.replace("jwks.json", "/run/secrets/none.json")).unwrap();
    let run = |flags: &'static [&'static str]| {
        let mut command = bare(HALLPASS);
        command.arg("check-config").args(flags).arg(broker.file("hallpass.toml"));
        ran(command)
    };
    let told = run(&[]).await;
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.out.contains("issuer[0].jwks_file: /run/secrets/none.json cannot be used"), "{told:?}");
    for flags in [&["--skip-files"][..], &["--agents-only"], &["--skip-files", "--json"]] {
        let told = run(flags).await;
        assert_eq!(told.code, Some(0), "{flags:?}: {told:?}");
    }
    // A mistake of an agent is told all the same.
    let file = broker.file("agents/payments-refactorer.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("owner", "ownr")).unwrap();
    for flags in [&["--skip-files"][..], &["--agents-only"]] {
        let told = run(flags).await;
        assert!(told.code == Some(1) && told.out.contains("did you mean `owner`?"), "{flags:?}: {told:?}");
    }
}
