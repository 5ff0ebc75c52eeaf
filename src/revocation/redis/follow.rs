//! Follows the log over a connection of its own, without a gap: each entry must be the next of the lineage
//! that the view holds, and each round ends with a look at the lineage itself.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamRangeReply, StreamReadReply};
use redis::{FromRedisValue, RedisError, Value};
use tokio::sync::watch;

use super::link::{RESPONSE, RETRY};
use super::merge::{Merge, REFILL};
use super::seen::redis_time;
use super::wire::{Entry, LINEAGE, LOG, Lineage, REVISION, Report, SEEN, STOPS};
use super::{Redis, is_replica, meaning, wire};
use crate::domain::revocation::StopBook;
use crate::domain::time::Timestamp;
use crate::revocation::{RevocationError, ended};

/// How often a broker reports when nothing happens.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Entries read at once.
const BATCH: usize = 512;
/// What a broker that ends waits for Redis to note it.
const FAREWELL: Duration = Duration::from_millis(500);

/// Where a follower is.
struct Place {
    lineage: Lineage,
    /// The last entry read.
    entry: String,
    /// Redis' clock, when it was last read, and when that was.
    time: (Timestamp, Instant),
    /// The last round read no entry, yet the lineage was ahead.
    behind: bool,
}

/// What a round found.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    Followed,
    /// Changes are missing, or the authority forgot.
    Gap,
    /// Changes that the view holds are not those of the authority.
    Fork,
}

impl Redis {
    pub(crate) async fn follow(
        &self,
        mut shutdown: watch::Receiver<bool>,
        book: impl Fn() -> Arc<StopBook> + Send + Sync,
    ) {
        tokio::select! {
            () = ended(&mut shutdown) => {}
            never = self.follow_for_ever(&book) => match never {},
        }
        // A Redis that does not answer forgets this broker by itself, after a minute.
        let _ = tokio::time::timeout(FAREWELL, self.leave()).await;
    }

    async fn follow_for_ever(&self, book: &(impl Fn() -> Arc<StopBook> + Send + Sync)) -> Infallible {
        let mut pause = RETRY[0];
        loop {
            let started = Instant::now();
            let Err(err) = self.follow_once(book).await;
            tracing::warn!(error = %err, "the revocation log cannot be followed");
            *self.broken.lock().unwrap_or_else(PoisonError::into_inner) =
                matches!(err, RevocationError::Broken(_)).then_some(err);
            if started.elapsed() > RETRY[1] {
                pause = RETRY[0];
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY[1]);
        }
    }

    /// Follows over one connection until it fails.
    async fn follow_once(
        &self,
        book: &(impl Fn() -> Arc<StopBook> + Send + Sync),
    ) -> Result<Infallible, RevocationError> {
        let block = HEARTBEAT.min(self.max_staleness / 4).max(Duration::from_millis(10));
        let mut connection = self.link.open(block + RESPONSE).await.map_err(RevocationError::Unreachable)?;
        let mut place = self.catch_up(&mut connection, book, Merge::Refill).await?;
        tokio::select! {
            ended = self.follow_log(&mut connection, &mut place, book, block) => ended,
            never = self.prune_for_ever() => match never {},
        }
    }

    async fn follow_log(
        &self,
        connection: &mut MultiplexedConnection,
        place: &mut Place,
        book: &(impl Fn() -> Arc<StopBook> + Send + Sync),
        block: Duration,
    ) -> Result<Infallible, RevocationError> {
        loop {
            *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.refill_session(book).await;
            let how = match self.round(connection, place, block).await? {
                Round::Followed => continue,
                Round::Gap => Merge::Refill,
                Round::Fork => Merge::RefillAfterFork,
            };
            *place = self.catch_up(connection, book, how).await?;
        }
    }

    /// So that no agent has to wait for it.
    async fn refill_session(&self, book: &impl Fn() -> Arc<StopBook>) {
        let Ok(session) = self.link.session() else { return };
        if self.trusted(&session).is_none()
            && let Err(err) = self.refill(&book()).await
        {
            tracing::warn!(error = %err, "the revocation store cannot be refilled");
        }
    }

    /// Merges the book and the view into the authority, and then the authority into the view.
    async fn catch_up(
        &self,
        connection: &mut MultiplexedConnection,
        book: &impl Fn() -> Arc<StopBook>,
        how: Merge,
    ) -> Result<Place, RevocationError> {
        self.view.learn(book().iter());
        let known = self.followed.load_full();
        self.pour(connection, how, known.as_deref()).await?;

        let asked = self.view.now();
        let mut patient = connection.clone();
        patient.set_response_timeout(REFILL);
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("HGETALL").arg(STOPS);
        pipe.cmd("XREVRANGE").arg(LOG).arg("+").arg("-").arg("COUNT").arg(1);
        pipe.cmd("TIME").cmd("HGETALL").arg(SEEN);
        type Loaded = (HashMap<String, String>, StreamRangeReply, (i64, i64), HashMap<String, String>);
        let (mut stops, last, time, reports): Loaded =
            pipe.query_async(&mut patient).await.map_err(|err| self.unfollowable(&err))?;

        let lineage = stops.remove(LINEAGE).and_then(|text| Lineage::parse(&text));
        let lineage = lineage.ok_or(RevocationError::Amnesia)?;
        // One that cannot be read makes the whole unreadable.
        let standings: Vec<_> =
            stops.iter().map(|(field, text)| wire::stored(field, text)).collect::<Result<_, _>>()?;
        self.view.learn(standings.iter().map(|(target, standing)| (target, standing)));
        let now = redis_time(time);
        let old = self.roster.hear(reports, now)?;
        if !old.is_empty() {
            let mut remove = redis::cmd("HDEL");
            remove.arg(SEEN).arg(old);
            remove.exec_async(connection).await.map_err(|err| self.unfollowable(&err))?;
        }
        self.followed.store(Some(Arc::new(lineage.clone())));
        self.view.is_up_to_date_since(asked);
        let entry = last.ids.into_iter().next().map_or_else(|| "0-0".to_owned(), |entry| entry.id);
        Ok(Place { lineage, entry, time: (now, Instant::now()), behind: false })
    }

