//! The cores that forward media, and who else may take their time.

use super::host::Host;
use super::report::{Check, Finding};

/// Which cores get a shard, and whether one is left for all else.
pub(super) fn cores(host: &Host) -> Finding {
    let (chosen, spare) = (&host.plan.cores, &host.plan.spare);
    let read = format!("cores {chosen:?}, {}", host.plan.reason);
    if spare.is_empty() && chosen.len() > 1 {
        CORES.warning(
            format!("{read}; none is left for HTTP and handshakes"),
            format!("jackfield serve --cores {}", chosen.len() - 1),
        )
    } else {
        CORES.ok(read)
    }
}

/// Whether a cgroup stops this process for parts of the time.
pub(super) fn quota(host: &Host) -> Finding {
    let Some(quota) = &host.plan.quota else {
        return QUOTA.ok("no cpu.max limits this process");
    };
    let usable = host.plan.cores.len() + host.plan.spare.len();
    let (cores, file) = (quota.cores, quota.file.display());
    let read = format!("{file} allows the time of {cores} cores, the affinity mask has {usable}");
    if cores < usable as f64 {
        QUOTA.warning(read, format!("echo max > {file}"))
    } else {
        QUOTA.ok(read)
    }
}

/// Whether the host of a virtual machine gives it the time that it asks for.
pub(super) fn stolen_time(host: &Host) -> Finding {
    let stat = host.files.text("proc/stat");
    let Some(thousandths) = stat.as_deref().and_then(stolen_thousandths) else {
        return STOLEN_TIME.unknown("/proc/stat shows no steal");
    };
    let percent = thousandths as f64 / 10.0;
    let read = format!("{percent} % of the time since the boot was stolen");
    if thousandths > STOLEN_THOUSANDTHS_MAX {
        STOLEN_TIME.warning(
            read,
            "a virtual machine with cores of its own, or no virtual one",
        )
    } else {
        STOLEN_TIME.ok(read)
    }
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, then two
/// that are counted in user and nice already (proc(5)).
fn stolen_thousandths(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .filter_map(|time| time.parse().ok())
        .collect();
    let steal = *times.get(7)?;
    steal.saturating_mul(1000).checked_div(times.iter().sum())
}

const CORES: Check = Check {
    name: "cores",
    why: "a shard that shares its core waits for its turn",
};
const QUOTA: Check = Check {
    name: "cpu-quota",
    why: "a shard that used up its quota stands still until the next period",
};
const STOLEN_TIME: Check = Check {
    name: "stolen-time",
    why: "a shard does not run while its core runs another machine",
};
const STOLEN_THOUSANDTHS_MAX: u64 = 10;

#[cfg(test)]
mod tests {
    use super::super::host::Quota;
    use super::super::report::Verdict;
    use super::super::testing::bare;
    use super::*;

    #[test]
    fn no_core_for_all_else_is_a_warning_where_one_could_be_left() {
        let mut fake = bare();
        fake.host.plan.spare.clear();
        let finding = cores(&fake.host);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert_eq!(finding.fix.as_deref(), Some("jackfield serve --cores 1"));
        fake.host.plan.cores = vec![0];
        assert_eq!(cores(&fake.host).verdict, Verdict::Ok);
    }

    #[test]
    fn a_quota_below_the_mask_is_a_warning_that_names_its_file() {
        let mut fake = bare();
        let file = "/sys/fs/cgroup/a/cpu.max";
        for (cores, verdict) in [(2.5, Verdict::Warning), (3.0, Verdict::Ok)] {
            fake.host.plan.quota = Some(Quota {
                cores,
                file: file.into(),
            });
            assert_eq!(quota(&fake.host).verdict, verdict, "{cores}");
        }
        fake.host.plan.quota = Some(Quota {
            cores: 0.5,
            file: file.into(),
        });
        let fix = quota(&fake.host).fix;
        assert_eq!(fix.as_deref(), Some("echo max > /sys/fs/cgroup/a/cpu.max"));
    }

    #[test]
    fn time_that_the_host_takes_is_a_warning_from_one_percent_on() {
        let fake = bare();
        fake.write("proc/stat", "cpu  600 0 300 80 0 0 0 20 7 7\ncpu0 1 2 3\n");
        let finding = stolen_time(&fake.host);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(finding.read.starts_with("2 %"), "{}", finding.read);
        fake.write("proc/stat", "cpu  600 0 300 91 0 0 0 9 0 0\n");
        assert_eq!(stolen_time(&fake.host).verdict, Verdict::Ok);
    }

    #[test]
    fn a_stat_of_an_old_kernel_is_not_guessed_at() {
        let fake = bare();
        fake.write("proc/stat", "cpu  600 0 300 80\n");
        assert_eq!(stolen_time(&fake.host).verdict, Verdict::Unknown);
    }
}
