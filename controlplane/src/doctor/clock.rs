//! The clock: what reading it costs, and whether it is right.

use super::host::Host;
use super::report::{Check, Finding};

/// Which hardware the kernel reads the time from.
pub(super) fn source(host: &Host) -> Finding {
    let Some(source) = host
        .files
        .text(&format!("{CLOCKS_DIR}/current_clocksource"))
    else {
        return SOURCE.unknown("no clock source is shown");
    };
    let read = format!("the clock source is {source}");
    if READ_WITHOUT_A_CALL.contains(&source.as_str()) {
        return SOURCE.ok(read);
    }
    let available = host
        .files
        .text(&format!("{CLOCKS_DIR}/available_clocksource"));
    let available = available.unwrap_or_default();
    let better = available
        .split_whitespace()
        .find(|name| READ_WITHOUT_A_CALL.contains(name));
    SOURCE.warning(
        format!("{read} of {available}"),
        match better {
            Some(name) => format!("echo {name} > /{CLOCKS_DIR}/current_clocksource"),
            None => "a kernel command line with tsc=reliable, if the host's TSC is".to_owned(),
        },
    )
}

/// Whether the clock follows another one.
pub(super) fn synchronised(host: &Host) -> Finding {
    match &host.probes.clock_synchronised {
        Ok(true) => SYNCHRONISED.ok("adjtimex: synchronised"),
        Ok(false) => SYNCHRONISED.warning("adjtimex: not synchronised", "timedatectl set-ntp true"),
        Err(error) => SYNCHRONISED.unknown(format!("adjtimex: {error}")),
    }
}

const SOURCE: Check = Check {
    name: "clock-source",
    why: "a shard reads the clock in every turn, and others cost a system call and more",
};
const SYNCHRONISED: Check = Check {
    name: "clock-synchronised",
    why: "sender reports tell the time of day, which receivers and logs compare",
};
const CLOCKS_DIR: &str = "sys/devices/system/clocksource/clocksource0";
/// Those that the vDSO can read.
const READ_WITHOUT_A_CALL: &[&str] = &[
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
];

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::super::testing::{bare, forbidden};
    use super::*;

    #[test]
    fn a_slow_clock_source_is_a_warning_that_names_a_better_one() {
        let fake = bare();
        fake.write(&format!("{CLOCKS_DIR}/current_clocksource"), "hpet\n");
        fake.write(
            &format!("{CLOCKS_DIR}/available_clocksource"),
            "hpet kvm-clock acpi_pm\n",
        );
        let finding = source(&fake.host);
        assert_eq!(finding.verdict, Verdict::Warning);
        let fix = finding.fix.unwrap();
        assert!(fix.starts_with("echo kvm-clock > /sys/devices"), "{fix}");
    }

    #[test]
    fn where_no_better_source_is_offered_none_is_named() {
        let fake = bare();
        fake.write(&format!("{CLOCKS_DIR}/current_clocksource"), "xen\n");
        let fix = source(&fake.host).fix.unwrap();
        assert!(!fix.contains("echo"), "{fix}");
    }

    #[test]
    fn a_clock_that_follows_none_is_a_warning() {
        let mut fake = bare();
        fake.host.probes.clock_synchronised = Ok(false);
        assert_eq!(synchronised(&fake.host).verdict, Verdict::Warning);
        fake.host.probes.clock_synchronised = Err(forbidden());
        assert_eq!(synchronised(&fake.host).verdict, Verdict::Unknown);
    }
}
