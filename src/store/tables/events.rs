//! Finding events. The text of a query is made of constants alone; values are always bound.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use super::blocks::{self, Blocks, STRAY, Term};
use super::related::Related;
use super::sql::{Sql, Value};
use super::tip::read_head;
use crate::domain::event::{EventFilter, Kind};
use crate::domain::id::TokenId;
use crate::domain::permission::spellings;
use crate::domain::revocation::Target;
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::head::HeadRow;
use crate::store::record;
use crate::store::write::{Head, Recorded};

/// The blocks that a filter has to look into.
pub(in crate::store) struct Search<'a> {
    sql: &'a dyn Sql,
    /// A block is looked into if it is in one set at least of each condition.
    conditions: Vec<Vec<Blocks>>,
}

impl<'a> Search<'a> {
    pub(in crate::store) fn of(
        sql: &'a dyn Sql,
        head: &HeadRow,
        filter: &EventFilter,
        related: &Related,
    ) -> Result<Self, StoreError> {
        let mut conditions = Vec::new();
        // An event has its id as a term, or is of about the time that the id says.
        let id = |term, made: Timestamp| -> Result<Vec<Blocks>, StoreError> {
            Ok(vec![Blocks::With(term), within(sql, head, made, made + STRAY + Duration::from_millis(1))?])
        };
        if filter.token.is_some() {
            let mut sets = Vec::new();
            for token in &related.tokens {
                sets.extend(id(Term::Token(*token), token.made())?);
                sets.push(Blocks::With(Term::Target(Target::Token(*token))));
            }
            let above = related.above.iter().flat_map(|above| &above.targets);
            sets.extend(above.map(|target| Blocks::With(Term::Target(target.clone()))));
            conditions.push(sets);
        }
        if let Some(request) = filter.request {
            conditions.push(id(Term::Request(request), request.made())?);
        }
        conditions.extend(terms(filter, related));
        if filter.since.is_some() || filter.until.is_some() {
            let since = filter.since.unwrap_or(Timestamp::MIN);
            let until = filter.until.unwrap_or(Timestamp::MAX);
            conditions.push(vec![within(sql, head, since, until)?]);
        }
        Ok(Self { sql, conditions })
    }

    /// The newest full block, not after `block`, in which a match can be.
    pub(in crate::store) fn newest(&self, mut block: u64) -> Result<Option<u64>, StoreError> {
        // Each condition leads to the block that it allows; where all of them stay, there it is.
        let mut agreed = 0;
        for condition in self.conditions.iter().cycle() {
            if agreed == self.conditions.len() {
                break;
            }
            let mut newest = None;
            for set in condition {
                newest = newest.max(set.newest(self.sql, block)?);
            }
            match newest {
                None => return Ok(None),
                Some(same) if same == block => agreed += 1,
                Some(earlier) => (block, agreed) = (earlier, 1),
            }
        }
        Ok(Some(block))
    }
}

/// The conditions of the terms, the rarest first.
fn terms(filter: &EventFilter, related: &Related) -> impl Iterator<Item = Vec<Blocks>> {
    let kinds = filter.kind.as_ref().map_or(Kind::ALL, std::slice::from_ref);
    let resource = filter.resource.as_deref().map(|name| {
        spellings(name).iter().map(|name| Blocks::With(Term::Resource(name.as_str().into()))).collect()
    });
    let agent = filter.agent.as_ref();
    let agent = agent.map(|agent| with(kinds, |kind| Term::Agent(agent.clone(), kind), &related.of_agent));
    let owner = filter.owner.as_ref();
    let owner = owner.map(|owner| with(kinds, |kind| Term::Owner(owner.clone(), kind), &related.of_owner));
    let kind = filter.kind.map(|kind| vec![Blocks::With(Term::Kind(kind))]);
    let outcome = filter.outcome.map(|outcome| vec![Blocks::With(Term::Outcome(outcome))]);
    [resource, agent, owner, kind, outcome].into_iter().flatten()
}

fn with(kinds: &[Kind], term: impl Fn(Kind) -> Term, targets: &BTreeSet<Target>) -> Vec<Blocks> {
    let named = kinds.iter().map(|&kind| Blocks::With(term(kind)));
    named.chain(targets.iter().map(|target| Blocks::With(Term::Target(target.clone())))).collect()
}

/// The blocks that hold a time at or after `since` and before `until`.
fn within(sql: &dyn Sql, head: &HeadRow, since: Timestamp, until: Timestamp) -> Result<Blocks, StoreError> {
    let full = blocks::full(head.size);
    let skew = head.span.skew;
    let first = blocks::edge(sql, full, since - skew)?;
    let last = blocks::edge(sql, full, until + skew)?;
    Ok(Blocks::Within { first, last, since, until })
}

/// What the rows of a block are asked for; grows by one condition at a time.
struct Query {
    sql: String,
    values: Vec<Value<'static>>,
}

