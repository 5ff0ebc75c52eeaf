//! A real redis-server as a child process: on a port of its own, in a folder of its own, gone on drop.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hallpass::revocation::settings::RedisUrl;
use tempfile::TempDir;

/// How to start it. All of these outlive a restart.
#[derive(Default)]
pub(crate) struct Options {
    /// Keep what was written, as of the last write.
    pub(crate) append_only: bool,
    /// Lines of an ACL file; without one, anybody may do anything.
    pub(crate) acl: Option<String>,
    /// Listen with TLS alone, with a certificate of [`RedisServer::ca_file`] for 127.0.0.1.
    pub(crate) tls: bool,
    /// With TLS: let nobody in without a certificate of [`RedisServer::client_files`]'s authority.
    pub(crate) asks_certificates: bool,
    /// A sentinel, which keeps no data.
    pub(crate) sentinel: bool,
    /// A node of a cluster.
    pub(crate) cluster: bool,
    /// Further lines of the configuration.
    pub(crate) config: String,
}

pub(crate) struct RedisServer {
    pub(crate) port: u16,
    tls: bool,
    sentinel: bool,
    folder: TempDir,
    child: Option<Child>,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::start_with(Options::default())
    }

    pub(crate) fn start_with(options: Options) -> Self {
        // Another test may take the port between its choice and its use.
        for _ in 0..100 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            // The nodes of a cluster speak to each other at a port that is 10,000 higher.
            if options.cluster && (port > 55_000 || TcpListener::bind(("127.0.0.1", port + 10_000)).is_err())
            {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            write_config(&folder, port, &options);
            let mut server = Self { port, tls: options.tls, sentinel: options.sentinel, folder, child: None };
            if server.spawn() {
                return server;
            }
        }
        panic!("redis-server found no free port");
    }

    /// Without a scheme's credentials.
    pub(crate) fn url(&self) -> RedisUrl {
        let scheme = if self.tls { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port).parse().unwrap()
    }

    /// The root that signed the server's certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A client certificate that its root signed, and the key.
    pub(crate) fn client_files(&self) -> [PathBuf; 2] {
        ["client.pem", "client.key"].map(|name| self.folder.path().join(name))
    }

    /// Ends it in good order.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().expect("running");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        child.wait().unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("running");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again on the same port, with what its folder holds.
    pub(crate) fn restart(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.spawn() {
            assert!(Instant::now() < deadline, "port {} was not free again", self.port);
        }
    }

    /// Loses every file of the append-only log and every snapshot. Only while it is down.
    pub(crate) fn lose_data(&self) {
        assert!(self.child.is_none());
        let _ = std::fs::remove_dir_all(self.folder.path().join("appendonlydir"));
        let _ = std::fs::remove_file(self.folder.path().join("dump.rdb"));
    }

    /// `kill -STOP`, until [`Self::go_on`].
    pub(crate) fn hang(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("running").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// A connection past every proxy.
    pub(crate) fn client(&self) -> redis::Connection {
        redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap().get_connection().unwrap()
    }

    /// One command, its answer as it is.
    pub(crate) fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.client()).unwrap()
    }

    pub(crate) fn try_command(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.client())
    }

    pub(crate) fn info(&self, section: &str) -> String {
        self.command(&["INFO", section])
    }

    /// False where the port was taken.
    fn spawn(&mut self) -> bool {
        let log = self.folder.path().join("log");
        let _ = std::fs::remove_file(&log);
        let mut command = Command::new("redis-server");
        command.arg(self.folder.path().join("redis.conf")).current_dir(self.folder.path());
        if self.sentinel {
            command.arg("--sentinel");
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|err| {
            panic!("cannot start redis-server ({err}); run scripts/test, which installs what is missing")
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if (text.contains("Ready to accept connections") || text.contains("Sentinel ID is"))
                && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            {
                self.child = Some(child);
                return true;
            }
            if child.try_wait().unwrap().is_some() {
                assert!(text.contains("Address already in use"), "redis-server ended: {text}");
                return false;
            }
            assert!(Instant::now() < deadline, "redis-server is not ready: {text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn write_config(folder: &TempDir, port: u16, options: &Options) {
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut config = format!("bind 127.0.0.1\ndir {}\nlogfile {}\n", file(""), file("log"));
    if !options.sentinel {
        config += "save \"\"\n";
    }
    if options.cluster {
        config += "cluster-enabled yes\ncluster-node-timeout 1000\ncluster-config-file nodes.conf\n";
    }
    if options.append_only {
        config += "appendonly yes\nappendfsync always\n";
    }
    if let Some(acl) = &options.acl {
        std::fs::write(file("users.acl"), acl).unwrap();
        config += &format!("aclfile {}\n", file("users.acl"));
    }
    if options.tls {
        write_certificates(folder);
        let asks = if options.asks_certificates { "yes" } else { "no" };
        config += &format!("port 0\ntls-port {port}\ntls-auth-clients {asks}\n");
        config += &format!("tls-cert-file {}\ntls-key-file {}\n", file("server.pem"), file("server.key"));
        config += &format!("tls-ca-cert-file {}\n", file("ca.pem"));
    } else {
        config += &format!("port {port}\n");
    }
    std::fs::write(file("redis.conf"), config + &options.config).unwrap();
}

fn write_certificates(folder: &TempDir) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "test root");
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let write = |name: &str, pem: String| std::fs::write(folder.path().join(name), pem).unwrap();
    write("ca.pem", ca_certificate.pem());
    for (file, name) in [("server", "127.0.0.1"), ("client", "a broker")] {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        write(&format!("{file}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{file}.key"), key.serialize_pem());
    }
}
