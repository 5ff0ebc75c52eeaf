//! Follows the log over a connection of its own, without a gap: each entry must be the next write of the life
//! that the view holds, and each round ends with a look at the state itself.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::streams::StreamReadReply;
use redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};
use tokio::sync::watch;

use super::link::{RESPONSE, RETRY};
use super::load::Loaded;
use super::push::How;
use super::roster::Report;
use super::wire::{Entry, Item, LOG, SEEN, STATE, STOPS, State};
use super::{Redis, meaning};
use crate::domain::id::StopId;
use crate::domain::revocation::Book;
use crate::revocation::view::SinceStart;
use crate::revocation::{RevocationError, Source, Unnumbered, ended};

/// How often a node reports when nothing happens.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// A stop that has had no number for so long has lost the node that took it.
const ABANDONED: Duration = Duration::from_secs(10);
const FORGET_ORPHANS: Duration = Duration::from_secs(3600);
/// Entries read at once.
const BATCH: usize = 512;
/// What a node that ends waits for Redis to note it.
const FAREWELL: Duration = Duration::from_millis(500);

/// Where a follower is.
struct Place {
    /// After the last write that the view holds.
    state: State,
    /// The last entry read.
    entry: String,
    /// The last round read no entry, yet the state was ahead.
    behind: bool,
}

/// What a round found.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    Followed,
    /// Writes are missing, or the authority forgot.
    Gap,
}

/// The answer of one round: entries, the state, the nodes' reports.
type Answer = (Option<StreamReadReply>, Option<String>, HashMap<String, String>);

impl Redis {
    pub(crate) async fn follow(&self, mut shutdown: watch::Receiver<bool>, source: &impl Source) {
        tokio::select! {
            () = ended(&mut shutdown) => {}
            never = self.follow_for_ever(source) => match never {},
        }
        // A Redis that does not answer forgets this node by itself, after a minute.
        let _ = tokio::time::timeout(FAREWELL, self.leave()).await;
    }

    async fn follow_for_ever(&self, source: &impl Source) -> Infallible {
        let mut pause = RETRY[0];
        loop {
            let started = Instant::now();
            let Err(err) = self.follow_once(source).await;
            tracing::warn!(error = %err, "the revocation log cannot be followed");
            self.set_trouble(Some(err));
            self.learn_from(source).await;
            if started.elapsed() > RETRY[1] {
                pause = RETRY[0];
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY[1]);
        }
    }

    /// What the store says, while the authority says nothing.
    async fn learn_from(&self, source: &impl Source) {
        let Ok(book) = source.book().await else { return };
        self.view.learn_book(&book);
        self.note_left_behind(&self.view.book(), &source.unnumbered(), source).await;
        self.forget_in_view(&self.numbered());
    }

    /// Follows over one connection until it fails.
    async fn follow_once(&self, source: &impl Source) -> Result<Infallible, RevocationError> {
        let block = HEARTBEAT.min(self.max_staleness / 4).max(Duration::from_millis(10));
        let mut connection = self.link.open(block + RESPONSE).await.map_err(RevocationError::Unreachable)?;
        let mut place = self.catch_up(&mut connection, source).await?;
        tokio::select! {
            ended = self.follow_log(&mut connection, &mut place, source, block) => ended,
            never = self.prune_for_ever() => match never {},
        }
    }

    async fn follow_log(
        &self,
        connection: &mut MultiplexedConnection,
        place: &mut Place,
        source: &impl Source,
        block: Duration,
    ) -> Result<Infallible, RevocationError> {
        loop {
            match self.round(connection, place, source, block).await? {
                Round::Followed => {
                    self.set_trouble(None);
                    self.keep_level(place, source).await?;
                    if source.must_compare() {
                        *place = self.catch_up(connection, source).await?;
                    }
                }
                Round::Gap => *place = self.catch_up(connection, source).await?,
            }
        }
    }

