//! Backups of a serving broker, what a plain copy lacks, and a store that is restored.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures_util::future::join_all;
use hallpass::domain::event::Kind;
use serde_json::{Value, json};

use crate::support::command::bare;
use crate::support::process::{Process, hallpass};
use crate::support::redis::RedisServer;

const AGENT: &str = "agent:payments-refactorer";
const PLAIN_COPY: &str = "plain copy of a database that a broker had open";

/// Runs a command with this broker's configuration, and gives its exit code and all that it said.
fn run(broker: &Process, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.args(arguments).arg("--config").arg(broker.file("hallpass.toml"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HALLPASS_")) {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn back_up(broker: &Process, name: &str) -> PathBuf {
    let to = broker.file(name);
    let (code, said) = run(broker, &["backup", "--to", to.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("a whole copy that verifies") && said.contains("hallpass.db.key"), "{said}");
    to
}

fn verify(database: &Path) -> (bool, String) {
    hallpass(&["audit", "verify", "--database"], database)
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

async fn lift(broker: &Process, stop: &str) {
    let lift = broker.http.post(format!("{}/v1/revocations/{stop}/lift", broker.admin));
    let lift = lift.bearer_auth(&broker.operator).body(json!({"reason": "a test"}).to_string());
    assert_eq!(lift.send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_serving_broker_is_whole_and_one_file() {
    let broker = Process::start();
    fs::create_dir(broker.file("backups")).unwrap();
    let mut tokens = Vec::new();
    for n in 0..4 {
        let name = format!("backups/{n}.db");
        let (made, issued) = tokio::join!(
            tokio::task::spawn_blocking({
                let (config, to) = (broker.file("hallpass.toml"), broker.file(&name));
                move || hallpass(&["backup", "--to", to.to_str().unwrap(), "--config"], &config)
            }),
            join_all((0..40).map(|_| broker.exchange()))
        );
        let (is_made, said) = made.unwrap();
        assert!(is_made, "{said}");
        tokens.extend(issued.iter().map(|answer| answer.token()));
        let (verifies, said) = verify(&broker.file(&name));
        assert!(verifies && !said.contains(PLAIN_COPY), "{said}");
        let mode = fs::metadata(broker.file(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // All that was promised before it began is in it, without another file.
    let last = back_up(&broker, "backups/last.db");
    assert_eq!(names(&broker.file("backups")).len(), 5, "{:?}", names(&broker.file("backups")));
    let reader = hallpass::store::Reader::open(&last).unwrap();
    assert!(reader.head().unwrap().size > 160);

    let before = fs::read(&last).unwrap();
    let (code, said) = run(&broker, &["backup", "--to", last.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("never overwritten") && said.contains("--to"), "{said}");
    assert_eq!(fs::read(&last).unwrap(), before);
    let (code, said) = run(&broker, &["backup", "--json"]);
    let made: Value = serde_json::from_str(said.trim()).unwrap();
    let to = Path::new(made["backup"].as_str().unwrap());
    assert!(code == Some(0) && to.starts_with(broker.file("data")) && verify(to).0, "{said}");
    broker.holds_every(&tokens);
}

#[tokio::test]
async fn a_store_that_does_not_verify_is_not_backed_up() {
    let mut broker = Process::start();
    broker.exchange().await.token();
    broker.end();
    let sql = "UPDATE events SET bytes = replace(bytes, 'acme', 'acne') WHERE kind = 'token.issued'";
    rusqlite::Connection::open(broker.database()).unwrap().execute(sql, []).unwrap();
    fs::create_dir(broker.file("backups")).unwrap();
    let to = broker.file("backups/a.db");
    let (code, said) = run(&broker, &["backup", "--to", to.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("does not verify"), "{said}");
    assert_eq!(names(&broker.file("backups")), Vec::<String>::new());
}

#[tokio::test]
async fn a_plain_copy_of_an_open_store_is_told() {
    let mut broker = Process::start();
    broker.exchange().await.token();
    let copy = |name: &str| {
        fs::copy(broker.database(), broker.file(name)).unwrap();
        broker.file(name)
    };
    let live = copy("live.db");
    let begun = std::time::Instant::now();
    // The mark is moved into the file with the first commits.
    while !verify(&copy("live.db")).1.contains(PLAIN_COPY) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "the database is not marked");
    }
    let (verifies, said) = verify(&live);
    assert!(verifies && said.contains(PLAIN_COPY) && said.contains("as far as this copy has it"), "{said}");
    let (_, said) = hallpass(&["audit", "verify", "--json", "--database"], &live);
    assert!(said.contains(r#""copy_of_running":true"#), "{said}");
    let (verifies, said) = verify(&broker.database());
    assert!(verifies && !said.contains(PLAIN_COPY), "the database itself: {said}");

    broker.kill();
    let (verifies, said) = verify(&broker.database());
    assert!(verifies && !said.contains(PLAIN_COPY), "after a crash it is still the same file: {said}");
    let (_, said) = verify(&{
        fs::copy(broker.database(), broker.file("crashed.db")).unwrap();
        broker.file("crashed.db")
    });
    assert!(said.contains(PLAIN_COPY), "{said}");

    broker.boot();
    broker.end();
    let whole = broker.file("whole.db");
    fs::copy(broker.database(), &whole).unwrap();
    let (verifies, said) = verify(&whole);
    assert!(verifies && !said.contains(PLAIN_COPY), "closed in order it is whole: {said}");

    fs::copy(&live, broker.database()).unwrap();
    broker.boot();
    // The file is the same one, and so is what the copy says of it.
    assert!(!broker.log().contains(PLAIN_COPY));
    broker.end();
    fs::remove_file(broker.database()).unwrap();
    fs::copy(&live, broker.database()).unwrap();
    broker.boot();
    assert!(broker.log().contains(PLAIN_COPY), "{}", broker.log());
}

#[tokio::test]
async fn a_restored_store_goes_on_and_every_token_before_is_dead() {
    let mut broker = Process::start();
    let before = broker.exchange().await.token();
    let kept = broker.revoke("issuer:ci").await.json()["revocation"]["id"].as_str().unwrap().to_owned();
    let backup = back_up(&broker, "backup.db");
    lift(&broker, &kept).await;
    let after = broker.exchange().await.token();
    let restore = ["restore", backup.to_str().unwrap()];

    let (code, said) = run(&broker, &restore);
    assert!(code == Some(1) && said.contains("another broker writes to"), "{said}");
    broker.end();
    let whole = fs::read(broker.database()).unwrap();
    let (code, said) = run(&broker, &restore);
    assert!(code == Some(1) && said.contains("nothing was restored") && said.contains("--replace"), "{said}");
    assert_eq!(fs::read(broker.database()).unwrap(), whole);

    let damaged = broker.file("damaged.db");
    fs::copy(&backup, &damaged).unwrap();
    let sql = "UPDATE events SET bytes = replace(bytes, 'acme', 'acne') WHERE kind = 'token.issued'";
    rusqlite::Connection::open(&damaged).unwrap().execute(sql, []).unwrap();
    let (code, said) = run(&broker, &["restore", "--replace", damaged.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("is not the one that was hashed"), "{said}");
    assert_eq!(fs::read(broker.database()).unwrap(), whole);
    assert!(!names(&broker.file("data")).iter().any(|name| name.contains("restoring")));

    let (code, said) = run(&broker, &["restore", "--replace", backup.to_str().unwrap()]);
    assert!(code == Some(0) && said.contains("stop again whomever you stopped"), "{said}");
    let replaced = names(&broker.file("data")).into_iter().find(|name| name.contains(".replaced-")).unwrap();
    assert_eq!(fs::read(broker.file("data").join(replaced)).unwrap(), whole);
    broker.boot();
    assert_eq!(broker.exchange().await.reason(), "revoked", "the stop of the backup holds");
    lift(&broker, &kept).await;
    for n in 0..3 {
        assert!(!broker.active(&before).await && !broker.active(&after).await, "{n}");
        let stop = broker.revoke("issuer:ci").await.json()["revocation"]["id"].as_str().unwrap().to_owned();
        lift(&broker, &stop).await;
    }
    let fresh = broker.exchange().await.token();
    assert!(broker.active(&fresh).await);
    assert_eq!(broker.events(Some(Kind::StoreRestored)).len(), 1);
    broker.end();
    broker.holds_every(&[before, fresh]);
}

#[tokio::test]
async fn a_lost_store_is_restored_and_redis_gives_what_the_backup_lacks() {
    let redis = RedisServer::start();
    let mut broker = Process::prepare(Default::default());
    broker.revoke_by(&format!("redis://127.0.0.1:{}", redis.port));
    broker.boot();
    let before = broker.exchange().await.token();
    let backup = back_up(&broker, "backup.db");
    let stop = broker.revoke(AGENT).await.json()["revocation"]["id"].as_str().unwrap().to_owned();
    broker.kill();
    fs::remove_file(broker.database()).unwrap();
    let log = broker.file("data/hallpass.db-wal");
    let left = fs::read(&log).unwrap();
    assert!(!left.is_empty());
    assert!(broker.refused().contains("hallpass restore FILE"));
    let (code, said) = run(&broker, &["restore", "--json", backup.to_str().unwrap()]);
    assert!(code == Some(0) && said.contains("taken over from Redis"), "{said}");
    // It is of another history, and not moved into the restored one.
    assert_eq!(fs::read(broker.file("data/hallpass.db-wal.lost")).unwrap(), left);

    broker.boot();
    assert_eq!(broker.exchange().await.reason(), "revoked", "Redis remembers the stop");
    lift(&broker, &stop).await;
    let fresh = broker.exchange().await.token();
    assert!(broker.active(&fresh).await && !broker.active(&before).await);
    broker.end();
    // It is over: the next start finds nothing to take over.
    let restored = broker.events(Some(Kind::StoreRestored)).len();
    broker.boot();
    assert!(broker.active(&fresh).await);
    assert_eq!(broker.events(Some(Kind::StoreRestored)).len(), restored);
    broker.end();
    broker.holds_every(&[before, fresh]);
}

#[tokio::test]
async fn a_store_in_postgresql_is_left_to_its_own_tools() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[admin]\nlocal_operator_key_file = 'operator.key'\n[revocation]\nurl = 'redis://127.0.0.1:6379'\n[store]\nurl = 'postgres://db.example/hallpass'\n\
                key_encryption_key_file = 'kek'\n";
    fs::write(folder.path().join("hallpass.toml"), text).unwrap();
    fs::write(folder.path().join("kek"), "4b".repeat(32)).unwrap();
    fs::create_dir(folder.path().join("agents")).unwrap();
    for (arguments, what, tool) in
        [(&["backup"][..], "backed up", "pg_dump"), (&["restore", "copy.db"], "restored", "pg_restore")]
    {
        let mut command = bare(env!("CARGO_BIN_EXE_hallpass"));
        let output =
            command.args(arguments).arg("--config").arg(folder.path().join("hallpass.toml")).output();
        let said = String::from_utf8(output.await.unwrap().stderr).unwrap();
        let problem =
            format!("nothing was {what}: the store is in PostgreSQL, and is no file of this machine");
        assert!(
            said.contains(&problem) && said.contains(tool) && said.contains("docs/OPERATIONS.md"),
            "{said}"
        );
    }
    assert_eq!(names(folder.path()).len(), 3, "nothing was made");
}
