//! A real PostgreSQL as a child process: in a folder of its own, with a unix socket and a loopback port, gone on drop and
//! when the test process ends in any other way. The unit tests of the library include this file too.
//!
//! PostgreSQL will not run as root: then it runs as the user `postgres`.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How to start it. All of these outlive a restart.
#[derive(Default)]
pub(crate) struct Options {
    /// The names of the server's certificate, of [`PostgresServer::ca_file`]; none for a server without TLS.
    pub(crate) tls: &'static [&'static str],
    /// With TLS: let nobody in by TCP without a certificate for [`PostgresServer::USER`] of the same authority.
    pub(crate) asks_certificates: bool,
    /// Do not wait for the disk at a commit.
    pub(crate) no_fsync: bool,
    /// Further lines of `postgresql.conf`.
    pub(crate) config: String,
}

pub(crate) struct PostgresServer {
    pub(crate) port: u16,
    folder: TempDir,
    child: Option<Child>,
    watcher: Child,
}

impl PostgresServer {
    /// The role that owns the databases of the tests; it signs in with [`Self::PASSWORD`] (SCRAM).
    pub(crate) const USER: &str = "hallpass";
    pub(crate) const PASSWORD: &str = "pg-canary-5ecret";

    /// One server for all tests of the process that neither stop nor change it.
    pub(crate) fn shared() -> &'static Self {
        static SERVER: OnceLock<PostgresServer> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    pub(crate) fn start() -> Self {
        Self::start_with(&Options::default())
    }

    pub(crate) fn start_with(options: &Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let watcher = watch(folder.path());
        let mut server = Self { port: 0, folder, child: None, watcher };
        server.init(options);
        // Another test may take the port between its choice and its use.
        for _ in 0..10 {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            server.port = listener.local_addr().expect("an address").port();
            drop(listener);
            server.write("data/port.conf", &format!("port = {}\n", server.port));
            if server.spawn() {
                server.sql(
                    "postgres",
                    &format!("create role {} login password '{}'", Self::USER, Self::PASSWORD),
                );
                return server;
            }
        }
        panic!("PostgreSQL found no free port");
    }

