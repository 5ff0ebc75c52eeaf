//! The program itself: a weak rule does not keep it from serving, and is in its log.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::agent;

#[test]
fn a_broker_that_serves_logs_what_is_weak() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("agents")).unwrap();
    fs::write(folder.path().join("agents/weak.toml"), agent("github", "{ repository_id = '456789' }"))
        .unwrap();
    let config = folder.path().join("hallpass.toml");
    fs::write(
        &config,
        "[server]\nlisten = '127.0.0.1:0'\npublic_url = 'https://hallpass.test'\n\
         [admin]\nlisten = '127.0.0.1:0'\nlocal_operator_key_file = 'operator.key'\n\
         [store]\nurl = 'sqlite://hallpass.db'\n\
         [[issuer]]\nname = 'github'\nkind = 'github'\naudience = 'https://hallpass.test'\n",
    )
    .unwrap();
    let mut broker = Command::new(env!("CARGO_BIN_EXE_hallpass"))
        .args(["serve", "--config", config.to_str().unwrap()])
        .env("HALLPASS_LOG", "hallpass=info")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let lines = BufReader::new(broker.stderr.take().expect("piped")).lines();
    let mut told = None;
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).expect("JSON lines");
        if line["fields"]["message"] == "configuration" {
            told = line["fields"]["warning"].as_str().map(str::to_owned);
            assert_eq!(line["level"], "WARN");
        }
        if line["fields"]["message"] == "ready" {
            break;
        }
    }
    broker.kill().expect("its own child");
    broker.wait().expect("an end");
    let told = told.expect("a warning before it is ready");
    assert!(
        told.ends_with(
            "agents/weak.toml:5: identity[0].claims: warning: any branch of the repository matches, \
             also one that was made a minute ago; add ref = \"refs/heads/main\" and job_workflow_ref"
        ),
        "{told}"
    );
}
