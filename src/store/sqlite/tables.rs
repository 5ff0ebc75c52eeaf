//! The tables of this version.

/// Indexes of the events would cost on the path of every token; [`BLOCKS`] stand for them.
pub(super) const LOG: &str = "
CREATE TABLE meta(name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE events(
    seq INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, outcome TEXT NOT NULL,
    agent TEXT, owner TEXT, issuer TEXT, token TEXT, request TEXT, expires INTEGER,
    bytes TEXT NOT NULL
) STRICT;
CREATE TABLE tiles(
    level INTEGER NOT NULL, place INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(level, place)
) STRICT, WITHOUT ROWID;
";

/// How far the log is, and the kill switch.
pub(super) const HEAD: &str = "
CREATE TABLE head(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL, root BLOB NOT NULL, peaks BLOB NOT NULL,
    latest INTEGER NOT NULL, skew INTEGER NOT NULL,
    revision INTEGER NOT NULL, floor INTEGER NOT NULL
) STRICT;
";

/// The stops, and every change of the kill switch by its number: its event, and the token that ended by it.
pub(super) const STOPS: &str = "
CREATE TABLE stops(
    id TEXT PRIMARY KEY NOT NULL, target TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL,
    operator TEXT, seq INTEGER NOT NULL UNIQUE, revision INTEGER NOT NULL UNIQUE,
    lift_at INTEGER, lift_reason TEXT, lift_operator TEXT, lift_seq INTEGER UNIQUE, lift_revision INTEGER UNIQUE
) STRICT;
CREATE UNIQUE INDEX stops_active ON stops(target) WHERE lift_at IS NULL;
CREATE TABLE changes(revision INTEGER PRIMARY KEY, seq INTEGER NOT NULL, ended TEXT) STRICT;
";

/// The sealed keys.
pub(super) const KEYS: &str = "
CREATE TABLE signing_keys(
    kid TEXT PRIMARY KEY NOT NULL, purpose TEXT NOT NULL, algorithm TEXT NOT NULL,
    created INTEGER NOT NULL, signs_from INTEGER NOT NULL, sealed BLOB NOT NULL
) STRICT;
";

/// By which events are found.
pub(super) const BLOCKS: &str = "
CREATE TABLE blocks(
    block INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL
) STRICT;
CREATE TABLE terms(
    term TEXT NOT NULL, block INTEGER NOT NULL, PRIMARY KEY(term, block)
) STRICT, WITHOUT ROWID;
";
