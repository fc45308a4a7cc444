//! What the kernel says about processes.

use std::fs;

use anyhow::{Context as _, Result};

/// The unit of processor time in `/proc`: `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that runs this.
const TICKS_PER_SECOND: f64 = 100.0;

/// One reading of a process in `/proc`.
struct Reading {
    parent: u32,
    /// User and system time, with that of children which have ended and were waited for.
    ticks: u64,
}

/// Seconds that a process and its children have spent so far; those of children that ended are in their parent's account.
pub(super) fn family_seconds(root: u32) -> f64 {
    let Ok(entries) = fs::read_dir("/proc") else {
        return 0.0;
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ticks: u64 = pids
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, reading(&stat)?))
        })
        .filter(|(pid, reading)| *pid == root || reading.parent == root)
        .map(|(_, reading)| reading.ticks)
        .sum();
    ticks as f64 / TICKS_PER_SECOND
}

/// Memory that the process has in RAM.
pub(super) fn resident_bytes(pid: u32) -> Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("the platform is gone")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS in /proc")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Field 4 and fields 14 to 17. The second field is the name in parentheses and may hold anything.
fn reading(stat: &str) -> Option<Reading> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Reading {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 5 3 20 0 1 0 5 0 0";
        let reading = reading(stat).unwrap();
        assert_eq!((reading.parent, reading.ticks), (1, 50));
        assert!(super::reading("nonsense").is_none());
    }
}
