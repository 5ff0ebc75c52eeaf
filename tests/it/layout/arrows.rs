//! The arrows between the layers go down only.

use std::path::Path;

use super::syntax::{code_of, heads, is_inline_module, is_name, module_of};
use super::{nothing_found, read, sources};

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
