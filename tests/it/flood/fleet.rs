//! A fleet that starts at once: its agents connect cold over TLS, and all of them get their token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::attackers::{address, most_memory, sockets};
use super::{MOST, stops};
use crate::support::process::{Plan, Process, exchange};
use crate::support::tls::{Authority, Files};

/// One agent on a new connection: a handshake, a proof; whether it got its token, and when.
async fn ask(
    stream: TcpStream,
    tls: &TlsConnector,
    proof: &str,
    begun: Instant,
) -> std::io::Result<Duration> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = tls.connect(name, stream).await?;
    let body = exchange(proof);
    let head = "POST /oauth/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let kind = "content-type: application/x-www-form-urlencoded\r\n";
    let request = format!("{head}{kind}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    match answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(begun.elapsed()),
        false => Err(std::io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
    }
}

/// How long each of `count` agents took, all at once.
pub(super) async fn start(count: usize) -> (Process, Vec<std::io::Result<Duration>>) {
    let count = count.min(sockets());
    let authority = Authority::new();
    let files = Files::of(&authority.pair("127.0.0.1"));
    let more = files.section("server");
    let broker = Process::with(Plan { more, log: "warn,hallpass::cli=info", ..Plan::default() });
    let config = authority.client(&[&rustls::version::TLS13], &["http/1.1"], None);
    let tls = TlsConnector::from(Arc::new(config));
    let proofs: Vec<String> = (0..count).map(|_| broker.proof()).collect();
    let begun = Instant::now();
    let connecting = (0..count).map(|_| TcpStream::connect(address(&broker.public)));
    let connected = join_all(connecting).await.into_iter().map(|stream| stream.expect("a connection"));
    let starting = connected.zip(&proofs).map(async |(stream, proof)| {
        let one = ask(stream, &tls, proof, begun);
        let timed = tokio::time::timeout(Duration::from_secs(60), one).await;
        timed.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    });
    let taken = join_all(starting).await;
    (broker, taken)
}

pub(super) fn assert_all(taken: &[std::io::Result<Duration>]) -> Duration {
    let failed: Vec<_> = taken.iter().filter_map(|one| one.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {} got none, as {:?}", failed.len(), taken.len(), failed.first());
    taken.iter().filter_map(|one| one.as_ref().ok()).max().copied().unwrap_or_default()
}

/// By then all 1,500 have their token, in a build that is not optimized, beside the clients and other tests on two
/// cores. Alone on them it is a fraction of that; a fleet that waits for a deadline anywhere takes longer.
const WITHIN: Duration = Duration::from_secs(20);

/// More than the 1024 handshakes that used to be under way at once.
#[tokio::test]
async fn a_fleet_that_starts_at_once_gets_its_tokens() {
    let (broker, taken) = start(1500).await;
    let longest = assert_all(&taken);
    assert!(longest < WITHIN, "{longest:?}");
    let memory = most_memory(&broker);
    assert!(memory < MOST, "{memory} MiB");
    stops(&broker).await;
}
