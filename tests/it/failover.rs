//! A broker whose Redis is watched by sentinels: a failover amid issuance and a revoke.

use std::time::{Duration, Instant};

use crate::support::broker::{Backend, Hands, PAYMENTS, TestApp};
use crate::support::configuration::configuration;
use crate::support::sentinel::Watched;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_issued_and_stops_hold_through_a_failover() {
    let mut redis = Watched::start();
    redis.wait_until_ready();
    let url = redis.url();
    let agents = [("payments-refactorer", PAYMENTS.to_owned())];
    let more = "[limits]\nrefusals_per_minute = 0";
    let configure = |_: &str, issuer: &str| configuration(&url, issuer, more);
    let app = TestApp::made(Backend::Memory, Hands::default(), configure, &agents).await;
    let old = app.issue().await;
    let readiness = async || app.admin_get("/readyz").await.text;
    let is_well = |text: &str| text.contains("\"degraded\":[]");
    assert!(is_well(&readiness().await), "{}", readiness().await);

    redis.stop_replication();
    redis.servers[0].kill();
    let killed = Instant::now();
    // The primary is dead, and no other is chosen yet.
    let stop = app.revoke("agent:payments-refactorer").await;
    assert_ne!(app.exchange(&app.proof(), &[]).await.status, 200);
    assert!(!app.active(&old).await);
    app.lift(&stop).await;
    let (mut issued, mut slowest) = (0, Duration::ZERO);
    loop {
        let asked = Instant::now();
        app.issue().await;
        slowest = slowest.max(asked.elapsed());
        issued += 1;
        let readiness = readiness().await;
        if is_well(&readiness) {
            break;
        }
        assert!(killed.elapsed() < Duration::from_secs(30), "{readiness}");
    }
    println!(
        "failover: ready again after {:?}; {issued} tokens meanwhile, the slowest in {slowest:?}",
        killed.elapsed()
    );
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    app.revoke("agent:payments-refactorer").await;
    assert_ne!(app.exchange(&app.proof(), &[]).await.status, 200);
    let field = "agent:payments-refactorer";
    let held: Option<String> = redis.servers[1].command(&["HGET", "hallpass:{revocation}:stops", field]);
    assert!(held.is_some_and(|held| !held.ends_with(" -")), "the new primary knows");
    app.finish().await;
}
