//! Where requests go, and where they never go.

use super::*;

#[test]
fn the_key_is_sent_to_the_broker_and_shown_nowhere() {
    let broker = Canned::new(|_| (500, vec![], r#"{"detail":"the store is gone"}"#.into()));
    let ran = Machine::new().operate(&broker, &["agents", "list"]);
    assert_eq!(broker.seen()[0].authorization.as_deref(), Some("Bearer hpo_canary-of-the-operator-key"));
    assert_eq!(ran.code, 1, "a broker's fault is a failure, not a refusal");
    assert!(!format!("{ran:?}").contains("canary"));
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = Canned::new(|_| ok(r#"{"agents":[]}"#));
    let there = elsewhere.url.clone();
    let broker = Canned::new(move |_| (307, vec![("location", format!("{there}/v1/agents"))], String::new()));
    let ran = Machine::new().operate(&broker, &["agents", "list"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("redirects are not followed"), "{}", ran.err);
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn pages_are_followed_until_there_are_enough() {
    let broker = Canned::new(|seen| {
        let event = |seq: u32| {
            format!(
                r#"{{"seq":{seq},"at":"2026-11-23T09:29:00.000Z","kind":"key.rotated","outcome":"done"}}"#
            )
        };
        let (first, next) = if seen.line.contains("cursor") { (2, "c%2B2") } else { (4, "c%2B1") };
        let link = format!("</v1/audit/events?limit=3&cursor={next}>; rel=\"next\"");
        (200, vec![("link", link)], format!(r#"{{"events":[{},{}]}}"#, event(first), event(first - 1)))
    });
    let ran = Machine::new().operate(&broker, &["audit", "search", "--limit", "3", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<_> = ran.out.lines().map(|line| line[..9].to_owned()).collect();
    assert_eq!(lines, [r#"{"seq":4,"#, r#"{"seq":3,"#, r#"{"seq":2,"#]);
    let asked = ["GET /v1/audit/events?limit=3", "GET /v1/audit/events?limit=3&cursor=c%2B1"];
    assert_eq!(broker.lines(), asked);
}

#[test]
fn a_next_page_at_another_origin_gets_no_request() {
    let elsewhere = Canned::new(|_| ok(r#"{"events":[]}"#));
    for scheme in ["http", "https"] {
        let there = elsewhere.url.replacen("http", scheme, 1);
        let broker = Canned::new(move |_| {
            let link = format!("<{there}/v1/audit/events>; rel=\"next\"");
            (200, vec![("link", link)], r#"{"events":[{}]}"#.into())
        });
        let ran = Machine::new().operate(&broker, &["audit", "search"]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("which is not the broker"), "{}", ran.err);
        assert_eq!(broker.seen().len(), 1);
    }
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_list_that_turns_in_circles_ends() {
    let broker = Canned::new(|_| {
        (200, vec![("link", "</v1/agents>; rel=next".into())], r#"{"agents":[{"id":"a"}]}"#.into())
    });
    let ran = Machine::new().operate(&broker, &["agents", "list", "--json"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "{\"agents\":[{\"id\":\"a\"}]}\n"));
    assert_eq!(broker.seen().len(), 1);
}

#[test]
fn an_answer_over_8_mib_is_dropped() {
    let broker = Canned::new(|_| ok(format!(r#"{{"agents":[],"fill":"{}"}}"#, "x".repeat(8 * 1024 * 1024))));
    let ran = Machine::new().operate(&broker, &["agents", "list"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("over 8 MiB"), "{}", ran.err);
}

#[test]
fn an_address_without_tls_is_a_wrong_command_line() {
    let machine = Machine::new();
    for url in [
        "http://10.0.0.1:8701",
        "http://localhost.evil.example",
        "http://broker.localhost",
        "ftp://127.0.0.1",
        "https://a:b@c",
        "x",
    ] {
        let ran = machine.run(&["agents", "list", "--admin-url", url]);
        assert_eq!(ran.code, 2, "{url}: {}", ran.err);
    }
}

#[test]
fn nobody_there_is_a_failure_with_the_flag_to_use() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = Machine::new().run(&["ready", "--url", &format!("http://{free}")]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("Connection refused"), "{}", ran.err);
    assert!(ran.err.contains("--url or HALLPASS_URL"), "{}", ran.err);
}

#[test]
fn a_path_in_the_address_is_a_prefix() {
    let broker = Canned::new(|_| ok("{}"));
    let ran = Machine::new().run(&["ready", "--url", &format!("{}/hallpass/", broker.url)]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(broker.lines(), ["GET /hallpass/readyz"]);
}

#[test]
fn ready_is_200_and_nothing_else() {
    for (status, code) in [(200, 0), (204, 1), (302, 1), (404, 1), (503, 1)] {
        let broker = Canned::new(move |_| {
            let body = if status == 204 { "" } else { "{\"status\":\"\u{1b}[2J\"}" };
            (status, vec![("location", "/healthz".into())], body.into())
        });
        let machine = Machine::new();
        let quiet = machine.run(&["ready", "--url", &broker.url]);
        assert_eq!((quiet.code, quiet.out.as_str()), (code, ""), "{status}");
        let verbose = machine.run(&["ready", "-v", "--url", &broker.url]);
        assert_eq!(verbose.code, code, "{status}");
        if status == 200 {
            assert_eq!(verbose.out, "{\"status\":\"\\u001b[2J\"}\n");
        }
    }
}

#[test]
fn ready_with_a_key_says_what_is_not() {
    let public = Canned::new(|_| (503, vec![], r#"{"status":"unavailable"}"#.into()));
    let told = r#"{"status":"unavailable","degraded":["store: it is full"]}"#;
    let admin = Canned::new(move |_| (503, vec![], told.into()));
    let machine = Machine::new();
    // `operate` names the admin listener and the key.
    let verbose = machine.operate(&admin, &["ready", "-v", "--url", &public.url]);
    assert_eq!((verbose.code, verbose.out.trim()), (1, told));
    assert_eq!(
        (public.lines(), admin.lines()),
        (vec!["GET /readyz".to_owned()], vec!["GET /readyz".to_owned()])
    );
    // A key that is not known is an error, and no state of the broker.
    let refusing = Canned::new(|_| (401, vec![], r#"{"status":401}"#.into()));
    let refused = machine.operate(&refusing, &["ready", "-v", "--url", &public.url]);
    assert!(refused.code != 0 && refused.out.is_empty(), "{}", refused.out);
    // Without -v nobody shows a key to anybody.
    let quiet = machine.operate(&admin, &["ready", "--url", &public.url]);
    assert_eq!((quiet.code, admin.lines().len()), (1, 1));
}

#[test]
fn what_is_not_hallpass_is_said_to_be_so() {
    for body in ["<html>", "[]", r#"{"items":[]}"#, r#"{"agents":{}}"#, "\u{fffd}"] {
        let broker = Canned::new(move |_| ok(body));
        let ran = Machine::new().operate(&broker, &["agents", "list"]);
        assert_eq!(ran.code, 1, "{body}");
        assert!(ran.err.contains("is not hallpass's"), "{body}: {}", ran.err);
    }
}

#[test]
fn a_closed_standard_output_is_quiet() {
    let broker = Canned::new(|_| ok(r#"{"agents":[{"id":"a","owner":"t","status":"active"}]}"#));
    let machine = Machine::new();
    let key = machine.file("operator.key", OPERATOR_KEY);
    let args = ["agents", "list", "--admin-url", &broker.url, "--key-file", &key];
    assert_eq!(machine.run_into(&args, &mut Closed), (0, String::new()));
    for args in [&["--help"] as &[_], &["completions", "bash"]] {
        assert_eq!(machine.run_into(args, &mut Closed), (0, String::new()), "{args:?}");
    }
}

#[test]
fn exit_codes_of_the_command_line_itself() {
    let machine = Machine::new();
    for (args, code) in [
        (&["--version"] as &[_], 0),
        (&["help", "revoke"], 0),
        (&["completions", "zsh"], 0),
        (&[], 2),
        (&["agents"], 2),
        (&["revoke", "agent:x"], 2),
        (&["revoke", "agent:x", "--reason", ""], 2),
        (&["revoke", "payments", "--reason", "r"], 2),
        (&["revoke", "agent:../x", "--reason", "r"], 2),
        (&["lift", "agent:x", "--reason", "r"], 2),
        (&["audit", "search", "--since", "yesterday"], 2),
        (&["audit", "search", "--kind", "token.lost"], 2),
        (&["audit", "search", "--limit", "0"], 2),
        (&["revocations", "--all", "--lifted"], 2),
        (&["operator", "new", "x"], 2),
        (&["operator", "new", "x", "--roles", "root"], 2),
        (&["completions", "tcsh"], 2),
        (&["nonsense"], 2),
    ] {
        let ran = machine.run(args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
        assert_eq!(ran.out.is_empty(), code == 2, "{args:?}: help is output, a mistake is not");
    }
}

#[test]
fn an_id_that_is_none_is_told_with_one() {
    for args in [&["lift", "payments", "--reason", "x"] as &[_], &["audit", "search", "--token", "payments"]]
    {
        let ran = Machine::new().run(args);
        let told = "'payments' for";
        assert!(
            ran.code == 2 && ran.err.contains(told) && ran.err.contains("write an id such as 0193"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn what_does_not_show_in_an_argument_is_escaped_when_it_is_repeated() {
    for args in [
        &["agents", "show", "pay\u{200b}ments"] as &[_],
        &["token", "--agent", "pay\u{200b}ments"],
        &["audit", "search", "--agent", "pay\u{202e}ments"],
    ] {
        let ran = Machine::new().run(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
        let escaped = ["pay\\u{200b}ments", "pay\\u{202e}ments"];
        assert!(escaped.iter().any(|word| ran.err.contains(word)), "{}", ran.err);
        assert!(ran.err.lines().count() > 2, "its lines are kept: {}", ran.err);
    }
}