    /// Reports where the view is, waits for changes up to `block`, and applies them.
    async fn round(
        &self,
        connection: &mut MultiplexedConnection,
        place: &mut Place,
        block: Duration,
    ) -> Result<Round, RevocationError> {
        let asked = self.view.now();
        let report = Report { at: place.time.0 + place.time.1.elapsed(), lineage: place.lineage.clone() };
        let mut pipe = redis::pipe();
        pipe.cmd("HSET").arg(SEEN).arg(self.broker.as_str()).arg(report.encode()).ignore();
        pipe.cmd("XREAD").arg("COUNT").arg(BATCH).arg("BLOCK").arg(block.as_millis().to_string());
        pipe.arg("STREAMS").arg(LOG).arg(&place.entry);
        pipe.cmd("HGET").arg(STOPS).arg(LINEAGE).cmd("GET").arg(REVISION);
        pipe.cmd("TIME").cmd("HGETALL").arg(SEEN);
        type Answer =
            (Option<StreamReadReply>, Option<String>, Option<String>, (i64, i64), HashMap<String, String>);
        let (entries, lineage, counter, time, reports): Answer =
            pipe.query_async(connection).await.map_err(|err| self.unfollowable(&err))?;

        place.time = (redis_time(time), Instant::now());
        let entries = entries.map(|reply| reply.keys).unwrap_or_default();
        let entries: Vec<_> = entries.into_iter().flat_map(|key| key.ids).collect();
        let nothing_read = entries.is_empty();
        self.roster.hear(reports, place.time.0)?;
        let round = self.read(place, entries.into_iter().map(|entry| (entry.id, entry.map)))?;
        self.followed.store(Some(Arc::new(place.lineage.clone())));
        if round != Round::Followed {
            return Ok(round);
        }

        let now = lineage.and_then(|text| Lineage::parse(&text));
        let counted = counter.and_then(|text| text.parse::<u64>().ok());
        let (Some(now), Some(counted)) = (now, counted) else { return Ok(Round::Gap) };
        if now.epoch != place.lineage.epoch || counted < now.revision || now.revision < place.lineage.revision
        {
            return Ok(Round::Gap);
        }
        if now.revision > place.lineage.revision {
            // A change came after the log was read; if it is not in the log then, the log lost it.
            let lost = place.behind && nothing_read;
            place.behind = nothing_read;
            return Ok(if lost { Round::Gap } else { Round::Followed });
        }
        place.behind = false;
        if now.chain != place.lineage.chain {
            return Ok(Round::Fork);
        }
        self.view.is_up_to_date_since(asked);
        Ok(Round::Followed)
    }

    /// Applies entries for as long as each is the next.
    fn read(
        &self,
        place: &mut Place,
        entries: impl Iterator<Item = (String, HashMap<String, Value>)>,
    ) -> Result<Round, RevocationError> {
        let mut learnt = Vec::new();
        let mut round = Round::Followed;
        for (id, fields) in entries {
            let fields = fields
                .into_iter()
                .map(|(name, value)| Ok((name, String::from_redis_value(value)?)))
                .collect::<Result<_, redis::ParsingError>>()
                .map_err(|err| RevocationError::Broken(err.to_string()))?;
            let entry = Entry::parse(fields);
            match entry.ok_or_else(|| RevocationError::Broken(format!("the log's entry {id}")))? {
                Entry::Left(broker) => self.roster.forget(&broker),
                Entry::Change { lineage, before, target, standing } => {
                    learnt.push((target, standing));
                    if lineage.epoch != place.lineage.epoch || lineage.revision > place.lineage.revision + 1 {
                        round = Round::Gap;
                        break;
                    }
                    if lineage.revision <= place.lineage.revision || before != place.lineage.chain {
                        round = Round::Fork;
                        break;
                    }
                    place.lineage = lineage;
                }
            }
            place.entry = id;
        }
        if !learnt.is_empty() {
            self.view.learn(learnt.iter().map(|(target, standing)| (target, standing)));
        }
        Ok(round)
    }

    /// What ends the following of one connection. A replica there is one for issuance too.
    fn unfollowable(&self, err: &RedisError) -> RevocationError {
        let meaning = meaning(err);
        if is_replica(err)
            && let Ok(session) = self.link.session()
        {
            self.link.lost(&session, meaning.to_string());
        }
        meaning
    }

    /// Takes this broker off the list, and tells those that remember it.
    async fn leave(&self) -> Result<(), RevocationError> {
        let session = self.link.session()?;
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("HDEL").arg(SEEN).arg(self.broker.as_str()).ignore();
        pipe.cmd("XADD").arg(LOG).arg("MAXLEN").arg("~").arg(10_000).arg("*");
        pipe.arg("left").arg(self.broker.as_str()).ignore();
        pipe.exec_async(&mut session.connection()).await.map_err(|err| self.failed(&session, &err))
    }
}
