//! What is known of the kill switch, as a few bytes, and the real code that works on it: `domain::revocation`.
//!
//! Nothing here decides anything. Each operation makes real `Book`s of the bytes, calls the real function, and reads the
//! result back; what it gave for the same bytes before is remembered.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use hallpass::domain::digest::Digest;
use hallpass::domain::id::{StopId, TokenId};
use hallpass::domain::revocation::{self as real, Book, Holder, Levels, Point, Revision, Target};
use hallpass::domain::time::Timestamp;

pub(crate) const TARGETS: usize = 2;
pub(crate) const TOKENS: usize = 2;
/// Stops that can be made in one history; they are called 1 to 3.
pub(crate) const STOPS: usize = 3;

/// `Standing`; the stop is 0 where none is in force. All zero: nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Standing {
    pub(crate) stop: u8,
    pub(crate) stopped: u8,
    pub(crate) changed: u8,
}

/// `Book`. The era is what its mark is made of: two histories that gave a number twice differ in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    pub(crate) revision: u8,
    pub(crate) era: u8,
    pub(crate) floor: u8,
    pub(crate) standings: [Standing; TARGETS],
    /// The revision of each token's end.
    pub(crate) ended: [u8; TOKENS],
    /// The stop without a number of each target.
    pub(crate) unnumbered: [u8; TARGETS],
}

/// In one piece: most of the time goes into hashing.
impl Hash for Facts {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { revision, era, floor, standings: [a, b], ended: [c, d], unnumbered: [e, f] } = *self;
        let standings = [a.stop, a.stopped, a.changed, b.stop, b.stopped, b.changed];
        hasher.write(&[revision, era, floor, c, d, e, f]);
        hasher.write(&standings);
    }
}

impl Facts {
    pub(crate) fn point(&self) -> (u8, u8) {
        (self.revision, self.era)
    }

    /// The last change that is noted: `Book::newest`.
    pub(crate) fn newest(&self) -> u8 {
        let changed = self.standings.iter().map(|standing| standing.changed);
        changed.chain(self.ended).chain([self.revision]).max().unwrap_or(0)
    }
}

/// What a level says of a token or a request: `Verdict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Verdict {
    pub(crate) is_dead: bool,
    pub(crate) as_of: u8,
}

/// Of which the levels are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    /// The request for token `n`.
    Request(usize),
    Token(usize),
}

/// Who holds each token and from which it is handed down, and what can be stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cast {
    /// Whether token 1 is handed down from token 0.
    pub(crate) is_handed_down: bool,
    pub(crate) targets: [Name; TARGETS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// The agent that holds token 0, and token 1 where that is not handed down.
    First,
    /// The agent to which token 1 is handed down.
    Second,
    Token(usize),
    Everything,
}

/// How a call of `Book` changed one: the key of what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Call {
    Merge,
    Learn,
    CompleteTo(u8, u8),
    RaiseFloor(u8),
}

/// Of what, decided when, by which books.
type Question = (Asked, [u8; TOKENS], [Facts; 4]);

pub(crate) struct Real {
    cast: Cast,
    books: RefCell<HashMap<Facts, Rc<Book>>>,
    changed: RefCell<HashMap<(Call, Facts, Facts), Facts>>,
    verdicts: RefCell<HashMap<Question, Verdict>>,
}

fn revision(number: u8) -> Revision {
    Revision::new(number.into())
}

fn point(revision_: u8, era: u8) -> Point {
    // As the real one: all zero before the first change.
    let mark = if revision_ == 0 { [0; 32] } else { [era + 1; 32] };
    Point { revision: revision(revision_), mark: Digest(mark) }
}

fn small(revision: Revision) -> u8 {
    u8::try_from(revision.number()).expect("a bounded history")
}

fn stop_id(stop: u8) -> StopId {
    StopId::new(Timestamp::from_millis(1_795_000_000_000), &[0, 0, 0, 0, 0, 0, 0, 0, 0, stop])
}

