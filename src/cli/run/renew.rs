//! Keeping the token of a running command fresh.

use std::convert::Infallible;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{sleep, timeout};

use super::token_file::TokenFile;
use crate::cli::token::ask::{Asker, Issued};
use crate::cli::token::narrow::Parameters;
use crate::cli::token::patience::Backoff;
use crate::cli::{Host, Outcome};
use crate::domain::time::Timestamp;

/// The longest sleep. The clock is looked at after each, for a machine that was suspended
/// wakes up with a token that has grown old meanwhile.
const LOOK: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// For each token at the end; the command has ended, and somebody waits.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The tokens that the command has or may still use.
pub struct Kept {
    /// The newest last. Those before it may be in a request that is under way.
    tokens: Vec<Held>,
}

struct Held {
    token: SecretString,
    from: Timestamp,
    until: Timestamp,
}

impl Kept {
    pub fn new(first: Issued, now: Timestamp) -> Self {
        Self { tokens: vec![Held::new(first, now)] }
    }

    fn newest(&self) -> &Held {
        self.tokens.last().expect("there is the first one, and the newest is never let go")
    }

    /// Takes over a new token, and lets go those that have expired.
    fn take(&mut self, issued: Issued, now: Timestamp) {
        self.tokens.retain(|held| held.until > now);
        self.tokens.push(Held::new(issued, now));
    }

    /// Renews the token in `file` at two thirds of its life, for ever. A renewal that fails is tried
    /// again, at growing intervals, and never touches the command.
    pub async fn renew(
        &mut self,
        asker: &Asker,
        asked: &Parameters,
        file: &TokenFile,
        host: &mut Host<'_>,
    ) -> Infallible {
        loop {
            wait_until(self.newest().due(), host).await;
            let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
            let (mut told, mut expired) = (false, false);
            while let Err(failure) = self.renew_once(asker, asked, file, host).await {
                let until = self.newest().until;
                if !told {
                    host.warn(&format!("the token was not renewed: {}; trying on", failure.message()));
                    told = true;
                }
                let wait =
                    backoff.next(failure.passes_after().unwrap_or_default().min(LONGEST_WAIT), &host.random);
                let ends = until.since(host.clock.now());
                if ends.is_zero() && !expired {
                    host.warn("the token has expired; the command runs on without a good one");
                    expired = true;
                }
                // A last try before it expires, whatever the interval has grown to.
                let wait = if expired { wait } else { wait.min(ends.max(FIRST_WAIT)) };
                sleep(wait).await;
            }
            if told {
                host.note("the token is renewed");
            }
        }
    }

    async fn renew_once(
        &mut self,
        asker: &Asker,
        asked: &Parameters,
        file: &TokenFile,
        host: &mut Host<'_>,
    ) -> Outcome {
        let issued = Issued::read(&asker.ask_once(asked, host).await?, asker.scheme())?;
        let written = file.replace(&issued.token);
        // Kept in any case, so that it is ended with the others.
        self.take(issued, host.clock.now());
        written
    }

    /// Ends every token that is still good (RFC 7009).
    pub async fn end(self, asker: &Asker, host: &mut Host<'_>) {
        let now = host.clock.now();
        for held in self.tokens.into_iter().filter(|held| held.until > now) {
            let why = match timeout(END_TIMEOUT, asker.end(&held.token)).await {
                Ok(Ok(())) => continue,
                Ok(Err(failure)) => failure.message().to_owned(),
                Err(_) => "no answer in time".to_owned(),
            };
            let left = held.until.since(host.clock.now()).as_secs();
            host.warn(&format!("a token was not ended and lives for {left} s more: {why}"));
        }
    }
}

impl Held {
    fn new(issued: Issued, now: Timestamp) -> Self {
        Self { token: issued.token, from: now, until: now + issued.lifetime }
    }

    /// Two thirds of its life.
    fn due(&self) -> Timestamp {
        self.from + self.until.since(self.from) * 2 / 3
    }
}

async fn wait_until(due: Timestamp, host: &Host<'_>) {
    loop {
        match due.since(host.clock.now()) {
            Duration::ZERO => return,
            left => sleep(left.min(LOOK)).await,
        }
    }
}