    /// Pushes what the authority lacks, so that no agent has to wait for it.
    async fn keep_level(&self, place: &Place, source: &impl Source) -> Result<(), RevocationError> {
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
    async fn note_left_behind(&self, known: &Book, own: &[Unnumbered], source: &impl Source) -> bool {
        let own: HashSet<StopId> = own.iter().map(|stop| stop.id).collect();
        let mut found = false;
        for (target, id) in known.unnumbered().filter(|(_, id)| !own.contains(id)).take(BATCH) {
            let stop = Unnumbered { id: *id, target: target.clone() };
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
    async fn claim_if_abandoned(&self, stop: &Unnumbered, source: &impl Source) {
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

    async fn push_or_take_over(&self, source: &impl Source) -> Result<(), RevocationError> {
        match self.push(source, How::Surely).await {
            Err(err @ RevocationError::Ahead { .. }) => {
                tracing::error!(%err, "taking over what Redis remembers");
                source.take_over().await
            }
            pushed => pushed.map(drop),
        }
    }

    /// Merges the source and the view into the authority, and then the authority into the view.
    async fn catch_up(
        &self,
        connection: &mut MultiplexedConnection,
        source: &impl Source,
    ) -> Result<Place, RevocationError> {
        // What was missed may be that the authority lost them.
        self.given.forget();
        self.push_or_take_over(source).await?;
        let asked = SinceStart::now();
        let Loaded { state, entry, items } = self.load_over(connection).await?;
        // The store has given no such number: somebody else wrote it, or the store has lost it.
        let highest = source.book().await?.revision();
        if let Some(theirs) = items.iter().filter_map(Item::changed).max().filter(|theirs| *theirs > highest)
        {
            let err = RevocationError::Ahead { theirs, ours: highest };
            tracing::error!(%err, "taking over what Redis remembers");
            source.take_over().await?;
            return Err(RevocationError::Amnesia);
        }
        let owed = source.unnumbered();
        self.view.learn(|book| {
            book.clear_unnumbered();
            for stop in owed {
                book.note_unnumbered(stop.target, stop.id);
            }
            for item in items {
                item.learn(book);
            }
            book.complete_to(state.point);
            book.raise_floor(state.floor);
        });
        self.set_followed(&state);
        let mut command = redis::cmd("HGETALL");
        command.arg(SEEN);
        let reports = command.query_async(connection).await.map_err(|err| self.unfollowable(&err))?;
        self.roster.hear(reports, Instant::now())?;
        self.view.is_up_to_date_since(asked);
        source.is_level();
        Ok(Place { state, entry, behind: false })
    }

    /// Reports where the view is, waits for writes up to `block`, and applies them.
    async fn round(
        &self,
        connection: &mut MultiplexedConnection,
        place: &mut Place,
        source: &impl Source,
        block: Duration,
    ) -> Result<Round, RevocationError> {
        let asked = SinceStart::now();
        let report = Report::of(asked.beat(), self.view.book().revision(), &place.state, source.instance());
        let mut pipe = redis::pipe();
        pipe.cmd("HSET").arg(SEEN).arg(self.node.as_str()).arg(report.to_string()).ignore();
        pipe.cmd("XREAD").arg("COUNT").arg(BATCH).arg("BLOCK").arg(block.as_millis().to_string());
        pipe.arg("STREAMS").arg(LOG).arg(&place.entry);
        pipe.cmd("HGET").arg(STOPS).arg(STATE).cmd("HGETALL").arg(SEEN);
        let (entries, state, reports): Answer =
            pipe.query_async(connection).await.map_err(|err| self.unfollowable(&err))?;

        let own = reports.get(self.node.as_str());
        if own.is_some_and(|own| *own != report.to_string()) && self.roster.note_namesake(Instant::now()) {
            tracing::error!(
                node = %self.node,
                "another broker has this one's name, and no stop is confirmed by both: give each its own server.name",
            );
        }
        let silent = self.roster.hear(reports, Instant::now())?;
        self.remove(connection, silent).await?;
        let entries: Vec<_> =
            entries.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect();
        let nothing_read = entries.is_empty();
        let round = self.read(place, entries.into_iter().map(|entry| (entry.id, entry.map)))?;
        self.set_followed(&place.state);
        if round == Round::Gap {
            return Ok(Round::Gap);
        }
        let Some(now) = state.and_then(|text| State::parse(&text)) else { return Ok(Round::Gap) };
        if now == place.state {
            place.behind = false;
            self.view.is_up_to_date_since(asked);
            return Ok(Round::Followed);
        }
        // A write came after the log was read; if it is not in the log then, the log lost it.
        let lost = place.behind && nothing_read;
        place.behind = nothing_read;
        let ahead = now.may_follow(&place.state) && now.serial > place.state.serial;
        Ok(if ahead && !lost { Round::Followed } else { Round::Gap })
    }

    /// Applies entries for as long as each is the next.
    fn read(
        &self,
        place: &mut Place,
        entries: impl Iterator<Item = (String, HashMap<String, Value>)>,
    ) -> Result<Round, RevocationError> {
        for (id, fields) in entries {
            let fields = fields
                .into_iter()
                .map(|(name, value)| Ok((name, String::from_redis_value(value)?)))
                .collect::<Result<_, redis::ParsingError>>()
                .map_err(|err| RevocationError::Broken(err.to_string()))?;
            let entry = Entry::parse(fields);
            match entry.ok_or_else(|| RevocationError::Broken(format!("the log's entry {id}")))? {
                Entry::Left(node) if node == self.node.as_str() => self.roster.forget_namesake(),
                Entry::Left(node) => self.roster.forget(&node),
                Entry::Change { state, items } => {
                    let next = state.life == place.state.life && state.serial == place.state.serial + 1;
                    self.view.learn(|book| {
                        for item in items {
                            item.learn(book);
                        }
                        if next {
                            book.complete_to(state.point);
                            book.raise_floor(state.floor);
                        }
                    });
                    if !next {
                        return Ok(Round::Gap);
                    }
                    place.state = state;
                }
            }
            place.entry = id;
        }
        Ok(Round::Followed)
    }

    fn set_followed(&self, state: &State) {
        if self.followed().is_none_or(|followed| *followed != *state) {
            self.followed.store(Some(Arc::new(state.clone())));
            // What a push has reached meanwhile is further than what the log has told.
            let further = |before: &State| before.life == state.life && before.serial > state.serial;
            let state = Arc::new(state.clone());
            self.reached.rcu(|before| match before {
                Some(before) if further(before) => Some(Arc::clone(before)),
                _ => Some(Arc::clone(&state)),
            });
        }
    }

    /// Removes the reports of nodes that have long been silent.
    async fn remove(
        &self,
        connection: &mut MultiplexedConnection,
        silent: Vec<String>,
    ) -> Result<(), RevocationError> {
        if silent.is_empty() {
            return Ok(());
        }
        let mut remove = redis::cmd("HDEL");
        remove.arg(SEEN).arg(&silent);
        remove.exec_async(connection).await.map_err(|err| self.unfollowable(&err))?;
        silent.iter().for_each(|node| self.roster.forget(node));
        Ok(())
    }

    /// What ends the following of one connection. What refuses the follower's writes is given up for issuance too.
    fn unfollowable(&self, err: &RedisError) -> RevocationError {
        let meaning = meaning(err);
        let refuses =
            matches!(err.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly) | ErrorKind::Extension);
        if refuses && let Ok(session) = self.link.session() {
            self.link.lost(&session, meaning.to_string());
        }
        meaning
    }

    /// Takes this node off the list, and tells those that remember it.
    async fn leave(&self) -> Result<(), RevocationError> {
        let session = self.link.session()?;
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("HDEL").arg(SEEN).arg(self.node.as_str()).ignore();
        pipe.cmd("XADD").arg(LOG).arg("MAXLEN").arg("~").arg(10_000).arg("*");
        pipe.arg("left").arg(self.node.as_str()).ignore();
        pipe.exec_async(&mut session.connection()).await.map_err(|err| self.failed(&session, &err))
    }
}
