//! The live tokens of an agent, as operators see them.

use serde_json::{Value, json};

use super::World;
use crate::support::broker::{Backend, decode};
use crate::support::command::{HALLPASS, bare, ran};

#[tokio::test]
async fn an_agents_live_tokens_are_shown_so_that_one_can_be_stopped_by_pasting() {
    let world = World::new(Backend::Memory).await;
    let app = &world.app;
    let jti = |token: &str| decode(token)["jti"].as_str().unwrap().to_owned();
    let shown = async |agent: &str| app.admin_get(&format!("/v1/agents/{agent}")).await.json();
    let ids = |shown: &Value| -> Vec<String> {
        let tokens = shown["tokens"].as_array().unwrap().iter();
        tokens.map(|token| token["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(shown("payments-refactorer").await["tokens"], json!([]));
    let [first, second, third] = [app.issue().await, app.issue().await, app.issue().await];
    let below = world.hand(&second, "1001", &[]).await.token();
    assert_eq!(ids(&shown("payments-refactorer").await), [&third, &second, &first].map(|token| jti(token)));
    let handed = shown("test-runner").await["tokens"].clone();
    let expires: i64 = decode(&below)["exp"].as_i64().unwrap();
    let expires = hallpass::domain::time::Timestamp::from_seconds(expires).to_string();
    assert_eq!(handed[0]["delegated_from"], jti(&second));
    assert_eq!(
        (&handed[0]["scope"], &handed[0]["expires"]),
        (&json!("code:read code:push"), &json!(expires))
    );
    app.post_form("/oauth/revoke", &[("token", &third)], None).await;

    let command = async |arguments: &[&str]| {
        let mut command = bare(HALLPASS);
        command.args(arguments).env("HALLPASS_ADMIN_URL", &app.admin);
        command.env("HALLPASS_OPERATOR_KEY_FILE", app.file("operator.key"));
        ran(command).await
    };
    let text = command(&["agents", "show", "payments-refactorer"]).await.out;
    let pasted = text.split_whitespace().find(|word| word.starts_with("token:")).expect("a live token");
    assert_eq!(pasted, format!("token:{}", jti(&second)), "{text}");
    let stopped = command(&["revoke", pasted, "--reason", "a test"]).await;
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(!app.active(&second).await && !app.active(&below).await && app.active(&first).await);
    assert_eq!(ids(&shown("payments-refactorer").await), [jti(&first)]);
    assert_eq!(shown("test-runner").await["tokens"], json!([]));
    // Many: the newest, and a count of them all.
    for _ in 0..105 {
        app.issue().await;
    }
    let many = shown("payments-refactorer").await;
    assert_eq!((ids(&many).len(), &many["live_tokens"]), (100, &json!(106)));
    let text = command(&["agents", "show", "payments-refactorer"]).await;
    assert!(text.err.contains("6 older live tokens not shown"), "{text:?}");
    world.app.finish().await;
}
