//! Which cores get a shard: what the operator wants, within the affinity mask and the cgroup v2
//! quota of this process.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use shared::limits::SHARDS_MAX;

use crate::config::{ConfigError, CoreChoice};

/// The cores that get a shard, and why these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreSelection {
    /// Numbers in the kernel, in ascending order; at least one.
    pub cores: Vec<usize>,
    /// Cores that this process may use and that get no shard.
    pub spare: Vec<usize>,
    /// A sentence for the log.
    pub reason: String,
}

/// What this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreAllowance {
    /// Cores in the affinity mask, in ascending order.
    pub cores: Vec<usize>,
    /// The cgroup's CPU quota, if there is one.
    pub quota: Option<CpuQuota>,
}

/// CPU time that a cgroup may use, as `cpu.max` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuQuota {
    /// The `cpu.max` that says it.
    pub file: PathBuf,
    /// Microseconds of CPU time in each period.
    pub quota_us: u64,
    /// Length of a period in microseconds.
    pub period_us: u64,
}

impl CpuQuota {
    /// How many cores can be kept busy all the time; at least one.
    fn whole_cores(&self) -> usize {
        let cores = self
            .quota_us
            .checked_div(self.period_us)
            .unwrap_or(u64::MAX);
        usize::try_from(cores).unwrap_or(usize::MAX).max(1)
    }

    /// Whether this allows less than `other`.
    fn is_below(&self, other: &Self) -> bool {
        u128::from(self.quota_us) * u128::from(other.period_us)
            < u128::from(other.quota_us) * u128::from(self.period_us)
    }
}

impl CoreAllowance {
    /// Asks the kernel, for the calling thread.
    pub fn of_this_process() -> Self {
        let mut cores: Vec<usize> = core_affinity::get_core_ids()
            .unwrap_or_default()
            .into_iter()
            .map(|c| c.id)
            .collect();
        cores.sort_unstable();
        Self {
            cores,
            quota: cgroup_quota(Path::new("/proc/self/cgroup"), CGROUP_ROOT.as_ref()),
        }
    }

    /// Chooses among them.
    ///
    /// # Errors
    /// What is wanted is not allowed to this process.
    pub fn select(&self, choice: &CoreChoice) -> Result<CoreSelection, ConfigError> {
        if self.cores.is_empty() {
            return Err(ConfigError::NoCores);
        }
        let cores = match choice {
            CoreChoice::AllButOne => self.last(self.available().saturating_sub(1).max(1)),
            CoreChoice::All => self.last(self.available()),
            CoreChoice::Count(count) => self.counted(*count)?,
            CoreChoice::List(list) => self.listed(list)?,
        };
        if cores.len() > SHARDS_MAX {
            return Err(ConfigError::TooManyShards { count: cores.len() });
        }
        let spare = self
            .cores
            .iter()
            .copied()
            .filter(|core| !cores.contains(core))
            .collect();
        let reason = self.reason(choice, &cores);
        Ok(CoreSelection {
            cores,
            spare,
            reason,
        })
    }

    /// How many cores the mask and the quota leave.
    fn available(&self) -> usize {
        let quota = self
            .quota
            .as_ref()
            .map_or(usize::MAX, CpuQuota::whole_cores);
        self.cores.len().min(quota)
    }

    /// The `count` last ones: the first core takes most interrupts of the machine.
    fn last(&self, count: usize) -> Vec<usize> {
        let skipped = self.cores.len().saturating_sub(count);
        self.cores.iter().copied().skip(skipped).collect()
    }

    fn counted(&self, count: usize) -> Result<Vec<usize>, ConfigError> {
        if count == 0 || count > self.cores.len() {
            return Err(ConfigError::CoreCount {
                wanted: count,
                allowed: self.cores.len(),
            });
        }
        Ok(self.last(count))
    }

    fn listed(&self, list: &[usize]) -> Result<Vec<usize>, ConfigError> {
        let mut cores = BTreeSet::new();
        for core in list {
            if !self.cores.contains(core) {
                let allowed = format!("{:?}", self.cores);
                return Err(ConfigError::CoreNotAllowed {
                    core: *core,
                    allowed,
                });
            }
            if !cores.insert(*core) {
                return Err(ConfigError::CoreTwice { core: *core });
            }
        }
        if cores.is_empty() {
            return Err(ConfigError::NoCores);
        }
        Ok(cores.into_iter().collect())
    }

    fn reason(&self, choice: &CoreChoice, chosen: &[usize]) -> String {
        let wish = match choice {
            CoreChoice::AllButOne => "all but one of the usable cores, at least one",
            CoreChoice::All => "all usable cores",
            CoreChoice::Count(_) => "as many as were asked for",
            CoreChoice::List(_) => "those that were listed",
        };
        let quota = match &self.quota {
            None => "no cgroup quota".to_owned(),
            Some(CpuQuota {
                quota_us,
                period_us,
                ..
            }) => format!("a cgroup quota of {quota_us} us in {period_us} us"),
        };
        let allowed = self.cores.len();
        let count = chosen.len();
        let (cores, are) = if allowed == 1 {
            ("core", "is")
        } else {
            ("cores", "are")
        };
        format!(
            "{count} of {allowed}: {wish} ({allowed} {cores} {are} in the affinity mask, {quota})"
        )
    }
}

