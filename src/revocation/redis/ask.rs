//! Asking the authority: questions that arrive while one is on its way go together in the next.
//!
//! An answer is as exact as if each had asked alone, for a round is closed before it is sent: whoever is
//! in it asked before. A thousand agents at once cost a handful of round trips.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::Redis;
use super::wire::{self, LINEAGE, REVISION, STOPS};
use crate::domain::revocation::{Levels, Target, Verdict};
use crate::revocation::RevocationError;

/// More targets would make one round slow for everyone in it.
const LARGEST: usize = 256;

/// The round that is open for questions, and the turn to send one.
#[derive(Debug, Default)]
pub(super) struct Asking {
    open: Mutex<Option<Arc<Round>>>,
    turn: tokio::sync::Mutex<()>,
}

/// The targets that somebody asks about, and what is stored of them.
#[derive(Debug, Default)]
struct Round {
    targets: Mutex<BTreeSet<Target>>,
    answer: OnceCell<Result<Stored, RevocationError>>,
}

/// The text of each standing that the authority has.
type Stored = HashMap<Target, Vec<u8>>;

impl Asking {
    fn join(&self, targets: &[Target]) -> Arc<Round> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let round = Arc::clone(open.get_or_insert_default());
        let mut asked = round.targets.lock().unwrap_or_else(PoisonError::into_inner);
        asked.extend(targets.iter().cloned());
        if asked.len() >= LARGEST {
            *open = None;
        }
        drop(asked);
        round
    }

    /// From now on nobody joins `round`; what it asks about.
    fn close(&self, round: &Arc<Round>) -> Vec<Target> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, round)) {
            *open = None;
        }
        drop(open);
        round.targets.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Redis {
    pub(in crate::revocation) async fn ask(&self, levels: &Levels) -> Result<Verdict, RevocationError> {
        let targets = levels.targets();
        let round = self.asking.join(&targets);
        // Whoever sends it may be broken off; then another of the round does.
        let answer = round.answer.get_or_init(|| async {
            let _turn = self.asking.turn.lock().await;
            self.stored(self.asking.close(&round)).await
        });
        let stored = answer.await.as_ref().map_err(Clone::clone)?;
        let mut standings = Vec::new();
        for target in targets {
            let theirs = match stored.get(&target) {
                Some(text) => Some(wire::standing_of(&target, &String::from_utf8_lossy(text))?),
                None => None,
            };
            let standing = match (theirs, self.view.get(&target)) {
                (Some(theirs), Some(ours)) => theirs.merge(ours),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => continue,
            };
            standings.push((target, standing));
        }
        Ok(Verdict::of(standings))
    }

    /// What the authority has of `targets`, if it can be trusted.
    async fn stored(&self, targets: Vec<Target>) -> Result<Stored, RevocationError> {
        let session = self.link.session()?;
        // Before the question: what is learnt meanwhile must not make its answer look old.
        let trust = self.trusted(&session).ok_or(RevocationError::Amnesia)?;
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(STOPS).arg(LINEAGE);
        for target in &targets {
            pipe.arg(target.to_string());
        }
        pipe.cmd("GET").arg(REVISION);
        let (fields, counter): (Vec<Option<Vec<u8>>>, Option<Vec<u8>>) =
            pipe.query_async(&mut session.connection()).await.map_err(|err| self.failed(&session, &err))?;
        let mut fields = fields.into_iter();
        let lineage = fields.next().flatten();
        if fields.len() != targets.len() {
            return Err(RevocationError::Broken("an answer of the wrong length".into()));
        }
        self.check(&trust, lineage.as_deref(), counter.as_deref())?;
        Ok(targets.into_iter().zip(fields).filter_map(|(target, text)| Some((target, text?))).collect())
    }
}
