//! README.md and the documents say what is so: commands parse, files exist, configurations load, and the
//! README's walk through a broker and its picture of the demo are what really happens.
//!
//! Each rule is tried first on a text that breaks it.

mod shell;
mod step;
mod story;

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Command, CommandFactory};
use hallpass::cli::Cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents at the root, and docs/.
fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).expect("docs/");
    let mut found: Vec<PathBuf> =
        docs.map(|entry| Path::new("docs").join(entry.expect("an entry").file_name())).collect();
    found.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from));
    found.sort();
    found
}

/// A fenced block, its language (may be empty), and the heading above it.
struct Block<'a> {
    heading: &'a str,
    language: &'a str,
    text: String,
}

fn blocks(document: &str) -> Vec<Block<'_>> {
    let (mut heading, mut found, mut open) = ("", Vec::new(), None::<Block<'_>>);
    for line in document.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some(Block { heading, language, text: String::new() }),
            (None, None) => heading = line.strip_prefix("## ").unwrap_or(heading),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block that is not closed");
    found
}

/// Spans in single back quotes, outside of blocks.
fn spans(document: &str) -> Vec<&str> {
    let outside = document.split("```").step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

fn command_line() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// `hallpass …` of one command of a shell, also where cargo runs it.
fn of_hallpass(words: &[String]) -> Option<Vec<String>> {
    let (program, arguments) = words.split_first()?;
    let arguments = match program.as_str() {
        "hallpass" => arguments,
        "cargo" if arguments.first()? == "run" => {
            let ours = arguments.iter().position(|word| word == "--")?;
            &arguments[ours + 1..]
        }
        _ => return None,
    };
    Some(std::iter::once("hallpass".to_owned()).chain(arguments.iter().cloned()).collect())
}

/// Why a command to be copied would not be understood.
fn misunderstood(words: &[String]) -> Option<String> {
    // The one placeholder of the documents, as a revocation's id.
    let id = "01a2098e-4cb5-7c27-ba9a-c81e2b0959b4";
    let words: Vec<&str> = words.iter().map(|word| if word == "ID" { id } else { word }).collect();
    let error = command_line().try_get_matches_from(&words).err()?;
    let known_later = error.kind() == ErrorKind::ValueValidation && words.iter().any(|w| w.contains('$'));
    let informs = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    (!known_later && !informs).then(|| format!("{}: {error}", words.join(" ")))
}

/// What is no command or flag in `hallpass revoke TARGET --reason …`, as prose mentions commands.
fn unknown_in(span: &str) -> Option<String> {
    let mut command = command_line();
    for word in span.split_whitespace().skip(1) {
        let name = word.trim_matches(|c: char| "\"'…,.:".contains(c));
        if let Some(below) = command.find_subcommand(name) {
            command = below.clone();
        } else if let Some(flag) = name.strip_prefix("--") {
            let flag = flag.split('=').next().unwrap_or(flag);
            if flag != "help" && !command.get_arguments().any(|argument| argument.get_long() == Some(flag)) {
                return Some(format!("{span}: {} has no --{flag}", command.get_name()));
            }
        } else if command.has_subcommands() && name.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Some(format!("{span}: {} has no command {name}", command.get_name()));
        }
    }
    None
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn commands_that_do_not_exist_are_found() {
    for good in ["hallpass lift ID --reason x", "hallpass audit verify --verifier-key $", "hallpass demo"] {
        assert_eq!(misunderstood(&words(good)), None);
    }
    for bad in
        ["hallpass approve", "hallpass lift", "hallpass revoke agent:x --because x", "hallpass revoke x"]
    {
        assert!(misunderstood(&words(bad)).is_some(), "{bad}");
    }
    for good in ["hallpass lift ID --reason \"…\"", "hallpass agents show", "hallpass COMMAND --help"] {
        assert_eq!(unknown_in(good), None);
    }
    for bad in ["hallpass agents banish", "hallpass explain", "hallpass revoke --because x"] {
        assert!(unknown_in(bad).is_some(), "{bad}");
    }
}

#[test]
fn every_command_in_the_documents_exists() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for document in documents() {
        let text = read(&document);
        for block in blocks(&text).iter().filter(|block| block.language == "sh") {
            for command in shell::commands(&block.text).iter().filter_map(|words| of_hallpass(words)) {
                tried += 1;
                wrong.extend(misunderstood(&command).map(|why| format!("{}: {why}", document.display())));
            }
        }
        for span in spans(&text).into_iter().filter(|span| span.starts_with("hallpass ")) {
            tried += 1;
            wrong.extend(unknown_in(span).map(|why| format!("{}: {why}", document.display())));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(tried > 30, "only {tried} commands were found");
}

/// Every command that does something, as in `audit verify`.
fn leaves(command: &Command, path: &str) -> Vec<String> {
    let below = command.get_subcommands().filter(|sub| sub.get_name() != "help");
    let below: Vec<_> = below.flat_map(|sub| leaves(sub, &format!("{path} {}", sub.get_name()))).collect();
    if below.is_empty() { vec![path.trim().to_owned()] } else { below }
}

#[test]
fn every_command_is_documented() {
    let manual = read("docs/CLI.md");
    let known = |command: &String| {
        spans(&manual).iter().any(|span| span == command || span.starts_with(&format!("{command} ")))
    };
    let all = leaves(&command_line(), "");
    assert!(all.contains(&"audit verify".to_owned()), "{all:?}");
    let missing: Vec<_> = all.into_iter().filter(|command| !known(command)).collect();
    assert!(missing.is_empty(), "docs/CLI.md does not list {missing:?}");
    assert!(!known(&"approve".to_owned()));
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Why a link of a document in `folder` leads nowhere.
fn dead(link: &str, folder: &Path, own: &str) -> Option<String> {
    if link.starts_with("https://") {
        return None;
    }
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    let path = folder.join(path);
    if !link.starts_with('#') && path.is_dir() {
        return None;
    }
    let text = match link.starts_with('#') {
        true => own.to_owned(),
        false => match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => return Some(format!("{link}: {error}")),
        },
    };
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#')));
    (!fragment.is_empty() && !anchors.any(|one| one == fragment)).then(|| format!("{link}: no such heading"))
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let own = "# One thing, and `two`";
    assert_eq!(dead("#one-thing-and-two", root(), own), None);
    for link in ["#gone", "docs/gone.md", "docs/CLI.md#gone"] {
        assert!(dead(link, root(), own).is_some(), "{link}");
    }
    let mut wrong = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = root().join(&document).parent().expect("a folder").to_path_buf();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        wrong.extend(
            links
                .filter_map(|link| dead(link, &folder, &text))
                .map(|why| format!("{}: {why}", document.display())),
        );
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_configuration_and_the_agent_of_the_readme_load() {
    let readme = read("README.md");
    let of = |heading: &str| {
        let mut blocks = blocks(&readme).into_iter().filter(|b| b.heading == heading && b.language == "toml");
        blocks.next().unwrap_or_else(|| panic!("{heading} shows no TOML")).text
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("agents")).expect("agents");
    let (config, agent) = ("hallpass.toml", "agents/payments-refactorer.toml");
    let check = || hallpass::config::check(&folder.path().join(config), []);

    fs::write(folder.path().join(config), of("Configuration")).expect(config);
    fs::write(folder.path().join(agent), of("The agent file")).expect(agent);
    let checked = check().unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    assert_eq!(checked.registry.agents().count(), 1);

    fs::write(folder.path().join(agent), of("The agent file").replace("owner", "ownr")).expect(agent);
    assert!(check().is_err(), "a slip is noticed");
}
