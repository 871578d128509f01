//! User-space instructions a request, counted by callgrind.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Proxy;
use crate::support::load;

/// Over how many connections the counted requests come, one at a time.
pub(crate) const CONNECTIONS: usize = 8;

/// Requests before the counting begins: pools fill, the session's first assertion is signed.
const WARM_UP: usize = 200;

/// A command that runs `program` under callgrind, counting nothing yet. What it counted is left in its directory,
/// a file for each thread.
pub(crate) fn valgrind(program: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet", "--instr-atstart=no", "--separate-threads=yes"])
        .arg("--callgrind-out-file=callgrind.out")
        .arg(program);
    command
}

/// The instructions a request of the thread that did most: the proxy's one worker. Timers and the store's thread
/// run by the clock and not by the request, so under a tool that slows everything down they are not counted.
pub(crate) async fn count(requests: usize, mut proxy: Proxy) -> f64 {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(proxy.target.connect().await.expect("the proxy accepts"));
    }
    load::ask_times(&mut connections, &proxy.target, WARM_UP).await;
    control(&proxy, &["--instr=on"]);
    load::ask_times(&mut connections, &proxy.target, requests).await;
    control(&proxy, &["--instr=off"]);
    control(&proxy, &["--dump"]);
    let child = proxy.children.last_mut().expect("a proxy");
    let _ = child.kill();
    let _ = child.wait();
    let files = std::fs::read_dir(&proxy.directory).expect("its directory").filter_map(Result::ok);
    let dumps = files.filter(|file| file.file_name().to_string_lossy().starts_with("callgrind.out"));
    let most = dumps.filter_map(|file| executed(&file.path())).max().expect("callgrind left its counts");
    most as f64 / requests as f64
}

fn control(proxy: &Proxy, arguments: &[&str]) {
    let status = Command::new("callgrind_control")
        .args(arguments)
        .arg(proxy.children.last().expect("a proxy").id().to_string())
        .current_dir(&proxy.directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("callgrind_control, which comes with valgrind");
    assert!(status.success(), "callgrind_control failed: {status}");
}

/// The sum that a dump ends with.
fn executed(dump: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(dump).ok()?;
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals: "))?;
    line.trim().parse().ok()
}
