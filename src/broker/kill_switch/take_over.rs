//! A store that was restored from an older copy: what it lost and Redis remembers is taken over (law 5).
//!
//! Every stop that either of them has in force is in force afterwards, under a number above all that the lost history
//! gave. Every token that was decided before is dead: the events of some of them are lost, and nobody can say of which.

use super::{KillSwitch, unreadable};
use crate::domain::count::counted;
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::id::StopId;
use crate::domain::revocation::{Book, Point, Revision, Stop, Target};
use crate::domain::time::Timestamp;
use crate::revocation::RevocationError;
use crate::store::Adoption;

/// The reason of a stop that no event explains any more.
const FOUND: &str =
    "found in Redis: the event of this stop was lost when the store was restored from an older copy";

/// The lost history may have gone on past what Redis heard of it, and given tokens numbers that nobody knows. So new ones
/// are given this far above: more than changes are made while Redis is away.
const GAP: u64 = 1_000_000;

impl KillSwitch {
    pub(super) async fn take_over_history(&self) -> Result<(), RevocationError> {
        // Nobody may rely on the store alone until it is done.
        self.set_behind(true);
        let mut taken_over = self.taken_over.lock().await;
        let theirs = self.revocation.load().await?;
        let ours = self.store.book().await.map_err(unreadable)?;
        let mark = self.store.mark(theirs.revision()).await.map_err(unreadable)?;
        if mark == Some(theirs.point().mark) && theirs.newest() <= ours.revision() {
            // Somebody else has done it meanwhile.
            self.revocation.push(self).await?;
            self.set_behind(false);
            return Ok(());
        }
        let seen = (theirs.point(), theirs.newest());
        if *taken_over != Some(seen) {
            let copies = self.revocation.other_copies(&self.store.instance()).await?;
            if !copies.is_empty() {
                return Err(RevocationError::Copies(copies));
            }
            let stops = self.adopt(&theirs, &ours).await?;
            *taken_over = Some(seen);
            tracing::error!(
                redis = %theirs.revision(),
                store = %ours.revision(),
                stops,
                "THE STORE WAS RESTORED FROM AN OLDER COPY: the stops that Redis remembers are taken over, and every token \
                 that was issued before is dead; agents get new ones by themselves",
            );
        }
        self.revocation.push_over(self, theirs.point()).await?;
        self.set_behind(false);
        Ok(())
    }

    /// A token that this store's keys signed was decided after more changes than the store knows: it was restored from an
    /// older copy, and nothing else remembers. Numbers on above, and every token decided before is dead.
    pub(in crate::broker) async fn take_over_unknown(&self, as_of: Revision) {
        let _turn = self.taken_over.lock().await;
        let Ok(ours) = self.store.book().await else { return };
        if as_of <= ours.revision() {
            return;
        }
        let mut theirs = Book::clone(&ours);
        theirs.complete_to(Point { revision: as_of, ..ours.point() });
        match self.adopt(&theirs, &ours).await {
            Ok(_) => tracing::error!(
                token = %as_of,
                store = %ours.revision(),
                "THE STORE WAS RESTORED FROM AN OLDER COPY: a token knows of changes that it lost, and every token that was \
                 issued before is dead; agents get new ones by themselves; stop again whomever you stopped since that copy",
            ),
            Err(error) => tracing::error!(%error, "what the store lost cannot be taken over"),
        }
    }

    /// Numbers a stop whose node is gone, with the event that it owed.
    pub(super) async fn claim_abandoned(
        &self,
        stop: &crate::revocation::UnnumberedStop,
    ) -> Result<(), RevocationError> {
        let now = self.clock.now();
        let reason =
            "found in Redis: it was taken while the store was down, by a broker that is gone".to_owned();
        let stop = Stop { reason, ..found(stop.id, &stop.target, now) };
        let event = Event::new(now, Kind::RevocationStopped, Outcome::Done);
        let (id, target) = (stop.id, stop.target.clone());
        self.store.stop(stop, event).await.map_err(unreadable)?;
        tracing::warn!(stop = %id, %target, "a stop that its broker left in Redis is journaled");
        self.revocation.note_numbered(target, id);
        Ok(())
    }

    /// Gives how many stops it had lost.
    async fn adopt(&self, theirs: &Book, ours: &Book) -> Result<usize, RevocationError> {
        let adoption = adoption(theirs, ours, self.clock.now());
        let lost = adoption.stops.len();
        self.store.adopt(adoption).await.map_err(unreadable)?;
        Ok(lost)
    }
}

/// What the store must record so that nothing of `theirs` is un-stopped.
fn adoption(theirs: &Book, ours: &Book, now: Timestamp) -> Adoption {
    let event = |kind| Event::new(now, kind, Outcome::Done);
    let mut stops = Vec::new();
    for (target, standing) in theirs.standings() {
        let stopped_here = ours.get(target).is_some_and(|here| here.stop.is_some());
        if let (Some(id), false) = (standing.stop, stopped_here) {
            stops.push((found(id, target, now), event(Kind::RevocationStopped)));
        }
    }
    let mut restated = Vec::new();
    for (target, standing) in ours.standings() {
        if let Some(id) = standing.stop.filter(|_| theirs.get(target) != Some(standing)) {
            let detail = Some("numbered anew, above what the lost history gave".to_owned());
            restated.push((id, Event { detail, ..event(Kind::RevocationStopped) }));
        }
    }
    let above = Revision::new(theirs.newest().max(ours.revision()).number().saturating_add(GAP));
    let (lost, known) = (theirs.newest(), ours.revision());
    let detail = Some(format!(
        "changes of the kill switch were given up to {lost}, and this store has them up to {known}: it was restored from an older copy; \
         {} taken over, and every token issued before is dead",
        counted(stops.len(), "stop")
    ));
    Adoption { event: Event { detail, ..event(Kind::StoreRestored) }, above, stops, restated }
}

fn found(id: StopId, target: &Target, at: Timestamp) -> Stop {
    Stop {
        id,
        target: target.clone(),
        at,
        reason: FOUND.to_owned(),
        operator: None,
        revision: None,
        lift: None,
    }
}
