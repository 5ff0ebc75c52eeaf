//! The authority of a store that lost its keys, or was lost itself: the store that goes on in its place inherits it.
//!
//! A store is told by its log's name and its checkpoint key. Where the operator has given up the key, the name alone must be
//! the same. What the authority has in force is taken over then, as from a store that was restored.

use redis::Script;

use super::Redis;
use super::wire::{STOPS, State};
use crate::revocation::RevocationError;

/// How often it is tried while other nodes write.
const ATTEMPTS: usize = 8;

fn name(origin: &str) -> Option<&str> {
    origin.rsplit_once('+').map(|(name, _)| name)
}

impl Redis {
    /// Makes the authority that of this store, if it served one of the same name.
    ///
    /// # Errors
    /// `Unreachable`: nobody knows whose it is.
    pub(super) async fn inherit(&self) -> Result<(), RevocationError> {
        let mut connection = self.link.session()?.connection();
        let script = Script::new(include_str!("inherit.lua"));
        for _ in 0..ATTEMPTS {
            let Some(state) = self.state(&mut connection).await? else { return Ok(()) };
            if state.origin == self.origin || name(&state.origin) != name(&self.origin) {
                return Ok(());
            }
            let ours = State { origin: self.origin.clone(), ..state.clone() };
            let mut invocation = script.key(STOPS);
            invocation.arg(state.to_string()).arg(ours.to_string());
            let changed: bool = invocation
                .invoke_async(&mut connection)
                .await
                .map_err(|err| self.meaning(&err, self.link.waits.response))?;
            if changed {
                tracing::warn!(from = %state.origin, to = %self.origin, "this Redis serves the store that goes on from now on");
                return Ok(());
            }
        }
        Err(RevocationError::Unreachable("other nodes write to it without a pause".to_owned()))
    }
}
