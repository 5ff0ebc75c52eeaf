//! Reading everything that the authority holds, a part at a time, so that Redis serves others meanwhile.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;

use super::Redis;
use super::push::PART;
use super::wire::{Item, LOG, STATE, STOPS, State};
use crate::domain::revocation::Book;
use crate::revocation::RevocationError;

/// What was there: at least all that the state says, and perhaps some of what came while it was read.
pub(super) struct Loaded {
    pub(super) state: State,
    /// The last entry of the log before the reading began: all that came meanwhile is after it.
    pub(super) entry: String,
    pub(super) items: Vec<Item>,
}

impl Redis {
    pub(in crate::revocation) async fn load(&self) -> Result<Book, RevocationError> {
        let (_, mut connection) =
            self.link.open(self.link.waits.patient).await.map_err(RevocationError::Unreachable)?;
        let Loaded { state, items, .. } = self.load_over(&mut connection).await?;
        let mut book = Book::default();
        for item in items {
            item.learn(&mut book);
        }
        book.complete_to(state.point);
        book.raise_floor(state.floor);
        Ok(book)
    }

    pub(super) async fn load_over(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Loaded, RevocationError> {
        let mut connection = connection.clone();
        connection.set_response_timeout(self.link.waits.patient);
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("HGET").arg(STOPS).arg(STATE);
        pipe.cmd("XREVRANGE").arg(LOG).arg("+").arg("-").arg("COUNT").arg(1);
        let (text, last): (Option<String>, StreamRangeReply) = pipe
            .query_async(&mut connection)
            .await
            .map_err(|err| self.meaning(&err, self.link.waits.patient))?;
        let state = text.and_then(|text| State::parse(&text)).ok_or(RevocationError::Amnesia)?;
        if state.origin != self.origin {
            return Err(self.other_store(&state.origin));
        }
        let mut items = Vec::new();
        let mut cursor = 0u64;
        loop {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(STOPS).arg(cursor).arg("COUNT").arg(PART);
            let (next, fields): (u64, HashMap<String, String>) = scan
                .query_async(&mut connection)
                .await
                .map_err(|err| self.meaning(&err, self.link.waits.patient))?;
            // One that cannot be read makes the whole unreadable.
            for (field, value) in fields.iter().filter(|(field, _)| *field != STATE) {
                items.push(Item::decode(field, value)?);
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let entry = last.ids.into_iter().next().map_or_else(|| "0-0".to_owned(), |entry| entry.id);
        Ok(Loaded { state, entry, items })
    }
}
