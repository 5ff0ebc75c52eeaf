//! The keys that `[store]` and `[revocation]` share, about a server that hallpass connects to.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::config::files;
use crate::config::weak::{self, Others};
use crate::document::{Field, Located, Mistakes, Place, Table};
use crate::domain::client_certificate::{ClientFiles, client_pair};

/// Which server the keys are for.
pub(super) struct Server {
    pub(super) section: &'static str,
    /// As a person says it: "Redis".
    pub(super) name: &'static str,
}

/// What was written of the keys, before it is known whether they have a meaning.
pub(super) struct Keys<'a> {
    server: Server,
    username: Field<'a>,
    password_file: Field<'a>,
    password: Option<Located<&'a str>>,
    ca_file: Field<'a>,
    client_cert_file: Field<'a>,
    client_key_file: Field<'a>,
}

/// What the keys say.
pub(super) struct Connection {
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) client: Option<ClientFiles>,
}

/// An example of each key: the files' names say whose they are.
pub(super) struct Examples {
    pub(super) password_file: &'static str,
    pub(super) ca_file: &'static str,
    pub(super) client_cert_file: &'static str,
    pub(super) client_key_file: &'static str,
}

impl<'a> Keys<'a> {
    pub(super) fn ask(section: &Table<'a>, server: Server, examples: &Examples) -> Self {
        Self {
            server,
            username: section.key("username", "\"hallpass\""),
            password_file: section.key("password_file", examples.password_file),
            password: section.secret_variable("password"),
            ca_file: section.key("ca_file", examples.ca_file),
            client_cert_file: section.key("client_cert_file", examples.client_cert_file),
            client_key_file: section.key("client_key_file", examples.client_key_file),
        }
    }

    /// Tells of each that was written although there is no server.
    pub(super) fn refuse(&self, problem: &str, remedy: &str, mistakes: &Mistakes) {
        let fields = [&self.username, &self.password_file];
        for place in written(fields).chain(self.password.as_ref().map(|password| &password.place)) {
            mistakes.add(place, problem, remedy);
        }
        self.refuse_tls(problem, remedy, mistakes);
    }

    /// Tells of each that was written for TLS where there is none.
    pub(super) fn refuse_tls(&self, problem: &str, remedy: &str, mistakes: &Mistakes) {
        for place in written([&self.ca_file, &self.client_cert_file, &self.client_key_file]) {
            mistakes.add(place, problem, remedy);
        }
    }

    pub(super) fn read(self, mistakes: &Mistakes) -> Option<Connection> {
        let Self { server, username, password_file, password, ca_file, client_cert_file, client_key_file } =
            self;
        let username = optional(username, |field| field.text());
        let (key, whose) =
            (format!("{}.password_file", server.section), format!("the {} password", server.name));
        let password = one_password(password_file, password, (&key, &whose), mistakes);
        let ca_file = optional(ca_file, |field| files::roots(field, mistakes));
        let client = client_files(&server, client_cert_file, client_key_file, mistakes);
        Some(Connection { username: username?, password: password?, ca_file: ca_file?, client: client? })
    }
}

fn written<'f, const N: usize>(fields: [&'f Field<'_>; N]) -> impl Iterator<Item = &'f Place> {
    fields.into_iter().filter(|field| field.is_present()).map(|field| field.place())
}

/// The client certificate and its key, which stand together or not at all.
fn client_files(
    server: &Server,
    cert: Field<'_>,
    key: Field<'_>,
    mistakes: &Mistakes,
) -> Option<Option<ClientFiles>> {
    if !cert.is_present() && !key.is_present() {
        return Some(None);
    }
    let (cert, key) = (cert.required(), key.required());
    let (cert, key) = (files::readable(cert, mistakes), files::readable(key, mistakes));
    let (cert, key) = (cert?, key?);
    let what = format!("the key of {}'s client certificate", server.name);
    weak::readable(&key, &what, Others::AndGroup, mistakes);
    let read = |path: &PathBuf| std::fs::read(path).unwrap_or_default();
    if mistakes.judge_files()
        && let Err(problem) = client_pair(&read(&cert.value), &read(&key.value))
    {
        mistakes.add(&cert.place, problem, "name a certificate in PEM and its private key");
        return None;
    }
    Some(Some(ClientFiles { cert: cert.value, key: key.value }))
}

/// The password of a file or of a variable; `key` names the file, and `whose` the password.
pub(super) fn one_password(
    file: Field<'_>,
    variable: Option<Located<&str>>,
    (key, whose): (&str, &str),
    mistakes: &Mistakes,
) -> Option<Option<SecretString>> {
    match variable {
        Some(variable) if file.is_present() => {
            mistakes.add(&variable.place, format!("{key} names one too"), "keep one of the two");
            None
        }
        Some(variable) => Some(Some(SecretString::from(variable.value))),
        None => optional(file, |file| files::password(file, whose, mistakes)),
    }
}

/// `Some(None)` where the key is missing, `None` where it is wrong.
pub(super) fn optional<'a, T>(
    field: Field<'a>,
    read: impl FnOnce(Field<'a>) -> Option<Located<T>>,
) -> Option<Option<T>> {
    if field.is_present() { read(field).map(|read| Some(read.value)) } else { Some(None) }
}
