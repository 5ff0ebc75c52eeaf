//! What verifiers ask about a token: introspection (RFC 7662).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::broker::{Broker, Denied};
use crate::domain::permission::Origin;
use crate::domain::revocation::Book;
use crate::token::Claims;

/// Whom the answer is for.
pub enum Audience<'a> {
    /// An operator: every token.
    Operator,
    /// A resource server: tokens whose `aud` holds one of its origins.
    Origins(&'a BTreeSet<Origin>),
}

pub enum Inspection {
    Active(Arc<Claims>),
    /// Dead, expired, forged, or not meant for the one who asks: no difference is told.
    Inactive,
}

impl Broker {
    /// Whether `token` is good now. Asks the kill switch itself, so a stop shows at once.
    pub async fn introspect(&self, token: &str, audience: Audience<'_>) -> Result<Inspection, Denied> {
        let Ok(claims) = self.keys.verify(token, &self.issuer, self.now()).await else {
            return Ok(Inspection::Inactive);
        };
        self.notice_lost_history(&claims).await;
        let meant = match audience {
            Audience::Operator => true,
            Audience::Origins(origins) => claims.aud.iter().any(|origin| origins.contains(origin)),
        };
        if !meant || self.kill_switch.verdict(&claims.levels()).await?.is_dead() {
            return Ok(Inspection::Inactive);
        }
        Ok(Inspection::Active(claims))
    }

    /// A token that was decided after more changes than the store knows tells of a history that was lost.
    pub(super) async fn notice_lost_history(&self, claims: &Claims) {
        if claims.as_of <= self.store.seen().revision() {
            return;
        }
        // Another node may have made the changes. A store that cannot say so is down, and not an older one.
        let is_unknown = |book: Arc<Book>| claims.as_of > book.revision();
        if self.kill_switch.stored().await.is_ok_and(is_unknown) {
            self.kill_switch.take_over_unknown(claims.as_of).await;
        }
    }
}
