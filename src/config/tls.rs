//! `server.tls` and `admin.tls`.

use std::path::PathBuf;

use crate::config::{Config, files};
use crate::document::{Field, Located, Mistakes, Place, Table};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::time::Timestamp;
use crate::http::settings::{ClientCertificates, TlsSettings};
use crate::http::tls::{Material, Part};

/// Whose certificates a listener could be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clients {
    /// Agents, by choice.
    MayCome,
    /// Operators, who are known by their keys.
    AreOperators,
}

/// `Some(None)` where the listener has no TLS, `None` where it is wrong. The place is that of the certificate.
pub(super) fn read(
    listener: &Table<'_>,
    clients: Clients,
    mistakes: &Mistakes,
) -> Option<Option<Located<TlsSettings>>> {
    let section = listener.section("tls");
    let cert_file = section.key("cert_file", "\"/etc/hallpass/tls.pem\"");
    let key_file = section.key("key_file", "\"/run/secrets/hallpass-tls.key\"");
    let cas = match clients {
        Clients::MayCome => Some(section.key("client_ca_files", "[\"/etc/hallpass/clients.pem\"]")),
        Clients::AreOperators => {
            let instead = "operators are known by their keys; listen where their network alone can reach";
            section.unsupported("client_ca_files", instead);
            None
        }
    };
    let written = cert_file.is_present() || key_file.is_present();
    match (listener.has("tls"), section.is_present(), written) {
        (false, _, false) => return Some(None),
        // Not a table, which was told.
        (true, false, false) => return None,
        _ => {}
    }
    let has_cas = cas.as_ref().is_some_and(Field::is_present);
    let cert_file = files::readable(cert_file.required(), mistakes);
    let key_file = files::readable(key_file.required(), mistakes);
    let cas = cas.filter(|_| has_cas).map(|cas| client_cas(cas, mistakes));
    let (cert_file, key_file) = (cert_file?, key_file?);
    let (clients, ca_places) = match (clients, cas) {
        (Clients::AreOperators, _) => (ClientCertificates::NotAsked, Vec::new()),
        (Clients::MayCome, None) => (ClientCertificates::Any, Vec::new()),
        (Clients::MayCome, Some(cas)) => {
            let (files, places) = cas?.into_iter().map(|file| (file.value, file.place)).unzip();
            (ClientCertificates::SignedBy(files), places)
        }
    };
    let settings =
        TlsSettings { cert_file: cert_file.value, key_file: key_file.value, clients, called: None };
    let good = usable(&settings, [&cert_file.place, &key_file.place], &ca_places, mistakes);
    good.then_some(Some(Located { value: settings, place: cert_file.place }))
}

/// Warns of a certificate that clients refuse, because they call the listener by another name. `place` is that of its file.
pub(super) fn warn_of_other_hosts(settings: &TlsSettings, place: &Place, mistakes: &Mistakes) {
    let Some(host) = settings.called.as_ref().filter(|_| mistakes.judge_files()) else { return };
    if Material::read(settings).is_ok_and(|material| !material.covers(host)) {
        let problem =
            format!("{} is for other hosts than {host}, where clients call", settings.cert_file.display());
        mistakes.warn(place, problem, "name a certificate for it, or correct server.public_url");
    }
}

fn client_cas(field: Field<'_>, mistakes: &Mistakes) -> Option<Vec<Located<PathBuf>>> {
    let list = field.filled_list::<String>()?;
    let files = list
        .value
        .into_iter()
        .map(|text| files::is_readable(&files::named(&text.value, &text.place, mistakes)?, mistakes));
    files.collect()
}

/// Whether TLS could be served with these files.
fn usable(settings: &TlsSettings, [cert, key]: [&Place; 2], cas: &[Place], mistakes: &Mistakes) -> bool {
    if !mistakes.judge_files() {
        return true;
    }
    let unusable = match Material::read(settings) {
        Err(unusable) => unusable,
        Ok(material) => {
            warn_of_unfit(&material, settings, cert, mistakes);
            return true;
        }
    };
    let of_ca = || settings.clients.ca_files().iter().position(|file| *file == unusable.path);
    let (place, remedy) = match unusable.part {
        Part::Certificate => (cert, "name a PEM file with the certificate, and after it those to its root"),
        Part::Key => (key, "name the PEM file of that certificate's private key"),
        Part::ClientCa => (
            of_ca().and_then(|at| cas.get(at)).unwrap_or(cert),
            "name PEM files with the certificates of those who vouch for clients",
        ),
    };
    mistakes.add(place, unusable.to_string(), remedy);
    false
}

/// Warns of a certificate that is none of a server. `openssl req -x509` makes one of a CA unless told not to.
fn warn_of_unfit(material: &Material, settings: &TlsSettings, place: &Place, mistakes: &Mistakes) {
    if let Some(why) = material.unfit() {
        let problem =
            format!("{} {why}; hallpass and many other clients refuse it", settings.cert_file.display());
        let remedy = "name a server's certificate; openssl req -x509 makes one with -addext basicConstraints=critical,CA:FALSE";
        mistakes.warn(place, problem, remedy);
    }
}

impl Config {
    /// Certificates that cannot be served with at `now`: those that have ended or have yet to begin. Blocks.
    pub fn certificates_at(&self, now: Timestamp) -> Vec<Diagnostic> {
        let listeners =
            [("server.tls.cert_file", &self.server.tls), ("admin.tls.cert_file", &self.admin.tls)];
        let judged = listeners.into_iter().filter_map(|(key, tls)| {
            let settings = tls.as_ref()?;
            let judged = Material::read(settings).and_then(|material| material.check_time(settings, now));
            judged.err().map(|unusable| Diagnostic {
                file: unusable.path,
                line: None,
                key: key.to_owned(),
                problem: unusable.problem,
                remedy: "put a renewed certificate there".to_owned(),
            })
        });
        judged.collect()
    }
}
