//! What is said of certificates that clients refuse, and of bundles that they cannot read.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use crate::support::command::{HALLPASS, Ran, bare, ran};
use crate::support::process::{Plan, Process};
use crate::support::tls::{Authority, Files, Pair};

fn own(change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    change(&mut params);
    Pair { certificate: params.self_signed(&key).unwrap(), key }
}

/// `hallpass ready` at the https address of `broker`, with these variables.
async fn ready(broker: &Process, variables: &[(&str, &str)]) -> Ran {
    let mut command = bare(HALLPASS);
    command.args(["ready", "--url", &broker.public.replace("http://", "https://")]);
    command.envs(variables.iter().copied());
    ran(command).await
}

#[tokio::test]
async fn a_certificate_that_is_no_servers_is_told_by_both_sides() {
    let of_ca = own(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let of_client = own(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    for (pair, words) in
        [(of_ca, "certificate authority (CA:TRUE)"), (of_client, "other uses than a server's")]
    {
        let files = Files::of(&pair);
        let broker = Process::with(Plan { more: files.section("server"), ..Plan::default() });
        let log = broker.log();
        assert!(log.contains("WARN") && log.contains(words), "{log}");
        let said = ready(&broker, &[("SSL_CERT_FILE", files.cert().to_str().unwrap())]).await;
        assert!(said.code == Some(1) && said.err.contains(words), "{said:?}");
        assert!(said.err.contains("CA:FALSE"), "what to write: {said:?}");
    }
}

#[tokio::test]
async fn each_bundle_that_cannot_be_read_is_named_where_nobody_is_trusted() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = Files::of(&authority.pair("127.0.0.1"));
    let broker = Process::with(Plan { more: files.section("server"), ..Plan::default() });
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file("good.pem", &authority.pem());
    let empty = file("empty.pem", "");
    let roots = folder.path().join("roots");
    fs::create_dir(&roots).unwrap();
    fs::write(roots.join("other.pem"), other.pem()).unwrap();
    let roots = roots.to_str().unwrap();
    let said = ready(&broker, &[("SSL_CERT_FILE", &good), ("SSL_CERT_DIR", roots)]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    for missing in ["/nonexistent/roots.pem", &empty] {
        let said = ready(&broker, &[("SSL_CERT_FILE", missing), ("SSL_CERT_DIR", roots)]).await;
        let named = format!("; SSL_CERT_FILE names {missing}, which cannot be used");
        assert!(said.code == Some(1) && said.err.contains(&named), "{said:?}");
    }
    let said = ready(&broker, &[("SSL_CERT_FILE", &empty), ("SSL_CERT_DIR", "/nonexistent")]).await;
    assert!(said.err.contains(&empty) && said.err.contains("SSL_CERT_DIR names /nonexistent"), "{said:?}");
}
