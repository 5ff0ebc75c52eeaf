//! Where tokens, keys and what vouches for them may travel.

use url::{Host, Url};

/// Whether `url` is https, or http to this machine alone.
///
/// Of the names, `localhost` is this machine and no name below it: resolvers may ask the network for
/// `broker.localhost`, and whoever answers would be spoken to in the clear.
pub fn is_secure(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_anywhere_and_http_on_this_machine() {
        for (url, secure) in [
            ("https://a.test/x", true),
            ("https://10.0.0.1", true),
            ("HTTPS://A.test", true),
            ("http://localhost:8700/", true),
            ("http://LocalHost/", true),
            ("http://127.0.0.1:1/", true),
            ("http://127.9.9.9/", true),
            // Other spellings of 127.0.0.1, which the parser makes one.
            ("http://127.1/", true),
            ("http://0x7f000001/", true),
            ("http://2130706433/", true),
            ("http://[::1]/", true),
            ("http://[0:0:0:0:0:0:0:1]:8700/", true),
            ("http://a.test", false),
            ("http://broker.localhost/", false),
            ("http://localhost./", false),
            ("http://localhost.a.test/", false),
            ("http://127.0.0.1.a.test/", false),
            ("http://localhost@a.test/", false),
            ("http://a.test#localhost", false),
            ("http://0.0.0.0/", false),
            ("http://10.0.0.1/", false),
            ("http://169.254.169.254/", false),
            ("http://[::]/", false),
            ("http://[::ffff:127.0.0.1]/", false),
            ("ws://127.0.0.1/", false),
            ("ftp://localhost/", false),
            ("redis://127.0.0.1/", false),
            ("file:///etc/passwd", false),
            ("data:text/plain,https://a.test", false),
        ] {
            assert_eq!(is_secure(&Url::parse(url).unwrap()), secure, "{url}");
        }
    }
}
