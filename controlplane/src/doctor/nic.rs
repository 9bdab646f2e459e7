//! The network card of the default route: its queues, and which cores they interrupt.

use std::collections::BTreeSet;

use super::host::{Host, core_list};
use super::report::{Check, Finding};

/// Whether the card can spread what it receives over the cores that forward.
pub(super) fn queues(host: &Host) -> Finding {
    let Some(name) = default_interface(host) else {
        return QUEUES.unknown("there is no default route");
    };
    let directory = format!("sys/class/net/{name}/queues");
    let names = host.files.names(&directory);
    let receive: Vec<&String> = names
        .iter()
        .filter(|queue| queue.starts_with("rx-"))
        .collect();
    if receive.is_empty() {
        return QUEUES.unknown(format!("{name} shows no receive queues"));
    }
    let (count, shards) = (receive.len(), host.plan.shards());
    let spread = receive.iter().all(|queue| {
        let mask = host.files.text(&format!("{directory}/{queue}/rps_cpus"));
        mask.is_some_and(|mask| mask.contains(|digit| !matches!(digit, '0' | ',')))
    });
    let rps = if spread { ", spread by RPS" } else { "" };
    let read = format!("receive queues of {name}: {count}{rps}, shards: {shards}");
    if count >= shards || spread {
        return QUEUES.ok(read);
    }
    let mask = core_mask(&host.plan.cores);
    QUEUES.warning(
        read,
        format!(
            "ethtool -L {name} combined {shards} || echo {mask} | tee /{directory}/rx-*/rps_cpus"
        ),
    )
}

/// Whether the queues' interrupts are spread over cores.
pub(super) fn interrupts(host: &Host) -> Finding {
    let Some(name) = default_interface(host) else {
        return INTERRUPTS.unknown("there is no default route");
    };
    let busy = busy_interrupts(host, &name);
    let targets: BTreeSet<usize> = busy
        .iter()
        .flat_map(|irq| interrupted_cores(host, *irq))
        .collect();
    if targets.is_empty() {
        return INTERRUPTS.unknown(format!("the interrupts of {name} are not shown"));
    }
    let read = format!(
        "busy interrupts of {name}: {}, on the cores {targets:?}",
        busy.len()
    );
    if targets.len() >= busy.len().min(host.plan.shards()) {
        return INTERRUPTS.ok(read);
    }
    let lines: Vec<String> = busy
        .iter()
        .zip(host.plan.cores.iter().cycle())
        .map(|(irq, core)| format!("echo {core} > /proc/irq/{irq}/smp_affinity_list"))
        .collect();
    INTERRUPTS.warning(read, lines.join("; "))
}

/// The interface of the IPv4 default route with the lowest metric, else of the IPv6 one.
fn default_interface(host: &Host) -> Option<String> {
    let routes = host.files.text("proc/net/route").unwrap_or_default();
    let four = routes.lines().filter_map(|line| {
        // Iface, Destination, Gateway, Flags, RefCnt, Use, Metric, Mask.
        let columns: Vec<&str> = line.split_whitespace().collect();
        match columns.as_slice() {
            [name, "00000000", _, _, _, _, metric, "00000000", ..] => {
                Some((metric.parse::<u32>().ok()?, (*name).to_owned()))
            }
            _ => None,
        }
    });
    let routes = host.files.text("proc/net/ipv6_route").unwrap_or_default();
    let six = routes.lines().filter_map(|line| {
        // Destination, its prefix, source, its prefix, next hop, metric (hexadecimal), three more,
        // Iface.
        let columns: Vec<&str> = line.split_whitespace().collect();
        match columns.as_slice() {
            [destination, "00", _, _, _, metric, _, _, _, name]
                if destination.bytes().all(|digit| digit == b'0') && *name != "lo" =>
            {
                Some((u32::from_str_radix(metric, 16).ok()?, (*name).to_owned()))
            }
            _ => None,
        }
    });
    four.min().or_else(|| six.min()).map(|(_, name)| name)
}

/// The interrupts of a card's queues that have come at least once. Others are of events that are
/// rare, or of queues that are not in use.
fn busy_interrupts(host: &Host, interface: &str) -> Vec<u32> {
    // A virtio card stands below the PCI device that has the interrupts.
    let device = format!("sys/class/net/{interface}/device");
    let mut irqs = host.files.names(&format!("{device}/msi_irqs"));
    if irqs.is_empty() {
        irqs = host.files.names(&format!("{device}/../msi_irqs"));
    }
    let table = host.files.text("proc/interrupts").unwrap_or_default();
    let mut busy: Vec<u32> = irqs
        .iter()
        .filter_map(|irq| irq.parse().ok())
        .filter(|irq| times_come(&table, *irq) > 0)
        .collect();
    busy.sort_unstable();
    busy
}

/// How often an interrupt has come, on all cores together.
fn times_come(table: &str, irq: u32) -> u64 {
    let prefix = format!("{irq}:");
    let line = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(&prefix));
    let counts = line.unwrap_or_default().split_whitespace();
    counts.map_while(|count| count.parse::<u64>().ok()).sum()
}

