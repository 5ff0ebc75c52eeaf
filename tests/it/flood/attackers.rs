//! Callers who only want to be a burden. What they opened stays open until it is dropped.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::process::Process;

/// How many sockets this process may have beside those of other tests.
pub(crate) fn sockets() -> usize {
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(limit).unwrap().saturating_sub(1000)
}

/// `count` connections to `address` that have sent `bytes`, as far as the broker took them. Several at once.
pub(crate) async fn send_and_stay(address: &str, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let one = async |_| {
        let connecting = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(address));
        let mut stream = connecting.await.ok()?.ok()?;
        let _ = tokio::time::timeout(Duration::from_secs(2), stream.write_all(bytes)).await;
        Some(stream)
    };
    iter(0..count).map(one).buffer_unordered(64).filter_map(std::future::ready).collect().await
}

/// `callers` who ask for what `requests` say in turn, each on one connection for as long as it is served there. Until
/// dropped; `answers` counts what came.
pub(crate) fn ask_on(
    address: &str,
    callers: usize,
    requests: &[Vec<u8>],
    answers: &Arc<AtomicU64>,
) -> JoinSet<()> {
    let ask = |caller: usize| {
        let (address, answers) = (address.to_owned(), Arc::clone(answers));
        let requests = requests.to_vec();
        async move {
            let mut next = requests.iter().cycle().skip(caller);
            let mut answer = vec![0; 64 * 1024];
            loop {
                let Ok(mut stream) = TcpStream::connect(&address).await else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                while let Some(request) = next.next()
                    && stream.write_all(request).await.is_ok()
                    && stream.read(&mut answer).await.is_ok_and(|length| length > 0)
                {
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    (0..callers).map(ask).collect()
}

/// `count` connections from `source` that send `first` and then a byte every so often, and begin anew when they are
/// closed. Until dropped.
pub(crate) fn drip(
    address: &str,
    source: [u8; 4],
    count: usize,
    first: &[u8],
    every: Duration,
) -> JoinSet<()> {
    let address: SocketAddr = address.parse().unwrap();
    let one = |_| {
        let first = first.to_vec();
        async move {
            loop {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind((IpAddr::from(source), 0).into()).unwrap();
                let Ok(mut stream) = socket.connect(address).await else {
                    tokio::time::sleep(every).await;
                    continue;
                };
                let mut sent = stream.write_all(&first).await;
                while sent.is_ok() {
                    tokio::time::sleep(every).await;
                    sent = stream.write_all(b"a").await;
                }
            }
        }
    };
    (0..count).map(one).collect()
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A connection of HTTP/2 with `streams` heads of `POST /oauth/token` whose bodies never come. Each head repeats one
/// small header `repeated` times, by a byte each: RFC 7541 §6.1.
pub(crate) fn heads_of_http2(streams: u32, repeated: usize) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for at in 0..streams {
        let mut block = vec![0x83, 0x86, 0x01, 1, b'x', 0x04, 12];
        block.extend(b"/oauth/token");
        block.extend([0x0f, 0x10, 33]);
        block.extend(b"application/x-www-form-urlencoded");
        if repeated > 0 {
            block.extend([0x40, 1, b'x', 1, b'y']);
            block.extend(std::iter::repeat_n(0xbe, repeated - 1));
        }
        bytes.extend(frame(1, 4, 2 * at + 1, &block));
    }
    bytes
}

/// A connection of HTTP/2 that asks for the metadata `streams` times and takes a byte of each answer: its window is
/// no larger.
pub(crate) fn answers_that_nobody_takes(streams: u32) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]));
    let path = b"/.well-known/oauth-authorization-server";
    for at in 0..streams {
        let mut block = vec![0x82, 0x86, 0x01, 1, b'x', 0x04, path.len() as u8];
        block.extend(path);
        bytes.extend(frame(1, 5, 2 * at + 1, &block));
    }
    bytes
}

/// `HEAD /healthz` on `stream` of a connection of HTTP/2, and its whole answer; what comes for other streams before it is
/// read and dropped.
pub(crate) async fn ask_head(connection: &mut TcpStream, stream: u32) -> std::io::Result<()> {
    let mut block = vec![0x02, 4];
    block.extend(b"HEAD");
    block.extend([0x86, 0x01, 1, b'x', 0x04, 8]);
    block.extend(b"/healthz");
    connection.write_all(&frame(1, 5, stream, &block)).await?;
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        connection.read_exact(&mut payload).await?;
        let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match (head[3], of) {
            (7, _) => return Err(std::io::Error::other("GOAWAY")),
            (1, of) if of == stream && head[4] & 1 == 1 => return Ok(()),
            (_, of) if of == stream => return Err(std::io::Error::other(format!("frame {head:?}"))),
            _ => {}
        }
    }
}

/// A request of HTTP/1.1 with most of a body.
pub(crate) fn most_of_a_body(bytes: usize) -> Vec<u8> {
    let head = "POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    let mut request = format!("{head}content-length: {}\r\n\r\nscope=", bytes + 7).into_bytes();
    request.extend(vec![b'a'; bytes]);
    request
}

/// Most of a head.
pub(crate) fn most_of_a_head(bytes: usize) -> Vec<u8> {
    format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}", "a".repeat(bytes)).into_bytes()
}

/// The most memory that the broker ever had, in MiB.
pub(crate) fn most_memory(broker: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

pub(crate) fn address(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, address)| address)
}
