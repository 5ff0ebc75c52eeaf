//! `hallpass.toml` that changes under a running broker: by SIGHUP at once, by itself within seconds, whole or not at all.

use hallpass::domain::digest::Digest;
use hallpass::domain::event::Kind;
use serde_json::json;

use crate::support::broker::{AUDIENCE, Answer};
use crate::support::issuer::{Issuer, Mood};
use crate::support::process::{Plan, Process, eventually, read};
use crate::support::tls::{Authority, Files, connect};

/// Another operator of the admin listener.
fn operator(name: &str, key: &str) -> String {
    let digest = Digest::of(key.as_bytes());
    format!("\n[[admin.operator]]\nname = \"{name}\"\nroles = [\"admin\"]\nkey_sha256 = \"{digest}\"\n")
}

async fn agents_by(broker: &Process, key: &str) -> Answer {
    read(broker.http.get(format!("{}/v1/agents", broker.admin)).bearer_auth(key)).await
}

async fn until_loaded(broker: &Process, times: usize) {
    let loaded = || async { broker.events(Some(Kind::ConfigurationLoaded)).len() >= times };
    eventually("the configuration", loaded).await;
}

async fn readyz(broker: &Process) -> String {
    broker.admin_get("/readyz").await.text
}

#[tokio::test]
async fn sighup_takes_over_operators_resource_servers_limits_and_the_log_level() {
    let before = "unset HALLPASS_LOG".to_owned();
    let broker = Process::with(Plan { before, ..Plan::default() });
    let (pid, token) = (broker.pid(), broker.exchange().await.token());
    assert_eq!(agents_by(&broker, "oncall-key").await.status, 401);

    broker.configure(|text| {
        let text = text.replace("[server]", "[server]\nlog = \"warn\"");
        let text = text.replace(&Digest::of(b"ledger-key").to_string(), &Digest::of(b"renewed").to_string());
        text + &operator("oncall", "oncall-key") + "\n[limits]\ntokens_per_minute = 1\n"
    });
    broker.signal("HUP");
    until_loaded(&broker, 1).await;
    eventually("the operator", || async { agents_by(&broker, "oncall-key").await.status == 200 }).await;
    assert_eq!(broker.pid(), pid);
    // The key of the resource server is another now.
    let ask = |key: &'static str| {
        let form = format!("token={token}");
        let request = broker.http.post(format!("{}/oauth/introspect", broker.public)).bearer_auth(key);
        read(request.header("content-type", "application/x-www-form-urlencoded").body(form))
    };
    assert_eq!(ask("ledger-key").await.status, 401);
    assert_eq!(ask("renewed").await.json()["active"], true);
    // One token a minute, and the count begins with the new limit.
    broker.exchange().await.token();
    assert_eq!(broker.exchange().await.reason(), "rate_limited");
    // At this level no call is told of any more.
    let calls = || broker.log().matches("\"message\":\"call\"").count();
    eventually("the level", || async {
        let before = calls();
        broker.get("/healthz").await;
        calls() == before
    })
    .await;
    let told = calls();
    broker.exchange().await;
    assert_eq!(calls(), told);
    assert!(readyz(&broker).await.contains("\"ok\""), "{}", readyz(&broker).await);

    // An operator who is taken out is nobody at once.
    broker.configure(|text| text.replace(&operator("oncall", "oncall-key"), ""));
    broker.signal("HUP");
    until_loaded(&broker, 2).await;
    eventually("the end", || async { agents_by(&broker, "oncall-key").await.status == 401 }).await;
}

#[tokio::test]
async fn a_change_of_the_file_is_taken_over_by_itself() {
    let broker = Process::start();
    broker.configure(|text| text + &operator("oncall", "oncall-key"));
    eventually("the operator", || async { agents_by(&broker, "oncall-key").await.status == 200 }).await;
    // With nothing changed there is nothing to tell.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(broker.events(Some(Kind::ConfigurationLoaded)).len(), 1);
}

