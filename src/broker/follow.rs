//! What enforcement points outside follow: the stops as a stream, and their reports of what they have seen.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::broker::kill_switch::TooManyFollowers;
use crate::broker::{Broker, Denied, KillSwitch};
use crate::domain::id::{BrokerName, FollowerName};
use crate::domain::reason::Reason;
use crate::domain::revocation::{Book, Piece, Pieces, Place, Revision};
use crate::store::StoreError;

/// What a follower that is ahead of this node waits for it to catch up.
const CATCH_UP: Duration = Duration::from_secs(2);

/// An enforcement point that is told of the stops. It holds a book, which all of them share, and no list.
pub struct Following {
    kill_switch: Arc<KillSwitch>,
    books: watch::Receiver<Arc<Book>>,
    /// What it is being told.
    telling: Option<Pieces>,
    /// Where it is when it has taken in all that it was given.
    told: Option<Place>,
}

/// What is told when nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    pub revision: Revision,
    pub floor: Revision,
    /// How old the node's own view may be; none where it cannot tell.
    pub age: Option<Duration>,
}

/// The answer to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Who holds this place, or is told of it, judged by the stops as they were `age` before this answer was asked for.
    pub now: Place,
    pub age: Duration,
    pub max_staleness: Duration,
}

impl Broker {
    pub fn name(&self) -> &BrokerName {
        &self.name
    }

    /// Who judges by an older view refuses.
    pub fn max_staleness(&self) -> Duration {
        self.kill_switch.revocation().max_staleness()
    }

    /// Begins to tell an enforcement point that has seen everything up to `since`: what changed after it where that can be
    /// told without a gap, everything where it cannot.
    ///
    /// # Errors
    /// `RevocationUnavailable` where this node knows less than the enforcement point does.
    pub async fn follow(&self, since: Option<Place>) -> Result<Following, Denied> {
        let mut books = self.kill_switch.watch();
        let book = Arc::clone(&books.borrow_and_update());
        let Some(since) = since else { return Ok(self.following(books, Pieces::all(book))) };
        let known = async |book: &Book| self.kill_switch.knows(book, &since).await;
        if since.revision <= book.revision() {
            let telling = match known(&book).await {
                Ok(true) => Pieces::since(book, since.revision),
                _ => Pieces::all(book),
            };
            return Ok(self.following(books, telling));
        }
        // It was told more by another node, or by a store that was replaced by an older copy since.
        let reached = books.wait_for(|book| book.revision() >= since.revision);
        let reached = tokio::time::timeout(CATCH_UP, reached).await;
        let is_known = matches!(reached, Ok(Ok(_)));
        drop(reached);
        let book = Arc::clone(&books.borrow_and_update());
        if is_known {
            let telling = match known(&book).await {
                Ok(true) => Pieces::since(book, since.revision),
                _ => Pieces::all(book),
            };
            return Ok(self.following(books, telling));
        }
        if self.kill_switch.age().await.is_none_or(|age| age > self.max_staleness()) {
            return Err(Reason::RevocationUnavailable.into());
        }
        let book = Arc::clone(&books.borrow_and_update());
        Ok(self.following(books, Pieces::all(book)))
    }

    fn following(&self, books: watch::Receiver<Arc<Book>>, telling: Pieces) -> Following {
        Following { kill_switch: Arc::clone(&self.kill_switch), books, telling: Some(telling), told: None }
    }

    /// Takes an enforcement point's word for what it has seen. From here on stops ask for it, for as long as it may let
    /// tokens pass by this answer.
    ///
    /// # Errors
    /// Where its key has too many; inside, `RevocationUnavailable` where this node cannot tell what is stopped.
    pub async fn seen(
        &self,
        follower: &FollowerName,
        place: Option<Place>,
    ) -> Result<Result<Seen, Denied>, TooManyFollowers> {
        let book = self.kill_switch.merged();
        let place = match place {
            // A place of another history, or one that this node has not reached, confirms nothing.
            Some(place) if self.kill_switch.knows(&book, &place).await.unwrap_or(false) => Some(place),
            _ => None,
        };
        // In this order: a stop that does not count it is in what it is answered.
        self.kill_switch.hear(follower, place).await?;
        let Some(age) = self.kill_switch.age().await else {
            return Ok(Err(Reason::RevocationUnavailable.into()));
        };
        let now = Place::of(&self.kill_switch.merged());
        Ok(Ok(Seen { now, age, max_staleness: self.max_staleness() }))
    }

    /// An enforcement point lets nothing pass any more.
    pub async fn leaves(&self, follower: &FollowerName) {
        self.kill_switch.forget_follower(follower).await;
    }

    /// Since when an enforcement point has not reported.
    pub fn silence(&self, follower: &FollowerName) -> Option<Duration> {
        self.kill_switch.silence(follower)
    }
}

impl KillSwitch {
    /// Whether what changed after `place` can be told from `book`.
    async fn knows(&self, book: &Book, place: &Place) -> Result<bool, StoreError> {
        if place.revision == book.revision() {
            return Ok(place.is_of(&book.point().mark));
        }
        if place.revision > book.revision() || place.revision < book.floor() {
            return Ok(false);
        }
        Ok(self.mark_of(place.revision).await?.is_some_and(|mark| place.is_of(&mark)))
    }
}

impl Following {
    /// The next piece of what is being told, and where the enforcement point is if it is the last; none where it has been
    /// told all. Waits for nothing.
    pub fn piece(&mut self) -> Option<(Piece, Option<Place>)> {
        let telling = self.telling.as_mut()?;
        let piece = telling.next();
        let end = telling.end();
        match piece {
            Some(piece) if piece.more => Some((piece, None)),
            Some(piece) => {
                (self.telling, self.told) = (None, Some(end));
                Some((piece, Some(end)))
            }
            None => {
                self.telling = None;
                None
            }
        }
    }

    /// Until there is something to tell.
    pub async fn change(&mut self) {
        loop {
            let book = Arc::clone(&self.books.borrow_and_update());
            let now = Place::of(&book);
            if let Some(told) = self.told
                && now.revision >= told.revision
                && now != told
            {
                self.telling = Some(match told.revision < book.floor() {
                    true => Pieces::all(book),
                    false => Pieces::since(book, told.revision),
                });
                return;
            }
            if self.books.changed().await.is_err() {
                // This holds the kill switch, which holds the sender.
                std::future::pending::<()>().await;
            }
        }
    }

    pub async fn heartbeat(&self) -> Heartbeat {
        let book = self.kill_switch.merged();
        Heartbeat { revision: book.revision(), floor: book.floor(), age: self.kill_switch.age().await }
    }

    /// Whether what the enforcement point was told is of the history that this node knows.
    pub async fn is_of_this_history(&self) -> bool {
        let Some(told) = self.told else { return true };
        let book = self.kill_switch.merged();
        told.revision < book.floor() || self.kill_switch.knows(&book, &told).await.unwrap_or(true)
    }
}
