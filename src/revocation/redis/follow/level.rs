//! Keeps the authority level with the store: pushes what it lacks, also stops whose waiting node is gone.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Place;
use crate::domain::id::StopId;
use crate::domain::revocation::Book;
use crate::revocation::redis::Redis;
use crate::revocation::redis::push::How;
use crate::revocation::{RevocationError, Source, UnnumberedStop};

/// A stop that has had no number for so long has lost the node that took it.
const ABANDONED: Duration = Duration::from_secs(10);
const FORGET_ORPHANS: Duration = Duration::from_secs(3600);
/// Stops looked at in one round.
const BATCH: usize = 512;

impl Redis {
    /// Pushes what the authority lacks, so that no agent has to wait for it.
    pub(super) async fn keep_level(
        &self,
        place: &Place,
        source: &impl Source,
    ) -> Result<(), RevocationError> {
        let session_is_new = self.link.session().is_ok_and(|session| self.trusted(&session).is_err());
        let owed = source.unnumbered();
        let known = self.view.book();
        let left_behind = self.note_left_behind(&known, &owed, source).await;
        let unpushed = !self.not_given(owed, &place.state.life).is_empty();
        let book = source.book().await?;
        let behind = book.point() != place.state.point || book.floor() > place.state.floor;
        if session_is_new || unpushed || left_behind || behind {
            self.push_or_take_over(source).await?;
        }
        Ok(())
    }

    /// Finds stops that lost their waiting node before they lost their place here: the store has numbered them, and
    /// another node, or an earlier process of this one, gave them to the authority again.
    pub(super) async fn note_left_behind(
        &self,
        known: &Book,
        own: &[UnnumberedStop],
        source: &impl Source,
    ) -> bool {
        let own: HashSet<StopId> = own.iter().map(|stop| stop.id).collect();
        let mut found = false;
        for (target, id) in known.unnumbered().filter(|(_, id)| !own.contains(id)).take(BATCH) {
            let stop = UnnumberedStop { id: *id, target: target.clone() };
            match source.is_numbered(&stop).await {
                Ok(true) => self.note_numbered(stop.target, stop.id),
                Ok(false) => {
                    self.claim_if_abandoned(&stop, source).await;
                    continue;
                }
                // The stop stays in effect.
                Err(_) => break,
            }
            found = true;
        }
        found
    }

    /// A stop that nobody has numbered for a while was taken by a process that is gone, with the file that it kept.
    async fn claim_if_abandoned(&self, stop: &UnnumberedStop, source: &impl Source) {
        let since = {
            let mut seen = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            seen.retain(|_, at| now.duration_since(*at) < FORGET_ORPHANS);
            *seen.entry(stop.id).or_insert(now)
        };
        if since.elapsed() >= ABANDONED
            && let Err(err) = source.claim(stop).await
        {
            tracing::warn!(error = %err, stop = %stop.id, "a stop that nobody numbers cannot be journaled");
        }
    }

    pub(in crate::revocation::redis) async fn push_or_take_over(
        &self,
        source: &impl Source,
    ) -> Result<(), RevocationError> {
        match self.push(source, How::InAnyCase).await {
            Err(err @ RevocationError::Ahead { .. }) => {
                tracing::error!(%err, "taking over what Redis remembers");
                source.take_over().await
            }
            pushed => pushed.map(drop),
        }
    }
}
