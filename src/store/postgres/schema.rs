//! The tables in PostgreSQL, and how nodes that start at once make them.

use super::session::Session;
use crate::domain::merkle::empty_root;
use crate::store::error::StoreError;
use crate::store::tables::sql::{Sql, values};

/// Raised whenever the tables change; a database of a higher version is not touched.
const VERSION: i64 = 1;

/// "hall": nodes that start at once make the tables one after the other.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1751215212)";

const TABLES: &str = r#"
CREATE TABLE hallpass(id integer PRIMARY KEY CHECK (id = 1), schema integer NOT NULL);
CREATE TABLE meta(name text COLLATE "C" PRIMARY KEY, value text NOT NULL);
CREATE TABLE events(
    seq bigint PRIMARY KEY,
    leaf bytea NOT NULL, at bigint NOT NULL, kind text NOT NULL, outcome text NOT NULL,
    agent text, owner text, issuer text, token text, request text, expires bigint,
    bytes text NOT NULL
);
CREATE TABLE tiles(level integer NOT NULL, place bigint NOT NULL, hash bytea NOT NULL, PRIMARY KEY (level, place));
CREATE TABLE head(
    id integer PRIMARY KEY CHECK (id = 1),
    size bigint NOT NULL, root bytea NOT NULL, peaks bytea NOT NULL,
    latest bigint NOT NULL, skew bigint NOT NULL, revision bigint NOT NULL, floor bigint NOT NULL
);
CREATE TABLE stops(
    id text COLLATE "C" PRIMARY KEY, target text NOT NULL, at bigint NOT NULL, reason text NOT NULL,
    operator text, seq bigint NOT NULL UNIQUE, revision bigint NOT NULL UNIQUE,
    lift_at bigint, lift_reason text, lift_operator text, lift_seq bigint UNIQUE, lift_revision bigint UNIQUE
);
CREATE UNIQUE INDEX stops_active ON stops(target) WHERE lift_at IS NULL;
CREATE TABLE changes(revision bigint PRIMARY KEY, seq bigint NOT NULL, ended text);
CREATE TABLE signing_keys(
    kid text COLLATE "C" PRIMARY KEY, purpose text NOT NULL, algorithm text NOT NULL,
    created bigint NOT NULL, signs_from bigint NOT NULL, sealed bytea NOT NULL
);
CREATE TABLE blocks(block bigint PRIMARY KEY, earliest bigint NOT NULL, latest bigint NOT NULL);
CREATE TABLE terms(term text COLLATE "C" NOT NULL, block bigint NOT NULL, PRIMARY KEY (term, block));
"#;

/// Makes the tables in an empty database, in one transaction.
///
/// # Errors
/// `Newer` or `Foreign` for tables that are not of this version.
pub(super) fn prepare(session: &Session, name: &str) -> Result<(), StoreError> {
    session.run("BEGIN")?;
    session.run(LOCK)?;
    match version(session)? {
        Some(VERSION) => {}
        Some(found) => return Err(StoreError::Newer { path: name.into(), found, known: VERSION }),
        None => {
            let others = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace
                          AND relname IN ('events', 'head', 'stops', 'meta', 'changes')";
            if session_sql(session).one(others, &[], |row| row.int(0))? != Some(0) {
                let problem = "it has tables of something else: make a database for hallpass alone";
                return Err(StoreError::Foreign { path: name.into(), problem: problem.to_owned() });
            }
            session.run(TABLES)?;
            let sql = session_sql(session);
            sql.execute("INSERT INTO hallpass(id, schema) VALUES (1, ?1)", values![VERSION])?;
            let head = "INSERT INTO head(id, size, root, peaks, latest, skew, revision, floor) VALUES (1, 0, ?1, '', 0, 0, 0, 0)";
            sql.execute(head, values![&empty_root()])?;
        }
    }
    session.run("COMMIT")
}

/// Whether the tables are of this version.
///
/// # Errors
/// `Newer`; `Foreign` where there are none.
pub(super) fn check(session: &Session, name: &str) -> Result<(), StoreError> {
    match version(session)? {
        Some(VERSION) => Ok(()),
        Some(found) => Err(StoreError::Newer { path: name.into(), found, known: VERSION }),
        None => {
            let problem = "no broker has made its tables yet".to_owned();
            Err(StoreError::Foreign { path: name.into(), problem })
        }
    }
}