fn interrupted_cores(host: &Host, irq: u32) -> Vec<usize> {
    let list = |name: &str| core_list(&host.files.text(&format!("proc/irq/{irq}/{name}"))?);
    list("effective_affinity_list")
        .or_else(|| list("smp_affinity_list"))
        .unwrap_or_default()
}

/// Cores as the kernel takes a mask: hexadecimal, a comma before every 32 bits but the first.
fn core_mask(cores: &[usize]) -> String {
    let words = cores.iter().max().map_or(1, |last| last / 32 + 1);
    let mut mask = Vec::new();
    for word in (0..words).rev() {
        let bits = cores
            .iter()
            .filter(|core| **core / 32 == word)
            .fold(0_u32, |bits, core| bits | 1 << (core % 32));
        mask.push(if mask.is_empty() {
            format!("{bits:x}")
        } else {
            format!("{bits:08x}")
        });
    }
    mask.join(",")
}

const QUEUES: Check = Check {
    name: "nic-queues",
    why: "with fewer queues than shards one core receives for several",
};
const INTERRUPTS: Check = Check {
    name: "nic-interrupts",
    why: "the core that is interrupted does the kernel's work for all packets of the queue",
};

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::super::testing::{bare, well_kept};
    use super::*;

    #[test]
    fn fewer_queues_than_shards_are_a_warning_with_a_way_for_cards_that_have_no_more() {
        let fake = well_kept();
        fake.remove("sys/class/net/eth0/queues/rx-1");
        let finding = queues(&fake.host);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert_eq!(
            finding.fix.as_deref(),
            Some(
                "ethtool -L eth0 combined 2 || echo 6 | tee \
                 /sys/class/net/eth0/queues/rx-*/rps_cpus"
            )
        );
    }

    #[test]
    fn one_queue_that_rps_spreads_is_well() {
        let fake = well_kept();
        fake.remove("sys/class/net/eth0/queues/rx-1");
        fake.write(
            "sys/class/net/eth0/queues/rx-0/rps_cpus",
            "00000000,00000006\n",
        );
        assert_eq!(queues(&fake.host).verdict, Verdict::Ok);
    }

    #[test]
    fn interrupts_that_all_go_to_one_core_are_a_warning() {
        let fake = well_kept();
        fake.write("proc/irq/41/effective_affinity_list", "1\n");
        let finding = interrupts(&fake.host);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert_eq!(
            finding.fix.as_deref(),
            Some(
                "echo 1 > /proc/irq/40/smp_affinity_list; echo 2 > /proc/irq/41/smp_affinity_list"
            )
        );
    }

    #[test]
    fn an_interrupt_that_never_came_does_not_count() {
        let fake = well_kept();
        fake.write("proc/irq/41/effective_affinity_list", "1\n");
        fake.write(
            "proc/interrupts",
            "  40:  0  5  0  eth0-0\n  41:  0  0  0  eth0-config\n",
        );
        assert_eq!(interrupts(&fake.host).verdict, Verdict::Ok);
    }

    #[test]
    fn the_interrupts_of_a_virtio_card_are_found_at_its_parent() {
        let fake = well_kept();
        fake.remove("sys/class/net/eth0/device/msi_irqs");
        fake.write("sys/class/net/eth0/msi_irqs/40", "msix\n");
        let finding = interrupts(&fake.host);
        assert_eq!(finding.verdict, Verdict::Ok);
        assert!(finding.read.contains("eth0: 1,"), "{}", finding.read);
    }

    #[test]
    fn the_default_route_with_the_lowest_metric_counts() {
        let fake = bare();
        let route = |name: &str, metric: u32| {
            format!("{name}\t00000000\t010200C0\t0003\t0\t0\t{metric}\t00000000\t0\t0\t0\n")
        };
        let text = format!(
            "Iface\tDestination\n{}{}",
            route("wlan0", 600),
            route("eth1", 100)
        );
        fake.write("proc/net/route", &text);
        assert_eq!(default_interface(&fake.host).as_deref(), Some("eth1"));
    }

    #[test]
    fn a_host_of_ipv6_alone_has_a_default_route_too() {
        let fake = bare();
        let zeros = "0".repeat(32);
        let line = |name: &str, metric: &str| {
            format!("{zeros} 00 {zeros} 00 {zeros} {metric} 00000001 00000000 00200200 {name}\n")
        };
        let text = format!("{}{}", line("lo", "00000001"), line("eth2", "00000400"));
        fake.write("proc/net/ipv6_route", &text);
        assert_eq!(default_interface(&fake.host).as_deref(), Some("eth2"));
    }

    #[test]
    fn a_mask_has_a_comma_for_every_further_32_cores() {
        assert_eq!(core_mask(&[0, 1, 5]), "23");
        assert_eq!(core_mask(&[1, 33, 64]), "1,00000002,00000002");
    }
}
