//! The files and folders of roots that the environment names, which the system's trust is read from.

use std::path::{Path, PathBuf};

/// Why the system has nobody whom it trusts, where that is so.
pub(super) fn why_none() -> String {
    let unusable = unusable();
    match unusable.is_empty() {
        false => unusable.join("; "),
        true => "this system has no bundle of root certificates: install ca-certificates, or name a PEM bundle with SSL_CERT_FILE"
            .to_owned(),
    }
}

/// What the environment names and gives no roots. Where it names something else that does, the client trusts that
/// alone and says nothing.
pub(super) fn unusable() -> Vec<String> {
    let told = named().filter_map(|(name, path)| {
        let problem = problem_of(&path)?;
        Some(format!("{name} names {}, which cannot be used: {problem}", path.display()))
    });
    told.collect()
}

fn problem_of(path: &Path) -> Option<String> {
    if path.is_dir() {
        return match std::fs::read_dir(path) {
            Err(error) => Some(error.to_string()),
            Ok(mut files) => files.next().is_none().then(|| "it is an empty folder".to_owned()),
        };
    }
    match std::fs::read(path) {
        Err(error) => Some(error.to_string()),
        Ok(bytes) => {
            let has_one = String::from_utf8_lossy(&bytes).contains("-----BEGIN CERTIFICATE-----");
            (!has_one).then(|| "it holds no certificate in PEM".to_owned())
        }
    }
}

/// The files and folders of roots that the environment names, and by which variable.
fn named() -> impl Iterator<Item = (&'static str, PathBuf)> {
    let file =
        std::env::var_os("SSL_CERT_FILE").into_iter().map(|file| ("SSL_CERT_FILE", PathBuf::from(file)));
    let folders = std::env::var_os("SSL_CERT_DIR").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&folders).filter(|path| !path.as_os_str().is_empty()).collect();
    file.chain(folders.into_iter().map(|folder| ("SSL_CERT_DIR", folder)))
}
