use proptest::prelude::*;

use super::*;

fn question(text: &str) -> Question {
    Question::read(&mut text.as_bytes()).unwrap()
}

fn repository(protocol: &str, host: &str, path: &str) -> Option<String> {
    question(&format!("protocol={protocol}\nhost={host}\npath={path}\n"))
        .repository()
        .ok()
        .map(|l| l.to_string())
}

#[test]
fn a_repository_is_the_same_with_and_without_git_at_its_end() {
    let payments = Some("https://github.com/acme/payments".to_owned());
    for (host, path) in [
        ("github.com", "acme/payments"),
        ("github.com", "acme/payments.git"),
        ("github.com", "acme/payments/"),
        ("github.com", "acme/payments.git/"),
        ("GitHub.com", "acme/payments.git"),
        ("github.com:443", "acme/payments.git"),
    ] {
        assert_eq!(repository("https", host, path), payments, "{host} {path}");
    }
    for other in
        ["acme/payments.git.git", "acme/Payments", "acme/payments.gitx", "acme", "acme/payments/info/lfs"]
    {
        assert_ne!(repository("https", "github.com", other), payments, "{other}");
    }
    assert_eq!(
        repository("https", "a.test", ".git"),
        Some("https://a.test/.git".into()),
        "no name is left of it"
    );
}

#[test]
fn a_token_goes_nowhere_that_is_not_plainly_the_repository() {
    for (protocol, host, path) in [
        ("http", "github.com", "acme/payments"),
        ("http", "localhost.evil.example", "acme/payments"),
        ("ssh", "github.com", "acme/payments"),
        ("git", "github.com", "acme/payments"),
        ("", "github.com", "acme/payments"),
        ("https", "", "acme/payments"),
        ("https", "alice@github.com", "acme/payments"),
        ("https", "github.com/x", "acme/payments"),
        ("https", "github.com\\x", "acme/payments"),
        ("https", "github.com?x", "acme/payments"),
        ("https", "github.com#x", "acme/payments"),
        ("https", "github.com", ""),
        ("https", "github.com", "acme/../acme/payments"),
        ("https", "github.com", "./acme/payments"),
        ("https", "github.com", "acme//payments"),
        ("https", "github.com", "/acme/payments"),
        ("https", "github.com", "acme/payments?x=.git"),
        ("https", "github.com", "acme/payments#.git"),
        ("https", "github.com", "acme%2fpayments"),
        ("https", "github.com", "acme/%2e%2e/payments"),
        ("https", "github.com", "acme\\payments"),
        ("https", "github.com", "acme/payments\t"),
        ("https", "github.com", "acme/payments "),
        ("https", "github.com", " "),
    ] {
        assert_eq!(repository(protocol, host, path), None, "{protocol} {host} {path}");
    }
    assert_eq!(repository("http", "127.0.0.1:8080", "a/b.git"), Some("http://127.0.0.1:8080/a/b".into()));
}

#[test]
fn no_path_no_repository() {
    let asked = question("protocol=https\nhost=github.com\n");
    assert!(asked.origin().is_ok());
    assert_eq!(asked.repository(), Err(NoRepository::NoPath));
}

#[test]
fn capabilities_and_schemes_are_lists_that_an_empty_value_clears() {
    assert!(!question("protocol=https\n").knows_authtype);
    assert!(question("capability[]=state\ncapability[]=authtype\ncapability[]=x\n").knows_authtype);
    assert!(!question("capability[]=authtype\ncapability[]=\n").knows_authtype);
    assert!(!question("capability[]=authtypes\n").knows_authtype);
    assert!(!question("protocol=https\n\ncapability[]=authtype\n").knows_authtype, "an empty line ends it");
    assert!(question("wwwauth[]=Basic realm=\"GitHub\"\n").wants_password());
    assert!(!question("wwwauth[]=Basic realm=x\nwwwauth[]=bearer\n").wants_password());
    assert!(!question("wwwauth[]=Basic\nwwwauth[]=\n").wants_password());
    assert!(!question("").wants_password());
}

#[test]
fn what_is_not_the_protocol_is_said_to_be_so() {
    let huge = format!("path={}\n", "x".repeat(64 * 1024));
    for bad in [&b"nonsense"[..], b"a=b\nnonsense\n", b"\xff=\xff\n", huge.as_bytes()] {
        assert!(Question::read(&mut &*bad).is_err(), "{:?}", bad.get(..20));
    }
    assert_eq!(question(""), Question::default());
}

#[test]
fn the_answer_says_the_capability_first() {
    let token: SecretString = "a.b.c".into();
    let expires = Timestamp::from_seconds(1_795_000_600);
    let bearer = "capability[]=authtype\nauthtype=Bearer\ncredential=a.b.c\nephemeral=1\npassword_expiry_utc=1795000600\n";
    assert_eq!(*Answer::Bearer.lines(&token, expires), bearer);
    let basic = "username=x\npassword=a.b.c\npassword_expiry_utc=1795000600\n";
    assert_eq!(*Answer::Basic { username: "x" }.lines(&token, expires), basic);
}

proptest! {
    /// Whatever git says, what is read is the same place that a URL parser finds, or nothing.
    #[test]
    fn a_repository_is_where_its_text_says(host in "[a-zA-Z0-9.:@/-]{0,12}", path in "[a-z./%?#\\\\ é]{0,12}") {
        if let Ok(found) = question(&format!("protocol=https\nhost={host}\npath={path}\n")).repository() {
            let direct: url::Url = format!("https://{host}/{path}").parse().unwrap();
            prop_assert_eq!(found.origin().to_string(), direct.origin().ascii_serialization());
            let same = direct.path().trim_end_matches('/').trim_end_matches(".git").to_owned();
            let found: url::Url = found.as_str().parse().unwrap();
            prop_assert_eq!(found.path().trim_end_matches(".git"), same.as_str());
        }
    }
}
