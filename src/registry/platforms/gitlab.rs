//! GitLab CI/CD (<https://docs.gitlab.com/ci/secrets/id_token_authentication/>).

use super::forge::Unreviewed;
use super::{Claims, is_number};

const UNREVIEWED: Unreviewed = Unreviewed { refs: "refs/merge-requests/**", word: "merge request" };

/// Pipelines of merge requests, which those of a fork may run with the ids of the project.
const MERGE_REQUESTS: &[&str] = &["merge_request_event", "external_pull_request_event"];

pub(super) fn judge(claims: &Claims<'_>) {
    claims.check_ids(&["project_id", "namespace_id"], is_number, "\"2207\"");
    check_circumstances(claims);
    if let Some(pattern) = claims.pattern("ref_path") {
        UNREVIEWED.check_ref(claims, "ref_path", pattern);
    }
    UNREVIEWED.check_pinned(claims, "ci_config_ref_uri");
    check_subject(claims);
    check_names(claims);
    if !claims.refused.get() {
        check_forks(claims);
    }
}

fn check_circumstances(claims: &Claims<'_>) {
    if MERGE_REQUESTS.iter().any(|source| claims.meets("pipeline_source", source)) {
        let problem = "a merge request's pipeline runs code that nobody has reviewed, a fork's too";
        claims.refuse("pipeline_source", problem, "write pipeline_source = \"push\", or \"schedule\"");
    }
    if claims.has("ref_protected") && claims.exact("ref_protected") != Some("true") {
        let problem = "anyone who may push a branch has a job on one that is not protected";
        claims.refuse("ref_protected", problem, "write ref_protected = \"true\"");
    }
    for claim in claims.rules.keys().filter(|claim| claim.starts_with("user_")) {
        let problem = "says who started the pipeline, not what it runs";
        claims.warn(claim, problem, "write project_id, ref_path and ci_config_ref_uri instead");
    }
}

/// `sub` is `project_path:<path>:ref_type:<type>:ref:<ref>`, or has the parts that the project chose
/// (`ci_id_token_sub_claim_components`).
fn check_subject(claims: &Claims<'_>) {
    if !claims.has("sub") || claims.exact("sub").is_some() {
        return;
    }
    match claims.start("sub").split_once(":ref:") {
        None => {
            let problem = "a star before the ref matches projects and refs of others";
            claims.refuse("sub", problem, "write project_id and ref_path instead");
        }
        Some((_, "")) if claims.exact("ref_protected").is_none() => {
            let problem = "any branch matches, and so does a merge request's, a fork's too";
            claims.refuse("sub", problem, "write the branch, or add ref_protected = \"true\"");
        }
        Some(_) => {}
    }
}

/// Paths can be given up and taken by others; ids never are.
fn check_names(claims: &Claims<'_>) {
    let subject_has_id = {
        let words: Vec<&str> = claims.start("sub").split(':').collect();
        words.windows(2).any(|pair| pair[0] == "project_id" && is_number(pair[1]))
    };
    let project = claims.exact("project_id").is_some() || subject_has_id;
    let namespace = project || claims.exact("namespace_id").is_some();
    if claims.has("project_path") && !project {
        let problem = "a project made later under this path would match";
        claims.refuse("project_path", problem, "write project_id, which the project's page shows");
    }
    if claims.has("namespace_path") && !namespace {
        let problem = "a group or user made later under this path would match";
        claims.refuse("namespace_path", problem, "write namespace_id, or project_id");
    }
    if claims.has("sub") && !project {
        let problem = "names the project without its id: one made later under this path would match";
        claims.warn("sub", problem, "write project_id beside it");
    } else if !namespace && !claims.refused.get() {
        claims.refuse("", "does not say which project, so that jobs of strangers match", "add project_id");
    } else if !project && !claims.has("ci_config_ref_uri") && !claims.refused.get() {
        let problem = "every project of the namespace matches, also one that was made a minute ago";
        claims.warn("namespace_id", problem, "add project_id");
    }
}

/// A fork's merge request may run in the project, with its ids and a branch of any name.
fn check_forks(claims: &Claims<'_>) {
    let held = claims.has_any(&["ref_protected", "ref_path", "ci_config_ref_uri"])
        || claims.exact("environment_protected") == Some("true")
        || (claims.has("pipeline_source") && claims.has_any(&["ref", "sub"]));
    if held {
        return;
    }
    let remedy = "add ref_protected = \"true\", or ref_path = \"refs/heads/main\"";
    if claims.has("ref") {
        let problem = "is also the source branch of a merge request, which a fork may give any name";
        claims.warn("ref", problem, remedy);
    } else if claims.has("sub") {
        let problem = "its ref is also the source branch of a merge request, which a fork may give any name";
        claims.warn("sub", problem, remedy);
    } else {
        claims.warn("", "any branch of the project matches, also one that was made a minute ago", remedy);
    }
}
