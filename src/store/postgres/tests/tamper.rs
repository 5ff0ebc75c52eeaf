//! What the owner of the database changes is named by `verify`, and a start refuses where it could set somebody free.

use super::nodes::place;
use super::*;
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::revocation::{Revision, Target};
use crate::store::tests::*;
use crate::store::{Adoption, Difference, StoreError};

type Events = (u64, u64);

/// Copies of one database, each for one change.
struct Template(String);

impl Template {
    fn of(place: Place) -> Self {
        let Place::Postgres(name) = place else { panic!() };
        Self(name)
    }

    /// A copy with the change.
    fn with(&self, sql: &str) -> Place {
        let server = PostgresServer::shared();
        let (copy, template) = (server.database(), &self.0);
        // A session that was closed a moment ago is in the way of a copy.
        server.sql(
            "postgres",
            &format!(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{template}';
                 drop database {copy}; create database {copy} template {template} owner hallpass"
            ),
        );
        let copy = Place::Postgres(copy);
        copy.tamper(&format!(
            "CREATE FUNCTION pg_temp.zeroblob(n int) RETURNS bytea LANGUAGE sql AS 'SELECT decode(repeat(''00'', n), ''hex'')';
             SET check_function_bodies = off; {}",
            sql.replace("zeroblob", "pg_temp.zeroblob")
        ));
        copy
    }
}

