//! GitHub Actions.

use serde_json::{Value, json};

use super::{Hostile, NO_AGENT, World};

/// As the OpenID Connect reference shows them, in the format that has ids.
fn claims() -> Value {
    json!({
        "jti": "example-id", "sub": "repo:acme@77/payments@456789:ref:refs/heads/main",
        "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true",
        "sha": "0123456789012345678901234567890123456789", "repository": "acme/payments",
        "repository_id": "456789", "repository_owner": "acme", "repository_owner_id": "77",
        "repository_visibility": "private", "run_id": "9001", "run_number": "10", "run_attempt": "2",
        "runner_environment": "github-hosted", "actor": "octocat", "actor_id": "12", "head_ref": "",
        "base_ref": "", "event_name": "push", "workflow": "agent",
        "workflow_ref": "acme/payments/.github/workflows/agent.yml@refs/heads/main",
        "workflow_sha": "0123456789012345678901234567890123456789",
        "job_workflow_ref": "acme/payments/.github/workflows/agent.yml@refs/heads/main",
        "job_workflow_sha": "0123456789012345678901234567890123456789"
    })
}

#[tokio::test]
async fn a_job_is_known_by_its_repository_and_workflow() {
    let rule = r#"{ repository_id = "456789", ref = "refs/heads/main", event_name = "push", job_workflow_ref = "acme/payments/.github/workflows/agent.yml@refs/heads/main" }"#;
    let hostile: &[Hostile] = &[
        ("pull_request_target", |c| c["event_name"] = json!("pull_request_target"), NO_AGENT),
        (
            "a pull request",
            |c| {
                c["sub"] = json!("repo:acme@77/payments@456789:pull_request");
                c["ref"] = json!("refs/pull/12/merge");
                c["head_ref"] = json!("main");
                c["event_name"] = json!("pull_request");
            },
            NO_AGENT,
        ),
        (
            "a fork of the same name",
            |c| {
                c["repository"] = json!("mallory/payments");
                c["repository_id"] = json!("999");
                c["repository_owner_id"] = json!("666");
                c["sub"] = json!("repo:mallory@666/payments@999:ref:refs/heads/main");
            },
            NO_AGENT,
        ),
        ("a repository made again under the name", |c| c["repository_id"] = json!("999"), NO_AGENT),
        (
            "an owner renamed to this one",
            |c| {
                c["repository_owner_id"] = json!("666");
                c["repository_id"] = json!("1000");
            },
            NO_AGENT,
        ),
        ("another branch", |c| c["ref"] = json!("refs/heads/main2"), NO_AGENT),
        ("a tag of the branch's name", |c| c["ref"] = json!("refs/tags/main"), NO_AGENT),
        (
            "the workflow at another ref",
            |c| {
                let text = "acme/payments/.github/workflows/agent.yml@refs/heads/mallory";
                c["job_workflow_ref"] = json!(text);
            },
            NO_AGENT,
        ),
        (
            "a workflow that begins alike",
            |c| {
                let text = "acme/payments/.github/workflows/agent.yml@refs/heads/main/x";
                c["job_workflow_ref"] = json!(text);
            },
            NO_AGENT,
        ),
        ("no id", |c| drop(c.as_object_mut().unwrap().remove("repository_id")), NO_AGENT),
        ("a number for an id", |c| c["repository_id"] = json!(456_789), NO_AGENT),
        ("a list of ids", |c| c["repository_id"] = json!(["456789"]), NO_AGENT),
        ("an id with more to it", |c| c["repository_id"] = json!("456789 "), NO_AGENT),
        ("an id in other digits", |c| c["repository_id"] = json!("٤٥٦٧٨٩"), NO_AGENT),
        ("an id beside one of other case", |c| c["Repository_Id"] = json!("456789"), "proof_malformed"),
        (
            "the audience that jobs have by default",
            |c| c["aud"] = json!("https://github.com/acme"),
            "audience_mismatch",
        ),
        ("no time", |c| drop(c.as_object_mut().unwrap().remove("iat")), "claim_missing"),
    ];
    World::start("github", rule, claims()).await.hold(hostile).await;
}

#[tokio::test]
async fn a_subject_with_ids_is_of_one_repository_whatever_its_name() {
    let rule = r#"{ sub = "repo:acme@77/payments@456789:ref:refs/heads/main", event_name = "push" }"#;
    let hostile: &[Hostile] = &[
        (
            "the format before July 2026",
            |c| c["sub"] = json!("repo:acme/payments:ref:refs/heads/main"),
            NO_AGENT,
        ),
        ("made again", |c| c["sub"] = json!("repo:acme@77/payments@999:ref:refs/heads/main"), NO_AGENT),
        (
            "an owner of the name",
            |c| c["sub"] = json!("repo:acme@78/payments@456789:ref:refs/heads/main"),
            NO_AGENT,
        ),
        ("a pull request", |c| c["sub"] = json!("repo:acme@77/payments@456789:pull_request"), NO_AGENT),
        (
            "another branch",
            |c| c["sub"] = json!("repo:acme@77/payments@456789:ref:refs/heads/main/x"),
            NO_AGENT,
        ),
        ("an environment", |c| c["sub"] = json!("repo:acme@77/payments@456789:environment:x"), NO_AGENT),
        (
            "a subject within a subject",
            |c| {
                c["sub"] = json!("repo:m@6/x@9:environment:repo:acme@77/payments@456789:ref:refs/heads/main");
            },
            NO_AGENT,
        ),
        ("pull_request_target", |c| c["event_name"] = json!("pull_request_target"), NO_AGENT),
        ("no subject", |c| drop(c.as_object_mut().unwrap().remove("sub")), "claim_missing"),
        (
            "two subjects",
            |c| c["sub"] = json!(["repo:acme@77/payments@456789:ref:refs/heads/main"]),
            "claim_invalid",
        ),
    ];
    World::start("github", rule, claims()).await.hold(hostile).await;
}

#[tokio::test]
async fn a_subject_by_name_holds_with_the_id_beside_it() {
    let mut before = claims();
    before["sub"] = json!("repo:acme/payments:ref:refs/heads/main");
    let rule = r#"{ sub = "repo:acme/payments:ref:refs/heads/main", repository_id = "456789", event_name = "push" }"#;
    let hostile: &[Hostile] = &[
        ("made again", |c| c["repository_id"] = json!("999"), NO_AGENT),
        ("no id", |c| drop(c.as_object_mut().unwrap().remove("repository_id")), NO_AGENT),
        (
            "the format since July 2026",
            |c| c["sub"] = json!("repo:acme@77/payments@456789:ref:refs/heads/main"),
            NO_AGENT,
        ),
        ("another case", |c| c["sub"] = json!("repo:Acme/payments:ref:refs/heads/main"), NO_AGENT),
        ("a pull request", |c| c["sub"] = json!("repo:acme/payments:pull_request"), NO_AGENT),
        (
            "a repository that begins alike",
            |c| c["sub"] = json!("repo:acme/payments2:ref:refs/heads/main"),
            NO_AGENT,
        ),
        ("an environment", |c| c["sub"] = json!("repo:acme/payments:environment:production"), NO_AGENT),
        ("another audience", |c| c["aud"] = json!(["sts.amazonaws.com"]), "audience_mismatch"),
    ];
    World::start("github", rule, before).await.hold(hostile).await;
}
