//! What the system says of this process. Read when monitoring asks, never on a request's path.

use std::time::Duration;

/// This process as the system sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Process {
    /// Memory that it holds.
    pub resident_bytes: u64,
    /// Files and sockets that it has open.
    pub open_files: u64,
    /// How many it may have open.
    pub open_files_max: u64,
    /// Its threads.
    pub threads: u64,
    /// Processor time that it took, in its own code and in the system.
    pub cpu: Duration,
}

/// What the system says now; `None` where it does not (`/proc` is not mounted, or this is no Linux).
#[cfg(target_os = "linux")]
pub fn process() -> Option<Process> {
    let process = procfs::process::Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let seconds =
        |ticks: u64| Duration::from_secs(ticks).checked_div(u32::try_from(procfs::ticks_per_second()).ok()?);
    let (soft, _) = rlimit::Resource::NOFILE.get().ok()?;
    Some(Process {
        resident_bytes: stat.rss.saturating_mul(procfs::page_size()),
        open_files: process.fd_count().ok()? as u64,
        open_files_max: soft,
        threads: u64::try_from(stat.num_threads).ok()?,
        cpu: seconds(stat.utime.saturating_add(stat.stime))?,
    })
}

/// What the system says now: nothing that is read here.
#[cfg(not(target_os = "linux"))]
pub fn process() -> Option<Process> {
    None
}

/// How nice a thread is that gives way: it gets a tenth of a core that another wants as well.
#[cfg(target_os = "linux")]
const GIVES_WAY: i32 = 10;

/// Lets the calling thread give way to others of this process from now on. Nobody can take that back, which would need a
/// privilege.
///
/// The error is the system's: some sandboxes forbid the call.
#[cfg(target_os = "linux")]
pub fn give_way() -> std::io::Result<()> {
    // On Linux every thread has its own, and "none" is the one that calls (setpriority(2)).
    let nice = rustix::process::getpriority_process(None)?;
    Ok(rustix::process::setpriority_process(None, nice.max(GIVES_WAY))?)
}

/// Elsewhere the system is not asked.
#[cfg(not(target_os = "linux"))]
pub const fn give_way() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn d4_a_thread_that_gives_way_is_nice_and_no_other_is() {
        use procfs::FromRead as _;
        let nice = || procfs::process::Stat::from_file("/proc/thread-self/stat").unwrap().nice;
        let before = nice();
        let given_way = std::thread::spawn(move || {
            give_way().unwrap();
            nice()
        });
        assert_eq!(given_way.join().unwrap(), before.max(GIVES_WAY.into()));
        assert_eq!(nice(), before, "the one that asked for it");
    }

    #[test]
    fn a_process_holds_memory_files_and_threads() {
        let process = process().unwrap();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!((3..=process.open_files_max).contains(&process.open_files), "{process:?}");
        assert!(process.threads >= 1, "{process:?}");
    }
}
