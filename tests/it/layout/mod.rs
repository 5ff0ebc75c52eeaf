//! The shape of the project itself: arrows between the layers and inside their folders, sizes of files, what may be in the
//! dependency tree, and documents and scripts that say what is true.
//!
//! Each rule is a function over text, tried first on a text that breaks it: a rule that can find nothing
//! would hold anything.

mod circles;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hallpass::domain::reason::{OAuthError, Reason};

const LONGEST_FILE: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the project below `folder`, relative to the root, without what `.gitignore` names.
fn files(folder: &str) -> Vec<PathBuf> {
    let ignored = read(".gitignore");
    let ignored: BTreeSet<&str> =
        ignored.lines().map(|line| line.trim_matches('/')).chain([".git"]).collect();
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let relative = path.strip_prefix(root()).expect("below the root").to_path_buf();
            if ignored.contains(relative.to_string_lossy().as_ref()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(relative);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let all = files("src").into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    all.map(|path| (path.clone(), read(&path.to_string_lossy()))).collect()
}

fn nothing_found(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

// ---- the arrows ----

/// The layers from the top down; those on one level never import one another.
struct Layers(Vec<Vec<String>>);

impl Layers {
    /// Of the line `main → … → { a b } → domain`.
    fn parse(doc: &str) -> Self {
        let line = doc.lines().find(|line| line.contains(" → ")).expect("the line of the arrows");
        let levels = line.trim_start_matches("//!").split('→');
        Self(
            levels
                .map(|level| {
                    let names = level.split_whitespace().filter(|word| !matches!(*word, "{" | "}"));
                    names.map(str::to_owned).collect()
                })
                .collect(),
        )
    }

    fn level(&self, module: &str) -> Option<usize> {
        self.0.iter().position(|level| level.iter().any(|name| name == module))
    }

    /// What is wrong with the imports of one file of `src/`.
    fn violations(&self, file: &Path, text: &str) -> Vec<String> {
        let module = module_of(file);
        let from = &module[0];
        let Some(level) = self.level(from) else {
            return vec![format!("{}: {from} is not one of the layers", file.display())];
        };
        let mut wrong = Vec::new();
        for (number, to) in imports(text, module.len()) {
            let down = match self.level(&to) {
                Some(below) => to == *from || below > level,
                None => false,
            };
            if !down {
                wrong.push(format!("{}:{number}: {from} must not use {to}", file.display()));
            }
        }
        wrong
    }
}

/// `src/broker/limits.rs` is `[broker, limits]`; `src/store/mod.rs` is `[store]`.
fn module_of(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix("src").expect("below src").with_extension("");
    let mut module: Vec<String> =
        inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    module
}

/// The top module of every path that starts at the crate's root, with its line. `depth` is how many
/// modules deep the file is, so that a chain of `super` that climbs to the root is seen too.
fn imports(text: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let code = code_of(text);
    let line_of = |at: usize| code[..at].matches('\n').count() + 1;
    for start in ["crate::", "hallpass::"] {
        for (at, _) in code.match_indices(start) {
            if !code[..at].ends_with(is_name) {
                found.extend(heads(&code[at + start.len()..]).into_iter().map(|name| (line_of(at), name)));
            }
        }
    }
    let climb = "super::".repeat(depth);
    for (at, _) in code.match_indices(&climb) {
        let inline = usize::from(code[..at].lines().any(is_inline_module));
        let before = &code[..at];
        let after = &code[at + climb.len()..];
        let climbs_on = after.starts_with("super::");
        if !before.ends_with("super::") && !before.ends_with(is_name) && (inline == 0 || climbs_on) {
            let after = after.trim_start_matches("super::");
            found.extend(heads(after).into_iter().map(|name| (line_of(at), name)));
        }
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_inline_module(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches("pub ");
    line.starts_with("mod ") && line.trim_end().ends_with('{')
}

/// Every line of `text` that is not a comment, at its own number.
fn code_of(text: &str) -> String {
    let lines = text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// The first name of each path of `a::b`, `{a::b, c::{d, e}}` or `*`.
fn heads(path: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|c| is_name(*c)).collect::<String>();
    let Some(group) = path.strip_prefix('{') else {
        let head = name(path);
        return vec![if head.is_empty() { "*".to_owned() } else { head }];
    };
    let mut heads = vec![name(group)];
    let mut open = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open == 1 => heads.push(name(&group[at + 1..])),
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

#[test]
fn arrows_that_point_up_or_sideways_are_found() {
    let layers = Layers::parse(&read("src/lib.rs"));
    let wrong = |file: &str, text: &str| !layers.violations(Path::new(file), text).is_empty();
    for (file, text) in [
        ("src/domain/grant.rs", "use crate::store::Store;"),
        ("src/store/sqlite.rs", "use crate::revocation::View;"),
        ("src/identity/jwks.rs", "use crate::{domain::id::AgentId, token::Claims};"),
        ("src/registry/mod.rs", "use crate::{\n    domain::{agent, key},\n    identity,\n};"),
        ("src/broker.rs", "fn f() -> crate::http::Error { todo() }"),
        ("src/http/admin.rs", "pub(in crate::http) use crate::app::App;"),
        ("src/config/mod.rs", "use crate::app::App;"),
        ("src/token/keys.rs", "use super::super::store::Store;"),
        ("src/store/mod.rs", "use super::token;"),
        ("src/store/mod.rs", "mod tests {\n    use super::super::token;\n}"),
        ("src/revocation/mod.rs", "use crate::*;"),
        ("src/misc.rs", ""),
    ] {
        assert!(wrong(file, text), "{file}: {text}");
    }
    for (file, text) in [
        ("src/store/sqlite.rs", "use crate::store::Store;\nuse crate::domain::event::Event;"),
        ("src/store/sqlite.rs", "use super::Store;\nuse super::log::token;"),
        ("src/store/mod.rs", "mod tests {\n    use super::*;\n    use super::token;\n}"),
        ("src/broker/issue.rs", "use crate::{identity, token::Claims, domain::grant::{Grant, Levels}};"),
        ("src/domain/mod.rs", "//! [`crate::store`] keeps it."),
        ("src/main.rs", "fn main() { hallpass::cli::run() }"),
        ("src/http/mod.rs", "pub(in crate::http) struct X;\nuse other_crate::store;"),
    ] {
        assert!(!wrong(file, text), "{file}: {text}");
    }
}

#[test]
fn arrows_go_down_only() {
    let lib = read("src/lib.rs");
    let layers = Layers::parse(&lib);
    assert_eq!(layers.0.first().map(Vec::as_slice), Some(&["main".to_owned()][..]));
    assert_eq!(layers.0.last().map(Vec::as_slice), Some(&["domain".to_owned()][..]));
    let files = sources();
    let mut wrong: Vec<String> = files
        .iter()
        .filter(|(file, _)| file != Path::new("src/lib.rs"))
        .flat_map(|(file, text)| layers.violations(file, text))
        .collect();
    let declared = lib.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    for module in declared.map(|name| name.trim_end_matches(';')) {
        if layers.level(module).is_none() {
            wrong.push(format!("src/lib.rs: {module} has no place among the arrows"));
        }
    }
    nothing_found(&wrong);
}

/// Lines that name reqwest: whoever does asks past the limits that `outbound` promises.
fn other_clients(file: &Path, text: &str) -> Vec<String> {
    let module = module_of(file);
    if module[0] == "outbound" || module.iter().any(|name| name == "tests") {
        return Vec::new();
    }
    let code = code_of(text);
    let named = code.lines().enumerate().filter(|(_, line)| line.contains("reqwest"));
    named
        .map(|(index, _)| format!("{}:{}: names reqwest; ask by `outbound`", file.display(), index + 1))
        .collect()
}

#[test]
fn there_is_one_http_client() {
    let found = |file: &str, text: &str| other_clients(Path::new(file), text).len();
    assert_eq!(found("src/identity/fetch.rs", "use x;\nuse reqwest::Client;"), 1);
    for (file, text) in [
        ("src/outbound/client.rs", "use reqwest::Client;"),
        ("src/http/listener/tests.rs", "reqwest::Client::builder()"),
        ("src/cli/ready.rs", "// reqwest"),
    ] {
        assert_eq!(found(file, text), 0, "{file}");
    }
    nothing_found(&sources().iter().flat_map(|(file, text)| other_clients(file, text)).collect::<Vec<_>>());
}

// ---- sizes and paths ----

#[test]
fn files_stay_short_enough_to_read() {
    let long = sources().into_iter().filter_map(|(file, text)| {
        let lines = text.lines().count();
        (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines, {LONGEST_FILE} at most", file.display()))
    });
    nothing_found(&long.collect::<Vec<_>>());
}

/// The lines of `text` with an absolute path of somebody's own machine.
fn machine_paths(text: &str) -> Vec<usize> {
    let starts = ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/"));
    let starts_a_path = |line: &str| {
        starts.iter().any(|start| {
            line.match_indices(start.as_str())
                .any(|(at, _)| !line[..at].ends_with(|c: char| is_name(c) || "./-}*~".contains(c)))
        })
    };
    let numbered = text.lines().enumerate();
    numbered.filter(|(_, line)| starts_a_path(line)).map(|(index, _)| index + 1).collect()
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    for bad in ["home/me/hallpass", "root/.cargo", "work/x"] {
        assert_eq!(machine_paths(&format!("ok\nkey = \"/{bad}\"")), [2], "{bad}");
    }
    for good in ["/run/secrets/redis_password", "https://ledger.example/home/", "src/work/x", "~/home/x"] {
        assert!(machine_paths(good).is_empty(), "{good}");
    }
    let mut found = Vec::new();
    for file in files("") {
        let bytes = fs::read(root().join(&file)).expect("a readable file");
        for line in machine_paths(&String::from_utf8_lossy(&bytes)) {
            found.push(format!("{}:{line}: a path of one machine", file.display()));
        }
    }
    nothing_found(&found);
}

// ---- dependencies ----

/// What `lock` holds against `[bans]` and `[sources]` of `deny`.
fn banned(lock: &str, deny: &str) -> Vec<String> {
    let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
    let names = denied(deny);
    let packages = lock["package"].as_array().expect("packages");
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        if names.contains(name) {
            found.push(format!(
                "Cargo.lock: {name} is banned in deny.toml; find who needs it with `cargo tree -i {name}`"
            ));
        }
        let source = package.get("source").and_then(toml::Value::as_str);
        if source.is_some_and(|url| url != "registry+https://github.com/rust-lang/crates.io-index") {
            found.push(format!("Cargo.lock: {name} is not from crates.io"));
        }
    }
    found
}

fn denied(deny: &str) -> BTreeSet<String> {
    let deny: toml::Table = deny.parse().expect("deny.toml is TOML");
    let crates = deny["bans"]["deny"].as_array().expect("bans.deny").iter();
    crates.map(|entry| entry["crate"].as_str().expect("crate").to_owned()).collect()
}

#[test]
fn dependencies_hold_no_banned_crate() {
    let deny = read("deny.toml");
    let names = denied(&deny);
    for name in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "rsa", "p256"] {
        assert!(names.contains(name), "deny.toml must ban {name}");
        assert_eq!(banned(&format!("[[package]]\nname = {name:?}"), &deny).len(), 1, "{name}");
    }
    let elsewhere = "[[package]]\nname = \"x\"\nsource = \"git+https://example.org/x\"";
    assert_eq!(banned(elsewhere, &deny).len(), 1);
    nothing_found(&banned(&read("Cargo.lock"), &deny));
}

// ---- documents and scripts ----

/// `| code | error | status |` of every row whose first cell is code.
fn rows(document: &str) -> Vec<[String; 3]> {
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let table = document.lines().filter_map(|line| line.strip_prefix("| `"));
    table
        .map(|line| {
            let mut cells = line.split('|').map(cell);
            std::array::from_fn(|_| cells.next().unwrap_or_default())
        })
        .collect()
}

fn status(reason: Reason) -> &'static str {
    match reason.error() {
        OAuthError::InvalidClient => "401",
        OAuthError::SlowDown => "429",
        OAuthError::TemporarilyUnavailable => "503",
        OAuthError::ServerError => "500",
        _ if reason == Reason::TooLarge => "413",
        _ => "400",
    }
}

#[test]
fn every_reason_code_is_documented_and_no_other() {
    let written = rows(&read("docs/ERRORS.md"));
    let mut wrong = Vec::new();
    for reason in Reason::ALL {
        let due = [reason.as_str(), reason.error().as_str(), status(*reason)].map(str::to_owned);
        let found: Vec<_> = written.iter().filter(|row| row[0] == due[0]).collect();
        if found != [&due] {
            wrong.push(format!("docs/ERRORS.md: {due:?} must have one row; found {found:?}"));
        }
    }
    let known: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let unknown = written.iter().filter(|row| !known.contains(row[0].as_str()));
    wrong.extend(unknown.map(|row| format!("docs/ERRORS.md: {} is no reason code", row[0])));
    nothing_found(&wrong);
}

/// The paths in back quotes that `document` names and that `exists` says are not there.
fn missing_paths(document: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let quoted = document.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|text| {
        let plain = text.chars().all(|c| is_name(c) || "./-".contains(c));
        plain && !text.starts_with('/') && (text.ends_with(".rs") || text.ends_with('/'))
    });
    paths.filter(|path| !exists(path)).map(str::to_owned).collect()
}

#[test]
fn the_architecture_names_files_that_exist() {
    let exists = |path: &str| root().join(path).exists() || root().join("src").join(path).exists();
    let sample = "see `store/gone.rs`, `src/main.rs`, `domain/`, `/etc/x/`, `cargo test`, `nowhere/`";
    assert_eq!(missing_paths(sample, exists), ["store/gone.rs", "nowhere/"]);
    nothing_found(&missing_paths(&read("docs/ARCHITECTURE.md"), exists));
}

/// A mistyped flag must not start minutes of work without what it was to do. `scripts/test` hands its own on to cargo.
#[test]
fn no_script_ignores_an_argument() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    for script in files("scripts").iter().filter(|script| !script.ends_with("test")) {
        let known: &[&str] = match script.file_name().and_then(|name| name.to_str()).unwrap() {
            "compose-secrets" => &[made.to_str().unwrap()],
            "setup" | "setup-git" => &["--check"],
            "siege" => &["--short"],
            _ => &[],
        };
        for arguments in [&["--no-such-flag"] as &[_], &[known, &["surplus"]].concat()] {
            let run = Command::new(root().join(script)).args(arguments).current_dir(folder.path()).output();
            let (run, name) = (run.unwrap(), script.display());
            let said = String::from_utf8_lossy(&run.stderr);
            assert_eq!(run.status.code(), Some(2), "{name} {arguments:?}: {said}");
            assert!(said.starts_with("Usage: ") && run.stdout.is_empty(), "{name} {arguments:?}: {said}");
        }
    }
    assert!(!made.exists());
}

#[test]
fn every_script_can_be_run_and_says_what_it_does() {
    let scripts = files("scripts");
    assert!(scripts.len() >= 2, "{scripts:?}");
    for script in &scripts {
        let run = Command::new(root().join(script)).arg("--help").current_dir("/").output();
        let run = run.unwrap_or_else(|error| panic!("{}: {error}; chmod +x", script.display()));
        let help = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && help.starts_with("Usage: "), "{}: {help}", script.display());
    }
    let mode = fs::metadata(root().join(".ci/run")).expect(".ci/run").permissions().mode();
    assert_eq!(mode & 0o111, 0o111, ".ci/run must be executable");
}
