//! `jackfield doctor`: whether this host is fit for high packet rates, and what to change.
//!
//! A check is a function from what is known of the `Host` to one [`Finding`]. It reads nothing by
//! itself: files come from a tree that tests can make up, system calls have been tried before. The
//! checks are the list `CHECKS`; the order is that of the report.

mod clock;
mod cores;
mod cpu;
mod host;
mod kernel;
mod limits;
mod nic;
mod ports;
mod probes;
mod report;
mod system_calls;
#[cfg(test)]
mod testing;
mod udp;

pub use host::{Plan, Quota};
pub use report::{Finding, Report, Verdict};

use host::Host;

/// Examines this machine for a data plane that would run as `plan` says.
pub fn examine(plan: Plan) -> Report {
    let host = Host::of_this_machine(plan);
    Report::new(CHECKS.iter().map(|check| check(&host)).collect())
}

/// All checks.
const CHECKS: &[fn(&Host) -> Finding] = &[
    kernel::io_uring,
    kernel::seccomp,
    limits::locked_memory,
    limits::open_files,
    ports::media_ports,
    ports::connection_tracking,
    udp::buffers,
    udp::segmentation,
    udp::coalescing,
    udp::backlog,
    udp::option_memory,
    cores::cores,
    cores::quota,
    cores::stolen_time,
    cpu::governor,
    cpu::aes,
    cpu::huge_pages,
    clock::source,
    clock::synchronised,
    nic::queues,
    nic::interrupts,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_real_host_is_examined_without_a_check_that_says_nothing() {
        let report = examine(testing::plan());
        let names: BTreeSet<&str> = report.findings().iter().map(|found| found.check).collect();
        assert_eq!(
            names.len(),
            CHECKS.len(),
            "every check has a name of its own"
        );
        for finding in report.findings() {
            assert!(!finding.read.is_empty(), "{finding:?}");
            let bad = matches!(finding.verdict, Verdict::Warning | Verdict::Problem);
            assert_eq!(finding.fix.is_some(), bad, "{finding:?}");
        }
        let buffers = report
            .findings()
            .iter()
            .find(|found| found.check == "udp-buffers");
        assert_ne!(
            buffers.unwrap().verdict,
            Verdict::Unknown,
            "every Linux grants some"
        );
    }

    #[test]
    fn a_well_kept_host_passes_every_check() {
        let fake = testing::well_kept();
        for check in CHECKS {
            let finding = check(&fake.host);
            assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
        }
    }

    #[test]
    fn a_host_that_shows_nothing_has_no_check_that_fails_by_guessing() {
        let fake = testing::bare();
        for check in CHECKS {
            let finding = check(&fake.host);
            let bad = matches!(finding.verdict, Verdict::Warning | Verdict::Problem);
            assert!(!bad, "{finding:?}");
        }
    }
}
