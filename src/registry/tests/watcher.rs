//! The watcher on real files. Looks are taken by hand, as `app` takes one a second.

use super::*;

fn watched(files: &[(&str, &str)]) -> (TempDir, Watcher) {
    let dir = folder(files);
    let mut watcher = watcher(&dir);
    assert!(looks(&mut watcher).is_none(), "nothing changed yet");
    (dir, watcher)
}

fn watcher(dir: &TempDir) -> Watcher {
    Watcher::new(dir.path(), rules(), &rules().load(dir.path()).unwrap())
}

#[test]
fn a_change_between_the_first_load_and_the_watch_is_told() {
    let dir = folder(&[("a.toml", GOOD)]);
    let served = rules().load(dir.path()).unwrap();
    fs::write(dir.path().join("a.toml"), GOOD.replace("team-a", "team-b")).unwrap();
    let mut watcher = Watcher::new(dir.path(), rules(), &served);
    let registry = looks(&mut watcher).unwrap().unwrap();
    assert_eq!(owner(&registry, "a").as_deref(), Some("team-b"));

    fs::write(dir.path().join("a.toml"), "owner = 1").unwrap();
    let mut watcher = Watcher::new(dir.path(), rules(), &registry);
    assert!(looks(&mut watcher).unwrap().is_err());
}

/// As many looks as a change needs at most, and then some.
fn looks(watcher: &mut Watcher) -> Option<Result<Registry, Vec<Diagnostic>>> {
    let seen: Vec<_> = (0..6).filter_map(|_| watcher.changed()).collect();
    assert!(seen.len() <= 1, "one change is told once");
    seen.into_iter().next()
}

fn owner(registry: &Registry, agent: &str) -> Option<String> {
    registry.agent(&id(agent)).map(|agent| agent.owner.to_string())
}

#[test]
fn a_file_that_is_replaced_or_rewritten_in_place_is_a_new_revision() {
    let (dir, mut watcher) = watched(&[("a.toml", GOOD)]);
    let new = dir.path().join(".new");
    fs::write(&new, GOOD.replace("team-a", "team-b")).unwrap();
    fs::rename(&new, dir.path().join("a.toml")).unwrap();
    let registry = looks(&mut watcher).unwrap().unwrap();
    assert_eq!(owner(&registry, "a").as_deref(), Some("team-b"));

    fs::write(dir.path().join("a.toml"), GOOD.replace("team-a", "team-c")).unwrap();
    let registry = looks(&mut watcher).unwrap().unwrap();
    assert_eq!(owner(&registry, "a").as_deref(), Some("team-c"));
    assert!(looks(&mut watcher).is_none());
}

#[test]
fn a_rewrite_of_the_same_size_at_the_same_instant_is_seen() {
    for n in 0..20 {
        let dir = folder(&[("a.toml", GOOD)]);
        let mut watcher = watcher(&dir);
        fs::write(dir.path().join("a.toml"), GOOD.replace("team-a", "team-z")).unwrap();
        let registry = looks(&mut watcher).unwrap_or_else(|| panic!("missed in round {n}")).unwrap();
        assert_eq!(owner(&registry, "a").as_deref(), Some("team-z"));
    }
}

#[test]
fn a_file_comes_and_goes() {
    let (dir, mut watcher) = watched(&[("a.toml", GOOD)]);
    fs::write(dir.path().join("b.toml"), good(2)).unwrap();
    assert_eq!(looks(&mut watcher).unwrap().unwrap().agents().len(), 2);
    fs::remove_file(dir.path().join("a.toml")).unwrap();
    let registry = looks(&mut watcher).unwrap().unwrap();
    assert!(registry.agent(&id("a")).is_none() && registry.agent(&id("b")).is_some());
}

#[test]
fn a_bad_revision_is_told_once_and_the_next_good_one_too() {
    let (dir, mut watcher) = watched(&[("a.toml", GOOD)]);
    let before = rules().load(dir.path()).unwrap().revision().to_owned();
    fs::write(dir.path().join("a.toml"), GOOD.replace("owner", "ownr")).unwrap();
    let mistakes = looks(&mut watcher).unwrap().unwrap_err();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(looks(&mut watcher).is_none(), "told once");
    fs::write(dir.path().join("a.toml"), GOOD).unwrap();
    // The content is what was served all along, and still it must be told: the refusal is over.
    assert_eq!(*looks(&mut watcher).unwrap().unwrap().revision(), before);
    assert!(looks(&mut watcher).is_none());
}

#[test]
fn touching_a_file_changes_nothing() {
    let (dir, mut watcher) = watched(&[("a.toml", GOOD)]);
    fs::write(dir.path().join("a.toml"), GOOD).unwrap();
    fs::write(dir.path().join(".hidden"), "x").unwrap();
    assert!(looks(&mut watcher).is_none());
}

#[test]
fn a_half_written_file_waits_until_it_rests() {
    let (dir, mut watcher) = watched(&[("a.toml", GOOD)]);
    let whole = good(1).replace("team-a", "team-whole");
    for part in 1..5 {
        fs::write(dir.path().join("a.toml"), &whole[..whole.len() * part / 5]).unwrap();
        assert!(watcher.changed().is_none(), "still being written");
    }
    fs::write(dir.path().join("a.toml"), &whole).unwrap();
    let registry = looks(&mut watcher).unwrap().unwrap();
    assert_eq!(owner(&registry, "a").as_deref(), Some("team-whole"));
}

