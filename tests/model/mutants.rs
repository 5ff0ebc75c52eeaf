//! Rules that are broken on purpose: the checker has to find what each of them leads to.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A node reports Redis's state before its view has learned what came with it.
    ConfirmsBeforeItApplies,
    /// A confirmation of a stop without a number is read over another connection than the one it was pushed over.
    ConfirmsOverAnotherConnection,
    /// Redis keeps of two standings the one with the later instant, and a node's clock is behind.
    MergesByTime,
    /// A Redis that is empty or older than it was is believed.
    ForgetsAmnesia,
    /// A push does not look at what is there: neither whether it is still as it was read, nor which change is later.
    PushesBlindly,
    /// The transaction of an issuance does not ask the stops as committed, but the node's copy of them.
    IssuesByItsCopy,
    /// A node releases a token without a last look at what it has confirmed meanwhile.
    ReleasesUnasked,
    /// While Redis is away, a node relies on a store that may have been restored from an older copy.
    TrustsRestoredStore,
    /// What a restored store lost is taken over, and the tokens of the lost history stay alive.
    TakesOverWithoutFloor,
    /// Only stops in force count, and not the last one.
    LiftRevives,
    /// While Redis is away, a node is judged by its copy of the stops, and not by the store's head.
    FallsBackToItsCopy,
    /// A node takes another node's token for one of a lost history, because its copy of the store is older.
    TakesOverByItsCopy,
    /// A node's view forgets a stop without a number before it has learned it with its number.
    ForgetsBeforeItLearns,
    /// `revoke` knows only the nodes of which it heard through Redis.
    KnowsNodesFromRedisAlone,
}
