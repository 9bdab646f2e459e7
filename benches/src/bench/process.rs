//! What the kernel says of a process: CPU time of its threads, and memory.

use std::io;
use std::path::Path;

/// CPU times of a process, thread by thread.
#[derive(Clone, Debug, Default)]
pub struct CpuTimes {
    tasks: Vec<Task>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Task {
    id: u32,
    name: String,
    times: Times,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// All of it, nanoseconds.
    pub total_ns: u64,
    /// Clock ticks in user mode; coarse, so good for a ratio only.
    pub user_ticks: u64,
    /// Clock ticks in the kernel.
    pub system_ticks: u64,
}

impl Times {
    /// The part of the time that was spent in user mode.
    pub fn user_share(&self) -> f64 {
        super::number::ratio(self.user_ticks, self.user_ticks + self.system_ticks)
    }

    fn add(&mut self, other: Self) {
        self.total_ns += other.total_ns;
        self.user_ticks += other.user_ticks;
        self.system_ticks += other.system_ticks;
    }

    fn since(self, before: Self) -> Self {
        Self {
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            user_ticks: self.user_ticks.saturating_sub(before.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(before.system_ticks),
        }
    }
}

impl CpuTimes {
    /// Of a process as it is now.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn read(process: i32) -> io::Result<Self> {
        let mut tasks = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let path = entry?.path();
            // A thread may end meanwhile.
            if let Some(task) = read_task(&path) {
                tasks.push(task);
            }
        }
        Ok(Self { tasks })
    }

    /// What was used since `before`, by the threads whose names begin with `name`; threads that
    /// have ended meanwhile are left out.
    pub fn since(&self, before: &Self, name: &str) -> Times {
        let mut sum = Times::default();
        for task in self.tasks.iter().filter(|task| task.name.starts_with(name)) {
            let earlier = before.tasks.iter().find(|other| other.id == task.id);
            let earlier = earlier.map_or_else(Times::default, |other| other.times);
            sum.add(task.times.since(earlier));
        }
        sum
    }
}

fn read_task(path: &Path) -> Option<Task> {
    let id = path.file_name()?.to_str()?.parse().ok()?;
    let stat = std::fs::read_to_string(path.join("stat")).ok()?;
    let schedstat = std::fs::read_to_string(path.join("schedstat")).ok()?;
    let (name, user_ticks, system_ticks) = parse_stat(&stat)?;
    Some(Task {
        id,
        name,
        times: Times {
            total_ns: parse_schedstat(&schedstat)?,
            user_ticks,
            system_ticks,
        },
    })
}

/// `proc_pid_stat`(5): the name stands in parentheses and may hold any character; utime and stime
/// are fields 14 and 15.
fn parse_stat(text: &str) -> Option<(String, u64, u64)> {
    let (_, rest) = text.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user = fields.next()?.parse().ok()?;
    let system = fields.next()?.parse().ok()?;
    Some((name.to_owned(), user, system))
}

/// The first number is nanoseconds on a core (kernel: scheduler/sched-stats.rst).
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    /// Pages in memory.
    pub rss: u64,
    /// The same, with shared pages divided among those who share them.
    pub pss: u64,
}

impl Memory {
    /// Of a process as it is now.
    ///
    /// # Errors
    ///
    /// It has ended, or the kernel does not tell.
    pub fn read(process: i32) -> io::Result<Self> {
        let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        parse_smaps_rollup(&text).ok_or_else(|| io::Error::other("smaps_rollup lacks Rss or Pss"))
    }
}

fn parse_smaps_rollup(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Memory {
        rss: field("Rss:")?,
        pss: field("Pss:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text = "77 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 111 222 0 0 20 0 1 0 99";
        assert_eq!(parse_stat(text), Some(("a) b (c".to_owned(), 111, 222)));
    }

    #[test]
    fn the_first_number_of_schedstat_is_the_time_on_a_core() {
        assert_eq!(
            parse_schedstat("123456789012 55 66\n"),
            Some(123_456_789_012)
        );
    }

    #[test]
    fn memory_is_read_from_the_rollup() {
        let text = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:     12345 kB\nPss:    11000 kB\n\
                    Pss_Dirty: 7 kB\n";
        let memory = Memory {
            rss: 12_345,
            pss: 11_000,
        };
        assert_eq!(parse_smaps_rollup(text), Some(memory));
    }

    #[test]
    fn our_own_work_is_seen() {
        let process = i32::try_from(std::process::id()).unwrap();
        let before = CpuTimes::read(process).unwrap();
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 50 {
            std::hint::spin_loop();
        }
        let used = CpuTimes::read(process).unwrap().since(&before, "");
        assert!(used.total_ns > 5_000_000, "{used:?}");
        assert!(Memory::read(process).unwrap().rss > 100);
    }
}