#[test]
fn a_folder_that_vanishes_is_a_bad_revision_until_it_is_back() {
    let (dir, mut watcher) = watched(&[("a.toml", GOOD)]);
    let aside = dir.path().with_extension("aside");
    fs::rename(dir.path(), &aside).unwrap();
    let mistakes = looks(&mut watcher).unwrap().unwrap_err();
    assert!(mistakes[0].problem.contains("no such folder"), "{mistakes:?}");
    fs::rename(&aside, dir.path()).unwrap();
    assert_eq!(looks(&mut watcher).unwrap().unwrap().agents().len(), 1);
}

#[test]
fn a_folder_that_falls_empty_is_a_bad_revision_until_an_agent_is_back() {
    let (dir, mut watcher) = watched(&[("a.toml", GOOD)]);
    fs::remove_file(dir.path().join("a.toml")).unwrap();
    let mistakes = looks(&mut watcher).unwrap().unwrap_err();
    assert_eq!(mistakes.len(), 1);
    assert!(mistakes[0].problem.contains("is its volume mounted?"), "{mistakes:?}");
    assert!(looks(&mut watcher).is_none(), "told once");
    // So does the empty root of a volume that was just made.
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    assert!(looks(&mut watcher).is_none());
    fs::write(dir.path().join("b.toml"), good(2)).unwrap();
    assert_eq!(looks(&mut watcher).unwrap().unwrap().agents().len(), 1);
}

#[test]
fn an_empty_folder_at_the_start_may_stay_so_and_takes_its_first_agent() {
    let (dir, mut watcher) = watched(&[]);
    fs::write(dir.path().join(".seen"), "x").unwrap();
    assert!(looks(&mut watcher).is_none());
    fs::write(dir.path().join("a.toml"), GOOD).unwrap();
    assert_eq!(looks(&mut watcher).unwrap().unwrap().agents().len(), 1);
}

#[test]
fn agents_whose_files_stay_as_they_are_are_not_read_again() {
    let (dir, mut watcher) = watched(&[("a.toml", GOOD), ("a-b.toml", &good(2)), ("c.toml", &good(3))]);
    let before = rules().load(dir.path()).unwrap();
    let after = || rules().load_after(&before, dir.path()).unwrap();
    let shared = |after: &Registry, agent: &str| {
        Arc::ptr_eq(before.agent(&id(agent)).unwrap(), after.agent(&id(agent)).unwrap())
    };
    assert!(["a", "a-b", "c"].iter().all(|agent| shared(&after(), agent)));
    assert_eq!(after().revision(), before.revision());

    fs::write(dir.path().join("c.toml"), good(3).replace("team-a", "team-b")).unwrap();
    let changed = after();
    assert!(shared(&changed, "a") && shared(&changed, "a-b") && !shared(&changed, "c"));
    assert_eq!(owner(&changed, "c").as_deref(), Some("team-b"));

    // What the watcher puts in force shares with what served before it, reload by reload.
    let first = looks(&mut watcher).unwrap().unwrap();
    fs::write(dir.path().join("c.toml"), good(3)).unwrap();
    let second = looks(&mut watcher).unwrap().unwrap();
    let same = |agent: &str| Arc::ptr_eq(first.agent(&id(agent)).unwrap(), second.agent(&id(agent)).unwrap());
    assert!(same("a") && same("a-b") && !same("c"));
    assert_eq!(second.revision(), before.revision());
}

#[test]
fn a_shared_agent_is_judged_beside_the_new_ones_and_under_new_rules_from_the_start() {
    let dir = folder(&[("a.toml", GOOD), ("b.toml", &good(2))]);
    let before = rules().load(dir.path()).unwrap();
    // The same rule as in a file that has not changed.
    fs::write(dir.path().join("b.toml"), GOOD).unwrap();
    let told = rules().load_after(&before, dir.path()).unwrap_err();
    assert!(told.iter().any(|mistake| mistake.to_string().contains("a.toml:5")), "{told:?}");

    fs::write(dir.path().join("b.toml"), good(2)).unwrap();
    let mut strict = rules();
    strict.guardrails.max_ttl = Duration::from_secs(60);
    assert_eq!(strict.load_after(&before, dir.path()).unwrap_err(), strict.load(dir.path()).unwrap_err());
}

#[test]
fn warnings_and_delegates_of_unchanged_files_are_told_at_each_reload() {
    let weak = GOOD.replace("refs/heads/main", "refs/heads/**");
    let delegating = good(2).replacen("max_ttl", "may_delegate_to = [\"c\"]\nmax_ttl", 1);
    let dir = folder(&[("a.toml", &weak), ("b.toml", &delegating), ("c.toml", &good(3))]);
    let mut rules = rules();
    let github = rules.issuers.as_mut().unwrap().get_mut(&"github".parse::<IssuerName>().unwrap()).unwrap();
    *github = Platform::Github;
    let before = rules.load(dir.path()).unwrap();
    assert!(!before.warnings().is_empty());
    assert_eq!(rules.load_after(&before, dir.path()).unwrap().warnings(), before.warnings());

    fs::remove_file(dir.path().join("c.toml")).unwrap();
    let told = rules.load_after(&before, dir.path()).unwrap_err();
    assert!(told[0].problem.contains("no agent `c` is registered"), "{told:?}");
}
