//! Pushing: the authority gets every change that lies between its own revision and the source's.

use std::sync::Arc;
use std::time::Instant;

use redis::aio::MultiplexedConnection;

use super::Redis;
use super::link::Session;
use super::wire::{Item, LOG, STATE, STOPS, State};
use crate::domain::id::StopId;
use crate::domain::revocation::{Book, Point, Revision, Standing, Target};
use crate::revocation::{Applied, RevocationError, Source, UnnumberedStop};

/// Items pushed at once. Redis serves nobody meanwhile: 2 to 5 ms, far from what callers wait.
pub(super) const PART: usize = 500;
/// How often a push begins again when another node's comes in between, or the authority forgets while it runs.
const ATTEMPTS: usize = 8;

/// How a push goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::revocation) enum How {
    /// Unless another push of this node has done it meanwhile.
    IfNeeded,
    /// In any case, behind the authority's own revision.
    InAnyCase,
    /// From the very first change, over the history up to this point, which the source has taken over.
    Over(Point),
}

/// What became of a part.
enum Pushed {
    /// It is written, and this is the state after it.
    All(State),
    /// Nothing is written: the authority is in another state than the one that was built on.
    Elsewhere(Option<State>),
    /// Nothing is written: the server's own history of writes is another than the one of this state. A replica took over,
    /// or the server was restarted.
    OtherHistory(State),
}

impl Redis {
    pub(in crate::revocation) async fn push(
        &self,
        source: &impl Source,
        how: How,
    ) -> Result<Applied, RevocationError> {
        // Read before the book, which then has them with their numbers.
        let numbered = self.numbered();
        let book = source.book().await?;
        // Also where the authority cannot be reached: a view that heard of a stop and never of its lift would go on
        // refusing when the store has long forgotten both.
        self.view.learn_book(&book);
        self.forget_in_view(&numbered);
        let wanted = book.revision();
        // Whoever waits here finds most often that its change went along with another's.
        let _turn = self.pushing.lock().await;
        let sent = Instant::now();
        let session = self.link.session()?;
        let settled = self.numbered();
        let owes_none = |state: &State| self.not_given(source.unnumbered(), &state.life).is_empty();
        let applied = |state: &State, revision| Applied {
            revision: Some(revision),
            place: (Arc::clone(&state.life), state.serial),
            sent,
            session: session.number,
        };
        if let Some(state) = self.reached()
            && (how == How::IfNeeded && settled.is_empty() && self.trusted(&session).is_ok())
            && owes_none(&state)
            && state.point.revision >= wanted
            // The log may have told of another history, which has the number too.
            && self.verified() == Some(state.point)
        {
            return Ok(applied(&state, wanted));
        }
        let pushed = self.push_over_session(&session, source, how, &settled).await;
        let (state, book) = pushed.inspect_err(|err| self.note_failure(&session, err))?;
        self.trust(&session, &state);
        self.forget_numbered(&settled);
        Ok(applied(&state, book.revision()))
    }

    async fn push_over_session(
        &self,
        session: &Session,
        source: &impl Source,
        how: How,
        numbered: &[(Target, StopId)],
    ) -> Result<(State, Arc<Book>), RevocationError> {
        let mut connection = session.connection();
        if self.trusted(session).is_err() {
            // Over another connection may be another Redis, which lost what the one before took.
            self.given.forget();
        }
        // What this node last saw is most often what is there.
        let mut theirs = match self.reached() {
            Some(state) => Some(State::clone(&state)),
            None => self.state(&mut connection).await?,
        };
        let mut fell_back = false;
        for _ in 0..ATTEMPTS {
            // Read after the state: what another node has pushed is in it.
            let book = source.book().await?;
            self.view.learn_book(&book);
            let after = self.base(source, &book, theirs.as_ref(), how).await?;
            let lifted = self.lifted_long_ago(&book, theirs.as_ref(), how).await?;
            let items = items(&book, after, lifted, numbered);
            let unnumbered = source.unnumbered();
            let state = (theirs.as_ref(), fell_back);
            match self.push_on(&mut connection, (&unnumbered, numbered), &book, state, items).await? {
                Pushed::All(state) => return Ok((state, book)),
                Pushed::Elsewhere(now) => {
                    fell_back = now.as_ref().is_some_and(|now| self.fell_back_to(now));
                    theirs = now;
                }
                // Its last writes may be lost, and others of the same serials be there instead.
                Pushed::OtherHistory(now) => (fell_back, theirs) = (true, Some(now)),
            }
        }
        Err(RevocationError::Unreachable("other nodes write to it without a pause".to_owned()))
    }

