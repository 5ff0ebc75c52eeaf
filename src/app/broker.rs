//! From the settings and an open store to a broker that may issue.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Ambient, GivenUp, keys, tasks};
use crate::broker::{Broker, KillSwitch, NewKey, Parts, Rulebook};
use crate::config::Config;
use crate::domain::permission::Origin;
use crate::domain::time::Clock;
use crate::http::public;
use crate::identity::settings::OurNames;
use crate::identity::{Authenticator, Dpop, Nonces};
use crate::registry::Registry;
use crate::revocation::Revocation;
use crate::store::{Spool, Store};
use crate::token::KeyRing;

/// What the start waits for store and Redis to be compared. A broker that has to go on without issues nothing until then.
const FIRST_COMPARISON: Duration = Duration::from_secs(2);

/// A broker whose start is in the log.
pub(super) struct Started {
    pub(super) broker: Arc<Broker>,
    /// Follows the log of the kill switch until the broker stops.
    pub(super) follower: JoinHandle<()>,
}

/// Opens what the broker stands on, the kill switch last, and journals the start.
pub(super) async fn start(
    config: &Config,
    registry: Registry,
    store: &Store,
    (keys, waiting): (KeyRing, Vec<NewKey>),
    given_up: GivenUp,
    ambient: Ambient,
    stopping: &watch::Receiver<bool>,
) -> anyhow::Result<Started> {
    let spool = Spool::of(&config.store)?;
    let log = keys::log_verifier(config, store, &keys, ambient.clock.now()).await?;
    let revocation = revocation(config, &log.id(), &ambient.clock, given_up).await?;
    let kill_switch =
        Arc::new(KillSwitch::new(store.clone(), Arc::clone(&revocation), spool, ambient.clock.clone()));
    let follower = tasks::follow(revocation, Arc::clone(&kill_switch), stopping.clone());
    kill_switch.wait_until_level(FIRST_COMPARISON).await;
    let broker = Arc::new(Broker::new(Parts {
        name: config.broker_name.clone(),
        issuer: config.server.public_url.clone(),
        rules: rulebook(config, authenticator(config, &config.server.public_url, &ambient.clock)?, registry),
        dpop: dpop(config, &ambient, store.is_shared().then_some(&keys))?,
        log,
        keys,
        store: store.clone(),
        kill_switch,
        clock: ambient.clock,
        random: ambient.random,
    }));
    broker.started(waiting).await.context("the first event of this broker")?;
    Ok(Started { broker, follower })
}

/// Who checks proofs for the broker whose tokens are of `issuer`.
pub(super) fn authenticator(
    config: &Config,
    issuer: &Origin,
    clock: &Clock,
) -> anyhow::Result<Authenticator> {
    let us = OurNames {
        issuer: issuer.clone(),
        token_endpoint: format!("{issuer}{}", public::TOKEN_PATH),
        issuer_alone: config.strict_assertion_audience,
    };
    let (issuers, domains) = (config.issuers.clone(), &config.trust_domains);
    Ok(Authenticator::asking_by(&config.way, issuers, domains, us, clock.clone())?)
}

/// What a broker decides by, and what a change of the configuration replaces.
pub(super) fn rulebook(config: &Config, authenticator: Authenticator, registry: Registry) -> Rulebook {
    Rulebook {
        issuers: config.vouchers().cloned().collect(),
        trust_domains: config.trust_domains.len(),
        authenticator,
        guardrails: config.guardrails.clone(),
        limits: config.limits,
        registry,
    }
}

/// Nodes that share a store share the nonces too. One broker alone makes a new key at each start, so that no proof from
/// before can be used again.
fn dpop(config: &Config, ambient: &Ambient, shared: Option<&KeyRing>) -> anyhow::Result<Dpop> {
    let endpoint = format!("{}{}", config.server.public_url, public::TOKEN_PATH).parse()?;
    let nonces = match (config.dpop_nonce, shared) {
        (false, _) => None,
        (true, Some(keys)) => Some(Nonces::of_key(&*keys.shared_secret("DPoP nonces"))),
        (true, None) => Some(Nonces::new(&ambient.random)?),
    };
    Ok(Dpop::new(endpoint, nonces))
}

/// Of a store that goes on without its keys, or without its past, nothing but the name is what Redis knows of it.
async fn revocation(
    config: &Config,
    origin: &str,
    clock: &Clock,
    given_up: GivenUp,
) -> anyhow::Result<Arc<Revocation>> {
    let (settings, node, clock) = (&config.revocation, config.broker_name.clone(), clock.clone());
    let connected = if given_up.store || given_up.signing_keys {
        let inherited = Revocation::inherit(settings, node, origin, clock).await;
        inherited.context("a start with --new-store or --new-signing-keys needs Redis")?
    } else {
        Revocation::connect(settings, node, origin, clock).await?
    };
    Ok(Arc::new(connected))
}
