//! The signing keys of this node and of the others that share its store: one of them rotates, and all learn of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::signing::{KeyPurpose, SealedKey};
use crate::domain::time::Timestamp;
use crate::store::{Store, StoreError};
use crate::token::{Claims, KeyError, KeyRing, TokenError};

/// Between two looks at the keys of the store for tokens whose key is not known. Anybody can send such tokens.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(super) enum RotationError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(super) struct SigningKeys {
    ring: Arc<KeyRing>,
    store: Store,
    /// When the store was asked last.
    looked: Mutex<Option<Instant>>,
}

impl SigningKeys {
    pub(super) fn new(ring: Arc<KeyRing>, store: Store) -> Self {
        Self { ring, store, looked: Mutex::default() }
    }

    pub(super) fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// As [`KeyRing::verify`], also by a key that another node has made meanwhile.
    pub(super) async fn verify(
        &self,
        token: &str,
        issuer: &str,
        now: Timestamp,
    ) -> Result<Arc<Claims>, TokenError> {
        match self.ring.verify(token, issuer, now) {
            Err(TokenError::UnknownKey) if self.has_news().await => self.ring.verify(token, issuer, now),
            verified => verified,
        }
    }

    /// As [`KeyRing::issued`], also by a key that another node has made meanwhile.
    pub(super) async fn issued(&self, token: &str, issuer: &str) -> Result<Arc<Claims>, TokenError> {
        match self.ring.issued(token, issuer) {
            Err(TokenError::UnknownKey) if self.has_news().await => self.ring.issued(token, issuer),
            issued => issued,
        }
    }

    /// Looks at the keys of the store, where others write to it and nobody looked within a second.
    async fn has_news(&self) -> bool {
        if !self.store.is_shared() {
            return false;
        }
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < LOOK) {
            return false;
        }
        *looked = Some(Instant::now());
        match tokio::time::timeout(LOOK, self.learn()).await {
            Ok(Ok(is_news)) => is_news,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the signing keys of the store");
                false
            }
            // Others wait for the turn, and strangers can make them.
            Err(_) => false,
        }
    }

    /// Takes over what other nodes made of the keys.
    async fn learn(&self) -> Result<bool, RotationError> {
        Ok(self.ring.learn(&self.store.keys().await?)?)
    }

    /// Keeps a key that this node made before the store could be written. Where another node made one meanwhile, that one
    /// is taken over, and this one was never known to anybody.
    ///
    /// # Errors
    /// `Refused` for a checkpoint key, which a running node cannot change; the store's own.
    pub(super) async fn keep(&self, key: &SealedKey, event: &Event) -> Result<(), StoreError> {
        if self.store.put_key(key.clone(), self.ring.kids(), event.clone()).await? {
            return Ok(());
        }
        let taken_over = match key.purpose {
            KeyPurpose::Token => self.learn().await.is_ok(),
            KeyPurpose::Checkpoint => false,
        };
        if !taken_over {
            let problem = "another broker has made the keys of this log meanwhile: start this one again";
            return Err(StoreError::Refused(problem.into()));
        }
        tracing::warn!(kid = %key.kid, "another node has made a signing key, which is taken over");
        Ok(())
    }

    /// What is due at `now`. A new key is durable before it is published, and published long before it signs. One node
    /// makes it; the others learn it.
    pub(super) async fn rotate(&self, now: Timestamp) -> Result<(), RotationError> {
        if self.store.is_shared() {
            self.learn().await?;
        }
        let rotation = self.ring.due(now)?;
        if rotation.is_empty() {
            return Ok(());
        }
        let rotated = |detail: String| Event {
            detail: Some(detail),
            ..Event::new(now, Kind::KeyRotated, Outcome::Done)
        };
        if let Some(key) = &rotation.add {
            let detail =
                format!("{} {} is published and signs from {}", key.algorithm, key.kid, key.signs_from);
            if !self.store.put_key(key.clone(), self.ring.kids(), rotated(detail)).await? {
                // Another node was faster; the next round goes on from its key.
                return self.learn().await.map(drop);
            }
        }
        for kid in &rotation.remove {
            let removed = rotated(format!("{kid} is removed: its last token is dead"));
            self.store.remove_key(kid, removed).await?;
        }
        if let Some(kid) = &rotation.signs {
            self.store.append(rotated(format!("{kid} signs from now on"))).await?;
        }
        Ok(self.ring.adopt(rotation)?)
    }
}
