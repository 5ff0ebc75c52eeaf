//! The compose stack, as far as no container engine is needed: what `scripts/compose-secrets` makes, and the
//! kill switch on a Redis with the stack's own configuration and its one user.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hallpass::domain::digest::Digest;
use hallpass::domain::id::StopId;
use hallpass::domain::revocation::{Book, Holder, Levels, Point, Revision, Standing, Target};
use hallpass::domain::time::{Clock, Timestamp};
use hallpass::revocation::settings::{Backend, RedisSettings, RevocationSettings};
use hallpass::revocation::{Revocation, RevocationError, Source, UnnumberedStop};
use hallpass::token::KeyEncryptionKey;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use crate::support::redis::{Options, RedisServer};

const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);

fn project(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of the project")
}

fn secrets() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(make(&folder).status.success());
    folder
}

fn make(folder: &TempDir) -> std::process::Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/compose-secrets");
    Command::new(script).arg(folder.path()).output().expect("the script runs")
}

fn made(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).expect(name)
}

#[test]
fn secrets_are_made_once_and_fit_what_reads_them() {
    let folder = secrets();
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("operator_key"), 0o600);
    // Containers run as other users than the one who made these.
    for mounted in ["redis_password", "redis_users.acl", "key_encryption_key", "hallpass.toml"] {
        assert_eq!(mode(mounted) & 0o444, 0o444, "{mounted}");
    }

    let operator = Digest::of(made(&folder, "operator_key").as_bytes());
    assert!(made(&folder, "hallpass.toml").contains(&format!("key_sha256 = \"{operator}\"")));
    assert!(KeyEncryptionKey::from_text(&made(&folder, "key_encryption_key")).is_ok());

    let all = ["redis_password", "redis_users.acl", "key_encryption_key", "operator_key", "hallpass.toml"];
    let before = all.map(|name| made(&folder, name));
    assert!(make(&folder).status.success());
    assert_eq!(all.map(|name| made(&folder, name)), before);
    assert!(secrets_differ(&folder, &secrets()), "every installation has its own");

    fs::remove_file(folder.path().join("operator_key")).unwrap();
    let refused = make(&folder);
    let operator = Digest::of(made(&folder, "operator_key").as_bytes()).to_string();
    assert!(!refused.status.success(), "the broker does not know the new key");
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&operator));
}

fn secrets_differ(one: &TempDir, other: &TempDir) -> bool {
    ["redis_password", "key_encryption_key", "operator_key"]
        .iter()
        .all(|name| made(one, name) != made(other, name))
}

#[test]
fn the_stacks_configuration_is_right_with_the_agents_it_mounts() {
    let folder = secrets();
    let place = |text: &str| folder.path().join(text).display().to_string();
    let config = made(&folder, "hallpass.toml").replace("/run/secrets/", &place(""));
    let config = config.replace("sqlite:///data/", &format!("sqlite://{}", place("")));
    fs::write(folder.path().join("hallpass.toml"), config).unwrap();
    fs::create_dir(folder.path().join("agents")).unwrap();
    let agents = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/agents");
    for agent in fs::read_dir(agents).unwrap() {
        let agent = agent.unwrap();
        fs::copy(agent.path(), folder.path().join("agents").join(agent.file_name())).unwrap();
    }

    let checked = hallpass::config::check(&folder.path().join("hallpass.toml"), []);
    let config = checked.unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).config;

    let operators: Vec<Digest> = config.admin.operators.iter().map(|operator| operator.key).collect();
    assert_eq!(operators, [Digest::of(made(&folder, "operator_key").as_bytes())]);
    // Published ports reach no listener on the container's own loopback.
    assert!(config.server.listen.ip().is_unspecified() && config.admin.listen.ip().is_unspecified());
    let Backend::Redis(redis) = config.revocation.backend else {
        panic!("the stack has a Redis");
    };
    assert_eq!(redis.username.as_deref(), Some("hallpass"));
    assert_eq!(redis.password.unwrap().expose_secret(), made(&folder, "redis_password"));
}

/// The files of the targets that `manifest` declares, and which of them `ignore` keeps out of the image's build.
fn left_out<'a>(manifest: &'a toml::Table, ignore: &str) -> Vec<&'a str> {
    let sent: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let kinds = [("bin", "src"), ("bench", "benches")];
    let targets = kinds.iter().flat_map(|(kind, folder)| {
        let declared = manifest.get(*kind).and_then(toml::Value::as_array).into_iter().flatten();
        declared.map(|target| target.get("path").and_then(toml::Value::as_str).unwrap_or(folder))
    });
    targets.filter(|path| !sent.iter().any(|folder| path.split('/').next() == Some(folder))).collect()
}

#[test]
fn the_images_build_has_what_its_manifest_declares() {
    let manifest: toml::Table = project("Cargo.toml").parse().expect("TOML");
    assert_eq!(left_out(&manifest, "*\n!Cargo.toml\n!src\n"), ["benches"]);
    assert_eq!(left_out(&manifest, &project(".dockerignore")), Vec::<&str>::new());
}

