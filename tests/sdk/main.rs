//! OpenAI's official clients against the built server: the real program, the real model, real recordings.
//!
//! What the clients must get lies beside this file, in `python/test_client.py` and `node/client.test.cjs`. Here
//! the servers are started and the scripts run. The clients themselves are installed under `.runtime/clients` by
//! `scripts/setup-clients.sh`, which `make test` calls, and this test too when they are missing.

#[path = "../support/command.rs"]
mod command;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Once, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const FIRST_KEY: &str = "sk-first-of-two-keys";
const SECOND_KEY: &str = "sk-second-of-two-keys";
/// Room for one sentence, not for more.
const SMALL_LIMIT: &str = "200000";
/// How long a server may take to load its model on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// What a server says when it listens, followed by its address.
const LISTENING: &str = "listening on http://";

#[test]
fn the_python_client_gets_right_answers() {
    run_python("openai-3");
}

/// Many programs still use a client of the first generation.
#[test]
fn the_first_python_client_gets_right_answers() {
    run_python("openai-1");
}

#[test]
fn the_node_client_gets_right_answers() {
    install_clients();
    let modules = clients().join("node/node_modules");
    if !modules.is_dir() {
        announce("SKIPPED: the tests of OpenAI's Node client, since there is no Node.js on this machine");
        return;
    }
    let mut node = Command::new("node");
    node.arg("--test").arg(root().join("tests/sdk/node/client.test.cjs")).env("NODE_PATH", modules);
    run(node);
}

fn run_python(client: &str) {
    install_clients();
    let mut python = Command::new(root().join(".runtime/venv/bin/python"));
    python
        .args(["-W", "ignore::DeprecationWarning"])
        .arg(root().join("tests/sdk/python/test_client.py"))
        .env("PYTHONPATH", clients().join(client))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    run(python);
}

/// Runs a client's script against servers of its own; they must have cleaned up after it.
fn run(mut script: Command) {
    let open = Server::start(&[]);
    let keyed = Server::start(&[("DIARIST_API_KEYS", &format!("{FIRST_KEY},{SECOND_KEY}"))]);
    let small = Server::start(&[("DIARIST_MAX_UPLOAD_BYTES", SMALL_LIMIT)]);
    let output = script
        .env("OPEN_URL", &open.url)
        .env("KEYED_URL", &keyed.url)
        .env("SMALL_URL", &small.url)
        .env("FIRST_KEY", FIRST_KEY)
        .env("SECOND_KEY", SECOND_KEY)
        .env("SMALL_LIMIT", SMALL_LIMIT)
        .env("FIXTURES", root().join("fixtures"))
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{script:?} cannot be run: {error}"));
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n\nThe server said at last:\n{}", open.last_words());
    print!("{said}");
    for server in [&open, &keyed, &small] {
        server.assert_left_nothing_behind();
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn clients() -> PathBuf {
    root().join(".runtime/clients")
}

fn install_clients() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let script = root().join("scripts/setup-clients.sh");
        let status = Command::new(&script).stdin(Stdio::null()).status();
        assert!(
            status.as_ref().is_ok_and(|status| status.success()),
            "{} failed ({status:?}); it needs the registries of Python and Node",
            script.display()
        );
    });
}

/// Prints past the test harness, which swallows what a passing test prints.
fn announce(message: &str) {
    let _ = writeln!(std::io::stderr(), "\n{message}\n");
}

/// A running `diarist serve`, ended when it goes out of scope.
struct Server {
    process: Child,
    url: String,
    log: Arc<Mutex<String>>,
    uploads: tempfile::TempDir,
}

impl Server {
    /// Starts the program on a free port and waits until it is ready.
    fn start(settings: &[(&str, &str)]) -> Self {
        let uploads = tempfile::tempdir().expect("a temporary folder");
        let mut command = command::diarist();
        command.arg("serve").current_dir(root());
        command
            .env("DIARIST_LISTEN", "127.0.0.1:0")
            .env("DIARIST_OFFLINE", "true")
            .env("DIARIST_TEMP_DIR", uploads.path())
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("the built program");
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, address) = mpsc::channel();
        read_lines(process.stdout.take().expect("piped"), &log, sender.clone());
        read_lines(process.stderr.take().expect("piped"), &log, sender);
        let mut server = Self { process, url: String::new(), log, uploads };
        match address.recv_timeout(READY_WITHIN) {
            Ok(address) => server.url = format!("http://{address}"),
            Err(_) => panic!("the server never said \"{LISTENING}…\":\n{}", server.log()),
        }
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let client = reqwest::blocking::Client::builder().no_proxy().build().expect("a client");
        let until = Instant::now() + READY_WITHIN;
        let health = format!("{}/health", self.url);
        while Instant::now() < until {
            let answer = client.get(&health).timeout(Duration::from_secs(5)).send();
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{health} never answered 200:\n{}", self.log());
    }

    fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The end of the log.
    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Uploads and intermediate audio must be gone, those of clients that gave up included.
    fn assert_left_nothing_behind(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            // The server's own folder stays until it ends.
            let folders = std::fs::read_dir(self.uploads.path()).expect("the temporary folder").flatten();
            let left: Vec<_> = folders
                .flat_map(|folder| std::fs::read_dir(folder.path()).expect("only folders").flatten())
                .map(|entry| entry.file_name())
                .collect();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "left in DIARIST_TEMP_DIR: {left:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Keeps what the server says and sends on the address it listens on.
fn read_lines(
    stream: impl std::io::Read + Send + 'static,
    log: &Arc<Mutex<String>>,
    address: mpsc::Sender<String>,
) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once(LISTENING) {
                let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c)).unwrap_or(rest.len());
                let _ = address.send(rest[..end].trim_end_matches('.').to_owned());
            }
            let _ = writeln!(log.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
        }
    });
}
