//! Processor time, as the system counts it, and the settings of the benches.

use std::time::Duration;

use diarist::config::{Settings, Sources};

/// Processor time of this process up to now.
pub fn process_cpu() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Processor time of the calling thread up to now.
pub fn thread_cpu() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes during the call.
    let code = unsafe { libc::clock_gettime(id, &raw mut time) };
    assert_eq!(code, 0, "this system does not count processor time");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Processor time of the running process `id` up to now, in seconds; no number where the system does not tell.
pub fn process_cpu_of(id: u32) -> f64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return f64::NAN };
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    // SAFETY: asks for a constant of the system.
    ticks / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
}

/// Processor time of all ended child processes up to now.
pub fn children_cpu() -> Duration {
    // SAFETY: `rusage` consists of numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is valid for writes during the call.
    let code = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    assert_eq!(code, 0, "this system does not count its processes' time");
    let time = |value: libc::timeval| Duration::new(value.tv_sec as u64, value.tv_usec as u32 * 1_000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// A length of the benches, in minutes, from the environment.
pub fn minutes(name: &str, default: f64) -> f64 {
    let Ok(text) = std::env::var(name) else { return default };
    let value = text.parse().ok().filter(|minutes| (0.1..=6_000.0).contains(minutes));
    value.unwrap_or_else(|| panic!("{name} is `{text}`, expected are minutes, 0.1 to 6000"))
}

/// The program's settings from the environment, with these over them.
pub fn settings(flags: &[(&str, &str)]) -> Settings {
    let flags = flags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let environment =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let sources = Sources { environment: environment.collect(), flags, ..Sources::default() };
    Settings::load(&sources).unwrap_or_else(|error| panic!("{error}"))
}

/// The value in the middle, the greater of two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
