//! Lists on terminals of different widths, and in pipes.

use super::*;

const REQUEST: &str = "01a2098e-4cb5-7c27-ba9a-c81e2b0959b4";
const STOP: &str = "01933b1e-5f0a-7c3e-9a55-0d7d3f5f5b11";

/// A broker with an agent, a stop and two events, of usual lengths.
fn broker() -> Canned {
    let event = |seq: u32, kind: &str, outcome: &str, reason: &str| {
        format!(
            r#"{{"seq":{seq},"at":"2026-11-23T09:30:00.012Z","kind":"{kind}","outcome":"{outcome}","reason":"{reason}",
            "agent":"payments-refactorer","owner":"team-payments","token":"{STOP}","request":"{REQUEST}",
            "target":"agent:payments-refactorer","operator":"oncall"}}"#
        )
    };
    let events = [
        event(4712, "token.refused", "refused", "scope_not_registered"),
        event(4711, "revocation.stopped", "done", "pushes to the wrong branch, and nobody knows why it does"),
    ];
    let events = format!(r#"{{"events":[{}]}}"#, events.join(","));
    let stops = format!(
        r#"{{"revocations":[{{"id":"{STOP}","target":"agent:payments-refactorer","at":"2026-11-23T09:30:00.000Z",
        "reason":"pushes to the wrong branch, and nobody knows why it does","operator":"oncall",
        "lift":{{"at":"2026-11-23T10:30:00.000Z","reason":"the branch rule is fixed","operator":"oncall"}}}}]}}"#
    );
    let agents = r#"{"agents":[{"id":"payments-refactorer","owner":"team-payments","status":"active","live_tokens":2,
        "last_issued":"2026-11-23T09:30:00.000Z"}]}"#;
    Canned::new(move |seen| {
        ok(match &seen.line {
            line if line.contains("/agents") => agents.to_owned(),
            line if line.contains("/revocations") => stops.clone(),
            _ => events.clone(),
        })
    })
}

fn on_terminal(columns: &str) -> Machine {
    let mut machine = Machine::new();
    machine.terminal = true;
    machine.env.insert("COLUMNS", columns.into());
    machine
}

const LISTS: [&[&str]; 4] =
    [&["audit", "search"], &["revocations"], &["revocations", "--all"], &["agents", "list"]];

#[test]
fn every_list_fits_the_terminal_that_it_is_printed_on() {
    let broker = broker();
    for width in ["60", "80", "120"] {
        for args in LISTS {
            let ran = on_terminal(width).operate(&broker, args);
            assert_eq!(ran.code, 0, "{}", ran.err);
            for line in ran.out.lines() {
                assert!(line.chars().count() <= width.parse().unwrap(), "{args:?} at {width}:\n{}", ran.out);
            }
        }
    }
    let ran = on_terminal("80").operate(&broker, LISTS[0]);
    assert_eq!(
        ran.out,
        "\
AT               KIND                OUTCOME  REASON         AGENT
11-23 09:30:00Z  token.refused       refused  scope_not_re…  payments-refactorer
11-23 09:30:00Z  revocation.stopped  done     pushes to th…  payments-refactorer
"
    );
    assert_eq!(
        ran.err,
        "not shown for want of room: seq, request, target, operator, token, owner; --wide shows all, \
         --columns seq,… those you name\n"
    );
    for width in ["20", "40", "60"] {
        let narrow = on_terminal(width).operate(&broker, LISTS[0]);
        assert!(narrow.out.contains("OUTCOME") && narrow.out.contains("refused"), "{width}: {}", narrow.out);
    }
    let ids = on_terminal("60").operate(&broker, &["revocations"]);
    assert!(ids.out.contains(STOP), "an id is whole, or it is of no use: {}", ids.out);
    let nonsense = on_terminal("wide").operate(&broker, LISTS[0]);
    assert_eq!(nonsense.code, 0, "{}", nonsense.err);
}

#[test]
fn who_wants_more_gets_it() {
    let broker = broker();
    let wide = on_terminal("80").operate(&broker, &["audit", "search", "--wide"]);
    let piped = Machine::new().operate(&broker, &["audit", "search"]);
    assert_eq!((wide.code, wide.err.as_str(), &wide.out), (0, "", &piped.out));
    for part in [REQUEST, STOP, "team-payments", "2026-11-23T09:30:00.012Z", "nobody knows why it does"] {
        assert!(piped.out.contains(part), "{part}: {}", piped.out);
    }
    let chosen =
        on_terminal("40").operate(&broker, &["audit", "search", "--columns", "seq,REQUEST", "--limit", "1"]);
    assert_eq!((chosen.code, chosen.err.as_str()), (0, ""));
    assert_eq!(chosen.out.lines().next(), Some("SEQ   REQUEST"));
    assert_eq!(chosen.out.lines().nth(1), Some(format!("4712  {REQUEST}").as_str()));
    let unknown = on_terminal("80").operate(&broker, &["agents", "list", "--columns", "colour"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (2, ""));
    assert!(unknown.err.contains("agent,owner,status,live-tokens,last-issued"), "{}", unknown.err);
    for args in [["--json", "--wide"], ["--json", "--columns=seq"], ["--wide", "--columns=seq"]] {
        let ran = Machine::new().operate(&broker, &[&["audit", "search"] as &[_], &args].concat());
        assert_eq!(ran.code, 2, "{args:?}");
    }
}

#[test]
fn lines_of_tail_and_explain_fit_the_terminal_and_lose_nothing() {
    let broker = broker();
    for width in [60_usize, 80] {
        let ran = on_terminal(&width.to_string()).operate(&broker, &["audit", "tail"]);
        assert!(ran.out.lines().all(|line| line.chars().count() <= width), "{}", ran.out);
        for part in [REQUEST, "agent:payments-refactorer", "by oncall", "refused", "2026-11-23T09:30:00Z"] {
            assert!(ran.out.contains(part), "{part}: {}", ran.out);
        }
    }
    let piped = Machine::new().operate(&broker, &["audit", "tail"]);
    assert_eq!(piped.out.lines().count(), 2, "a line each: {}", piped.out);

    let scope = (0..12).map(|n| format!("repository-{n}:read")).collect::<Vec<_>>().join(" ");
    let workflow = "acme/payments/.github/workflows/agent.yml@refs/heads/main";
    let granted = format!(
        r#"{{"agent":"payments","grant":{{"scope":"{scope}","ttl":600}},"actions":[{{"word":"payments:read","tier":"free",
        "because":"file.free"}}],"nearest":[{{"agent":"payments-refactorer","mismatches":[{{"claim":"job_workflow_ref",
        "expected":"{workflow}","given":"{workflow}x"}}]}}]}}"#
    );
    let broker = Canned::new(move |_| ok(granted.clone()));
    let ran = on_terminal("80").operate(&broker, &["agents", "explain", "payments"]);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    for part in
        ["repository-11:read", "ACTION         TIER  BECAUSE OF", &format!("  given          {workflow}x\n")]
    {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let piped = Machine::new().operate(&broker, &["agents", "explain", "payments"]);
    assert!(piped.out.contains(&scope) && piped.out.contains("NEAREST AGENT"), "{}", piped.out);
}
