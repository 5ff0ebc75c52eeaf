//! Changes to the rows of a log, each with the events that `verify` names for it.

use super::*;

type Events = (u64, u64);

/// Applies each change to the log, expects these events to be named and no others, and takes the change back.
async fn each_names(changes: &[(&str, &[Events])]) {
    let place = log().await;
    let original = std::fs::read(place.path()).unwrap();
    for (sql, expected) in changes {
        place.tamper(&format!("PRAGMA ignore_check_constraints=1; {sql}"));
        let found: Vec<_> = place.differences().iter().map(Difference::events).collect();
        let expected: Vec<_> = expected.iter().copied().map(Some).collect();
        assert_eq!(found, expected, "{sql}");
        std::fs::write(place.path(), &original).unwrap();
        place.verify().unwrap();
    }
}

#[tokio::test]
async fn a_changed_event_is_named() {
    each_names(&[
        // The bytes: one letter; a space; the order of members.
        ("UPDATE events SET bytes = replace(bytes, 'github', 'gitlab') WHERE seq = 5", &[(5, 5)]),
        ("UPDATE events SET bytes = bytes || ' ' WHERE seq = 600", &[(600, 600)]),
        ("UPDATE events SET bytes = '' WHERE seq = 1", &[(1, 1)]),
        // The hash, the columns.
        ("UPDATE events SET leaf = zeroblob(32) WHERE seq = 77", &[(77, 77)]),
        ("UPDATE events SET agent = 'agent-9' WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET agent = NULL WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET owner = 'x' WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET token = NULL WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET request = 'x' WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET issuer = 'x' WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET at = at + 1 WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET expires = 0 WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET kind = 'token.refused' WHERE seq = 8", &[(8, 8)]),
        ("UPDATE events SET outcome = 'done' WHERE seq = 8", &[(8, 8)]),
    ])
    .await;
}

#[tokio::test]
async fn a_changed_index_names_its_block() {
    each_names(&[
        ("DELETE FROM terms WHERE term = 'resource ledger' AND block = 1", &[(257, 512)]),
        ("INSERT INTO terms VALUES ('resource x', 1)", &[(257, 512)]),
        (
            "UPDATE terms SET term = 'resource x' WHERE term = 'resource repo-1' AND block = 0",
            &[(1, 256), (1, 256)],
        ),
        ("INSERT INTO terms VALUES ('resource ledger', 2)", &[(513, 768)]),
        ("DELETE FROM blocks WHERE block = 1", &[(257, 512)]),
        ("UPDATE blocks SET latest = latest - 1 WHERE block = 0", &[(1, 256)]),
        ("INSERT INTO blocks VALUES (2, 0, 0)", &[(513, 768)]),
    ])
    .await;
}

#[tokio::test]
async fn events_that_go_come_or_trade_places_are_named() {
    each_names(&[
        ("DELETE FROM events WHERE seq = 600", &[(600, 600)]),
        ("DELETE FROM events WHERE seq BETWEEN 500 AND 510", &[(500, 510)]),
        ("DELETE FROM events WHERE seq = 1", &[(1, 1)]),
        (
            "UPDATE events SET seq = -1 WHERE seq = 20; UPDATE events SET seq = 20 WHERE seq = 21;
          UPDATE events SET seq = 21 WHERE seq = -1",
            &[(1, 256), (1, 512), (20, 20), (21, 21)],
        ),
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
    ])
    .await;
}

#[tokio::test]
async fn a_changed_tree_names_the_events_below() {
    each_names(&[
        ("UPDATE tiles SET hash = zeroblob(32) WHERE place = 1", &[(257, 512)]),
        ("DELETE FROM tiles WHERE place = 0", &[(1, 256)]),
        ("UPDATE head SET size = 599", &[(600, 600)]),
        ("UPDATE head SET size = 700", &[(601, 700)]),
        // Peaks of 600 = 512 + 64 + 16 + 8.
        ("UPDATE head SET peaks = CAST(zeroblob(32) || substr(peaks, 33) AS BLOB)", &[(1, 512)]),
        ("UPDATE head SET peaks = CAST(substr(peaks, 1, 96) || zeroblob(32) AS BLOB)", &[(593, 600)]),
    ])
    .await;
}

