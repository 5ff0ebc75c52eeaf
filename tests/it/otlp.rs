//! Spans at a collector, where hallpass was built to send them there.

use crate::support::process::{Plan, Process};

fn plan(endpoint: &str) -> Plan {
    Plan { before: format!("export OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}"), ..Plan::default() }
}

#[cfg(not(feature = "otlp"))]
#[test]
fn a_collector_that_gets_nothing_is_warned_about() {
    let broker = Process::with(plan("http://127.0.0.1:4318"));
    let log = broker.log();
    assert!(log.contains("OTEL_EXPORTER_OTLP_ENDPOINT is set, and this hallpass was built without"), "{log}");
}

#[cfg(feature = "otlp")]
mod with_the_feature {
    use std::sync::{Arc, Mutex};

    use axum::body::Bytes;
    use axum::http::{StatusCode, Uri};

    use super::*;
    use crate::support::process::eventually;

    /// Path and body.
    type Request = (String, Vec<u8>);

    /// A collector, with each request that it got.
    #[derive(Clone, Default)]
    struct Collector(Arc<Mutex<Vec<Request>>>);

    impl Collector {
        async fn start(status: StatusCode) -> (Self, String) {
            let collector = Self::default();
            let got = collector.clone();
            let app = axum::Router::new().fallback(async move |uri: Uri, body: Bytes| {
                got.0.lock().unwrap().push((uri.path().to_owned(), body.to_vec()));
                status
            });
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, app).await });
            (collector, url)
        }

        fn has(&self, words: &str) -> bool {
            let got = self.0.lock().unwrap();
            got.iter().any(|(_, body)| body.windows(words.len()).any(|window| window == words.as_bytes()))
        }
    }

    /// Ends the broker in order, from a thread of its own, so that the collector goes on.
    async fn end(mut broker: Process) -> (Option<i32>, String) {
        broker.terminate();
        tokio::task::spawn_blocking(move || (broker.wait().code(), broker.log())).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_is_a_span_at_the_collector_and_no_token_is_in_it() {
        let (collector, url) = Collector::start(StatusCode::OK).await;
        let broker = Process::with(Plan { log: "warn,hallpass::cli=info", ..plan(&url) });
        let answer = broker.exchange().await;
        let (token, proof) = (answer.token(), broker.proof());
        let (code, log) = end(broker).await;
        assert_eq!(code, Some(0), "{log}");
        let request = answer.header("x-request-id");
        for words in ["POST /oauth/token", request, "payments-refactorer", "broker-a"] {
            assert!(collector.has(words), "{words}: {log}");
        }
        // The part of the proof that is the same in each: its header.
        for secret in [token.as_str(), proof.split('.').next().unwrap()] {
            assert!(!collector.has(secret), "a credential was exported");
        }
        assert!(collector.0.lock().unwrap().iter().all(|(path, _)| path == "/v1/traces"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_collector_that_is_down_is_told_once_and_costs_no_answer() {
        let (collector, url) = Collector::start(StatusCode::BAD_REQUEST).await;
        let before = format!("export OTEL_BSP_SCHEDULE_DELAY=50 OTEL_EXPORTER_OTLP_ENDPOINT={url}");
        let broker = Process::with(Plan { before, ..Plan::default() });
        for exports in 1..4 {
            broker.exchange().await.token();
            eventually("an export", || async { collector.0.lock().unwrap().len() >= exports }).await;
        }
        let (code, log) = end(broker).await;
        assert_eq!((code, log.matches("spans are not exported").count()), (Some(0), 1), "{log}");
        assert!(log.contains("the collector answered 400"), "{log}");
    }

    #[test]
    fn spans_are_not_sent_in_the_clear() {
        let mut broker = Process::prepare(plan("http://collector.example:4318"));
        broker.spawn();
        assert_eq!(broker.wait().code(), Some(1));
        let log = broker.log();
        assert!(
            log.contains("OTEL_EXPORTER_OTLP_ENDPOINT: must be https, or http on a loopback host"),
            "{log}"
        );
    }
}
