//! Google Cloud's service accounts.

use serde_json::{Value, json};

use super::{Hostile, NO_AGENT, World};

/// As «Verify the identity of VMs» shows them.
fn claims() -> Value {
    json!({
        "azp": "104839204857201938475", "email": "agent@acme.iam.gserviceaccount.com", "email_verified": true,
        "google": {"compute_engine": {
            "instance_creation_timestamp": 1_794_990_000, "instance_id": "152986662232938449",
            "instance_name": "agent-1", "license_id": ["1000204"], "project_id": "acme",
            "project_number": 739_419_398_126_i64, "zone": "us-west1-a"
        }},
        "sub": "104839204857201938475"
    })
}

#[tokio::test]
async fn a_machine_is_known_by_the_unique_id_of_its_account() {
    let rule = r#"{ sub = "104839204857201938475", email = "agent@acme.iam.gserviceaccount.com" }"#;
    let hostile: &[Hostile] = &[
        ("an account made again under the address", |c| c["sub"] = json!("999999999999999999999"), NO_AGENT),
        (
            "a person with the address",
            |c| {
                c["sub"] = json!("110000000000000000001");
                c["azp"] = json!("client.apps.googleusercontent.com");
            },
            NO_AGENT,
        ),
        (
            "another account of the project",
            |c| {
                c["sub"] = json!("104839204857201938476");
                c["email"] = json!("other@acme.iam.gserviceaccount.com");
            },
            NO_AGENT,
        ),
        ("the id as the client's alone", |c| c["sub"] = json!("1"), NO_AGENT),
        ("the id as a number", |c| c["sub"] = json!(104_839_204_857_u64), "claim_invalid"),
        ("an id that ends alike", |c| c["sub"] = json!("0104839204857201938475"), NO_AGENT),
        ("no subject", |c| drop(c.as_object_mut().unwrap().remove("sub")), "claim_missing"),
        ("no address", |c| drop(c.as_object_mut().unwrap().remove("email")), NO_AGENT),
        ("an address of other case", |c| c["email"] = json!("Agent@acme.iam.gserviceaccount.com"), NO_AGENT),
        (
            "a subject of other case beside it",
            |c| c["Sub"] = json!("104839204857201938475"),
            "proof_malformed",
        ),
        (
            "an audience of another service",
            |c| c["aud"] = json!("https://run.acme.test"),
            "audience_mismatch",
        ),
        ("the issuer without its scheme", |c| c["iss"] = json!("accounts.google.com"), "issuer_unknown"),
    ];
    World::start("google", rule, claims()).await.hold(hostile).await;
}
