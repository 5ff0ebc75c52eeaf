use super::*;

fn repository(name: &str, url: &str, refs: &[&str], free: &[&str], gated: &[&str]) -> Permission {
    let repository = example::repository(name, url, refs, free, gated);
    Permission { environment: Some("staging".into()), ..repository }
}

fn endpoint(name: &str, free: &[&str], gated: &[&str]) -> Permission {
    Permission {
        kind: ResourceKind::HttpEndpoint,
        patterns: vec!["/v1/entries/**".parse().unwrap()],
        ..repository(name, "https://ledger.staging.acme.internal", &[], free, gated)
    }
}

fn payments() -> Permission {
    let (url, refs) = ("https://github.com/acme/payments", &["refs/heads/agent/*"]);
    repository("payments", url, refs, &["read", "push"], &["merge"])
}

fn agent(permissions: Vec<Permission>) -> Agent {
    example::agent("payments-refactorer", permissions)
}

#[test]
fn the_sentence_is_the_designs() {
    assert_eq!(
        agent(vec![payments(), endpoint("ledger", &["GET"], &[])]).sentence(),
        "payments-refactorer may read and push agent/* in acme/payments and GET ledger; merging needs \
         team-payments; team-payments answers for it."
    );
}

#[test]
fn the_sentence_leaves_no_gate_out() {
    assert_eq!(
        agent(vec![payments(), endpoint("ledger", &["GET"], &["POST"])]).sentence(),
        "payments-refactorer may read and push agent/* in acme/payments and GET ledger; merging and \
         POST ledger need team-payments; team-payments answers for it."
    );
}

#[test]
fn the_sentence_tells_repositories_and_production_apart() {
    let infra = "https://git.acme.internal/acme/infra";
    let mut infra = repository("infra", infra, &[], &["read"], &["deploy", "secrets:read"]);
    infra.environment = Some("production".into());
    assert_eq!(
        agent(vec![payments(), infra]).sentence(),
        "payments-refactorer may read and push agent/* in acme/payments and read in acme/infra \
         (production); merging in acme/payments, deploying in acme/infra (production) and secrets:read in \
         acme/infra (production) need team-payments; team-payments answers for it."
    );
}

#[test]
fn the_sentence_of_an_agent_that_may_do_nothing_alone() {
    let (free, with_gate) = (agent(vec![]), agent(vec![endpoint("ledger", &[], &["POST"])]));
    assert_eq!(
        free.sentence(),
        "payments-refactorer may do nothing without asking; team-payments answers for it."
    );
    assert_eq!(
        with_gate.sentence(),
        "payments-refactorer may do nothing without asking; POST ledger needs team-payments; team-payments \
         answers for it."
    );
}

#[test]
fn gerunds() {
    for (action, expected) in [
        ("merge", "merging"),
        ("deploy", "deploying"),
        ("push", "pushing"),
        ("approve", "approving"),
        ("tag", "tagging"),
        ("run", "running"),
        ("fix", "fixing"),
        ("commit", "committing"),
        ("edit", "editing"),
        ("open", "opening"),
        ("see", "seeing"),
        ("secrets:read", "secrets:read"),
        ("open-pr", "open-pr"),
    ] {
        assert_eq!(gerund(action), expected);
    }
}

fn claims(issuer: &str, rules: &[(&str, &str)]) -> IdentityRule {
    IdentityRule::Claims {
        issuer: issuer.parse().unwrap(),
        claims: rules.iter().map(|(name, rule)| ((*name).to_owned(), rule.parse().unwrap())).collect(),
    }
}

fn identity(issuer: &str, values: &[(&str, &str)]) -> VerifiedIdentity {
    VerifiedIdentity {
        issuer: issuer.parse().unwrap(),
        subject: "repo:acme/payments".into(),
        claims: values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        expires: crate::domain::time::Timestamp::from_seconds(1),
    }
}

#[test]
fn a_rule_needs_its_issuer_and_every_claim() {
    let rule = claims("github", &[("repository_id", "456789"), ("ref", "refs/heads/*")]);
    let good = [("repository_id", "456789"), ("ref", "refs/heads/main"), ("actor", "any")];
    assert!(rule.matches(&identity("github", &good)));
    assert!(!rule.matches(&identity("gitlab", &good)), "the same claims of another issuer");
    assert!(!rule.matches(&identity("github", &good[..1])), "a claim that is not there");
    assert!(!rule.matches(&identity("github", &[good[0], ("ref", "refs/heads/a/b")])));
    assert!(!rule.matches(&identity("github", &[("Repository_id", "456789"), good[1]])), "case variant");
}

#[test]
fn a_rule_covers_what_it_cannot_tell_apart() {
    let wide = claims("github", &[("repository_id", "456789")]);
    let narrow = claims("github", &[("repository_id", "456789"), ("ref", "refs/heads/main")]);
    assert!(wide.covers(&narrow) && !narrow.covers(&wide));
    assert!(!wide.covers(&claims("gitlab", &[("repository_id", "456789")])));
    let key = |x: &str| {
        IdentityRule::Key(PublicKey { kty: "OKP".into(), crv: "Ed25519".into(), x: x.into(), y: None })
    };
    assert!(key("a").covers(&key("a")) && !key("a").covers(&key("b")));
    assert!(!wide.covers(&key("a")) && !key("a").covers(&wide));
}