impl Query {
    fn of(filter: &EventFilter, related: &Related) -> Self {
        let sql = "SELECT seq, bytes FROM events WHERE seq >= ?1 AND seq < ?2".to_owned();
        let mut query = Self { sql, values: vec![Value::Null, Value::Null] };
        let several = related.tokens.len() > 1;
        let named = if several { "token IS NOT NULL OR token" } else { "token" };
        query.or_change(named, filter.token.map(|token| token.to_string()));
        query.and("request =", filter.request.map(|request| request.to_string()));
        query.or_change("agent", filter.agent.as_ref().map(|agent| agent.to_string()));
        query.or_change("owner", filter.owner.as_ref().map(|owner| owner.to_string()));
        query.and("kind =", filter.kind.map(|kind| kind.as_str().to_owned()));
        query.and("outcome =", filter.outcome.map(|outcome| outcome.as_str().to_owned()));
        query.and("at >=", filter.since.map(|since| since.millis()));
        query.and("at <", filter.until.map(|until| until.millis()));
        query.sql.push_str(" ORDER BY seq DESC");
        query
    }

    /// What bears the name, and every change of the kill switch: [`Related`] tells which of them are meant.
    fn or_change(&mut self, condition: &str, value: Option<String>) {
        let (stopped, lifted) = (Kind::RevocationStopped.as_str(), Kind::RevocationLifted.as_str());
        let Some(value) = value else { return };
        self.values.extend([value, stopped.to_owned(), lifted.to_owned()].map(Value::from));
        let last = self.values.len();
        let _ = write!(self.sql, " AND ({condition} = ?{} OR kind IN (?{}, ?{last}))", last - 2, last - 1);
    }

    fn and(&mut self, condition: &str, value: Option<impl Into<Value<'static>>>) {
        if let Some(value) = value {
            self.values.push(value.into());
            // Writing to a String cannot fail.
            let _ = write!(self.sql, " AND {condition} ?{}", self.values.len());
        }
    }

    /// Adds the matches among these events, until `found` has `limit` of them.
    fn read(
        &mut self,
        sql: &dyn Sql,
        (first, end): (u64, u64),
        means: &impl Fn(u64, &str) -> bool,
        limit: usize,
        found: &mut Vec<Recorded>,
    ) -> Result<(), StoreError> {
        self.values[0] = first.into();
        self.values[1] = end.into();
        sql.rows(&self.sql, &self.values, &mut |row| {
            let (seq, bytes) = (row.number(0)?, row.text(1)?);
            if means(seq, bytes) {
                found.push(Recorded { seq, bytes: bytes.into() });
            }
            Ok(if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })
    }
}

/// Whether the event is about the resource that has these spellings.
fn names(seq: u64, bytes: &str, spellings: &[String]) -> bool {
    // Far most events that say nothing like it need not be read.
    let says = |name: &String| bytes.contains(&serde_json::to_string(name).unwrap_or_default());
    spellings.iter().any(says)
        && record::parse(seq, bytes).is_ok_and(|event| {
            event
                .permissions
                .resources()
                .iter()
                .any(|name| spellings.iter().any(|other| **name == *other.as_str()))
        })
}

/// The newest events that the filter means, and what is related to its names.
pub(in crate::store) fn find(
    sql: &dyn Sql,
    filter: &EventFilter,
    limit: u32,
    before: Option<u64>,
) -> Result<Vec<Recorded>, StoreError> {
    let head = read_head(sql)?;
    let related = Related::of(sql, &head, filter, |token| issuance(sql, token).ok().flatten())?;
    search(sql, (&head, filter, &related), limit, before)
}

fn search(
    sql: &dyn Sql,
    (head, filter, related): (&HeadRow, &EventFilter, &Related),
    limit: u32,
    before: Option<u64>,
) -> Result<Vec<Recorded>, StoreError> {
    let search = Search::of(sql, head, filter, related)?;
    let mut query = Query::of(filter, related);
    let limit = limit as usize;
    let resource = filter.resource.as_deref().map(spellings);
    let is_named = filter.token.is_some() || filter.agent.is_some() || filter.owner.is_some();
    let means = |seq: u64, bytes: &str| {
        resource.as_ref().is_none_or(|resource| names(seq, bytes, resource))
            // What cannot be read is shown: it says so better than its absence.
            && (!is_named || record::parse(seq, bytes).map_or(true, |event| related.means(filter, seq, &event)))
    };
    let end = before.unwrap_or(u64::MAX).min(head.size.saturating_add(1));
    let mut found = Vec::new();
    let mut next = end.checked_sub(2).map(|_| blocks::of_seq(end - 1));
    while let Some(mut block) = next
        && found.len() < limit
    {
        if block < blocks::full(head.size) {
            let Some(newest) = search.newest(block)? else { break };
            block = newest;
        }
        let range = (blocks::first_seq(block), blocks::first_seq(block + 1).min(end));
        query.read(sql, range, &means, limit, &mut found)?;
        next = block.checked_sub(1);
    }
    Ok(found)
}

pub(in crate::store) fn issuance(sql: &dyn Sql, id: TokenId) -> Result<Option<Recorded>, StoreError> {
    let filter = EventFilter { token: Some(id), kind: Some(Kind::TokenIssued), ..EventFilter::default() };
    newest(sql, &read_head(sql)?, &filter)
}

/// The newest event that the filter means itself, of a log with this head.
pub(super) fn newest(
    sql: &dyn Sql,
    head: &HeadRow,
    filter: &EventFilter,
) -> Result<Option<Recorded>, StoreError> {
    Ok(search(sql, (head, filter, &Related::only(filter)), 1, None)?.pop())
}

pub(in crate::store) fn head(sql: &dyn Sql) -> Result<Head, StoreError> {
    let row = read_head(sql)?;
    Ok(Head { size: row.size, root: row.root })
}
