//! One refusal an example: what is named, and by which reason.

use super::*;
use crate::domain::agent::example::{agent, repository};

fn payments_agent() -> Agent {
    let (name, _, place) = RESOURCES[0];
    let payments = repository(name, place, &["refs/heads/agent/*"], &["read", "push"], &["merge"]);
    agent("payments-refactorer", vec![Permission { environment: Some("staging".into()), ..payments }])
}

#[test]
fn what_is_beyond_the_registration_is_refused_by_name() {
    let payments = || bare_detail("payments", ResourceKind::GitRepository);
    let list = |items: &[&str]| Some(items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>());
    for (detail, reason, named) in [
        (
            DetailRequest { actions: list(&["read", "deploy"]), ..payments() },
            Reason::DetailsNotRegistered,
            "payments:deploy",
        ),
        (
            DetailRequest { locations: list(&["https://github.com/acme/other"]), ..payments() },
            Reason::DetailsNotRegistered,
            "https://github.com/acme/other",
        ),
        (
            DetailRequest { refs: list(&["refs/heads/*"]), ..payments() },
            Reason::DetailsNotRegistered,
            "payments refs/heads/*",
        ),
        (
            DetailRequest { environment: Some("production".into()), ..payments() },
            Reason::DetailsNotRegistered,
            "payments in production",
        ),
        (
            DetailRequest { kind: "http_endpoint".into(), ..payments() },
            Reason::DetailsNotRegistered,
            "payments",
        ),
        (bare_detail("other", ResourceKind::GitRepository), Reason::DetailsNotRegistered, "other"),
        (
            DetailRequest { actions: list(&["merge"]), ..payments() },
            Reason::ApprovalRequired,
            "payments:merge",
        ),
        (DetailRequest { actions: list(&[]), ..payments() }, Reason::DetailsInvalid, "`actions`"),
        (DetailRequest { refs: list(&["**/x"]), ..payments() }, Reason::DetailsInvalid, "`refs`"),
        (DetailRequest { paths: list(&["/x"]), ..payments() }, Reason::DetailsInvalid, "`refs`, not `paths`"),
    ] {
        let request = TokenRequest { details: vec![detail.clone()], ..TokenRequest::default() };
        let refusal = decide(&payments_agent(), &open_guardrails(), &request, None).granted().unwrap_err();
        assert_eq!(refusal.reason, reason, "{detail:?}: {refusal:?}");
        assert!(refusal.description.contains(named), "{detail:?}: {refusal:?}");
    }
}

#[test]
fn a_resource_is_an_origin_or_the_url_of_a_registered_resource_and_else_refused_by_name() {
    let elsewhere = [
        "https://other.example",
        "https://github.com/acme",
        "https://github.com/acme/payments/pulls",
        "https://github.com/acme/payment",
        "https://github.com/acme/Payments",
        "https://github.com/acme/payments?x",
        "github.com",
        "",
    ];
    for resource in elsewhere {
        let request = TokenRequest { resources: vec![resource.into()], ..TokenRequest::default() };
        let refusal = decide(&payments_agent(), &open_guardrails(), &request, None).granted().unwrap_err();
        assert_eq!(refusal.reason, Reason::TargetNotRegistered);
        assert!(refusal.description.starts_with(resource));
    }
    // The default port and a last slash are the same origin, or the same resource, in another spelling.
    let (payments, billing) = ("https://github.com/acme/payments", "https://github.com/acme/billing");
    let mut both = payments_agent();
    both.permissions.push(repository("billing", billing, &["refs/heads/agent/*"], &["read"], &[]));
    let ask = |resources: &[&str], scope: &[&str]| {
        let texts = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let request =
            TokenRequest { resources: texts(resources), scope: texts(scope), ..TokenRequest::default() };
        decide(&both, &open_guardrails(), &request, None).granted()
    };
    for (resources, names) in [
        (&["https://GITHUB.com:443/"][..], &["payments", "billing"][..]),
        (&["https://github.com/acme/payments"], &["payments"]),
        (&["https://github.com/acme/billing/"], &["billing"]),
        (&[payments, billing], &["payments", "billing"]),
        (&["https://github.com", billing], &["payments", "billing"]),
    ] {
        let grant = ask(resources, &[]).unwrap();
        let granted: Vec<&str> = grant.permissions.iter().map(|p| p.identifier.as_str()).collect();
        assert_eq!(granted, names, "{resources:?}");
    }
    // Narrowed to one resource, the other is not to be had, though it is registered.
    let refusal = ask(&[payments], &["billing:read"]).unwrap_err();
    assert_eq!(refusal.reason, Reason::ScopeNotRegistered);
    // A resource at which nothing was asked for is told, not dropped.
    let refusal = ask(&[payments, billing], &["billing:read"]).unwrap_err();
    assert_eq!(refusal.reason, Reason::TargetNotRegistered);
    assert!(refusal.description.starts_with(payments), "{refusal:?}");
}