    /// Whether the authority lost writes of the life that this node knows. It begins another then, so that every node
    /// notices and gives again what it alone remembers.
    fn fell_back_to(&self, now: &State) -> bool {
        self.reached().is_some_and(|before| now.life == before.life && !now.may_follow(&before))
    }

    /// The revision after which the authority lacks what `book` has.
    async fn base(
        &self,
        source: &impl Source,
        book: &Book,
        theirs: Option<&State>,
        how: How,
    ) -> Result<Revision, RevocationError> {
        let Some(theirs) = theirs else { return Ok(Revision::ZERO) };
        if theirs.origin != self.origin {
            return Err(self.other_store(&theirs.origin));
        }
        // Where it stands somewhere else by now, what was changed meanwhile has to be taken over first.
        if how == How::Over(theirs.point) {
            return Ok(Revision::ZERO);
        }
        let Point { revision, mark } = theirs.point;
        let ahead = || RevocationError::Ahead { theirs: revision, ours: book.revision() };
        let known = theirs.point == book.point() || Some(theirs.point) == self.verified();
        if !known {
            // Another node's change, if the store has it; else a history that was lost.
            if source.mark(revision).await? != Some(mark) {
                return Err(ahead());
            }
            self.verify(theirs.point);
        }
        if revision > book.revision() { Err(ahead()) } else { Ok(revision) }
    }

    /// One attempt, part by part; the last part alone says that the authority has all.
    async fn push_on(
        &self,
        connection: &mut MultiplexedConnection,
        (own, numbered): (&[UnnumberedStop], &[(Target, StopId)]),
        book: &Arc<Book>,
        (theirs, mut anew): (Option<&State>, bool),
        mut items: Vec<Item>,
    ) -> Result<Pushed, RevocationError> {
        items.extend(self.unnumbered_items(own, numbered, theirs.filter(|_| !anew)));
        let mut theirs = theirs.cloned();
        let mut parts = items.chunks(PART).peekable();
        loop {
            let part = parts.next().unwrap_or_default();
            let last = parts.peek().is_none();
            match self.push_part(connection, (theirs.as_ref(), anew), book, last, part).await? {
                Pushed::All(state) if last => {
                    self.given.note(&state.life, own);
                    return Ok(Pushed::All(state));
                }
                // Nobody else may begin another life in between: what was pushed so far would be lost.
                Pushed::All(state) => (theirs, anew) = (Some(state), false),
                found => return Ok(found),
            }
        }
    }

    /// The lifts of stops that the authority has in force and the store has not. An authority that was away for so long
    /// that the store has forgotten a lift would never be told of it otherwise: what is in force is never forgotten, so
    /// what the store does not have is over.
    async fn lifted_long_ago(
        &self,
        book: &Book,
        theirs: Option<&State>,
        how: How,
    ) -> Result<Vec<Item>, RevocationError> {
        let Some(theirs) = theirs else { return Ok(Vec::new()) };
        let is_known = !matches!(how, How::Over(point) if point != theirs.point);
        if !is_known || theirs.point.revision >= book.floor() {
            return Ok(Vec::new());
        }
        let (_, mut connection) =
            self.link.open(self.link.waits.patient).await.map_err(RevocationError::Unreachable)?;
        let loaded = match self.load_over(&mut connection).await {
            // It is empty now; the push will find it so.
            Err(RevocationError::Amnesia) => return Ok(Vec::new()),
            loaded => loaded?,
        };
        let over = |item| match item {
            Item::Standing(target, Standing { stop: Some(_), stopped, changed })
                if changed <= theirs.point.revision
                    && book.get(&target).is_none()
                    && !matches!(target, Target::Token(_)) =>
            {
                Some(Item::Standing(target, Standing { stop: None, stopped, changed: book.floor() }))
            }
            _ => None,
        };
        Ok(loaded.items.into_iter().filter_map(over).collect())
    }

