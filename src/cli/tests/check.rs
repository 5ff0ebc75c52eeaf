//! `check-config`: mistakes, warnings, and what each exits with.

use super::*;

/// A configuration with one agent, known by these claims of GitHub's.
fn machine(claims: &str) -> (Machine, String) {
    let machine = Machine::new();
    std::fs::create_dir(machine.path("agents")).unwrap();
    machine.file(
        "agents/a.toml",
        &format!(
            "purpose = 'p'\nowner = 'o'\n[[identity]]\nissuer = 'github'\nclaims = {claims}\n\
             [[repository]]\nname = 'r'\nurl = 'https://h/r'\nfree = ['read']\n"
        ),
    );
    let config = machine.file(
        "hallpass.toml",
        "[admin]\nlocal_operator_key_file = 'key'\n[[issuer]]\nname = 'github'\nkind = 'github'\naudience = 'http://127.0.0.1:8700'\n",
    );
    (machine, config)
}

fn run(claims: &str, more: &[&str]) -> (u8, String, String) {
    let (machine, config) = machine(claims);
    let ran = machine.run(&[&["check-config", "--config", &config], more].concat());
    let folder = format!("{}/", machine.folder.path().display());
    (ran.code, ran.out.replace(&folder, ""), ran.err)
}

const SAFE: &str = "{ repository_id = '456789', ref = 'refs/heads/main', event_name = 'push' }";
const WEAK: &str = "{ repository_id = '456789', ref = 'refs/heads/main' }";
const WRONG: &str = "{ repository = 'acme/payments', ref = 'refs/heads/main' }";
const WARNING: &str = "agents/a.toml:5: identity[0].claims.ref: warning: a job of pull_request_target runs on this ref too; \
                       add job_workflow_ref, pinned to a ref, or event_name = \"push\"\n";

#[test]
fn a_safe_rule_is_passed_over_in_silence() {
    for more in [&[][..], &["--deny-warnings"]] {
        let (code, out, err) = run(SAFE, more);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert!(out.starts_with("hallpass.toml: no mistakes, 1 agent, sha256:"), "{out}");
    }
    assert_eq!(run(SAFE, &["--json", "--deny-warnings"]), (0, "[]\n".to_owned(), String::new()));
}

#[test]
fn a_weak_rule_is_warned_about_and_fails_only_where_warnings_are_denied() {
    let (code, out, err) = run(WEAK, &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with(&format!("{WARNING}hallpass.toml: no mistakes, 1 agent, sha256:")), "{out}");

    let (code, out, err) = run(WEAK, &["--deny-warnings"]);
    assert_eq!((code, out.as_str()), (1, WARNING));
    assert_eq!(
        err,
        "error: 1 warning in the configuration, and --deny-warnings\n  remedy: each says what to do; docs/CONFIGURATION.md and docs/IDENTITIES.md say why\n"
    );

    for (more, exit) in [(&["--json"][..], 0), (&["--json", "--deny-warnings"], 1)] {
        let (code, out, _) = run(WEAK, more);
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (code, &told[0]["severity"], &told[0]["line"]),
            (exit, &"warning".into(), &5.into()),
            "{out}"
        );
    }
}

#[test]
fn a_rule_that_strangers_match_is_a_mistake() {
    for more in [&[][..], &["--deny-warnings"]] {
        let (code, out, err) = run(WRONG, more);
        assert_eq!(code, 1);
        assert_eq!(
            out,
            "agents/a.toml:5: identity[0].claims.repository: a repository made later under this name would match; \
             write repository_id: `gh api repos/acme/payments --jq .id`\n"
        );
        assert!(err.starts_with("error: 1 mistake in the configuration\n"), "{err}");
    }
    let (code, out, _) = run(WRONG, &["--json"]);
    assert_eq!(code, 1);
    assert!(out.contains("\"severity\":\"mistake\""), "{out}");
}
