//! What the README shows happens: the demo prints its first screen, and its walk through a broker runs as
//! printed.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hallpass::cli::{self, Host};

use super::{blocks, read, root};
use crate::support::broker::{Hands, install_providers, random};

/// `line` without what differs from run to run: numbers, ids, hashes, times and the width of columns.
fn lasting(line: &str) -> String {
    let varies = |c: char| c.is_ascii_hexdigit() || "TZ:.-".contains(c);
    let word = |word: &str| -> String {
        let inner = word.trim_matches(|c| "()".contains(c));
        let changes = inner.chars().all(varies) && inner.contains(|c: char| c.is_ascii_digit());
        if changes { "#".to_owned() } else { word.to_owned() }
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// The first line of `shown` that `printed` does not have after the lines before it. A line that ends
/// with `…` is the beginning of one.
fn not_printed<'a>(shown: &'a str, printed: &str) -> Option<&'a str> {
    let mut printed = printed.lines().map(lasting);
    let mut shown = shown.lines().filter(|line| !line.trim().is_empty());
    shown.find(|line| {
        let line = lasting(line);
        let found = match line.strip_suffix('…') {
            Some(start) => printed.any(|printed| printed.starts_with(start.trim_end())),
            None => printed.any(|printed| printed == line),
        };
        !found
    })
}

#[test]
fn the_first_screen_is_what_the_demo_prints() {
    let sample = "1. One\n   ✓ done (0.1 ms)\n2. Two 01a2098e-4cb5\n";
    assert_eq!(not_printed("1. One\n\n2.   Two 77\n", sample), None);
    assert_eq!(not_printed("✓ do…\n2. Two 77", sample), None);
    assert_eq!(not_printed("2. Two 77\n1. One", sample), Some("1. One"));
    assert_eq!(not_printed("✓ done (0.1 s)", sample), Some("✓ done (0.1 s)"));

    install_providers();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut host = Host {
        clock: Hands::default().clock(),
        random: random(),
        env: &|_| None,
        input: &mut std::io::empty(),
        out: &mut out,
        err: &mut err,
        terminal: false,
    };
    let begun = Instant::now();
    let code = cli::run(["hallpass", "demo"].map(Into::into), &mut host);
    let took = begun.elapsed();
    let printed = String::from_utf8(out).expect("UTF-8");
    assert_eq!(code, 0, "{printed}\n{}", String::from_utf8_lossy(&err));
    assert!(took < Duration::from_secs(10), "{took:?}");

    let readme = read("README.md");
    let first = blocks(&readme).swap_remove(0);
    let (command, shown) = first.text.split_once('\n').expect("the command, then what it prints");
    assert_eq!(command, "$ cargo run --locked -- demo");
    assert_eq!(not_printed(shown, &printed), None, "the demo prints\n{printed}");
}

/// A broker as `hallpass serve` runs it, in a folder of its own.
struct Served {
    folder: tempfile::TempDir,
    ports: [String; 2],
    process: Child,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_hallpass"))
}

/// Ports that were free a moment ago.
fn free_ports() -> [String; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port().to_string())
}

impl Served {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ports = free_ports();
        fs::create_dir_all(folder.path().join("config/agents")).expect("config/agents");
        for agent in fs::read_dir(root().join("config/agents")).expect("agents") {
            let agent = agent.expect("an agent");
            fs::copy(agent.path(), folder.path().join("config/agents").join(agent.file_name()))
                .expect("a copy");
        }
        let config = at_ports(&read("config/hallpass.toml"), &ports);
        fs::write(folder.path().join("config/hallpass.toml"), config).expect("the configuration");
        let mut serve = Command::new(program());
        serve.arg("serve").current_dir(folder.path()).env_clear();
        let process = serve.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("hallpass serve");
        let served = Self { folder, ports, process };
        let begun = Instant::now();
        while !served.run("hallpass ready", &[]).status.success() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the broker is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        served
    }

    /// Runs a text of the README, as printed but for the ports, until its first failure.
    fn run(&self, text: &str, env: &[(&str, String)]) -> Output {
        let newest = r#"$(hallpass revocations --json | sed 's/.*\[{"id":"\([^"]*\)".*/\1/')"#;
        let text = at_ports(text, &self.ports);
        let text = text.replace("lift ID", &format!("lift {newest}"));
        let text = text.replace("/ID/", &format!("/{newest}/"));
        let script =
            format!("set -euo pipefail; curl() {{ command curl --fail-with-body \"$@\"; echo; }}\n{text}");
        let path = std::env::var("PATH").expect("PATH");
        let folder = program().parent().expect("a folder").display();
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).current_dir(self.folder.path()).env_clear();
        bash.env("PATH", format!("{folder}:{path}"));
        bash.env("HALLPASS_URL", format!("http://127.0.0.1:{}", self.ports[0]));
        bash.envs(env.iter().map(|(name, value)| (name, value)));
        bash.output().expect("bash")
    }
}

fn at_ports(text: &str, ports: &[String; 2]) -> String {
    text.replace("127.0.0.1:8700", &format!("127.0.0.1:{}", ports[0]))
        .replace("127.0.0.1:8701", &format!("127.0.0.1:{}", ports[1]))
}

#[test]
fn the_walk_through_a_broker_runs_as_printed() {
    let readme = read("README.md");
    let served = Served::start();
    let admin_url = ("HALLPASS_ADMIN_URL", format!("http://127.0.0.1:{}", served.ports[1]));
    let section = |heading: &str, env: &[(&str, String)]| {
        let of_shell = blocks(&readme).into_iter().filter(|b| b.heading == heading && b.language == "sh");
        let text: String = of_shell.map(|block| block.text).collect();
        let ran = served.run(&text, env);
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{heading}:\n{text}\n{out}\n{err}");
        out.into_owned()
    };
    let saw = |printed: &str, due: &[&str]| {
        for due in due {
            assert!(printed.contains(due), "{due} is not in\n{printed}");
        }
    };

    let token = section("An agent gets a token", std::slice::from_ref(&admin_url));
    saw(&token, &["\"scope\":\"payments:read\"", "\"expires_in\":600", "\"active\":true"]);
    let kill = section("An admin kills", &[admin_url]);
    saw(
        &kill,
        &["is stopped", "confirmed by  broker", "is lifted", "\"target\":\"owner:team-docs\"", "\"lift\":{"],
    );
    // Without the admin listener's address these read the store, beside the broker.
    let audit = section("An auditor asks", &[]);
    saw(
        &audit,
        &[
            "revocation.stopped",
            "ended by its holder",
            "/audit+",
            "the audit log verifies",
            "it extends the checkpoint",
        ],
    );
}
