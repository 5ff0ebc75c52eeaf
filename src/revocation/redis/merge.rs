//! Merging into the authority: one change, or the whole book.

use std::time::Duration;

use redis::RedisError;
use redis::aio::MultiplexedConnection;

use super::wire::{LOG, Lineage, REVISION, STOPS};
use super::{Redis, meaning, wire};
use crate::domain::revocation::{Standing, Target};
use crate::revocation::RevocationError;

/// What a part of a refill, or the loading of every stop, may take.
pub(super) const REFILL: Duration = Duration::from_secs(2);
/// Stops poured at once. Redis serves nobody meanwhile: 2 to 5 ms, far from what callers wait.
pub(super) const PART: usize = 500;
/// How often a refill begins again when the authority forgets while it runs.
const ATTEMPTS: usize = 3;

/// What the merging script is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    Apply,
    Refill,
    /// A refill by one who saw the log contradict what it knew.
    RefillAfterFork,
    /// The next part of a refill, which is void if the authority forgot since the part before.
    More,
}

/// Kept apart until it is known over which connection it happened.
#[derive(Debug)]
pub(super) enum MergeError {
    Redis(RedisError),
    Ours(RevocationError),
}

impl MergeError {
    fn is_amnesia(&self) -> bool {
        matches!(self, Self::Redis(err) if meaning(err) == RevocationError::Amnesia)
    }
}

impl From<MergeError> for RevocationError {
    fn from(err: MergeError) -> Self {
        match err {
            MergeError::Redis(err) => meaning(&err),
            MergeError::Ours(err) => err,
        }
    }
}

impl Redis {
    /// Merges the whole view into the authority, part by part. Nobody trusts what is half full: each broker
    /// trusts only what it filled itself, and in one epoch from its first part to its last.
    pub(super) async fn pour(
        &self,
        connection: &mut MultiplexedConnection,
        mut what: Merge,
        known: Option<&Lineage>,
    ) -> Result<(Lineage, String), MergeError> {
        let mut patient = connection.clone();
        patient.set_response_timeout(REFILL);
        let book = self.view.book();
        let standings: Vec<_> = book.iter().collect();
        let mut known = known.cloned();
        let mut attempt = 1;
        'pouring: loop {
            let first = &standings[..PART.min(standings.len())];
            let mut merged = self.merge(&mut patient, what, known.as_ref(), first).await?;
            for part in standings[first.len()..].chunks(PART) {
                match self.merge(&mut patient, Merge::More, Some(&merged.0), part).await {
                    Ok(more) => merged = more,
                    Err(err) if err.is_amnesia() && attempt < ATTEMPTS => {
                        attempt += 1;
                        (what, known) = (Merge::Refill, Some(merged.0));
                        continue 'pouring;
                    }
                    Err(err) => return Err(err),
                }
            }
            return Ok(merged);
        }
    }

    pub(super) async fn merge(
        &self,
        connection: &mut MultiplexedConnection,
        what: Merge,
        known: Option<&Lineage>,
        standings: &[(&Target, &Standing)],
    ) -> Result<(Lineage, String), MergeError> {
        let mut call = self.merge.prepare_invoke();
        call.key(STOPS).key(LOG).key(REVISION);
        let mode = match what {
            Merge::Apply => "apply",
            Merge::Refill | Merge::RefillAfterFork => "refill",
            Merge::More => "more",
        };
        call.arg(mode).arg(self.broker.as_str());
        match known {
            Some(known) => call.arg(known.revision).arg(&*known.epoch).arg(&known.chain),
            None => call.arg(0).arg("-").arg("-"),
        };
        call.arg(if what == Merge::RefillAfterFork { "fork" } else { "-" });
        for (target, standing) in standings {
            call.arg(target.to_string()).arg(wire::encode(**standing).map_err(MergeError::Ours)?);
        }
        let text: String = call.invoke_async(connection).await.map_err(MergeError::Redis)?;
        match Lineage::parse(&text) {
            Some(lineage) => Ok((lineage, text)),
            None => Err(MergeError::Ours(RevocationError::Broken("the lineage".into()))),
        }
    }
}
