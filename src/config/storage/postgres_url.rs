//! `postgres://host[:port][,host[:port]]/database?sslmode=…` and `postgres:///database?host=/folder`.

use std::path::PathBuf;

use url::{Host, form_urlencoded};

use crate::config::weak;
use crate::document::{Located, Mistakes, wrong_value};
use crate::store::settings::{Address, Servers};

/// Both are in use, and mean the same.
pub(super) const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

const DEFAULT_PORT: u16 = 5432;

/// PostgreSQL cuts longer names off, and so would open another database.
const MAX_NAME: usize = 63;

const REMEDY: &str =
    "write postgres://host:5432/database, or postgres:///database?host=/var/run/postgresql for a unix socket";
const CREDENTIALS: &str = "write store.username, and password_file or HALLPASS_STORE__PASSWORD";
const SSLMODE: &str = "write sslmode=verify-full, and store.ca_file where the certificate is of a CA of yours; or \
                       sslmode=disable where nobody else is on the way";

/// What is wrong, and what to write instead.
type Wrong = (String, &'static str);

/// What the URL says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) servers: Servers,
    pub(super) database: String,
    pub(super) tls: bool,
}

pub(super) fn read(url: &Located<String>, mistakes: &Mistakes) -> Option<Target> {
    let read = parse(&url.value);
    read.map_err(|(problem, remedy)| mistakes.add(&url.place, wrong_value(&url.value, &problem), remedy)).ok()
}

fn parse(url: &str) -> Result<Target, Wrong> {
    let rest = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)).unwrap_or_default();
    if rest.contains('#') {
        return Err(("has more than hosts, a database and options".to_owned(), REMEDY));
    }
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    if place.contains('@') {
        return Err(("holds credentials, and URLs end in logs".to_owned(), CREDENTIALS));
    }
    let options = Options::parse(options)?;
    let database = name(database)?;
    let servers = match (authority, options.host) {
        ("", Some(folder)) => Servers::Unix { folder, port: options.port.unwrap_or(DEFAULT_PORT) },
        ("", None) => return Err(("names no host".to_owned(), REMEDY)),
        (_, Some(_)) => return Err(("names a host and a unix socket".to_owned(), REMEDY)),
        (_, None) if options.port.is_some() => {
            return Err(("has the option port, which is a unix socket's".to_owned(), REMEDY));
        }
        (hosts, None) => Servers::Tcp(hosts.split(',').map(address).collect::<Result<_, _>>()?),
    };
    let tls = match (&servers, options.tls) {
        (Servers::Unix { .. }, Some(true)) => {
            return Err(("is a unix socket, which has no TLS".to_owned(), "take sslmode out"));
        }
        (Servers::Unix { .. }, _) => false,
        (Servers::Tcp(all), chosen) => {
            chosen.unwrap_or(!all.iter().all(|address| weak::is_this_machine(&address.host)))
        }
    };
    Ok(Target { servers, database, tls })
}

fn name(database: &str) -> Result<String, Wrong> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    if database.is_empty() {
        return Err(("names no database".to_owned(), REMEDY));
    }
    if database.len() > MAX_NAME || !database.chars().all(is_plain) {
        let problem = "needs a database whose name is of letters, digits and _ - . $, at most 63 bytes";
        return Err((problem.to_owned(), REMEDY));
    }
    Ok(database.to_owned())
}

fn address(text: &str) -> Result<Address, Wrong> {
    let wrong = || ("has a host or a port that is none".to_owned(), REMEDY);
    let after_bracket = text.rfind(']').unwrap_or(0);
    let (host, port) = match text[after_bracket..].rfind(':').map(|at| after_bracket + at) {
        Some(at) => (&text[..at], text[at + 1..].parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?),
        None => (text, DEFAULT_PORT),
    };
    let host = match Host::parse(host).map_err(|_| wrong())? {
        Host::Ipv6(ip) => ip.to_string(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Domain(name) => name,
    };
    Ok(Address { host, port })
}

#[derive(Default)]
struct Options {
    host: Option<PathBuf>,
    port: Option<u16>,
    tls: Option<bool>,
}

impl Options {
    fn parse(query: &str) -> Result<Self, Wrong> {
        let mut options = Self::default();
        let mut seen = Vec::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if seen.contains(&key) {
                return Err(("has an option twice".to_owned(), "keep one of the two"));
            }
            match key.as_ref() {
                "sslmode" => options.tls = Some(sslmode(&value)?),
                "host" if value.starts_with('/') => options.host = Some(PathBuf::from(value.as_ref())),
                "host" => return Err(("names a host as an option".to_owned(), REMEDY)),
                "port" => {
                    let port = value.parse().ok().filter(|port| *port != 0);
                    options.port =
                        Some(port.ok_or_else(|| ("has a host or a port that is none".to_owned(), REMEDY))?);
                }
                "user" | "password" | "passfile" | "sslpassword" => {
                    return Err(("holds credentials, and URLs end in logs".to_owned(), CREDENTIALS));
                }
                "sslrootcert" => return Err(of_key("sslrootcert", "write store.ca_file")),
                "sslcert" | "sslkey" => {
                    return Err(of_key(
                        "sslcert or sslkey",
                        "write store.client_cert_file and client_key_file",
                    ));
                }
                _ => {
                    let remedy = "take it out: hallpass reads sslmode, and host and port of a unix socket";
                    return Err(("has an option that hallpass does not read".to_owned(), remedy));
                }
            }
            seen.push(key);
        }
        Ok(options)
    }
}

