//! What the kernel lets this process do.

use std::io;

use super::host::Host;
use super::report::{Check, Finding};

/// Whether an `io_uring` can be made.
pub(super) fn io_uring(host: &Host) -> Finding {
    let disabled = host.files.value::<u8>(IO_URING_DISABLED);
    let setting = match disabled {
        Some(value) => format!("kernel.io_uring_disabled = {value}"),
        None => "no kernel.io_uring_disabled".to_owned(),
    };
    let Err(error) = &host.probes.io_uring else {
        return IO_URING.ok(format!("io_uring_setup works, {setting}"));
    };
    let fix = if disabled.is_some_and(|value| value > 0) {
        "sysctl -w kernel.io_uring_disabled=0"
    } else if error.kind() == io::ErrorKind::Unsupported {
        "a kernel from 5.8 on with CONFIG_IO_URING=y"
    } else {
        ALLOW_IN_CONTAINER
    };
    IO_URING.problem(format!("io_uring_setup: {error}, {setting}"), fix)
}

/// Whether a filter of system calls is on, and whether it is in the way.
pub(super) fn seccomp(host: &Host) -> Finding {
    let Some(mode) = seccomp_mode(host) else {
        return SECCOMP.unknown("/proc/self/status shows no Seccomp");
    };
    let refused = |outcome: Option<&io::Error>| {
        outcome.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    if mode == 0 {
        SECCOMP.ok("Seccomp: 0, no filter")
    } else if refused(host.probes.io_uring.as_ref().err())
        || refused(host.probes.segmentation.as_ref().err())
    {
        SECCOMP.warning(
            format!("Seccomp: {mode}, and calls that are needed were refused"),
            ALLOW_IN_CONTAINER,
        )
    } else {
        SECCOMP.ok(format!(
            "Seccomp: {mode}, but all calls that were tried are allowed"
        ))
    }
}

fn seccomp_mode(host: &Host) -> Option<u8> {
    let status = host.files.text("proc/self/status")?;
    let mode = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"))?;
    mode.trim().parse().ok()
}

const IO_URING: Check = Check {
    name: "io-uring",
    why: "the executors of the data plane stand on it",
};
const SECCOMP: Check = Check {
    name: "seccomp",
    why: "container runtimes forbid io_uring by default",
};
const IO_URING_DISABLED: &str = "proc/sys/kernel/io_uring_disabled";
const ALLOW_IN_CONTAINER: &str = "docker run --security-opt seccomp=unconfined ...";

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::super::testing::{bare, forbidden, well_kept};
    use super::*;

    #[test]
    fn io_uring_that_sysctl_forbids_is_a_problem_that_sysctl_mends() {
        let mut fake = bare();
        fake.write(IO_URING_DISABLED, "2\n");
        fake.host.probes.io_uring = Err(forbidden());
        let finding = io_uring(&fake.host);
        assert_eq!(finding.verdict, Verdict::Problem);
        assert_eq!(
            finding.fix.as_deref(),
            Some("sysctl -w kernel.io_uring_disabled=0")
        );
    }

    #[test]
    fn io_uring_that_a_container_forbids_is_told_from_one_that_is_missing() {
        let mut fake = bare();
        fake.host.probes.io_uring = Err(forbidden());
        assert_eq!(
            io_uring(&fake.host).fix.as_deref(),
            Some(ALLOW_IN_CONTAINER)
        );
        fake.host.probes.io_uring = Err(io::Error::from_raw_os_error(libc::ENOSYS));
        let finding = io_uring(&fake.host);
        assert!(finding.fix.unwrap().contains("CONFIG_IO_URING"));
    }

    #[test]
    fn io_uring_that_works_is_well_whatever_sysctl_says() {
        let fake = bare();
        fake.write(IO_URING_DISABLED, "1\n");
        assert_eq!(io_uring(&fake.host).verdict, Verdict::Ok);
    }

    #[test]
    fn a_filter_is_no_matter_unless_it_refuses_what_is_needed() {
        let mut fake = well_kept();
        fake.write("proc/self/status", "Seccomp:\t2\n");
        assert_eq!(seccomp(&fake.host).verdict, Verdict::Ok);
        fake.host.probes.segmentation = Err(forbidden());
        assert_eq!(seccomp(&fake.host).verdict, Verdict::Warning);
    }
}
