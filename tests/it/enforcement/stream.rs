//! The stream itself, event by event.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::revoke;
use crate::support::broker::{Backend, TestApp, client};
use crate::support::follower::KEY;

/// One stream, read event by event.
struct Events {
    response: reqwest::Response,
    read: String,
}

#[derive(Debug)]
struct Event {
    kind: String,
    id: Option<String>,
    data: Value,
}

fn asked(app: &TestApp, client: &reqwest::Client, key: &str, name: &str) -> reqwest::RequestBuilder {
    client.get(format!("{}/v1/revocations/stream?follower={name}", app.admin)).bearer_auth(key)
}

impl Events {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, read: String::new() }
    }

    /// None at the stream's end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let line = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.map(str::to_owned)
                };
                let event = Event {
                    kind: line("event").expect("a kind"),
                    id: line("id"),
                    data: serde_json::from_str(&line("data").expect("data")).unwrap(),
                };
                self.read = rest.to_owned();
                return Some(event);
            }
            let bytes = tokio::time::timeout(Duration::from_secs(5), self.response.chunk()).await;
            let bytes = bytes.expect("an event").ok()??;
            self.read.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn next_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("it ended before {kind}"));
            if event.kind == kind {
                return event;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests' own client")]
fn client_over_http2() -> reqwest::Client {
    client(); // Installs what it needs.
    reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap()
}

async fn seen(app: &TestApp, name: &str, id: Option<&str>) -> crate::support::broker::Answer {
    let report = json!({"follower": name, "id": id}).to_string();
    let request = app.http().post(format!("{}/v1/revocations/seen", app.admin)).bearer_auth(KEY);
    app.send(request.body(report)).await
}

#[tokio::test]
async fn a_stream_tells_all_then_what_changes_and_where_it_left_off() {
    let app = TestApp::start(Backend::Memory).await;
    let first = revoke(&app, "agent:payments-refactorer").await["revocation"]["id"].clone();
    let mut events = Events::of(asked(&app, app.http(), KEY, "a")).await;
    let hello = events.next().await.unwrap();
    assert_eq!((hello.kind.as_str(), &hello.data["follower"]), ("hello", &json!("ledger/a")));
    assert_eq!((&hello.data["version"], &hello.data["max_staleness_ms"]), (&json!(1), &json!(2000)));
    let all = events.next_of("changes").await;
    assert_eq!(all.data["reset"], true);
    let stop = json!({"target": "agent:payments-refactorer", "stop": first, "stopped": 1, "changed": 1});
    assert_eq!(all.data["stops"], json!([stop]));
    let began = Instant::now();
    for _ in 0..3 {
        let beat = events.next_of("heartbeat").await;
        assert_eq!((&beat.data["revision"], &beat.data["age_ms"]), (&json!(1), &json!(0)));
    }
    assert!((1_500..3_500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    app.lift(first.as_str().unwrap()).await;
    let lifted = events.next_of("changes").await;
    let lift = json!({"target": "agent:payments-refactorer", "stopped": 1, "changed": 2});
    assert_eq!((&lifted.data["stops"], lifted.data.get("reset")), (&json!([lift]), None));
    // What happens without it, over HTTP/2.
    drop(events);
    revoke(&app, "everything").await;
    let http2 = client_over_http2();
    let resumed = asked(&app, &http2, KEY, "a").header("last-event-id", lifted.id.unwrap());
    let mut events = Events::of(resumed).await;
    let missed = events.next_of("changes").await;
    assert_eq!(missed.data.get("reset"), None, "{missed:?}");
    assert_eq!(missed.data["stops"].as_array().unwrap().len(), 1);
    assert_eq!(missed.data["stops"][0]["target"], "everything");
    // Ids of a history that is not this one's, and none.
    for id in ["3-0000000000000000-00000000", "2-ffffffffffffffff-00000000", "nonsense", "99-00-00", ""] {
        let mut events = Events::of(asked(&app, app.http(), KEY, "b").header("last-event-id", id)).await;
        assert_eq!(events.next_of("changes").await.data["reset"], true, "{id:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_stream_ends_in_order_when_the_broker_does() {
    for http2 in [false, true] {
        let mut app = TestApp::start(Backend::Memory).await;
        let client = match http2 {
            true => client_over_http2(),
            false => client(),
        };
        let mut events = Events::of(asked(&app, &client, KEY, "a")).await;
        events.next_of("heartbeat").await;
        let began = Instant::now();
        let (_, end) = tokio::join!(app.shutdown(), events.next_of("end"));
        assert_eq!(end.data["reason"], "stopping");
        assert!(events.next().await.is_none());
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_taken_out_of_the_configuration() {
    let app = TestApp::start(Backend::Memory).await;
    let mut gone = Events::of(asked(&app, app.http(), KEY, "a")).await;
    let mut stays = Events::of(asked(&app, app.http(), &app.operator, "a")).await;
    assert_eq!(stays.next().await.unwrap().data["follower"], "local/a");
    let file = app.file("hallpass.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let other = hallpass::domain::digest::Digest::of(b"another").to_string();
    let now = hallpass::domain::digest::Digest::of(KEY.as_bytes()).to_string();
    std::fs::write(&file, text.replace(&now, &other)).unwrap();
    let end = gone.next_of("end").await;
    assert_eq!(end.data["reason"], "credential");
    assert!(gone.next().await.is_none());
    stays.next_of("heartbeat").await;
    assert_eq!(asked(&app, app.http(), KEY, "a").send().await.unwrap().status(), 401);
    assert_eq!(seen(&app, "a", None).await.status, 401);
    app.finish().await;
}

/// The same process that comes again has the place of its earlier stream, whose connection may be dead.
#[tokio::test]
async fn a_key_has_so_many_streams_and_a_process_one() {
    let app = TestApp::start(Backend::Memory).await;
    let mut first = Events::of(asked(&app, app.http(), KEY, "a")).await;
    let mut open = vec![Events::of(asked(&app, app.http(), KEY, "a")).await];
    assert_eq!(first.next_of("end").await.data["reason"], "replaced");
    let mut status = 200;
    while status == 200 && open.len() < 100 {
        let response = asked(&app, app.http(), KEY, &format!("pod-{}", open.len())).send().await.unwrap();
        status = response.status().as_u16();
        open.push(Events { response, read: String::new() });
    }
    assert_eq!((status, open.len()), (429, 33));
    // Operators are not kept out by them.
    revoke(&app, "everything").await;
    drop(open);
    for name in ["", "UPPER", "a/b", "..", &"x".repeat(65)] {
        let refused = asked(&app, app.http(), KEY, name).send().await.unwrap();
        assert_eq!(refused.status(), 400, "{name:?}");
    }
    assert_eq!(asked(&app, app.http(), "nobody", "a").send().await.unwrap().status(), 401);
    app.finish().await;
}

/// It is not counted before it has the word that makes it fresh, nor does anybody wait for what it does not read.
#[tokio::test]
async fn a_follower_that_reads_nothing_keeps_nobody_waiting() {
    let app = TestApp::start(Backend::Memory).await;
    let _unread = asked(&app, app.http(), KEY, "lazy").send().await.unwrap();
    let mut events = Events::of(asked(&app, app.http(), KEY, "keen")).await;
    for n in 0..40 {
        let began = Instant::now();
        let stop = revoke(&app, "everything").await;
        assert_eq!(stop["confirmed"], json!(["broker-a"]), "{stop}");
        app.lift(stop["revocation"]["id"].as_str().unwrap()).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{n}: {:?}", began.elapsed());
    }
    while events.next_of("changes").await.data["revision"] != 80 {}
    app.finish().await;
}

/// Whoever reports is counted from then on, with the place that it names; one that is of no history of this broker's proves
/// nothing.
#[tokio::test]
async fn only_a_place_that_the_stream_gave_confirms() {
    let app = TestApp::start(Backend::Memory).await;
    let mut events = Events::of(asked(&app, app.http(), KEY, "a")).await;
    let id = events.next_of("changes").await.id.unwrap();
    let fresh = seen(&app, "a", Some(&id)).await;
    assert_eq!(fresh.json(), json!({"id": id, "age_ms": 0, "max_staleness_ms": 2000}));
    let (stop, ()) = tokio::join!(revoke(&app, "everything"), async {
        let place = events.next_of("changes").await.id.unwrap();
        for id in [
            None,
            Some("nonsense"),
            Some("999-0000000000000000-00000000"),
            Some("1-0000000000000000-00000000"),
        ] {
            assert_eq!(seen(&app, "a", id).await.json()["id"], json!(place));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        seen(&app, "a", Some(&place)).await;
    });
    assert_eq!(stop["confirmed"], json!(["broker-a", "ledger/a"]), "{stop}");
    seen(&app, "a", Some("999-0000000000000000-00000000")).await;
    let stop = revoke(&app, "issuer:ci").await;
    assert_eq!(stop["pending"], json!(["ledger/a"]), "{stop}");
    app.finish().await;
}
