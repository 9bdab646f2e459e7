//! What the processor can do, and how it is run.

use super::host::Host;
use super::report::{Check, Finding};

/// Whether the cores of the shards run at full speed.
pub(super) fn governor(host: &Host) -> Finding {
    let governors: Vec<(usize, String)> = host
        .plan
        .cores
        .iter()
        .filter_map(|core| {
            let path = format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
            Some((*core, host.files.text(&path)?))
        })
        .collect();
    if governors.is_empty() {
        let why = match features(host).is_some_and(|f| f.iter().any(|f| f == "hypervisor")) {
            true => "no scaling_governor is shown: this is a virtual machine, its host decides",
            false => "no scaling_governor is shown",
        };
        return GOVERNOR.unknown(why);
    }
    match governors
        .iter()
        .find(|(_, governor)| governor != "performance")
    {
        Some((core, governor)) => GOVERNOR.warning(
            format!("core {core} has the governor {governor}"),
            "echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        ),
        None => GOVERNOR.ok("the governor is performance"),
    }
}

/// Whether the processor has instructions for AES-GCM.
pub(super) fn aes(host: &Host) -> Finding {
    let Some(features) = features(host) else {
        return AES.unknown("/proc/cpuinfo shows no flags");
    };
    let has = |name: &str| features.iter().any(|feature| feature == name);
    match (has("aes"), has("vaes") && has("vpclmulqdq"), has("pmull")) {
        (true, true, _) => AES.ok("AES-NI and VAES"),
        (true, false, true) => AES.ok("the AES and PMULL instructions of Arm"),
        (true, false, false) => AES.ok("AES-NI, without VAES: two blocks at a time, not more"),
        (false, ..) => AES.warning(
            "the processor shows no AES instructions",
            "virt-xml MACHINE --edit --cpu host-passthrough  # if a virtual machine hides them",
        ),
    }
}

/// How the kernel hands out huge pages. What they would gain here has not been measured, so only
/// what can stop a shard is complained of.
pub(super) fn huge_pages(host: &Host) -> Finding {
    let selected = |name: &str| {
        let text = host.files.text(&format!("{HUGE_PAGES_DIR}/{name}"))?;
        let (_, rest) = text.split_once('[')?;
        Some(rest.split_once(']')?.0.to_owned())
    };
    let (Some(enabled), Some(defrag)) = (selected("enabled"), selected("defrag")) else {
        return HUGE_PAGES.unknown("no transparent huge pages are shown");
    };
    let read = format!("transparent huge pages: enabled {enabled}, defrag {defrag}");
    if enabled == "always" && defrag == "always" {
        HUGE_PAGES.warning(read, format!("echo defer > /{HUGE_PAGES_DIR}/defrag"))
    } else {
        HUGE_PAGES.ok(read)
    }
}

/// The flags of the first processor, as `/proc/cpuinfo` shows them on x86 and Arm.
fn features(host: &Host) -> Option<Vec<String>> {
    let text = host.files.text("proc/cpuinfo")?;
    let line = text
        .lines()
        .find(|line| line.starts_with("flags") || line.starts_with("Features"))?;
    let (_, names) = line.split_once(':')?;
    Some(names.split_whitespace().map(str::to_owned).collect())
}

const GOVERNOR: Check = Check {
    name: "cpu-governor",
    why: "a core that was slowed down while idle is slow when a burst comes",
};
const AES: Check = Check {
    name: "aes",
    why: "every packet is encrypted once for each subscriber",
};
const HUGE_PAGES: Check = Check {
    name: "huge-pages",
    why: "to compact memory at once stops the shard that touched it",
};
const HUGE_PAGES_DIR: &str = "sys/kernel/mm/transparent_hugepage";

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::super::testing::{bare, well_kept};
    use super::*;

    #[test]
    fn a_governor_of_a_forwarding_core_other_than_performance_is_a_warning() {
        let fake = well_kept();
        fake.write(
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
            "powersave\n",
        );
        assert_eq!(
            governor(&fake.host).verdict,
            Verdict::Ok,
            "core 0 forwards nothing"
        );
        fake.write(
            "sys/devices/system/cpu/cpu2/cpufreq/scaling_governor",
            "schedutil\n",
        );
        let finding = governor(&fake.host);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert_eq!(finding.read, "core 2 has the governor schedutil");
    }

    #[test]
    fn a_virtual_machine_leaves_the_governor_to_its_host() {
        let fake = bare();
        fake.write("proc/cpuinfo", "flags\t\t: aes hypervisor\n");
        let finding = governor(&fake.host);
        assert_eq!(finding.verdict, Verdict::Unknown);
        assert!(finding.read.contains("virtual machine"), "{}", finding.read);
    }

    #[test]
    fn aes_is_found_on_x86_and_arm() {
        let fake = bare();
        for (text, verdict, part) in [
            ("flags : aes vaes vpclmulqdq", Verdict::Ok, "VAES"),
            ("flags : aes pclmulqdq", Verdict::Ok, "without VAES"),
            ("Features : fp asimd aes pmull", Verdict::Ok, "Arm"),
            ("flags : fpu vaesx", Verdict::Warning, "no AES"),
        ] {
            fake.write("proc/cpuinfo", &format!("processor : 0\n{text}\n"));
            let finding = aes(&fake.host);
            assert_eq!(finding.verdict, verdict, "{text}");
            assert!(finding.read.contains(part), "{text}: {}", finding.read);
        }
    }

    #[test]
    fn compacting_at_once_is_a_warning_only_where_huge_pages_are_on() {
        let fake = bare();
        let defrag = format!("{HUGE_PAGES_DIR}/defrag");
        fake.write(&defrag, "[always] defer madvise never\n");
        for (enabled, verdict) in [
            ("[always] madvise never", Verdict::Warning),
            ("always [madvise] never", Verdict::Ok),
        ] {
            fake.write(&format!("{HUGE_PAGES_DIR}/enabled"), enabled);
            assert_eq!(huge_pages(&fake.host).verdict, verdict, "{enabled}");
        }
    }
}