fn token_id(token: usize) -> TokenId {
    let n = u8::try_from(token).expect("few tokens");
    TokenId::new(Timestamp::from_millis(1_795_000_000_000), &[0, 0, 0, 0, 0, 0, 0, 0, 1, n])
}

fn remembered<K: Hash + Eq, V: Clone>(
    memory: &RefCell<HashMap<K, V>>,
    key: K,
    make: impl FnOnce() -> V,
) -> V {
    if let Some(known) = memory.borrow().get(&key) {
        return known.clone();
    }
    let made = make();
    memory.borrow_mut().insert(key, made.clone());
    made
}

impl Real {
    pub(crate) fn new(cast: Cast) -> Self {
        Self { cast, books: RefCell::default(), changed: RefCell::default(), verdicts: RefCell::default() }
    }

    pub(crate) fn target(&self, n: usize) -> Target {
        match self.cast.targets[n] {
            Name::First => Target::Agent(self.holder(0).agent),
            Name::Second => Target::Agent(self.holder(1).agent),
            Name::Token(token) => Target::Token(token_id(token)),
            Name::Everything => Target::Everything,
        }
    }

    fn holder(&self, token: usize) -> Holder {
        let agent = if token == 1 && self.cast.is_handed_down { "second" } else { "first" };
        let name = |text: &str| text.parse().expect("a name");
        Holder {
            agent: name(agent),
            owner: "team".parse().expect("an owner"),
            issuer: "ci".parse().expect("an issuer"),
        }
    }

    /// The tokens above `token` and itself, the nearest last.
    pub(crate) fn chain(&self, token: usize) -> &'static [usize] {
        match token {
            1 if self.cast.is_handed_down => &[0, 1],
            1 => &[1],
            _ => &[0],
        }
    }

    /// `Levels`, of tokens that were decided at `as_of`.
    fn levels(&self, asked: Asked, as_of: [u8; TOKENS]) -> Levels {
        let of = |token: &usize| (token_id(*token), revision(as_of[*token]), self.holder(*token));
        match asked {
            Asked::Token(token) => Levels::of_chain(self.chain(token).iter().map(of)).expect("a chain"),
            Asked::Request(token) => {
                let above = self.chain(token).iter().filter(|above| **above != token).map(of);
                match Levels::of_chain(above) {
                    Some(above) => above.handed_to(self.holder(token)),
                    None => Levels::asked_by(self.holder(token)),
                }
            }
        }
    }

    /// Whether a stop of target `n` covers what is asked for.
    pub(crate) fn covers(&self, n: usize, asked: Asked) -> bool {
        self.levels(asked, [0; TOKENS]).targets().contains(&self.target(n))
    }

    /// A book of its own, which shares nothing with any other.
    fn fresh(&self, facts: &Facts) -> Book {
        let standings = facts.standings.iter().enumerate().filter(|(_, standing)| standing.changed > 0);
        let standings = standings.map(|(n, standing)| (self.target(n), real_standing(*standing)));
        let mut book = Book::of(point(facts.revision, facts.era), revision(facts.floor), standings);
        note_ends(&book, facts);
        for n in (0..TARGETS).filter(|n| facts.unnumbered[*n] > 0) {
            book.note_unnumbered(self.target(n), stop_id(facts.unnumbered[n]));
        }
        book
    }

    fn read(&self, book: &Book) -> Facts {
        let point = book.point();
        let mut facts =
            Facts { revision: small(point.revision), floor: small(book.floor()), ..Facts::default() };
        facts.era = point.mark.0[0].saturating_sub(1);
        for n in 0..TARGETS {
            let target = self.target(n);
            facts.standings[n] = book.get(&target).map(small_standing).unwrap_or_default();
            facts.unnumbered[n] = book.unnumbered_of(&target).map_or(0, |id| id.last_byte());
        }
        for (revision, token) in book.ended_after(Revision::ZERO, usize::MAX) {
            facts.ended[usize::from(token.last_byte())] = small(revision);
        }
        facts
    }

    fn call(&self, call: Call, facts: &Facts, other: &Facts, change: impl FnOnce(&mut Book)) -> Facts {
        remembered(&self.changed, (call, *facts, *other), || {
            let mut book = self.fresh(facts);
            change(&mut book);
            self.read(&book)
        })
    }

    /// `Book::merge`: as `View::learn_book` does.
    pub(crate) fn merge(&self, facts: &Facts, other: &Facts) -> Facts {
        self.call(Call::Merge, facts, other, |book| book.merge(&self.fresh(other)))
    }

    /// `Book::note`, `end` and `note_unnumbered` for each of the items of `other`: as `Item::learn` does.
    pub(crate) fn learn(&self, facts: &Facts, other: &Facts) -> Facts {
        self.call(Call::Learn, facts, other, |book| {
            for n in (0..TARGETS).filter(|n| other.standings[*n].changed > 0) {
                book.note(self.target(n), real_standing(other.standings[n]));
            }
            note_ends(book, other);
            for n in (0..TARGETS).filter(|n| other.unnumbered[*n] > 0) {
                book.note_unnumbered(self.target(n), stop_id(other.unnumbered[n]));
            }
        })
    }

    /// `Book::complete_to`.
    pub(crate) fn complete_to(&self, facts: &Facts, (revision, era): (u8, u8)) -> Facts {
        let none = Facts::default();
        self.call(Call::CompleteTo(revision, era), facts, &none, |book| {
            book.complete_to(point(revision, era))
        })
    }

    /// `Book::raise_floor`.
    pub(crate) fn raise_floor(&self, facts: &Facts, floor: u8) -> Facts {
        self.call(Call::RaiseFloor(floor), facts, &Facts::default(), |book| book.raise_floor(revision(floor)))
    }

    /// `Verdict::of`.
    pub(crate) fn verdict(&self, asked: Asked, as_of: [u8; TOKENS], books: [Facts; 4]) -> Verdict {
        remembered(&self.verdicts, (asked, as_of, books), || {
            let books = books.map(|facts| remembered(&self.books, facts, || Rc::new(self.fresh(&facts))));
            let books: Vec<&Book> = books.iter().map(Rc::as_ref).collect();
            let verdict = real::Verdict::of(&self.levels(asked, as_of), &books);
            Verdict { is_dead: verdict.is_dead(), as_of: small(verdict.as_of) }
        })
    }
}

