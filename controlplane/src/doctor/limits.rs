//! Limits of this process (getrlimit(2)).

use rustix::process::Rlimit;

use super::host::Host;
use super::report::{Check, Finding};

/// Memory that may be locked.
pub(super) fn locked_memory(host: &Host) -> Finding {
    let shards = host.plan.shards() as u64;
    let wanted = LOCKED_PER_SHARD * shards;
    let limit = host.probes.locked_memory;
    let read = format!(
        "RLIMIT_MEMLOCK is {}, the data plane wants {wanted} (shards: {shards})",
        shown(limit)
    );
    let fix = "prlimit --pid $$ --memlock=unlimited";
    match limit.current {
        Some(current) if current < LOCKED_PER_SHARD => LOCKED_MEMORY.problem(read, fix),
        Some(current) if current < wanted => LOCKED_MEMORY.warning(read, fix),
        Some(_) | None => LOCKED_MEMORY.ok(read),
    }
}

/// Descriptors that may be open in one process.
pub(super) fn open_files(host: &Host) -> Finding {
    let shards = host.plan.shards() as u64;
    let sockets = host.plan.sockets.len() as u64;
    let dataplane = FILES_OF_DATAPLANE + FILES_PER_SHARD * shards + FILES_PER_SOCKET * sockets;
    let wanted = dataplane.max(FILES_OF_CONTROLPLANE + HTTP_CONNECTIONS);
    let limit = host.probes.open_files;
    let read = format!(
        "RLIMIT_NOFILE is {}, the data plane wants {dataplane}, and the control plane {} with \
         {HTTP_CONNECTIONS} HTTP connections",
        shown(limit),
        FILES_OF_CONTROLPLANE + HTTP_CONNECTIONS,
    );
    let fix = if limit.maximum.is_none_or(|hard| hard >= wanted) {
        format!("ulimit -n {wanted}")
    } else {
        format!("prlimit --pid $$ --nofile={wanted}:{wanted}")
    };
    match limit.current {
        Some(current) if current < dataplane => OPEN_FILES.problem(read, fix),
        Some(current) if current < wanted => OPEN_FILES.warning(read, fix),
        Some(_) | None => OPEN_FILES.ok(read),
    }
}

fn shown(limit: Rlimit) -> String {
    let one = |value: Option<u64>| {
        value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string())
    };
    if limit.current == limit.maximum {
        one(limit.current)
    } else {
        format!("{} (hard {})", one(limit.current), one(limit.maximum))
    }
}

const LOCKED_MEMORY: Check = Check {
    name: "locked-memory",
    why: "glommio does not start an executor below 512 KiB",
};
const OPEN_FILES: Check = Check {
    name: "open-files",
    why: "sockets, rings and HTTP connections are descriptors",
};
/// What glommio 0.9.0 asks for before it makes its rings.
const LOCKED_PER_SHARD: u64 = 512 * 1024;
/// Signals, control socket, region, log and the like: 11 were counted, and some come and go.
const FILES_OF_DATAPLANE: u64 = 32;
/// Rings, their bells, and those between the planes: 10 were counted without a control plane.
const FILES_PER_SHARD: u64 = 16;
/// A media socket, and its duplicate to wait on.
const FILES_PER_SOCKET: u64 = 2;
/// Database, listener, runtime.
const FILES_OF_CONTROLPLANE: u64 = 64;
/// Clients that keep an HTTP connection open at the same time.
const HTTP_CONNECTIONS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::super::testing::{bare, limit};
    use super::*;

    #[test]
    fn less_locked_memory_than_one_executor_needs_is_a_problem() {
        let mut fake = bare();
        for (bytes, verdict) in [
            (64 << 10, Verdict::Problem),
            (512 << 10, Verdict::Warning),
            (1 << 20, Verdict::Ok),
        ] {
            fake.host.probes.locked_memory = limit(bytes);
            assert_eq!(locked_memory(&fake.host).verdict, verdict, "{bytes}");
        }
    }

    #[test]
    fn no_limit_is_enough() {
        let mut fake = bare();
        let none = Rlimit {
            current: None,
            maximum: None,
        };
        (fake.host.probes.open_files, fake.host.probes.locked_memory) = (none, none);
        assert_eq!(open_files(&fake.host).verdict, Verdict::Ok);
        assert_eq!(locked_memory(&fake.host).verdict, Verdict::Ok);
    }

    #[test]
    fn a_soft_limit_is_raised_by_the_shell_while_the_hard_one_allows_it() {
        let mut fake = bare();
        fake.host.probes.open_files = Rlimit {
            current: Some(1024),
            maximum: Some(524_288),
        };
        let finding = open_files(&fake.host);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert_eq!(finding.fix.as_deref(), Some("ulimit -n 10064"));
        assert!(
            finding.read.contains("1024 (hard 524288)"),
            "{}",
            finding.read
        );
    }

    #[test]
    fn a_hard_limit_is_raised_from_outside() {
        let mut fake = bare();
        fake.host.probes.open_files = limit(4096);
        let finding = open_files(&fake.host);
        assert_eq!(
            finding.fix.as_deref(),
            Some("prlimit --pid $$ --nofile=10064:10064")
        );
    }

    #[test]
    fn fewer_descriptors_than_the_shards_have_are_a_problem() {
        let mut fake = bare();
        fake.host.probes.open_files = limit(64);
        assert_eq!(open_files(&fake.host).verdict, Verdict::Problem);
    }
}
