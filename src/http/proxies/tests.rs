use axum::http::{HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::protocol::{Announced, read};
use super::*;

fn proxies(forwarded: Forwarding) -> Proxies {
    let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| network.parse().unwrap()).to_vec();
    Proxies { trusted, forwarded, certificate: None }
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let lines = lines
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    lines.collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_right_most_address_that_is_no_trusted_proxy_is_the_caller() {
    for (lines, caller) in [
        (&["192.0.2.1"][..], "192.0.2.1"),
        (&["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
        (&["198.51.100.9", "192.0.2.1"], "192.0.2.1"),
        (&["198.51.100.9, 192.0.2.1, 10.2.3.4"], "192.0.2.1"),
        (&["192.0.2.1:4711, [2001:db8:1::1]:1"], "192.0.2.1"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        (&["2001:db8::5"], "2001:db8::5"),
        // All are trusted: the first one.
        (&["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
        // What is no address ends the walk.
        (&["192.0.2.1, unknown"], "10.0.0.1"),
        (&["192.0.2.1, unknown, 10.2.3.4"], "10.2.3.4"),
        (&[""], "10.0.0.1"),
        (&[], "10.0.0.1"),
    ] {
        let lines: Vec<_> = lines.iter().map(|value| ("x-forwarded-for", *value)).collect();
        let found = proxies(Forwarding::XForwardedFor).caller(ip("10.0.0.1"), &headers(&lines));
        assert_eq!(found, ip(caller), "{lines:?}");
    }
    for (line, caller) in [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=\"192.0.2.1:4711\";proto=https;by=10.0.0.1", "192.0.2.1"),
        ("for=198.51.100.9, for=\"[2001:db8::5]:4711\"", "2001:db8::5"),
        ("for=192.0.2.1;host=\"a\", for=10.1.1.1", "192.0.2.1"),
        ("for=\"unbalanced, for=192.0.2.1", "192.0.2.1"),
        ("for=192.0.2.1;for=192.0.2.2", "10.0.0.1"),
        ("for=unknown", "10.0.0.1"),
        ("for=_hidden", "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
        // A caller's words within quotes that a proxy wrote.
        ("for=192.0.2.1;host=\"x, for=203.0.113.7\"", "10.0.0.1"),
        ("for=192.0.2.1;host=\"x\\\", for=203.0.113.7;a=\\\"\"", "10.0.0.1"),
    ] {
        let found = proxies(Forwarding::Forwarded).caller(ip("10.0.0.1"), &headers(&[("forwarded", line)]));
        assert_eq!(found, ip(caller), "{line}");
    }
}

#[test]
fn the_header_that_is_not_configured_is_not_read() {
    let both = headers(&[("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.2")]);
    let caller = |forwarded| proxies(forwarded).caller(ip("10.0.0.1"), &both);
    assert_eq!(caller(Forwarding::XForwardedFor), ip("192.0.2.1"));
    assert_eq!(caller(Forwarding::Forwarded), ip("192.0.2.2"));
    assert_eq!(caller(Forwarding::ProxyProtocol), ip("10.0.0.1"));
}

/// What a caller may write: anything, with addresses and separators among it.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("10.0.0.7".to_owned()),
        Just("203.0.113.7".to_owned()),
        Just("for=203.0.113.7".to_owned()),
        Just("for=\"[2001:db8::9]:1\"".to_owned()),
        "[ -~]{0,12}",
    ];
    prop::collection::vec(word, 0..6).prop_map(|words| words.join(", "))
}

fn any_forwarding() -> impl Strategy<Value = Forwarding> {
    prop::sample::select(vec![Forwarding::XForwardedFor, Forwarding::Forwarded, Forwarding::ProxyProtocol])
}

proptest! {
    #[test]
    fn an_address_that_is_not_trusted_changes_nothing(
        peer in any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        forwarding in any_forwarding(),
        written in words(),
        also in words(),
    ) {
        let proxies = Proxies { certificate: Some(CertificateHeader::ClientCert), ..proxies(forwarding) };
        prop_assume!(!proxies.trusts(peer));
        let certificate = byte_sequence(&own("caller"));
        let headers = headers(&[
            ("x-forwarded-for", &written),
            ("forwarded", &also),
            ("client-cert", &certificate),
        ]);
        prop_assert_eq!(proxies.caller(peer, &headers), peer);
        prop_assert!(proxies.chain(peer, &headers).is_none());
        prop_assert!(!proxies.announces(peer));
    }

    #[test]
    fn whatever_the_caller_writes_the_proxy_has_the_last_word(written in words(), own_line in any::<bool>()) {
        for (forwarding, name, says) in [
            (Forwarding::XForwardedFor, "x-forwarded-for", "192.0.2.1"),
            (Forwarding::Forwarded, "forwarded", "for=192.0.2.1"),
        ] {
            let appended = format!("{written}, {says}");
            let lines = if own_line { vec![(name, written.as_str()), (name, says)] } else { vec![(name, appended.as_str())] };
            let found = proxies(forwarding).caller(ip("10.0.0.1"), &headers(&lines));
            prop_assert_eq!(found, ip("192.0.2.1"));
        }
    }

    #[test]
    fn the_proxy_protocol_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        for begun in [&b""[..], b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11"] {
            let all = [begun, &bytes].concat();
            if let Announced::Caller { length, .. } = read(&all) {
                prop_assert!(length <= all.len());
            }
        }
    }
}

#[test]
fn both_versions_of_the_proxy_protocol_are_read_to_their_last_byte() {
    let caller = |text: &str| Some(ip(text));
    let v2 = |command: u8, family: u8, addresses: &[u8]| {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, family], &length, addresses].concat()
    };
    let v6 = [ip("2001:db8::5"), ip("2001:db8::6")].map(|ip| match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(_) => unreachable!(),
    });
    let v6 = [&v6[0][..], &v6[1], &[0, 1, 0, 2]].concat();
    let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0, 1, 0, 2];
    let with_tlv = [&v4[..], &[4, 0, 1, 0]].concat();
    for (header, said) in [
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 8700\r\n".to_vec(), caller("192.0.2.1")),
        (b"PROXY TCP6 2001:db8::5 2001:db8::6 1 2\r\n".to_vec(), caller("2001:db8::5")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN 1 2 3 4\r\n".to_vec(), None),
        (v2(1, 0x11, &v4), caller("192.0.2.1")),
        (v2(1, 0x11, &with_tlv), caller("192.0.2.1")),
        (v2(1, 0x21, &v6), caller("2001:db8::5")),
        (v2(0, 0, &[]), None),
    ] {
        let followed = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read(&followed), Announced::Caller { length: header.len(), caller: said }, "{header:?}");
        for end in 0..header.len() {
            assert_eq!(read(&header[..end]), Announced::More, "{end} of {header:?}");
        }
    }
    for other in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PROXY TCP4 2001:db8::5 2001:db8::6 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 99999 1\r\n",
        b"PROXY TCP4 192.0.2.1\r\n",
        &v2(1, 0x11, &v4[..8]),
        &v2(2, 0x11, &v4),
        &v2(1, 0x31, &v4),
    ] {
        assert_eq!(read(other), Announced::Nothing, "{other:?}");
    }
    assert_eq!(read(&[&b"PROXY TCP4 "[..], &[b'1'; 200]].concat()), Announced::Nothing, "too long");
}