#[tokio::test]
async fn a_bad_configuration_is_refused_whole_until_it_is_put_right() {
    let broker = Process::start();
    let good = std::fs::read_to_string(broker.file("hallpass.toml")).unwrap();
    // A good change beside a bad one: neither is taken over.
    broker
        .configure(|text| text.replace("name = \"ci\"", "name = \"other\"") + "\n[limits]\nconections = 1\n");
    broker.signal("HUP");
    let rejected = || async { broker.events(Some(Kind::ConfigurationRejected)).len() == 1 };
    eventually("the refusal", rejected).await;
    broker.exchange().await.token();
    let told = readyz(&broker).await;
    assert!(
        told.contains("\"degraded\"")
            && told.contains("configuration: ")
            && told.contains("the last good one serves"),
        "{told}"
    );
    let log = broker.log();
    assert!(
        log.contains("unknown key; did you mean `connections`?") && log.contains("configuration rejected"),
        "{log}"
    );
    let metrics = broker.admin_get("/metrics").await.text;
    assert!(metrics.contains("hallpass_configuration_rejected 1"), "{metrics}");

    broker.configure(|_| good);
    eventually("the recovery", || async { readyz(&broker).await.contains("\"ok\"") }).await;
    assert!(broker.events(Some(Kind::ConfigurationRejected)).len() == 1, "told once");
    broker.exchange().await.token();
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_is_in_force() {
    let mut broker = Process::start();
    broker.configure(|text| {
        let text = text.replace("[server]\nname = \"broker-a\"", "[server]\nname = \"broker-b\"");
        text.replace("sqlite://data/hallpass.db", "sqlite://data/other.db")
            + &operator("oncall", "oncall-key")
    });
    broker.signal("HUP");
    eventually("the operator", || async { agents_by(&broker, "oncall-key").await.status == 200 }).await;
    let told = readyz(&broker).await;
    assert!(told.contains("configuration: needs a restart: server.name, store.url"), "{told}");
    let mut command = crate::support::command::bare(crate::support::command::HALLPASS);
    command.args(["ready", "-v", "--url", &broker.public, "--admin-url", &broker.admin]);
    command.arg("--key-file").arg(broker.file("operator.key"));
    let shown = crate::support::command::ran(command).await;
    assert!(shown.out.contains("needs a restart: server.name, store.url"), "{shown:?}");
    assert!(broker.log().contains("configuration loaded, but these keys need a restart"), "{}", broker.log());
    let detail = broker.events(Some(Kind::ConfigurationLoaded))[0].detail.clone().unwrap();
    assert_eq!(detail, "1 issuer, 1 agent; needs a restart: server.name, store.url");
    broker.exchange().await.token();
    // Written back, nothing is left to do.
    broker.configure(|text| text.replace("broker-b", "broker-a").replace("other.db", "hallpass.db"));
    broker.signal("HUP");
    eventually("the recovery", || async { readyz(&broker).await.contains("\"ok\"") }).await;
    broker.terminate();
    assert!(broker.wait().success());
}

#[tokio::test]
async fn an_issuer_comes_and_goes_and_keys_at_hand_outlive_the_change() {
    let issuer = Issuer::start().await;
    let broker = Process::start();
    let agent = std::fs::read_to_string(broker.file("agents/payments-refactorer.toml")).unwrap();
    let other = "\n[[identity]]\nissuer = \"web\"\nclaims = { sub = \"job-1\" }\n";
    let table =
        format!("\n[[issuer]]\nname = \"web\"\nurl = \"{}\"\naudience = \"{AUDIENCE}\"\n", issuer.url());
    let now = || crate::support::broker::Hands::default().now().seconds();
    let ask = || async { read(broker.request(&issuer.token(issuer.claims(now(), AUDIENCE, "job-1")))).await };
    assert_eq!(ask().await.reason(), "issuer_unknown");

    // The issuer and an agent that names it, together.
    broker.configure(|text| text + &table);
    std::fs::write(broker.file("agents/payments-refactorer.toml"), format!("{agent}{other}")).unwrap();
    broker.signal("HUP");
    eventually("the issuer", || async { ask().await.status == 200 }).await;

    // It is away when the configuration changes; its keys are still good.
    issuer.behave(Mood::Broken);
    let fetches = issuer.requests();
    let loaded = broker.events(Some(Kind::ConfigurationLoaded)).len();
    broker.configure(|text| text + &operator("oncall", "oncall-key"));
    broker.signal("HUP");
    until_loaded(&broker, loaded + 1).await;
    eventually("the operator", || async { agents_by(&broker, "oncall-key").await.status == 200 }).await;
    ask().await.token();
    assert_eq!(issuer.requests(), fetches, "nothing was asked anew");

    // Taken out, its proofs are a stranger's.
    std::fs::write(broker.file("agents/payments-refactorer.toml"), &agent).unwrap();
    broker.configure(|text| text.replace(&table, ""));
    broker.signal("HUP");
    eventually("the end", || async { ask().await.status != 200 }).await;
    assert_eq!(ask().await.reason(), "issuer_unknown");
    broker.exchange().await.token();
}

#[tokio::test]
async fn agents_are_read_again_under_the_new_guardrails() {
    let broker = Process::start();
    broker.configure(|text| text + "\n[guardrails]\nmax_ttl = \"1m\"\n");
    broker.signal("HUP");
    // The agent's file asks for more than the new guardrail allows: both stay as they were.
    eventually("the refusal", || async { readyz(&broker).await.contains("over guardrails.max_ttl") }).await;
    assert_eq!(broker.exchange().await.json()["expires_in"], 600);
    let file = broker.file("agents/payments-refactorer.toml");
    let agent = std::fs::read_to_string(&file).unwrap();
    let lines = agent.lines().filter(|line| !line.starts_with("max_ttl")).collect::<Vec<_>>().join("\n");
    std::fs::write(&file, lines).unwrap();
    // By itself: a refused configuration is tried again.
    eventually("the new one", || async { broker.exchange().await.json()["expires_in"] == json!(60) }).await;
    eventually("the recovery", || async { readyz(&broker).await.contains("\"ok\"") }).await;
}

#[tokio::test]
async fn sighup_serves_with_other_certificates_at_once_and_refuses_broken_ones() {
    let authority = Authority::new();
    let (first, second) = (authority.pair("127.0.0.1"), authority.pair("127.0.0.1"));
    let (files, others) = (Files::of(&first), Files::of(&second));
    let broker = Process::prepare(Plan { more: files.section("admin"), ..Plan::default() });
    let mut broker = broker;
    broker.boot();
    let address = broker.admin.trim_start_matches("http://").to_owned();
    let shown = || async {
        let stream = connect(&address, authority.client(rustls::ALL_VERSIONS, &[], None)).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert!(shown().await == first.der());
    broker.configure(|text| text.replace(&files.section("admin"), &others.section("admin")));
    broker.signal("HUP");
    eventually("the other certificate", || async { shown().await == second.der() }).await;

    std::fs::write(others.cert(), "none").unwrap();
    broker.signal("HUP");
    let rejected = || async { !broker.events(Some(Kind::ConfigurationRejected)).is_empty() };
    eventually("the refusal", rejected).await;
    assert!(shown().await == second.der());
}

#[tokio::test]
async fn a_folder_of_agents_that_is_empty_at_a_reload_changes_nothing() {
    let broker = Process::start();
    std::fs::remove_file(broker.file("agents/payments-refactorer.toml")).unwrap();
    broker.signal("HUP");
    eventually("the refusal", || async { readyz(&broker).await.contains("is its volume mounted?") }).await;
    broker.exchange().await.token();
}

/// As scripts for logs send them.
#[tokio::test]
async fn a_signal_that_asks_for_nothing_ends_nothing() {
    let mut broker = Process::start();
    for name in ["USR1", "USR2", "ALRM"] {
        broker.signal(name);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        broker.exchange().await.token();
    }
    broker.signal("TERM");
    assert_eq!(broker.wait().code(), Some(0));
}

#[tokio::test]
async fn sigquit_ends_in_order() {
    let mut broker = Process::start();
    broker.exchange().await.token();
    broker.signal("QUIT");
    assert_eq!(broker.wait().code(), Some(0));
    assert_eq!(broker.events(Some(Kind::BrokerStopped)).len(), 1);
}
