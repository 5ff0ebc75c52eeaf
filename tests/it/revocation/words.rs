//! Each reason why Redis cannot be used has its own words, for the log and for `hallpass ready -v`.

use super::*;
use crate::support::redis::Options;

fn at(url: &str) -> RevocationSettings {
    redis_of(url)
}

fn with_password(port: u16, password: &str) -> RevocationSettings {
    super::hostile::with_credentials(port, "hallpass", password)
}

/// Waits until the status of a node with these settings says `words`, and no address.
async fn says(settings: &RevocationSettings, words: &str) {
    let node = Node::alone("broker-a", settings, &Durable::default()).await;
    let status = || node.revocation.status().to_string();
    let begun = Instant::now();
    while !status().contains(words) {
        assert!(begun.elapsed() < Duration::from_secs(10), "not «{words}»: {}", status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!status().contains("127.0.0.1") && !status().contains("canary"), "{}", status());
}

#[tokio::test]
async fn tls_to_a_plain_one_and_plain_to_one_with_tls() {
    let plain = RedisServer::start();
    let told = "does not speak TLS on this port: write redis://";
    says(&at(&format!("rediss://127.0.0.1:{}", plain.port)), told).await;
    // One that asks for a password answers without TLS all the same.
    let closed =
        RedisServer::start_with(Options { config: "requirepass right\n".to_owned(), ..Options::default() });
    says(&at(&format!("rediss://127.0.0.1:{}", closed.port)), told).await;
    let tls = RedisServer::start_with(Options { tls: true, ..Options::default() });
    says(&at(&format!("redis://127.0.0.1:{}", tls.port)), "write rediss://").await;
    says(&at(&format!("rediss://127.0.0.1:{}", tls.port)), "revocation.ca_file").await;
}

#[tokio::test]
async fn whoever_may_not_log_in_or_not_do_enough() {
    let acl = "user default off\nuser hallpass on >right ~* +@all -hset\n".to_owned();
    let server = RedisServer::start_with(Options { acl: Some(acl), ..Options::default() });
    says(&with_password(server.port, "canary"), "refused the user name or the password").await;
    says(&at(&format!("redis://127.0.0.1:{}", server.port)), "asks for a password").await;
    let node = Node::alone("broker-a", &with_password(server.port, "right"), &Durable::default()).await;
    let pushed = node.push().await.unwrap_err().to_string();
    assert!(pushed.contains("may not do what hallpass needs") && pushed.contains("NOPERM"), "{pushed}");
}

#[tokio::test]
async fn one_that_is_not_there_or_late() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    says(&at(&format!("redis://127.0.0.1:{free}")), "nobody listens on its port").await;
    says(&at("redis://redis.invalid"), "its host in revocation.url is unknown").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    for scheme in ["redis", "rediss"] {
        says(&at(&format!("{scheme}://127.0.0.1:{port}")), "no answer within").await;
    }
}
