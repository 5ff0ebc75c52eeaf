//! The tables in PostgreSQL, and how nodes that start at once make them.

use super::session::Session;
use crate::domain::merkle::empty_root;
use crate::store::error::StoreError;
use crate::store::tables::sql::{Row, Sql, values};

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

/// The names of the tables, to be read with others of SQL.
macro_rules! own {
    () => {
        "('hallpass', 'meta', 'events', 'tiles', 'head', 'stops', 'changes', 'signing_keys', 'blocks', 'terms')"
    };
}

/// The schema that tables are made in: the first of the search path that exists.
macro_rules! here {
    () => {
        "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
    };
}

/// Tables of something else; those of an extension are not counted.
const STRANGERS: &str = concat!(
    "SELECT relname::text FROM pg_class WHERE relnamespace = ", here!(),
    " AND (relname IN ", own!(), " OR relkind IN ('r', 'p', 'f', 'v', 'm'))
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
    ORDER BY 1 LIMIT 1"
);

/// Makes the tables in an empty database, in one transaction.
///
/// # Errors
/// `Newer` or `Foreign` for tables that are not of this version.
pub(super) fn prepare(session: &Session, name: &str) -> Result<(), StoreError> {
    session.run("BEGIN")?;
    session.run(LOCK)?;
    let sql = session_sql(session);
    if let Some(found) = version(session, name)? {
        judge(found, name)?;
    } else {
        if let Some(stranger) = sql.one(STRANGERS, &[], |row| Ok(row.text(0)?.to_owned()))? {
            let stranger = stranger.escape_debug();
            let problem = format!(
                "it has «{stranger}», which is of something else: make a database for hallpass alone"
            );
            return Err(foreign(name, problem));
        }
        session.run(TABLES)?;
        sql.execute("INSERT INTO hallpass(id, schema) VALUES (1, ?1)", values![VERSION])?;
        let head = "INSERT INTO head(id, size, root, peaks, latest, skew, revision, floor) VALUES (1, 0, ?1, '', 0, 0, 0, 0)";
        sql.execute(head, values![&empty_root()])?;
    }
    session.run("COMMIT")
}

/// Whether the tables are of this version.
///
/// # Errors
/// `Newer`; `Foreign` where there are none.
pub(super) fn check(session: &Session, name: &str) -> Result<(), StoreError> {
    match version(session, name)? {
        Some(found) => judge(found, name),
        None => Err(foreign(name, "no broker has made its tables yet")),
    }
}

fn judge(found: i64, name: &str) -> Result<(), StoreError> {
    match found {
        VERSION => Ok(()),
        newer if newer > VERSION => Err(StoreError::Newer { path: name.into(), found, known: VERSION }),
        _ => Err(foreign(name, format!("it has the schema {found}, which no hallpass ever made"))),
    }
}

fn foreign(name: &str, problem: impl Into<String>) -> StoreError {
    StoreError::Foreign { path: name.into(), problem: problem.into() }
}

fn session_sql(session: &Session) -> &dyn Sql {
    session
}

/// The schema of the tables, where there are any of hallpass.
///
/// # Errors
/// `Foreign` where there is no place for tables, or the tables that are there are hidden by another schema, which would
/// look like an empty store.
fn version(session: &Session, name: &str) -> Result<Option<i64>, StoreError> {
    let sql = session_sql(session);
    let places = "SELECT current_schema()::text, (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('hallpass'))";
    let read = |row: &dyn Row| {
        Ok((row.text_or_none(0)?.map(str::to_owned), row.text_or_none(1)?.map(str::to_owned)))
    };
    let (Some(here), holder) = sql.one(places, &[], read)?.unwrap_or_default() else {
        return Err(foreign(name, "no schema of its search_path exists, so tables have no place"));
    };
    const FOUND: &str = concat!(
        "SELECT count(*) FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid WHERE relnamespace = ",
        here!(),
        " AND relname = 'hallpass' AND attname = 'schema' AND atttypid = 'integer'::regtype AND NOT attisdropped"
    );
    if sql.one(FOUND, &[], |row| row.int(0))? == Some(0) {
        let (here, holder) = (here.escape_debug(), holder.filter(|holder| holder.trim_matches('"') != here));
        return holder.map_or(Ok(None), |holder| {
            let holder = holder.escape_debug();
            Err(foreign(name, format!("the schema «{here}» hides the tables in «{holder}»: drop it, or set the role's search_path")))
        });
    }
    let version = sql.one("SELECT schema FROM hallpass WHERE id = 1", &[], |row| row.int(0))?;
    version.map(Some).ok_or_else(|| StoreError::Damaged("the table hallpass is empty".to_owned()))
}

/// Settings of the server without which a commit may not outlive a power cut.
pub(super) fn unsafe_settings(session: &Session) -> Result<Vec<String>, StoreError> {
    let off = "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY 1";
    session_sql(session).all(off, &[], |row| Ok(row.text(0)?.to_owned()))
}

/// What runs unseen when a table is read or written.
const INTRUDERS: &str = concat!(
    "SELECT 'a trigger, ' || tgname || ' of ' || relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE NOT tgisinternal AND relnamespace = ", here!(), "
    UNION ALL
    SELECT 'a rule, ' || rulename || ' of ' || tablename FROM pg_rules WHERE schemaname = current_schema()
    UNION ALL
    SELECT 'a policy, ' || policyname || ' of ' || tablename FROM pg_policies WHERE schemaname = current_schema()
    UNION ALL
    SELECT 'a constraint, ' || conname || ' of ' || relname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
    WHERE relnamespace = ", here!(), " AND relname IN ", own!(), " AND contype IN ('c', 'f', 'x')
    AND conname NOT IN ('hallpass_id_check', 'head_id_check')
    UNION ALL
    SELECT 'a table that is part of ' || relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhparent
    WHERE relnamespace = ", here!(), " AND relname IN ", own!(), "
    UNION ALL
    SELECT 'a view in the place of ' || relname FROM pg_class WHERE relnamespace = ", here!(), "
    AND relkind <> 'r' AND relname IN ", own!(), "
    ORDER BY 1"
);

/// The first of them, where hallpass has tables alone.
pub(super) fn intruder(session: &Session) -> Result<Option<String>, StoreError> {
    session_sql(session).one(INTRUDERS, &[], |row| Ok(row.text(0)?.escape_debug().to_string()))
}

/// Each column and each index of the schema, as PostgreSQL itself describes them; those of an extension are not hallpass's.
const DESCRIPTION: &str = "
    SELECT 'the column ' || table_name || '.' || column_name,
           data_type || ' ' || is_nullable || ' ' || coalesce(collation_name, '') || ' ' || coalesce(column_default, '')
           || coalesce(' ' || domain_name, '')
    FROM information_schema.columns JOIN pg_namespace ON nspname = table_schema
    JOIN pg_class ON relnamespace = pg_namespace.oid AND relname = table_name
    WHERE table_schema = current_schema() AND NOT EXISTS (SELECT FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
    UNION ALL
    SELECT 'the index ' || indexname,
           replace(indexdef, ' ON ' || quote_ident(schemaname) || '.', ' ON ')
           || CASE WHEN indisvalid AND indisready THEN '' ELSE ' broken' END
    FROM pg_indexes JOIN pg_index ON indexrelid = format('%I.%I', schemaname, indexname)::regclass
    WHERE schemaname = current_schema() AND NOT EXISTS (SELECT FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND objid = indrelid AND deptype = 'e')
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
