//! The law itself, without a book: stops as they were said, and a look at each of them.

use std::collections::BTreeMap;

use hallpass::domain::id::TokenId;
use hallpass::domain::revocation::{Holder, Revision, Target};

pub(super) fn holder(n: u8) -> Holder {
    let name = |what: &str, n: u8| format!("{what}-{n}");
    Holder {
        agent: name("agent", n % 4).parse().unwrap(),
        owner: name("team", n % 2).parse().unwrap(),
        issuer: name("ci", n % 3).parse().unwrap(),
    }
}

/// One token, and what the law reads in it.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) chain: Vec<(TokenId, Revision, Holder)>,
    /// A check has found it dead: it never lives again.
    pub(super) dead: bool,
}

/// What the law knows: stops as they were said, without a book.
#[derive(Clone, Default)]
pub(super) struct Law {
    pub(super) in_force: BTreeMap<Target, Revision>,
    pub(super) last_stop: BTreeMap<Target, Revision>,
    pub(super) ended: Vec<TokenId>,
    /// Every token that was decided before is dead: the store was restored.
    pub(super) everything_before: Revision,
}

impl Law {
    pub(super) fn covers(holder: &Holder, token: Option<TokenId>) -> Vec<Target> {
        let Holder { agent, owner, issuer } = holder.clone();
        let mut targets =
            vec![Target::Everything, Target::Issuer(issuer), Target::Owner(owner), Target::Agent(agent)];
        targets.extend(token.map(Target::Token));
        targets
    }

    pub(super) fn kills(&self, token: &Token) -> bool {
        token.chain.iter().any(|(id, as_of, holder)| {
            self.ended.contains(id)
                || *as_of < self.everything_before
                || Self::covers(holder, Some(*id)).iter().any(|target| {
                    self.in_force.contains_key(target)
                        || self.last_stop.get(target).is_some_and(|stopped| stopped > as_of)
                })
        })
    }

    pub(super) fn stop(&mut self, target: &Target, now: Revision) {
        self.in_force.insert(target.clone(), now);
        self.last_stop.insert(target.clone(), now);
    }
}
