use super::*;

#[test]
fn a_question_holds_what_was_asked() {
    let broker = Canned::new(|_| ok(r#"{"outcome":"refused","actions":[]}"#));
    let machine = Machine::new();
    let claims = machine.file("claims.json", r#"{"repository_id":"1","run":2}"#);
    let details = r#"[{"type":"git_repository","identifier":"payments"}]"#;
    let cases: [(&[&str], &str); 4] = [
        (&["payments"], r#"{"agent":"payments"}"#),
        // As `token` splits them.
        (&["a", "--scope", "p:read,p:push l:GET"], r#"{"agent":"a","scope":"p:read p:push l:GET"}"#),
        (
            &["--issuer", "ci", "--claims", &format!("@{claims}")],
            r#"{"identity":{"claims":{"repository_id":"1","run":2},"issuer":"ci"}}"#,
        ),
        (
            &[
                "a",
                "--scope",
                "p:read",
                "--scope",
                "p:push,l:GET",
                "--resource",
                "https://x",
                "--ttl",
                "5m",
                "--authorization-details",
                details,
            ],
            r#"{"agent":"a","scope":"p:read p:push l:GET","resource":["https://x"],"requested_ttl":300,
            "authorization_details":[{"type":"git_repository","identifier":"payments"}]}"#,
        ),
    ];
    for (args, body) in cases {
        let ran = machine.operate(&broker, &[&["agents", "explain"], args].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let seen = broker.seen().pop().unwrap();
        assert_eq!(seen.line, "POST /v1/explain");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&seen.body), value(body));
    }
}

#[test]
fn a_question_that_cannot_be_asked_is_not_sent() {
    let broker = Canned::new(|_| ok("{}"));
    let machine = Machine::new();
    for args in [
        &[] as &[_],
        &["a", "--issuer", "ci", "--claims", "{}"],
        &["--issuer", "ci"],
        &["--claims", "{}"],
        &["--issuer", "ci", "--claims", "[]"],
        &["--issuer", "ci", "--claims", "@no-such-file"],
        &["a", "--authorization-details", "{}"],
        &["a", "--ttl", "0"],
    ] {
        let ran = machine.operate(&broker, &[&["agents", "explain"], args].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
    }
    assert!(broker.seen().is_empty());
}

#[test]
fn what_would_happen_is_told_with_the_rule() {
    let granted = r#"{"outcome":"granted","agent":"payments","grant":{"scope":"payments:read","ttl":600,
        "authorization_details":[]},"actions":[{"word":"payments:read","tier":"free","because":"file.free"}],
        "stopped_by":null,"stops":[],"registry":"sha256:00"}"#;
    let ran = Machine::new().operate(&Canned::new(move |_| ok(granted)), &["agents", "explain", "payments"]);
    assert_eq!(
        ran.out,
        "payments would be granted a token\n  scope  payments:read\n  lives  600 s\n\n\
         ACTION         TIER  BECAUSE OF\npayments:read  free  file.free\n"
    );
    let stopped = r#"{"outcome":"refused","agent":"payments","refusal":{"error":"access_denied",
        "reason":"revoked","description":"everything is stopped"},"actions":[],"stopped_by":"everything",
        "stops":[{"id":"1","target":"everything","at":"t","reason":"two\nlines \u001b[2J"}]}"#;
    let ran = Machine::new().operate(&Canned::new(move |_| ok(stopped)), &["agents", "explain", "payments"]);
    assert_eq!(ran.code, 0, "the question was answered: {}", ran.err);
    assert_eq!(
        ran.out,
        "payments would be refused (access_denied)\n  reason      revoked\n  \
         because     everything is stopped\n  stopped by  everything\n  \
         stop        1 of everything since t: two\\u{a}lines \\u{1b}[2J\n"
    );
}

#[test]
fn near_misses_show_what_was_expected_and_given() {
    let body = r#"{"outcome":"refused","refusal":{"error":"invalid_request","reason":"no_agent",
        "description":"no registered agent is known by this proof"},"actions":[],"nearest":[
        {"agent":"a","matched":1,"mismatches":[{"claim":"repository_id","expected":"7","given":7},
        {"claim":"ref","expected":"refs/heads/*","given":null}]},
        {"agent":"b","matched":0,"mismatches":[{"claim":null,"expected":"github","given":"ci"}]}]}"#;
    let broker = Canned::new(move |_| ok(body));
    let args = ["agents", "explain", "--issuer", "ci", "--claims", "{}"];
    let ran = Machine::new().operate(&broker, &args);
    assert!(ran.out.starts_with("this identity would be refused (invalid_request)\n"), "{}", ran.out);
    let rows: Vec<Vec<&str>> = ran.out.lines().skip(5).map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [
            vec!["a", "repository_id", "7", "7", "(not", "a", "string)"],
            vec!["a", "ref", "refs/heads/*", "-"],
            vec!["b", "(issuer)", "github", "ci"],
        ]
    );
}
