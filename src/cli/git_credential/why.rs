//! Why git gets no token for a repository at a host where the agent has others.

use super::protocol::without_git;
use crate::domain::permission::{GrantedPermission, Location, ResourceKind};

/// The most repositories that one line names.
const NAMED: usize = 5;

/// What keeps `repository` from being one of those that the agent holds.
pub(super) fn not_among(granted: &[GrantedPermission], repository: &Location) -> String {
    let held: Vec<Location> = granted
        .iter()
        .filter(|element| element.kind == ResourceKind::GitRepository)
        .flat_map(|element| element.locations.iter().map(without_git))
        .collect();
    let asked = repository.as_str();
    let holds = |text: &str| held.iter().any(|location| location.as_str() == without_suffix(text, ".git"));
    if let Some((of, _)) =
        asked.split_once("/info/lfs").filter(|(_, rest)| rest.is_empty() || rest.starts_with('/'))
    {
        let registered = if holds(of) { ", which is registered as a repository alone" } else { "" };
        return format!("{asked} is where git LFS keeps the large files of {of}{registered}");
    }
    if let Some(of) = asked.strip_suffix(".wiki") {
        return format!(
            "{asked} is the wiki of {of}: a repository of its own, which is not registered for this agent"
        );
    }
    if let Some(other) = held.iter().find(|location| location.as_str().eq_ignore_ascii_case(asked)) {
        return format!(
            "{asked} is not registered for this agent, but {other} is: write the remote's URL in that case"
        );
    }
    if held.is_empty() {
        return format!("{asked} is not registered for this agent, and no other repository at that host is");
    }
    let names: Vec<&str> = held.iter().take(NAMED).map(Location::as_str).collect();
    let more = if held.len() > NAMED { ", …" } else { "" };
    format!("{asked} is not registered for this agent; at that host it has {}{more}", names.join(", "))
}

fn without_suffix<'t>(text: &'t str, suffix: &str) -> &'t str {
    text.strip_suffix(suffix).unwrap_or(text)
}
