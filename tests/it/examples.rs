//! The files of `examples/`, and the agent files of `docs/AGENTS.md`: parsed, and held to what hallpass knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use hallpass::cli::Cli;
use hallpass::cli::token::source;
use hallpass::config;
use saphyr::{LoadableYamlNode as _, Yaml};

const BROKER: &str = "https://hallpass.acme.internal";
const YAML: [&str; 3] = ["github-actions.yml", "gitlab-ci.yml", "kubernetes-pod.yaml"];

fn project(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of the project")
}

fn example(name: &str) -> String {
    project(&format!("examples/{name}"))
}

fn yaml(text: &str) -> Vec<Yaml<'_>> {
    Yaml::load_from_str(text).expect("YAML")
}

/// What is at `a.b.0.c`.
fn at<'a>(yaml: &'a Yaml<'a>, path: &str) -> &'a Yaml<'a> {
    path.split('.').fold(yaml, |node, step| {
        let found = match step.parse::<usize>() {
            Ok(index) => node.as_vec().and_then(|list| list.get(index)),
            Err(_) => node.as_mapping_get(step),
        };
        found.unwrap_or_else(|| panic!("nothing at {step} of {path}"))
    })
}

fn text<'a>(yaml: &'a Yaml<'a>, path: &str) -> &'a str {
    at(yaml, path).as_str().unwrap_or_else(|| panic!("{path} is no text"))
}

/// The words of a line as a shell has them, as far as quotes go.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.into_iter().chain(word).collect()
}

/// What is wrong with a line that runs hallpass. `git config … '!hallpass …'` names a helper, which git
/// calls with an operation.
fn wrong(line: &str) -> Option<String> {
    let mut words = words(line);
    if let Some(helper) = words.iter().find_map(|word| word.strip_prefix('!')) {
        words = self::words(&format!("{helper} get"));
    }
    let program = words.first().map(|word| word.rsplit('/').next().unwrap_or_default().to_owned());
    if program.as_deref() != Some("hallpass") {
        return Some(format!("{line}: it does not run hallpass"));
    }
    let parsed = Cli::command().try_get_matches_from(&words);
    parsed.err().map(|error| format!("{line}: {error}"))
}

/// Every word that is one of hallpass's variables, anywhere in `text`.
fn variables(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("HALLPASS_")).collect()
}

#[test]
fn what_is_wrong_is_found() {
    assert_eq!(words("a 'b c' \"d\" e''f"), ["a", "b c", "d", "ef"]);
    for line in [
        "hallpass token --scopes x",
        "hallpass tokens",
        "hallpass run ./agent",
        "hallpas token",
        "git config credential.helper '!hallpass git-credentials'",
        "git config credential.helper '!hallpass git-credential get'",
    ] {
        assert!(wrong(line).is_some(), "{line}");
    }
    assert_eq!(wrong("/usr/local/bin/hallpass run --scope a:read -- ./agent"), None);
}

#[test]
fn every_command_of_the_examples_is_one() {
    let mut found = 0;
    let mut check = |line: &str| {
        found += 1;
        assert_eq!(wrong(line), None);
    };
    for name in YAML.into_iter().chain(["hallpass-agent.service"]) {
        let text = example(name);
        // Comments tell commands too; the first word of one is `hallpass` there.
        for line in text.lines().filter_map(|line| line.strip_prefix("#   hallpass ")) {
            check(&format!("hallpass {line}"));
        }
    }
    let job = example(YAML[0]);
    let job = &yaml(&job)[0];
    for step in at(job, "jobs.refactor.steps").as_vec().expect("steps") {
        let runs = text(step, "run").lines().filter(|line| line.contains("hallpass "));
        runs.filter(|line| !line.contains("useHttpPath")).for_each(&mut check);
    }
    let pipeline = example(YAML[1]);
    for line in at(&yaml(&pipeline)[0], "refactor.script").as_vec().expect("lines") {
        check(line.as_str().expect("a line"));
    }
    let pod = example(YAML[2]);
    let pod = &yaml(&pod)[1];
    let command = at(pod, "spec.containers.0.command").as_vec().expect("words").iter();
    check(&command.map(|word| word.as_str().expect("a word")).collect::<Vec<_>>().join(" "));
    check(unit("ExecStart")[0].as_str());
    assert_eq!(found, 6, "github 2, gitlab 1, kubernetes 1, systemd 1 and its keygen");
}

