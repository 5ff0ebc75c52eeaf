//! The one address besides the broker that an agent's command asks: the platform it runs on, for its
//! identity token.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

use super::{Answer, Client};
use crate::cli::{Failure, Outcome};
use crate::outbound::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use crate::outbound::{Method, Request};

impl Client {
    /// What `platform` answers at `url`, with the broker's limits: no redirects, no proxies, 30 s, 8 MiB.
    ///
    /// # Errors
    /// When no whole answer came, or `bearer` cannot stand in a header. Any status is an answer.
    pub async fn ask_platform(&self, platform: &str, url: Url, bearer: &SecretString) -> Outcome<Answer> {
        let text = Zeroizing::new(format!("Bearer {}", bearer.expose_secret()));
        let header = HeaderValue::from_str(&text);
        let mut header =
            header.map_err(|_| Failure::failed("the request token does not fit into a header"))?;
        header.set_sensitive(true);
        let mut request = Request::new(Method::GET, url);
        request.headers_mut().insert(AUTHORIZATION, header);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let host = request.url().host_str().unwrap_or_default().to_owned();
        match self.http.send(request).await {
            Ok(response) => self.collect(response).await.map_err(|_| "it broke off".to_owned()),
            Err(error) => Err(error.to_string()),
        }
        .map_err(|why| {
            Failure::failed(format!("no answer from {platform} at {host}: {why}")).passing(Duration::ZERO)
        })
    }
}