/// A log of 600 events, the first of which names it, with two stops, one of them lifted: the stops are events 301 and
/// 302, the lift 303.
async fn log() -> Template {
    let place = place();
    let store = place.open().await;
    store.set_origin("log.acme", named()).await.unwrap();
    let events = async |numbers: std::ops::Range<u64>| {
        let waiting = numbers.map(async |n| match n % 3 {
            0 => store.append(refused(n, n as i64)).await.unwrap(),
            _ => issue(&store, n, n as i64).await,
        });
        futures_util::future::join_all(waiting).await;
    };
    events(1..300).await;
    let first =
        store.stop(stop_of(1, Target::Agent("other".parse().unwrap()), 300), stopped(300)).await.unwrap();
    store.stop(stop_of(2, Target::Owner("other".parse().unwrap()), 300), stopped(300)).await.unwrap();
    store.lift(first.id, lift_at(400), lifted()).await.unwrap();
    events(303..600).await;
    store.close().await;
    assert_eq!(place.verify().unwrap().size, 600);
    Template::of(place)
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rows_are_named() {
    let log = log().await;
    let changes: &[(&str, &[Events])] = &[
        ("UPDATE events SET bytes = replace(bytes, 'github', 'gitlab') WHERE seq = 5", &[(5, 5)]),
        ("UPDATE events SET bytes = bytes || ' ' WHERE seq = 600", &[(600, 600)]),
        ("UPDATE events SET bytes = '' WHERE seq = 1", &[(1, 1)]),
        ("UPDATE events SET leaf = zeroblob(32) WHERE seq = 77", &[(77, 77)]),
        ("UPDATE events SET leaf = zeroblob(31) WHERE seq = 77", &[(77, 77)]),
        ("UPDATE events SET agent = NULL WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET owner = 'x' WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET token = NULL WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET request = 'x' WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET issuer = 'x' WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET at = at + 1 WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET expires = 0 WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET kind = 'token.refused' WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET outcome = 'done' WHERE seq = 8", &[(8, 8)]),
        // The blocks and the terms.
        ("DELETE FROM terms WHERE term = 'resource ledger' AND block = 1", &[(257, 512)]),
        ("INSERT INTO terms VALUES ('resource x', 1)", &[(257, 512)]),
        ("INSERT INTO terms VALUES ('resource ledger', 2)", &[(513, 768)]),
        ("DELETE FROM blocks WHERE block = 1", &[(257, 512)]),
        ("UPDATE blocks SET latest = latest - 1 WHERE block = 0", &[(1, 256)]),
        ("INSERT INTO blocks VALUES (2, 0, 0)", &[(513, 768)]),
        // Events that go, come or trade places.
        ("DELETE FROM events WHERE seq = 600", &[(600, 600)]),
        ("DELETE FROM events WHERE seq BETWEEN 500 AND 510", &[(500, 510)]),
        ("UPDATE events SET seq = 601 WHERE seq = 20", &[(20, 20)]),
        (
            "INSERT INTO events SELECT 601, leaf, at, kind, outcome, agent, owner, issuer, token, request,
             expires, bytes FROM events WHERE seq = 600",
            &[(601, 601), (601, 601)],
        ),
        (
            "INSERT INTO events SELECT 0, leaf, at, kind, outcome, agent, owner, issuer, token, request,
             expires, bytes FROM events WHERE seq = 600",
            &[(1, 1)],
        ),
        // The tree.
        ("UPDATE tiles SET hash = zeroblob(32) WHERE place = 1", &[(257, 512)]),
        ("DELETE FROM tiles WHERE place = 0", &[(1, 256)]),
        ("UPDATE head SET size = 599", &[(600, 600)]),
        ("UPDATE head SET size = 700", &[(601, 700)]),
        ("UPDATE head SET peaks = zeroblob(32) || substr(peaks, 33)", &[(1, 512)]),
        // The stops and the changes.
        ("DELETE FROM stops WHERE seq = 302", &[(302, 302)]),
        ("UPDATE stops SET target = 'agent:agent-1' WHERE seq = 302", &[(302, 302)]),
        ("UPDATE stops SET reason = 'x' WHERE seq = 302", &[(302, 302)]),
        ("UPDATE stops SET revision = 9 WHERE seq = 302", &[(302, 302)]),
        ("UPDATE stops SET id = 'no id' WHERE seq = 302", &[(302, 302)]),
        ("DELETE FROM changes WHERE revision = 2", &[(302, 302)]),
        ("UPDATE changes SET ended = 'x' WHERE revision = 1", &[(301, 301)]),
        ("UPDATE changes SET seq = 5 WHERE revision = 3", &[(303, 303)]),
        ("UPDATE stops SET lift_reason = 'x' WHERE lift_seq = 303", &[(303, 303)]),
        (
            "UPDATE events SET agent = 'x' WHERE seq = 400; DELETE FROM stops WHERE seq = 302",
            &[(302, 302), (400, 400)],
        ),
    ];
    for (sql, expected) in changes {
        let found: Vec<_> = log.with(sql).differences().iter().map(Difference::events).collect();
        assert_eq!(found, expected.iter().copied().map(Some).collect::<Vec<_>>(), "{sql}");
    }
    for sql in [
        "UPDATE head SET root = zeroblob(32)",
        "UPDATE head SET skew = skew + 1",
        "INSERT INTO tiles VALUES (16, 0, zeroblob(32))",
        "DELETE FROM head",
    ] {
        let found = log.with(sql).differences();
        assert!(matches!(found[..], [Difference::Head(_)]), "{sql}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_table_of_hallpass_is_named() {
    let log = log().await;
    let nothing =
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE";
    let in_place = "ALTER TABLE stops RENAME TO other; CREATE VIEW stops AS SELECT * FROM other";
    // Those after which a stop could be hidden from a start, too.
    let hiding = [
        (format!("{nothing} TRIGGER quiet BEFORE INSERT ON stops FOR EACH ROW EXECUTE FUNCTION nothing()"), "a trigger, quiet of stops"),
        (format!("{nothing} CONSTRAINT TRIGGER late AFTER INSERT ON events DEFERRABLE FOR EACH ROW EXECUTE FUNCTION nothing()"), "a trigger, late of events"),
        ("CREATE RULE quiet AS ON INSERT TO stops DO INSTEAD NOTHING".to_owned(), "a rule, quiet of stops"),
        ("ALTER TABLE stops ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON stops USING (false)".to_owned(), "a policy, none of stops"),
        (in_place.to_owned(), "a view in the place of stops"),
        ("ALTER TABLE stops ADD CHECK (target <> 'agent:agent-1')".to_owned(), "a constraint, stops_target_check of stops"),
        ("CREATE TABLE all_targets AS SELECT target FROM stops; ALTER TABLE all_targets ADD UNIQUE (target); ALTER TABLE stops ADD FOREIGN KEY (target) REFERENCES all_targets(target) ON DELETE CASCADE".to_owned(), "a constraint, stops_target_fkey of stops"),
        ("CREATE TABLE more() INHERITS (stops)".to_owned(), "a table that is part of stops"),
    ];
    for (sql, expected) in &hiding {
        let copy = log.with(sql);
        let found = copy.differences();
        assert!(found.contains(&Difference::Schema((*expected).to_owned())), "{sql}: {found:?}");
        let error = copy.try_open().await.unwrap_err();
        assert!(matches!(error, StoreError::Differs(_)), "{sql}: {error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    for (sql, expected) in [
        ("ALTER TABLE events ADD COLUMN more text", "the column events.more"),
        ("ALTER TABLE stops ALTER COLUMN reason SET DEFAULT 'x'", "the column stops.reason"),
        ("ALTER TABLE stops ALTER COLUMN reason DROP NOT NULL", "the column stops.reason"),
        ("ALTER TABLE terms ALTER COLUMN term TYPE text COLLATE \"POSIX\"", "the column terms.term"),
        (
            "CREATE DOMAIN words AS text; ALTER TABLE stops ALTER COLUMN reason TYPE words",
            "the column stops.reason",
        ),
        ("CREATE INDEX more ON events(token)", "the index more"),
        ("DROP INDEX stops_active", "the index stops_active"),
        ("ALTER TABLE stops DROP CONSTRAINT stops_lift_seq_key", "the index stops_lift_seq_key"),
        (
            "DROP INDEX stops_active; CREATE UNIQUE INDEX stops_active ON stops(target) WHERE lift_at IS NULL AND seq <> 302",
            "the index stops_active",
        ),
        ("ALTER TABLE terms DROP CONSTRAINT terms_pkey", "the index terms_pkey"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'stops_active'::regclass",
            "the index stops_active",
        ),
        ("CREATE TABLE users(id int); ALTER TABLE users OWNER TO hallpass", "the column users.id"),
        ("DROP TABLE signing_keys", "the column signing_keys.algorithm"),
    ] {
        let found = log.with(sql).differences();
        assert!(found.contains(&Difference::Schema(expected.to_owned())), "{sql}: {found:?}");
    }
}

/// Events 1 to 3 stop agents 1 to 3, event 4 lifts the first, and 5 ends a token.
async fn stopped_twice(others: u64) -> Template {
    let place = place();
    let store = place.open().await;
    let stop = async |n| store.stop(stop_of(n, Target::Agent(agent(n)), 0), stopped(0)).await.unwrap();
    let first = stop(1).await;
    stop(2).await;
    stop(3).await;
    store.lift(first.id, lift_at(9), lifted()).await.unwrap();
    store.end(token(7), stopped(9)).await.unwrap();
    refuse(&store, 0..others).await;
    store.close().await;
    Template::of(place)
}

async fn refuses(template: &Template, changes: &[&str]) {
    for sql in changes {
        let copy = template.with(sql);
        let error = copy.try_open().await.unwrap_err();
        assert!(matches!(error, StoreError::Differs(_)), "{sql}: {error}");
        assert!(copy.verify().is_err(), "{sql}");
    }
    let store = template.with("").open().await;
    assert_eq!(store.seen().verdict(&asked(1)).stopped, None);
    for n in [2, 3] {
        assert_eq!(store.seen().verdict(&asked(n)).stopped, Some(Target::Agent(agent(n))));
    }
}

const MOVE_THE_LIFT: &str = "
    CREATE TABLE pg_temp.lifts AS SELECT lift_at FROM stops WHERE seq = 1;
    UPDATE stops SET lift_at = NULL, lift_reason = NULL, lift_operator = NULL, lift_revision = NULL, lift_seq = NULL
        WHERE seq = 1;
    UPDATE stops SET lift_at = (SELECT lift_at FROM pg_temp.lifts), lift_reason = 'over', lift_operator = 'oncall',
        lift_seq = 4, lift_revision = 4 WHERE seq = 2;";

const SWAP_IDS: &str = "
    UPDATE stops SET id = 'x' WHERE seq = 2;
    UPDATE stops SET id = (SELECT bytes::json->>'stop' FROM events WHERE seq = 2) WHERE seq = 3;
    UPDATE stops SET id = (SELECT bytes::json->>'stop' FROM events WHERE seq = 3) WHERE seq = 2;";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_free_because_the_tables_were_changed() {
    let changes = [
        MOVE_THE_LIFT,
        SWAP_IDS,
        "DELETE FROM stops WHERE seq = 2",
        "DELETE FROM stops",
        "UPDATE stops SET target = 'agent:other' WHERE seq = 2",
        "UPDATE stops SET target = 'no target' WHERE seq = 2",
        "UPDATE stops SET revision = 9 WHERE seq = 2",
        "UPDATE stops SET lift_at = 1, lift_reason = 'x', lift_operator = 'x', lift_seq = 6, lift_revision = 1 WHERE seq = 2",
        "UPDATE stops SET lift_at = 1 WHERE seq = 2",
        "DELETE FROM changes WHERE revision = 5",
        "DELETE FROM changes WHERE revision = 5; UPDATE head SET revision = 4",
        "UPDATE changes SET ended = NULL WHERE revision = 5",
        "UPDATE changes SET ended = '01890a5d-ac96-774b-bcce-b302099a8057' WHERE revision = 5",
        "DELETE FROM changes WHERE revision = 2",
        "UPDATE changes SET seq = 6 WHERE revision = 2",
        "UPDATE changes SET revision = 6 WHERE revision = 5; UPDATE head SET revision = 6",
        "UPDATE head SET revision = 4",
        "UPDATE head SET revision = 9",
        "UPDATE head SET floor = 1",
        "UPDATE events SET bytes = replace(bytes, 'agent-2', 'agent-9') WHERE seq = 2",
        "DELETE FROM events WHERE seq = 2",
    ];
    for others in [1, 600] {
        refuses(&stopped_twice(others).await, &changes).await;
    }
}

/// Below the floor the changes are not read any more, but what is in force is.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_stop_stays_though_nothing_else_of_its_time_is_read() {
    let Template(name) = stopped_twice(1).await;
    let place = Place::Postgres(name);
    let store = place.open().await;
    let event = Event::new(at(9), Kind::StoreRestored, Outcome::Done);
    let adoption = Adoption { event, above: Revision::new(5), stops: Vec::new(), restated: Vec::new() };
    store.adopt(adoption).await.unwrap();
    store.close().await;
    let changes = [
        MOVE_THE_LIFT,
        SWAP_IDS,
        "DELETE FROM stops WHERE seq = 2",
        "UPDATE stops SET target = 'agent:other' WHERE seq = 2",
        "DELETE FROM changes WHERE revision = 2",
        "DELETE FROM changes WHERE revision = 6; UPDATE head SET revision = 5",
        "DELETE FROM changes WHERE revision = 6; UPDATE head SET revision = 5, floor = 0",
    ];
    refuses(&Template::of(place), &changes).await;
}

/// A running broker, too, goes on with nothing that is not what it had.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_changed_under_a_running_broker_takes_no_event() {
    for sql in [
        "DELETE FROM events WHERE seq = 5; UPDATE head SET size = 4, root = (SELECT root FROM earlier), peaks = (SELECT peaks FROM earlier)",
        "UPDATE head SET size = 4",
        "DELETE FROM head",
        "DROP TABLE head CASCADE",
    ] {
        let place = place();
        let store = place.open().await;
        refuse(&store, 0..4).await;
        place.tamper("CREATE TABLE earlier AS SELECT * FROM head");
        refuse(&store, 4..5).await;
        place.tamper(sql);
        let answer = store.append(refused(9, 0)).await;
        assert!(answer.is_err(), "{sql}: {answer:?}");
        assert!(!store.healthy(), "{sql}");
        assert_eq!(store.seen_head().size, 5);
    }
}
