//! As much of Rust's syntax as the rules need: modules, the code without its comments, and the names in a path.

use std::path::Path;

/// `src/broker/limits.rs` is `[broker, limits]`; `src/store/mod.rs` is `[store]`.
pub(super) fn module_of(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix("src").expect("below src").with_extension("");
    let mut module: Vec<String> =
        inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    module
}

pub(super) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(super) fn is_inline_module(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches("pub ");
    line.starts_with("mod ") && line.trim_end().ends_with('{')
}

/// Every line of `text` that is not a comment, at its own number.
pub(super) fn code_of(text: &str) -> String {
    let lines = text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// The first name of each path of `a::b`, `{a::b, c::{d, e}}` or `*`.
pub(super) fn heads(path: &str) -> Vec<String> {
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
