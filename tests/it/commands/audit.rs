//! `hallpass audit`: the same log by the store and by the broker, and what a change of it looks like.

use std::path::Path;

use serde_json::Value;

use super::program::{Place, Ran};

/// A broker with a little history: tokens, a refusal, a stop and a lift.
fn with_history() -> Place {
    let mut place = Place::new();
    place.register("night-shift");
    place.serve();
    let token = "token --key-file night-shift.key --agent night-shift";
    place.words(token).done();
    place.words(&format!("{token} --scope handbook:merge")).ended(3);
    let stopped = place.words("revoke agent:night-shift --reason drill --json").json();
    let id = stopped["revocation"]["id"].as_str().unwrap();
    place.run(&["lift", id, "--reason", "over"]).done();
    place.words(token).done();
    place
}

/// By the files of this machine.
fn local(place: &Place, line: &str) -> Ran {
    place.local(&line.split(' ').collect::<Vec<_>>())
}

/// By the broker's admin listener.
fn remote(place: &Place, line: &str) -> Ran {
    local(place, &format!("{line} --admin-url {}", place.admin_url()))
}

#[test]
fn the_store_and_the_broker_say_the_same() {
    let place = with_history();
    for (line, rows) in [
        ("audit search --agent night-shift", Some(5)),
        ("audit search --agent night-shift --json", Some(5)),
        ("audit search --owner team-night --outcome refused", Some(1)),
        ("audit search --kind revocation.lifted", Some(1)),
        ("audit search --resource handbook", Some(2)),
        ("audit search --resource https://github.com/acme/handbook --limit 1", Some(1)),
        ("audit search --resource https://GitHub.com/acme/handbook.git/", Some(2)),
        ("audit tail --resource https://github.com/acme/handbook.git", Some(1)),
        ("audit tail -n 2 --json", Some(2)),
        ("audit search --since 1h --until 2100-01-01T00:00:00Z", None),
        ("audit search --json", None),
        ("audit checkpoint", None),
        ("audit checkpoint --key", None),
    ] {
        let found = local(&place, line).done();
        assert_eq!(found, remote(&place, line).done(), "{line}");
        let header = usize::from(!line.contains("--json"));
        let count = found.lines().count() - header;
        assert_eq!(count, rows.unwrap_or(count), "{line}: {found}");
    }
    for line in ["audit search --agent nobody", "audit search --until 1w"] {
        assert_eq!(local(&place, line).ended(0), "no event matches\n", "{line}");
        assert_eq!(remote(&place, line).ended(0), "no event matches\n", "{line}");
    }
    let unknown = "audit search --resource https://github.com/acme/handbok";
    for told in [local(&place, unknown).ended(0), remote(&place, unknown).ended(0)] {
        let named = "no event has ever named the resource https://github.com/acme/handbok;";
        assert!(told.starts_with(named) && told.ends_with("no event matches\n"), "{told}");
    }
    // It was named, and not by a refusal of that agent.
    let known = "audit search --resource handbook --kind registry.loaded";
    assert_eq!(local(&place, known).ended(0), "no event matches\n");
    let event: Value =
        serde_json::from_str(&local(&place, "audit search --kind token.issued --limit 1 --json").done())
            .unwrap();
    let (token, request) = (event["token"].as_str().unwrap(), event["request"].as_str().unwrap());
    for line in
        [format!("audit search --token {token} --json"), format!("audit search --request {request} --json")]
    {
        for found in [local(&place, &line), remote(&place, &line)] {
            assert_eq!(found.json(), event, "{line}");
        }
    }
}

#[test]
fn a_log_verifies_against_what_an_auditor_kept() {
    let mut place = with_history();
    place.write("kept", &local(&place, "audit checkpoint").done());
    place.write("kept.later", &remote(&place, "audit checkpoint").done());
    let key = local(&place, "audit checkpoint --key").done().trim().to_owned();
    place.words("token --key-file night-shift.key --agent night-shift").done();
    let kept = format!("audit verify --checkpoint kept --verifier-key {key}");
    // Beside the serving broker, and without it.
    for serving in [true, false] {
        if !serving {
            place.stop();
        }
        let verified = local(&place, &kept);
        assert_eq!(verified.err, "", "{verified:?}");
        let said = verified.done();
        assert!(
            said.starts_with("the audit log verifies: ") && said.contains("it extends the checkpoint of "),
            "{said}"
        );
        let verdict = local(&place, &format!("{kept} --json")).json();
        assert_eq!(verdict["verified"], true);
        assert!(verdict["size"].as_u64() > verdict["checkpoint"].as_u64(), "{verdict}");
        let own = local(&place, "audit verify --checkpoint kept");
        assert!(own.err.contains("the store's own key"), "{own:?}");
        own.done();
        let alone = local(&place, "audit verify");
        assert!(alone.err.contains("nobody can tell whether the whole log was written anew"), "{alone:?}");
        alone.done();
    }
    // By the database alone, as an auditor has it.
    copy(&place, "copy.db");
    local(&place, &format!("{kept} --database copy.db --config nowhere.toml")).done();
    // A checkpoint of another log, and one that nobody signed.
    let mut other = Place::new();
    other.serve();
    place.write("foreign", &local(&other, "audit checkpoint").done());
    let note = place.read("kept");
    place.write("forged", &note.replacen('\n', "\n1", 1));
    for checkpoint in ["foreign", "forged", "config/hallpass.toml"] {
        let line = format!("audit verify --checkpoint {checkpoint} --verifier-key {key}");
        let said = local(&place, &line).ended(1);
        assert!(said.starts_with("error: the checkpoint is not good: "), "{checkpoint}: {said}");
    }
}

