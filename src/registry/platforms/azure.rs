//! Microsoft Entra ID (<https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>).

use super::{Claims, is_uuid};

const EXAMPLE: &str = "\"8f2c9f5e-4f0b-4a53-8c0e-6f6d1c0b9a11\"";

/// Names, which an administrator or the user changes, and gives to others.
const MUTABLE: &[&str] = &[
    "app_displayname",
    "email",
    "family_name",
    "given_name",
    "name",
    "preferred_username",
    "unique_name",
    "upn",
    "xms_mirid",
];

pub(super) fn judge(claims: &Claims<'_>) {
    claims.check_ids(&["oid", "appid", "azp", "tid"], is_uuid, EXAMPLE);
    if claims.has("sub") && claims.exact("sub").is_none() {
        claims.refuse("sub", "a star in an id lets others match", "write oid instead");
    }
    let principal = claims.has_any(&["oid", "sub"]);
    let application = ["appid", "azp"].into_iter().find(|claim| claims.has(claim));
    for claim in MUTABLE.iter().filter(|claim| claims.has(claim)) {
        let problem = "is a name, which can be changed and given to another";
        if principal || application.is_some() {
            claims.warn(claim, problem, "leave it out");
        } else {
            claims.refuse(claim, problem, "write oid, the object id of the service principal");
        }
    }
    if claims.refused.get() || principal {
        return;
    }
    match application {
        Some(claim) => {
            let problem = "is also in the tokens of users who signed in through the application";
            claims.warn(claim, problem, "add oid, the object id of its service principal");
        }
        None => {
            let problem = "does not say which principal, so that everyone of the tenant matches";
            claims.refuse("", problem, "add oid, the object id of the service principal");
        }
    }
}
