//! The first step outside of a clone: `hallpass init`, then `check-config`, `serve` and `token`, by the real program
//! in an empty folder.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::broker::decode;
use crate::support::command::HALLPASS;

pub(crate) fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

pub(crate) fn hallpass(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(HALLPASS);
    command.args(args).current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

pub(crate) fn done(mut command: Command) -> Output {
    let output = command.output().expect("hallpass");
    assert!(output.status.success(), "{output:?}");
    output
}

/// A broker that ends with the test.
pub(crate) struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts what `init` wrote; its admin listener is at a port of its own.
fn serve(folder: &Path, url: &str, admin: u16) -> Served {
    let mut command = hallpass(folder, &["serve"]);
    command.env("HALLPASS_ADMIN__LISTEN", format!("127.0.0.1:{admin}"));
    served(command, url)
}

/// Runs this until it is ready at `url`.
pub(crate) fn served(mut command: Command, url: &str) -> Served {
    let mut served = Served(command.stderr(Stdio::null()).spawn().expect("hallpass serve"));
    let begun = Instant::now();
    loop {
        let ready = hallpass(Path::new("/"), &["ready", "--url", url]).output().expect("hallpass");
        if ready.status.success() {
            return served;
        }
        let ended = served.0.try_wait().expect("a child");
        assert!(
            ended.is_none() && begun.elapsed() < Duration::from_secs(20),
            "not ready: {ended:?} {ready:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_agent_with_a_key_gets_a_token_after_three_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let [public, admin] = free_ports();
    let url = format!("http://127.0.0.1:{public}");
    done(hallpass(folder, &["init", "--github", "acme/payments", "--key", "--public-url", &url]));
    done(hallpass(folder, &["check-config", "--deny-warnings"]));
    let _served = serve(folder, &url, admin);
    let proof = ["--agent", "payments-agent", "--key-file", "agent.key", "--url", &url];
    let token = done(hallpass(folder, &[&["token", "--format", "token"] as &[&str], &proof].concat()));
    assert_eq!(token.stderr, b"", "the key is private: {token:?}");
    let claims = decode(String::from_utf8(token.stdout).expect("text").trim());
    assert_eq!(
        (&claims["sub"], &claims["owner"], &claims["scope"]),
        (&"agent:payments-agent".into(), &"team-payments".into(), &"payments:read payments:push".into())
    );

    // `whoami` says the same, and leaves no token behind.
    let told = done(hallpass(folder, &[&["whoami", "--json"] as &[&str], &proof].concat()));
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    for member in ["sub", "owner", "scope", "authorization_details"] {
        assert_eq!(told["token"][member], claims[member], "{member}");
    }
    let list = done(hallpass(
        folder,
        &["agents", "list", "--json", "--admin-url", &format!("http://127.0.0.1:{admin}")],
    ));
    let list: Value = serde_json::from_slice(&list.stdout).expect("JSON");
    assert_eq!(list["agents"][0]["live_tokens"], 1, "only what `hallpass token` got: {list}");

    // A token that its holder ended is no stop of an operator: it is in the audit log, not among the stops.
    let admin = format!("http://127.0.0.1:{admin}");
    let stops = done(hallpass(folder, &["revocations", "--all", "--json", "--admin-url", &admin]));
    assert_eq!(String::from_utf8_lossy(&stops.stdout).trim(), r#"{"revocations":[]}"#);
    let ends = done(hallpass(folder, &["audit", "search", "--kind", "revocation.stopped"]));
    assert!(String::from_utf8_lossy(&ends.stdout).contains("ended by its holder"), "{ends:?}");

    // A second time nothing is touched.
    let again = hallpass(folder, &["init", "--key"]).output().expect("hallpass");
    assert_eq!(again.status.code(), Some(1), "{again:?}");
}

#[test]
fn a_broker_starts_with_what_is_written_for_jobs_of_github() {
    let folder = tempfile::tempdir().expect("a folder");
    let [public, admin] = free_ports();
    let url = format!("http://127.0.0.1:{public}");
    let github = ["init", "--github", "acme/payments", "--repository-id", "456789", "--public-url", &url];
    done(hallpass(folder.path(), &github));
    done(hallpass(folder.path(), &["check-config", "--deny-warnings"]));
    let _served = serve(folder.path(), &url, admin);
}
