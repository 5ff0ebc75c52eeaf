//! Follows the log over a connection of its own, without a gap: each entry must be the next write of the life
//! that the view holds, and each round ends with a look at the state itself.

mod level;
mod round;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::sync::watch;

use super::Redis;
use super::link::RETRY;
use super::load::Loaded;
use super::wire::{Item, LOG, SEEN, State};
use crate::revocation::view::SinceStart;
use crate::revocation::{RevocationError, Source, ended};

/// How often a node reports when nothing happens.
const HEARTBEAT: Duration = Duration::from_millis(500);
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
enum Found {
    Followed,
    /// Writes are missing, or the authority forgot.
    Gap,
}

impl Redis {
    pub(crate) async fn follow(&self, mut shutdown: watch::Receiver<bool>, source: &impl Source) {
        tokio::select! {
            () = ended(&mut shutdown) => {}
            never = self.follow_for_ever(source) => match never {},
            never = self.refill_for_ever(source) => match never {},
        }
        // A Redis that does not answer forgets this node by itself, after a minute.
        let _ = tokio::time::timeout(FAREWELL, self.leave()).await;
    }

    async fn follow_for_ever(&self, source: &impl Source) -> Infallible {
        let mut pause = RETRY[0];
        loop {
            let started = Instant::now();
            let Err(err) = self.follow_once(source).await;
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
        self.note_left_behind(&self.view.book(), &source.unnumbered(), source).await;
        // Read before the book, which then has them with their numbers.
        let numbered = self.numbered();
        let Ok(book) = source.book().await else { return };
        self.view.learn_book(&book);
        self.forget_in_view(&numbered);
    }

    /// Follows over one connection until it fails.
    async fn follow_once(&self, source: &impl Source) -> Result<Infallible, RevocationError> {
        let block = HEARTBEAT.min(self.max_staleness / 4).max(Duration::from_millis(10));
        let (at, mut connection) =
            self.link.open(block + self.link.waits.response).await.map_err(RevocationError::Unreachable)?;
        let mut place = self.catch_up(&mut connection, source).await?;
        tokio::select! {
            () = self.link.leaves(&at) => {
                Err(RevocationError::Unreachable(format!("{at} is the primary no more")))
            }
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
                Found::Followed => {
                    self.set_trouble(None);
                    self.keep_level(place, source).await?;
                    if source.must_compare() {
                        *place = self.catch_up(connection, source).await?;
                    }
                }
                Found::Gap => *place = self.catch_up(connection, source).await?,
            }
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

    /// What ends the following of one connection. What refuses the follower's writes is given up for issuance too.
    fn unfollowable(&self, err: &RedisError) -> RevocationError {
        let meaning = self.meaning(err, HEARTBEAT + self.link.waits.response);
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
