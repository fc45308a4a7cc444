//! What the kernel says about processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The unit of processor time in `/proc`: `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that runs this.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time by process, in ticks.
pub(super) type Usage = BTreeMap<u32, u64>;

/// User and system time of each process that still lives.
pub(super) fn usage(pids: impl IntoIterator<Item = u32>) -> Usage {
    pids.into_iter()
        .filter_map(|pid| {
            Some((
                pid,
                ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
            ))
        })
        .collect()
}

/// Seconds spent between two readings; a process that is new has spent all of its time since.
pub(super) fn seconds(before: &Usage, after: &Usage) -> f64 {
    let spent: u64 = after
        .iter()
        .map(|(pid, ticks)| ticks - before.get(pid).copied().unwrap_or(0).min(*ticks))
        .sum();
    spent as f64 / TICKS_PER_SECOND
}

/// The backends that serve a database, told by their titles: `postgres: niche_app tenantry_bench 127.0.0.1(4711) idle`.
pub(super) fn backends(database: &str) -> Vec<u32> {
    let mark = format!(" {database} 127.0.0.1(");
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let title =
            fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
        title.starts_with(b"postgres: ") && String::from_utf8_lossy(&title).contains(&mark)
    })
    .collect()
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

/// Fields 14 and 15. The second field is the name in parentheses and may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 5 0 0";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn time_of_new_and_old_processes_is_summed() {
        let before = Usage::from([(1, 100), (2, 50)]);
        let after = Usage::from([(1, 160), (3, 40)]);
        assert!((seconds(&before, &after) - 1.0).abs() < 1e-9);
    }
}
