//! A repository on GitHub, as a person names it.

use std::fmt;
use std::str::FromStr;

/// `owner/name`, of the characters that GitHub gives names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    owner: String,
    name: String,
}

impl Repository {
    pub fn url(&self) -> String {
        format!("https://github.com/{self}")
    }

    /// A name of hallpass after the repository's: of an agent, a team or a permission.
    pub fn slug(&self) -> String {
        let lower = self.name.to_ascii_lowercase();
        let start = lower.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let mut slug = String::new();
        for c in start.chars().take(40) {
            // Two dots in a row are in no name of ours.
            slug.push(if c == '.' { '-' } else { c });
        }
        if slug.is_empty() { "repository".to_owned() } else { slug }
    }
}

impl FromStr for Repository {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write OWNER/NAME, as in acme/payments, or the repository's address";
        let path = text.strip_prefix("https://github.com/").unwrap_or(text);
        let path = path.strip_suffix('/').unwrap_or(path);
        let path = path.strip_suffix(".git").unwrap_or(path);
        let (owner, name) = path.split_once('/').ok_or(FORM)?;
        let named = |part: &str| {
            let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            (1..=100).contains(&part.len()) && part.bytes().all(inner) && !part.trim_matches('.').is_empty()
        };
        if !named(owner) || !named(name) {
            return Err(FORM);
        }
        Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{AgentId, Owner, PermissionName};

    #[test]
    fn names_and_addresses_are_read_and_nothing_else() {
        for text in
            ["acme/payments", "https://github.com/acme/payments", "https://github.com/acme/payments.git/"]
        {
            assert_eq!(text.parse::<Repository>().unwrap().to_string(), "acme/payments", "{text}");
        }
        for text in [
            "",
            "acme",
            "acme/",
            "/payments",
            "acme/pay ments",
            "a/b/c",
            "acme/..",
            "a/\"b",
            "http://github.com/a/b",
        ] {
            assert!(text.parse::<Repository>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_repository_gives_names() {
        for (text, slug) in [
            ("acme/Payments", "payments"),
            ("acme/.github", "github"),
            ("acme/a..b", "a--b"),
            ("acme/___", "repository"),
        ] {
            let repository: Repository = text.parse().unwrap();
            assert_eq!(repository.slug(), slug, "{text}");
            repository.slug().parse::<PermissionName>().unwrap();
            format!("{}-agent", repository.slug()).parse::<AgentId>().unwrap();
            format!("team-{}", repository.slug()).parse::<Owner>().unwrap();
        }
    }
}
