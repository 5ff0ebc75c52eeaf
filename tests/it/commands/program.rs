//! The real program in a copy of the repository's layout, with a `hallpass serve` beside it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    /// Standard output of a command that succeeded.
    #[track_caller]
    pub(super) fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }

    /// Standard error of a command that ended with `code` and printed nothing.
    #[track_caller]
    pub(super) fn ended(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{self:#?}");
        self.err
    }

    #[track_caller]
    pub(super) fn json(self) -> Value {
        let out = self.done();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
}

/// A folder with `config/` in it, where the commands run.
pub(super) struct Place {
    folder: TempDir,
    /// What the broker's commands need where the default ports are taken.
    serve: Vec<(&'static str, String)>,
    /// What the clients' commands need there.
    ask: Vec<(&'static str, String)>,
    serving: Option<Serving>,
}

impl Place {
    /// On ports of its own.
    pub(super) fn new() -> Self {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ports = (free(), free());
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (public, admin) = (url(&ports.0), url(&ports.1));
        let address = |url: &str| url.trim_start_matches("http://").to_owned();
        let mut place = Self::on_default_ports();
        place.serve = vec![
            ("HALLPASS_SERVER__LISTEN", address(&public)),
            ("HALLPASS_SERVER__PUBLIC_URL", public.clone()),
            ("HALLPASS_ADMIN__LISTEN", address(&admin)),
        ];
        place.ask = vec![("HALLPASS_URL", public), ("HALLPASS_ADMIN_URL", admin)];
        place
    }

    /// As it comes out of the repository: no flag, no variable.
    pub(super) fn on_default_ports() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        fs::create_dir_all(folder.path().join("config/agents")).unwrap();
        fs::copy(config.join("hallpass.toml"), folder.path().join("config/hallpass.toml")).unwrap();
        for agent in fs::read_dir(config.join("agents")).unwrap() {
            let agent = agent.unwrap();
            fs::copy(agent.path(), folder.path().join("config/agents").join(agent.file_name())).unwrap();
        }
        Self { folder, serve: Vec::new(), ask: Vec::new(), serving: None }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn append(&self, name: &str, text: &str) {
        fs::OpenOptions::new()
            .append(true)
            .open(self.path(name))
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// What a client's variable holds.
    pub(super) fn asked(&self, name: &str) -> String {
        self.ask.iter().find(|(asked, _)| *asked == name).map(|(_, value)| value.clone()).unwrap()
    }

    pub(super) fn admin_url(&self) -> String {
        let own = self.ask.iter().find(|(name, _)| *name == "HALLPASS_ADMIN_URL");
        own.map_or_else(|| "http://127.0.0.1:8701".to_owned(), |(_, url)| url.clone())
    }

    /// The program with an environment of its own, in the folder.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        command.args(args).env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// A client of the broker.
    pub(super) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &[])
    }

    pub(super) fn run_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Ran {
        let asked = self.ask.iter().map(|(name, value)| (*name, value.as_str()));
        ran(self.command(args).envs(asked).envs(environment.iter().copied()))
    }

    /// A command that reads this machine's files and asks no broker.
    pub(super) fn local(&self, args: &[&str]) -> Ran {
        ran(&mut self.command(args))
    }

    /// A command that goes on.
    pub(super) fn follow(&self, args: &[&str]) -> Follower {
        let mut child = self.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Follower { _child: Serving(child), lines }
    }

    /// Runs until it is done; its words as they came.
    pub(super) fn words(&self, line: &str) -> Ran {
        self.run(&line.split(' ').collect::<Vec<_>>())
    }

    /// Starts `hallpass serve`; false when it ended instead of becoming ready.
    pub(super) fn try_serve(&mut self) -> bool {
        let log = fs::File::create(self.path("serve.log")).unwrap();
        let mut child = self.command(&["serve"]);
        let own = self.serve.iter().map(|(name, value)| (*name, value.as_str()));
        let mut child = Serving(child.envs(own).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if child.0.try_wait().unwrap().is_some() {
                return false;
            }
            if self.read("serve.log").contains("\"ready\"") {
                self.serving = Some(child);
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("not ready: {}", self.read("serve.log"));
    }

    pub(super) fn serve(&mut self) {
        assert!(self.try_serve(), "{}", self.read("serve.log"));
    }

    /// SIGTERM, and the end that it brings.
    pub(super) fn stop(&mut self) {
        let child = &mut self.serving.as_mut().expect("a serving broker").0;
        let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(told.success());
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = child.try_wait().unwrap() {
                assert_eq!(status.code(), Some(0), "{}", self.read("serve.log"));
                self.serving = None;
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end: {}", self.read("serve.log"));
    }

    /// Runs a command until it says `wanted`.
    #[track_caller]
    pub(super) fn until(&self, line: &str, wanted: &str) {
        let begun = Instant::now();
        loop {
            let ran = self.words(line);
            if ran.out.contains(wanted) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "`{line}` does not come to say {wanted}: {ran:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Makes a key by `hallpass keygen`, and registers a new agent by it as its owner would.
    pub(super) fn register(&self, agent: &str) {
        let key = format!("{agent}.key");
        let lines = self.local(&["keygen", "--out", &key]).done();
        let file = format!(
            "purpose = \"Tidies up at night.\"\nowner = \"team-night\"\n{lines}[[repository]]\n\
             name = \"handbook\"\nurl = \"https://github.com/acme/handbook\"\n\
             refs = [\"refs/heads/agent/night/*\"]\nfree = [\"read\", \"push\"]\ngated = [\"merge\"]\n"
        );
        self.write(&format!("config/agents/{agent}.toml"), &file);
    }
}

/// A command that goes on until its test ends.
pub(super) struct Follower {
    _child: Serving,
    lines: mpsc::Receiver<String>,
}

impl Follower {
    /// The next line that it prints.
    #[track_caller]
    pub(super) fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("another line")
    }
}

/// A command that ends with its test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