#[test]
fn every_variable_of_the_examples_is_known() {
    let known: BTreeSet<&str> = config::COMMAND_LINE_VARIABLES.iter().copied().collect();
    for name in YAML.into_iter().chain(["hallpass-agent.service"]) {
        let text = example(name);
        let used = variables(&text);
        assert!(used.contains("HALLPASS_URL"), "{name}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}

#[test]
fn a_github_job_may_ask_for_its_token_and_nothing_else() {
    let text = example(YAML[0]);
    let documents = yaml(&text);
    let permissions = at(&documents[0], "permissions").as_mapping().expect("a map");
    assert_eq!((self::text(&documents[0], "permissions.id-token"), permissions.len()), ("write", 1));
    assert_eq!(self::text(&documents[0], "env.HALLPASS_URL"), BROKER);
    let triggers = at(&documents[0], "on").as_mapping().expect("a map");
    let triggers: Vec<&str> = triggers.keys().filter_map(Yaml::as_str).collect();
    assert_eq!(triggers, ["workflow_dispatch", "schedule"], "nobody else's code runs as the agent");
}

#[test]
fn a_gitlab_job_has_a_token_for_the_broker_where_hallpass_looks() {
    let text = example(YAML[1]);
    let documents = yaml(&text);
    let tokens = at(&documents[0], "refactor.id_tokens").as_mapping().expect("a map");
    let names: Vec<&str> = tokens.keys().filter_map(Yaml::as_str).collect();
    assert_eq!(names, [source::IDENTITY_TOKEN]);
    assert_eq!(self::text(&documents[0], "refactor.id_tokens.HALLPASS_IDENTITY_TOKEN.aud"), BROKER);
    assert_eq!(self::text(&documents[0], "refactor.variables.HALLPASS_URL"), BROKER);
}

#[test]
fn a_pod_has_its_token_where_hallpass_looks() {
    let text = example(YAML[2]);
    let documents = yaml(&text);
    let [account, pod] = documents.as_slice() else { panic!("two documents") };
    let container = at(pod, "spec.containers.0");
    let mount = at(container, "volumeMounts.0");
    let volume = at(pod, "spec.volumes.0");
    assert_eq!(self::text(mount, "name"), self::text(volume, "name"));
    let token = at(volume, "projected.sources.0.serviceAccountToken");
    let path = format!("{}/{}", self::text(mount, "mountPath"), self::text(token, "path"));
    assert_eq!(path, source::PROJECTED);
    assert_eq!(self::text(token, "audience"), BROKER);
    assert_eq!(self::text(container, "env.0.value"), BROKER);
    // The token file has a place in memory that the agent may write to.
    assert_eq!(self::text(container, "env.1.name"), "XDG_RUNTIME_DIR");
    assert_eq!(self::text(container, "env.1.value"), self::text(container, "volumeMounts.1.mountPath"));
    assert_eq!(self::text(pod, "spec.volumes.1.emptyDir.medium"), "Memory");
    assert_eq!(self::text(pod, "spec.serviceAccountName"), self::text(account, "metadata.name"));
    let (namespace, name) = (self::text(account, "metadata.namespace"), self::text(account, "metadata.name"));
    assert!(text.contains(&format!("sub = \"system:serviceaccount:{namespace}:{name}\"")));
}

/// Every value of one key of the systemd unit.
fn unit(key: &str) -> Vec<String> {
    let text = example("hallpass-agent.service");
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    for line in &lines {
        let section = line.starts_with('[') && line.ends_with(']');
        assert!(section || line.contains('='), "systemd does not read: {line}");
    }
    let values = lines.into_iter().filter_map(|line| line.split_once('='));
    values.filter(|(name, _)| *name == key).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn a_unit_reads_its_key_from_its_own_credentials() {
    let environment: BTreeSet<String> = unit("Environment").into_iter().collect();
    let (credential, file) = {
        let loaded = unit("LoadCredential").remove(0);
        let (name, file) = loaded.split_once(':').expect("a name and a file");
        (name.to_owned(), file.to_owned())
    };
    assert!(example("hallpass-agent.service").contains(&format!("hallpass keygen --out {file}")));
    let runtime = unit("RuntimeDirectory").remove(0);
    let due = [
        format!("HALLPASS_URL={BROKER}"),
        format!("{}=payments-refactorer", source::AGENT),
        format!("{}=%d/{credential}", source::KEY_FILE),
        format!("XDG_RUNTIME_DIR=%t/{runtime}"),
    ];
    assert_eq!(environment, due.into());
    assert_eq!(unit("RuntimeDirectoryMode"), ["0700"]);
    assert_eq!(unit("KillMode"), ["mixed"], "the agent hears of the end through hallpass");
}

// ---- what to write in the agent file ----

/// The TOML of every code block of `document` that is an identity.
fn identities(document: &str) -> Vec<String> {
    let blocks = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.contains("[[identity]]")).map(str::to_owned).collect()
}

/// The identity that the comments of an example tell to write.
fn told(example: &str) -> Option<String> {
    let lines = example.lines().skip_while(|line| !line.contains("[[identity]]"));
    let lines: Vec<&str> = lines.map_while(|line| line.strip_prefix("#   ")).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The mistakes of an agent file with this identity, by the broker's own check.
fn mistakes(identity: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let issuers = ["github", "gitlab", "cluster-a"].map(|name| {
        format!("[[issuer]]\nname = \"{name}\"\nurl = \"https://{name}.example\"\naudience = \"{BROKER}\"\n")
    });
    let broker = format!(
        "[server]\nlisten = \"127.0.0.1:8700\"\n[admin]\nlocal_operator_key_file = \"k\"\n\
         [registry]\npath = \"agents\"\n[[trust_domain]]\nname = \"acme.internal\"\n\
         bundle_url = \"https://spire.acme.internal\"\n{}",
        issuers.concat()
    );
    let agent = format!(
        "purpose = \"Works.\"\nowner = \"team\"\n{identity}\n[[repository]]\nname = \"payments\"\n\
         url = \"https://git.acme.internal/acme/payments\"\nfree = [\"read\"]\n"
    );
    fs::create_dir(folder.path().join("agents")).expect("a folder");
    fs::write(folder.path().join("agents/payments-refactorer.toml"), agent).expect("a file");
    fs::write(folder.path().join("hallpass.toml"), broker).expect("a file");
    match config::check(&folder.path().join("hallpass.toml"), std::iter::empty()) {
        Ok(_) => Vec::new(),
        Err(found) => found.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_identity_that_is_told_to_write_is_one() {
    assert!(!mistakes("[[identity]]\nissuer = \"githb\"\nclaims = { sub = \"x\" }").is_empty());
    let mut all = identities(&project("docs/AGENTS.md"));
    assert_eq!(all.len(), 5, "GitHub, GitLab, Kubernetes, SPIFFE, a key");
    all.extend(YAML.iter().map(|name| told(&example(name)).expect("an identity")));
    for identity in all {
        assert_eq!(mistakes(&identity), Vec::<String>::new(), "{identity}");
    }
}
