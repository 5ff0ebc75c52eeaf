//! Asking the authority: questions that arrive while one is on its way go together in the next.
//!
//! The question is how far the authority is. Where this broker's view has followed it just as far, the view says
//! all there is to know; else the authority is asked about the targets themselves. Either answer is as exact as
//! if each had asked alone, for a round is closed before it is sent: whoever is in it asked before. A thousand
//! agents at once cost a handful of round trips.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::Redis;
use super::wire::{self, LINEAGE, Lineage, REVISION, STOPS};
use crate::domain::revocation::{Levels, Target, Verdict};
use crate::revocation::RevocationError;

/// The round that is open for questions, and the turn to send one.
#[derive(Debug, Default)]
pub(super) struct Asking {
    open: Mutex<Option<Arc<Round>>>,
    turn: tokio::sync::Mutex<()>,
}

/// Whether the view holds all that the authority does, asked once for everyone in it.
type Round = OnceCell<Result<bool, RevocationError>>;

impl Asking {
    fn join(&self) -> Arc<Round> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(open.get_or_insert_default())
    }

    /// From now on nobody joins `round`.
    fn close(&self, round: &Arc<Round>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, round)) {
            *open = None;
        }
    }
}

impl Redis {
    pub(in crate::revocation) async fn ask(&self, levels: &Levels) -> Result<Verdict, RevocationError> {
        let round = self.asking.join();
        // Whoever sends it may be broken off; then another of the round does.
        let answer = round.get_or_init(|| async {
            let _turn = self.asking.turn.lock().await;
            // Whoever is ready to ask joins.
            tokio::task::yield_now().await;
            self.asking.close(&round);
            self.followed_all().await
        });
        match answer.await {
            Ok(true) => Ok(self.view.verdict(levels)),
            Ok(false) => self.standings(levels.targets()).await,
            Err(error) => Err(error.clone()),
        }
    }

    /// Whether the view holds every change that the authority does, if that can be trusted.
    async fn followed_all(&self) -> Result<bool, RevocationError> {
        let session = self.link.session()?;
        // Before the question: what is learnt meanwhile must not make its answer look old.
        let trust = self.trusted(&session).ok_or(RevocationError::Amnesia)?;
        let mut pipe = redis::pipe();
        pipe.cmd("HGET").arg(STOPS).arg(LINEAGE).cmd("GET").arg(REVISION);
        let (lineage, counter): (Option<Vec<u8>>, Option<Vec<u8>>) =
            pipe.query_async(&mut session.connection()).await.map_err(|err| self.failed(&session, &err))?;
        self.check(&trust, lineage.as_deref(), counter.as_deref())?;
        let now = lineage.and_then(|text| Lineage::parse(std::str::from_utf8(&text).ok()?));
        // What `followed` tells of is in the view already.
        Ok(now.is_some() && now.as_ref() == self.followed.load().as_deref())
    }

    /// What the authority says of each of `targets`, joined with the view.
    async fn standings(&self, targets: Vec<Target>) -> Result<Verdict, RevocationError> {
        let session = self.link.session()?;
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
        let mut standings = Vec::new();
        for (target, text) in targets.into_iter().zip(fields) {
            let theirs = match text {
                Some(text) => Some(wire::standing_of(&target, &String::from_utf8_lossy(&text))?),
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
}
