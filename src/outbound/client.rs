//! The client, and the answers that it gets.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Identity, Request};
use url::Url;
use zeroize::Zeroizing;

use super::{Error, Roots, Way, bundles};
use crate::domain::secure::is_secure;

/// How the error begins that a client without roots is built with.
const NO_ROOTS: &str = "No CA certificates were loaded";

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
    way: Way,
    /// Why https cannot be spoken: the system trusts nobody.
    trusts_nobody: Option<String>,
}

impl Client {
    /// Contacts nobody, and later each host itself. Shows `identity` to servers that ask for a client certificate. But
    /// for [`Roots::Nobody`], rustls's default provider must be installed.
    ///
    /// # Errors
    /// [`Error::SetUp`] where TLS cannot be set up, as with a key that is of another certificate.
    pub fn new(limits: Limits, roots: Roots, identity: Option<Identity>) -> Result<Self, Error> {
        Self::by(limits, roots, identity, Way::default())
    }

    /// The same, by a proxy where `way` says so.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn by(limits: Limits, roots: Roots, identity: Option<Identity>, way: Way) -> Result<Self, Error> {
        let is_of_system = matches!(roots, Roots::System) && identity.is_none();
        let build = |roots: Roots, identity: Option<Identity>| {
            let builder = Self::builder(limits, identity);
            let builder = way.apply(roots.apply(builder)?)?;
            builder.build().map_err(|error| Error::of_set_up(&error))
        };
        let (http, trusts_nobody) = match build(roots, identity) {
            // Without roots only what needs none can be asked.
            Err(Error::SetUp(cause)) if is_of_system && cause.contains(NO_ROOTS) => {
                (build(Roots::Nobody, None)?, Some(bundles::why_none()))
            }
            Err(Error::SetUp(cause)) if cause.contains(NO_ROOTS) => {
                return Err(Error::TrustsNobody(bundles::why_none()));
            }
            built => (built?, None),
        };
        Ok(Self { http, limits, way, trusts_nobody })
    }

    /// Why no https address can be asked, where that is so.
    pub fn trusts_nobody(&self) -> Option<&str> {
        self.trusts_nobody.as_deref()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one client that they are disallowed for")]
    fn builder(limits: Limits, identity: Option<Identity>) -> reqwest::ClientBuilder {
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(limits.connect)
            .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")));
        if let Some(total) = limits.total {
            builder = builder.timeout(total);
        }
        if !limits.keep_alive {
            builder = builder.pool_max_idle_per_host(0);
        }
        match identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        }
    }

    /// Sends `request` and waits for the head of its answer, whatever its status.
    ///
    /// # Errors
    /// When the address is not secure, or no head came.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        if !is_secure(request.url()) {
            return Err(Error::Insecure);
        }
        if let Some(why) = self.trusts_nobody.as_ref().filter(|_| request.url().scheme() == "https") {
            return Err(Error::TrustsNobody(why.clone()));
        }
        let proxy = self.way.name_for(request.url());
        let sent = self.http.execute(request).await;
        let response = sent.map_err(|error| Error::of_request(&error, proxy.as_deref()))?;
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
        self.response.chunk().await.map_err(|error| Error::of_request(&error, None))
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
