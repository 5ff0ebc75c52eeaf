use proptest::prelude::*;

use super::*;
use crate::domain::digest::Digest;
use crate::domain::id::StopId;
use crate::domain::time::Timestamp;

fn at(n: u64) -> Revision {
    Revision::new(n)
}

fn point(n: u64) -> Point {
    Point { revision: at(n), mark: Digest([1; 32]) }
}

fn id(n: u8) -> StopId {
    StopId::new(Timestamp::from_seconds(1), &[n; 10])
}

fn token(n: u8) -> TokenId {
    TokenId::new(Timestamp::from_seconds(1), &[n; 10])
}

fn holder(name: &str) -> Holder {
    Holder {
        agent: format!("{name}-agent").parse().unwrap(),
        owner: format!("team-{name}").parse().unwrap(),
        issuer: name.parse().unwrap(),
    }
}

/// A token decided at `as_of`.
fn plain(as_of: u64) -> Levels {
    Levels::of(token(1), at(as_of), holder("github"))
}

/// A token that went through three hands, decided at these revisions, the first hand's first.
fn handed_down(decided: [u64; 3]) -> Levels {
    let names = ["gitlab", "cluster", "github"];
    let chain = (0..3).map(|n| (token(n as u8), at(decided[n]), holder(names[n])));
    Levels::of_chain(chain).unwrap()
}

fn stopped(n: u8, revision: u64) -> Standing {
    Standing { stop: Some(id(n)), stopped: at(revision), changed: at(revision) }
}

fn lifted(stopped: u64, changed: u64) -> Standing {
    Standing { stop: None, stopped: at(stopped), changed: at(changed) }
}

fn book(to: u64, standings: &[(Target, Standing)]) -> Book {
    Book::of(point(to), Revision::ZERO, standings.iter().cloned())
}

#[test]
fn every_hand_that_a_token_went_through_can_be_stopped() {
    let targets: Vec<String> = handed_down([1, 1, 1]).targets().iter().map(ToString::to_string).collect();
    for name in ["gitlab", "cluster", "github"] {
        for target in [format!("agent:{name}-agent"), format!("owner:team-{name}"), format!("issuer:{name}")]
        {
            assert!(targets.contains(&target), "{target} is not among {targets:?}");
        }
    }
    assert_eq!(targets[0], "everything", "the widest first");
    assert_eq!(targets.len(), 13, "and three tokens: {targets:?}");
}

#[test]
fn targets_print_as_they_parse() {
    for target in plain(1).targets() {
        assert_eq!(target.to_string().parse(), Ok(target));
    }
    for wrong in ["", "agent", "agent:", "agent:UPPER", "token:x", "everything:", "Everything", "team:x"] {
        assert_eq!(wrong.parse::<Target>(), Err(InvalidTarget), "{wrong}");
    }
}

#[test]
fn a_chain_is_judged_link_by_link_by_what_each_was_decided_at() {
    // The first hand was stopped at 5 and lifted at 6, between its own token and what it handed down.
    let known = book(9, &[(Target::Agent("gitlab-agent".parse().unwrap()), lifted(5, 6))]);
    assert!(known.verdict(&handed_down([4, 7, 8])).is_dead(), "a living token from a dead one");
    assert!(!known.verdict(&handed_down([6, 7, 8])).is_dead());
    assert!(!known.verdict(&plain(1)).is_dead(), "another agent's");
}

#[test]
fn the_widest_stop_is_named() {
    let agent = (Target::Agent("github-agent".parse().unwrap()), stopped(1, 3));
    let owner = (Target::Owner("team-github".parse().unwrap()), stopped(2, 4));
    let all = (Target::Everything, stopped(3, 5));
    let named = |standings: &[(Target, Standing)]| book(9, standings).verdict(&plain(9)).stopped;
    assert_eq!(named(std::slice::from_ref(&agent)), Some(agent.0.clone()));
    assert_eq!(named(&[agent.clone(), owner.clone()]), Some(owner.0.clone()));
    assert_eq!(named(&[agent, owner, all]), Some(Target::Everything));
}

#[test]
fn a_request_is_stopped_by_a_stop_in_force_and_by_nothing_past() {
    let request = Levels::asked_by(holder("github"));
    assert_eq!(
        book(9, &[(Target::Everything, lifted(8, 9))]).verdict(&request),
        Verdict { as_of: at(9), ..Verdict::default() }
    );
    assert!(book(9, &[(Target::Everything, stopped(1, 9))]).verdict(&request).is_dead());
}

