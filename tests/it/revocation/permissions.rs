//! A Redis user that may do what is documented, or less.

use hallpass::revocation::settings::SentinelSettings;
use secrecy::SecretString;

use super::hostile::with_credentials;
use super::*;
use crate::support::redis::Options;
use crate::support::sentinel::Watched;

const PAGE: &str = include_str!("../../../docs/REDIS.md");

/// The user's line of an ACL as `docs/REDIS.md` has it, with a password.
pub(super) fn documented() -> String {
    line("user hallpass on >PASSWORD ~").replace("PASSWORD", "correct-horse")
}

fn line(begin: &str) -> &'static str {
    PAGE.lines().find(|line| line.starts_with(begin)).expect("a documented user")
}

#[test]
fn every_page_has_the_same_user() {
    let permissions = |line: &'static str| line.split_once("~hallpass").unwrap().1;
    let manual = include_str!("../../../docs/CONFIGURATION.md");
    let of_manual = manual.lines().find(|line| line.starts_with("user hallpass ")).unwrap();
    let of_compose = include_str!("../../../scripts/compose-secrets");
    let of_compose = of_compose.lines().find(|line| line.starts_with("user hallpass ")).unwrap();
    for other in [of_manual, of_compose] {
        assert_eq!(permissions(other), permissions(line("user hallpass on >PASSWORD ~")));
    }
}

/// Each is named at the start, with what to run; and once it is given, the node goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_missing_permission_is_named_at_the_start() {
    let acl = format!("user default on nopass ~* +@all\n{}\n", documented());
    let server = RedisServer::start_with(Options { acl: Some(acl), ..Options::default() });
    let settings = with_credentials(server.port, "hallpass", "correct-horse");
    let store = Durable::default();
    let acl = documented();
    let commands: Vec<&str> = acl.split(' ').filter_map(|word| word.strip_prefix('+')).collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let forbid = format!("-{command}");
        server.command::<()>(&["ACL", "SETUSER", "hallpass", &forbid]);
        let node = Node::start("broker-a", &settings, &store).await;
        let says = format!("(NOPERM): run ACL SETUSER hallpass +{command}, and");
        let status = node.revocation.status().to_string();
        assert!(status.contains(&says), "without {command}: {status}");
        assert!(node.revocation.ask(&request()).await.is_err(), "without {command}");
        server.command::<()>(&["ACL", "SETUSER", "hallpass", &format!("+{command}")]);
        node.wait_until_ready().await;
    }
    server.command::<()>(&["ACL", "SETUSER", "hallpass", "resetkeys", "~other:*"]);
    let node = Node::start("broker-a", &settings, &store).await;
    let status = node.revocation.status().to_string();
    assert!(status.contains("ACL SETUSER hallpass ~hallpass:{revocation}:*, and"), "{status}");
    server.command::<()>(&["ACL", "SETUSER", "hallpass", "~hallpass:{revocation}:*"]);
    node.wait_until_ready().await;
    let left: Vec<String> = server.command(&["KEYS", "*permissions*"]);
    assert!(left.is_empty(), "what is asked about permissions writes nothing: {left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_user_of_sentinels_is_enough_and_less_is_told() {
    let acl = line("user hallpass on >PASSWORD -@all +ping +sentinel").replace("PASSWORD", "canary-5ecret");
    let redis = Watched::start_with(&format!("{acl}\n"));
    let with = |password: &str| {
        let sentinel = SentinelSettings {
            username: Some("hallpass".to_owned()),
            password: Some(SecretString::from(password)),
            tls: false,
        };
        with(RedisSettings { sentinel, ..RedisSettings::new(redis.url().parse().unwrap()) })
    };
    let store = Durable::default();
    let node = Node::ready("broker-a", &with("canary-5ecret"), &store).await;
    node.stop(&agent()).await;
    assert!(!node.may_issue(&request()).await.unwrap());

    let wrong = Node::start("broker-b", &with("wrong-5ecret"), &store).await;
    let said = format!("{} {:?}", wrong.revocation.status(), wrong.revocation);
    let sentinel = &redis.sentinels[0];
    let says = format!("sentinel 127.0.0.1:{}: it refused the user name or the password", sentinel.port);
    assert!(said.contains(&says), "{said}");
    assert!(!said.contains("5ecret"), "{said}");

    for sentinel in &redis.sentinels {
        sentinel.command::<()>(&["ACL", "SETUSER", "hallpass", "-sentinel|master"]);
    }
    let less = Node::start("broker-c", &with("canary-5ecret"), &store).await;
    let said = less.revocation.status().to_string();
    assert!(said.contains("add +sentinel|master +sentinel|get-master-addr-by-name"), "{said}");
}
