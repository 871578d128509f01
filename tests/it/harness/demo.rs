//! One running demo.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// How long the program may take to listen. Generous: tests share two cores.
const START_MAX: Duration = Duration::from_secs(30);

/// A running `zonegate demo`, killed when dropped.
pub(crate) struct Demo {
    child: Child,
    folder: PathBuf,
    announced: Announcement,
    ahead: AtomicU64,
    last_step: Mutex<HashMap<String, u64>>,
}

#[derive(Deserialize)]
struct Announcement {
    zones: Vec<Zone>,
    universal: String,
    ca_file: PathBuf,
    admin: String,
    users: Vec<SampleUser>,
}

#[derive(Deserialize)]
struct Zone {
    host: String,
}

/// A user as the demo announces them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SampleUser {
    pub(crate) username: String,
    pub(crate) password: Option<String>,
    pub(crate) zone: String,
    pub(crate) totp_secret: Option<String>,
}

impl Demo {
    /// Starts with the data in `folder`, which the caller keeps.
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[]).await
    }

    /// Starts with these environment variables beside the inherited ones.
    pub(crate) async fn start_with(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let log = File::options().create(true).append(true).open(folder.join("stderr")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zonegate"));
        command.args(["demo", "--json", "--port", "0", "--data"]).arg(folder.join("data"));
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let text = tokio::time::timeout(START_MAX, async {
            let mut text = String::new();
            while let Some(line) = out.next_line().await.unwrap() {
                text.push_str(&line);
                if let Ok(announced) = serde_json::from_str(&text) {
                    return Ok(announced);
                }
            }
            Err(text)
        });
        match text.await.expect("the demo listens in time") {
            Ok(announced) => {
                let (folder, ahead, last_step) = (folder.into(), AtomicU64::new(0), Mutex::default());
                Self { child, folder, announced, ahead, last_step }
            }
            Err(text) => {
                let log = std::fs::read_to_string(folder.join("stderr")).unwrap();
                panic!("the demo ended before it listened; it said {text:?}\n{log}")
            }
        }
    }

    /// The sample user of this name.
    pub(crate) fn user(&self, username: &str) -> &SampleUser {
        self.announced.users.iter().find(|user| user.username == username).unwrap()
    }

    /// The universal log-in address.
    pub(crate) fn universal(&self) -> &str {
        &self.announced.universal
    }

    /// The admin listener's address.
    pub(crate) fn admin(&self) -> &str {
        &self.announced.admin
    }

    /// The authority that certifies the hosts.
    pub(crate) fn ca(&self) -> Vec<u8> {
        std::fs::read(&self.announced.ca_file).unwrap()
    }

    /// Every host of it.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let universal = self.announced.universal.trim_start_matches("https://");
        let universal = universal.split([':', '/']).next().unwrap().to_owned();
        self.announced.zones.iter().map(|zone| zone.host.clone()).chain([universal]).collect()
    }

    /// Seconds since 1970, as the gateway sees them.
    pub(crate) fn now(&self) -> u64 {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        real + self.ahead.load(Ordering::Relaxed)
    }

    /// Moves the gateway's clock forward.
    pub(crate) async fn advance(&self, seconds: u64) {
        let ahead = self.ahead.fetch_add(seconds, Ordering::Relaxed) + seconds;
        let url = format!("{}test/clock", self.admin());
        let body = serde_json::json!({ "ahead_seconds": ahead });
        let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// A code that is accepted now: each step is accepted once, so the clock moves on when none is left.
    pub(crate) async fn fresh_code(&self, user: &SampleUser, period: u64) -> String {
        let mut used = self.last_step.lock().await;
        let last = used.get(&user.username).copied().unwrap_or_default();
        if last > self.now() / period {
            self.advance(period).await;
        }
        let step = (self.now() / period).max(last + 1);
        used.insert(user.username.clone(), step);
        code_of(user, step)
    }

    /// Runs another command of the program on this demo's data, as an operator would; gives what it said.
    pub(crate) async fn command(&self, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zonegate"));
        command.args(arguments).arg("--config").arg(self.folder.join("data/zonegate.yaml"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}\n{said}", output.status);
        said
    }

    /// Ends it as Ctrl-C does and waits for the end.
    pub(crate) async fn stop(mut self) {
        self.signal("INT").await;
        let status = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        assert!(status.expect("Ctrl-C ends it").unwrap().success());
    }

    /// Ends it as a power cut would: no handler runs.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// The process id, for a killer that works while others still use the demo.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    async fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().await.unwrap();
        assert!(status.success());
    }
}

fn code_of(user: &SampleUser, step: u64) -> String {
    super::code(user.totp_secret.as_ref().unwrap(), step)
}
