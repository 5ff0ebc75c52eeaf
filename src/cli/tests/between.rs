//! What stands between a command and its broker: a proxy that fails for a moment, a server that is not the
//! broker. And that each reader is told what that reader can do.

use super::*;

const PROOF: &str = "aGVhZA.Y2FuYXJ5.c2ln";
const ISSUED: &str = r#"{"access_token":"eyJ0.eyJ.c2ln","token_type":"Bearer","expires_in":600}"#;
const REFUSED: &str = r#"{"error":"invalid_scope","error_description":"x:y: not registered for a","reason":"scope_not_registered",
    "request_id":"01933b1e-0000-7000-8000-000000000000"}"#;

fn agent(broker: &Canned, args: &[&str]) -> Ran {
    let mut machine = Machine::new();
    machine.env.insert("HALLPASS_IDENTITY_TOKEN", PROOF.into());
    machine.run(&[args, &["--url", &broker.url]].concat())
}

/// Answers `first` once, then issues.
fn failing_once(first: Answer) -> Canned {
    let first = Arc::new(Mutex::new(Some(first)));
    Canned::new(move |_| first.lock().unwrap().take().unwrap_or_else(|| ok(ISSUED)))
}

#[test]
fn what_a_proxy_answers_for_a_moment_is_asked_again() {
    for status in [429, 500, 502, 503, 504, 520, 522, 530] {
        let broker = failing_once((status, vec![], "<html>upstream</html>".into()));
        let ran = agent(&broker, &["token"]);
        assert_eq!((ran.code, ran.out.as_str()), (0, "eyJ0.eyJ.c2ln\n"), "{status}: {}", ran.err);
        assert_eq!(broker.seen().len(), 2, "{status}");
        assert!(ran.err.contains("trying again"), "{status}: {}", ran.err);
    }
}

#[test]
fn what_will_be_answered_again_is_not_asked_again() {
    let fault =
        r#"{"error":"server_error","reason":"internal","request_id":"01933b1e-0000-7000-8000-000000000000"}"#;
    for (status, body) in [(400, ""), (403, "<html>"), (404, ""), (501, ""), (505, ""), (500, fault)] {
        let broker = failing_once((status, vec![], body.into()));
        let ran = agent(&broker, &["token"]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{status}: {}", ran.err);
        assert_eq!(broker.seen().len(), 1, "{status}");
    }
}

#[test]
fn a_proxy_that_goes_on_failing_is_given_up_in_time_and_named() {
    let broker = Canned::new(|_| (502, vec![], "<html>".into()));
    let ran = agent(&broker, &["token", "--timeout", "1s"]);
    assert_eq!(ran.code, 1);
    let host = broker.url.trim_start_matches("http://");
    assert!(ran.err.contains(&format!("error: {host} answered 502, is it the broker?")), "{}", ran.err);
    assert!(ran.err.contains("given up after: 1 s (--timeout)"), "{}", ran.err);
}

/// An operator's remedy for an answer that no hallpass gave would send its reader the wrong way.
#[test]
fn a_no_that_is_not_hallpass_s_asks_whether_this_is_the_broker() {
    for (status, body) in [
        (401, "<html>log in</html>"),
        (403, ""),
        (404, "not found"),
        (404, r#"{"error":"not_found","detail":"no route"}"#),
        (405, "[]"),
        (407, "{\"request_id\":null}"),
    ] {
        let broker = Canned::new(move |_| (status, vec![], body.into()));
        let host = broker.url.trim_start_matches("http://").to_owned();
        for (ran, named_by) in [
            (agent(&broker, &["token"]), "--url or HALLPASS_URL"),
            (Machine::new().operate(&broker, &["agents", "list"]), "--admin-url or HALLPASS_ADMIN_URL"),
        ] {
            assert_eq!(ran.code, 1, "the broker refused nothing: {}", ran.err);
            let asks = format!("error: {host} answered {status}, is it the broker?\n");
            assert!(ran.err.starts_with(&asks), "{}", ran.err);
            assert!(ran.err.contains(named_by), "{}", ran.err);
            for operators in ["operator", "hallpass agents", "hallpass revocations", "[[admin"] {
                assert!(!ran.err.contains(operators), "{operators}: {}", ran.err);
            }
            assert_eq!(ran.err.contains("it said: no route (not_found)"), body.contains("no route"));
        }
    }
}

/// An agent has no operator's key, so no remedy of its refusals is an operator's command.
#[test]
fn an_agent_is_told_what_an_agent_can_do() {
    for reason in crate::domain::reason::Reason::ALL {
        let body = format!(
            r#"{{"error":"invalid_request","reason":"{}","request_id":"01933b1e-0000-7000-8000-000000000000"}}"#,
            reason.as_str()
        );
        let broker = Canned::new(move |_| (400, vec![], body.clone()));
        let ran = agent(&broker, &["token"]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        let of_callers_with_a_key = reason.as_str().starts_with("credential_");
        for command in
            ["hallpass agents", "hallpass revo", "hallpass lift", "hallpass ready -v", "--key-file or"]
        {
            assert!(of_callers_with_a_key || !ran.err.contains(command), "{}: {}", reason.as_str(), ran.err);
        }
        assert!(ran.err.contains("remedy: "), "{}: {}", reason.as_str(), ran.err);
    }
    let broker = Canned::new(|_| (400, vec![], REFUSED.into()));
    let ran = agent(&broker, &["token"]);
    assert!(ran.err.contains("`hallpass whoami` shows"), "{}", ran.err);
}

/// An agent that asks the admin listener learns that there are two.
#[test]
fn the_other_listener_is_told_from_the_right_one() {
    let body = r#"{"title":"Not Found","detail":"no such path","request_id":"01933b1e-0000-7000-8000-000000000000"}"#;
    let broker = Canned::new(move |_| (404, vec![], body.into()));
    let ran = agent(&broker, &["token"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("public listener with --url or HALLPASS_URL"), "{}", ran.err);
    let ran = Machine::new().operate(&broker, &["agents", "show", "a"]);
    assert!(ran.err.contains("hallpass agents list"), "{}", ran.err);
}

#[test]
fn one_slash_too_many_in_an_address_changes_nothing() {
    for slashes in ["", "/", "//"] {
        let broker = Canned::new(|_| ok(ISSUED));
        let mut machine = Machine::new();
        machine.env.insert("HALLPASS_IDENTITY_TOKEN", PROOF.into());
        let url = format!("{}{slashes}", broker.url);
        let ran = machine.run(&["token", "--url", &url]);
        assert_eq!(
            (ran.code, broker.lines()),
            (0, vec!["POST /oauth/token".to_owned()]),
            "{url}: {}",
            ran.err
        );
    }
    let broker = Canned::new(|_| ok("{}"));
    let ran = Machine::new().run(&["ready", "--url", &format!("{}//hallpass//", broker.url)]);
    assert_eq!((ran.code, broker.lines()), (0, vec!["GET /hallpass/readyz".to_owned()]));
}

#[test]
fn a_life_that_is_longer_than_given_is_said_to_be_shorter() {
    let broker = Canned::new(|_| ok(ISSUED));
    for (ttl, warned) in [("1h", true), ("601", true), ("600", false), ("5m", false)] {
        let ran = agent(&broker, &["token", "--ttl", ttl]);
        assert_eq!((ran.code, ran.out.as_str()), (0, "eyJ0.eyJ.c2ln\n"));
        assert_eq!(ran.err.contains("and the token lives 600 s"), warned, "{ttl}: {}", ran.err);
    }
    let ran = agent(&broker, &["token"]);
    assert_eq!(ran.err, "", "nobody asked for a life");
}
