//! Secrets that the broker keeps in files: the key-encryption key, the local operator's key, and the
//! sealed signing keys in the store.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::app::Ambient;
use crate::broker::NewKey;
use crate::config::{Config, KeyEncryptionKeySource};
use crate::domain::checkpoint::VerifierKey;
use crate::domain::digest::Digest;
use crate::domain::event::{Event, Kind, Outcome};
use crate::domain::random::Random;
use crate::domain::signing::SealedKey;
use crate::domain::time::Timestamp;
use crate::files::{self, Unreadable};
use crate::http::Callers;
use crate::http::settings::{Operator, Role};
use crate::store::{Reader, Store};
use crate::token::{self, KeyEncryptionKey, KeyRing};

/// The operator whose key the broker makes for the machine it runs on.
const LOCAL_OPERATOR: &str = "local";

/// How often a start looks at the keys of the store, where other nodes make some meanwhile.
const ATTEMPTS: u32 = 5;

/// More than any key file holds.
const MAX_SECRET: usize = 4096;

/// Opens the signing keys of `store`. New ones are durable, with their events, before anything is signed; those that the
/// store cannot take now are given too, for the broker to keep before it issues anything.
///
/// Keys that cannot be opened end the start, unless they are `given_up`: then they are dropped, each with its event.
pub(super) async fn open(
    config: &Config,
    store: &Store,
    ambient: &Ambient,
    given_up: bool,
) -> anyhow::Result<(KeyRing, Vec<NewKey>)> {
    // Nodes that start at once make keys at once; the first to write them wins.
    for _ in 0..ATTEMPTS {
        if let Some(opened) = open_once(config, store, ambient, given_up).await? {
            return Ok(opened);
        }
    }
    bail!("other nodes make signing keys again and again")
}

/// None where another node has made keys meanwhile.
async fn open_once(
    config: &Config,
    store: &Store,
    ambient: &Ambient,
    given_up: bool,
) -> anyhow::Result<Option<(KeyRing, Vec<NewKey>)>> {
    let records = store.keys().await?;
    if !given_up {
        refuse_if_lost(&config.key_encryption_key, records.len())?;
    }
    let known: Vec<String> = records.iter().map(|key| key.kid.clone()).collect();
    let sealing = key_encryption_key(&config.key_encryption_key, &ambient.random)?;
    let now = ambient.clock.now();
    let records = if given_up { drop_lost(store, records, &sealing, now).await? } else { records };
    let (ring, made) = KeyRing::open(config.token.clone(), sealing, records, ambient.random.clone(), now)
        .context("the signing keys in the store")?;
    let mut waiting = Vec::new();
    for key in made {
        let event = Event {
            detail: Some(format!("{} {} is made", key.algorithm, key.kid)),
            ..Event::new(now, Kind::KeyRotated, Outcome::Done)
        };
        match store.put_key(key.clone(), known.clone(), event.clone()).await {
            Err(error) if error.is_outage() => waiting.push((key, event)),
            Ok(false) => return Ok(None),
            kept => drop(kept?),
        }
    }
    Ok(Some((ring, waiting)))
}

/// What verifies the audit log's checkpoints. The log is named after the public URL of its first start,
/// for ever, so a store that cannot be written now knows its name unless it is new.
pub(super) async fn log_verifier(
    config: &Config,
    store: &Store,
    keys: &KeyRing,
    now: Timestamp,
) -> anyhow::Result<VerifierKey> {
    let host = config.server.public_url.authority().replace('+', "-");
    let named = Event::new(now, Kind::LogNamed, Outcome::Done);
    let known = store.origin().await?;
    let origin = match store.set_origin(&format!("{host}/audit"), named).await {
        Err(error) if error.is_outage() => known.ok_or(error)?,
        named => named?,
    };
    VerifierKey::of(&origin, keys.checkpoint_key()).context("the name of the audit log")
}

/// The key that signs checkpoints, of the store that `reader` reads; `None` before the first start.
pub fn checkpoint_key(config: &Config, reader: &Reader) -> anyhow::Result<Option<Ed25519KeyPair>> {
    let sealing = existing_key(config)?;
    Ok(token::checkpoint_key(&reader.keys()?, &sealing)?)
}

/// A new key-encryption key could not open what another one sealed.
fn refuse_if_lost(source: &KeyEncryptionKeySource, sealed: usize) -> anyhow::Result<()> {
    let KeyEncryptionKeySource::DefaultFile(path) = source else { return Ok(()) };
    if sealed > 0 && !path.try_exists().with_context(|| path.display().to_string())? {
        bail!(
            "{} is missing, and the {sealed} signing keys in the store are sealed by it: put the file back from a backup; \
             where it is lost, `hallpass serve --new-signing-keys` goes on with new signing keys, and every token that was \
             issued before is refused",
            path.display()
        );
    }
    Ok(())
}

