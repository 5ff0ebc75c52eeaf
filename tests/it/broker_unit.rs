//! `examples/hallpass.service`: systemd reads it, and the broker starts as it says.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory as _;
use hallpass::cli::Cli;

use crate::init::{done, free_ports, hallpass, served};

const UNIT: &str = "hallpass.service";

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(UNIT);
    fs::read_to_string(path).expect("the unit")
}

/// Every value of one key.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| *name == key).map(|(_, value)| value).collect()
}

#[test]
fn systemd_finds_nothing_wrong_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(UNIT);
    fs::write(&file, unit().replace("/usr/local/bin/hallpass", env!("CARGO_BIN_EXE_hallpass")))
        .expect("a copy");
    let verify = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output();
    let Ok(verified) = verify else {
        eprintln!("systemd-analyze is not here, so nothing was verified");
        return;
    };
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
}

/// With the unit's environment, its folders elsewhere, and what its comments have root make.
#[test]
fn the_broker_starts_with_the_files_that_the_unit_names() {
    let (unit, folder) = (unit(), tempfile::tempdir().expect("a folder"));
    let folder = folder.path();
    let [public, admin] = free_ports();
    let url = format!("http://127.0.0.1:{public}");
    let make = unit.lines().find_map(|line| line.strip_prefix("#   hallpass init ")).expect("a first step");
    let words: Vec<&str> = ["hallpass", "init"].into_iter().chain(make.split(' ')).collect();
    Cli::command().try_get_matches_from(&words).expect("a command");
    let etc = folder.to_str().expect("text");
    let own = make.replace("/etc/hallpass", etc).replace("https://hallpass.acme.internal", &url);
    done(hallpass(folder, &["init"].into_iter().chain(own.split(' ')).collect::<Vec<_>>()));

    let (credential, source) =
        values(&unit, "LoadCredential")[0].split_once(':').expect("a credential and its file");
    assert!(unit.contains(&format!("openssl rand -hex 32 > {source}")));
    let (credentials, state) = (folder.join("credentials"), folder.join("state"));
    for made in [&credentials, &state.join(values(&unit, "StateDirectory")[0])] {
        fs::create_dir_all(made).expect("a folder");
    }
    fs::write(credentials.join(credential), "ab".repeat(32)).expect("a key");

    let start = values(&unit, "ExecStart")[0].replace("/etc/hallpass", etc);
    let (program, arguments) = start.split_once(' ').expect("arguments");
    assert_eq!(program, "/usr/local/bin/hallpass");
    let mut serve = hallpass(folder, &arguments.split(' ').collect::<Vec<_>>());
    for variable in values(&unit, "Environment") {
        let (name, value) = variable.split_once('=').expect("a value");
        let value = value.replace("%S", state.to_str().expect("text"));
        serve.env(name, value.replace("%d", credentials.to_str().expect("text")));
    }
    serve.env("HALLPASS_ADMIN__LISTEN", format!("127.0.0.1:{admin}"));
    let _served = served(serve, &url);
    for file in ["hallpass.db", "operator.key"] {
        assert!(state.join("hallpass").join(file).exists(), "{file} is in the state directory");
    }
    assert!(!folder.join("data").exists(), "nothing is written beside the configuration");
}
