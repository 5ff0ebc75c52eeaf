//! What `kind` sets, what is told of it, and issuers that share an address.

use super::*;
use crate::identity::settings::ProofAlgorithm::{Es256, Es384, Rs256};

fn issuer(more: &str) -> IssuerSettings {
    let (_dir, file) = folder(&format!("{OPERATOR}[[issuer]]\nname = 'it'\naudience = 'a'\n{more}"));
    Config::load(&file, []).unwrap_or_else(|told| panic!("{told:#?}")).issuers.remove(0)
}

#[test]
fn a_kind_sets_what_is_left_out_and_gives_way_to_what_is_written() {
    let cluster = "kind = 'kubernetes'\nurl = 'https://kubernetes.default.svc'";
    let azure = "kind = 'azure'\nurl = 'https://sts.windows.net/5d1b0a57/'";
    let other = "url = 'https://ci.test'";
    for (more, kind, url, algorithms, minutes) in [
        ("kind = 'github'", Platform::Github, "https://token.actions.githubusercontent.com", vec![Rs256], 15),
        ("kind = 'gitlab'", Platform::Gitlab, "https://gitlab.com", vec![Rs256], 60),
        ("kind = 'google'", Platform::Google, "https://accounts.google.com", vec![Rs256], 60),
        (cluster, Platform::Kubernetes, "https://kubernetes.default.svc", vec![Rs256, Es256, Es384], 60),
        (azure, Platform::Azure, "https://sts.windows.net/5d1b0a57/", vec![Rs256], 24 * 60),
        (other, Platform::Oidc, "https://ci.test", vec![Rs256, Es256], 15),
    ] {
        let issuer = issuer(more);
        assert_eq!((issuer.kind, issuer.url.as_str()), (kind, url));
        assert_eq!(issuer.algorithms, algorithms, "{kind}");
        assert_eq!(issuer.max_age.map(|age| age.as_secs()), Some(minutes * 60), "{kind}");
    }
    let issuer =
        issuer("kind = 'gitlab'\nurl = 'https://git.acme.test'\nalgorithms = ['ES256']\nmax_age = '5m'");
    assert_eq!((issuer.url.as_str(), issuer.algorithms), ("https://git.acme.test", vec![Es256]));
    assert_eq!(issuer.max_age.map(|age| age.as_secs()), Some(300));
}

#[test]
fn issuers_that_share_an_address_differ_in_audience() {
    let cluster = |name: &str, audience: &str| {
        format!(
            "[[issuer]]\nname = '{name}'\nkind = 'kubernetes'\nurl = 'https://k'\naudience = '{audience}'\n"
        )
    };
    let (_dir, file) = folder(&format!("{OPERATOR}{}{}", cluster("a", "to-a"), cluster("b", "to-b")));
    assert_eq!(Config::load(&file, []).unwrap().issuers.len(), 2);
    let (dir, file) = folder(&format!("{OPERATOR}{}{}", cluster("a", "to-a"), cluster("b", "to-a")));
    assert_eq!(
        lines(&dir, &Config::load(&file, []).unwrap_err()),
        ["hallpass.toml:11: issuer[1].url: is also the url on line 6, with the same audience; \
             configure each issuer once, or give each an audience of its own"]
    );
}

#[test]
fn a_platform_without_its_kind_and_a_weak_rule_are_warned_about_together() {
    let (dir, file) = folder(&format!(
        "{OPERATOR}[[issuer]]\nname = 'gh'\nurl = 'https://token.actions.githubusercontent.com/acme'\naudience = 'a'\n\
         [[issuer]]\nname = 'entra'\nurl = 'https://sts.windows.net/5d1b0a57/'\naudience = 'a'\n\
         [[issuer]]\nname = 'meant'\nkind = 'oidc'\nurl = 'https://gitlab.com'\naudience = 'a'\n\
         [[issuer]]\nname = 'cluster'\nkind = 'kubernetes'\nurl = 'https://k'\naudience = 'a'\n"
    ));
    let agent = "purpose = 'p'\nowner = 'o'\n[[identity]]\nissuer = 'cluster'\n\
                 claims = { sub = 'system:serviceaccount:agents:a' }\n\
                 [[repository]]\nname = 'r'\nurl = 'https://h/r'\nfree = ['read']\n";
    fs::write(dir.path().join("agents/a.toml"), agent).unwrap();
    let checked = check(&file, []).unwrap();
    let prefix = format!("{}/", dir.path().display());
    let told: Vec<String> =
        checked.warnings.iter().map(|warning| warning.to_string().replace(&prefix, "")).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    agents/a.toml:5: identity[0].claims.sub: warning: a service account made again under this name would match; add "kubernetes.io.serviceaccount.uid": `kubectl get serviceaccount a -n agents -o jsonpath={.metadata.uid}`
    hallpass.toml:5: issuer[0].url: warning: is a known platform's, whose claims are not checked without its kind; add kind = "github"
    hallpass.toml:9: issuer[1].url: warning: is a known platform's, whose claims are not checked without its kind; add kind = "azure"
    "#);
}

#[test]
fn what_ships_has_nothing_to_warn_about() {
    assert_eq!(check(&manifest("config/hallpass.toml"), []).unwrap().warnings, []);
    let (_dir, file) = production();
    assert_eq!(check(&file, []).unwrap().warnings, []);
}

#[test]
fn rules_are_not_judged_by_a_kind_that_could_not_be_read() {
    let (dir, file) = folder(&format!(
        "{OPERATOR}[[issuer]]\nname = 'cluster'\nkind = 'kubernets'\nurl = 'https://k'\naudience = 'a'\n"
    ));
    let agent = "purpose = 'p'\nowner = 'o'\n[[identity]]\nissuer = 'cluster'\n\
                 claims = { 'kubernetes.io.serviceaccount.uid' = '0d9f2c1e-6d0c-4c52-9b1e-0f5b8f1f7a11' }\n\
                 [[repository]]\nname = 'r'\nurl = 'https://h/r'\nfree = ['read']\n";
    fs::write(dir.path().join("agents/a.toml"), agent).unwrap();
    assert_eq!(
        lines(&dir, &check(&file, []).unwrap_err()),
        [
            "hallpass.toml:5: issuer[0].kind: \"kubernets\" is not one of oidc, github, gitlab, kubernetes, google, azure; \
             did you mean \"kubernetes\"?"
        ]
    );
    // Nor where the file is not TOML at all.
    fs::write(&file, format!("{OPERATOR}[[issuer]]\nname = \n")).unwrap();
    assert_eq!(check(&file, []).unwrap_err().len(), 1);
}
