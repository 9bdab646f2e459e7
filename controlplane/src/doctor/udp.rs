//! What the kernel does with UDP datagrams.

use super::host::Host;
use super::probes::{Buffers, SEGMENTS};
use super::report::{Check, Finding};

/// Whether sockets get the buffers that they ask for.
pub(super) fn buffers(host: &Host) -> Finding {
    let Buffers { receive, send } = match &host.probes.buffers {
        Ok(buffers) => *buffers,
        Err(error) => return BUFFERS.unknown(format!("no UDP socket to try it with: {error}")),
    };
    let bytes = host.plan.buffer_bytes;
    let read = format!(
        "{receive} bytes to receive and {send} to send of {}",
        2 * bytes
    );
    if receive < 2 * bytes || send < 2 * bytes {
        let fix = format!("sysctl -w net.core.rmem_max={bytes} net.core.wmem_max={bytes}");
        BUFFERS.warning(read, fix)
    } else {
        BUFFERS.ok(read)
    }
}

/// Whether many datagrams can leave in one message (UDP generic segmentation offload).
pub(super) fn segmentation(host: &Host) -> Finding {
    match &host.probes.segmentation {
        Ok(SEGMENTS) => SEGMENTATION.ok(format!(
            "UDP_SEGMENT: a message of {SEGMENTS} segments came as {SEGMENTS} datagrams"
        )),
        Ok(count) => SEGMENTATION.warning(
            format!("UDP_SEGMENT: of {SEGMENTS} segments {count} datagrams came"),
            A_NEWER_KERNEL,
        ),
        Err(error) => SEGMENTATION.warning(format!("UDP_SEGMENT: {error}"), A_NEWER_KERNEL),
    }
}

/// Whether many datagrams can be received in one message (UDP generic receive offload).
pub(super) fn coalescing(host: &Host) -> Finding {
    match &host.probes.coalescing {
        Ok(true) => COALESCING.ok(format!(
            "UDP_GRO: {SEGMENTS} datagrams were received together"
        )),
        Ok(false) => COALESCING.unknown("UDP_GRO is known, but loopback does not use it"),
        Err(error) => COALESCING.warning(format!("UDP_GRO: {error}"), A_NEWER_KERNEL),
    }
}

/// The queue of a core in front of its sockets.
pub(super) fn backlog(host: &Host) -> Finding {
    let Some(length) = host
        .files
        .value::<u64>("proc/sys/net/core/netdev_max_backlog")
    else {
        return BACKLOG.unknown("net.core.netdev_max_backlog is not shown");
    };
    let dropped = host
        .files
        .text("proc/net/softnet_stat")
        .map_or(0, |text| dropped(&text));
    let read = format!(
        "net.core.netdev_max_backlog = {length}, {dropped} packets dropped there since the boot"
    );
    if length < BACKLOG_WANTED {
        let fix = format!("sysctl -w net.core.netdev_max_backlog={BACKLOG_WANTED}");
        BACKLOG.warning(read, fix)
    } else {
        BACKLOG.ok(read)
    }
}

/// Memory of a socket for control messages.
pub(super) fn option_memory(host: &Host) -> Finding {
    let Some(bytes) = host.files.value::<u64>("proc/sys/net/core/optmem_max") else {
        return OPTION_MEMORY.unknown("net.core.optmem_max is not shown");
    };
    let read = format!("net.core.optmem_max = {bytes}");
    if bytes < OPTION_MEMORY_WANTED {
        let fix = format!("sysctl -w net.core.optmem_max={OPTION_MEMORY_WANTED}");
        OPTION_MEMORY.warning(read, fix)
    } else {
        OPTION_MEMORY.ok(read)
    }
}

/// `/proc/net/softnet_stat`: a line for each core, the second hexadecimal number of which counts
/// what found no room in its backlog (kernel: net/core/net-procfs.c).
fn dropped(text: &str) -> u64 {
    let columns = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1));
    columns
        .filter_map(|column| u64::from_str_radix(column, 16).ok())
        .sum()
}

const BUFFERS: Check = Check {
    name: "udp-buffers",
    why: "what finds no room in a burst is lost",
};
const SEGMENTATION: Check = Check {
    name: "udp-segmentation",
    why: "a datagram that leaves alone costs the kernel about three times as much",
};
const COALESCING: Check = Check {
    name: "udp-coalescing",
    why: "a publisher's burst can be received in one message",
};
const BACKLOG: Check = Check {
    name: "netdev-backlog",
    why: "what loopback, veth and RPS bring in a burst waits there, or is lost",
};
const OPTION_MEMORY: Check = Check {
    name: "optmem",
    why: "every message that is segmented takes a control message from it",
};
/// `UDP_SEGMENT` is of Linux 4.18, `UDP_GRO` of 5.0.
const A_NEWER_KERNEL: &str =
    "a kernel from 5.8 on; in a sandbox such as gVisor, the host's network";
/// A burst of a thousand datagrams for each of a dozen publishers.
const BACKLOG_WANTED: u64 = 16_384;
/// The default of Linux before 6.7, which suffices.
const OPTION_MEMORY_WANTED: u64 = 20_480;

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::super::testing::{bare, forbidden};
    use super::*;

    #[test]
    fn buffers_that_are_granted_in_part_come_with_the_sysctl_line() {
        let mut fake = bare();
        fake.host.probes.buffers = Ok(Buffers {
            receive: 425_984,
            send: 8 << 20,
        });
        let finding = buffers(&fake.host);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert_eq!(
            finding.fix.as_deref(),
            Some("sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304")
        );
    }

    #[test]
    fn segments_that_are_refused_or_get_lost_are_a_warning() {
        let mut fake = bare();
        for outcome in [Err(forbidden()), Ok(1)] {
            fake.host.probes.segmentation = outcome;
            assert_eq!(segmentation(&fake.host).verdict, Verdict::Warning);
        }
    }

    #[test]
    fn a_kernel_without_receive_offload_is_told_from_one_that_did_not_use_it() {
        let mut fake = bare();
        fake.host.probes.coalescing = Ok(false);
        assert_eq!(coalescing(&fake.host).verdict, Verdict::Unknown);
        fake.host.probes.coalescing = Err(forbidden());
        assert_eq!(coalescing(&fake.host).verdict, Verdict::Warning);
    }

    #[test]
    fn a_short_backlog_is_a_warning_that_tells_what_was_lost() {
        let fake = bare();
        fake.write("proc/sys/net/core/netdev_max_backlog", "1000\n");
        fake.write(
            "proc/net/softnet_stat",
            "0001 0000000a 0\n0002 00000010 0\n",
        );
        let finding = backlog(&fake.host);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(
            finding.read.contains("26 packets dropped"),
            "{}",
            finding.read
        );
        assert_eq!(
            finding.fix.as_deref(),
            Some("sysctl -w net.core.netdev_max_backlog=16384")
        );
    }

    #[test]
    fn little_memory_for_control_messages_is_a_warning() {
        let fake = bare();
        fake.write("proc/sys/net/core/optmem_max", "10240\n");
        let finding = option_memory(&fake.host);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert_eq!(
            finding.fix.as_deref(),
            Some("sysctl -w net.core.optmem_max=20480")
        );
    }
}
