//! Reads the data of a process in /proc.

use std::time::Duration;

use anyhow::{Context, Result};

/// The resident memory in bytes.
pub(super) fn resident_memory(pid: u32) -> Result<u64> {
    memory(pid, "VmRSS:")
}

/// The peak of the resident memory, in bytes.
pub(super) fn peak_memory(pid: u32) -> Result<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, field: &str) -> Result<u64> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let line = line.with_context(|| format!("no {field} the process has ended"))?;
    let kibibytes: u64 =
        line.trim().trim_end_matches("kB").trim_end().parse().with_context(|| format!("{field} is not a number"))?;
    Ok(kibibytes * 1024)
}

/// The processor time in user and kernel mode.
pub(super) fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = read(pid, "stat")?;
    // The program's name comes first, in parentheses, and may hold spaces; utime and stime are the 12th and 13th fields after it.
    let fields = stat.rsplit_once(") ").context("no name in /proc/PID/stat")?.1;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has the process ended?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let id = std::process::id();
        assert!(resident_memory(id).unwrap() > 500_000);
        assert!(peak_memory(id).unwrap() > 500_000);
        let start = cpu_time(id).unwrap();
        while cpu_time(id).unwrap() == start {
            std::hint::black_box(0);
        }
    }
}
