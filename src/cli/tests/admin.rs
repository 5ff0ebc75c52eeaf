//! Operators' commands: what they ask, show, and when they succeed.

use super::*;

const STOP: &str = "01933b1e-5f0a-7c3e-9a55-0d7d3f5f5b11";

fn stopped(pending: &str, audit: &str) -> String {
    format!(
        r#"{{"revocation":{{"id":"{STOP}","target":"agent:payments","at":"2026-11-23T09:30:00.000Z",
        "reason":"r","operator":"oncall"}},"took_effect":"2026-11-23T09:30:00.012Z",
        "confirmed":["broker-a"],"pending":[{pending}],"audit":"{audit}"}}"#
    )
}

#[test]
fn revoke_says_what_took_effect_when_and_who_confirmed() {
    let broker = Canned::new(|_| (201, vec![], stopped("", "recorded")));
    let machine = Machine::new();
    let ran = machine.operate(&broker, &["revoke", "agent:payments", "--reason", "say \"why\""]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let seen = &broker.seen()[0];
    assert_eq!(seen.line, "POST /v1/revocations");
    let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(body, serde_json::json!({"target": "agent:payments", "reason": "say \"why\""}));
    for part in [
        "agent:payments is stopped\n1 of 1 confirmed in ",
        "09:30:00.012Z (12 ms)",
        "broker-a\n",
        "none\n",
        "recorded\n",
    ] {
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
    assert!(ran.out.contains(&format!("hallpass lift {STOP} --reason")), "{}", ran.out);
}

#[test]
fn a_target_that_was_stopped_before_is_said_to_have_been() {
    let answer =
        stopped("", "recorded").replace("\"took_effect\":\"2026-11-23T", "\"took_effect\":\"2026-11-24T");
    let answer = answer.replacen('{', "{\"already_stopped\":true,", 1);
    let shown = answer.clone();
    let broker = Canned::new(move |_| (201, vec![], answer.clone()));
    let args = ["revoke", "agent:payments", "--reason", "again"];
    let ran = Machine::new().operate(&broker, &args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("agent:payments was stopped already\n1 of 1 confirmed in "), "{}", ran.out);
    let facts = format!(
        " ms\n  revocation    {STOP}\n  since         2026-11-23T09:30:00.000Z\n  by            oncall\n  \
         because       r\n  confirmed by  broker-a\n"
    );
    assert!(ran.out.contains(&facts), "{}", ran.out);
    assert!(!ran.out.contains("took effect"), "{}", ran.out);
    assert!(ran.err.contains("the earlier stop goes on,"), "{}", ran.err);
    let ran = Machine::new().operate(&broker, &[&args as &[_], &["--json"]].concat());
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!((ran.code, json(&ran.out)), (0, json(&shown)));
}

#[test]
fn a_stop_of_a_token_that_the_log_does_not_know_says_so() {
    let stop = stopped("", "recorded").replacen('{', "{\"unknown_token\":true,", 1);
    let preview = r#"{"dry_run":true,"target":"token:x","unknown_token":true,"live_tokens":0,"agents":[],"repositories":[]}"#;
    let broker = Canned::new(move |seen| match seen.line.contains("dry_run") {
        true => (200, vec![], preview.to_owned()),
        false => (201, vec![], stop.clone()),
    });
    let target = ["revoke", "token:019abcde-0000-7000-8000-000000000000"];
    for (more, said) in [
        (&["--reason", "r"][..], "this log knows no such token; it is stopped all the same"),
        (&["--reason", "r", "--json"], "this log knows no such token; it is stopped all the same"),
        (&["--dry-run"], "this log knows no such token; it can be stopped all the same"),
    ] {
        let ran = Machine::new().operate(&broker, &[&target[..], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}

#[test]
fn a_stop_that_is_not_confirmed_everywhere_is_no_success() {
    let broker = Canned::new(|_| (201, vec![], stopped(r#""broker-b""#, "recorded")));
    let machine = Machine::new();
    let args = ["revoke", "everything", "--reason", "r"];
    for json in [&[] as &[_], &["--json"]] {
        let ran = machine.operate(&broker, &[&args as &[_], json].concat());
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("STOPPED, BUT NOT PROVEN EVERYWHERE: broker-b"), "{}", ran.err);
        assert!(ran.out.contains("broker-b"), "what was done is shown all the same: {}", ran.out);
    }
    // Nor is it lost where nobody reads standard output.
    let key = machine.file("operator.key", OPERATOR_KEY);
    let addressed = [&args as &[_], &["--admin-url", &broker.url, "--key-file", &key]].concat();
    let (code, err) = machine.run_into(&addressed, &mut Closed);
    assert!(code == 1 && err.contains("broker-b"), "{err}");
}

#[test]
fn a_late_journal_is_said_aloud_but_the_stop_holds() {
    let broker = Canned::new(|_| (201, vec![], stopped("", "pending")));
    let ran = Machine::new().operate(&broker, &["revoke", "everything", "--reason", "r"]);
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("not in the audit log yet"), "{}", ran.err);
}

#[test]
fn a_dry_run_asks_for_one_and_stops_nothing() {
    let body = r#"{"dry_run":true,"target":"owner:team-payments","live_tokens":7,
        "agents":["a","b"],"repositories":[]}"#;
    let broker = Canned::new(move |_| ok(body));
    let machine = Machine::new();
    let ran = machine.operate(&broker, &["revoke", "owner:team-payments", "--dry-run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(broker.lines(), ["POST /v1/revocations?dry_run=true"]);
    assert!(
        ran.out.starts_with("nothing was stopped; to stop owner:team-payments would hit\n"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("live tokens   7\n  agents        a, b\n  repositories  none\n"), "{}", ran.out);
    // One may be given, and a stop in earnest needs one.
    let ran = machine.operate(&broker, &["revoke", "owner:team-payments", "--reason", "r", "--dry-run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = machine.operate(&broker, &["revoke", "owner:team-payments"]);
    assert!(ran.code == 2 && ran.err.contains("--reason <TEXT>"), "{}", ran.err);
    assert_eq!(broker.lines().len(), 2);
}

#[test]
fn a_refusal_is_the_brokers_words_with_a_remedy() {
    let problem = r#"{"type":"about:blank","title":"Forbidden","status":403,
        "detail":"role auditor may not revoke","request_id":"01933b1e-0000-7000-8000-000000000000"}"#;
    let broker = Canned::new(move |_| (403, vec![], problem.into()));
    let ran = Machine::new().operate(&broker, &["revoke", "everything", "--reason", "r"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert_eq!(
        ran.err,
        "error: role auditor may not revoke\n  request_id: 01933b1e-0000-7000-8000-000000000000\n  \
         remedy: use the key of an operator whose roles in [[admin.operator]] allow this\n"
    );
    let broker = Canned::new(|_| {
        let body = r#"{"title":"Unauthorized","status":401,"reason":"credential_invalid"}"#;
        (401, vec![("retry-after", "7".into())], body.into())
    });
    let ran = Machine::new().operate(&broker, &["agents", "list"]);
    assert_eq!(ran.code, 3);
    for part in
        ["Unauthorized", "reason: credential_invalid", "retry after: 7 s", "HALLPASS_OPERATOR_KEY_FILE"]
    {
        assert!(ran.err.contains(part), "{part} in {}", ran.err);
    }
}

#[test]
fn lift_names_the_stop_and_reminds_that_the_dead_stay_dead() {
    let broker = Canned::new(|_| {
        ok(format!(
            r#"{{"revocation":{{"id":"{STOP}","target":"agent:payments","at":"2026-11-23T09:00:00.000Z",
            "reason":"r","operator":"oncall","lift":{{"at":"2026-11-23T09:30:00.000Z","reason":"ok",
            "operator":"oncall"}}}},"took_effect":"2026-11-23T09:30:00.004Z","confirmed":["a"],"pending":[]}}"#
        ))
    });
    let ran = Machine::new().operate(&broker, &["lift", STOP, "--reason", "ok"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(broker.lines(), [format!("POST /v1/revocations/{STOP}/lift")]);
    assert!(ran.out.contains("(4 ms)"), "measured from the lift, not from the stop: {}", ran.out);
    assert!(ran.err.contains("stay dead"), "{}", ran.err);
}

#[test]
fn revocations_shows_what_is_stopped_unless_asked_for_more() {
    let body = r#"{"revocations":[{"id":"1","target":"everything","at":"t","reason":"two\nlines"}]}"#;
    let broker = Canned::new(move |_| ok(body));
    let machine = Machine::new();
    let ran = machine.operate(&broker, &["revocations"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.out, "ID  TARGET      SINCE  BY  REASON\n1   everything  t      -   two\\u{a}lines\n",
        "one row a line, whatever the reason holds"
    );
    machine.operate(&broker, &["revocations", "--lifted"]);
    machine.operate(&broker, &["revocations", "--all", "--json"]);
    let asked = ["?active=true", "?active=false", ""].map(|query| format!("GET /v1/revocations{query}"));
    assert_eq!(broker.lines(), asked);
}

#[test]
fn agents_are_shown_without_acting_on_the_terminal() {
    let agent = "{\"id\":\"a\",\"owner\":\"team\u{202e}\",\"status\":\"stopped\",\"stopped_by\":\"everything\",\
        \"sentence\":\"\\u001b]0;gone\\u0007 may read\",\"purpose\":\"p\\u009b2J\",\"last_issued\":null,\
        \"live_tokens\":2,\"max_ttl\":600,\"identities\":[{\"issuer\":\"github\",\"claims\":{\"ref\":\"x\"}},\
        {\"key\":{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}}],\"permissions\":[{\"name\":\"pay\",\
        \"type\":\"git_repository\",\"url\":\"https://github.com/a\",\"environment\":null,\"patterns\":[],\
        \"free\":[\"read\",\"push\"],\"gated\":[]}],\"registry\":\"sha256:00\"}";
    let list = format!("{{\"agents\":[{agent}]}}");
    let broker = Canned::new(move |seen| ok(if seen.line.ends_with("/a") { agent } else { &list }));
    let mut machine = Machine::new();
    machine.terminal = true;
    for (args, parts) in [
        (
            &["agents", "show", "a"] as &[_],
            &["\\u{1b}]0;gone\\u{7} may read", "github: ref = x", "read, push"] as &[_],
        ),
        (&["agents", "list"], &["stopped by everything", "team\\u{202e}"]),
        (&["agents", "show", "a", "--json"], &["\\u202e", "\\u001b]0;gone"]),
        (&["agents", "list", "--json"], &["{\"agents\":[{\"id\":\"a\",\"owner\":\"team\\u202e\""]),
    ] {
        let ran = machine.operate(&broker, args);
        assert_eq!(ran.code, 0, "{}", ran.err);
        for part in parts {
            assert!(ran.out.contains(part), "{part} in {}", ran.out);
        }
        assert!(
            !ran.out.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'),
            "{:?}",
            ran.out
        );
    }
}

#[test]
fn a_search_asks_with_every_filter() {
    let broker = Canned::new(|_| ok(r#"{"events":[]}"#));
    let ran = Machine::new().operate(
        &broker,
        &[
            "audit",
            "search",
            "--agent",
            "a",
            "--owner",
            "@org/team",
            "--kind",
            "token.refused",
            "--outcome",
            "refused",
            "--resource",
            "https://github.com/acme/p&q",
            "--token",
            STOP,
            "--request",
            STOP,
            "--since",
            "15m",
            "--until",
            "2026-11-23T10:20:00+01:00",
            "--limit",
            "2000",
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    let told = "no event has ever named the resource https://github.com/acme/p&q; ";
    assert!(ran.err.starts_with(told) && ran.err.ends_with("no event matches\n"), "{}", ran.err);
    let resource = "resource=https%3A%2F%2Fgithub.com%2Facme%2Fp%26q";
    assert_eq!(
        broker.lines(),
        [
            format!(
                "GET /v1/audit/events?agent=a&owner=%40org%2Fteam&kind=token.refused&outcome=refused\
                 &{resource}&token={STOP}&request={STOP}\
                 &since=2026-11-23T09%3A15%3A00.000Z&until=2026-11-23T09%3A20%3A00.000Z&limit=500"
            ),
            format!("GET /v1/audit/events?{resource}&limit=1"),
        ]
    );
}

#[test]
fn events_are_a_table_or_the_stored_bytes() {
    let event = r#"{"seq":3,"at":"2026-11-23T09:29:00.000Z","kind":"token.refused","outcome":"refused",
        "reason":"revoked", "agent":"a","new_member":1e2}"#;
    let stored = event.replace('\n', " ");
    let broker = Canned::new(move |_| ok(format!("{{\"events\":[{event}]}}")));
    let machine = Machine::new();
    let ran = machine.operate(&broker, &["audit", "search"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let row = ran.out.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(row[2..], ["token.refused", "refused", "revoked", "a", "-", "-", "-", "-", "-"]);
    let ran = machine.operate(&broker, &["audit", "search", "--json"]);
    assert_eq!(ran.out, format!("{stored}\n"));
}

#[test]
fn a_checkpoint_is_printed_byte_for_byte_or_not_at_all() {
    let note = "hallpass.acme/log\n42\nAAAA\n\n— hallpass.acme/log AAAA\n";
    let broker = Canned::new(move |seen| match seen.line.ends_with("/key") {
        true => ok("hallpass.acme/log+00000000+AAAA"),
        false => ok(note),
    });
    let machine = Machine::new();
    assert_eq!(machine.operate(&broker, &["audit", "checkpoint"]).out, note);
    let key = machine.operate(&broker, &["audit", "checkpoint", "--key"]);
    assert_eq!(key.out, "hallpass.acme/log+00000000+AAAA\n");
    for body in ["", "x\n\u{1b}[2J\n", "x\r\n"] {
        let broker = Canned::new(move |_| ok(body));
        let ran = machine.operate(&broker, &["audit", "checkpoint"]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{body:?}");
    }
}

/// A token of hallpass's form, whose id is this one.
fn whole_token(jti: &str) -> String {
    use base64::Engine as _;
    let encode = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let header = encode(r#"{"alg":"ES256","typ":"at+jwt","kid":"k"}"#.to_owned());
    let claims = encode(format!(r#"{{"iss":"https://hallpass.test","jti":"{jti}","owner":"team-canary"}}"#));
    format!("{header}.{claims}.{}", encode("canary-signature-canary-signature".to_owned()))
}

const JTI: &str = "01933b1e-5f0a-7c3e-9a55-0d7d3f5f5b11";

#[test]
fn a_whole_token_is_revoked_by_its_id_alone() {
    let token = whole_token(JTI);
    let answer = r#"{"dry_run":true,"target":"token:x","live_tokens":1,"agents":[],"repositories":[]}"#;
    for (target, input) in [
        (token.clone(), String::new()),
        (format!("token:{token}"), String::new()),
        (format!(" token:{token}\n"), String::new()),
        (format!("token:{JTI}"), String::new()),
        ("-".to_owned(), format!("{token}\n")),
        ("-".to_owned(), format!("token:{JTI}")),
        ("token:-".to_owned(), token.clone()),
    ] {
        let broker = Canned::new(move |_| ok(answer));
        let mut machine = Machine::new();
        machine.input = input;
        let ran = machine.operate(&broker, &["revoke", &target, "--reason", "leaked", "--dry-run"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let asked: String = broker.seen().into_iter().map(|seen| seen.body).collect();
        assert!(asked.contains(&format!(r#""target":"token:{JTI}""#)), "{asked}");
        let said = format!("{asked}{}{}", ran.out, ran.err);
        assert!(token.split('.').all(|part| !said.contains(part)), "{said}");
    }
}

/// However a command line with a token in it is wrong, nothing says the token again.
#[test]
fn no_error_of_revoke_prints_a_token() {
    let token = whole_token(JTI);
    let broken = whole_token("no id");
    let short = token[..token.len() / 2].to_owned();
    for args in [
        vec!["revoke", &broken, "--reason", "r"],
        vec!["revoke", "token:", &token, "--reason", "r"],
        vec!["revoke", &short, "--reason", "r"],
        vec!["revoke", &token[4..], "--reason", "r"],
        vec!["revoke", "agent:a", &token, "--reason", "r"],
        vec!["revoke", "agent:a", "--reason", &token],
        vec!["revoke", "agent:a", "--reason", &short],
        vec!["revoke", "agent:a", "--reason=r", "--token", &token],
        vec!["revoke", &format!("tokn:{token}"), "--reason", "r"],
        vec!["revoke", &format!("--{token}"), "--reason", "r"],
        vec!["revoke", &token],
        vec![&token],
        vec!["lift", &token, "--reason", "r"],
        vec!["lift", JTI, "--reason", &token],
        vec!["audit", "search", "--token", &token],
        vec!["revoke", "-", "--reason", "r"],
    ] {
        let broker = Canned::new(|_| panic!("nothing was to be asked"));
        let mut machine = Machine::new();
        machine.input = broken.clone();
        let known = args.first() != Some(&token.as_str());
        let ran = if known { machine.operate(&broker, &args) } else { machine.run(&args) };
        let said = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code, 2, "{said}");
        for secret in token.split('.').chain(broken.split('.')) {
            // Not even a part of it that could be told from others.
            assert!(!said.contains(&secret[..secret.len().min(16)]), "{said}");
        }
        assert!(!said.contains("canary"), "{said}");
    }
}