/// Redis as the stack runs it, but for its folder and its port.
fn redis(folder: &TempDir) -> RedisServer {
    let conf = project("config/compose/redis.conf");
    let elsewhere = ["port ", "dir ", "aclfile "];
    let lines = conf.lines().filter(|line| !elsewhere.iter().any(|word| line.starts_with(word)));
    let config = lines.collect::<Vec<_>>().join("\n");
    RedisServer::start_with(Options {
        acl: Some(made(folder, "redis_users.acl")),
        config,
        ..Options::default()
    })
}

/// A store that holds one stop.
struct OneStop(Arc<Book>);

impl Source for OneStop {
    async fn book(&self) -> Result<Arc<Book>, RevocationError> {
        Ok(Arc::clone(&self.0))
    }

    async fn mark(&self, revision: Revision) -> Result<Option<Digest>, RevocationError> {
        Ok((revision == self.0.revision()).then_some(self.0.point().mark))
    }

    fn unnumbered(&self) -> Vec<UnnumberedStop> {
        Vec::new()
    }

    async fn is_numbered(&self, _: &UnnumberedStop) -> Result<bool, RevocationError> {
        Ok(true)
    }

    async fn take_over(&self) -> Result<(), RevocationError> {
        panic!("there is no other history")
    }
}

async fn connect(redis: &RedisServer, password: String) -> Revocation {
    let settings = RevocationSettings {
        backend: Backend::Redis(Box::new(RedisSettings {
            username: Some("hallpass".into()),
            password: Some(password.into()),
            ..RedisSettings::new(redis.url())
        })),
        max_staleness: Duration::from_secs(2),
    };
    let broker = "broker-a".parse().expect("a broker name");
    Revocation::connect(&settings, broker, "hallpass.test/audit+0", Clock::new(|| NOW))
        .await
        .expect("settings that make sense")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stacks_redis_user_can_do_what_the_kill_switch_needs() {
    let folder = secrets();
    let redis = redis(&folder);
    let switch = Arc::new(connect(&redis, made(&folder, "redis_password")).await);
    let target: Target = "agent:payments-refactorer".parse().unwrap();
    let stop = StopId::new(NOW, &[7; 10]);
    let number = Revision::new(1);
    let standing = Standing { stop: Some(stop), stopped: number, changed: number };
    let point = Point { revision: number, mark: Digest::of(b"its event") };
    let book = Book::of(point, Revision::ZERO, [(target.clone(), standing)]);
    let source = Arc::new(OneStop(Arc::new(book)));
    let applied = switch.push(&*source).await.unwrap();
    let levels = Levels::asked_by(Holder {
        agent: "payments-refactorer".parse().unwrap(),
        owner: "team-payments".parse().unwrap(),
        issuer: "github".parse().unwrap(),
    });
    assert_eq!(switch.ask(&levels).await.unwrap().verdict(&levels).stopped, Some(target));

    let (end, shutdown) = tokio::sync::watch::channel(false);
    let following = Arc::clone(&switch);
    let follower = tokio::spawn(async move { following.follow(shutdown, &*source).await });
    let seen = switch.confirmations(&applied, Duration::from_secs(5)).await.unwrap();
    assert_eq!((seen.confirmed.len(), seen.pending.len()), (1, 0));
    tokio::time::timeout(Duration::from_secs(10), async {
        while switch.view().is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the follower may read the log");

    let once = Digest::of(b"an assertion");
    assert!(switch.use_once(&"a".parse().unwrap(), once, NOW + Duration::from_secs(300)).await.unwrap());
    assert!(!switch.use_once(&"a".parse().unwrap(), once, NOW + Duration::from_secs(300)).await.unwrap());
    end.send(true).unwrap();
    follower.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stacks_redis_user_can_do_nothing_else_and_nobody_else_anything() {
    let folder = secrets();
    let redis = redis(&folder);
    let url = format!("redis://hallpass:{}@127.0.0.1:{}", made(&folder, "redis_password"), redis.port);
    let mut user = redis::Client::open(url).unwrap().get_connection().unwrap();
    let refused = |connection: &mut redis::Connection, words: &str| {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        let answer = command.arg(words.collect::<Vec<_>>()).query::<redis::Value>(connection);
        answer.err().and_then(|error| error.code().map(str::to_owned))
    };
    for words in [
        "FLUSHALL",
        "KEYS *",
        "CONFIG SET maxmemory-policy allkeys-lru",
        "ACL SETUSER hallpass +@all",
        "DEL hallpass:{revocation}:stops",
        "SHUTDOWN",
        "GET sessions",
        "PUBLISH somewhere something",
        "REPLICAOF 127.0.0.1 1",
    ] {
        assert_eq!(refused(&mut user, words).as_deref(), Some("NOPERM"), "{words}");
    }
    assert_eq!(refused(&mut user, "PING"), None);
    assert_eq!(refused(&mut redis.client(), "PING").as_deref(), Some("NOAUTH"));

    let stranger = connect(&redis, "a guess".into()).await;
    let denied = stranger.push(&OneStop(Arc::default())).await;
    assert!(matches!(denied, Err(RevocationError::Unreachable(_))), "{denied:?}");
}
