//! What git says to a credential helper, and what it hears (gitcredentials(7), git-credential(1)).

use std::io::Read;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::cli::{Failure, Outcome};
use crate::domain::permission::{InvalidUrl, Location, Origin};
use crate::domain::time::Timestamp;

/// git's own lines are short; what is longer does not come from git.
const MAX_BYTES: u64 = 64 * 1024;

/// Why a question is about no repository that a token could be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRepository {
    #[error("git asks for a connection that is neither https nor http")]
    OtherProtocol,
    #[error("the connection is http to another machine, so a token would cross the network readable")]
    NoTls,
    #[error("git names no plain host and port")]
    OddHost,
    #[error("git did not say which repository; run: git config --global credential.useHttpPath true")]
    NoPath,
    #[error(
        "the path has an escape, a control character, white space at its end, or an empty or `..` segment"
    )]
    OddPath,
}

/// The attributes of one question, as far as they matter here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Question {
    protocol: String,
    host: String,
    path: Option<String>,
    /// git (2.46 and later) can send a credential under any scheme, not just a password under Basic.
    pub knows_authtype: bool,
    /// The schemes of the server's `WWW-Authenticate`, in lower case; empty where git did not tell.
    schemes: Vec<String>,
}

impl Question {
    /// Reads `key=value` lines up to an empty one or the end.
    ///
    /// # Errors
    /// When it is not that.
    pub fn read(input: &mut dyn Read) -> Outcome<Self> {
        let broken = |why: &str| {
            Failure::usage(format!("standard input is not git's credential protocol: {why}"))
                .remedy("let git call this: git config credential.helper '!hallpass git-credential'")
        };
        let mut bytes = Zeroizing::new(Vec::new());
        let read = input.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| broken(&error.to_string()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(broken("it is over 64 KiB"));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| broken("it is not text"))?;
        let mut question = Self::default();
        for line in text.split('\n').take_while(|line| !line.is_empty()) {
            let (key, value) = line.split_once('=').ok_or_else(|| broken("a line has no `=`"))?;
            question.set(key, value);
        }
        Ok(question)
    }

    fn set(&mut self, key: &str, value: &str) {
        match key {
            "protocol" => value.clone_into(&mut self.protocol),
            "host" => value.clone_into(&mut self.host),
            "path" => self.path = Some(value.to_owned()),
            // An empty value clears the list (git-credential(1)).
            "capability[]" => {
                self.knows_authtype = !value.is_empty() && (self.knows_authtype || value == "authtype")
            }
            "wwwauth[]" if value.is_empty() => self.schemes.clear(),
            "wwwauth[]" => {
                let scheme = value.split_ascii_whitespace().next().unwrap_or_default();
                self.schemes.push(scheme.to_ascii_lowercase());
            }
            _ => {}
        }
    }

    /// Whether the server takes a password and, as far as it said, no bearer token.
    pub fn wants_password(&self) -> bool {
        let takes = |scheme: &str| self.schemes.iter().any(|s| s == scheme);
        takes("basic") && !takes("bearer")
    }

    /// The host git asks about.
    ///
    /// # Errors
    /// Where a token must not go: no TLS, or no plain host and port.
    pub fn origin(&self) -> Result<Origin, NoRepository> {
        if !matches!(self.protocol.as_str(), "https" | "http") {
            return Err(NoRepository::OtherProtocol);
        }
        if self.host.contains(['/', '\\', '?', '#', '@']) {
            return Err(NoRepository::OddHost);
        }
        format!("{}://{}", self.protocol, self.host).parse().map_err(|error| match error {
            InvalidUrl::Insecure => NoRepository::NoTls,
            InvalidUrl::Syntax | InvalidUrl::Excess => NoRepository::OddHost,
        })
    }

    /// The repository git asks about, without a `.git` at its end.
    ///
    /// # Errors
    /// Where there is none, or the path is not one that means the same to everyone who reads it. git gives the path
    /// with `credential.useHttpPath` alone.
    pub fn repository(&self) -> Result<Location, NoRepository> {
        let origin = self.origin()?;
        let path = self.path.as_deref().ok_or(NoRepository::NoPath)?.trim_end_matches('/');
        let plain = |c: char| !c.is_control() && !matches!(c, '\\' | '?' | '#' | '%');
        let segment = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(plain);
        // A URL's parser would drop white space at the end, and find another repository.
        if path.trim() != path || !path.split('/').all(segment) {
            return Err(NoRepository::OddPath);
        }
        let location: Result<Location, _> = format!("{origin}/{path}").parse();
        location.map(|location| without_git(&location)).map_err(|_| NoRepository::OddPath)
    }
}

/// Servers know a repository with and without `.git`.
pub fn without_git(location: &Location) -> Location {
    let bare = location.as_str().strip_suffix(".git");
    let bare = bare.filter(|bare| !bare.ends_with('/')).and_then(|bare| bare.parse().ok());
    bare.unwrap_or_else(|| location.clone())
}

/// What git is told.
pub enum Answer<'a> {
    /// `Authorization: Bearer`, for this request alone: git neither stores it nor asks others to.
    Bearer,
    /// A name and the token as its password.
    Basic { username: &'a str },
}

impl Answer<'_> {
    /// The lines for `token`, which is good until `expires`.
    pub fn lines(&self, token: &SecretString, expires: Timestamp) -> Zeroizing<String> {
        let (token, expires) = (token.expose_secret(), expires.seconds());
        Zeroizing::new(match self {
            // git reads capabilities before what they allow.
            Self::Bearer => format!(
                "capability[]=authtype\nauthtype=Bearer\ncredential={token}\nephemeral=1\n\
                 password_expiry_utc={expires}\n"
            ),
            Self::Basic { username } => {
                format!("username={username}\npassword={token}\npassword_expiry_utc={expires}\n")
            }
        })
    }
}

#[cfg(test)]
mod tests;