fn of_key(option: &str, remedy: &'static str) -> Wrong {
    (format!("has the option {option}, which is a key of its own here"), remedy)
}

/// Whether there is TLS.
fn sslmode(mode: &str) -> Result<bool, Wrong> {
    match mode {
        "verify-full" => Ok(true),
        "disable" => Ok(false),
        "verify-ca" => {
            Err(("has sslmode=verify-ca, which takes any server of the CA for this one".to_owned(), SSLMODE))
        }
        "require" => {
            Err(("has sslmode=require, which does not prove which server it is".to_owned(), SSLMODE))
        }
        "prefer" | "allow" => Err((
            format!("has sslmode={mode}, which goes on without TLS where somebody on the way takes it out"),
            SSLMODE,
        )),
        _ => Err(("has an sslmode that is neither verify-full nor disable".to_owned(), SSLMODE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(hosts: &[(&str, u16)]) -> Servers {
        Servers::Tcp(
            hosts.iter().map(|(host, port)| Address { host: (*host).to_owned(), port: *port }).collect(),
        )
    }

    #[test]
    fn hosts_database_and_tls_are_read() {
        for (url, servers, tls) in [
            ("postgres://db.acme/hallpass", tcp(&[("db.acme", 5432)]), true),
            ("postgresql://db.acme:6432/hallpass", tcp(&[("db.acme", 6432)]), true),
            ("postgres://a,b:6432/hallpass", tcp(&[("a", 5432), ("b", 6432)]), true),
            (
                "postgres://[2001:db8::1]:6432,192.0.2.1/hallpass",
                tcp(&[("2001:db8::1", 6432), ("192.0.2.1", 5432)]),
                true,
            ),
            ("postgres://db.acme/hallpass?sslmode=disable", tcp(&[("db.acme", 5432)]), false),
            ("postgres://127.0.0.1/hallpass", tcp(&[("127.0.0.1", 5432)]), false),
            ("postgres://localhost,[::1]/hallpass", tcp(&[("localhost", 5432), ("::1", 5432)]), false),
            ("postgres://localhost,db.acme/hallpass", tcp(&[("localhost", 5432), ("db.acme", 5432)]), true),
            ("postgres://localhost/hallpass?sslmode=verify-full", tcp(&[("localhost", 5432)]), true),
            (
                "postgres:///hallpass?host=/var/run/postgresql",
                Servers::Unix { folder: "/var/run/postgresql".into(), port: 5432 },
                false,
            ),
            (
                "postgres:///hallpass?host=%2Ftmp%2Fa%20b&port=6432&sslmode=disable",
                Servers::Unix { folder: "/tmp/a b".into(), port: 6432 },
                false,
            ),
        ] {
            let target = Target { servers, database: "hallpass".to_owned(), tls };
            assert_eq!(parse(url), Ok(target), "{url}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for url in [
            "postgres://",
            "postgres:///",
            "postgres:///hallpass",
            "postgres://db.acme",
            "postgres://db.acme/",
            "postgres://db.acme/a/b",
            "postgres://db.acme/a%20b",
            "postgres://db.acme:0/a",
            "postgres://db.acme:65536/a",
            "postgres://db.acme:/a",
            "postgres://db.acme,/a",
            "postgres://,db.acme/a",
            "postgres://db acme/a",
            "postgres://::1/a",
            "postgres://[::1/a",
            "postgres://%2Fvar%2Frun/a",
            "postgres://db.acme/a?host=/tmp",
            "postgres://db.acme/a?port=5432",
            "postgres:///a?host=db.acme",
            "postgres:///a?host=/tmp&port=x",
            "postgres:///a?host=/tmp&sslmode=verify-full",
            "postgres://db.acme/a?sslmode=verify-full&sslmode=disable",
            "postgres://db.acme/a#b",
            &format!("postgres://db.acme/{}", "a".repeat(64)),
        ] {
            assert!(parse(url).is_err(), "{url}: {:?}", parse(url));
        }
    }
}
