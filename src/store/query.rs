//! What can be asked of the store. Each question sees one state of it, off the runtime.

use std::collections::HashMap;
use std::sync::Arc;

use super::activity::{Activity, Reach};
use super::error::StoreError;
use super::tables::{activity, again, events, keys, meta, related, stops, tip, tree};
use super::{Recorded, Store};
use crate::domain::digest::Digest;
use crate::domain::event::{Event, EventFilter};
use crate::domain::id::{AgentId, IssuerName, StopId, TokenId};
use crate::domain::revocation::{Book, Revision, Stop, Target};
use crate::domain::signing::SealedKey;
use crate::domain::time::Timestamp;

impl Store {
    /// Which change of this history had the number: the leaf hash of its event. None where none has it.
    pub async fn mark(&self, revision: Revision) -> Result<Option<Digest>, StoreError> {
        self.read(move |sql| stops::mark(sql, revision)).await
    }

    /// The stops, newest first.
    pub async fn stops(&self, active_only: bool) -> Result<Vec<Stop>, StoreError> {
        self.read(move |sql| stops::list(sql, active_only)).await
    }

    /// One stop; none where there is no such id.
    pub async fn stop_of(&self, id: StopId) -> Result<Option<Stop>, StoreError> {
        self.read(move |sql| stops::by_id(sql, id)).await
    }

    /// Whether the stop `id` is in the log: it began, or its target was stopped already.
    pub async fn knows_stop(&self, id: StopId) -> Result<bool, StoreError> {
        self.read(move |sql| {
            let began = stops::by_id(sql, id)?.is_some();
            Ok(began || again::in_place_of(sql, tip::read_head(sql)?.size, id)?.is_some())
        })
        .await
    }

    /// The events that the filter means, newest first: at most `limit`, with a `seq` below `before`.
    pub async fn events(
        &self,
        filter: &EventFilter,
        limit: u32,
        before: Option<u64>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let filter = filter.clone();
        self.read(move |sql| events::find(sql, &filter, limit, before)).await
    }

    /// The event of the token's issuance.
    pub async fn token(&self, id: TokenId) -> Result<Option<Recorded>, StoreError> {
        self.read(move |sql| events::issuance(sql, id)).await
    }

    /// What each of these agents has had issued, and how many of its tokens live at `now` by these books.
    pub async fn activity(
        &self,
        agents: &[AgentId],
        books: Vec<Arc<Book>>,
        now: Timestamp,
    ) -> Result<HashMap<AgentId, Activity>, StoreError> {
        let agents = agents.to_vec();
        self.read(move |sql| activity::of_agents(sql, agents, &books, now)).await
    }

    /// The issuances of an agent's tokens that live at `now` by these books: the newest `limit`, the newest first.
    pub async fn live_tokens(
        &self,
        agent: &AgentId,
        books: Vec<Arc<Book>>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let agent = agent.clone();
        self.read(move |sql| activity::of_agent(sql, &agent, &books, now, limit)).await
    }

    /// Whether a token was ever issued by a proof of `issuer`.
    pub async fn was_issued_by(&self, issuer: &IssuerName) -> Result<bool, StoreError> {
        let issuer = issuer.clone();
        self.read(move |sql| related::was_issued_by(sql, &issuer)).await
    }

    /// What a stop of `target` at `now` would hit.
    pub async fn reach(&self, target: &Target, now: Timestamp) -> Result<Reach, StoreError> {
        let (target, book) = (target.clone(), self.seen());
        self.read(move |sql| activity::reach(sql, &target, &[book], now)).await
    }

    pub async fn keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        if let Some(at_rest) = self.published().at_rest() {
            return Ok(at_rest.keys.clone());
        }
        self.read(keys::list).await
    }

    /// The log's origin, once it has one.
    pub async fn origin(&self) -> Result<Option<String>, StoreError> {
        if let Some(at_rest) = self.published().at_rest() {
            return Ok(at_rest.origin.clone());
        }
        self.read(|sql| meta::get(sql, "origin")).await
    }

    /// The audit path of an event in the log of `size` events (RFC 6962 §2.1.1), lowest first.
    ///
    /// # Errors
    /// `OutOfRange` for a `seq` or size that the log has not; `Unavailable`.
    pub async fn inclusion_proof(&self, seq: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        self.read(move |sql| tree::inclusion_proof(sql, seq, size)).await
    }

    /// The proof that the log of `second` events extends that of `first` (RFC 6962 §2.1.2).
    ///
    /// # Errors
    /// `OutOfRange` unless 0 < `first` ≤ `second` ≤ the log's size; `Unavailable`.
    pub async fn consistency_proof(&self, first: u64, second: u64) -> Result<Vec<Digest>, StoreError> {
        self.read(move |sql| tree::consistency_proof(sql, first, second)).await
    }
}
