//! A resource server's half of the kill switch, in Rust.
//!
//! It verifies access tokens offline with the broker's published keys, follows the stops (docs/ENFORCEMENT.md has the
//! format), and says after each change what it has seen, so that `hallpass revoke` can name it. Without a fresh word from
//! the broker it lets no token pass.
//!
//! The rules are hallpass's own (`domain::revocation`), which know no network and no clock: nothing of the broker runs here.
//! As a program it reads one token a line and prints one verdict a line, as JSON; `status` prints where it is:
//!
//!     follower --url URL --admin-url URL --audience ORIGIN --key-file FILE --name NAME [--issuer URL]
#![expect(clippy::disallowed_methods, reason = "a program of its own, with its own client and clock")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints verdicts")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::domain::revocation::{Book, Piece, Place, Revision};
use hallpass::token::Claims;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Seconds between the clocks of two machines.
const LEEWAY: i64 = 5;
/// Every second there is a heartbeat: a stream that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(3);

#[derive(clap::Parser)]
struct Arguments {
    /// Where the broker's keys are published
    #[arg(long)]
    url: String,
    /// Where the stops are followed
    #[arg(long)]
    admin_url: String,
    /// `iss` of the tokens; --url if not given
    #[arg(long)]
    issuer: Option<String>,
    /// The origin that this service is
    #[arg(long)]
    audience: String,
    /// The key of the [[resource_server]]
    #[arg(long)]
    key_file: std::path::PathBuf,
    /// Another for each process of the service
    #[arg(long)]
    name: String,
    /// Seconds; the broker's is used if it is less
    #[arg(long, default_value_t = 60)]
    max_staleness: u64,
}

/// The time since the machine started, which goes on while it sleeps and which nobody can set.
fn since_start() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

struct Follower {
    arguments: Arguments,
    key: String,
    http: reqwest::Client,
    known: Mutex<Known>,
    /// Counts what is to be reported; whoever waits for news waits on it.
    due: watch::Sender<u64>,
    keys: tokio::sync::Mutex<(HashMap<String, Value>, Option<Duration>)>,
}

struct Known {
    book: Book,
    /// Up to where everything is taken in.
    place: Option<Place>,
    max_staleness: Duration,
    /// The book holds all that the broker knew at this moment.
    fresh: Option<Duration>,
    /// So fresh is the book once it has reached the place.
    promised: Vec<(Place, Duration)>,
}

impl Known {
    fn keep_promises(&mut self) {
        let Some(place) = self.place else { return };
        let reached = |promised: Place| {
            let holds_unnumbered = [0, place.unnumbered].contains(&promised.unnumbered);
            promised == place || (place.revision > promised.revision && holds_unnumbered)
        };
        let kept = self.promised.iter().filter(|(promised, _)| reached(*promised)).map(|(_, moment)| *moment);
        self.fresh = self.fresh.into_iter().chain(kept).max();
        self.promised.retain(|(promised, _)| !reached(*promised));
    }

    /// How old what is known may be; none before anything is.
    fn age(&self) -> Option<Duration> {
        self.fresh.map(|fresh| since_start().saturating_sub(fresh))
    }

    fn is_fresh(&self) -> bool {
        self.age().is_some_and(|age| age <= self.max_staleness)
    }
}

impl Follower {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_news(&self) {
        self.due.send_modify(|due| *due += 1);
    }

    // Judging.

    /// The claims of a token that may pass; else why not.
    async fn judge(&self, token: &str) -> anyhow::Result<Claims> {
        let claims = self.verify(token).await?;
        let levels = claims.levels();
        // Issued a moment ago, by a broker that is ahead of the stream: what it knows is on its way.
        let as_of = levels.links().filter_map(|link| Some(link.token?.1)).max().unwrap_or_default();
        let mut news = self.due.subscribe();
        let is_known = news.wait_for(|_| as_of <= self.known().book.revision());
        let _known_or_late = tokio::time::timeout(Duration::from_secs(1), is_known).await;
        let known = self.known();
        ensure!(known.is_fresh(), "the stops are not known: nothing fresh came from the broker");
        let verdict = known.book.verdict(&levels);
        if let Some(target) = verdict.stopped {
            bail!("{target} is stopped");
        }
        ensure!(!verdict.overtaken, "it was stopped or ended since it was issued");
        Ok(claims)
    }

