//! One measurement: a rate, held for some seconds.

use core::time::Duration;
use std::time::Instant;

use serde::Serialize;
use tokio::time::sleep;

use super::case::Case;
use super::floor::{FloorFigures, FloorPlan};
use super::load::Snapshot;
use super::metrics::Metrics;
use super::number::ratio;
use super::options::{Rate, Switch};
use super::process::CpuTimes;
use super::stage::Stage;
use super::tally::TallyCounts;
use crate::error::LoadError;

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Packets a second that each publisher was to send.
    pub rate: f64,
    /// Packets a second that all publishers together were to send.
    pub rate_in: f64,
    /// Packets a second that they sent.
    pub packets_in: f64,
    /// Packets a second that subscribers got.
    pub packets_out: f64,
    /// Copies that should have arrived, from the first to the last packet.
    pub expected: u64,
    /// Copies that did.
    pub delivered: u64,
    /// Part of the copies that did not.
    pub loss: f64,
    /// CPU time of the shards for each delivered packet.
    pub shard: CpuFigures,
    /// The same of the whole data plane.
    pub dataplane: CpuFigures,
    /// Packets a second that one core would deliver if it were busy all the time.
    pub packets_per_core: f64,
    /// From the server's receiving to its sending, microseconds.
    pub residence_us: Option<Tail>,
    /// From a publisher's stamp to a subscriber's check, microseconds.
    pub latency_us: Tail,
    /// Packets of one message: as the server counts them, or else as they arrived.
    pub run_length: f64,
    /// Whether the server counted them.
    pub run_length_by_server: bool,
    /// Where the load generator stands.
    pub load: LoadFigures,
    /// What the tracks saw in that time.
    pub counts: TallyCounts,
    /// Packets that the server dropped, by reason.
    pub drops: Vec<(String, u64)>,
    /// What sealing and sending cost alone.
    pub floor: Option<FloorFigures>,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CpuFigures {
    /// Nanoseconds for each delivered packet.
    pub ns_per_packet: f64,
    /// Of those, in user mode.
    pub user_ns: f64,
    /// Of those, in the kernel.
    pub system_ns: f64,
    /// Cores that were busy.
    pub busy: f64,
}

/// Of a distribution, microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Tail {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

/// Whether the load generator held the rate.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LoadFigures {
    /// Cores that its threads kept busy.
    pub busy: f64,
    /// The longest time that a burst left too late, microseconds.
    pub late_us_max: u64,
    /// Datagrams that arrived but found its buffers full.
    pub socket_drops: u64,
}

/// All that is read at one moment.
struct Reading {
    at: Instant,
    snapshot: Snapshot,
    cpu: CpuTimes,
    metrics: Metrics,
}

impl Reading {
    async fn take(stage: &mut Stage) -> Result<Self, LoadError> {
        // Last what is most exact about time.
        let metrics = Metrics::fetch(&stage.server.url).await?;
        let snapshot = stage.load.snapshot().await?;
        Ok(Self {
            cpu: CpuTimes::read(stage.server.dataplane())?,
            at: Instant::now(),
            snapshot,
            metrics,
        })
    }
}

/// Holds `rate` for as long as `time`; then everybody is silent again.
///
/// # Errors
///
/// [`LoadError`] if the server or the load generator fails.
pub async fn measure(stage: &mut Stage, rate: Rate, time: Duration) -> Result<Figures, LoadError> {
    let silent = stage.quiet().await?;
    let drops_before = stage.load.socket_drops()?;
    stage.load.publish(Some(stage.scenario.demand(rate)));
    sleep(WARM_UP).await;
    let first = Reading::take(stage).await?;
    sleep(time).await;
    let last = Reading::take(stage).await?;
    let end = stage.quiet().await?;
    let socket_drops = stage.load.socket_drops()?.saturating_sub(drops_before);

    let copies = stage.scenario.copies as u64;
    let expected = (end.sent.packets - silent.sent.packets) * copies;
    let delivered = end.received.packets - silent.received.packets;
    let seconds = (last.at - first.at).as_secs_f64();
    let of = |get: fn(&Snapshot) -> u64| get(&last.snapshot) - get(&first.snapshot);
    let received = of(|snapshot| snapshot.received.packets);
    let messages = of(|snapshot| snapshot.received.messages);
    let sent = of(|snapshot| snapshot.sent.packets);
    let shard = cpu_figures(&first, &last, "shard-", received);
    let run = last
        .metrics
        .histogram(&first.metrics, RUNS)
        .map(|runs| runs.mean());
    let latencies = &last.snapshot.received.latencies;
    let latency = |per_mille| latencies.quantile(per_mille) as f64;
    let rate = stage.scenario.packets_per_second(rate);
    Ok(Figures {
        rate,
        rate_in: rate * f64::from(stage.scenario.publishers),
        packets_in: sent as f64 / seconds,
        packets_out: received as f64 / seconds,
        expected,
        delivered,
        loss: ratio(expected.saturating_sub(delivered), expected),
        shard,
        dataplane: cpu_figures(&first, &last, "", received),
        packets_per_core: super::number::rate_of(shard.ns_per_packet),
        residence_us: residence(&first.metrics, &last.metrics),
        latency_us: Tail {
            p50: latency(500),
            p99: latency(990),
            p999: latency(999),
        },
        run_length: run.unwrap_or_else(|| ratio(received, messages)),
        run_length_by_server: run.is_some(),
        load: LoadFigures {
            busy: (last.snapshot.cpu - first.snapshot.cpu).as_secs_f64() / seconds,
            late_us_max: last.snapshot.sent.late_us_max,
            socket_drops,
        },
        counts: end.counts.since(&silent.counts),
        drops: last.metrics.drops(&first.metrics),
        floor: None,
    })
}

/// The floor: as many destinations as there are subscribers, in runs of `run` packets.
///
/// # Errors
///
/// [`LoadError`] if the floor cannot be run.
pub async fn measure_floor(
    stage: &mut Stage,
    case: &Case,
    run: u64,
) -> Result<FloorFigures, LoadError> {
    let plan = FloorPlan {
        destinations: stage.scenario.subscribers,
        payload_bytes: stage.scenario.payload_bytes(),
        run: usize::try_from(run).unwrap_or(1),
        profile: case.profile,
        gro: case.gro == Switch::On,
        core: stage.cores.server.first().copied().unwrap_or_default(),
        time: FLOOR_TIME,
    };
    super::floor::run(plan, &mut stage.load).await
}

fn cpu_figures(first: &Reading, last: &Reading, threads: &str, packets: u64) -> CpuFigures {
    let times = last.cpu.since(&first.cpu, threads);
    let ns_per_packet = ratio(times.total_ns, packets);
    let seconds = (last.at - first.at).as_secs_f64();
    CpuFigures {
        ns_per_packet,
        user_ns: ns_per_packet * times.user_share(),
        system_ns: ns_per_packet * (1.0 - times.user_share()),
        busy: times.total_ns as f64 / 1e9 / seconds,
    }
}

/// How long media packets were in the server between two scrapes, microseconds.
pub(super) fn residence(first: &Metrics, last: &Metrics) -> Option<Tail> {
    let times = last.histogram(first, RESIDENCE)?;
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| times.quantile(part) * 1e6);
    Some(Tail { p50, p99, p999 })
}

const RESIDENCE: &str = "jackfield_residence_seconds";
const RUNS: &str = "jackfield_send_run_segments";
const WARM_UP: Duration = Duration::from_secs(1);
const FLOOR_TIME: Duration = Duration::from_secs(2);
