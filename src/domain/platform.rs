//! Whose OIDC tokens an issuer signs: what is known beforehand about their claims.

use std::fmt;
use std::str::FromStr;

/// `kind` of an `[[issuer]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Platform {
    /// Any issuer (OpenID Connect Core 1.0); nothing is known of its claims.
    #[default]
    Oidc,
    /// GitHub Actions.
    Github,
    /// GitLab CI/CD.
    Gitlab,
    /// Kubernetes' projected service account tokens.
    Kubernetes,
    /// Google Cloud's service accounts.
    Google,
    /// Microsoft Entra ID: managed identities and applications.
    Azure,
}

impl Platform {
    pub const ALL: &[Self] =
        &[Self::Oidc, Self::Github, Self::Gitlab, Self::Kubernetes, Self::Google, Self::Azure];

    /// As the configuration has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Kubernetes => "kubernetes",
            Self::Google => "google",
            Self::Azure => "azure",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Platform {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|platform| platform.as_str() == text).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|platform| platform.as_str()).collect();
            format!("is not one of {}", all.join(", "))
        })
    }
}

/// The claims of a Kubernetes token that are nested below `kubernetes.io`, as claim rules name them: the
/// members on the way, joined by dots. No other is read, so that a member whose own name has dots in it is
/// never taken for two.
pub const KUBERNETES_CLAIMS: &[(&str, &[&str])] = &[
    ("kubernetes.io.namespace", &["namespace"]),
    ("kubernetes.io.serviceaccount.name", &["serviceaccount", "name"]),
    ("kubernetes.io.serviceaccount.uid", &["serviceaccount", "uid"]),
    ("kubernetes.io.pod.name", &["pod", "name"]),
    ("kubernetes.io.pod.uid", &["pod", "uid"]),
    ("kubernetes.io.node.name", &["node", "name"]),
    ("kubernetes.io.node.uid", &["node", "uid"]),
];

/// The claim that [`KUBERNETES_CLAIMS`] are nested in.
pub const KUBERNETES: &str = "kubernetes.io";

/// Whether a claim's name is, or could be taken for, one nested below [`KUBERNETES`].
pub fn is_below_kubernetes(name: &str) -> bool {
    name.get(..KUBERNETES.len()).is_some_and(|start| start.eq_ignore_ascii_case(KUBERNETES))
        && name[KUBERNETES.len()..].starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_reads_back_and_nothing_else_is_one() {
        for platform in Platform::ALL {
            assert_eq!(platform.as_str().parse(), Ok(*platform));
        }
        for wrong in ["", "GitHub", "github ", "k8s"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_nested_claim_is_named_by_the_way_to_it() {
        for (name, path) in KUBERNETES_CLAIMS {
            assert_eq!(*name, format!("{KUBERNETES}.{}", path.join(".")));
            assert!(is_below_kubernetes(name));
        }
        assert!(is_below_kubernetes("Kubernetes.IO.namespace"));
        for other in ["kubernetes.io", "kubernetes.io/serviceaccount/name", "kubernetes", "ſubernetes.io."] {
            assert!(!is_below_kubernetes(other), "{other}");
        }
    }
}
