//! The real program, as an agent's machine runs it.

use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::broker::TestApp;

pub(crate) const HALLPASS: &str = env!("CARGO_BIN_EXE_hallpass");

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// `hallpass` with an environment that holds the path and the broker's address alone.
pub(crate) fn hallpass(app: &TestApp, args: &[&str]) -> Command {
    let mut command = bare(HALLPASS);
    command.args(args).env("HALLPASS_URL", &app.public);
    command
}

/// The same with a good proof.
pub(crate) fn proven(app: &TestApp, args: &[&str]) -> Command {
    let mut command = hallpass(app, args);
    command.env("HALLPASS_IDENTITY_TOKEN", app.proof());
    command
}

pub(crate) fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

pub(crate) async fn ran(mut command: Command) -> Ran {
    command.output().await.expect("the program starts").into()
}

/// With this on its standard input.
pub(crate) async fn ran_with(mut command: Command, input: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).await.expect("it reads");
    child.wait_with_output().await.expect("it ends").into()
}