#[tokio::test]
async fn a_changed_stop_names_its_event() {
    each_names(&[
        ("DELETE FROM stops WHERE seq = 302", &[(302, 302)]),
        ("UPDATE stops SET target = 'agent:agent-1' WHERE seq = 302", &[(302, 302)]),
        ("UPDATE stops SET at = 0 WHERE seq = 302", &[(302, 302)]),
        ("UPDATE stops SET reason = 'x' WHERE seq = 302", &[(302, 302)]),
        ("UPDATE stops SET lift_at = at + 1 WHERE seq = 302", &[(302, 302)]),
        ("UPDATE stops SET revision = 9 WHERE seq = 302", &[(302, 302)]),
        ("UPDATE stops SET id = 'no id' WHERE seq = 302", &[(302, 302)]),
        ("UPDATE stops SET id = '01890a5d-ac96-774b-bcce-b302099a8057' WHERE seq = 302", &[(302, 302)]),
        // A lift moved onto a stop that is in force: the agent would be free.
        (
            "UPDATE stops SET lift_seq = NULL WHERE seq = 301;
          UPDATE stops SET lift_at = (SELECT lift_at FROM stops WHERE seq = 301), lift_reason = 'over',
              lift_operator = 'oncall', lift_seq = 303, lift_revision = NULL WHERE seq = 302;
          UPDATE stops SET lift_at = NULL, lift_reason = NULL, lift_operator = NULL, lift_revision = NULL WHERE seq = 301;
          UPDATE stops SET lift_revision = 3 WHERE seq = 302", &[(302, 302), (303, 303)]),
        // Two stops trade their ids: lifting one would free the other.
        (
            "UPDATE stops SET id = 'x' WHERE seq = 301;
          UPDATE stops SET id = (SELECT json_extract(bytes, '$.stop') FROM events WHERE seq = 301) WHERE seq = 302;
          UPDATE stops SET id = (SELECT json_extract(bytes, '$.stop') FROM events WHERE seq = 302) WHERE seq = 301", &[(301, 301), (302, 302)]),
    ])
    .await;
}

#[tokio::test]
async fn changed_numbers_of_changes_name_their_events() {
    each_names(&[
        ("DELETE FROM changes WHERE revision = 2", &[(302, 302)]),
        ("UPDATE changes SET ended = 'x' WHERE revision = 1", &[(301, 301)]),
        ("UPDATE changes SET seq = 5 WHERE revision = 3", &[(303, 303)]),
        (
            "UPDATE stops SET lift_at = at + 1, lift_reason = 'x', lift_operator = 'oncall', lift_seq = 5,
          lift_revision = 9 WHERE seq = 302", &[(302, 302)]),
        (
            "UPDATE stops SET lift_at = NULL, lift_reason = NULL, lift_operator = NULL, lift_seq = NULL,
          lift_revision = NULL", &[(303, 303)]),
        ("UPDATE stops SET lift_reason = 'x' WHERE lift_seq = 303", &[(303, 303)]),
        ("INSERT INTO stops(id, target, at, reason, seq, revision) VALUES ('x', 'everything', 1, 'x', 5, 9)", &[(5, 5)]),
    ])
    .await;
}

#[tokio::test]
async fn all_of_several_changes_are_named() {
    each_names(&[
        (
            "UPDATE events SET agent = 'x' WHERE seq = 400; DELETE FROM stops WHERE seq = 302",
            &[(302, 302), (400, 400)],
        ),
        (
            "UPDATE events SET agent = 'x' WHERE seq IN (20, 400); INSERT INTO terms VALUES ('x', 0)",
            &[(1, 256), (20, 20), (400, 400)],
        ),
        (
            "DELETE FROM stops; DELETE FROM changes WHERE revision <> 2",
            &[(301, 301), (301, 301), (302, 302), (303, 303)],
        ),
        // What follows an event that is not the one that was hashed is judged all the same.
        (
            "UPDATE events SET bytes = bytes || ' ' WHERE seq = 310; UPDATE stops SET at = 0;
          UPDATE events SET agent = 'x' WHERE seq = 400",
            &[(301, 301), (302, 302), (310, 310), (400, 400)],
        ),
        (
            "UPDATE events SET bytes = replace(bytes, 'agent', 'Agent') WHERE seq IN (6, 7, 304); DELETE FROM stops WHERE seq = 302",
            &[(6, 6), (7, 7), (302, 302), (304, 304)],
        ),
        ("UPDATE events SET leaf = x'00' WHERE seq IN (6, 7); DELETE FROM stops WHERE seq = 302", &[(6, 6), (7, 7), (302, 302)]),
        // Nothing tells which of them was changed.
        (
            "UPDATE events SET leaf = zeroblob(32) WHERE seq = 6; UPDATE events SET bytes = '' WHERE seq = 7",
            &[(1, 256), (1, 512), (6, 6), (7, 7)],
        ),
        // The events of the kill switch themselves: the second stop is judged though the first cannot be read.
        (
            "UPDATE events SET bytes = '{}' WHERE seq = 301; UPDATE stops SET reason = 'x' WHERE seq = 302",
            &[(301, 301), (302, 302)],
        ),
        (
            "UPDATE events SET bytes = '{}' WHERE seq IN (301, 303); DELETE FROM changes WHERE revision IN (1, 3);
          DELETE FROM stops WHERE seq = 302",
            &[(301, 301), (302, 302), (303, 303)],
        ),
        ("UPDATE events SET bytes = '{}' WHERE seq = 302; UPDATE stops SET lift_reason = 'x' WHERE seq = 301", &[(302, 302), (303, 303)]),
    ])
    .await;
}

/// Where it cannot go on, it says so.
#[tokio::test]
async fn what_was_not_judged_is_said() {
    let place = log().await;
    place.tamper("DELETE FROM events WHERE seq = 20; UPDATE events SET agent = 'x' WHERE seq IN (19, 21)");
    let Err(VerifyError::Differs(all)) = place.verify() else { panic!() };
    assert_eq!(
        all.named().iter().map(Difference::events).collect::<Vec<_>>(),
        [Some((19, 19)), Some((20, 20))]
    );
    assert_eq!(all.judged(), Some(19));
    assert!(all.to_string().ends_with("; and 1 more; nothing after event 19 was judged"), "{all}");
}

#[tokio::test]
async fn differences_beyond_what_is_named_are_counted() {
    let place = log().await;
    place.tamper("UPDATE events SET agent = 'x', owner = 'x'; DELETE FROM stops");
    let Err(VerifyError::Differs(all)) = place.verify() else { panic!() };
    assert_eq!((all.named().len(), all.unnamed()), (1000, 202));
    assert!(all.to_string().ends_with("; and 1201 more"), "{all}");
}
