//! A TCP proxy that a test puts between hallpass and a store, to break what is between them.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Every piece, in both directions, is this late.
    Delay(Duration),
    /// Connections are made and stay; nothing goes through until the mode changes.
    BlackHole,
    /// Open connections are closed, new ones closed at once.
    Cut,
    /// The server's side ends as if it had nothing more to say; what the client sends still arrives.
    HalfClose,
}

/// On a port of its own until it is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    mode: watch::Sender<Mode>,
    target: watch::Sender<u16>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// To `target` on 127.0.0.1.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let (target, targets) = watch::channel(target);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, *targets.borrow(), modes.clone()));
            }
        });
        Self { port, mode, target, accepting }
    }

    pub(crate) fn pass(&self) {
        self.mode.send_replace(Mode::Pass);
    }

    pub(crate) fn delay(&self, by: Duration) {
        self.mode.send_replace(Mode::Delay(by));
    }

    pub(crate) fn black_hole(&self) {
        self.mode.send_replace(Mode::BlackHole);
    }

    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    pub(crate) fn half_close(&self) {
        self.mode.send_replace(Mode::HalfClose);
    }

    /// New connections go to another port: a failover.
    pub(crate) fn redirect(&self, target: u16) {
        self.target.send_replace(target);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.mode.send_replace(Mode::Cut);
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, target: u16, modes: watch::Receiver<Mode>) {
    if *modes.borrow() == Mode::Cut {
        return;
    }
    let late = match *modes.borrow() {
        Mode::Delay(by) => by * 2,
        _ => Duration::ZERO,
    };
    // As the handshake of TCP takes there and back.
    tokio::time::sleep(late).await;
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        pump(from_client, to_server, modes.clone(), false),
        pump(from_server, to_client, modes, true)
    );
}

/// Until either end is closed, or the mode closes it.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    of_server: bool,
) {
    let closes = |mode: &Mode| *mode == Mode::Cut || (*mode == Mode::HalfClose && of_server);
    let mut closing = modes.clone();
    let closed = async move {
        let _ = closing.wait_for(closes).await;
    };
    let carrying = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read) = from.read(&mut buffer).await {
            if read == 0 {
                break;
            }
            let Ok(mode) = modes.wait_for(|mode| *mode != Mode::BlackHole).await.map(|mode| *mode) else {
                break;
            };
            if let Mode::Delay(by) = mode {
                tokio::time::sleep(by).await;
            }
            if to.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = closed => {}
        () = carrying => {}
    }
    let _ = to.shutdown().await;
}
