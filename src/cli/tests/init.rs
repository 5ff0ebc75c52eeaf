//! `hallpass init`: what it asks, what it writes and what it never touches.

use super::*;

fn dir(machine: &Machine) -> String {
    machine.folder.path().to_str().unwrap().to_owned()
}

fn init(machine: &Machine, args: &[&str]) -> Ran {
    machine.run(&[&["init", "--dir", &dir(machine)], args].concat())
}

/// The agent's name, with no mistake and no warning in what was written.
fn checked(machine: &Machine) -> String {
    let found = crate::config::check(&machine.path("config/hallpass.toml"), []).unwrap();
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    let agents: Vec<_> = found.registry.agents().map(|agent| agent.id.to_string()).collect();
    agents.join(" ")
}

#[test]
fn flags_answer_everything_and_nothing_is_asked() {
    for (args, agent, warned) in [
        (&["--github", "acme/payments", "--repository-id", "456789"] as &[_], "payments-agent", false),
        (&["--github", "https://github.com/Acme/Pay.ments.git", "--key"], "pay-ments-agent", false),
        (&["--key"], "first-agent", true),
        (&["--key", "--agent", "refactorer", "--owner", "@acme/payments"], "refactorer", true),
        (
            &["--github", "a/b", "--repository-id", "7", "--public-url", "https://hallpass.acme.internal/"],
            "b-agent",
            false,
        ),
    ] {
        let machine = Machine::new();
        let ran = init(&machine, args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        assert_eq!(checked(&machine), agent, "{args:?}");
        assert!(ran.out.contains("hallpass serve"), "{}", ran.out);
        assert_eq!(ran.err.contains("warning: "), warned, "{args:?}: {}", ran.err);
        assert_eq!(machine.path("agent.key").exists(), args.contains(&"--key"));
        assert!(!ran.err.contains("PRIVATE") && !ran.out.contains("PRIVATE"));
    }
}

#[test]
fn who_gives_no_flags_is_asked() {
    let mut machine = Machine::new();
    machine.input = "payments\nacme/payments\n\n0\n456789\n\nteam pay\nteam-pay\n\n".to_owned();
    let ran = init(&machine, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("write OWNER/NAME"), "a slip is asked again: {}", ran.err);
    assert_eq!(checked(&machine), "payments-agent");
    let written = std::fs::read_to_string(machine.path("config/agents/payments-agent.toml")).unwrap();
    for part in ["repository_id = \"456789\"", "owner   = \"team-pay\"", "https://github.com/acme/payments\""]
    {
        assert!(written.contains(part), "{part}: {written}");
    }

    // Whoever has no repository there gets a key; whoever says no more gets what is usual.
    machine = Machine::new();
    machine.input = "\n".to_owned();
    let ran = init(&machine, &[]);
    assert_eq!((ran.code, checked(&machine).as_str()), (0, "first-agent"), "{}", ran.err);
    assert!(machine.path("agent.key").exists());
}

#[test]
fn jobs_of_github_need_the_repositorys_number() {
    for args in
        [&["--github", "acme/payments"] as &[_], &["--github", "acme/payments", "--repository-id", "0"]]
    {
        let machine = Machine::new();
        let ran = init(&machine, args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
        assert!(ran.err.contains("--repository-id"), "{args:?}: {}", ran.err);
        assert_eq!(std::fs::read_dir(machine.folder.path()).unwrap().count(), 0, "nothing is written");
    }
    let ran = init(&Machine::new(), &["--github", "acme/payments"]);
    assert!(ran.err.contains("gh api repos/acme/payments --jq .id"), "{}", ran.err);
    // Nor does anybody who is asked get a file without it.
    let mut machine = Machine::new();
    machine.input = "acme/payments\n".to_owned();
    assert_eq!(init(&machine, &[]).code, 2);
    assert_eq!(std::fs::read_dir(machine.folder.path()).unwrap().count(), 0);
}

#[test]
fn nobody_there_to_answer_is_told_the_flags() {
    let machine = Machine::new();
    let ran = init(&machine, &[]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("--github OWNER/NAME") && ran.err.contains("--key"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(machine.folder.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn what_is_there_is_never_overwritten() {
    for there in ["config/hallpass.toml", "config/agents/first-agent.toml", "agent.key"] {
        let machine = Machine::new();
        let path = machine.path(there);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "mine").unwrap();
        let ran = init(&machine, &["--key"]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{there}: {}", ran.err);
        assert!(ran.err.contains("exists, and nothing is overwritten"), "{}", ran.err);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        for other in ["config/hallpass.toml", "config/agents/first-agent.toml", "agent.key"] {
            assert_eq!(machine.path(other).exists(), other == there, "{there}: {other} was written");
        }
    }
    let machine = Machine::new();
    std::fs::create_dir_all(machine.path("config")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", machine.path("config/hallpass.toml")).unwrap();
    assert_eq!(init(&machine, &["--key"]).code, 1, "a link that leads nowhere");
}
