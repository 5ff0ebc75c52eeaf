//! Law 7, for the files that hold a secret: whatever happened to one, no reader repeats any of it, in any encoding.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use crate::support::command::HALLPASS;
use crate::support::process::{Plan, Process};

/// So many bytes of a secret in a row are a leak.
const WINDOW: usize = 8;

/// What systems, editors and people do to a key on its way.
#[derive(Debug, Clone, Copy)]
enum Mishap {
    /// As a variable of a CI system or a form keeps it.
    JoinedBySpaces,
    Joined,
    /// As JSON has it.
    Escaped,
    Quoted,
    Windows,
    ByteOrderMark,
    Indented,
    CutShort,
    NoEnd,
    NoBegin,
    FewerDashes,
    OtherLabel,
    OddCharacter,
    NotText,
    Twice,
    Glued,
    InBase64,
    Upper,
}

const MISHAPS: [Mishap; 18] = [
    Mishap::JoinedBySpaces,
    Mishap::Joined,
    Mishap::Escaped,
    Mishap::Quoted,
    Mishap::Windows,
    Mishap::ByteOrderMark,
    Mishap::Indented,
    Mishap::CutShort,
    Mishap::NoEnd,
    Mishap::NoBegin,
    Mishap::FewerDashes,
    Mishap::OtherLabel,
    Mishap::OddCharacter,
    Mishap::NotText,
    Mishap::Twice,
    Mishap::Glued,
    Mishap::InBase64,
    Mishap::Upper,
];

impl Mishap {
    fn befall(self, key: Vec<u8>, at: usize) -> Vec<u8> {
        let at = at % key.len().max(1);
        let text = String::from_utf8_lossy(&key).into_owned();
        let changed = match self {
            Self::JoinedBySpaces => text.replace('\n', " "),
            Self::Joined => text.replace('\n', ""),
            Self::Escaped => text.replace('\n', "\\n"),
            Self::Quoted => format!("\"{text}\""),
            Self::Windows => text.replace('\n', "\r\n"),
            Self::ByteOrderMark => format!("\u{feff}{text}"),
            Self::Indented => text.lines().map(|line| format!("    {line}\n")).collect(),
            Self::CutShort => return key[..at].to_vec(),
            Self::NoEnd => {
                text.lines().filter(|line| !line.contains("END")).map(|l| format!("{l}\n")).collect()
            }
            Self::NoBegin => {
                text.lines().filter(|line| !line.contains("BEGIN")).map(|l| format!("{l}\n")).collect()
            }
            Self::FewerDashes => text.replacen("-----", "----", 1),
            Self::OtherLabel => text.replace("PRIVATE KEY", "CERTIFICATE"),
            Self::OddCharacter | Self::NotText => {
                let mut key = key;
                let odd = if matches!(self, Self::NotText) { 0xff } else { b'!' };
                if let Some(byte) = key.get_mut(at) {
                    *byte = odd;
                }
                return key;
            }
            Self::Twice => format!("{text}{text}"),
            Self::Glued => format!("{}{text}", text.trim_end()),
            Self::InBase64 => STANDARD.encode(&key),
            Self::Upper => text.to_uppercase(),
        };
        changed.into_bytes()
    }
}

/// The secret parts of a key: what it is written with, and what that stands for.
fn secrets(pem: &str) -> Vec<Vec<u8>> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(&body).unwrap_or_default();
    vec![body.to_uppercase().into_bytes(), STANDARD.encode(pem).into_bytes(), body.into_bytes(), der]
}

/// The first place of a secret that stands in `said`, in any of its encodings.
fn leak(said: &str, secrets: &[Vec<u8>]) -> Option<String> {
    // Whatever separates the numbers of a list.
    let numbers: String = said
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    secrets.iter().flat_map(|secret| secret.windows(WINDOW)).find_map(|window| {
        let text = std::str::from_utf8(window).ok().filter(|text| text.chars().all(|c| c.is_ascii_graphic()));
        let list = |each: fn(&u8) -> String| window.iter().map(each).collect::<Vec<_>>();
        let decimal = list(|byte| byte.to_string()).join(" ");
        let hex = list(|byte| format!("{byte:02x}"));
        let encoded = [STANDARD.encode(&window[..6]), URL_SAFE_NO_PAD.encode(&window[..6])];
        let found = text.is_some_and(|text| said.contains(text))
            || format!(" {numbers} ").contains(&format!(" {decimal} "))
            || said.to_lowercase().contains(&hex.concat())
            || numbers.to_lowercase().contains(&hex.join(" "))
            || encoded.iter().any(|text| said.contains(text));
        found.then(|| String::from_utf8_lossy(window).into_owned())
    })
}

#[test]
fn the_search_for_leaks_finds_each_encoding() {
    let secret = vec![b"hunter2-canary".to_vec()];
    let bytes = &secret[0][3..11];
    for said in [
        "the key «ter2-canary» is bad".to_owned(),
        format!("line: {bytes:?}"),
        format!("line: {bytes:02x?}"),
        format!("it is {}", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>()),
        format!("it is {}", STANDARD.encode(bytes)),
    ] {
        assert!(leak(&said, &secret).is_some(), "{said}");
    }
    assert_eq!(leak("is not PEM: a section has no end; chmod 600 it", &secret), None);
}