#[test]
fn a_number_that_the_store_has_not_reached_is_of_a_store_that_was_lost() {
    assert!(!book(9, &[]).verdict(&plain(9)).is_dead());
    assert!(book(9, &[]).verdict(&plain(10)).is_dead());
    assert!(!book(9, &[]).verdict(&plain(0)).is_dead(), "a token without the claim, before the first stop");
}

#[test]
fn a_stop_without_a_number_covers_every_token_until_it_is_numbered() {
    let mut known = book(9, &[]);
    let target = Target::Agent("github-agent".parse().unwrap());
    known.note_unnumbered(target.clone(), id(1));
    assert_eq!(known.verdict(&plain(9)).stopped, Some(target.clone()));
    known.forget_unnumbered(&target, id(2));
    assert!(known.verdict(&plain(9)).is_dead(), "another stop's number");
    known.note(target.clone(), stopped(1, 10));
    known.complete_to(point(10));
    known.forget_unnumbered(&target, id(1));
    assert!(known.verdict(&plain(10)).is_dead());
    known.note(target, lifted(10, 11));
    known.complete_to(point(11));
    assert!(!known.verdict(&plain(11)).is_dead());
    assert!(known.verdict(&plain(9)).is_dead(), "lifting resurrects nothing");
}

#[test]
fn an_ended_token_and_what_was_handed_down_from_it_is_dead() {
    let known = book(9, &[]);
    known.end(token(0), at(7));
    assert!(known.verdict(&handed_down([1, 8, 9])).is_dead());
    assert!(!known.verdict(&plain(1)).is_dead());
    assert_eq!(known.ended_after(at(6), 9), [(at(7), token(0))]);
    assert_eq!(known.ended_after(at(7), 9), []);
}

#[test]
fn a_stop_in_force_is_never_forgotten_but_that_of_a_token() {
    let (all, one) = ((Target::Everything, stopped(1, 3)), (Target::Token(token(1)), stopped(2, 4)));
    let mut known = book(9, &[all.clone(), one.clone()]);
    known.raise_floor(at(8));
    assert_eq!(known.get(&all.0), Some(all.1));
    assert_eq!(known.get(&one.0), None);
    assert!(known.verdict(&plain(3)).is_dead());
}

/// One change of the kill switch, as an operator or a holder makes it.
#[derive(Debug, Clone)]
enum Act {
    Stop(usize),
    Lift(usize),
    End(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (0usize..13).prop_map(Act::Stop),
        3 => (0usize..13).prop_map(Act::Lift),
        1 => (0u8..3).prop_map(Act::End),
    ];
    prop::collection::vec(act, 0..24)
}

/// What the store makes of the acts: per target its stops with their lifts, by number.
struct History {
    stops: Vec<(Target, u64, Option<u64>)>,
    ended: Vec<(TokenId, u64)>,
    last: u64,
}

impl History {
    fn of(acts: &[Act], targets: &[Target]) -> Self {
        let mut history = Self { stops: Vec::new(), ended: Vec::new(), last: 0 };
        for act in acts {
            match act {
                Act::Stop(n) => {
                    let target = &targets[n % targets.len()];
                    if !history.stops.iter().any(|(t, _, lift)| t == target && lift.is_none()) {
                        history.last += 1;
                        history.stops.push((target.clone(), history.last, None));
                    }
                }
                Act::Lift(n) => {
                    let target = &targets[n % targets.len()];
                    let next = history.last + 1;
                    if let Some(stop) =
                        history.stops.iter_mut().find(|(t, _, lift)| t == target && lift.is_none())
                    {
                        stop.2 = Some(next);
                        history.last = next;
                    }
                }
                Act::End(n) if !history.ended.iter().any(|(t, _)| *t == token(*n)) => {
                    history.last += 1;
                    history.ended.push((token(*n), history.last));
                }
                Act::End(_) => {}
            }
        }
        history
    }

    /// Law 2, from the definition.
    fn kills(&self, levels: &Levels) -> bool {
        levels.links().any(|link| {
            let (id, as_of) = link.token.unwrap();
            let covers = |target: &Target| {
                *target == Target::Everything || link.targets().contains(&Some(target.clone()))
            };
            let stop = |(target, stopped, lift): &(Target, u64, Option<u64>)| {
                covers(target) && (lift.is_none() || *stopped > as_of.number())
            };
            self.stops.iter().any(stop) || self.ended.iter().any(|(token, _)| *token == id)
        })
    }

