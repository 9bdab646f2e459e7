//! The media ports: whether they can be had, and what stands in front of them.

use std::io::ErrorKind;
use std::net::SocketAddr;

use super::host::Host;
use super::report::{Check, Finding};

/// Whether every media socket can be opened.
pub(super) fn media_ports(host: &Host) -> Finding {
    let failed = host.probes.sockets.iter().find_map(|(address, outcome)| {
        let error = outcome.as_ref().err()?;
        Some((*address, error))
    });
    let Some((address, error)) = failed else {
        let (count, ports) = (host.plan.sockets.len(), host.plan.port_range());
        return MEDIA_PORTS.ok(format!("all can be opened: {count} on UDP {ports}"));
    };
    let read = format!("{address}/udp: {error}");
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "there are more kinds than std names"
    )]
    match error.kind() {
        ErrorKind::AddrInUse if dataplane_runs(host) => {
            MEDIA_PORTS.ok(format!("{read}: by the data plane of this data directory"))
        }
        ErrorKind::AddrInUse => MEDIA_PORTS.problem(read, who_has(address)),
        ErrorKind::AddrNotAvailable => {
            MEDIA_PORTS.problem(read, "ip -brief address  # one of these is for --media-ip")
        }
        ErrorKind::PermissionDenied => {
            let port = address.port();
            let fix = format!("sysctl -w net.ipv4.ip_unprivileged_port_start={port}");
            MEDIA_PORTS.problem(read, fix)
        }
        _ => MEDIA_PORTS.problem(read, who_has(address)),
    }
}

/// Whether the kernel follows connections, media among them.
pub(super) fn connection_tracking(host: &Host) -> Finding {
    let Some(count) = host
        .files
        .value::<u64>("proc/sys/net/netfilter/nf_conntrack_count")
    else {
        return CONNECTION_TRACKING.ok("nf_conntrack is not loaded");
    };
    let limit = host.files.text("proc/sys/net/netfilter/nf_conntrack_max");
    let limit = limit.as_deref().unwrap_or("an unknown number");
    let read = format!("nf_conntrack follows {count} of at most {limit} connections");
    if count == 0 {
        return CONNECTION_TRACKING.ok(read);
    }
    let ports = host.plan.port_range();
    CONNECTION_TRACKING.warning(
        read,
        format!(
            "iptables -t raw -A PREROUTING -p udp --dport {ports} -j NOTRACK; \
             iptables -t raw -A OUTPUT -p udp --sport {ports} -j NOTRACK"
        ),
    )
}

/// Whether somebody listens on the socket of this data directory's data plane. Connecting to it
/// would make us its control plane.
fn dataplane_runs(host: &Host) -> bool {
    let path = format!(" {}", host.plan.dataplane_socket.display());
    let sockets = host.files.text("proc/net/unix").unwrap_or_default();
    sockets.lines().any(|line| line.ends_with(&path))
}

fn who_has(address: SocketAddr) -> String {
    format!("ss -ulpn 'sport = :{}'  # shows who has it", address.port())
}

const MEDIA_PORTS: Check = Check {
    name: "media-ports",
    why: "each shard has a UDP port of its own",
};
const CONNECTION_TRACKING: Check = Check {
    name: "connection-tracking",
    why: "it costs a look-up for each datagram, and new calls are dropped when its table is full",
};

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::report::Verdict;
    use super::super::testing::bare;
    use super::*;

    fn second_socket_fails(error: i32) -> super::super::testing::FakeHost {
        let mut fake = bare();
        if let Some((_, outcome)) = fake.host.probes.sockets.last_mut() {
            *outcome = Err(io::Error::from_raw_os_error(error));
        }
        fake
    }

    #[test]
    fn a_port_that_somebody_has_is_a_problem() {
        let fake = second_socket_fails(libc::EADDRINUSE);
        let finding = media_ports(&fake.host);
        assert_eq!(finding.verdict, Verdict::Problem);
        assert!(
            finding.read.starts_with("127.0.0.1:7883/udp"),
            "{}",
            finding.read
        );
        assert!(finding.fix.unwrap().contains("sport = :7883"));
    }

    #[test]
    fn a_port_of_the_data_plane_that_runs_here_is_well() {
        let fake = second_socket_fails(libc::EADDRINUSE);
        let line = "0000000000000000: 00000002 00000000 00010000 0001 01 20 /data/dataplane.sock";
        fake.write("proc/net/unix", &format!("Num RefCount\n{line}\n"));
        assert_eq!(media_ports(&fake.host).verdict, Verdict::Ok);
        fake.write("proc/net/unix", &format!("Num RefCount\n{line}.old\n"));
        assert_eq!(media_ports(&fake.host).verdict, Verdict::Problem);
    }

    #[test]
    fn an_address_of_another_machine_is_a_problem_of_media_ip() {
        let fake = second_socket_fails(libc::EADDRNOTAVAIL);
        let finding = media_ports(&fake.host);
        assert_eq!(finding.verdict, Verdict::Problem);
        assert!(finding.fix.unwrap().contains("--media-ip"));
    }

    #[test]
    fn a_privileged_port_is_freed_by_sysctl() {
        let fake = second_socket_fails(libc::EACCES);
        let fix = media_ports(&fake.host).fix;
        assert_eq!(
            fix.as_deref(),
            Some("sysctl -w net.ipv4.ip_unprivileged_port_start=7883")
        );
    }

    #[test]
    fn connections_that_are_followed_come_with_a_rule_for_the_media_ports() {
        let fake = bare();
        fake.write("proc/sys/net/netfilter/nf_conntrack_count", "12\n");
        fake.write("proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
        let finding = connection_tracking(&fake.host);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(
            finding
                .fix
                .unwrap()
                .contains("--dport 7882:7883 -j NOTRACK")
        );
    }

    #[test]
    fn a_module_that_follows_nothing_is_well() {
        let fake = bare();
        fake.write("proc/sys/net/netfilter/nf_conntrack_count", "0\n");
        assert_eq!(connection_tracking(&fake.host).verdict, Verdict::Ok);
    }
}