/// Every command that reads a secret, with `file` as that secret.
fn said_by_every_reader(broker: &Process, file: &Path) -> Vec<(String, Output)> {
    let path = file.to_str().unwrap();
    let run = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(HALLPASS);
        command
            .env_clear()
            .env("HALLPASS_URL", "http://127.0.0.1:9")
            .args(args)
            .envs(variables.iter().copied());
        (args.join(" "), command.output().unwrap())
    };
    let mut said = vec![
        run(&["token", "--agent", "a", "--key-file", path, "--timeout", "1s"], &[]),
        run(&["token", "--dpop-key", path, "--agent", "a", "--key-file", path, "--timeout", "1s"], &[]),
        run(&["token", "--svid-file", path, "--svid-key-file", path, "--timeout", "1s"], &[]),
        run(&["token", "--timeout", "1s"], &[("HALLPASS_IDENTITY_TOKEN_FILE", path)]),
        run(&["agents", "list", "--admin-url", "http://127.0.0.1:9", "--key-file", path], &[]),
    ];
    let base = fs::read_to_string(broker.file("hallpass.toml")).unwrap();
    let of_server = |lines: &str| base.replacen("[server]\n", &format!("[server]\n{lines}\n"), 1);
    let with = |lines: &str| format!("{base}\n{lines}\n");
    let issuer = "[[issuer]]\nname = \"web\"\nurl = \"https://web.test\"\naudience = \"x\"\n";
    let redis = base.replace(
        "url = \"memory:\"",
        &format!("url = \"rediss://127.0.0.1:9\"\npassword_file = '{path}'\nca_file = '{path}'"),
    );
    let configurations: Vec<(PathBuf, String)> = [
        of_server(&format!("tls = {{ cert_file = '{path}', key_file = '{path}' }}")),
        with(&format!("[token]\nalgorithm = \"RS256\"\nrsa_key_file = '{path}'")),
        base.replacen("[store]\n", &format!("[store]\nkey_encryption_key_file = '{path}'\n"), 1),
        base.replace("\"operator.key\"", &format!("'{path}'")),
        with(&format!("{issuer}ca_file = '{path}'\njwks_bearer_file = '{path}'")),
        with(&format!("{issuer}jwks_file = '{path}'")),
        with(&format!("[[trust_domain]]\nname = \"d.test\"\nbundle_file = '{path}'")),
        redis,
    ]
    .into_iter()
    .enumerate()
    .map(|(at, text)| (broker.file(&format!("variant-{at}.toml")), text))
    .collect();
    for (file, text) in configurations {
        fs::write(&file, text).unwrap();
        for command in ["check-config", "serve"] {
            // A key that came through unharmed starts a broker, which is no reader that failed.
            let mut child = Command::new("timeout");
            child.args(["0.5", HALLPASS, command, "--config"]).arg(&file).env_clear();
            said.push((format!("{command} {}", file.display()), child.output().unwrap()));
        }
    }
    let text = fs::read(file).unwrap();
    if let Ok(text) = String::from_utf8(text).map(|text| text.replace('\0', "")) {
        let file = broker.file("hallpass.toml");
        for variable in
            ["HALLPASS_STORE__KEY_ENCRYPTION_KEY", "HALLPASS_REVOCATION__PASSWORD", "HALLPASS_IDENTITY_TOKEN"]
        {
            let mut child = Command::new("timeout");
            child
                .args(["0.5", HALLPASS, "check-config", "--config"])
                .arg(&file)
                .env_clear()
                .env(variable, &text);
            said.push((variable.to_owned(), child.output().unwrap()));
        }
        said.push(run(&["token", "--timeout", "1s"], &[("HALLPASS_IDENTITY_TOKEN", &text)]));
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_reader_of_a_secret_repeats_any_of_it(
        mishaps in prop::collection::vec((0..MISHAPS.len(), any::<usize>()), 1..3),
        rsa in any::<bool>(),
    ) {
        let pem = if rsa {
            include_str!("../vectors/keys/rsa-2048.test-only.pem").to_owned()
        } else {
            rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem()
        };
        let broker = Process::prepare(Plan::default());
        let mangled = mishaps.iter().fold(pem.clone().into_bytes(), |key, (mishap, at)| MISHAPS[*mishap].befall(key, *at));
        let file = broker.file("secret");
        fs::write(&file, &mangled).unwrap();
        for (who, output) in said_by_every_reader(&broker, &file) {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let leaked = leak(&said, &secrets(&pem));
            prop_assert!(leaked.is_none(), "{who} after {mishaps:?} says {leaked:?}: {said}");
        }
    }
}

/// The mishap that once printed a key as decimal bytes.
#[test]
fn a_key_whose_line_breaks_were_lost_is_named_and_not_repeated() {
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let broker = Process::prepare(Plan::default());
    let file = broker.file("secret");
    fs::write(&file, pem.replace('\n', " ")).unwrap();
    for (who, output) in said_by_every_reader(&broker, &file) {
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(leak(&said, &secrets(&pem)), None, "{who}: {said}");
        if who.starts_with("token --agent") {
            assert!(said.contains("has lost its line breaks on line 1"), "{said}");
        }
    }
}