/// As the MCP SDKs name a server: `https://mcp.acme.internal/mcp`.
#[test]
fn a_resource_with_a_path_of_an_endpoint_is_that_path_alone() {
    let mut agent = payments_agent();
    let origin = "https://mcp.acme.internal";
    agent.permissions.push(Permission {
        kind: ResourceKind::HttpEndpoint,
        ..repository("tools", origin, &["/mcp", "/v1/**"], &["GET", "POST"], &["DELETE"])
    });
    let ask = |resources: &[&str], scope: &[&str], paths: Option<&str>| {
        let texts = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let detail = |path: &str| DetailRequest {
            paths: Some(vec![path.to_owned()]),
            ..bare_detail("tools", ResourceKind::HttpEndpoint)
        };
        let details = paths.into_iter().map(detail).collect();
        let request = TokenRequest { resources: texts(resources), scope: texts(scope), details, ttl: None };
        let grant = decide(&agent, &open_guardrails(), &request, None).granted()?;
        let paths = grant.permissions.iter().flat_map(|p| p.paths.iter().map(ToString::to_string));
        Ok(paths.collect::<Vec<_>>().join(" "))
    };
    let granted =
        |resources: &[&str]| ask(resources, &[], None).unwrap_or_else(|refusal: Refusal| refusal.description);
    let at = |path: &str| format!("{origin}{path}");
    assert_eq!(granted(&[&at("/mcp")]), "/mcp");
    assert_eq!(granted(&[&at("/mcp/")]), "/mcp", "a last slash is another spelling");
    assert_eq!(granted(&[&at("/v1/entries/1"), &at("/mcp")]), "/mcp /v1/entries/1");
    assert_eq!(granted(&[&at("/mcp"), origin]), "/mcp /v1/**", "the origin is all of it");
    assert_eq!(ask(&[&at("/mcp")], &["tools:POST"], None).unwrap(), "/mcp");
    assert_eq!(ask(&[&at("/v1/a")], &[], Some("/v1/a")).unwrap(), "/v1/a");
    for (resources, scope, paths, reason) in [
        (at("/mcp/admin"), &[][..], None, Reason::TargetNotRegistered),
        (at("/"), &["payments:read"], None, Reason::ScopeNotRegistered),
        (at("/v1/*"), &[], None, Reason::TargetNotRegistered),
        (at("/v1/**"), &[], None, Reason::TargetNotRegistered),
        (at("/v1/%2e%2e/x"), &[], None, Reason::TargetNotRegistered),
        (at("/v1/a%2fb"), &[], None, Reason::TargetNotRegistered),
        (at("/mcp"), &["tools:DELETE"], None, Reason::ApprovalRequired),
        (at("/mcp"), &["payments:read"], None, Reason::ScopeNotRegistered),
        (at("/mcp"), &[], Some("/v1/**"), Reason::DetailsNotRegistered),
        (at("/v1/a"), &[], Some("/v1/*"), Reason::DetailsNotRegistered),
    ] {
        let refusal = ask(&[&resources], scope, paths).unwrap_err();
        assert_eq!(refusal.reason, reason, "{resources} {scope:?} {paths:?}: {refusal:?}");
    }
}

#[test]
fn an_element_that_another_covers_is_said_once() {
    let whole = bare_detail("payments", ResourceKind::GitRepository);
    let part = DetailRequest { refs: Some(vec!["refs/heads/agent/x".into()]), ..whole.clone() };
    for details in [vec![part.clone(), whole.clone()], vec![whole, part]] {
        let request = TokenRequest { details, ..TokenRequest::default() };
        let grant = decide(&payments_agent(), &open_guardrails(), &request, None).granted().unwrap();
        assert_eq!(grant.permissions.len(), 1);
        assert_eq!(grant.permissions[0].refs, all::<Pattern, Vec<_>>(&["refs/heads/agent/*"]));
    }
}

/// An agent that puts a credential where a scope, a resource or a detail belongs is not told it back, nor is any log.
#[test]
fn no_credential_is_repeated_by_a_refusal() {
    let jwt = format!("eyJhbGciOiJFUzI1NiJ9.{}.{}", "a".repeat(300), "b_-".repeat(20));
    for secret in [jwt.as_str(), "eyJhbGciOiJub25lIn0.e30.", "hpo_0123456789abcdef"] {
        let text = || secret.to_owned();
        let payments = || bare_detail("payments", ResourceKind::GitRepository);
        let details = [
            bare_detail(secret, ResourceKind::GitRepository),
            DetailRequest { kind: text(), ..payments() },
            DetailRequest { actions: Some(vec![text()]), ..payments() },
            DetailRequest { locations: Some(vec![format!("https://github.com/{secret}")]), ..payments() },
            DetailRequest { refs: Some(vec![format!("refs/heads/{secret}")]), ..payments() },
            DetailRequest { environment: Some(text()), ..payments() },
        ];
        let with = |scope: &str| TokenRequest { scope: vec![scope.to_owned()], ..TokenRequest::default() };
        let requests =
            details.map(|detail| TokenRequest { details: vec![detail], ..TokenRequest::default() });
        let requests = requests.into_iter().chain([
            with(secret),
            with(&format!("payments:{secret}")),
            with(&format!("{secret}:read")),
            TokenRequest { resources: vec![text()], ..TokenRequest::default() },
            TokenRequest { resources: vec![format!("https://{secret}")], ..TokenRequest::default() },
        ]);
        for request in requests {
            let refusal =
                decide(&payments_agent(), &open_guardrails(), &request, None).granted().unwrap_err();
            assert!(!refusal.description.contains(secret), "{refusal:?}");
            assert!(!refusal.description.contains(&secret[4..]), "{refusal:?}");
        }
    }
}

/// Only admins lift a stop, so nobody else is named as one who could.
#[test]
fn a_stopped_agent_is_told_who_can_lift_the_stop() {
    let target: Target = "agent:payments-refactorer".parse().unwrap();
    let refusal = decide(&payments_agent(), &open_guardrails(), &TokenRequest::default(), Some(&target));
    let refusal = refusal.granted().unwrap_err();
    assert_eq!(refusal.reason, Reason::Revoked);
    let told = "agent:payments-refactorer is stopped until an admin lifts the stop; ask ";
    assert!(refusal.description.starts_with(told), "{refusal:?}");
    assert!(!refusal.description.contains("can lift"), "{refusal:?}");
}
