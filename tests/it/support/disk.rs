//! A disk that can be filled, for any user: where it may not be mounted, the test runs again as root of a namespace.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set in the namespace.
const INSIDE: &str = "TEST_IN_A_MOUNT_NAMESPACE";

/// A small file system of memory.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// `None` where the test has run, and passed, in a namespace: the caller returns then.
    pub(crate) fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(at).output();
        let mounted = mounted.expect("mount, of util-linux");
        if mounted.status.success() {
            return Some(Self(at.to_owned()));
        }
        let why = String::from_utf8_lossy(&mounted.stderr).into_owned();
        assert!(std::env::var_os(INSIDE).is_none(), "no file system can be mounted in a namespace: {why}");
        run_again_inside(&why);
        None
    }

    /// To the last page, again too.
    pub(crate) fn fill(&self) {
        let mut filler = fs::File::options().append(true).create(true).open(self.0.join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A test's thread has the test's name.
fn run_again_inside(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().expect("the thread of a test");
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "--"]).arg(program).args([test, "--exact", "--nocapture"]);
    let done = command.env(INSIDE, "1").output().expect("unshare, of util-linux");
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{test} needs a file system of its own: {why}\nRun it as root, or let users have namespaces. In one: {said}"
    );
}
