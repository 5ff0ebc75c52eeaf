//! `server.tls` and `admin.tls`, with certificates made here.

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::domain::time::Timestamp;
use crate::http::settings::ClientCertificates;

const TLS: &str = "[server.tls]\ncert_file = 'tls.pem'\nkey_file = 'tls.key'\n";

/// A folder with a pair in `tls.pem` and `tls.key`.
fn with_pair(text: &str) -> (TempDir, PathBuf) {
    let (dir, file) = folder(&format!("{OPERATOR}{text}"));
    write_pair(&dir, "tls");
    (dir, file)
}

/// A certificate and its key, good through the years 2020 to 2029.
pub(super) fn write_pair(dir: &TempDir, name: &str) {
    let key = KeyPair::generate().unwrap();
    let mut params =
        CertificateParams::new(["hallpass.test", "hallpass.acme.internal"].map(str::to_owned)).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    fs::write(dir.path().join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

#[test]
fn a_pair_makes_the_listener_https() {
    let (dir, file) = with_pair(TLS);
    let config = Config::load(&file, []).unwrap();
    assert_eq!(config.server.public_url.as_str(), "https://127.0.0.1:8700");
    let tls = config.server.tls.unwrap();
    assert_eq!(tls.cert_file, dir.path().join("tls.pem"));
    assert_eq!(tls.clients, ClientCertificates::Any);
    assert_eq!(tls.called.as_deref(), Some("127.0.0.1"));
    assert_eq!(config.admin.tls, None);

    let more = "client_ca_files = ['tls.pem']\n[admin.tls]\ncert_file = 'tls.pem'\nkey_file = 'tls.key'\n";
    let (dir, file) = with_pair(&format!("{TLS}{more}"));
    let config = Config::load(&file, []).unwrap();
    let signed = ClientCertificates::SignedBy(vec![dir.path().join("tls.pem")]);
    assert_eq!(config.server.tls.unwrap().clients, signed);
    assert_eq!(config.admin.tls.unwrap().clients, ClientCertificates::NotAsked);
}

#[test]
fn the_environment_can_name_the_files() {
    let (dir, file) = with_pair("");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let set = [
        ("HALLPASS_SERVER__TLS__CERT_FILE", &*path("tls.pem")),
        ("HALLPASS_SERVER__TLS__KEY_FILE", &*path("tls.key")),
    ];
    let config = Config::load(&file, variables(&set)).unwrap();
    assert!(config.server.tls.is_some());
    assert_eq!(config.server.public_url.as_str(), "https://127.0.0.1:8700");
    let told = Config::load(&file, variables(&set[..1])).unwrap_err();
    assert!(told[0].to_string().contains("server.tls.key_file: is missing"), "{told:?}");
}

#[test]
fn an_http_public_url_contradicts_it_even_on_loopback() {
    let text = format!("[server]\npublic_url = 'http://127.0.0.1:8700'\n{TLS}");
    let (dir, file) = with_pair(&text);
    assert_eq!(
        lines(&dir, &Config::load(&file, []).unwrap_err()),
        [
            "hallpass.toml:4: server.public_url: is http, and the listener has server.tls; write public_url = \"https://127.0.0.1:8700\""
        ]
    );
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let (dir, file) = with_pair(TLS);
    fs::write(dir.path().join("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert_eq!(
        lines(&dir, &Config::load(&file, []).unwrap_err()),
        ["hallpass.toml:5: server.tls.key_file: tls.key is not the key of the certificate in tls.pem; \
          name the PEM file of that certificate's private key"]
    );
    // The roots of clients are read as well, each told by its place.
    let (dir, file) = with_pair(&format!("{TLS}client_ca_files = ['tls.pem', 'tls.key']\n"));
    assert_eq!(
        lines(&dir, &Config::load(&file, []).unwrap_err()),
        ["hallpass.toml:6: server.tls.client_ca_files[1]: tls.key holds no certificate in PEM; \
          name PEM files with the certificates of those who vouch for clients"]
    );
}

#[test]
fn a_certificate_out_of_its_time_is_told_by_the_clock() {
    let (dir, file) = with_pair(TLS);
    let config = Config::load(&file, []).unwrap();
    let at = |text: &str| lines(&dir, &config.certificates_at(text.parse::<Timestamp>().unwrap()));
    assert!(at("2026-11-23T00:00:00Z").is_empty());
    assert!(at("2020-01-01T00:00:00Z").is_empty());
    assert_eq!(
        at("2030-01-01T00:00:01Z"),
        [
            "tls.pem: server.tls.cert_file: holds a certificate that ended at 2030-01-01T00:00:00.000Z; put a renewed certificate there"
        ]
    );
    assert_eq!(
        at("2019-12-31T23:59:59Z"),
        [
            "tls.pem: server.tls.cert_file: holds a certificate that begins at 2020-01-01T00:00:00.000Z; put a renewed certificate there"
        ]
    );
}

#[test]
fn a_certificate_that_is_no_servers_is_warned_of() {
    use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa};
    let told = |change: fn(&mut CertificateParams)| {
        let (dir, file) = with_pair(TLS);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        fs::write(dir.path().join("tls.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(dir.path().join("tls.key"), key.serialize_pem()).unwrap();
        let warnings = crate::config::check(&file, []).unwrap().warnings;
        let lines = warnings.iter().map(|warning| warning.to_string());
        lines.filter(|line| line.contains("server.tls")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(told(|_| {}), "");
    assert_eq!(told(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), "");
    let of_ca = told(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    for part in ["server.tls.cert_file: warning: ", "certificate authority (CA:TRUE)", "CA:FALSE"] {
        assert!(of_ca.contains(part), "{of_ca}");
    }
    let of_client = told(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert!(of_client.contains("for other uses than a server's"), "{of_client}");
}

#[test]
fn a_key_with_a_passphrase_is_told_as_that() {
    for pem in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHsMFcG\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,47E6\n\nMIHs\n-----END EC PRIVATE KEY-----\n",
    ] {
        let (dir, file) = with_pair(TLS);
        fs::write(dir.path().join("tls.key"), pem).unwrap();
        let told = lines(&dir, &Config::load(&file, []).unwrap_err()).join("\n");
        assert!(
            told.contains("server.tls.key_file: tls.key holds a private key with a passphrase"),
            "{told}"
        );
        assert!(told.contains("openssl pkey") && !told.contains("MIHs"), "{told}");
    }
}
