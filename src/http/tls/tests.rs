use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::http::settings::ClientCertificates;

/// 2026-11-23.
const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);

struct Bench {
    folder: TempDir,
    settings: TlsSettings,
    /// Milliseconds after [`NOW`].
    later: Arc<AtomicI64>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = TlsSettings {
            cert_file: folder.path().join("tls.pem"),
            key_file: folder.path().join("tls.key"),
            clients: ClientCertificates::Any,
            called: None,
        };
        Self { folder, settings, later: Arc::default() }
    }

    fn with(from: i32, until: i32) -> Self {
        let bench = Self::new();
        let (certificate, key) = pair(from, until);
        bench.write(&certificate, &key);
        bench
    }

    fn write(&self, certificate: &str, key: &str) {
        fs::write(&self.settings.cert_file, certificate).unwrap();
        fs::write(&self.settings.key_file, key).unwrap();
    }

    fn open(&self) -> Result<(Arc<Tls>, Watch), Unusable> {
        let later = Arc::clone(&self.later);
        let clock = Clock::new(move || Timestamp::from_millis(NOW.millis() + later.load(Ordering::SeqCst)));
        Tls::open("server.tls", self.settings.clone(), clock)
    }

    /// What is said of the files, without the folder.
    fn problem(&self) -> String {
        let problem = self.open().err().unwrap().to_string();
        problem.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn pair(from: i32, until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["hallpass.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn each_way_to_be_unusable_is_told_by_its_file() {
    assert_eq!(
        Bench::with(2020, 2026).problem(),
        "tls.pem holds a certificate that ended at 2026-01-01T00:00:00.000Z"
    );
    assert_eq!(
        Bench::with(2027, 2028).problem(),
        "tls.pem holds a certificate that begins at 2027-01-01T00:00:00.000Z"
    );
    let (certificate, key) = pair(2020, 2090);
    let (_, other) = pair(2020, 2090);
    let told = |certificate: &str, key: &str| {
        let bench = Bench::new();
        bench.write(certificate, key);
        bench.problem().replace(&format!("{}/", bench.folder.path().display()), "")
    };
    assert_eq!(told(&certificate, &other), "tls.key is not the key of the certificate in tls.pem");
    assert_eq!(told(&certificate, &certificate), "tls.key holds no private key in PEM");
    assert_eq!(told(&key, &key), "tls.pem holds no certificate in PEM");
    assert_eq!(told("", &key), "tls.pem holds no certificate in PEM");
    let half = certificate.replace("-----END CERTIFICATE-----", "");
    assert_eq!(told(&half, &key), "tls.pem is not PEM: a section has no end, or is not base64");
    let garbage = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert!(told(garbage, &key).starts_with("tls.pem holds a certificate that is not one"));
    let bench = Bench::new();
    assert_eq!(bench.problem(), "tls.pem cannot be read: No such file or directory (os error 2)");
    fs::create_dir(&bench.settings.cert_file).unwrap();
    assert_eq!(bench.problem(), "tls.pem is not a regular file");
}

#[test]
fn a_certificate_says_when_it_is_good() {
    for (from, until) in [(1971, 2027), (1999, 2049), (2000, 2050), (2026, 9999)] {
        let bench = Bench::with(from, until);
        let (tls, _) = bench.open().unwrap();
        assert_eq!(tls.serving.load().until.to_string(), format!("{until}-01-01T00:00:00.000Z"));
        assert_eq!(tls.degraded(), None);
    }
}

#[test]
fn no_error_repeats_a_byte_of_a_key() {
    let (certificate, key) = pair(2020, 2090);
    let secret = key.lines().nth(1).unwrap();
    let broken = key.replace("PRIVATE KEY", "PRIVAT KEY");
    for wrong in [&broken, &key.replace(secret, &secret[1..]), &key.replace("-----END", "---")] {
        let bench = Bench::new();
        bench.write(&certificate, wrong);
        let error = bench.open().err().unwrap();
        assert!(!format!("{error:?} {error}").contains(&secret[8..24]), "{error}");
    }
    let bench = Bench::new();
    bench.write(&certificate, &key);
    let told = format!("{:?}", bench.open().unwrap());
    assert!(!told.contains(&secret[8..24]));
}

#[test]
fn files_are_taken_over_when_they_stay_as_they_are() {
    let bench = Bench::with(2020, 2090);
    let (tls, mut watch) = bench.open().unwrap();
    let until = || tls.serving.load().until.to_string();
    // The certificate is written and its key is not yet: a moment that nobody needs to hear of.
    let (certificate, key) = pair(2020, 2080);
    fs::write(&bench.settings.cert_file, &certificate).unwrap();
    watch.look();
    assert_eq!(tls.degraded(), None);
    fs::write(&bench.settings.key_file, &key).unwrap();
    watch.look();
    assert!(until().starts_with("2090"), "they may be half written still");
    watch.look();
    assert!(until().starts_with("2080") && tls.degraded().is_none());

    // It stays wrong, so it is told, and what served serves.
    fs::write(&bench.settings.key_file, "").unwrap();
    watch.look();
    watch.look();
    let told = tls.degraded().unwrap();
    assert!(told.contains("server.tls") && !told.contains('/'), "{told}");
    assert!(until().starts_with("2080"));
    // A certificate that begins later is tried until it has begun, without another change.
    let (certificate, key) = pair(2030, 2070);
    bench.write(&certificate, &key);
    watch.look();
    watch.look();
    assert!(tls.degraded().is_some() && until().starts_with("2080"));
    bench.later.store(5 * 366 * 86_400_000, Ordering::SeqCst);
    watch.look();
    assert!(tls.degraded().is_none() && until().starts_with("2070"));
    bench.later.store(70 * 366 * 86_400_000, Ordering::SeqCst);
    assert_eq!(
        tls.degraded().unwrap(),
        "tls: the certificate of server.tls ended at 2070-01-01T00:00:00.000Z"
    );
}

#[test]
fn a_key_that_anybody_may_read_is_seen() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::with(2020, 2090);
    for (mode, open) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
        fs::set_permissions(&bench.settings.key_file, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(material::is_open_to_all(&bench.settings.key_file), open, "{mode:o}");
    }
}

#[test]
fn whom_a_certificate_is_for_is_seen() {
    let bench = Bench::with(2020, 2090);
    let material = Material::read(&bench.settings).unwrap();
    for (host, covered) in
        [("hallpass.test", true), ("HALLPASS.test", true), ("x.hallpass.test", false), ("127.0.0.1", false)]
    {
        assert_eq!(material.covers(host), covered, "{host}");
    }
}

#[test]
fn the_end_of_each_certificate_is_a_metric_and_follows_a_renewal() {
    let bench = Bench::with(2020, 2027);
    let (tls, mut watch) = bench.open().unwrap();
    let metrics = crate::telemetry::Metrics::new();
    register_metrics(&metrics, [Arc::clone(&tls)].into());
    let line = |ends: i64| {
        let mut text = String::new();
        metrics.complete(&mut text).unwrap();
        let due =
            format!("hallpass_tls_certificate_expiry_timestamp_seconds{{listener=\"public\"}} {ends}\n");
        assert!(text.contains(&due), "{due}: {text}");
    };
    line(1_798_761_600);
    let (certificate, key) = pair(2020, 2028);
    bench.write(&certificate, &key);
    watch.look();
    watch.look();
    line(1_830_297_600);
}
