//! The end of a broker whose disk stalls.

use std::time::{Duration, Instant};

use super::{Ambient, App};
use crate::config;
use crate::domain::random::Random;
use crate::domain::time::{Clock, Timestamp};
use crate::store::{Store, StoreSettings};

const CONFIGURATION: &str = r#"
[server]
listen = "127.0.0.1:0"
public_url = "http://127.0.0.1:8700"

[admin]
listen = "127.0.0.1:0"
local_operator_key_file = "operator.key"

[store]
url = "sqlite://hallpass.db"

[registry]
path = "agents"
"#;

#[expect(clippy::disallowed_methods, reason = "any randomness will do")]
fn random() -> Random {
    Random::new(ring::rand::SystemRandom::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_ends_though_its_disk_stalls() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("agents")).unwrap();
    let file = folder.path().join("hallpass.toml");
    std::fs::write(&file, CONFIGURATION).unwrap();
    let store = Store::open(&StoreSettings::sqlite(folder.path().join("hallpass.db"))).await.unwrap();
    let ambient = Ambient {
        clock: Clock::new(|| Timestamp::from_seconds(1_795_000_000)),
        random: random(),
        store: Some(store.clone()),
    };
    let checked = config::check(&file, std::iter::empty()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let app = App::start(checked, ambient).await.unwrap();
    let stall = store.stall();
    // Long enough for a round of the upkeep to meet it.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let begun = Instant::now();
    app.stop().await.expect("no stop is lost");
    store.close().await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    drop(stall);
}
