use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_795_000_000;
const OURS: &str = "https://hallpass.test";

fn claims(text: &str) -> Object {
    Object::parse(text.as_bytes(), &[]).unwrap()
}

fn judge(text: &str, max_age: Option<u64>) -> Result<Accepted, Reason> {
    let limits = Limits { leeway: Duration::from_secs(30), max_age: max_age.map(Duration::from_secs) };
    let expected =
        Expected { issuer: "https://i.test", audience: "https://us.test", kind: Platform::Oidc, limits };
    accept(claims(text), expected, Timestamp::from_seconds(NOW)).map_err(|error| error.reason)
}

/// Good claims with these dates.
fn dated(dates: &str) -> String {
    format!(r#"{{"iss":"https://i.test","sub":"s","aud":"https://us.test",{dates}}}"#)
}

#[test]
fn keeps_the_string_claims_alone() {
    let text = dated(r#""exp":1795000300,"iat":1795000000,"n":1,"o":{"sub":"x"},"a":["x"],"repo":"r""#);
    let accepted = judge(&text, Some(60)).unwrap();
    assert_eq!(accepted.subject, "s");
    let names: Vec<_> = accepted.strings.keys().map(String::as_str).collect();
    assert_eq!(names, ["aud", "iss", "repo", "sub"]);
    assert_eq!(accepted.dates.expires, Timestamp::from_seconds(1_795_000_300));
}

#[test]
fn the_leeway_ends_to_the_millisecond() {
    for (dates, verdict) in [
        (r#""exp":1794999970.001"#, Ok(())),
        (r#""exp":1794999970"#, Err(Reason::Expired)),
        (r#""exp":1795000300,"nbf":1795000030"#, Ok(())),
        (r#""exp":1795000300,"nbf":1795000030.5"#, Err(Reason::NotYetValid)),
        (r#""exp":1795000300,"iat":1795000030"#, Ok(())),
        (r#""exp":1795000300,"iat":1795000031"#, Err(Reason::NotYetValid)),
    ] {
        assert_eq!(judge(&dated(dates), None).map(|_| ()), verdict, "{dates}");
    }
    for (iat, verdict) in [(NOW - 90, Ok(())), (NOW - 91, Err(Reason::TooOld))] {
        let text = dated(&format!(r#""exp":1795000300,"iat":{iat}"#));
        assert_eq!(judge(&text, Some(60)).map(|_| ()), verdict, "{iat}");
    }
}

#[test]
fn a_date_is_a_number_in_range() {
    for wrong in [
        r#""1795000300""#,
        "null",
        "true",
        "[1795000300]",
        "{}",
        "-1",
        "253402300800",
        "1e300",
        "18446744073709551615",
    ] {
        for name in ["exp", "nbf", "iat"] {
            let dates = if name == "exp" {
                format!(r#""exp":{wrong}"#)
            } else {
                format!(r#""exp":1795000300,"{name}":{wrong}"#)
            };
            assert_eq!(judge(&dated(&dates), None).unwrap_err(), Reason::ClaimInvalid, "{dates}");
        }
    }
}

#[test]
fn audience_is_one_of_ours_in_either_form() {
    for (aud, verdict) in [
        (r#""https://us.test""#, Ok(())),
        (r#"["https://x.test","https://us.test"]"#, Ok(())),
        (r#""https://us.test/""#, Err(Reason::AudienceMismatch)),
        (r#"["https://x.test"]"#, Err(Reason::AudienceMismatch)),
        ("[]", Err(Reason::ClaimInvalid)),
        (r#"["https://us.test",1]"#, Err(Reason::ClaimInvalid)),
        (r#"["https://us.test",""]"#, Err(Reason::ClaimInvalid)),
        (r#"{"https://us.test":1}"#, Err(Reason::ClaimInvalid)),
        ("null", Err(Reason::ClaimInvalid)),
    ] {
        let text = format!(r#"{{"iss":"https://i.test","sub":"s","exp":1795000300,"aud":{aud}}}"#);
        assert_eq!(judge(&text, None).map(|_| ()), verdict, "{aud}");
    }
}

fn assertion(rest: &str) -> Result<(Dates, String), Reason> {
    let text = format!(r#"{{"iss":"a","sub":"a",{rest}}}"#);
    let us = OurNames {
        issuer: OURS.parse().unwrap(),
        token_endpoint: format!("{OURS}/oauth/token"),
        issuer_alone: false,
    };
    accept_assertion(&claims(&text), &us, Timestamp::from_seconds(NOW)).map_err(|error| error.reason)
}

#[test]
fn an_assertion_is_for_us_alone_short_and_named() {
    let good = r#""exp":1795000300,"iat":1795000000,"jti":"j","aud":"https://hallpass.test""#;
    assert_eq!(assertion(good).unwrap().1, "j");
    let array = good.replace(r#""https://hallpass.test""#, r#"["https://hallpass.test"]"#);
    assert!(assertion(&array).is_ok());
    let two = r#"["https://hallpass.test","https://x.test"]"#;
    for (from, to, reason) in [
        (r#""https://hallpass.test""#, two, Reason::AudienceMismatch),
        (r#""https://hallpass.test""#, r#""https://x.test""#, Reason::AudienceMismatch),
        ("1795000300", "1795000301", Reason::LifetimeTooLong),
        (r#""exp":1795000300,"#, "", Reason::ClaimMissing),
        (r#""jti":"j","#, "", Reason::ClaimMissing),
        (r#""jti":"j""#, r#""jti":"""#, Reason::ClaimInvalid),
        (r#""jti":"j""#, r#""jti":7"#, Reason::ClaimInvalid),
    ] {
        let changed = good.replace(from, to);
        assert_ne!(changed, good);
        assert_eq!(assertion(&changed).unwrap_err(), reason, "{changed}");
    }
    let long = good.replace(r#""j""#, &format!("{:?}", "j".repeat(257)));
    assert_eq!(assertion(&long).unwrap_err(), Reason::ClaimInvalid);
}

proptest! {
    /// Time only takes a proof away, never gives it back, once it was valid.
    #[test]
    fn a_proof_that_died_stays_dead(
        iat in 0i64..2_000, life in 1i64..2_000, nbf in proptest::option::of(0i64..2_000),
        leeway in 0u64..100, max_age in proptest::option::of(1u64..3_000),
        now in 0i64..5_000, later in 0i64..5_000,
    ) {
        let dates = Dates {
            expires: Timestamp::from_seconds(iat + life),
            not_before: nbf.map(Timestamp::from_seconds),
            issued: Some(Timestamp::from_seconds(iat)),
        };
        let limits = Limits { leeway: Duration::from_secs(leeway), max_age: max_age.map(Duration::from_secs) };
        let at = |seconds| dates.check(limits, Timestamp::from_seconds(seconds)).map_err(|error| error.reason);
        if matches!(at(now), Err(Reason::Expired | Reason::TooOld)) {
            prop_assert!(matches!(at(now + later), Err(Reason::Expired | Reason::TooOld)));
        }
        if at(now).is_ok() {
            prop_assert!(now < iat + life + i64::try_from(leeway).unwrap());
            prop_assert!(!matches!(at(now + later), Err(Reason::NotYetValid)));
        }
    }
}

/// The claims of a Kubernetes token with this text beside the required ones.
fn kubernetes(more: &str) -> Result<BTreeMap<String, String>, Reason> {
    let text =
        format!(r#"{{"iss":"https://i.test","sub":"s","aud":"https://us.test","exp":{},{more}}}"#, NOW + 60);
    let limits = Limits { leeway: Duration::ZERO, max_age: None };
    let expected = Expected {
        issuer: "https://i.test",
        audience: "https://us.test",
        kind: Platform::Kubernetes,
        limits,
    };
    let accepted = accept(claims(&text), expected, Timestamp::from_seconds(NOW));
    accepted.map(|accepted| accepted.strings).map_err(|error| error.reason)
}

#[test]
fn what_kubernetes_nests_is_read_by_the_way_to_it_and_nothing_else() {
    let strings = kubernetes(
        r#""kubernetes.io":{"namespace":"n","serviceaccount":{"name":"a","uid":"u"},"pod":{"name":"p","uid":7},
        "node":"x","secret":{"name":"s"},"pod.name":"q","warnafter":1}"#,
    )
    .unwrap();
    let nested: Vec<(&str, &str)> = strings
        .iter()
        .filter(|(name, _)| name.starts_with("kubernetes.io"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        nested,
        [
            ("kubernetes.io.namespace", "n"),
            ("kubernetes.io.pod.name", "p"),
            ("kubernetes.io.serviceaccount.name", "a"),
            ("kubernetes.io.serviceaccount.uid", "u"),
        ]
    );
    for other in
        [r#""kubernetes.io":"n""#, r#""kubernetes.io":[{"namespace":"n"}]"#, r#""kubernetes.io":null"#]
    {
        assert!(!kubernetes(other).unwrap().contains_key("kubernetes.io.namespace"), "{other}");
    }
}

proptest! {
    /// Whatever is at the top of a token, a nested claim's name is only ever that of a nested value.
    #[test]
    fn nothing_at_the_top_of_a_token_passes_for_nested(
        name in "[Kk]ubernetes\\.(io|IO)[./](namespace|serviceaccount\\.uid|x)", value in "[a-z]{1,5}"
    ) {
        match kubernetes(&format!(r#""{name}":"{value}","kubernetes.io":{{"namespace":"real"}}"#)) {
            Err(reason) => prop_assert_eq!(reason, Reason::ClaimInvalid),
            Ok(strings) => {
                prop_assert_eq!(strings["kubernetes.io.namespace"].as_str(), "real");
                prop_assert!(!strings.contains_key("kubernetes.io.serviceaccount.uid"));
            }
        }
    }
}
