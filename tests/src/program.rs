//! Running a program and judging what it printed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Where the workspace's programs were built: beside this test's own executable.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has an executable");
    let folder = test.ancestors().nth(2).expect("tests run out of target/PROFILE/deps");
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: run scripts/test, which builds it", path.display());
    path
}

/// A kubectl: `KUBECTL`, else the one on PATH.
pub fn kubectl() -> PathBuf {
    std::env::var_os("KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from)
}

/// The kubectl of one version, such as 1.30, or the newest. Another in its place would show nothing.
pub fn kubectl_of(version: &str) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let path = if version == "newest" {
        std::env::var_os("KUBECTL_NEWEST").map_or_else(|| tools.join("kubectl"), PathBuf::from)
    } else {
        // Distributions' packages put it beside the one on PATH.
        let name = format!("kubectl.{version}");
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let beside = std::env::split_paths(&folders)
            .filter_map(|folder| folder.join("kubectl").canonicalize().ok())
            .map(|installed| installed.with_file_name(&name))
            .find(|path| path.exists());
        beside.unwrap_or_else(|| tools.join(name))
    };
    assert!(path.exists(), "no kubectl {version} is installed: run scripts/install-dependencies test");
    path
}

/// One of each kind of client, the newest last. Bodies in protobuf, lists that are watched and streams over WebSockets
/// came between them.
pub fn each_kubectl() -> Vec<PathBuf> {
    ["1.27", "1.30", "1.33", "newest"].map(kubectl_of).into()
}

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
    what: String,
}

impl Said {
    /// Runs a program to its end.
    pub fn by(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        let output: Output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            what,
        }
    }

    /// What a program left behind on another machine.
    pub fn in_place(place: &str, what: &str, code: i32, out: String, err: String) -> Self {
        Self { code, out, err, what: format!("{place}: {what}") }
    }

    /// It ended with 0; what it printed.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "{}\nstdout: {}\nstderr: {}", self.what, self.out, self.err);
        &self.out
    }

    /// It failed and its error holds `words`.
    #[track_caller]
    pub fn fails(&self, words: &str) -> &str {
        assert_ne!(self.code, 0, "{} did not fail\nstdout: {}", self.what, self.out);
        assert!(self.err.contains(words), "{}\nwanted: {words}\nstderr: {}\nstdout: {}", self.what, self.err, self.out);
        &self.err
    }

    /// It ended with 0 and printed `words`.
    #[track_caller]
    pub fn shows(&self, words: &str) -> &str {
        let out = self.ok();
        assert!(out.contains(words), "{}\nwanted: {words}\nstdout: {out}", self.what);
        out
    }
}

/// A machine that has other work, too, is slower by this.
const BUSY: u64 = 3;

/// Asks again until the answer is yes; panics with `what` after the `seconds` that are plenty on a machine with nothing
/// else to do, times [`BUSY`].
#[track_caller]
pub fn eventually(what: &str, seconds: u64, mut check: impl FnMut() -> bool) {
    let seconds = seconds * BUSY;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !check() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
