//! An idle shard sleeps: its executor really parks, and really wakes. Alone in its binary, since
//! it measures the CPU time of the whole process.

mod support;

use std::time::{Duration, Instant};

use dataplane::IoBackend;
use rustix::time::{ClockId, clock_gettime};
use shared::counters::Counter;
use shared::id::ShardIndex;
use support::{ControlPlane, Running};

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).expect("not negative"),
        u32::try_from(time.tv_nsec).expect("not negative"),
    )
}

#[test]
fn an_idle_data_plane_costs_next_to_nothing_and_answers_at_once() {
    for io in [IoBackend::Mmsg, IoBackend::Uring] {
        let running = Running::start(|config| config.io = io);
        let mut control = ControlPlane::attach(&running.socket).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let (cpu, wall) = (cpu_time(), Instant::now());
        std::thread::sleep(Duration::from_secs(2));
        let (cpu, wall) = (cpu_time() - cpu, wall.elapsed());
        let share = cpu.as_secs_f64() / wall.as_secs_f64();
        assert!(
            share < 0.04,
            "an idle data plane takes {:.1} % of a core ({io:?})",
            share * 100.0
        );
        // It must not have slept through its own heartbeat, though.
        let memory = control.attachment.region.shard(ShardIndex(0)).unwrap();
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(7));
            let asked = Instant::now();
            assert_eq!(control.sessions(ShardIndex(0)), []);
            slowest = slowest.max(asked.elapsed());
        }
        assert!(
            slowest < Duration::from_millis(500),
            "an answer took {slowest:?} ({io:?})"
        );
        let stalls = memory.read_counters().counter(Counter::Stalls);
        assert!(
            stalls <= 5,
            "the watchdog had to wake the loop {stalls} times ({io:?})"
        );
        running.stop();
    }
}
