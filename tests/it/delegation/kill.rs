//! Killing any ancestor kills what was handed down.

use super::World;
use crate::support::broker::{BOTH, Backend, decode};

#[tokio::test]
async fn a_stop_anywhere_above_kills_the_leaf() {
    for backend in BOTH {
        let world = World::new(backend).await;
        let jti = |token: &str| decode(token)["jti"].as_str().unwrap().to_owned();
        for level in 0..10 {
            let first = world.app.issue().await;
            let second = world.hand(&first, "1001", &[]).await.token();
            let third = world.hand(&second, "1002", &[]).await.token();
            assert!(world.app.active(&third).await, "{level}");
            let target = match level {
                0 => format!("token:{}", jti(&first)),
                1 => format!("token:{}", jti(&second)),
                2 => format!("token:{}", jti(&third)),
                3 => "agent:payments-refactorer".into(),
                4 => "agent:test-runner".into(),
                5 => "agent:reporter".into(),
                6 => "owner:team-payments".into(),
                7 => "owner:team-qa".into(),
                8 => "issuer:ci".into(),
                _ => "everything".to_owned(),
            };
            // A preview counts what was handed down.
            let preview = world
                .app
                .admin_post(
                    "/v1/revocations?dry_run=true",
                    &serde_json::json!({"target": target, "reason": "a test"}),
                )
                .await
                .json();
            assert!(preview.to_string().contains("reporter"), "{target}: {preview}");
            let stop = world.app.revoke(&target).await;
            assert!(!world.app.active(&third).await, "{target}");
            // Nor is anything handed down from a dead token, or from one whose parent is.
            let answer = world.hand(&third, "1003", &[]).await;
            assert!(answer.status != 200, "{target}");
            let answer = world.hand(&second, "1002", &[]).await;
            assert_eq!(answer.status == 200, level == 2, "{target}: {}", answer.text);
            // A lift brings none of them back.
            world.app.lift(&stop).await;
            assert!(!world.app.active(&third).await, "{target}");
            world.app.hands.push(2);
        }
        world.app.finish().await;
    }
}

#[tokio::test]
async fn an_agent_that_ends_its_token_ends_what_it_handed_down() {
    let world = World::new(Backend::Memory).await;
    let parent = world.app.issue().await;
    let child = world.hand(&parent, "1001", &[]).await.token();
    let other = world.app.issue().await;
    let ended = world.app.post_form("/oauth/revoke", &[("token", &parent)], None).await;
    assert_eq!(ended.status, 200);
    assert!(!world.app.active(&child).await);
    assert!(world.app.active(&other).await);
    assert_eq!(world.hand(&parent, "1001", &[]).await.reason(), "parent_invalid");
    world.app.finish().await;
}

#[tokio::test]
async fn no_delegation_survives_a_stop_that_it_races() {
    for backend in BOTH {
        let world = World::new(backend).await;
        for _ in 0..5 {
            let parent = world.app.issue().await;
            let hands = (0..20).map(|_| world.hand(&parent, "1001", &[]));
            let (answers, stop) = tokio::join!(
                futures_util::future::join_all(hands),
                world.app.revoke("agent:payments-refactorer")
            );
            for answer in answers.iter().filter(|answer| answer.status == 200) {
                assert!(!world.app.active(&answer.token()).await);
            }
            assert_ne!(world.hand(&parent, "1001", &[]).await.status, 200);
            world.app.lift(&stop).await;
            world.app.hands.push(2);
        }
        world.app.finish().await;
    }
}
