//! Who and what a stop can hit of a token: the levels of law 2, built in one place.

use crate::domain::id::{AgentId, IssuerName, Owner, TokenId};
use crate::domain::revocation::{Revision, Target};

/// Who holds a token, as far as a stop can hit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub agent: AgentId,
    pub owner: Owner,
    pub issuer: IssuerName,
}

/// One token of a chain, or the request for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub holder: Holder,
    /// The token's id and the revision that it was decided at; none before it is decided.
    pub token: Option<(TokenId, Revision)>,
}

/// The levels that cover a token or a request: its own, and those of every token that it was handed down from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    nearest: Link,
    /// The nearest first.
    above: Vec<Link>,
}

impl Levels {
    /// The levels of a request for a token that nobody hands down.
    pub fn asked_by(holder: Holder) -> Self {
        Self { nearest: Link { holder, token: None }, above: Vec::new() }
    }

    /// The levels of a token that nobody handed down.
    pub fn of(token: TokenId, as_of: Revision, holder: Holder) -> Self {
        Self::asked_by(holder).decided(token, as_of)
    }

    /// The levels of the last token of a chain, each handed down from the one before; none of an empty chain.
    pub fn of_chain(tokens: impl IntoIterator<Item = (TokenId, Revision, Holder)>) -> Option<Self> {
        tokens.into_iter().fold(None, |above: Option<Self>, (token, as_of, holder)| {
            let asked = match above {
                None => Self::asked_by(holder),
                Some(above) => above.handed_to(holder),
            };
            Some(asked.decided(token, as_of))
        })
    }

    /// The levels of a request for what is handed down from a token of these, by another holder.
    pub fn handed_to(self, holder: Holder) -> Self {
        let mut above = Vec::with_capacity(1 + self.above.len());
        above.push(self.nearest);
        above.extend(self.above);
        Self { nearest: Link { holder, token: None }, above }
    }

    /// The same, once the request has become this token.
    pub fn decided(mut self, token: TokenId, as_of: Revision) -> Self {
        self.nearest.token = Some((token, as_of));
        self
    }

    /// Who holds the token or asks for it.
    pub fn holder(&self) -> &Holder {
        &self.nearest.holder
    }

    /// The nearest first.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        std::iter::once(&self.nearest).chain(&self.above)
    }

    /// Every target whose stop covers this, the widest first.
    pub fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::with_capacity(4 * (1 + self.above.len()) + 1);
        targets.push(Target::Everything);
        targets.extend(self.links().map(|link| Target::Issuer(link.holder.issuer.clone())));
        targets.extend(self.links().map(|link| Target::Owner(link.holder.owner.clone())));
        targets.extend(self.links().map(|link| Target::Agent(link.holder.agent.clone())));
        targets.extend(self.links().filter_map(|link| Some(Target::Token(link.token?.0))));
        targets
    }
}

impl Link {
    /// The targets whose stop covers this link alone, the widest first, but for `everything`.
    pub fn targets(&self) -> [Option<Target>; 4] {
        let Holder { agent, owner, issuer } = &self.holder;
        [
            Some(Target::Issuer(issuer.clone())),
            Some(Target::Owner(owner.clone())),
            Some(Target::Agent(agent.clone())),
            self.token.map(|(token, _)| Target::Token(token)),
        ]
    }
}
