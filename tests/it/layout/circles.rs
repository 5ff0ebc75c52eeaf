//! No circles inside folders: where one module of a folder uses another, the other must not use it back,
//! neither itself nor by way of third ones.
//!
//! The modules of a folder are its files and the folders in it. Its `mod.rs` is not one of them: it is the
//! folder's face, which the others name their common types by. What it only passes on (`use child::Name`) is
//! the child's, whoever names it by `super::Name`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::syntax::{code_of, heads, is_inline_module, is_name, module_of};
use super::{nothing_found, sources};

/// Folders whose circles are known. They are being rewritten: take a folder out as soon as it has none.
const KNOWN: &[&str] = &[];

/// Every module by its path, such as `[cli, token, ask]`, with its file and code.
struct Tree(BTreeMap<Vec<String>, (PathBuf, String)>);

/// Which modules use which, each with the place of one such line.
type Uses = BTreeMap<(String, String), String>;

impl Tree {
    fn of<P: AsRef<Path>, T: AsRef<str>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        let module = |file: P, text: T| {
            let file = file.as_ref();
            (module_of(file), (file.to_owned(), code_of(text.as_ref())))
        };
        Self(files.into_iter().map(|(file, text)| module(file, text)).collect())
    }

    /// The modules right below `folder`. Unit tests may use anything.
    fn children(&self, folder: &[String]) -> BTreeSet<&str> {
        let below = self.0.keys().filter(|module| module.starts_with(folder));
        let children = below.filter_map(|module| module.get(folder.len()));
        children.map(String::as_str).filter(|name| *name != "tests").collect()
    }

    /// What `folder`'s own module has from its children, by name.
    fn passed_on(&self, folder: &[String], children: &BTreeSet<&str>) -> BTreeMap<String, String> {
        let Some((_, code)) = self.0.get(folder) else { return BTreeMap::new() };
        let mut names = BTreeMap::new();
        for (at, _) in code.match_indices("use ").filter(|(at, _)| !code[..*at].ends_with(is_name)) {
            let statement = code[at + 4..].split(';').next().unwrap_or_default();
            let statement = statement.trim_start_matches("self::");
            let Some((child, rest)) = statement.split_once("::").filter(|(name, _)| children.contains(name))
            else {
                continue;
            };
            let words = rest.split(|c| !is_name(c)).filter(|word| !word.is_empty());
            names.extend(words.map(|word| (word.to_owned(), child.to_owned())));
        }
        names
    }

    /// Which modules of `folder` use which others of it.
    fn uses(&self, folder: &[String]) -> Uses {
        let children = self.children(folder);
        let passed_on = self.passed_on(folder, &children);
        let mut uses = Uses::new();
        for (module, (file, code)) in &self.0 {
            let Some(from) = module.get(folder.len()).filter(|name| children.contains(name.as_str())) else {
                continue;
            };
            if !module.starts_with(folder) || module.iter().any(|name| name == "tests") {
                continue;
            }
            for (line, name) in names_in(code, folder, module.len() - folder.len()) {
                let to = if children.contains(name.as_str()) { Some(&name) } else { passed_on.get(&name) };
                if let Some(to) = to.filter(|to| *to != from) {
                    let place = format!("{}:{line}", file.display());
                    uses.entry((from.clone(), to.clone())).or_insert(place);
                }
            }
        }
        uses
    }

    /// Each line by which a module of a folder uses one that uses it back.
    fn circles(&self, known: &[&str]) -> Vec<String> {
        let folders: BTreeSet<&[String]> = self.0.keys().map(|module| &module[..module.len() - 1]).collect();
        let inside = folders.into_iter().filter(|folder| !folder.is_empty());
        let judged = inside.filter(|folder| !known.contains(&folder.join("::").as_str()));
        let mut found = Vec::new();
        for folder in judged {
            let uses = self.uses(folder);
            for ((from, to), place) in &uses {
                if let Some(way) = way(&uses, to, from) {
                    found.push(format!(
                        "{place}: {from} uses {to}, in a circle inside {}: {from} → {way}",
                        folder.join("::")
                    ));
                }
            }
        }
        found
    }
}