    async fn verify(&self, token: &str) -> anyhow::Result<Claims> {
        let (signed, signature) = token.rsplit_once('.').context("it is no JWT")?;
        let (head, body) = signed.split_once('.').context("it is no JWT")?;
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head)?)?;
        ensure!(header["typ"] == "at+jwt" && header.get("crit").is_none(), "it is no access token");
        let key = self.key_of(header["kid"].as_str().unwrap_or_default()).await;
        let key = key.filter(|key| key["alg"] == header["alg"]).context("no published key signed it")?;
        let signature = URL_SAFE_NO_PAD.decode(signature)?;
        check(&key, signed.as_bytes(), &signature).context("its signature is wrong")?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body)?)?;
        let now = jiff::Timestamp::now().as_second();
        let issuer = self.arguments.issuer.as_ref().unwrap_or(&self.arguments.url);
        ensure!(*claims.iss == **issuer, "it is of another issuer");
        ensure!(
            claims.aud.iter().any(|origin| origin.as_str() == self.arguments.audience),
            "it is for others"
        );
        ensure!(now < claims.exp.seconds(), "it is expired");
        ensure!(claims.nbf.max(claims.iat).seconds() <= now + LEEWAY, "it is not good yet");
        ensure!(claims.cnf.is_none(), "it is bound to a key, which this example does not check");
        Ok(claims)
    }

    async fn key_of(&self, kid: &str) -> Option<Value> {
        let mut keys = self.keys.lock().await;
        let (known, fetched) = &mut *keys;
        // A key that is not known may be new. Nobody's tokens cause more than one question a second.
        let is_due = fetched.is_none_or(|at| since_start().saturating_sub(at) > Duration::from_secs(1));
        if !known.contains_key(kid) && is_due {
            *fetched = Some(since_start());
            match self.published().await {
                Ok(published) => *known = published,
                Err(error) => eprintln!("keys: {error:#}"),
            }
        }
        known.get(kid).cloned()
    }

    async fn published(&self) -> anyhow::Result<HashMap<String, Value>> {
        let asked = self.http.get(format!("{}/.well-known/jwks.json", self.arguments.url)).timeout(SILENCE);
        let keys: Value = serde_json::from_slice(&asked.send().await?.error_for_status()?.bytes().await?)?;
        let keys = keys["keys"].as_array().cloned().unwrap_or_default();
        Ok(keys.into_iter().filter_map(|key| Some((key["kid"].as_str()?.to_owned(), key.clone()))).collect())
    }

    // Reporting.

    /// Reports after each change and each heartbeat. The answer says how fresh that makes the book.
    async fn report_for_ever(&self) {
        let mut due = self.due.subscribe();
        while due.changed().await.is_ok() {
            let place = self.known().place;
            let asked = since_start();
            match self
                .report(json!({"follower": self.arguments.name, "id": place.map(|at| at.to_string())}))
                .await
            {
                Ok((place, age, max_staleness)) => {
                    let mut known = self.known();
                    known.max_staleness =
                        max_staleness.min(Duration::from_secs(self.arguments.max_staleness));
                    if known.promised.len() == 64 {
                        known.promised.remove(0);
                    }
                    known.promised.push((place, asked.saturating_sub(age)));
                    known.keep_promises();
                }
                Err(error) => eprintln!("report: {error:#}"),
            }
        }
    }

    async fn report(&self, report: Value) -> anyhow::Result<(Place, Duration, Duration)> {
        let url = format!("{}/v1/revocations/seen", self.arguments.admin_url);
        let request = self.http.post(url).bearer_auth(&self.key).body(report.to_string()).timeout(SILENCE);
        let answer: Value =
            serde_json::from_slice(&request.send().await?.error_for_status()?.bytes().await?)?;
        let millis = |name: &str| answer[name].as_u64().map(Duration::from_millis).context("not an answer");
        let place = answer["id"].as_str().context("not an answer")?.parse()?;
        Ok((place, millis("age_ms")?, millis("max_staleness_ms")?))
    }

    // Following.

    async fn follow_for_ever(&self) {
        let mut pause = Duration::from_millis(100);
        loop {
            let began = since_start();
            if let Err(error) = self.follow().await {
                eprintln!("stream: {error:#}");
            }
            if since_start().saturating_sub(began) > Duration::from_secs(10) {
                pause = Duration::from_millis(100);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    async fn follow(&self) -> anyhow::Result<()> {
        let url =
            format!("{}/v1/revocations/stream?follower={}", self.arguments.admin_url, self.arguments.name);
        let mut request = self.http.get(url).bearer_auth(&self.key);
        if let Some(place) = self.known().place {
            request = request.header("last-event-id", place.to_string());
        }
        let mut response = tokio::time::timeout(SILENCE, request.send()).await??.error_for_status()?;
        let (mut read, mut pieces) = (Vec::new(), Vec::new());
        while let Some(bytes) =
            tokio::time::timeout(SILENCE, response.chunk()).await.context("it is silent")??
        {
            read.extend_from_slice(&bytes);
            while let Some(end) = read.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = read.drain(..end + 2).collect();
                self.take_event(std::str::from_utf8(&event)?, &mut pieces)?;
            }
        }
        Ok(())
    }

    /// Takes one server-sent event, as this stream sends them: each member on one line.
    fn take_event(&self, event: &str, pieces: &mut Vec<Piece>) -> anyhow::Result<()> {
        let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let data = line("data").unwrap_or("null");
        match line("event") {
            Some("changes") => {
                let piece: Piece = serde_json::from_str(data)?;
                let is_last = !piece.more;
                pieces.push(piece);
                if is_last {
                    self.take_in(std::mem::take(pieces), line("id").context("no id")?.parse()?);
                }
            }
            Some("heartbeat") => {
                let floor = serde_json::from_str::<Value>(data)?["floor"].as_u64().unwrap_or_default();
                self.known().book.raise_floor(Revision::new(floor));
                self.has_news();
            }
            Some("hello") => {
                let hello: Value = serde_json::from_str(data)?;
                let issuer = self.arguments.issuer.as_ref().unwrap_or(&self.arguments.url);
                ensure!(hello["version"] == 1 && hello["issuer"] == **issuer, "of another broker: {hello}");
                eprintln!("hello: {}", hello["follower"]);
            }
            Some("end") => eprintln!("end: {data}"),
            _ => {}
        }
        Ok(())
    }

    fn take_in(&self, pieces: Vec<Piece>, place: Place) {
        {
            let mut known = self.known();
            pieces.into_iter().for_each(|piece| piece.take_in(&mut known.book));
            known.place = Some(place);
            known.keep_promises();
        }
        self.has_news();
    }
}

fn check(key: &Value, message: &[u8], signature: &[u8]) -> anyhow::Result<()> {
    let member = |name: &str| anyhow::Ok(URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap_or_default())?);
    let verified = match key["alg"].as_str() {
        Some("ES256") => {
            let point = [&[4], &*member("x")?, &*member("y")?].concat();
            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
        }
        Some("EdDSA") => UnparsedPublicKey::new(&signature::ED25519, member("x")?).verify(message, signature),
        Some("RS256") => RsaPublicKeyComponents { n: member("n")?, e: member("e")? }.verify(
            &signature::RSA_PKCS1_2048_8192_SHA256,
            message,
            signature,
        ),
        _ => bail!("no algorithm of hallpass"),
    };
    verified.map_err(|_| anyhow::anyhow!("it does not verify"))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let arguments = <Arguments as clap::Parser>::parse();
    let key = std::fs::read_to_string(&arguments.key_file)?.trim().to_owned();
    let known = Known {
        book: Book::default(),
        place: None,
        max_staleness: Duration::from_secs(arguments.max_staleness),
        fresh: None,
        promised: Vec::new(),
    };
    let follower = Arc::new(Follower {
        key,
        http: reqwest::Client::builder().no_proxy().build()?,
        known: Mutex::new(known),
        due: watch::Sender::default(),
        keys: tokio::sync::Mutex::default(),
        arguments,
    });
    let (reports, follows) = (Arc::clone(&follower), Arc::clone(&follower));
    let work = [
        tokio::spawn(async move { reports.report_for_ever().await }),
        tokio::spawn(async move { follows.follow_for_ever().await }),
    ];
    let read = || std::io::stdin().lines().next().transpose();
    while let Some(line) = tokio::task::spawn_blocking(read).await?? {
        let answer = if line.trim() == "status" {
            let known = follower.known();
            let age = known.age().map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            json!({"id": known.place.map(|at| at.to_string()), "age_ms": age, "fresh": known.is_fresh()})
        } else {
            match follower.judge(line.trim()).await {
                Ok(claims) => json!({"pass": true, "agent": claims.client_id}),
                Err(why) => json!({"pass": false, "because": format!("{why:#}")}),
            }
        };
        println!("{answer}");
    }
    // From here on it lets nothing pass, and no stop waits for it.
    work.iter().for_each(tokio::task::JoinHandle::abort);
    let leaving = json!({"follower": follower.arguments.name, "id": null, "leaving": true});
    if let Err(error) = follower.report(leaving).await {
        eprintln!("leave: {error:#}");
    }
    Ok(())
}
