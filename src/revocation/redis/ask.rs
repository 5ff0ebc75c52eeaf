//! Asking the authority: questions that arrive while one is on its way go together in the next.
//!
//! The question is how far the authority is. Where this node's view has followed it just as far, the view says
//! all there is to know; else the authority is asked about the targets themselves. Either answer is as exact as
//! if each had asked alone, for a round is closed before it is sent: whoever is in it asked before. A thousand
//! agents at once cost a handful of round trips.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::Redis;
use super::wire::{self, Item, STATE, STOPS, State};
use crate::domain::revocation::{Book, Levels, Target};
use crate::revocation::RevocationError;

/// The round that is open for questions, and the turn to send one.
#[derive(Debug, Default)]
pub(super) struct Asking {
    open: Mutex<Option<Arc<Question>>>,
    turn: tokio::sync::Mutex<()>,
}

/// Whether the view holds all that the authority does, asked once for everyone in it.
type Question = OnceCell<Result<bool, RevocationError>>;

impl Asking {
    fn join(&self) -> Arc<Question> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(open.get_or_insert_default())
    }

    /// From now on nobody joins `round`.
    fn close(&self, round: &Arc<Question>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, round)) {
            *open = None;
        }
    }
}

impl Redis {
    pub(in crate::revocation) async fn ask(&self, levels: &Levels) -> Result<Arc<Book>, RevocationError> {
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
            Ok(true) => Ok(self.view.book()),
            Ok(false) => self.standings(&levels.targets()).await.map(Arc::new),
            Err(error) => Err(error.clone()),
        }
    }

    /// Whether the view holds every change that the authority does, if that can be trusted.
    async fn followed_all(&self) -> Result<bool, RevocationError> {
        self.usable_or_err()?;
        let session = self.link.session()?;
        self.trusted(&session)?;
        let before = self.reached();
        let mut command = redis::cmd("HGET");
        command.arg(STOPS).arg(STATE);
        let text: Option<String> = command
            .query_async(&mut session.connection())
            .await
            .map_err(|err| self.failed(&session, &err))?;
        let now = self.check(text.as_deref(), before.as_deref())?;
        // What `followed` tells of is in the view already.
        Ok(self.followed().is_some_and(|followed| *followed == now))
    }

    /// A book of what the authority says of `targets` alone.
    async fn standings(&self, targets: &[Target]) -> Result<Book, RevocationError> {
        let session = self.link.session()?;
        self.trusted(&session)?;
        let fields: Vec<String> =
            targets.iter().flat_map(|target| [target.to_string(), wire::unnumbered_field(target)]).collect();
        let before = self.reached();
        let mut command = redis::cmd("HMGET");
        command.arg(STOPS).arg(STATE).arg(&fields);
        let values: Vec<Option<String>> = command
            .query_async(&mut session.connection())
            .await
            .map_err(|err| self.failed(&session, &err))?;
        let mut values = values.into_iter();
        let state = self.check(values.next().flatten().as_deref(), before.as_deref())?;
        if values.len() != fields.len() {
            return Err(RevocationError::Broken("an answer of the wrong length".into()));
        }
        let mut book = Book::default();
        for (field, value) in fields.iter().zip(values) {
            if let Some(value) = value {
                Item::decode(field, &value)?.learn(&mut book);
            }
        }
        book.complete_to(state.point);
        book.raise_floor(state.floor);
        Ok(book)
    }

    /// The state of an answer, if the authority still holds all that this node had seen in it `before` it asked. A push
    /// may have gone further meanwhile.
    fn check(&self, text: Option<&str>, before: Option<&State>) -> Result<State, RevocationError> {
        let text = text.ok_or_else(|| {
            self.distrust();
            RevocationError::Amnesia
        })?;
        let state = State::parse(text).ok_or_else(|| RevocationError::Broken("the state".to_owned()))?;
        if state.origin != self.origin {
            return Err(self.other_store(&state.origin));
        }
        match before {
            Some(before) if !state.may_follow(before) => {
                self.distrust();
                Err(RevocationError::Amnesia)
            }
            _ => Ok(state),
        }
    }
}
