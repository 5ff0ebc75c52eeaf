//! Microsoft Entra ID.

use serde_json::{Value, json};

use super::{Hostile, NO_AGENT, World};

const OID: &str = "8f2c9f5e-4f0b-4a53-8c0e-6f6d1c0b9a11";
const TENANT: &str = "5d1b0a57-8a7e-4b0e-a7c4-2f3d6a9b1c22";

/// A managed identity's, as «Access token claims reference» shows them.
fn claims() -> Value {
    json!({
        "aio": "E2RgYDg", "appid": "17c0e7d2-3f67-4d1c-9b44-0a5b8e0d6f33", "appidacr": "2",
        "idp": "https://sts.windows.net/5d1b0a57-8a7e-4b0e-a7c4-2f3d6a9b1c22/", "idtyp": "app", "oid": OID,
        "rh": "0.ARoA", "sub": OID, "tid": TENANT, "uti": "b3Jk", "ver": "1.0",
        "xms_mirid": "/subscriptions/5/resourcegroups/agents/providers/Microsoft.ManagedIdentity/userAssignedIdentities/agent"
    })
}

#[tokio::test]
async fn a_managed_identity_is_known_by_its_object_id() {
    let rule = format!(r#"{{ oid = "{OID}", tid = "{TENANT}" }}"#);
    const OTHER: &str = "aaaaaaaa-4f0b-4a53-8c0e-6f6d1c0b9a11";
    let hostile: &[Hostile] = &[
        (
            "an identity made again under the name",
            |c| {
                c["oid"] = json!(OTHER);
                c["sub"] = json!(OTHER);
            },
            NO_AGENT,
        ),
        ("another tenant", |c| c["tid"] = json!(OTHER), NO_AGENT),
        (
            "another tenant as the issuer",
            |c| c["iss"] = json!("https://sts.windows.net/666/"),
            "issuer_unknown",
        ),
        (
            "a user with that name",
            |c| {
                c["oid"] = json!(OTHER);
                c["upn"] = json!(OID);
                c["name"] = json!(OID);
            },
            NO_AGENT,
        ),
        (
            "a user who signed in through the application",
            |c| {
                c["oid"] = json!(OTHER);
                c["sub"] = json!("pairwise");
                c["idtyp"] = json!("user");
            },
            NO_AGENT,
        ),
        ("no object id", |c| drop(c.as_object_mut().unwrap().remove("oid")), NO_AGENT),
        ("a list of object ids", |c| c["oid"] = json!([OID]), NO_AGENT),
        ("the object id in other case", |c| c["oid"] = json!(OID.to_uppercase()), NO_AGENT),
        ("a claim of other case beside it", |c| c["OID"] = json!(OID), "proof_malformed"),
        (
            "an audience of another service",
            |c| c["aud"] = json!("https://management.azure.com/"),
            "audience_mismatch",
        ),
        ("no tenant", |c| drop(c.as_object_mut().unwrap().remove("tid")), NO_AGENT),
    ];
    let world = World::start("azure", &rule, claims()).await;
    // Azure keeps a managed identity's token for a day, and its kind allows for that by default.
    let mut kept = world.fresh();
    kept["iat"] = json!(kept["iat"].as_i64().unwrap() - 80_000);
    kept["nbf"] = kept["iat"].clone();
    world.exchange(kept).await.token();
    world.hold(hostile).await;
}
