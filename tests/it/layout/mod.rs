//! The shape of the project itself: arrows between the layers and inside their folders, sizes of files, what may be in the
//! dependency tree, and documents and scripts that say what is true.
//!
//! Each rule is a function over text, tried first on a text that breaks it: a rule that can find nothing
//! would hold anything.

mod arrows;
mod circles;
mod dependencies;
mod documents;
mod every_file;
mod scripts;
mod syntax;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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
