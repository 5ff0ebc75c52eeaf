//! GitLab CI/CD.

use serde_json::{Value, json};

use super::{Hostile, NO_AGENT, World};

/// As «ID token authentication» shows them.
fn claims() -> Value {
    json!({
        "namespace_id": "72", "namespace_path": "acme", "project_id": "2207", "project_path": "acme/updater",
        "user_id": "1", "user_login": "sample-user", "user_email": "sample-user@acme.test",
        "user_access_level": "maintainer", "user_identities": [{"provider": "github", "extern_uid": "2435"}],
        "pipeline_id": "574", "pipeline_source": "schedule", "job_id": "302", "ref": "main",
        "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
        "groups_direct": ["acme"], "runner_id": 1, "runner_environment": "gitlab-hosted",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "project_visibility": "private",
        "ci_config_ref_uri": "gitlab.com/acme/updater//.gitlab-ci.yml@refs/heads/main",
        "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
        "sub": "project_path:acme/updater:ref_type:branch:ref:main"
    })
}

#[tokio::test]
async fn a_job_is_known_by_its_project_and_a_protected_ref() {
    let rule = r#"{ project_id = "2207", ref_path = "refs/heads/main", ref_protected = "true", pipeline_source = "schedule" }"#;
    let hostile: &[Hostile] = &[
        (
            "a merge request of a fork whose branch is called main, run in the project",
            |c| {
                c["pipeline_source"] = json!("merge_request_event");
                c["ref_path"] = json!("refs/merge-requests/7/head");
                c["ref_protected"] = json!("false");
            },
            NO_AGENT,
        ),
        (
            "a fork",
            |c| {
                c["project_id"] = json!("9000");
                c["project_path"] = json!("mallory/updater");
            },
            NO_AGENT,
        ),
        ("a project made again under the path", |c| c["project_id"] = json!("9001"), NO_AGENT),
        (
            "a group renamed to this one",
            |c| {
                c["namespace_id"] = json!("666");
                c["project_id"] = json!("9002");
            },
            NO_AGENT,
        ),
        ("a branch that is not protected", |c| c["ref_protected"] = json!("false"), NO_AGENT),
        ("protected, but as no string", |c| c["ref_protected"] = json!(true), NO_AGENT),
        ("another branch", |c| c["ref_path"] = json!("refs/heads/mallory"), NO_AGENT),
        ("a tag of the branch's name", |c| c["ref_path"] = json!("refs/tags/main"), NO_AGENT),
        ("started by hand", |c| c["pipeline_source"] = json!("web"), NO_AGENT),
        ("no id", |c| drop(c.as_object_mut().unwrap().remove("project_id")), NO_AGENT),
        ("a number for an id", |c| c["project_id"] = json!(2207), NO_AGENT),
        ("an id of other case beside it", |c| c["PROJECT_ID"] = json!("2207"), "proof_malformed"),
        ("another audience", |c| c["aud"] = json!("https://vault.acme.test"), "audience_mismatch"),
        (
            "from a job that started long ago",
            |c| c["iat"] = json!(c["iat"].as_i64().unwrap() - 3700),
            "too_old",
        ),
    ];
    let world = World::start("gitlab", rule, claims()).await;
    // Made when the job started: within the hour that GitLab's kind allows by default.
    let mut started = world.fresh();
    started["iat"] = json!(started["iat"].as_i64().unwrap() - 3000);
    started["nbf"] = started["iat"].clone();
    world.exchange(started).await.token();
    world.hold(hostile).await;
}
