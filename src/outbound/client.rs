//! The client, and the answers that it gets.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Identity, Request};
use url::Url;
use zeroize::Zeroizing;

use super::{Error, Roots};
use crate::domain::secure::is_secure;

/// What a client waits for and takes at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a connection with its handshake.
    pub connect: Duration,
    /// For the whole of a request and its answer; `None` where the caller bounds it.
    pub total: Option<Duration>,
    /// For an answer that is collected, bytes.
    pub body: usize,
    /// Whether a connection is kept for the next request.
    pub keep_alive: bool,
}

/// Asks over HTTP, within its limits.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    limits: Limits,
}

impl Client {
    /// Contacts nobody. Shows `identity` to servers that ask for a client certificate. But for
    /// [`Roots::Nobody`], rustls's default provider must be installed.
    ///
    /// # Errors
    /// [`Error::SetUp`] where TLS cannot be set up, as with a key that is of another certificate.
    #[expect(clippy::disallowed_methods, reason = "this is the one client that they are disallowed for")]
    pub fn new(limits: Limits, roots: Roots, identity: Option<Identity>) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(limits.connect)
            .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")));
        if let Some(total) = limits.total {
            builder = builder.timeout(total);
        }
        if !limits.keep_alive {
            builder = builder.pool_max_idle_per_host(0);
        }
        builder = roots.apply(builder)?;
        if let Some(identity) = identity {
            builder = builder.identity(identity);
        }
        let http = builder.build().map_err(|error| Error::of_set_up(&error))?;
        Ok(Self { http, limits })
    }

    /// Sends `request` and waits for the head of its answer, whatever its status.
    ///
    /// # Errors
    /// When the address is not secure, or no head came.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        if !is_secure(request.url()) {
            return Err(Error::Insecure);
        }
        let sent = self.http.execute(request).await;
        let response = sent.map_err(|error| Error::of_request(&error))?;
        Ok(Response { response, most: self.limits.body })
    }
}

/// The head of an answer, and its body as it comes.
#[derive(Debug)]
pub struct Response {
    response: reqwest::Response,
    most: usize,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Where it came from: the address that was asked.
    pub fn url(&self) -> &Url {
        self.response.url()
    }

    /// The next piece of the body, `None` after its end.
    ///
    /// # Errors
    /// When the answer breaks off.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        self.response.chunk().await.map_err(|error| Error::of_request(&error))
    }

    /// The whole body. It may hold a token, so it is wiped when it is dropped.
    ///
    /// # Errors
    /// When it is larger than the client's limit, or breaks off.
    pub async fn body(&mut self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut body = Zeroizing::new(Vec::new());
        while let Some(piece) = self.piece().await? {
            if body.len() + piece.len() > self.most {
                return Err(Error::TooLarge(self.most));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}
