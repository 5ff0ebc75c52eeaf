//! PEM (RFC 7468): certificates and private keys out of text, strictly.
//!
//! Readers of PEM pass over what they do not know, so a file whose lines were joined, or that begins with a byte order
//! mark, would lose its first certificate or an intermediate in silence. Here it is put right or refused.
//! No error holds a byte of the text, which may be a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// Why text is of no use as PEM. Reads on after the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    #[error("holds no certificate in PEM")]
    NoCertificate,
    #[error("holds no private key in PEM")]
    NoKey,
    #[error(
        "holds a private key with a passphrase, which hallpass cannot ask for: write it without one with `openssl pkey`"
    )]
    Encrypted,
    #[error(
        "has two PEM sections on line {0}: put a line break between -----END …----- and -----BEGIN …-----"
    )]
    Glued(usize),
    #[error(
        "has lost its line breaks on line {0}: -----BEGIN …----- and -----END …----- stand on lines of their own"
    )]
    Joined(usize),
    #[error("is not PEM: a section has no end, or is not base64")]
    Damaged,
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// What editors of Windows put before a text, in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Every certificate, in the order of the text; at least one.
///
/// # Errors
/// When there is none, or anything in the text looks like PEM and is not.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let of_kind = |(kind, der): (SectionKind, Vec<u8>)| {
        (kind == SectionKind::Certificate).then(|| CertificateDer::from(der))
    };
    let found: Vec<_> = sections(text)?.into_iter().filter_map(of_kind).collect();
    if found.is_empty() { Err(PemError::NoCertificate) } else { Ok(found) }
}

/// The first private key: PKCS#8, PKCS#1 or SEC 1.
///
/// # Errors
/// When there is none, or anything in the text looks like PEM and is not.
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    // Of one kind the section looks like any other and has headers, which are not base64.
    if is_encrypted(text) {
        return Err(PemError::Encrypted);
    }
    let mut found = sections(text)?.into_iter().filter_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
    found.next().ok_or(PemError::NoKey)
}

/// Whether the text holds a private key that needs a passphrase, as PKCS#8 and as OpenSSL of old have it.
fn is_encrypted(text: &[u8]) -> bool {
    let starts = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----".as_slice(), b"Proc-Type: 4,ENCRYPTED"];
    text.split(|byte| *byte == b'\n')
        .any(|line| starts.iter().any(|start| line.trim_ascii().starts_with(start)))
}

/// One section, as other libraries read it.
pub fn section(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    Zeroizing::new(format!("{BEGIN}{label}-----\n{}\n{END}{label}-----\n", *body))
}

fn sections(text: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, PemError> {
    let plain = in_lines(text)?;
    let sections: Result<Vec<_>, _> = <(SectionKind, Vec<u8>)>::pem_slice_iter(&plain).collect();
    sections.map_err(|_| PemError::Damaged)
}

/// The lines without what editors and YAML put around them; markers alone on theirs.
fn in_lines(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, PemError> {
    // As long as the text at most, for growing would leave copies in freed memory.
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len() + 1));
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii();
        check_markers(line).map_err(|how| how(at + 1))?;
        plain.extend_from_slice(line);
        plain.push(b'\n');
    }
    Ok(plain)
}

fn check_markers(line: &[u8]) -> Result<(), fn(usize) -> PemError> {
    let places = |marker: &str| -> Vec<usize> {
        let at = line.windows(marker.len()).enumerate();
        at.filter(|(_, window)| *window == marker.as_bytes()).map(|(at, _)| at).collect()
    };
    let (begins, ends) = (places(BEGIN), places(END));
    match (begins.as_slice(), ends.as_slice()) {
        ([], []) => Ok(()),
        ([0], []) | ([], [0]) if is_marker(line) => Ok(()),
        ([begin, ..], [0, ..]) if *begin > 0 => Err(PemError::Glued),
        _ => Err(PemError::Joined),
    }
}

/// `-----BEGIN LABEL-----`, and nothing after it.
fn is_marker(line: &[u8]) -> bool {
    let rest = line.strip_prefix(BEGIN.as_bytes()).or_else(|| line.strip_prefix(END.as_bytes()));
    let label = rest.and_then(|rest| rest.strip_suffix(DASHES.as_bytes()));
    let is_label = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b' ' | b'.');
    label.is_some_and(|label| !label.is_empty() && label.iter().all(is_label))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIBhX8Y2lq8fK1pCk0t3mP8kCw4m5Z1n2vQwq7rj4bY9T\n\
                       -----END PRIVATE KEY-----\n";

    fn certificate() -> String {
        let made = rcgen::generate_simple_self_signed(vec!["hallpass.test".to_owned()]).unwrap();
        made.cert.pem()
    }

    #[test]
    fn what_editors_and_systems_do_to_lines_changes_nothing() {
        let (one, other) = (certificate(), certificate());
        let plain = format!("{one}{other}");
        let expected = certificates(plain.as_bytes()).unwrap();
        assert_eq!(expected.len(), 2);
        for text in [
            plain.replace('\n', "\r\n"),
            format!("\u{feff}{plain}"),
            format!("{one}\u{feff}{other}"),
            plain.lines().map(|line| format!("    {line}\n")).collect(),
            format!("subject=CN = x\n{one}\n# next\n{other}"),
            plain.trim_end().to_owned(),
        ] {
            assert_eq!(certificates(text.as_bytes()).as_ref(), Ok(&expected), "{text}");
        }
        for text in [format!("\u{feff}{KEY}"), KEY.replace('\n', "\r\n"), format!("{one}{KEY}")] {
            assert!(private_key(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_section_is_never_dropped_in_silence() {
        let (one, other) = (certificate(), certificate());
        let glued = format!("{}{other}", one.trim_end());
        let line = one.trim_end().lines().count();
        assert_eq!(certificates(glued.as_bytes()), Err(PemError::Glued(line)));
        assert_eq!(certificates(one.replace('\n', "").as_bytes()), Err(PemError::Joined(1)));
        assert_eq!(certificates(one.replace('\n', "\\n").as_bytes()), Err(PemError::Joined(1)));
        assert_eq!(
            certificates(
                one.replacen("-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----", 1).as_bytes()
            ),
            Err(PemError::Joined(1))
        );
        assert_eq!(
            certificates(one.replace("-----END CERTIFICATE-----", "").as_bytes()),
            Err(PemError::Damaged)
        );
        assert_eq!(certificates(one.replacen("MI", "M!", 1).as_bytes()), Err(PemError::Damaged));
        assert_eq!(certificates(KEY.as_bytes()), Err(PemError::NoCertificate));
        assert_eq!(private_key(one.as_bytes()), Err(PemError::NoKey));
        assert_eq!(private_key(KEY.replace('\n', " ").as_bytes()), Err(PemError::Joined(1)));
        let sealed = KEY.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert_eq!(private_key(sealed.as_bytes()), Err(PemError::Encrypted));
        let of_old = KEY
            .replace("KEY-----\nMC", "KEY-----\r\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,47E6\n\nMC");
        assert_eq!(private_key(of_old.as_bytes()), Err(PemError::Encrypted));
    }
}
