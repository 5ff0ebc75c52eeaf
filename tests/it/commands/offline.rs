//! Commands that need no broker, and what each says when there is none.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::program::Place;

#[test]
fn check_config_says_every_mistake_and_where_it_is() {
    let place = Place::new();
    let good = place.local(&["check-config"]).done();
    assert!(good.starts_with("config/hallpass.toml: no mistakes, 3 agents, sha256:"), "{good}");
    assert!(good.contains("  payments-refactorer may read and push agent/* in acme/payments"), "{good}");
    assert_eq!(place.local(&["check-config", "--json"]).json(), json!([]));
    let file = place.read("config/hallpass.toml").replace("max_ttl        = \"15m\"", "max_ttl = \"2h\"");
    place.write("config/hallpass.toml", &file);
    let agent = place.read("config/agents/payments-refactorer.toml");
    place.write("config/agents/payments-refactorer.toml", &agent.replace("owner   =", "onwer   ="));
    let bad = place.local(&["check-config"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    let lines: Vec<&str> = bad.out.lines().collect();
    let line_of = |text: &str, what: &str| text.lines().position(|line| line.contains(what)).unwrap() + 1;
    let of_config =
        format!("config/hallpass.toml:{}: guardrails.max_ttl: ", line_of(&file, "max_ttl = \"2h\""));
    let of_agent =
        format!("config/agents/payments-refactorer.toml:{}: onwer: ", line_of(&agent, "owner   ="));
    for start in [&of_config, &of_agent] {
        let said = lines.iter().find(|line| line.starts_with(start.as_str()));
        let said = said.unwrap_or_else(|| panic!("{start} is not in\n{}", bad.out));
        assert!(said.contains("; "), "no remedy: {said}");
    }
    assert!(bad.err.contains(&format!("{} mistakes in the configuration", lines.len())), "{}", bad.err);
    let listed = place.local(&["check-config", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), lines.len());
    // The same mistakes stop the start, where nobody asked for them on standard output.
    let refused = place.local(&["serve"]).ended(1);
    assert!(lines.iter().all(|line| refused.contains(line)), "{refused}");
}

#[test]
fn a_variable_that_nothing_reads_stops_the_start() {
    let place = Place::new();
    for command in ["serve", "check-config"] {
        let ran = place.run_with(&[command], &[("HALLPASS_TOKEN__TLT", "5m")]);
        assert_eq!(ran.code, 1, "{ran:?}");
        let said = format!("{}{}", ran.out, ran.err);
        assert!(said.contains("did you mean HALLPASS_TOKEN__TTL?"), "{said}");
    }
    place.run_with(&["check-config"], &[("HALLPASS_TOKEN__TTL", "5m")]).done();
    let missing = place.local(&["check-config", "--config", "nowhere.toml"]);
    assert_eq!((missing.code, missing.out.starts_with("nowhere.toml: there is no such file; ")), (1, true));
}

#[test]
fn without_a_broker_each_command_says_what_to_do() {
    let place = Place::new();
    place.write("operator.key", "hpo_x");
    place.write("proof", "a.b.c");
    for (line, start) in [
        ("ready", "error: cannot reach the broker at http://127.0.0.1:"),
        ("token --identity-token-file proof --timeout 1s", "cannot reach the broker at "),
        ("agents list", "error: cannot read data/operator.key"),
        ("audit checkpoint", "error: cannot read data/operator.key"),
        ("token", "error: found no proof of this workload's identity"),
    ] {
        let said = place.words(line).ended(1);
        assert!(said.starts_with(start) && said.contains("\n  remedy: "), "{line}: {said}");
    }
    let unreached = place.words("agents list --key-file operator.key");
    assert_eq!(unreached.code, 1);
    assert!(unreached.err.contains("remedy: start it (hallpass serve)"), "{unreached:?}");
    for line in ["audit search", "audit verify", "audit checkpoint --key"] {
        let said = place.local(&line.split(' ').collect::<Vec<_>>()).ended(1);
        assert!(said.starts_with("error: the store: ") && said.contains("\n  remedy: "), "{line}: {said}");
        // Looking at a store that is not there makes none.
        assert!(!place.path("data").exists(), "{line}");
    }
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    let place = Place::new();
    for line in [
        "frobnicate",
        "serve --port 1",
        "revoke agent:x",
        "revoke agents:x --reason y",
        "lift 7 --reason y",
        "agents",
        "agents show UPPER",
        "audit search --since yesterday",
        "audit search --limit 0",
        "audit search --kind token.stolen",
        "audit verify --verifier-key x+00000000+AA==",
        "token --format yaml",
        "token --key-file k --identity-token-file t",
        "token --ttl never",
        "operator new x --roles king",
        "operator new x",
        "completions tcsh",
        "agents list --admin-url http://hallpass.example",
    ] {
        let said = place.words(line).ended(2);
        assert!(said.contains("hallpass") || said.starts_with("error: "), "{line}: {said}");
    }
    let bare = place.local(&[]);
    assert_eq!((bare.code, bare.err.contains("Start here:")), (2, true), "{bare:?}");
    assert!(place.local(&["--help"]).done().contains("hallpass demo"));
    assert!(place.local(&["--version"]).done().starts_with("hallpass "));
}

#[test]
fn keys_are_for_their_owner_alone_and_never_written_over() {
    let place = Place::new();
    let mode = |name: &str| std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    let lines = place.local(&["keygen"]).done();
    assert!(lines.starts_with("\n[[identity]]\nkey = { kty = \"OKP\", crv = \"Ed25519\", x = \""), "{lines}");
    assert_eq!(mode("agent.key"), 0o600);
    let first = place.read("agent.key");
    let again = place.local(&["keygen"]).ended(1);
    assert!(again.contains("agent.key exists") && again.contains("--out"), "{again}");
    assert_eq!(place.read("agent.key"), first);
    let made = place.local(&["keygen", "--json", "--out", "other.key"]).json();
    assert_eq!((&made["key_file"], &made["key"]["crv"]), (&json!("other.key"), &json!("Ed25519")));
    let made = place.local(&["operator", "new", "oncall", "--roles", "admin,auditor", "--json"]).json();
    let key = made["key"].as_str().unwrap();
    let hash = hallpass::domain::digest::Digest::of(key.as_bytes()).to_string();
    assert_eq!((&made["roles"], &made["key_sha256"]), (&json!(["admin", "auditor"]), &json!(hash)));
    let lines = place.local(&["operator", "new", "books", "--roles", "auditor", "--out", "books.key"]).done();
    assert_eq!(mode("books.key"), 0o600);
    assert!(!lines.contains(place.read("books.key").trim()), "{lines}");
}

#[test]
fn completions_know_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.local(&["completions", shell]).done();
        for word in ["check-config", "revocations", "checkpoint", "--identity-token-file"] {
            let word = if shell == "fish" { word.trim_start_matches('-') } else { word };
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let place = Place::new();
    let page = place.local(&["man"]).done();
    assert!(page.contains(".TH hallpass 1") && page.contains("check\\-config"), "{page}");
    place.local(&["man", "pages/man1"]).done();
    let mut found = Vec::new();
    commands(&<hallpass::cli::Cli as clap::CommandFactory>::command(), "hallpass", &mut found);
    for command in found {
        let file = format!("pages/man1/{}.1", command.replace(' ', "-"));
        let page = place.read(&file);
        assert!(page.contains(".SH SYNOPSIS") && page.contains("Examples:"), "{file}: {page}");
    }
    let nowhere = place.local(&["man", "pages/man1/hallpass.1"]).ended(1);
    assert!(nowhere.contains("cannot write into"), "{nowhere}");
}

/// The leaves of the command line, each with its whole name.
fn commands(command: &clap::Command, path: &str, found: &mut Vec<String>) {
    let mut subcommands = command.get_subcommands().filter(|sub| sub.get_name() != "help").peekable();
    if subcommands.peek().is_none() {
        found.push(path.to_owned());
    }
    for sub in subcommands {
        commands(sub, format!("{path} {}", sub.get_name()).trim(), found);
    }
}

#[test]
fn the_page_about_the_command_line_knows_every_command() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CLI.md")).unwrap();
    let mut found = Vec::new();
    commands(&<hallpass::cli::Cli as clap::CommandFactory>::command(), "", &mut found);
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    for command in found {
        let named =
            |row: &&&str| row.contains(&format!("`{command}`")) || row.contains(&format!("`{command} "));
        assert!(rows.iter().any(|row| named(&row)), "no row for `{command}` in docs/CLI.md");
    }
}

#[test]
fn two_brokers_do_not_share_an_address() {
    let mut place = Place::new();
    place.serve();
    let log = place.read("serve.log");
    assert!(!place.try_serve(), "{log}");
    let said = place.read("serve.log");
    assert!(
        said.contains("server.listen: 127.0.0.1:") && said.contains("is another broker running?"),
        "{said}"
    );
    place.words("ready").done();
}

#[test]
fn an_empty_variable_of_a_command_is_as_good_as_none() {
    let mut place = Place::new();
    place.serve();
    let [url, admin_url] = ["HALLPASS_URL", "HALLPASS_ADMIN_URL"].map(|name| place.asked(name));
    let empty = [
        ("HALLPASS_URL", ""),
        ("HALLPASS_ADMIN_URL", ""),
        ("HALLPASS_OPERATOR_KEY_FILE", ""),
        ("HALLPASS_CONFIG", ""),
        ("HALLPASS_OUTBOUND__PROXY", ""),
    ];
    place.run_with(&["check-config"], &empty[3..4]).done();
    place.run_with(&["audit", "search"], &empty[1..4]).done();
    place.run_with(&["ready", "-v", "--url", &url, "--admin-url", &admin_url], &empty).done();
    place.run_with(&["agents", "list", "--admin-url", &admin_url], &empty[1..3]).done();
    // Where nothing listens at the default address that is what is told, and not a bad value.
    let told = place.run_with(&["token", "--identity-token", "x"], &empty[..1]);
    assert!(!told.err.contains("invalid value"), "{told:?}");
}

#[test]
fn a_store_that_is_not_there_or_cut_short_is_named_with_the_way_on() {
    let mut place = Place::new();
    let told = place.local(&["audit", "verify"]).ended(1);
    assert!(told.contains("hallpass.db: there is no such file") && told.contains("--database"), "{told}");
    assert!(!told.contains("--admin-url"), "which it does not have: {told}");
    place.serve();
    place.stop();
    let database = place.path("data/hallpass.db");
    std::fs::OpenOptions::new().write(true).open(&database).unwrap().set_len(20_000).unwrap();
    let ports = [("HALLPASS_SERVER__LISTEN", "127.0.0.1:0"), ("HALLPASS_ADMIN__LISTEN", "127.0.0.1:0")];
    for command in [&["serve"] as &[_], &["audit", "verify"], &["audit", "search"]] {
        let told = place
            .run_with(command, if command == ["serve"] { &ports } else { &[("HALLPASS_ADMIN_URL", "")] });
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.err.contains("data/hallpass.db: the audit log is damaged"), "{command:?}: {}", told.err);
        assert!(told.err.contains("hallpass restore FILE"), "{command:?}: {}", told.err);
    }
}
