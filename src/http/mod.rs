//! Listeners, extractors that are the authorization, thin handlers.
//!
//! [`public`] serves agents and verifiers (OAuth errors, RFC 6749 §5.2), [`admin`] operators (problems,
//! RFC 9457). Each handler that needs a role receives it through its extractor in [`authorization`], so
//! one that forgot to ask does not compile. Nothing here writes to a store: the [`Broker`] does.

pub mod admin;
mod authorization;
mod body;
mod call;
mod client_chain;
pub mod listener;
mod oauth_error;
mod problem;
pub mod proxies;
pub mod public;
mod readiness;
pub mod settings;
pub mod tls;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::http::settings::{Operator, ResourceServer};
use crate::http::tls::Tls;
use crate::telemetry::Metrics;

/// What every handler gets, shared by all.
pub type Gate = Arc<Reachable>;

/// What every handler can reach.
pub struct Reachable {
    pub broker: Arc<Broker>,
    /// Changed with the configuration.
    pub callers: ArcSwap<Callers>,
    /// Those that the broker does not keep itself.
    pub metrics: Metrics,
    /// What the listeners serve TLS with, for readiness; empty where a proxy ends it.
    pub tls: Arc<[Arc<Tls>]>,
    /// Whether the public listener ends TLS itself, and so sees client certificates.
    pub asks_certificates: bool,
    /// Holds true once the broker is to end: what is streamed without an end of its own ends then.
    pub stopping: watch::Receiver<bool>,
}

/// Who may introspect and who may use the admin listener.
pub struct Callers {
    pub operators: Vec<Operator>,
    pub resource_servers: Vec<ResourceServer>,
}