fn copy(place: &Place, name: &str) {
    let reader = hallpass::store::Reader::open(&place.path("data/hallpass.db")).unwrap();
    reader.copy_to(&place.path(name)).unwrap();
}

fn change(database: &Path, sql: &str) {
    let changed = rusqlite::Connection::open(database).unwrap().execute(sql, []).unwrap();
    assert!(changed > 0, "{sql}");
}

#[test]
fn a_changed_copy_fails_and_the_event_is_named() {
    let place = with_history();
    place.write("kept", &local(&place, "audit checkpoint").done());
    let key = local(&place, "audit checkpoint --key").done().trim().to_owned();
    let stop: Value =
        serde_json::from_str(&local(&place, "audit search --kind revocation.stopped --json").done()).unwrap();
    let at = stop["seq"].as_u64().unwrap();
    for (n, (sql, named)) in [
        // One byte of one event.
        (format!("UPDATE events SET bytes = replace(bytes, 'drill', 'drilk') WHERE seq = {at}"), at),
        // What a query by agent would find.
        (format!("UPDATE events SET agent = 'somebody' WHERE seq = {at}"), at),
        (format!("DELETE FROM events WHERE seq = {at}"), at),
        // Two events in each other's place.
        (
            format!(
                "UPDATE events SET bytes = (SELECT b.bytes FROM events b WHERE b.seq = {at} * 2 + 1 - events.seq) \
                 WHERE seq IN ({at}, {at} + 1)"
            ),
            at,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("changed-{n}.db");
        copy(&place, &name);
        local(&place, &format!("audit verify --database {name}")).done();
        change(&place.path(&name), &sql);
        let verdict = local(&place, &format!("audit verify --database {name} --json"));
        assert_eq!(verdict.code, 1, "{verdict:?}");
        let verdict: Value = serde_json::from_str(&verdict.out).unwrap();
        assert_eq!((&verdict["verified"], &verdict["first"]), (&Value::from(false), &Value::from(named)));
        for with in [String::new(), format!(" --checkpoint kept --verifier-key {key}")] {
            let said = local(&place, &format!("audit verify --database {name}{with}")).ended(1);
            assert!(said.starts_with("error: the audit log does not verify: "), "{sql}: {said}");
            assert!(said.contains(&format!("event {named}")), "{sql}: {said}");
        }
    }
    // Each of several differences is named, and for a program too.
    copy(&place, "several.db");
    change(
        &place.path("several.db"),
        "UPDATE events SET agent = 'somebody', request = 'x' WHERE seq IN (2, 3)",
    );
    let said = local(&place, "audit verify --database several.db").ended(1);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("the column ")).collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(lines[0].starts_with("error: the audit log does not verify: event 2: "), "{said}");
    assert!(lines[3].starts_with("  also: event 3: the column request "), "{said}");
    let verdict: Value =
        serde_json::from_str(&local(&place, "audit verify --database several.db --json").out).unwrap();
    let firsts: Vec<_> =
        verdict["differences"].as_array().unwrap().iter().map(|one| one["first"].as_u64()).collect();
    assert_eq!(firsts, [2, 2, 3, 3].map(Some));
    assert_eq!((&verdict["first"], &verdict["more"]), (&Value::from(2), &Value::from(0)));
    // The broker's own log is as it was.
    local(&place, "audit verify --checkpoint kept").done();
}

#[test]
fn a_window_is_understood_as_it_was_meant() {
    let place = with_history();
    let all = local(&place, "audit search --json").done();
    let newest: Value = serde_json::from_str(all.lines().next().unwrap()).unwrap();
    let day = newest["at"].as_str().unwrap().split('T').next().unwrap().to_owned();
    // All of it happened within some seconds of this day, or of it and the one before.
    let on_day = |line: &str| line.contains(&format!("\"at\":\"{day}T"));
    let of_day: Vec<&str> = all.lines().filter(|line| on_day(line)).collect();
    let found = local(&place, &format!("audit search --json --since {day} --until {day}")).done();
    assert_eq!(found.lines().collect::<Vec<_>>(), of_day);
    for line in
        ["audit search --json --since 2100-01-01 --until 1h", "audit search --json --since 0s --until 1h"]
    {
        let turned = local(&place, line);
        assert!(turned.err.starts_with("--since is after --until; taken as from 20"), "{turned:?}");
        assert_eq!(turned.done(), all, "{line}");
    }
}

#[test]
fn tail_follows_the_log_by_the_store_and_by_the_broker() {
    let place = with_history();
    let admin_url = place.admin_url();
    for source in [&[][..], &["--admin-url", &admin_url]] {
        let mut follower = place.follow(&[&["audit", "tail", "-f", "-n", "1"], source].concat());
        let first = follower.line();
        assert!(first.contains("token.issued") && first.contains("night-shift"), "{first}");
        place.words("token --key-file night-shift.key --agent night-shift --scope handbook:merge").ended(3);
        let refused = follower.line();
        assert!(refused.contains("token.refused") && refused.contains("approval_required"), "{refused}");
        place.words("token --key-file night-shift.key --agent night-shift").done();
        assert!(follower.line().contains("token.issued"));
    }
}
