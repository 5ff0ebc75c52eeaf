//! Why Redis cannot be used, in words for operators. They hold no address, and of what a server said its code alone,
//! because a server may repeat the command that it refuses, and that can be the one with the password.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError};
use rustls::InvalidMessage;

use super::waits::late;

/// What whoever speaks plainly to a port of TLS, or the other way round, has to change.
pub(super) const WRITE_PLAIN: &str =
    "it does not speak TLS on this port: write redis:// in revocation.url, or name its TLS port";
const WRITE_TLS: &str = "if it speaks TLS on this port, write rediss:// in revocation.url";

/// Why a connection was not made, or a call over one had no answer `within` the time for it.
pub(super) fn why(err: &RedisError, within: Duration) -> String {
    if err.is_timeout() {
        return late(within);
    }
    match err.kind() {
        ErrorKind::AuthenticationFailed => refused_login(),
        ErrorKind::Io => of_connection(err),
        ErrorKind::Parse => format!("its answer is none of Redis's; {WRITE_TLS}"),
        // What a script may not do, in the words of Redis before and since 7.2.
        _ if err.detail().is_some_and(|detail| {
            detail.contains("executing the script can't run") || detail.contains("ACL failure in script")
        }) =>
        {
            refused("NOPERM")
        }
        _ => refused(err.code().unwrap_or_else(|| err.category())),
    }
}

fn refused_login() -> String {
    "it refused the user name or the password: correct revocation.username and revocation.password_file"
        .to_owned()
}

/// What a server means by the code of its refusal.
fn refused(code: &str) -> String {
    let meaning = match code {
        "WRONGPASS" => return refused_login(),
        "NOAUTH" => "it asks for a password: set revocation.password_file",
        "NOPERM" => "its user may not do what hallpass needs: give it the rules in docs/CONFIGURATION.md",
        "OOM" => "its memory is full",
        "READONLY" => {
            "it is a replica: name the primary in revocation.url, or let sentinels or a cluster name it \
             (redis+sentinel://, redis+cluster://)"
        }
        "LOADING" => "it still loads its data",
        "MISCONF" => "it cannot write to its disk",
        "NOREPLICAS" => "too few replicas follow it",
        "MOVED" => {
            "it is a node of a cluster without hallpass's keys: write redis+cluster:// in revocation.url"
        }
        "ASK" | "TRYAGAIN" => "the slot of hallpass's keys is being moved",
        "CLUSTERDOWN" => "the cluster has no primary for some slots",
        "DENIED" => "it answers its own machine alone (protected-mode)",
        "MASTERDOWN" => "it is a replica whose primary is away",
        _ => return format!("it refused with {code}"),
    };
    format!("{meaning} ({code})")
}

fn of_connection(err: &RedisError) -> String {
    // The library keeps what it got behind a shared pointer.
    let hidden = err.source().and_then(|cause| cause.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let Some(io) = hidden.and_then(|hidden| hidden.downcast_ref::<io::Error>()) else {
        return err.to_string();
    };
    if let Some(tls) = tls_error(io) {
        return of_tls(tls);
    }
    match io.kind() {
        io::ErrorKind::ConnectionRefused => format!("nobody listens on its port ({io})"),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => format!("it closed the connection; {WRITE_TLS}"),
        _ if io.to_string().contains("failed to lookup address") => {
            format!("its host in revocation.url is unknown ({io})")
        }
        _ => io.to_string(),
    }
}

fn of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => WRITE_PLAIN.to_owned(),
        rustls::Error::InvalidCertificate(refused) => format!(
            "its certificate is not believed ({refused:?}): name it in revocation.url as the certificate does, and \
             its CA in revocation.ca_file"
        ),
        rustls::Error::AlertReceived(alert) => format!(
            "it refused the TLS handshake ({alert:?}); a client certificate is revocation.client_cert_file"
        ),
        error => format!("TLS with it failed: {error}"),
    }
}

/// The error of TLS that hides within one of I/O.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let hidden = error.get_ref()?;
    hidden.downcast_ref().or_else(|| tls_error(hidden.downcast_ref()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_meaning_and_no_word_of_the_server() {
        for (code, meaning) in [
            ("WRONGPASS", "refused the user name or the password"),
            ("NOAUTH", "asks for a password"),
            ("NOPERM", "may not do what hallpass needs"),
            ("OOM", "memory is full"),
            ("READONLY", "a replica"),
            ("NEWCODE", "it refused with NEWCODE"),
        ] {
            assert!(refused(code).contains(meaning), "{code}: {}", refused(code));
        }
    }
}
