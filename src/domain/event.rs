//! One line of the audit log, and what it can be found by.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::confirmation::Confirmation;
use crate::domain::digest::Digest;
use crate::domain::grant::Permissions;
use crate::domain::id::{AgentId, OperatorName, Owner, RequestId, StopId, TokenId};
use crate::domain::identity::Workload;
use crate::domain::revocation::{Revision, Target};
use crate::domain::signing::KeyRecord;
use crate::domain::time::{NumericDate, Seconds, Timestamp};

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $type {
            $(#[serde(rename = $text)] $variant,)*
        }

        impl $type {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let names: Vec<_> = Self::ALL.iter().map(|word| word.as_str()).collect();
                let found = Self::ALL.iter().find(|word| word.as_str() == text);
                found.copied().ok_or_else(|| format!("one of {}", names.join(", ")))
            }
        }
    };
}

words!(
    /// What happened.
    Kind {
        TokenIssued = "token.issued",
        TokenRefused = "token.refused",
        RevocationStopped = "revocation.stopped",
        RevocationLifted = "revocation.lifted",
        RevocationScheduled = "revocation.scheduled",
        DrillPassed = "drill.passed",
        DrillFailed = "drill.failed",
        RegistryLoaded = "registry.loaded",
        RegistryRejected = "registry.rejected",
        ConfigurationLoaded = "configuration.loaded",
        ConfigurationRejected = "configuration.rejected",
        KeyRotated = "key.rotated",
        BrokerStarted = "broker.started",
        BrokerStopped = "broker.stopped",
        StoreRestored = "store.restored",
        LogNamed = "log.named",
        OperatorRefused = "operator.refused",
        RefusalsCounted = "refusals.counted",
    }
);

words!(
    /// How it ended.
    Outcome {
        Issued = "issued",
        Refused = "refused",
        Done = "done",
    }
);

/// One event, before the log gives it its `seq`. Holds no secret: a token is its id and its hash.
///
/// The log stores the JSON of this with `seq` as its first member, byte for byte as it was hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub at: Timestamp,
    pub kind: Kind,
    pub outcome: Outcome,
    /// A reason code for a refusal, a person's words for a stop or a lift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<Digest>,
    /// What the token is bound to; a bearer token's event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TokenId>,
    /// The token's `authorization_details`.
    #[serde(default, skip_serializing_if = "permissions_are_none")]
    pub permissions: Permissions,
    /// Of a token from `at`, whose whole second is its `iat`, to its `exp`. How long a stop lasts, from `at` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Seconds>,
    /// The last change of the kill switch that was known: when the token was decided its `as_of`, else when the event was
    /// given to the log. A change has its own number instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Revision>,
    /// `sha256:…` of the registry revision that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The address the call came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The stop that began or was lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopId>,
    /// The id of a stop whose target was stopped already: `stop` is the one in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<StopId>,
    /// The number that the store gave to this change of the kill switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// One hash over all stops in force after this change of the kill switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<Digest>,
    /// With this change every token that was decided before this number is dead: it has expired, or the history that it
    /// belongs to was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Revision>,
    /// The origin of the log, which is its name for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Signing keys that are in the store from then on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyRecord>,
    /// The `kid` of a signing key that is in the store no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_key: Option<String>,
    /// What else a reader should know, in words that hallpass wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

fn permissions_are_none(permissions: &Permissions) -> bool {
    permissions.is_empty()
}

impl Event {
    pub fn new(at: Timestamp, kind: Kind, outcome: Outcome) -> Self {
        Self {
            at,
            kind,
            outcome,
            reason: None,
            agent: None,
            owner: None,
            workload: None,
            token: None,
            token_sha256: None,
            cnf: None,
            parent: None,
            permissions: Permissions::default(),
            ttl: None,
            as_of: None,
            registry: None,
            request: None,
            peer: None,
            operator: None,
            approval: None,
            target: None,
            stop: None,
            again: None,
            revision: None,
            in_force: None,
            floor: None,
            origin: None,
            keys: Vec::new(),
            removed_key: None,
            detail: None,
        }
    }

    /// When the issued token expires.
    pub fn expires(&self) -> Option<NumericDate> {
        let ttl = self.ttl?;
        (self.kind == Kind::TokenIssued).then(|| NumericDate::from(self.at) + ttl)
    }
}

/// What an auditor asks for. Every part that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub agent: Option<AgentId>,
    pub owner: Option<Owner>,
    pub kind: Option<Kind>,
    pub outcome: Option<Outcome>,
    /// A permission's name or URL, in any of its [`spellings`](crate::domain::permission::spellings).
    pub resource: Option<String>,
    pub token: Option<TokenId>,
    pub request: Option<RequestId>,
    /// At or after.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}
