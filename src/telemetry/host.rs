//! What the system says of this process.
//!
//! Read from `/proc` each time somebody asks; elsewhere than on Linux the process has no numbers.

/// What the process takes. Bytes, seconds, counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Memory in RAM, mapped files included.
    pub resident_bytes: u64,
    /// Memory in RAM that no file stands behind: what grows when something leaks.
    pub anonymous_bytes: u64,
    /// Address space.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Most of them allowed.
    pub max_fds: u64,
    /// Threads.
    pub threads: u64,
    /// Processor time used, by the program and by the system for it, in seconds.
    pub cpu_s: f64,
    /// When it was started, in seconds since 1970.
    pub started_s: f64,
}

/// This process; `None` when the system does not tell.
#[cfg(target_os = "linux")]
pub fn process() -> Option<Process> {
    use procfs::process::{LimitValue, Process as Proc};

    let me = Proc::myself().ok()?;
    let (stat, status) = (me.stat().ok()?, me.status().ok()?);
    let kib = |value: Option<u64>| value.unwrap_or(0) * 1024;
    let ticks = procfs::ticks_per_second().max(1) as f64;
    let max_fds = match me.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => limit,
        LimitValue::Unlimited => u64::MAX,
    };
    Some(Process {
        resident_bytes: kib(status.vmrss),
        anonymous_bytes: kib(status.rssanon),
        virtual_bytes: stat.vsize,
        open_fds: me.fd_count().ok()? as u64,
        max_fds,
        threads: status.threads,
        cpu_s: (stat.utime + stat.stime) as f64 / ticks,
        started_s: procfs::boot_time_secs().ok()? as f64 + stat.starttime as f64 / ticks,
    })
}

/// This process; nothing is known of it on this system.
#[cfg(not(target_os = "linux"))]
pub fn process() -> Option<Process> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_plausible_numbers() {
        let process = process().unwrap();
        assert!(
            process.anonymous_bytes > 0 && process.anonymous_bytes <= process.resident_bytes,
            "{process:?}"
        );
        assert!(process.open_fds >= 3 && process.open_fds <= process.max_fds, "{process:?}");
        assert!(process.threads >= 1 && process.cpu_s >= 0.0, "{process:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(process.started_s > 1.6e9 && process.started_s < now + 2.0, "{process:?}");
    }
}
