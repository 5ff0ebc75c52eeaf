//! The log leaves the broker whole, as it was when it was asked for, and can be proven to be the log.

use std::time::Duration;

use hallpass::domain::checkpoint::{self, Checkpoint, VerifierKey};
use hallpass::domain::digest::Digest;
use hallpass::domain::merkle::{leaf_hash, verify_consistency, verify_inclusion};
use serde_json::{Value, json};

use crate::support::broker::{Answer, Backend, TestApp};

/// More than a page of the export.
const MANY: usize = 600;

async fn export(app: &TestApp, query: &str) -> Answer {
    let answer = app.admin_get(&format!("/v1/audit/export?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

async fn fill(app: &TestApp) {
    let proof = app.proof();
    for _ in 0..MANY {
        app.exchange(&proof, &[]).await.token();
    }
}

/// The rows of RFC 4180 text.
fn rows(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = csv.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'), "a line of RFC 4180 ends with CRLF");
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !quoted, "the last line has its end");
    rows
}

#[tokio::test]
async fn an_export_is_every_event_byte_for_byte() {
    let app = TestApp::start(Backend::Memory).await;
    fill(&app).await;
    app.exchange("a.b.c", &[]).await;
    let all = app.events("").await;
    let answer = export(&app, "").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, all, "newest first, without a gap between pages");
    assert!(answer.text.ends_with('\n'));
    // The bytes are those that were hashed.
    let size = lines.len();
    for line in answer.text.lines().step_by(97) {
        let seq = serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
        let proof = app.admin_get(&format!("/v1/audit/proof?seq={seq}&size={size}")).await.json();
        assert_eq!(proof["leaf"], json!(leaf_hash(line.as_bytes())));
    }
    for query in
        ["kind=token.refused", "agent=payments-refactorer", "resource=ledger", "until=2000-01-01T00:00:00Z"]
    {
        let wanted = app.events(query).await;
        let answer = export(&app, query).await;
        let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, wanted, "{query}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_spreadsheet_gets_rows_and_no_formulas() {
    let app = TestApp::start(Backend::Memory).await;
    app.issue().await;
    let stop = json!({"target": "everything", "reason": "=HYPERLINK(\"http://evil.test\",\"a, b\")"});
    assert_eq!(app.admin_post("/v1/revocations", &stop).await.status, 201);
    let answer = export(&app, "format=csv").await;
    assert!(answer.header("content-type").starts_with("text/csv"));
    let rows = rows(&answer.text);
    let events = app.events("").await;
    assert_eq!(rows.len(), events.len() + 1, "a header line and one row an event");
    for (row, event) in rows[1..].iter().zip(&events) {
        assert_eq!(row.len(), rows[0].len());
        for (name, cell) in rows[0].iter().zip(row) {
            let expected = match &event[name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            if (name == "permissions" || name == "keys") && !cell.is_empty() {
                assert_eq!(serde_json::from_str::<Value>(cell).unwrap(), event[name]);
            } else if expected.starts_with('=') {
                assert_eq!(*cell, format!("'{expected}"));
            } else {
                assert_eq!(*cell, expected, "{name}");
            }
        }
        let members = event.as_object().unwrap().keys();
        assert!(members.into_iter().all(|member| rows[0].contains(member)), "a member without a column");
    }
    assert!(rows.iter().any(|row| row.iter().any(|cell| cell.starts_with("'=HYPERLINK"))));
    let none = export(&app, "format=csv&until=2000-01-01T00:00:00Z").await;
    assert_eq!(self::rows(&none.text).len(), 1, "the header line alone");
    for wrong in ["format=xml", "limit=5", "cursor=x", "surprise=1", "agent=UPPER", "since=yesterday"] {
        assert_eq!(app.admin_get(&format!("/v1/audit/export?{wrong}")).await.status, 400, "{wrong}");
    }
    app.finish().await;
}

/// A reader whose window closes after 64 KiB: an export that nobody reads goes no further than that.
#[expect(clippy::disallowed_methods, reason = "the tests' own client")]
fn slow_reader() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().http2_prior_knowledge();
    builder.http2_initial_stream_window_size(65_535).build().unwrap()
}

/// Exports whose readers stopped hold no connection of the store, and end where they began.
#[tokio::test]
async fn a_reader_that_stops_pins_nothing() {
    let app = TestApp::start(Backend::Memory).await;
    fill(&app).await;
    let size = app.events("").await.len();
    let slow = slow_reader();
    let mut stalled = Vec::new();
    let others = async {
        // Twice as many as may read the store at once.
        for _ in 0..8 {
            let request = slow.get(format!("{}/v1/audit/export", app.admin)).bearer_auth(&app.operator);
            stalled.push(request.send().await.unwrap());
        }
        app.issue().await;
        assert_eq!(app.events("").await.len(), size + 1);
        assert_eq!(app.admin_get("/v1/agents").await.status, 200);
    };
    tokio::time::timeout(Duration::from_secs(20), others).await.expect("stalled exports hold the store");
    let late = stalled.pop().unwrap();
    drop(stalled);
    let rest = late.text().await.expect("a whole answer");
    assert_eq!(rest.lines().count(), size, "what was appended since is not part of it");
    app.finish().await;
}

async fn checkpoint(app: &TestApp) -> Checkpoint {
    let key: VerifierKey = app.admin_get("/v1/audit/key").await.text.trim().parse().unwrap();
    checkpoint::verify(&app.admin_get("/v1/audit/checkpoint").await.text, &key).expect("a signed note")
}

fn hashes(value: &Value) -> Vec<Digest> {
    value.as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().parse().unwrap()).collect()
}

/// Every event in every checkpoint, and each checkpoint in every later one.
#[tokio::test]
async fn proofs_hold_against_signed_checkpoints() {
    let app = TestApp::start(Backend::Memory).await;
    let mut kept = Vec::new();
    for _ in 0..6 {
        app.issue().await;
        kept.push(checkpoint(&app).await);
    }
    let events: Vec<String> = export(&app, "").await.text.lines().rev().map(str::to_owned).collect();
    for newer in &kept {
        for seq in 1..=newer.size {
            let path = format!("/v1/audit/proof?seq={seq}&size={}", newer.size);
            let answer = app.admin_get(&path).await.json();
            assert_eq!((&answer["seq"], &answer["size"]), (&json!(seq), &json!(newer.size)));
            let leaf: Digest = answer["leaf"].as_str().unwrap().parse().unwrap();
            let event = &events[usize::try_from(seq - 1).unwrap()];
            assert_eq!(leaf, leaf_hash(event.as_bytes()), "the event {seq} as the export has it");
            let proof = hashes(&answer["proof"]);
            assert!(verify_inclusion(&leaf, seq - 1, newer.size, &proof, &newer.root), "{path}");
            let forged = leaf_hash(format!("{event} ").as_bytes());
            assert!(!verify_inclusion(&forged, seq - 1, newer.size, &proof, &newer.root));
        }
        for older in kept.iter().filter(|older| older.size <= newer.size) {
            let path = format!("/v1/audit/proof?first={}&second={}", older.size, newer.size);
            let answer = app.admin_get(&path).await.json();
            let proof = hashes(&answer["proof"]);
            assert!(
                verify_consistency((older.size, &older.root), (newer.size, &newer.root), &proof),
                "{path}"
            );
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_proof_is_of_what_the_log_has() {
    let app = TestApp::start(Backend::Memory).await;
    let size = checkpoint(&app).await.size;
    let (max, over) = (u64::MAX, size + 1);
    for nonsense in [
        String::new(),
        "seq=1".to_owned(),
        "size=1".to_owned(),
        "first=1".to_owned(),
        format!("seq=1&size={size}&first=1&second=1"),
        "seq=1&second=1".to_owned(),
        format!("seq=0&size={size}"),
        "seq=2&size=1".to_owned(),
        format!("seq=1&size={over}"),
        format!("seq={max}&size={max}"),
        "seq=1&size=0".to_owned(),
        "first=0&second=1".to_owned(),
        "first=2&second=1".to_owned(),
        format!("first=1&second={over}"),
        format!("first={max}&second={max}"),
        "seq=-1&size=1".to_owned(),
        "seq=x&size=1".to_owned(),
        "seq=1&seq=1&size=1".to_owned(),
        "seq=1&size=1&more=1".to_owned(),
    ] {
        let answer = app.admin_get(&format!("/v1/audit/proof?{nonsense}")).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, "application/problem+json"),
            "{nonsense}: {}",
            answer.text
        );
    }
    app.finish().await;
}

/// What a command prints.
fn command(args: &[String]) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut host = hallpass::cli::Host {
        clock: crate::support::broker::Hands::default().clock(),
        random: crate::support::broker::random(),
        env: &|_| None,
        input: &mut std::io::empty(),
        out: &mut out,
        err: &mut err,
        terminal: false,
    };
    let code = hallpass::cli::run(args.iter().map(Into::into), &mut host);
    assert_eq!(code, 0, "{args:?}: {}", String::from_utf8_lossy(&err));
    String::from_utf8(out).unwrap()
}

/// The command line writes the same from the store beside the broker as through it.
#[tokio::test]
async fn the_command_exports_what_the_broker_does() {
    let app = TestApp::start(Backend::Memory).await;
    fill(&app).await;
    app.revoke("owner:team-payments").await;
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (config, key) = (text(app.file("hallpass.toml")), text(app.file("operator.key")));
    for format in ["jsonl", "csv"] {
        for filter in [&[][..], &["--kind", "token.issued"], &["--until", "2000-01-01T00:00:00Z"]] {
            let mut args: Vec<&str> = vec!["hallpass", "audit", "export", "--format", format];
            args.extend(filter);
            let with = |more: &[&str]| -> Vec<String> {
                args.iter().chain(more).map(|arg| (*arg).to_owned()).collect()
            };
            let local = with(&["--config", &config]);
            let remote = with(&["--admin-url", &app.admin, "--key-file", &key]);
            let local = tokio::task::spawn_blocking(move || command(&local)).await.unwrap();
            let remote = tokio::task::spawn_blocking(move || command(&remote)).await.unwrap();
            let query = match filter {
                ["--kind", kind] => format!("format={format}&kind={kind}"),
                ["--until", until] => format!("format={format}&until={until}"),
                _ => format!("format={format}"),
            };
            let served = export(&app, &query).await.text;
            assert!(local == served && remote == served, "{format} {filter:?}");
        }
    }
    app.finish().await;
}