fn note_ends(book: &Book, facts: &Facts) {
    for token in (0..TOKENS).filter(|token| facts.ended[*token] > 0) {
        book.end(token_id(token), revision(facts.ended[token]));
    }
}

fn real_standing(Standing { stop, stopped, changed }: Standing) -> real::Standing {
    let stop = (stop > 0).then(|| stop_id(stop));
    real::Standing { stop, stopped: revision(stopped), changed: revision(changed) }
}

fn small_standing(standing: real::Standing) -> Standing {
    Standing {
        stop: standing.stop.map_or(0, |id| id.last_byte()),
        stopped: small(standing.stopped),
        changed: small(standing.changed),
    }
}

mod tests {
    use super::*;

    #[test]
    fn facts_read_as_they_were_written() {
        let real = Real::new(Cast { is_handed_down: true, targets: [Name::First, Name::Token(1)] });
        let facts = Facts {
            revision: 7,
            era: 1,
            floor: 2,
            standings: [
                Standing { stop: 2, stopped: 3, changed: 3 },
                Standing { stop: 0, stopped: 4, changed: 6 },
            ],
            ended: [5, 7],
            unnumbered: [0, 3],
        };
        assert_eq!(real.read(&real.fresh(&facts)), facts);
        assert_eq!(real.merge(&Facts::default(), &facts), facts);
        assert!(real.covers(0, Asked::Token(1)) && real.covers(0, Asked::Request(1)), "what is above");
        assert!(real.covers(1, Asked::Token(1)) && !real.covers(1, Asked::Request(1)));
    }
}