    /// The standings that each change left, of every target at every moment.
    fn standings(&self) -> Vec<(Target, Standing)> {
        let mut all = Vec::new();
        for (n, (target, number, lift)) in self.stops.iter().enumerate() {
            all.push((target.clone(), stopped(n as u8, *number)));
            all.extend(lift.map(|lift| (target.clone(), lifted(*number, lift))));
        }
        all
    }
}

proptest! {
    /// Dead iff some covering level is stopped, or was stopped above what the token was decided at; whatever the order in
    /// which the standings were learnt, and however often.
    #[test]
    fn dead_iff_the_law_says_so(acts in acts(), decided in [0u64..30, 0u64..30, 0u64..30], turn in 0usize..50, twice in any::<bool>()) {
        let history = History::of(&acts, &handed_down([0; 3]).targets());
        let decided = decided.map(|as_of| as_of.min(history.last));
        let levels = handed_down(decided);
        let mut standings = history.standings();
        if twice { standings.extend(history.standings()); }
        let middle = turn.min(standings.len());
        standings.rotate_left(middle);
        let known = book(history.last, &standings);
        history.ended.iter().for_each(|(token, revision)| known.end(*token, at(*revision)));
        prop_assert_eq!(known.verdict(&levels).is_dead(), history.kills(&levels));
    }

    /// What several books say together is what one that knows all of it says.
    #[test]
    fn books_are_judged_together_as_one(acts in acts(), split in any::<[bool; 48]>(), as_of in 0u64..30) {
        let history = History::of(&acts, &plain(0).targets());
        let levels = plain(as_of.min(history.last));
        let (mut one, mut other) = (Book::default(), Book::default());
        for ((target, standing), first) in history.standings().into_iter().zip(split) {
            if first { &mut one } else { &mut other }.note(target, standing);
        }
        other.complete_to(point(history.last));
        let whole = book(history.last, &history.standings());
        prop_assert_eq!(Verdict::of(&levels, &[&one, &other]), whole.verdict(&levels));
        let mut merged = one.clone();
        merged.merge(&whole);
        prop_assert_eq!(merged.verdict(&levels), whole.verdict(&levels));
    }

    /// Lifting never resurrects: whatever was dead before a lift is dead after it.
    #[test]
    fn dead_stays_dead(number in 1u64..100, after in 1u64..100, as_of in 0u64..100) {
        let levels = plain(as_of.min(number));
        let before = book(number, &[(Target::Everything, stopped(1, number))]);
        let after = book(number + after, &[(Target::Everything, stopped(1, number)), (Target::Everything, lifted(number, number + after))]);
        prop_assert!(before.verdict(&levels).is_dead());
        prop_assert_eq!(after.verdict(&levels).is_dead(), as_of.min(number) < number);
        prop_assert!(!after.verdict(&plain(after.revision().number())).is_dead());
    }

    /// What is forgotten could not have killed a token that is not dead by the floor.
    #[test]
    fn forgetting_resurrects_nothing(acts in acts(), floor in 0u64..30, as_of in 0u64..30) {
        let history = History::of(&acts, &plain(0).targets());
        let floor = floor.min(history.last);
        let levels = plain(as_of.min(history.last));
        // No token is decided after its own stop or end.
        let own = Target::Token(token(1));
        prop_assume!(!history.stops.iter().any(|(target, number, _)| *target == own && *number <= as_of.min(history.last)));
        prop_assume!(!history.ended.iter().any(|(ended, number)| *ended == token(1) && *number <= as_of.min(history.last)));
        let mut known = book(history.last, &history.standings());
        history.ended.iter().for_each(|(token, revision)| known.end(*token, at(*revision)));
        known.raise_floor(at(floor));
        let dead = history.kills(&levels) || as_of.min(history.last) < floor;
        prop_assert_eq!(known.verdict(&levels).is_dead(), dead);
    }

    /// Whoever is told a book in pieces, at once or after a break, and by whatever way as JSON, judges as it does.
    #[test]
    fn who_is_told_in_pieces_judges_alike(acts in acts(), earlier in 0usize..24, floor in 0u64..30, as_of in 0u64..30, waits in any::<bool>()) {
        let targets = plain(0).targets();
        let (early, late) = (History::of(&acts[..earlier.min(acts.len())], &targets), History::of(&acts, &targets));
        let known = |history: &History| {
            let known = book(history.last, &history.standings());
            history.ended.iter().for_each(|(token, revision)| known.end(*token, at(*revision)));
            known
        };
        let (before, mut now) = (known(&early), known(&late));
        now.raise_floor(at(floor.min(early.last)));
        if waits {
            now.note_unnumbered(targets[0].clone(), id(9));
        }
        let tell = |mut told: Book, pieces: Pieces| {
            for piece in pieces {
                let text = serde_json::to_string(&piece).unwrap();
                serde_json::from_str::<Piece>(&text).unwrap().take_in(&mut told);
            }
            told
        };
        let levels = plain(as_of);
        let expected = now.verdict(&levels);
        let whole = tell(Book::default(), Pieces::all(now.clone().into()));
        let resumed = tell(before.clone(), Pieces::since(now.clone().into(), before.revision()));
        prop_assert_eq!(&whole.verdict(&levels), &expected);
        prop_assert_eq!(&resumed.verdict(&levels), &expected);
        // What was void is not known any more.
        let anew = tell(book(99, &[(targets[1].clone(), stopped(9, 99))]), Pieces::all(now.into()));
        prop_assert_eq!(&anew.verdict(&levels), &expected);
    }

    /// A book that is told only what changed since a revision knows all.
    #[test]
    fn what_changed_since_a_revision_is_all_that_a_book_of_it_lacks(acts in acts(), earlier in 0usize..24, as_of in 0u64..30) {
        let targets = plain(0).targets();
        let (before, after) = (History::of(&acts[..earlier.min(acts.len())], &targets), History::of(&acts, &targets));
        let whole = book(after.last, &after.standings());
        let mut behind = book(before.last, &before.standings());
        for (target, standing) in whole.after(behind.revision()) {
            behind.note(target.clone(), standing);
        }
        behind.complete_to(whole.point());
        let levels = plain(as_of.min(after.last));
        prop_assert_eq!(behind.verdict(&levels), whole.verdict(&levels));
        prop_assert!(behind.standings().eq(whole.standings()));
    }
}