    /// Those of this node's stops without a number that the authority of this life may lack. It keeps one for each target:
    /// where another node's was kept and is gone, which the view has heard, this node's is given again.
    pub(super) fn not_given(&self, mut own: Vec<UnnumberedStop>, life: &str) -> Vec<UnnumberedStop> {
        let (given, view) = (self.given.among(&own, life), self.view.book());
        own.retain(|stop| !given.contains(&stop.id) || view.unnumbered_of(&stop.target).is_none());
        own
    }

    /// This node's stops without a number. An authority that began anew has lost those of other nodes too.
    fn unnumbered_items(
        &self,
        own: &[UnnumberedStop],
        numbered: &[(Target, StopId)],
        theirs: Option<&State>,
    ) -> Vec<Item> {
        let anew =
            theirs.is_none_or(|theirs| self.followed().is_some_and(|before| before.life != theirs.life));
        let view = self.view.book();
        let known = view.unnumbered().filter(|_| anew).map(|(target, id)| (target.clone(), *id));
        let known = known.filter(|stop| !numbered.contains(stop));
        let own = own.to_vec();
        let lacking = match theirs {
            Some(theirs) if !anew => self.not_given(own, &theirs.life),
            _ => own,
        };
        let all: Vec<(Target, StopId)> =
            known.chain(lacking.into_iter().map(|stop| (stop.target, stop.id))).collect();
        self.view.learn(|book| {
            for (target, id) in &all {
                if book.unnumbered_of(target).is_none() {
                    book.note_unnumbered(target.clone(), *id);
                }
            }
        });
        all.into_iter().map(|(target, id)| Item::Unnumbered(target, id)).collect()
    }

    async fn push_part(
        &self,
        connection: &mut MultiplexedConnection,
        (theirs, anew): (Option<&State>, bool),
        book: &Book,
        last: bool,
        items: &[Item],
    ) -> Result<Pushed, RevocationError> {
        let mut call = self.script.prepare_invoke();
        call.key(STOPS).key(LOG);
        call.arg(if last { "last" } else { "part" }).arg(&self.origin).arg(self.new_life());
        match theirs {
            Some(State { life, serial, point, .. }) => {
                call.arg(format!("{life} {} {}", point.revision, point.mark)).arg(*serial)
            }
            None => call.arg("-").arg(0),
        };
        let point = book.point();
        call.arg(point.revision.number()).arg(point.mark.to_string()).arg(book.floor().number());
        call.arg(if anew { "anew" } else { "on" });
        for item in items {
            let (field, value) = item.encode();
            call.arg(field).arg(value);
        }
        let mut patient = connection.clone();
        if items.len() > 8 {
            patient.set_response_timeout(self.link.waits.patient);
        }
        let (done, text): (i64, String) =
            call.invoke_async(&mut patient).await.map_err(|err| self.failure(&err))?;
        let state = || State::parse(&text).ok_or_else(|| RevocationError::Broken("the state".to_owned()));
        Ok(match (done, text.as_str()) {
            (1, _) => Pushed::All(state()?),
            (2, _) => Pushed::OtherHistory(state()?),
            (_, "") => Pushed::Elsewhere(None),
            _ => Pushed::Elsewhere(Some(state()?)),
        })
    }

    /// What the authority says of itself; none where it is empty.
    pub(super) async fn state(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Option<State>, RevocationError> {
        let mut command = redis::cmd("HGET");
        command.arg(STOPS).arg(STATE);
        let text: Option<String> = command
            .query_async(connection)
            .await
            .map_err(|err| self.meaning(&err, self.link.waits.response))?;
        text.map(|text| State::parse(&text).ok_or_else(|| RevocationError::Broken("the state".to_owned())))
            .transpose()
    }
}

/// What the book has after a revision, and what had its number before the book was read: in another order the authority
/// would lose a stop that it has in neither way.
fn items(book: &Book, after: Revision, lifted: Vec<Item>, numbered: &[(Target, StopId)]) -> Vec<Item> {
    let standings = book.after(after).map(|(target, standing)| Item::Standing(target.clone(), standing));
    let ended = book.ended_after(after, usize::MAX).into_iter();
    let mut items: Vec<Item> =
        standings.chain(ended.map(|(revision, token)| Item::ended(token, revision))).collect();
    items.extend(lifted);
    items.extend(numbered.iter().map(|(target, id)| Item::Numbered(target.clone(), *id)));
    items
}
