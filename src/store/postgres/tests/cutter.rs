//! A TCP proxy that lets a number of bytes through and then breaks the connection, or holds it.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// Both ends see it closed.
    Cut,
    /// Both ends see nothing more, for ever: the client's machine was stopped.
    Hold,
}

#[derive(Default)]
struct State {
    armed: Option<(Way, usize, Break)>,
    /// What went to the server since this was asked for.
    recorded: Option<Vec<u8>>,
}

/// On a port of its own until the runtime ends.
pub(super) struct Cutter {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
}

impl Cutter {
    /// To `target` on 127.0.0.1.
    pub(super) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target, Arc::clone(&shared)));
            }
        });
        Self { port, state }
    }

    /// Breaks the connection over which the byte after `bytes` more of them would go that way, once.
    pub(super) fn arm(&self, way: Way, bytes: usize, how: Break) {
        self.state.lock().unwrap().armed = Some((way, bytes, how));
    }

    /// Whether it has broken nothing yet.
    pub(super) fn is_armed(&self) -> bool {
        self.state.lock().unwrap().armed.is_some()
    }

    /// Lets everything through again.
    pub(super) fn disarm(&self) {
        self.state.lock().unwrap().armed = None;
    }

    pub(super) fn record(&self) {
        self.state.lock().unwrap().recorded = Some(Vec::new());
    }

    /// What went to the server meanwhile.
    pub(super) fn recorded(&self) -> Vec<u8> {
        self.state.lock().unwrap().recorded.take().unwrap()
    }
}

async fn carry(client: TcpStream, target: u16, state: Arc<Mutex<State>>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let how = tokio::select! {
        how = pump(&mut from_client, &mut to_server, Way::ToServer, &state) => how,
        how = pump(&mut from_server, &mut to_client, Way::ToClient, &state) => how,
    };
    // Neither half may be dropped, which would close it.
    if how == Break::Hold {
        std::future::pending::<()>().await;
    }
}

async fn pump(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, way: Way, state: &Mutex<State>) -> Break {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return Break::Cut };
        let (passed, broken) = {
            let mut state = state.lock().unwrap();
            let (passed, broken) = match &mut state.armed {
                Some((armed, left, how)) if *armed == way => {
                    let (passed, how, broken) = (read.min(*left), *how, read > *left);
                    *left -= passed;
                    (passed, broken.then_some(how))
                }
                _ => (read, None),
            };
            if broken.is_some() {
                state.armed = None;
            }
            if let (Way::ToServer, Some(recorded)) = (way, &mut state.recorded) {
                recorded.extend_from_slice(&buffer[..passed]);
            }
            (passed, broken)
        };
        if to.write_all(&buffer[..passed]).await.is_err() {
            return Break::Cut;
        }
        if let Some(how) = broken {
            return how;
        }
    }
}