fn session_sql(session: &Session) -> &dyn Sql {
    session
}

/// The schema of the tables, where there are any of hallpass.
pub(super) fn version(session: &Session) -> Result<Option<i64>, StoreError> {
    let sql = session_sql(session);
    let found = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = 'hallpass'";
    if sql.one(found, &[], |row| row.int(0))? == Some(0) {
        return Ok(None);
    }
    let version = sql.one("SELECT schema FROM hallpass WHERE id = 1", &[], |row| row.int(0))?;
    version.map(Some).ok_or_else(|| StoreError::Damaged("the table hallpass is empty".to_owned()))
}

/// What runs unseen when a table is read or written.
const INTRUDERS: &str = "
    SELECT 'a trigger, ' || tgname || ' of ' || relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace
    UNION ALL
    SELECT 'a rule, ' || rulename || ' of ' || tablename FROM pg_rules WHERE schemaname = current_schema()
    UNION ALL
    SELECT 'a policy, ' || policyname || ' of ' || tablename FROM pg_policies WHERE schemaname = current_schema()
    UNION ALL
    SELECT 'a view in the place of ' || relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace
    AND relkind <> 'r' AND relname IN ('meta', 'events', 'tiles', 'head', 'stops', 'changes', 'signing_keys', 'blocks', 'terms')
    ORDER BY 1";

/// The first trigger, rule, policy or view, where hallpass has tables alone.
pub(super) fn intruder(session: &Session) -> Result<Option<String>, StoreError> {
    session_sql(session).one(INTRUDERS, &[], |row| Ok(row.text(0)?.escape_debug().to_string()))
}

/// Each column and each index of hallpass's tables, as PostgreSQL itself describes them.
const DESCRIPTION: &str = "
    SELECT 'the column ' || table_name || '.' || column_name,
           data_type || ' ' || is_nullable || ' ' || coalesce(collation_name, '') || ' ' || coalesce(column_default, '')
    FROM information_schema.columns WHERE table_schema = current_schema()
    UNION ALL
    SELECT 'the index ' || indexname,
           replace(indexdef, current_schema() || '.', '') || CASE WHEN indisvalid AND indisready THEN '' ELSE ' broken' END
    FROM pg_indexes JOIN pg_index ON indexrelid = format('%I.%I', schemaname, indexname)::regclass
    WHERE schemaname = current_schema()
    ORDER BY 1, 2";

/// What is not as this version makes it.
pub(super) fn differences(session: &Session) -> Result<Vec<String>, StoreError> {
    let sql = session_sql(session);
    let mut differences = sql.all(INTRUDERS, &[], |row| Ok(row.text(0)?.escape_debug().to_string()))?;
    let found = sql.all(DESCRIPTION, &[], |row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned())))?;
    let expected = include_str!("description.txt").lines().filter_map(|line| line.split_once(": "));
    let expected: Vec<(&str, &str)> = expected.collect();
    let is_expected = |name: &str, what: &str| expected.contains(&(name, what.trim_end()));
    let strangers = found.iter().filter(|(name, what)| !is_expected(name, what));
    differences.extend(strangers.map(|(name, _)| name.escape_debug().to_string()));
    let lost = expected.iter().filter(|(name, _)| !found.iter().any(|(there, _)| there == name));
    differences.extend(lost.map(|(name, _)| (*name).to_owned()));
    differences.dedup();
    Ok(differences)
}

/// The indexes that are not what their tables hold, where the server has the extension `amcheck`.
pub(super) fn damage(session: &Session) -> Result<Vec<String>, StoreError> {
    let sql = session_sql(session);
    let has = "SELECT count(*) FROM pg_proc WHERE proname = 'bt_index_check' AND has_function_privilege(oid, 'execute')";
    if sql.one(has, &[], |row| row.int(0))? == Some(0) {
        return Ok(Vec::new());
    }
    let indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1";
    let mut found = Vec::new();
    for index in sql.all(indexes, &[], |row| Ok(row.text(0)?.to_owned()))? {
        session.run("SAVEPOINT index")?;
        let checked = session.run(&format!(
            "SELECT bt_index_check('\"{}\"'::regclass, true)",
            index.replace('"', "\"\"").replace('\'', "''")
        ));
        if let Err(error) = checked {
            session.run("ROLLBACK TO SAVEPOINT index")?;
            found.push(format!("the index {index}: {error}"));
        }
    }
    Ok(found)
}
