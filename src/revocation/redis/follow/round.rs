//! One round: reports where this node is, reads what was written meanwhile, and applies it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::streams::StreamReadReply;
use redis::{FromRedisValue, Value};

use super::{Found, Place};
use crate::revocation::redis::Redis;
use crate::revocation::redis::roster::Report;
use crate::revocation::redis::wire::{Entry, LOG, SEEN, STATE, STOPS, State};
use crate::revocation::view::SinceStart;
use crate::revocation::{RevocationError, Source};

/// Entries read at once.
const BATCH: usize = 512;

/// The answer of one round: entries, the state, the nodes' reports.
type Answer = (Option<StreamReadReply>, Option<String>, HashMap<String, String>);

impl Redis {
    /// Reports where the view is, waits for writes up to `block`, and applies them.
    pub(super) async fn round(
        &self,
        connection: &mut MultiplexedConnection,
        place: &mut Place,
        source: &impl Source,
        block: Duration,
    ) -> Result<Found, RevocationError> {
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
        if round == Found::Gap {
            return Ok(Found::Gap);
        }
        let Some(now) = state.and_then(|text| State::parse(&text)) else { return Ok(Found::Gap) };
        if now == place.state {
            place.behind = false;
            self.view.is_up_to_date_since(asked);
            return Ok(Found::Followed);
        }
        // A write came after the log was read; if it is not in the log then, the log lost it.
        let lost = place.behind && nothing_read;
        place.behind = nothing_read;
        let ahead = now.may_follow(&place.state) && now.serial > place.state.serial;
        Ok(if ahead && !lost { Found::Followed } else { Found::Gap })
    }

    /// Applies entries for as long as each is the next.
    fn read(
        &self,
        place: &mut Place,
        entries: impl Iterator<Item = (String, HashMap<String, Value>)>,
    ) -> Result<Found, RevocationError> {
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
                        return Ok(Found::Gap);
                    }
                    place.state = state;
                }
            }
            place.entry = id;
        }
        Ok(Found::Followed)
    }

    pub(super) fn set_followed(&self, state: &State) {
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
}