/// Drops the keys that `sealing` cannot open, and gives the others. The log goes on.
async fn drop_lost(
    store: &Store,
    records: Vec<SealedKey>,
    sealing: &KeyEncryptionKey,
    now: Timestamp,
) -> anyhow::Result<Vec<SealedKey>> {
    let (kept, lost): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| sealing.opens(record));
    if lost.is_empty() {
        tracing::warn!("every signing key can be opened: --new-signing-keys has nothing to drop");
    }
    for SealedKey { kid, algorithm, .. } in lost {
        let detail = format!("{algorithm} {kid} is dropped: the key that sealed it was given up as lost");
        tracing::warn!(%kid, "a signing key is dropped: the key that sealed it was given up as lost");
        let event = Event { detail: Some(detail), ..Event::new(now, Kind::KeyRotated, Outcome::Done) };
        store.remove_key(&kid, event).await.context("the signing keys that are lost")?;
    }
    Ok(kept)
}

/// The key that seals the signing keys; made at first use where it is the default file.
fn key_encryption_key(source: &KeyEncryptionKeySource, random: &Random) -> anyhow::Result<KeyEncryptionKey> {
    let text = match source {
        KeyEncryptionKeySource::Text(text) => Zeroizing::new(text.expose_secret().to_owned()),
        KeyEncryptionKeySource::File(path) => read_secret(path)?,
        KeyEncryptionKeySource::DefaultFile(path) => read_or_make(path, || {
            let made = KeyEncryptionKey::generate(random)?.to_text();
            Ok(Zeroizing::new(made.expose_secret().to_owned()))
        })?,
    };
    KeyEncryptionKey::from_text(text.trim()).context("the key-encryption key")
}

/// The key-encryption key, which is there.
fn existing_key(config: &Config) -> anyhow::Result<KeyEncryptionKey> {
    let text = match &config.key_encryption_key {
        KeyEncryptionKeySource::Text(text) => Zeroizing::new(text.expose_secret().to_owned()),
        KeyEncryptionKeySource::File(path) | KeyEncryptionKeySource::DefaultFile(path) => read_secret(path)?,
    };
    KeyEncryptionKey::from_text(text.trim()).context("the key-encryption key")
}

/// Whether the key-encryption key of the configuration opens every one of these records.
pub fn opens_every_key(config: &Config, records: &[SealedKey]) -> anyhow::Result<bool> {
    let sealing = existing_key(config)?;
    Ok(records.iter().all(|record| sealing.opens(record)))
}

/// Who may call, by their keys. Makes the local operator's where there is none.
pub(super) fn callers(config: &Config, random: &Random) -> anyhow::Result<Callers> {
    let mut operators = config.admin.operators.clone();
    if let Some(file) = &config.admin.local_key_file {
        operators.push(local_operator(file, random)?);
    }
    Ok(Callers { operators, resource_servers: config.resource_servers.clone() })
}

/// The operator `local`, with every role, by the key in `file`; made at the first start.
fn local_operator(file: &Path, random: &Random) -> anyhow::Result<Operator> {
    let key = read_or_make(file, || operator_key(random))?;
    Ok(Operator {
        name: LOCAL_OPERATOR.parse()?,
        roles: [Role::Admin, Role::Approver, Role::Auditor].into(),
        key: Digest::of(key.trim().as_bytes()),
    })
}

/// A fresh operator key: `hpo_` and 256 random bits, so that leak scanners can find one.
fn operator_key(random: &Random) -> anyhow::Result<Zeroizing<String>> {
    let bits = Zeroizing::new(random.bytes::<32>()?);
    Ok(Zeroizing::new(format!("hpo_{}", URL_SAFE_NO_PAD.encode(*bits))))
}

fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> anyhow::Result<Zeroizing<String>>,
) -> anyhow::Result<Zeroizing<String>> {
    if path.try_exists().with_context(|| path.display().to_string())? {
        return read_secret(path);
    }
    let secret = make()?;
    match write_secret(path, &secret) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read_secret(path),
        written => written.map(|()| secret).with_context(|| path.display().to_string()),
    }
}

fn read_secret(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let read = files::read_regular(path, MAX_SECRET).and_then(|bytes| files::secret(&bytes));
    match read {
        Ok(secret) => Ok(Zeroizing::new(secret.expose_secret().to_owned())),
        Err(Unreadable::Empty) => bail!("{}: is empty; write the key into it, or remove it", path.display()),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Writes a new file that only its owner can read (0600), in a folder of the same kind (0700).
fn write_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        files::make_folder(folder)?;
    }
    files::write_new(path, Zeroizing::new(format!("{secret}\n")).as_bytes())
}
