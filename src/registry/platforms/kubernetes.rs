//! Kubernetes' projected service account tokens
//! (<https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>).

use super::{Claims, is_uuid};
use crate::domain::platform::{KUBERNETES, KUBERNETES_CLAIMS, is_below_kubernetes};

const NAMESPACE: &str = "kubernetes.io.namespace";
const NAME: &str = "kubernetes.io.serviceaccount.name";
const UID: &str = "kubernetes.io.serviceaccount.uid";

/// Where a pod runs and what it is called this time.
const PASSING: &[&str] =
    &["kubernetes.io.pod.name", "kubernetes.io.pod.uid", "kubernetes.io.node.name", "kubernetes.io.node.uid"];

pub(super) fn judge(claims: &Claims<'_>) {
    check_nested(claims);
    claims.check_ids(&[UID], is_uuid, "\"0d9f2c1e-6d0c-4c52-9b1e-0f5b8f1f7a11\"");
    for claim in ["sub", NAMESPACE, NAME].into_iter().filter(|claim| claims.has(claim)) {
        if claims.exact(claim).is_none() {
            let problem = "a star matches service accounts that others make";
            claims.refuse(claim, problem, "write the whole name");
        }
    }
    for claim in PASSING.iter().filter(|claim| claims.has(claim)) {
        let problem = "is another with every pod, and says nothing of what the pod may be";
        claims.warn(claim, problem, format!("write {UID} instead"));
    }
    if !claims.refused.get() {
        check_account(claims);
    }
}

fn check_nested(claims: &Claims<'_>) {
    let is_known = |claim: &str| KUBERNETES_CLAIMS.iter().any(|(known, _)| *known == claim);
    let known = || KUBERNETES_CLAIMS.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
    for claim in claims.rules.keys() {
        if claim.starts_with(KUBERNETES)
            && (claim == KUBERNETES || claim[KUBERNETES.len()..].starts_with('/'))
        {
            claims.refuse(
                claim,
                "is no string claim of a projected token",
                format!("write one of {}", known()),
            );
        } else if is_below_kubernetes(claim) && !is_known(claim) {
            claims.refuse(claim, "is not read", format!("write one of {}", known()));
        }
    }
}

fn check_account(claims: &Claims<'_>) {
    if claims.has(UID) {
        return;
    }
    let account =
        claims.exact("sub").and_then(|sub| sub.strip_prefix("system:serviceaccount:")?.split_once(':'));
    let account = account.or_else(|| Some((claims.exact(NAMESPACE)?, claims.exact(NAME)?)));
    match account {
        Some((namespace, name)) => claims.warn(
            if claims.has("sub") { "sub" } else { NAME },
            "a service account made again under this name would match",
            format!(
                "add \"{UID}\": `kubectl get serviceaccount {name} -n {namespace} -o jsonpath={{.metadata.uid}}`"
            ),
        ),
        None if claims.has(NAME) => {
            let problem = "every namespace may have a service account of this name";
            claims.refuse(NAME, problem, format!("add \"{NAMESPACE}\", and \"{UID}\""));
        }
        None if claims.has(NAMESPACE) => {
            let problem = "every service account of the namespace matches";
            claims.refuse(NAMESPACE, problem, format!("add \"{UID}\""));
        }
        None if claims.has("sub") => {
            let remedy = "write sub = \"system:serviceaccount:<namespace>:<name>\"";
            claims.refuse("sub", "is not the subject of a service account", remedy);
        }
        None => {
            let problem = "does not say which service account, so that pods of strangers match";
            claims.refuse("", problem, format!("add sub, and \"{UID}\""));
        }
    }
}
