//! Hosts that are made up, for the tests of the checks.

use std::io;
use std::path::Path;

use rustix::process::Rlimit;
use tempfile::TempDir;

use super::host::{Files, Host, Plan};
use super::probes::{Buffers, Probes, SEGMENTS};

/// A host whose files stand in a directory of their own; that goes when this is dropped.
pub(super) struct FakeHost {
    pub(super) host: Host,
    directory: TempDir,
}

/// Two shards on cores 1 and 2, and core 0 besides.
pub(super) fn plan() -> Plan {
    Plan {
        cores: vec![1, 2],
        spare: vec![0],
        reason: "2 of 3".to_owned(),
        quota: None,
        sockets: ["127.0.0.1:7882", "127.0.0.1:7883"]
            .map(|address| address.parse().unwrap())
            .to_vec(),
        buffer_bytes: 4 << 20,
        dataplane_socket: "/data/dataplane.sock".into(),
    }
}

/// A host that has none of the files, and whose system calls all answer well.
pub(super) fn bare() -> FakeHost {
    let directory = TempDir::new().unwrap();
    let plan = plan();
    let probes = Probes {
        buffers: Ok(Buffers {
            receive: 8 << 20,
            send: 8 << 20,
        }),
        sockets: plan
            .sockets
            .iter()
            .map(|address| (*address, Ok(())))
            .collect(),
        segmentation: Ok(SEGMENTS),
        coalescing: Ok(true),
        io_uring: Ok(()),
        open_files: limit(1 << 20),
        locked_memory: limit(8 << 20),
        clock_synchronised: Ok(true),
    };
    let host = Host {
        files: Files::under(directory.path()),
        probes,
        plan,
    };
    FakeHost { host, directory }
}

/// A host with nothing to complain of.
pub(super) fn well_kept() -> FakeHost {
    let fake = bare();
    fake.write(
        "proc/cpuinfo",
        "processor : 0\nflags : fpu aes vaes vpclmulqdq\n",
    );
    fake.write("proc/stat", "cpu  1000 0 1000 8000 0 0 0 0 0 0\n");
    fake.write(
        "proc/self/status",
        "Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n",
    );
    fake.write("proc/sys/kernel/io_uring_disabled", "0\n");
    fake.write("proc/sys/net/core/netdev_max_backlog", "16384\n");
    fake.write("proc/sys/net/core/optmem_max", "131072\n");
    fake.write(
        "proc/net/softnet_stat",
        "0000000b 00000000 00000000 00000000\n",
    );
    fake.write("proc/net/route", ROUTE);
    for core in 0..3 {
        let path = format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
        fake.write(&path, "performance\n");
    }
    let clocks = "sys/devices/system/clocksource/clocksource0";
    fake.write(&format!("{clocks}/current_clocksource"), "tsc\n");
    fake.write(&format!("{clocks}/available_clocksource"), "tsc hpet \n");
    let pages = "sys/kernel/mm/transparent_hugepage";
    fake.write(&format!("{pages}/enabled"), "always [madvise] never\n");
    fake.write(
        &format!("{pages}/defrag"),
        "always defer defer+madvise [madvise] never\n",
    );
    for (queue, irq) in [(0, 40), (1, 41)] {
        fake.write(
            &format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus"),
            "0\n",
        );
        fake.write(
            &format!("sys/class/net/eth0/device/msi_irqs/{irq}"),
            "msix\n",
        );
        fake.write(
            &format!("proc/irq/{irq}/effective_affinity_list"),
            &format!("{}\n", queue + 1),
        );
    }
    fake.write("proc/interrupts", INTERRUPTS);
    fake
}

impl FakeHost {
    /// Makes or replaces a file.
    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Takes a file or a directory away.
    pub(super) fn remove(&self, path: &str) {
        let path: &Path = &self.directory.path().join(path);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// The same soft and hard limit.
pub(super) fn limit(value: u64) -> Rlimit {
    Rlimit {
        current: Some(value),
        maximum: Some(value),
    }
}

/// What a forbidden call answers.
pub(super) fn forbidden() -> io::Error {
    io::Error::from_raw_os_error(libc::EPERM)
}

/// The default route over eth0, as `/proc/net/route` shows it.
const ROUTE: &str = "\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
";
/// Two queues of eth0 with traffic.
const INTERRUPTS: &str = "           CPU0       CPU1       CPU2
 40:          0       5000          0  PCI-MSIX 1-edge      eth0-TxRx-0
 41:          0          0       6000  PCI-MSIX 2-edge      eth0-TxRx-1
NMI:          0          0          0  Non-maskable interrupts
";