/// The lowest quota on the way from this process's cgroup up to the root.
fn cgroup_quota(membership: &Path, root: &Path) -> Option<CpuQuota> {
    let text = std::fs::read_to_string(membership).ok()?;
    let mut group = root.to_path_buf();
    group.extend(
        cgroup_path(&text)?
            .components()
            .filter(|part| matches!(part, std::path::Component::Normal(_))),
    );
    let mut lowest: Option<CpuQuota> = None;
    for directory in group
        .ancestors()
        .take_while(|directory| directory.starts_with(root))
    {
        let file = directory.join("cpu.max");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Some((quota_us, period_us)) = parse_cpu_max(&text) {
            let quota = CpuQuota {
                file,
                quota_us,
                period_us,
            };
            if lowest.as_ref().is_none_or(|lowest| quota.is_below(lowest)) {
                lowest = Some(quota);
            }
        }
    }
    lowest
}

/// The cgroup v2 path in `/proc/self/cgroup`: the line that starts with `0::` (cgroups(7)).
fn cgroup_path(text: &str) -> Option<PathBuf> {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(PathBuf::from)
}

/// Quota and period of `cpu.max`: `max 100000` or `<quota> <period>`, microseconds (kernel:
/// cgroup-v2.rst).
fn parse_cpu_max(text: &str) -> Option<(u64, u64)> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota_us, period_us) = (quota.parse().ok()?, period.parse().ok()?);
    (period_us > 0).then_some((quota_us, period_us))
}

const CGROUP_ROOT: &str = "/sys/fs/cgroup";

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(cores: &[usize], quota: Option<(u64, u64)>) -> CoreAllowance {
        let quota = quota.map(|(quota_us, period_us)| CpuQuota {
            file: PathBuf::from("/sys/fs/cgroup/cpu.max"),
            quota_us,
            period_us,
        });
        CoreAllowance {
            cores: cores.to_vec(),
            quota,
        }
    }

    #[test]
    fn by_default_one_core_is_left_over() {
        let selection = allowance(&[0, 1, 4, 5], None)
            .select(&CoreChoice::AllButOne)
            .unwrap();
        assert_eq!(selection.cores, [1, 4, 5]);
        assert_eq!(selection.spare, [0]);
    }

    #[test]
    fn by_default_at_least_one_core_is_taken() {
        let selection = allowance(&[3], None)
            .select(&CoreChoice::AllButOne)
            .unwrap();
        assert_eq!((selection.cores, selection.spare), (vec![3], vec![]));
    }

    #[test]
    fn the_quota_counts_as_fewer_cores() {
        let allowance = allowance(&[0, 1, 2, 3, 4, 5, 6, 7], Some((350_000, 100_000)));
        let selection = allowance.select(&CoreChoice::AllButOne).unwrap();
        assert_eq!(selection.cores, [6, 7]);
        assert!(
            selection.reason.contains("350000 us in 100000 us"),
            "{}",
            selection.reason
        );
    }

    #[test]
    fn a_quota_below_one_core_still_allows_one() {
        let selection = allowance(&[0, 1], Some((50_000, 100_000))).select(&CoreChoice::All);
        assert_eq!(selection.unwrap().cores, [1]);
    }

    #[test]
    fn a_listed_core_outside_of_the_mask_is_refused() {
        let refused = allowance(&[0, 1], None).select(&CoreChoice::List(vec![1, 2]));
        let allowed = "[0, 1]".to_owned();
        assert_eq!(
            refused,
            Err(ConfigError::CoreNotAllowed { core: 2, allowed })
        );
    }

    #[test]
    fn a_core_listed_twice_is_refused() {
        let refused = allowance(&[0, 1], None).select(&CoreChoice::List(vec![1, 1]));
        assert_eq!(refused, Err(ConfigError::CoreTwice { core: 1 }));
    }

    #[test]
    fn more_cores_than_the_mask_has_are_refused() {
        let refused = allowance(&[0, 1], None).select(&CoreChoice::Count(3));
        assert_eq!(
            refused,
            Err(ConfigError::CoreCount {
                wanted: 3,
                allowed: 2
            })
        );
    }

    #[test]
    fn cpu_max_is_read_as_the_kernel_writes_it() {
        assert_eq!(parse_cpu_max("max 100000\n"), None);
        assert_eq!(parse_cpu_max("50000 100000\n"), Some((50_000, 100_000)));
        for text in ["", "50000", "x 100000", "50000 0"] {
            assert_eq!(parse_cpu_max(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_v2_path_is_found_among_v1_lines() {
        let text = "12:cpu,cpuacct:/old\n0::/user.slice/a b\n1:name=systemd:/x\n";
        assert_eq!(cgroup_path(text), Some(PathBuf::from("/user.slice/a b")));
        assert_eq!(cgroup_path("12:cpu:/old\n"), None);
    }

    #[test]
    fn the_lowest_quota_of_all_parents_counts() {
        let root = std::env::temp_dir().join(format!("cgroup-test-{}", std::process::id()));
        let leaf = root.join("a/b");
        std::fs::create_dir_all(&leaf).unwrap();
        std::fs::write(leaf.join("cpu.max"), "max 100000\n").unwrap();
        std::fs::write(root.join("a/cpu.max"), "200000 100000\n").unwrap();
        std::fs::write(root.join("cpu.max"), "400000 100000\n").unwrap();
        std::fs::write(root.join("membership"), "0::/a/b\n").unwrap();
        let quota = cgroup_quota(&root.join("membership"), &root);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            quota,
            Some(CpuQuota {
                file: root.join("a/cpu.max"),
                quota_us: 200_000,
                period_us: 100_000
            })
        );
    }
}