/// The names that `code` takes from `folder`, with their lines. `depth` is how many `super` lead there.
fn names_in(code: &str, folder: &[String], depth: usize) -> Vec<(usize, String)> {
    let line_of = |at: usize| code[..at].matches('\n').count() + 1;
    let mut found = Vec::new();
    let absolute = format!("crate::{}::", folder.join("::"));
    for (at, _) in code.match_indices(&absolute).filter(|(at, _)| !code[..*at].ends_with(is_name)) {
        found.extend(heads(&code[at + absolute.len()..]).into_iter().map(|name| (line_of(at), name)));
    }
    for (at, _) in code.match_indices("super::") {
        if code[..at].ends_with("super::") || code[..at].ends_with(is_name) {
            continue;
        }
        let after = code[at..].trim_start_matches("super::");
        let climbs = (code.len() - at - after.len()) / "super::".len();
        // Inside `mod tests { … }` one `super` only leads out of it.
        let inline = usize::from(code[..at].lines().any(is_inline_module));
        if climbs == depth + inline {
            found.extend(heads(after).into_iter().map(|name| (line_of(at), name)));
        }
    }
    found
}

/// How `from` comes to use `to`, as `from → … → to`, if it does.
fn way(uses: &Uses, from: &str, to: &str) -> Option<String> {
    let mut seen = BTreeSet::from([from]);
    let mut ways = vec![(from, from.to_owned())];
    while let Some((at, way)) = ways.pop() {
        if at == to {
            return Some(way);
        }
        for (_, next) in uses.keys().filter(|(user, _)| user == at) {
            if seen.insert(next) {
                ways.push((next, format!("{way} → {next}")));
            }
        }
    }
    None
}

#[test]
fn circles_inside_a_folder_are_found() {
    let found = |files: &[(&str, &str)]| Tree::of(files.iter().copied()).circles(&["known"]);
    for files in [
        &[("src/a/b.rs", "use super::c::C;"), ("src/a/c.rs", "use super::b::B;")] as &[_],
        &[("src/a/b.rs", "use crate::a::c::C;"), ("src/a/c.rs", "fn f() -> super::b::B { todo() }")],
        &[("src/a/b.rs", "use crate::a::{c::C, d};"), ("src/a/c.rs", "use super::{d, b};")],
        // By way of a third.
        &[("src/a/b.rs", "use super::c;"), ("src/a/c.rs", "use super::d;"), ("src/a/d.rs", "use super::b;")],
        // Out of a folder in the folder, and back into it.
        &[("src/a/b/x.rs", "use super::super::c::C;"), ("src/a/c.rs", "use super::b::x::X;")],
        &[("src/a/b/mod.rs", "use crate::a::c::C;"), ("src/a/c.rs", "use super::b::B;")],
        // By a name that the folder's own module passes on.
        &[
            ("src/a/mod.rs", "mod b;\nmod c;\npub use b::{B, x::X};"),
            ("src/a/b.rs", "use super::c::C;"),
            ("src/a/c.rs", "use super::X;"),
        ],
        &[
            ("src/a/mod.rs", "mod b;\nmod c;\nuse b::B;"),
            ("src/a/b.rs", "use super::c::C;"),
            ("src/a/c.rs", "use crate::a::B;"),
        ],
        // Two folders down.
        &[("src/a/b/c.rs", "use super::d::D;"), ("src/a/b/d.rs", "use crate::a::b::c::C;")],
        &[("src/a/b.rs", "mod m {\n    use super::super::c::C;\n}"), ("src/a/c.rs", "use super::b::B;")],
    ] {
        assert!(!found(files).is_empty(), "{files:?}");
    }
    for files in [
        &[("src/a/b.rs", "use super::c::C;"), ("src/a/c.rs", "use super::d::D;"), ("src/a/d.rs", "")]
            as &[_],
        // The folder's own module, which names its children, is no module in the folder.
        &[("src/a/mod.rs", "mod b;\nuse b::B;\npub struct A;"), ("src/a/b.rs", "use super::A;")],
        &[("src/a/b.rs", "//! See [`super::c`].\nuse super::super::c;"), ("src/a/c.rs", "use super::b;")],
        &[("src/a/b.rs", "mod tests {\n    use super::c;\n}"), ("src/a/c.rs", "use super::b;")],
        &[("src/a/tests/b.rs", "use super::super::c;"), ("src/a/c.rs", "use super::tests;")],
        // Names alike in other folders.
        &[("src/a/b.rs", "use crate::x::c::C;"), ("src/a/c.rs", "use super::b;"), ("src/x/c.rs", "")],
        &[("src/known/b.rs", "use super::c;"), ("src/known/c.rs", "use super::b;")],
    ] {
        assert_eq!(found(files), [""; 0], "{files:?}");
    }
    let two = [("src/a/b.rs", "use super::c;"), ("src/a/c.rs", "\nuse super::b;")];
    let expected = [
        "src/a/b.rs:1: b uses c, in a circle inside a: b → c → b",
        "src/a/c.rs:2: c uses b, in a circle inside a: c → b → c",
    ];
    assert_eq!(found(&two), expected);
}

#[test]
fn there_are_no_circles_inside_folders() {
    nothing_found(&Tree::of(sources()).circles(KNOWN));
}
