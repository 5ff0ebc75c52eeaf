//! The program as people use it: every command of the command line, run for real against a real
//! `hallpass serve`, with the repository's own configuration.

mod audit;
mod offline;
mod program;
mod tokens;

use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::broker::decode;
use crate::support::process::Process;
use program::Place;

/// A place where `hallpass serve` runs as it comes, or, where the default ports are taken, on others.
fn served_by_default() -> Place {
    let mut place = Place::on_default_ports();
    if !place.try_serve() {
        assert!(place.read("serve.log").contains("cannot be bound"), "{}", place.read("serve.log"));
        place = Place::new();
        place.serve();
    }
    place
}

/// After `hallpass serve` in one terminal the others work with no flags from the same folder.
#[test]
fn what_a_newcomer_does() {
    let mut place = served_by_default();
    assert_eq!(place.words("ready").done(), "");
    // With the key that the other commands find by themselves too.
    assert_eq!(place.words("ready -v").json(), json!({"status": "ok", "degraded": []}));
    place.register("night-shift");
    assert!(place.local(&["check-config"]).done().contains("night-shift may read and push agent/night/*"));
    place.until("agents list", "night-shift");

    let ask = "token --key-file night-shift.key --agent night-shift";
    let token = place.words(ask).done();
    let claims = decode(token.trim());
    assert_eq!((&claims["client_id"], &claims["owner"]), (&json!("night-shift"), &json!("team-night")));
    assert_eq!(claims["scope"], "handbook:read handbook:push");

    let hit = place.words("revoke agent:night-shift --dry-run").done();
    assert!(hit.starts_with("nothing was stopped"), "{hit}");
    assert!(hit.contains("live tokens   1\n") && hit.contains("https://github.com/acme/handbook"), "{hit}");
    place.words(ask).done();
    let stopped = place.words("revoke agent:night-shift --reason rehearsal").done();
    assert!(stopped.starts_with("agent:night-shift is stopped\n"), "{stopped}");
    let refused = place.words(ask).ended(3);
    assert!(
        refused.contains("agent:night-shift is stopped") && refused.contains("reason: revoked"),
        "{refused}"
    );
    let listed = place.words("revocations").done();
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[1], &row[3..]), ("agent:night-shift", &["local", "rehearsal"][..]), "{listed}");
    assert!(place.words("agents list").done().contains("stopped by agent:night-shift"));
    let lifted = place.run(&["lift", row[0], "--reason", "over"]).done();
    assert!(lifted.starts_with("the stop of agent:night-shift is lifted\n"), "{lifted}");
    place.words(ask).done();
    assert_eq!(place.words("revocations").ended(0), "nothing is stopped\n");
    assert!(place.words("revocations --lifted").done().contains("over"));

    let found = place.local(&["audit", "search"]).done();
    let kinds: Vec<&str> =
        found.lines().skip(1).take(6).map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    let story = "token.issued revocation.lifted token.refused revocation.stopped token.issued token.issued";
    assert_eq!(kinds.join(" "), story, "{found}");
    assert!(place.local(&["audit", "verify"]).done().starts_with("the audit log verifies: "));
    place.stop();
    let ended = place.local(&["audit", "search", "--limit", "1"]).done();
    assert!(ended.contains("broker.stopped"), "{ended}");
    assert!(place.local(&["audit", "verify"]).done().starts_with("the audit log verifies: "));
}

#[test]
fn the_registry_is_shown() {
    let mut place = Place::new();
    place.serve();
    let table = place.words("agents list").done();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["AGENT", "OWNER", "STATUS", "LIVE", "TOKENS", "LAST", "ISSUED"]);
    assert_eq!(rows[3], ["payments-refactorer", "team-payments", "active", "0", "-"]);
    let list = place.words("agents list --json").json();
    let ids: Vec<&Value> = list["agents"].as_array().unwrap().iter().map(|agent| &agent["id"]).collect();
    assert_eq!(ids, ["changelog-writer", "dependency-updater", "payments-refactorer"]);
    let shown = place.words("agents show payments-refactorer").done();
    assert!(shown.starts_with("payments-refactorer may read and push agent/* in acme/payments"), "{shown}");
    for line in ["  owner          team-payments\n", "  last issued    never\n", "  identity       github: "]
    {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    let shown = place.words("agents show payments-refactorer --json").json();
    assert_eq!((&shown["permissions"][0]["gated"], &shown["live_tokens"]), (&json!(["merge"]), &json!(0)));
    let unknown = place.words("agents show nobody").ended(3);
    assert!(unknown.starts_with("error: "), "{unknown}");
}

#[test]
fn json_is_the_brokers_own() {
    let mut place = Place::new();
    place.register("night-shift");
    place.serve();
    let preview = place.words("revoke owner:team-night --reason x --dry-run --json").json();
    assert_eq!(preview["agents"], json!(["night-shift"]));
    let stopped = place.words("revoke owner:team-night --reason x --json").json();
    assert_eq!((&stopped["confirmed"], &stopped["pending"]), (&json!(["broker"]), &json!([])));
    let listed = place.words("revocations --json").json();
    assert_eq!(listed["revocations"][0]["id"], stopped["revocation"]["id"]);
    let id = stopped["revocation"]["id"].as_str().unwrap();
    let lifted = place.run(&["lift", id, "--reason", "y", "--json"]).json();
    assert_eq!(lifted["revocation"]["lift"]["reason"], "y");
    let again = place.run(&["lift", id, "--reason", "z"]).ended(3);
    assert!(again.contains("lifted"), "{again}");
    let unknown = place.words("revoke agent:nihgt-shift --reason x").ended(3);
    assert!(unknown.contains("agent:nihgt-shift"), "{unknown}");
}

/// An operator of one's own: made, configured, and held to its role.
#[test]
fn an_operator_has_a_role() {
    let mut place = Place::new();
    let lines = place.local(&["operator", "new", "books", "--roles", "auditor", "--out", "books.key"]).done();
    let file = place.read("config/hallpass.toml");
    let (before, after) = file.split_once("\n[store]").unwrap();
    place.write("config/hallpass.toml", &format!("{before}\n{lines}\n[store]{after}"));
    place.serve();
    let with = |line: &str| place.words(&format!("{line} --key-file books.key"));
    assert!(with("agents list").done().contains("payments-refactorer"));
    assert!(with("audit search").done().contains("broker.started"));
    let refused = with("revoke everything --reason curiosity").ended(3);
    assert!(refused.contains("admin"), "{refused}");
    place.words("revoke everything --reason drill").done();
    place.write("wrong.key", "hpo_wrong\n");
    let refused = place.words("agents list --key-file wrong.key");
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("warning: wrong.key can be read by others"), "{refused:?}");
    assert!(refused.err.contains("reason: credential_invalid"), "{refused:?}");
}

/// The operator key must not go to whoever a variable of the environment names.
#[test]
fn a_proxy_of_the_environment_gets_nothing() {
    let broker = Process::start();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command
        .args(["agents", "list", "--admin-url", &broker.admin, "--key-file"])
        .arg(broker.file("operator.key"));
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, &url);
    }
    let ran = command.env_remove("no_proxy").env_remove("NO_PROXY").output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stdout).contains("payments-refactorer"));
    assert!(proxy.accept().is_err(), "the proxy was asked");
}
