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

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_memory_files_and_threads() {
        let process = process().unwrap();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!((3..=process.open_files_max).contains(&process.open_files), "{process:?}");
        assert!(process.threads >= 1, "{process:?}");
    }
}