    /// A new empty database that [`Self::USER`] owns.
    pub(crate) fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name} owner {}", Self::USER));
        name
    }

    /// Without credentials.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://127.0.0.1:{}/{database}", self.port)
    }

    /// The same by the unix socket.
    pub(crate) fn socket_url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&port={}", self.folder().display(), self.port)
    }

    /// The folder of the unix socket.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The root that signed the server's certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// A client certificate for [`Self::USER`] that its root signed, and the key.
    pub(crate) fn client_files(&self) -> [PathBuf; 2] {
        ["client.pem", "client.key"].map(|name| self.folder().join(name))
    }

    /// What it logged since it last started.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// Runs statements as the superuser, each in a transaction of its own, and gives what psql prints: columns by `|`.
    pub(crate) fn sql(&self, database: &str, statements: &str) -> String {
        let mut psql = Command::new(binary("psql"));
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database]);
        psql.arg("-h").arg(self.folder()).args(["-p", &self.port.to_string()]);
        let mut child = psql
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql starts");
        child.stdin.take().expect("a pipe").write_all(statements.as_bytes()).expect("psql reads");
        let done = child.wait_with_output().expect("psql ends");
        assert!(done.status.success(), "{statements}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text").trim_end().to_owned()
    }

    /// Writes a dump of a database, as operators do.
    pub(crate) fn dump(&self, database: &str, file: &Path) {
        self.tool("pg_dump", &["--format=custom", "--dbname", database], &["--file".as_ref(), file.as_ref()]);
    }

    /// Puts a dump into a new database, and gives its name.
    pub(crate) fn restore(&self, file: &Path) -> String {
        let database = self.database();
        let role = ["--no-owner", "--role", Self::USER, "--dbname", &database];
        self.tool("pg_restore", &role, &[file.as_ref()]);
        database
    }

    fn tool(&self, name: &str, options: &[&str], files: &[&std::ffi::OsStr]) {
        let mut tool = Command::new(binary(name));
        tool.args(["-U", "postgres", "-p", &self.port.to_string(), "-h"]).arg(self.folder());
        let done = tool.args(options).args(files).output().expect("it starts");
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Ends it in good order, and every connection at once.
    pub(crate) fn stop(&mut self) {
        self.signal("-INT");
        self.child.take().expect("running").wait().expect("it ends");
    }

    /// `kill -9`: what is not on disk is lost, and the next start recovers.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("running");
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
    }

    /// Starts it again on the same port, with what its folder holds.
    pub(crate) fn restart(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.spawn() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start again: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Makes it a standby from its next start on: it answers, and takes no writes.
    pub(crate) fn make_standby(&self) {
        self.write("data/standby.signal", "");
    }

    /// Freezes it with all its connections, or lets them go on: a machine that hangs.
    pub(crate) fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let pid = self.child.as_ref().expect("running").id().to_string();
        // A child is frozen after its parent, so that none is missed.
        self.signal(signal);
        let _ = Command::new("pkill").args([signal, "-P", &pid]).status().expect("pkill starts");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("running").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill starts").success());
    }

    fn init(&self, options: &Options) {
        let data = self.folder().join("data");
        fs::create_dir(&data).expect("a folder");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("chmod");
        self.give(&data);
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]);
        let made = initdb.arg("--no-sync").output().expect("initdb starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let folder = self.folder().display();
        let fsync = if options.no_fsync { "off" } else { "on" };
        let mut config = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{folder}'\ninclude 'port.conf'\n\
             max_connections = 200\nshared_buffers = 16MB\nfsync = {fsync}\nautovacuum_naptime = 1h\n"
        );
        let tcp = if options.tls.is_empty() {
            "host"
        } else {
            self.write_certificates(options.tls);
            config += &format!(
                "ssl = on\nssl_cert_file = '{folder}/server.pem'\nssl_key_file = '{folder}/server.key'\n"
            );
            config += &format!("ssl_ca_file = '{folder}/ca.pem'\n");
            "hostssl"
        };
        let asks = if options.asks_certificates { " clientcert=verify-full" } else { "" };
        self.write("data/postgresql.conf", &(config + &options.config));
        self.write(
            "data/pg_hba.conf",
            &format!(
                "local all postgres trust\nlocal all all scram-sha-256\n{tcp} all all 127.0.0.1/32 scram-sha-256{asks}\n"
            ),
        );
    }

    /// False where it cannot start now: the port is taken, or processes of one that was killed are not gone yet.
    fn spawn(&mut self) -> bool {
        let log = fs::File::create(self.folder().join("log")).expect("a log");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.folder().join("data"));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        // A terminal's Ctrl-C is not for it: the watcher ends it.
        let mut child = command.process_group(0).spawn().expect("postgres starts");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let text = self.log();
            if text.contains("ready to accept") {
                self.child = Some(child);
                return true;
            }
            if child.try_wait().expect("a child").is_some() {
                let for_now = ["Address already in use", "already in use", "lock file", "shared memory"];
                assert!(for_now.iter().any(|sign| text.contains(sign)), "PostgreSQL ended: {text}");
                return false;
            }
            assert!(Instant::now() < deadline, "PostgreSQL is not ready: {text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// One of PostgreSQL's programs, as a user that is not root.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(binary(name));
        command.current_dir(self.folder()).env("LC_ALL", "C");
        if let Some((user, group)) = unprivileged(self.folder()) {
            command.uid(user).gid(group);
        }
        command
    }

    /// Makes `path` its user's.
    fn give(&self, path: &Path) {
        if let Some((user, group)) = unprivileged(self.folder()) {
            chown(self.folder(), Some(user), Some(group)).expect("chown");
            chown(path, Some(user), Some(group)).expect("chown");
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder().join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        self.give(&path);
    }

    fn write_certificates(&self, names: &[&str]) {
        let authority = rcgen::KeyPair::generate().expect("a key");
        let mut ca = rcgen::CertificateParams::default();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "test root");
        self.write("ca.pem", &ca.self_signed(&authority).expect("a certificate").pem());
        let issuer = rcgen::Issuer::new(ca, authority);
        for (file, names) in [("server", names), ("client", &[][..])] {
            let key = rcgen::KeyPair::generate().expect("a key");
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = rcgen::CertificateParams::new(names).expect("names");
            if file == "client" {
                params.distinguished_name = rcgen::DistinguishedName::new();
                params.distinguished_name.push(rcgen::DnType::CommonName, Self::USER);
            }
            self.write(
                &format!("{file}.pem"),
                &params.signed_by(&key, &issuer).expect("a certificate").pem(),
            );
            self.write(&format!("{file}.key"), &key.serialize_pem());
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().to_string();
            // A frozen child would be waited for.
            let _ = Command::new("pkill").args(["-CONT", "-P", &pid]).status();
            for signal in ["-CONT", "-QUIT"] {
                let _ = Command::new("kill").args([signal, &pid]).status();
            }
            let _ = child.wait();
        }
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// Ends the server of `folder` and removes the folder once this process is gone, however it ended.
fn watch(folder: &Path) -> Child {
    let script = "read -r _; pid=$(head -n 1 \"$0/data/postmaster.pid\" 2>/dev/null) && kill -CONT \"$pid\" && \
                  kill -QUIT \"$pid\" && while kill -0 \"$pid\"; do sleep 0.05; done; rm -rf \"$0\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.process_group(0).spawn().expect("sh starts")
}

/// The newest that is installed: on the path, or where Debian and Fedora keep it.
fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut versions: Vec<_> =
            versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).collect();
        versions.sort_unstable();
        let debian = versions.iter().rev().map(|version| format!("/usr/lib/postgresql/{version}/bin").into());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = debian.chain(std::env::split_paths(&path));
        folders.find(|folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists()).unwrap_or_else(
            || panic!("PostgreSQL is not installed; run scripts/test, which installs what is missing (apt install postgresql)"),
        )
    });
    folder.join(name)
}

/// The user and the group that PostgreSQL runs as where this process is root.
fn unprivileged(own: &Path) -> Option<(u32, u32)> {
    static POSTGRES: OnceLock<(u32, u32)> = OnceLock::new();
    static ROOT: OnceLock<bool> = OnceLock::new();
    let is_root = *ROOT.get_or_init(|| fs::metadata(own).expect("a folder").uid() == 0);
    is_root.then(|| {
        *POSTGRES.get_or_init(|| {
            let id = |option: &str| {
                let asked = Command::new("id").args([option, "postgres"]).output().expect("id starts");
                let text = String::from_utf8(asked.stdout).expect("text");
                text.trim().parse().expect("root needs a user `postgres` to run PostgreSQL as")
            };
            (id("-u"), id("-g"))
        })
    })
}
