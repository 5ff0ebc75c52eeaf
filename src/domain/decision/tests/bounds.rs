//! What one request may make the broker compare: its sender is registered, and may be hostile.

use std::time::Instant;

use super::*;
use crate::domain::agent::example::{agent, repository};
use crate::domain::request::{MAX_DETAILS_BYTES, MAX_ELEMENTS, MAX_PATTERNS, MAX_RESOURCES, MAX_SCOPE_WORDS};

fn agent_with(patterns: &[String]) -> Agent {
    let url = "https://github.com/acme/payments";
    agent("worker", vec![repository("payments", url, patterns, &["read", "push"], &[])])
}

/// Each of `patterns` as an element of its own: all of them are compared with one another.
fn apart(patterns: &[String]) -> TokenRequest {
    let element = |pattern: &String| DetailRequest {
        refs: Some(vec![pattern.clone()]),
        ..bare_detail("payments", ResourceKind::GitRepository)
    };
    TokenRequest { details: patterns.iter().map(element).collect(), ..TokenRequest::default() }
}

/// Distinct patterns of `len` bytes, nearly all stars, none of which covers another.
fn hostile(count: usize, len: usize) -> Vec<String> {
    (0..count)
        .map(|n| {
            let tail = format!("b{n:03}");
            let stars = "*a".repeat((len - tail.len() - 12) / 2);
            format!("refs/heads/{stars}{tail}")
        })
        .collect()
}

fn refusal(request: &TokenRequest) -> Refusal {
    let agent = agent_with(&["refs/heads/**".to_owned()]);
    assert!(rulings(&agent, &open_guardrails(), request).is_empty(), "explained without a bound");
    decide(&agent, &open_guardrails(), request, None).granted().unwrap_err()
}

/// 106 patterns of 512 bytes, which took 5 to 21 s.
#[test]
fn sixty_kilobytes_of_patterns_are_refused_unread() {
    let request = apart(&hostile(106, 512));
    let begun = Instant::now();
    let refusal = refusal(&request);
    let took = begun.elapsed();
    assert_eq!(refusal.reason, Reason::DetailsInvalid);
    assert!(took.as_millis() < 100, "{took:?}");
}

/// The worst that is still compared: as many elements and bytes as may be, against as hostile a registration, with
/// refs to protect. About 8,000 comparisons.
#[test]
fn the_largest_request_takes_little_time() {
    let registered: Vec<String> = hostile(20, 500).into_iter().chain(["refs/heads/**".to_owned()]).collect();
    let agent = agent_with(&registered);
    let guardrails = Guardrails {
        protected_refs: all(&["refs/heads/main", "refs/heads/release/**"]),
        ..open_guardrails()
    };
    let patterns = hostile(MAX_ELEMENTS, MAX_DETAILS_BYTES / MAX_ELEMENTS - 32);
    let request = apart(&patterns);
    let begun = Instant::now();
    let granted = decide(&agent, &guardrails, &request, None).granted().unwrap();
    let took = begun.elapsed();
    assert_eq!(granted.permissions.len(), MAX_ELEMENTS, "none covers another");
    assert!(took.as_millis() < 500, "{took:?}");
}

#[test]
fn each_bound_is_where_it_is_said_to_be() {
    let short = |count: usize| -> Vec<String> { (0..count).map(|n| format!("refs/heads/{n}")).collect() };
    let agent = agent_with(&["refs/heads/**".to_owned()]);
    let granted =
        |request: &TokenRequest| decide(&agent, &open_guardrails(), request, None).granted().is_ok();
    let words = |count: usize| TokenRequest {
        scope: vec!["payments:read".to_owned(); count],
        ..TokenRequest::default()
    };
    let resources = |count: usize| TokenRequest {
        resources: vec!["https://github.com".to_owned(); count],
        ..TokenRequest::default()
    };
    let together = |count: usize| {
        let detail = bare_detail("payments", ResourceKind::GitRepository);
        let details = vec![DetailRequest { refs: Some(short(count)), ..detail }];
        TokenRequest { details, ..TokenRequest::default() }
    };
    let long = |bytes: usize| {
        let detail = bare_detail("payments", ResourceKind::GitRepository);
        let fixed = detail.bytes() + 3;
        let environment = Some("x".repeat(bytes - fixed));
        TokenRequest { details: vec![DetailRequest { environment, ..detail }], ..TokenRequest::default() }
    };
    for (largest, beyond, reason) in [
        (words(MAX_SCOPE_WORDS), words(MAX_SCOPE_WORDS + 1), Reason::ParameterInvalid),
        (resources(MAX_RESOURCES), resources(MAX_RESOURCES + 1), Reason::ParameterInvalid),
        (apart(&short(MAX_ELEMENTS)), apart(&short(MAX_ELEMENTS + 1)), Reason::DetailsInvalid),
        (together(MAX_PATTERNS), together(MAX_PATTERNS + 1), Reason::DetailsInvalid),
    ] {
        assert!(granted(&largest), "{reason:?}");
        assert_eq!(refusal(&beyond).reason, reason);
    }
    // An environment is compared, too: one that fits is not the registered one, and one that is too long not read.
    let not_registered =
        decide(&agent, &open_guardrails(), &long(MAX_DETAILS_BYTES), None).granted().unwrap_err();
    assert_eq!(not_registered.reason, Reason::DetailsNotRegistered);
    assert_eq!(refusal(&long(MAX_DETAILS_BYTES + 1)).reason, Reason::DetailsInvalid);
}
