//! The variables that are hallpass's own: overrides of the configuration, and options of its commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::document::{ENVIRONMENT, Mistakes, Place, nearest};

const PREFIX: &str = "HALLPASS_";

/// Variables that the commands read themselves; none of them overrides a key.
pub const COMMAND_LINE_VARIABLES: &[&str] = &[
    "HALLPASS_URL",
    "HALLPASS_ADMIN_URL",
    "HALLPASS_OPERATOR_KEY_FILE",
    "HALLPASS_CONFIG",
    "HALLPASS_TOKEN_FILE",
    "HALLPASS_TOKEN",
    "HALLPASS_TOKEN_EXPIRES_AT",
    "HALLPASS_IDENTITY_TOKEN",
    "HALLPASS_IDENTITY_TOKEN_FILE",
    "HALLPASS_KEY_FILE",
    "HALLPASS_AGENT",
];

/// Whether a variable may override a key.
fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) && !COMMAND_LINE_VARIABLES.contains(&name)
}

/// Whether a variable tells of proxies, as other programs read them.
fn is_of_proxy(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("_proxy") && !name.starts_with(PREFIX)
}

/// Whether a variable may matter to a configuration.
pub(super) fn matters(name: &str) -> bool {
    is_ours(name) || is_of_proxy(name)
}

/// The variables that mean to override a key, and those that tell of proxies.
pub(super) fn read(
    environment: impl IntoIterator<Item = (String, String)>,
) -> (BTreeMap<String, String>, Vec<(String, String)>) {
    let (mut ours, mut proxies) = (BTreeMap::new(), Vec::new());
    for (name, value) in environment {
        if is_of_proxy(&name) {
            proxies.push((name, value));
        } else if is_ours(&name) {
            ours.insert(name, value);
        }
    }
    (ours, proxies)
}

/// Tells of every variable that is set and that nothing reads: a typo must not weaken a limit in silence. One that is no
/// key's by its shape and near to no name that is read is somebody else's, such as a script's: a warning.
pub(super) fn report_unknown(set: &BTreeMap<String, String>, known: &BTreeSet<String>, mistakes: &Mistakes) {
    let stray = set.iter().filter(|(variable, _)| !known.contains(*variable));
    for (variable, _) in stray.filter(|(variable, value)| !is_service_link(variable, value)) {
        // Of what follows the prefix, which all of them share: few slips are likely in a short word.
        let bare = |name: &'static str| name.strip_prefix(PREFIX);
        let own = known.iter().filter_map(|name| name.strip_prefix(PREFIX));
        let candidates = own.chain(COMMAND_LINE_VARIABLES.iter().copied().filter_map(bare));
        let near = nearest(variable.strip_prefix(PREFIX).unwrap_or(variable), candidates);
        let place = Place { file: Path::new(ENVIRONMENT).into(), line: None, key: variable.clone() };
        match near {
            Some(near) => {
                mistakes.add(
                    &place,
                    "no key answers to this variable",
                    format!("did you mean {PREFIX}{near}?"),
                );
            }
            None if variable.contains("__") => {
                let remedy = "unset it; a key `b` of [a] is HALLPASS_A__B";
                mistakes.add(&place, "no key answers to this variable", remedy);
            }
            None => mistakes.warn(
                &place,
                "hallpass does not read this variable",
                "unset it if you meant a key: `b` of [a] is HALLPASS_A__B",
            ),
        }
    }
}

/// Whether Kubernetes, or Docker for a link, sets this variable for a Service whose name begins with `hallpass`:
/// `HALLPASS_SERVICE_HOST`, `HALLPASS_SERVICE_PORT_HTTP`, `HALLPASS_ADMIN_PORT_8701_TCP_ADDR`.
fn is_service_link(variable: &str, value: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_port = |rest: &str| match rest.split('_').collect::<Vec<_>>()[..] {
        [port, "TCP" | "UDP" | "SCTP"] => is_number(port),
        [port, "TCP" | "UDP" | "SCTP", "PROTO" | "PORT" | "ADDR"] => is_number(port),
        _ => false,
    };
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || (variable.ends_with("_PORT") && value.contains("://"))
        || variable.match_indices("_PORT_").any(|(at, sign)| is_port(&variable[at + sign.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_variable_of_somebody_else_is_no_slip() {
        let known: BTreeSet<String> = ["HALLPASS_LOG", "HALLPASS_STORE__URL"].map(str::to_owned).into();
        let told = |name: &str| {
            let mistakes = Mistakes::default();
            report_unknown(&[(name.to_owned(), "x".to_owned())].into(), &known, &mistakes);
            mistakes.into_sorted().iter().map(ToString::to_string).collect::<String>()
        };
        for name in ["ENV", "HOME", "HOST", "TAG", "API", "POD", "DIR", "FOO", "BAR", "VERSION"] {
            assert_eq!(told(&format!("HALLPASS_{name}")), "", "{name}");
        }
        for (slip, meant) in
            [("LGO", "HALLPASS_LOG"), ("STORE__ULR", "HALLPASS_STORE__URL"), ("URLL", "HALLPASS_URL")]
        {
            assert!(told(&format!("HALLPASS_{slip}")).contains(&format!("did you mean {meant}?")), "{slip}");
        }
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_is_known_by_its_shape() {
        for (variable, value) in [
            ("HALLPASS_SERVICE_HOST", "10.0.0.1"),
            ("HALLPASS_SERVICE_PORT", "8700"),
            ("HALLPASS_SERVICE_PORT_HTTPS", "8700"),
            ("HALLPASS_PORT", "tcp://10.0.0.1:8700"),
            ("HALLPASS_PORT_8700_TCP", "tcp://10.0.0.1:8700"),
            ("HALLPASS_PORT_8700_TCP_PROTO", "tcp"),
            ("HALLPASS_PORT_8700_TCP_PORT", "8700"),
            ("HALLPASS_PORT_8700_TCP_ADDR", "10.0.0.1"),
            ("HALLPASS_ADMIN_SERVICE_HOST", "10.0.0.1"),
            ("HALLPASS_ADMIN_PORT_53_UDP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_service_link(variable, value), "{variable}");
        }
        for (variable, value) in [
            ("HALLPASS_PORT", "8700"),
            ("HALLPASS_STORE__URL", "sqlite://x"),
            ("HALLPASS_SERVER__PORT", "8700"),
            ("HALLPASS_PORT_HTTP_TCP", "x"),
        ] {
            assert!(!is_service_link(variable, value), "{variable}");
        }
    }
}