/// However much there is to tell, a piece is small, and all of it is told once.
#[test]
fn a_large_book_is_told_in_pieces_of_bounded_size() {
    let standings = (1..=5_000).map(|n| {
        (
            Target::Agent(format!("agent-{n}").parse().unwrap()),
            Standing { stop: Some(id(1)), stopped: at(n), changed: at(n) },
        )
    });
    let known = Book::of(point(9_000), Revision::ZERO, standings);
    for n in 5_001..=9_000u64 {
        known.end(TokenId::new(Timestamp::from_millis(n as i64), &[0; 10]), at(n));
    }
    let pieces: Vec<Piece> = Pieces::all(known.into()).collect();
    assert!(pieces.iter().all(|piece| serde_json::to_string(piece).unwrap().len() < 128 << 10));
    let [stops, ended] = [
        pieces.iter().map(|piece| piece.stops.len()).sum(),
        pieces.iter().map(|piece| piece.ended.len()).sum::<usize>(),
    ];
    assert_eq!((stops, ended), (5_000usize, 4_000));
    let (last, others) = pieces.split_last().unwrap();
    assert!(others.iter().all(|piece| piece.more) && !last.more && pieces[0].reset && !pieces[1].reset);
}

#[test]
fn a_place_has_one_text() {
    let place = Place::of(&book(7, &[]));
    assert_eq!(place.to_string(), "7-0101010101010101-00000000");
    assert_eq!("7-0101010101010101-00000000".parse(), Ok(place));
    for bad in [
        "",
        "7",
        "7-0101010101010101",
        "+7-0101010101010101-00000000",
        "7-101010101010101-00000000",
        "7-0101010101010101-0",
        "7-0101010101010101-00000000-",
        "07-0101010101010101-00000000",
    ] {
        assert_eq!(bad.parse::<Place>(), Err(InvalidPlace), "{bad}");
    }
    let mut stopped = book(7, &[]);
    stopped.note_unnumbered(Target::Everything, id(1));
    assert!(Place::of(&stopped) != place && Place::of(&stopped).is_of(&point(7).mark));
}
