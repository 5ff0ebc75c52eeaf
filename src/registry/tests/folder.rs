//! The folder as a whole: what belongs there, the revision, and every mistake at once.

use std::os::unix::fs::symlink;

use super::*;
use crate::document::MAX_FILE_BYTES;

#[test]
fn a_good_folder_becomes_a_registry() {
    let dir = folder(&[("a.toml", GOOD), ("b.toml", &good(2))]);
    let registry = rules().load(dir.path()).unwrap();
    let ids: Vec<&str> = registry.agents().map(|agent| agent.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    let agent = registry.agent(&id("a")).unwrap();
    assert_eq!(agent.max_ttl, Some(Duration::from_secs(600)));
    assert_eq!(agent.permissions.len(), 2);
    assert_eq!(agent.identities.len(), 1);
    assert!(registry.agent(&id("c")).is_none());
    assert!(registry.revision().starts_with("sha256:") && registry.revision().len() == 71);
}

#[test]
fn every_mistake_of_every_file_is_told_in_order() {
    let lines = told(&[
        ("b.toml", &good(2).replace("owner   = \"team-a\"\n", "").replace("10m", "2h")),
        ("a.toml", &GOOD.replace("github\"", "githb\"").replace("team-a", "")),
        ("c.toml", "purpose = "),
    ]);
    let starts: Vec<&str> = lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(starts, ["a.toml:2", "a.toml:6", "b.toml:1", "b.toml:2", "c.toml:1"], "{lines:?}");
}

#[test]
fn what_does_not_belong_in_the_folder_is_told_and_what_may_be_there_is_not() {
    let dir = folder(&[
        ("a.toml", GOOD),
        (".hidden", "x"),
        (".b.toml.swp", "x"),
        ("a.toml~", "x"),
        ("#a.toml#", "x"),
        ("README.md", "x"),
    ]);
    fs::create_dir(dir.path().join("..2026_11_23")).unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    rules().load(dir.path()).unwrap();

    assert_eq!(
        told(&[("hallpass.drill.toml", GOOD)]),
        [
            "hallpass.drill.toml: is the name of the agent that drills of the kill switch stop; rename the file"
        ]
    );
    for (name, text) in [("b.tml", "x"), ("c.TOML", "x"), ("notes.txt", "x"), ("Big Name.toml", &good(2))] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::write(dir.path().join("huge.toml"), vec![b'#'; (MAX_FILE_BYTES + 1) as usize]).unwrap();
    fs::write(dir.path().join("latin.toml"), b"# ok\npurpose = \"caf\xe9\"\n").unwrap();
    fs::create_dir(dir.path().join("folder.toml")).unwrap();
    fs::create_dir(dir.path().join("team-b")).unwrap();
    symlink("loop.toml", dir.path().join("loop.toml")).unwrap();
    symlink("nowhere", dir.path().join("gone.toml")).unwrap();
    let told = lines(dir.path(), &rules().load(dir.path()).unwrap_err());
    insta::assert_snapshot!(told.join("\n"), @"
    Big Name.toml: an agent id must be 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit; rename the file: its name is the agent's id
    b.tml: agent files end in .toml; rename it to <agent id>.toml
    c.TOML: agent files end in .toml; rename it to <agent id>.toml
    folder.toml: is a folder; write a file of this name
    gone.toml: there is no such file; make it, or correct the path
    huge.toml: is bigger than 1 MiB; keep only what hallpass reads
    latin.toml:2: is not UTF-8 text; save the file as UTF-8
    loop.toml: cannot be read: Too many levels of symbolic links (os error 40); make it a file that hallpass may read
    notes.txt: is not an agent file; rename it to <agent id>.toml, or move it elsewhere
    team-b: is a folder, and agents are not looked for in it; move its agents up, and the folder elsewhere
    ");
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let told = lines(dir.path(), &rules().load(&dir.path().join("agents")).unwrap_err());
    assert_eq!(told, ["agents: there is no such folder; make it, or correct registry.path"]);
    fs::write(dir.path().join("file"), "").unwrap();
    let told = lines(dir.path(), &rules().load(&dir.path().join("file")).unwrap_err());
    assert!(told[0].starts_with("file: cannot be listed: "), "{told:?}");
}

#[test]
fn an_empty_folder_registers_nobody() {
    let dir = folder(&[]);
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    let registry = rules().load(dir.path()).unwrap();
    assert_eq!(registry.agents().len(), 0);
    let told: Vec<String> = registry.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("warning: holds no agent file, so nobody gets a token; "), "{told:?}");
}

#[test]
fn files_may_be_links_as_kubernetes_mounts_them() {
    let dir = folder(&[]);
    let data = dir.path().join("..data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("a.toml"), GOOD).unwrap();
    symlink("..data/a.toml", dir.path().join("a.toml")).unwrap();
    assert!(rules().load(dir.path()).unwrap().agent(&id("a")).is_some());
}

#[test]
fn the_revision_is_of_names_and_bytes_and_nothing_else() {
    let revision = |files: &[(&str, &str)]| {
        let dir = folder(files);
        rules().load(dir.path()).unwrap().revision().to_owned()
    };
    let (two, commented) = (good(2), format!("{GOOD}# seen\n"));
    let first = revision(&[("a.toml", GOOD), ("b.toml", &two)]);
    assert_eq!(first, revision(&[("b.toml", &two), ("a.toml", GOOD), ("README.md", "x")]));
    assert_ne!(first, revision(&[("a.toml", &two), ("b.toml", GOOD)]));
    assert_ne!(first, revision(&[("a.toml", &commented), ("b.toml", &two)]));
    assert_ne!(first, revision(&[("a.toml", GOOD), ("bb.toml", &two)]));
}

#[test]
fn no_agent_that_loads_exceeds_the_guardrails() {
    let dir = folder(&[("a.toml", GOOD), ("b.toml", &good(2).replace("\"staging\"", "\"test\""))]);
    let registry = rules().load(dir.path()).unwrap();
    for permission in registry.agents().flat_map(|agent| &agent.permissions) {
        for (actions, tier) in [(&permission.free, Tier::Free), (&permission.gated, Tier::Gated)] {
            for action in actions {
                let environment = permission.environment.as_deref();
                assert!(guardrails().tier(action, environment, &permission.patterns) <= tier);
            }
        }
    }
}

#[test]
fn one_agent_too_many_is_told_without_reading_any() {
    let dir = folder(&[]);
    for n in 0..4 {
        fs::write(dir.path().join(format!("{n}.toml")), good(n)).unwrap();
    }
    let judge = || rules().judge(Snapshot::read_at_most(dir.path(), &Readings::default(), 4, 1 << 20));
    assert!(judge().is_ok());
    fs::write(dir.path().join("bad.toml"), "").unwrap();
    let told = judge().unwrap_err();
    assert_eq!(told.len(), 1);
    assert!(told[0].problem.contains("5 agents"), "{told:?}");
}

#[test]
fn files_that_together_are_too_big_are_told() {
    let dir = folder(&[]);
    for n in 0..4 {
        fs::write(dir.path().join(format!("{n}.toml")), good(n)).unwrap();
    }
    let judge = |most| rules().judge(Snapshot::read_at_most(dir.path(), &Readings::default(), 10, most));
    let all: usize = (0..4).map(|n| good(n).len()).sum();
    assert!(judge(all).is_ok());
    let told = judge(all - 1).unwrap_err();
    assert!(told[0].problem.contains("together are over"), "{told:?}");
}
