//! Google Cloud's service accounts (<https://cloud.google.com/compute/docs/instances/verifying-instance-identity>).

use super::{Claims, is_number};

const EXAMPLE: &str = "\"104839204857201938475\"";

/// Claims that say less than which account it is, and why.
const WEAK: &[(&str, &str)] = &[
    ("email", "an account made again under this address would match"),
    ("azp", "everyone who signed in through this client matches"),
    ("hd", "every account of the domain matches"),
];

pub(super) fn judge(claims: &Claims<'_>) {
    claims.check_ids(&["sub"], is_number, EXAMPLE);
    if claims.has("sub") {
        return;
    }
    let email = claims.exact("email").unwrap_or("EMAIL");
    let remedy =
        format!("write sub: `gcloud iam service-accounts describe {email} --format='value(uniqueId)'`");
    for (claim, problem) in WEAK.iter().filter(|(claim, _)| claims.has(claim)) {
        claims.refuse(claim, *problem, remedy.clone());
    }
    if !claims.refused.get() {
        let problem = "does not say which account, so that accounts of strangers match";
        claims.refuse("", problem, remedy);
    }
}