fn own(name: &str) -> rcgen::Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap()
}

fn byte_sequence(certificate: &rcgen::Certificate) -> String {
    format!(":{}:", STANDARD.encode(certificate.der()))
}

fn encoded(pem: &str) -> String {
    url::form_urlencoded::byte_serialize(pem.as_bytes()).collect::<String>().replace('+', "%20")
}

#[test]
fn a_certificate_is_read_in_each_form_and_a_doubtful_one_in_none() {
    let (leaf, root) = (own("leaf"), own("root"));
    let ders = vec![leaf.der().clone(), root.der().clone()];
    let read = |header, lines: &[(&'static str, &str)]| {
        let proxies = Proxies { certificate: Some(header), ..proxies(Forwarding::XForwardedFor) };
        proxies.chain(ip("10.0.0.1"), &headers(lines))
    };
    let (one, two) = (byte_sequence(&leaf), byte_sequence(&root));
    let rfc9440 = |lines: &[_]| read(CertificateHeader::ClientCert, lines);
    assert_eq!(rfc9440(&[("client-cert", &one), ("client-cert-chain", &two)]).unwrap(), ders);
    assert_eq!(rfc9440(&[("client-cert", &one)]).unwrap(), ders[..1]);
    assert_eq!(rfc9440(&[("client-cert", &one), ("client-cert", &one)]), None, "whose is which?");
    assert_eq!(rfc9440(&[("client-cert", one.trim_matches(':'))]), None);
    assert_eq!(rfc9440(&[("client-cert", ":AAAA:")]), None);
    assert_eq!(rfc9440(&[("client-cert", &one), ("client-cert-chain", "x")]), None);
    assert_eq!(rfc9440(&[("client-cert-chain", &two)]), None);

    let (pem, all) = (encoded(&leaf.pem()), encoded(&(leaf.pem() + &root.pem())));
    let envoy = |line: &str| read(CertificateHeader::Envoy, &[("x-forwarded-client-cert", line)]);
    let element =
        format!("By=spiffe://a/b;Hash=00;Cert=\"{pem}\";Subject=\"CN=\\\"a, b\\\"\";URI=spiffe://a/c");
    assert_eq!(envoy(&element).unwrap(), ders[..1]);
    assert_eq!(envoy(&format!("{element};Chain=\"{all}\"")).unwrap(), ders);
    assert_eq!(envoy(&format!("{element},{element}")), None, "several proxies");
    assert_eq!(envoy(&format!("{element};Cert=\"{pem}\"")), None);
    assert_eq!(envoy("Hash=00"), None);
    assert_eq!(envoy(&format!("Cert=\"{pem}\";Chain=\"{}\"", encoded(&root.pem()))), None);

    let other = |lines: &[_]| read(CertificateHeader::XSslClientCert, lines);
    let (der, chain) = (STANDARD.encode(leaf.der()), STANDARD.encode(root.der()));
    assert_eq!(other(&[("x-ssl-client-cert", &der), ("x-ssl-client-chain", &chain)]).unwrap(), ders);
    assert_eq!(other(&[("x-ssl-client-cert", &pem)]).unwrap(), ders[..1]);
    assert_eq!(other(&[("x-ssl-client-cert", "")]), None, "as HAProxy writes where there is none");
}
