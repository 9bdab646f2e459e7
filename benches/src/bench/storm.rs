//! Many joins while media flows, and many comings and goings.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::join::Joined;
use super::load::Snapshot;
use super::measure::{Tail, residence};
use super::metrics::Metrics;
use super::number::ratio;
use super::options::Rate;
use super::process::{CpuTimes, Memory};
use super::stage::{Stage, join_with_retries};
use crate::error::LoadError;
use crate::report::{Latencies, Quantiles};

/// What a storm of joins did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Storm {
    /// Joins that were begun in a second.
    pub rate: u32,
    /// Joins that succeeded.
    pub joined: usize,
    /// That failed, and were tried again.
    pub retried: u64,
    /// Joins in a second, from the first call to the last one's end.
    pub joins_per_second: f64,
    /// Milliseconds from the first call to the end of DTLS.
    pub connect_ms: Quantiles,
    /// Milliseconds from the first call to the first checked packet.
    pub first_media_ms: Quantiles,
    /// Of the media that flowed already: end to end, microseconds, before the storm.
    pub media_before_us: Tail,
    /// The same, while it went on; joiners' own media included.
    pub media_during_us: Tail,
    /// Of the media that flowed already: in the server, microseconds, before the storm; none if the
    /// server does not tell.
    pub residence_before_us: Option<Tail>,
    /// The same, while it went on.
    pub residence_during_us: Option<Tail>,
    /// Part of all copies that were lost.
    pub missing: f64,
    /// By who used it.
    pub cost_us: JoinCost,
    /// The core of the load generator, the control plane and the handshakes: how busy it was.
    pub load_core_busy: f64,
    /// The shards' cores.
    pub shards_busy: f64,
    /// KiB of the data plane for each joiner.
    pub rss_kib_per_session: f64,
}

/// CPU microseconds of each join, what the media took before left out; that of the joiners is in.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct JoinCost {
    pub load_generator: f64,
    pub control_plane: f64,
    pub handshakes: f64,
    pub shards: f64,
}

/// CPU times of all that take part, and what the server counts.
struct Reading {
    at: Instant,
    ours: CpuTimes,
    control: CpuTimes,
    dataplane: CpuTimes,
    metrics: Metrics,
}

impl Reading {
    async fn take(stage: &Stage) -> Result<Self, LoadError> {
        let id = |process: u32| i32::try_from(process).unwrap_or_default();
        Ok(Self {
            at: Instant::now(),
            ours: CpuTimes::read(id(std::process::id()))?,
            control: CpuTimes::read(id(stage.server.control()))?,
            dataplane: CpuTimes::read(stage.server.dataplane())?,
            metrics: Metrics::fetch(&stage.server.url).await?,
        })
    }
}

/// Begins `rate` joins a second, `count` in all, while the publishers send at their natural rate.
///
/// # Errors
///
/// [`LoadError`] if a join fails for good, or the server does.
pub async fn storm(stage: &mut Stage, count: usize, rate: u32) -> Result<Storm, LoadError> {
    stage
        .load
        .publish(Some(stage.scenario.demand(Rate::Natural)));
    sleep(BEFORE).await;
    // Latencies begin anew with each snapshot.
    stage.load.snapshot().await?;
    let calm = Reading::take(stage).await?;
    sleep(BEFORE).await;
    let before = stage.load.snapshot().await?;
    let memory = Memory::read(stage.server.dataplane())?;
    let (residents, first) = (stage.load.subscribers(), Reading::take(stage).await?);

    let mut result = Storm {
        rate,
        media_before_us: media(&before),
        ..Storm::default()
    };
    let began = join_all(stage, count, rate, &mut result).await?;
    let last = Reading::take(stage).await?;
    let after = stage.load.snapshot().await?;
    result.media_during_us = media(&after);
    fill_costs(&mut result, [&calm, &first, &last]);
    result.residence_before_us = residence(&calm.metrics, &first.metrics);
    result.residence_during_us = residence(&first.metrics, &last.metrics);
    let end = stage.quiet().await?;
    result.missing = ratio(end.counts.missing, end.counts.received + end.counts.missing);
    result.first_media_ms = first_media(&end, residents, &began);
    let grown = Memory::read(stage.server.dataplane())?
        .rss
        .saturating_sub(memory.rss);
    result.rss_kib_per_session = ratio(grown, result.joined as u64);
    Ok(result)
}

/// Joins; the load threads get every one as it is there. When each began, in the order in which the
/// threads got them.
async fn join_all(
    stage: &mut Stage,
    count: usize,
    rate: u32,
    result: &mut Storm,
) -> Result<Vec<Instant>, LoadError> {
    let begin = Instant::now();
    let mut joining = JoinSet::new();
    for number in 0..count {
        let (site, tracks) = (Arc::clone(&stage.site), stage.tracks_for(number));
        let offset = Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX) / rate;
        joining.spawn(async move {
            sleep_until((begin + offset).into()).await;
            join_with_retries(&site, &tracks).await
        });
    }
    let (mut connect, mut began) = (Latencies::default(), Vec::new());
    while let Some(outcome) = joining.join_next().await {
        let (joined, retries) = outcome.map_err(std::io::Error::other)??;
        result.joined += 1;
        result.retried += retries;
        connect.add(milliseconds(joined.took));
        began.push(joined.began);
        stage.admit(joined);
    }
    result.joins_per_second = result.joined as f64 / begin.elapsed().as_secs_f64();
    result.connect_ms = Quantiles::from(&connect);
    Ok(began)
}

/// What a join costs: the CPU time from the second reading to the third, less what the media alone
/// took from the first to the second.
fn fill_costs(result: &mut Storm, [calm, first, last]: [&Reading; 3]) {
    let joins = (result.joined as f64).max(1.0);
    let seconds = (last.at - first.at).as_secs_f64();
    let stretch = seconds / (first.at - calm.at).as_secs_f64();
    let used = |of: fn(&Reading) -> &CpuTimes, threads| {
        let before = of(first).since(of(calm), threads).total_ns as f64;
        let during = of(last).since(of(first), threads).total_ns as f64;
        let a_join = (during - before * stretch) / joins / 1e3;
        (a_join, during / 1e9 / seconds)
    };
    let (load_generator, our_busy) = used(|reading| &reading.ours, "");
    let (control_plane, control_busy) = used(|reading| &reading.control, "");
    let (handshakes, handshakes_busy) = used(|reading| &reading.dataplane, "handshake-");
    let (shards, shards_busy) = used(|reading| &reading.dataplane, "shard-");
    result.cost_us = JoinCost {
        load_generator,
        control_plane,
        handshakes,
        shards,
    };
    result.load_core_busy = our_busy + control_busy + handshakes_busy;
    result.shards_busy = shards_busy;
}

/// Subscribers come after the `residents`; with more than one load thread their order differs, so
/// that only the sum of all waits is exact.
fn first_media(end: &Snapshot, residents: usize, began: &[Instant]) -> Quantiles {
    let mut waits = Latencies::default();
    let firsts = end.first_media.iter().skip(residents);
    for (first, began) in firsts.zip(began) {
        if let Some(first) = first {
            waits.add(milliseconds(first.saturating_duration_since(*began)));
        }
    }
    Quantiles::from(&waits)
}

fn media(snapshot: &Snapshot) -> Tail {
    let latencies = &snapshot.received.latencies;
    let [p50, p99, p999] = [500, 990, 999].map(|part| latencies.quantile(part) as f64);
    Tail { p50, p99, p999 }
}

/// The data plane's memory after so many joins and leaves.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ChurnPoint {
    /// Sessions that have come and gone.
    pub sessions: usize,
    /// Of the data plane.
    pub memory: Memory,
    /// How long the media of those who stay was in the server since the reading before, or before
    /// anybody came; microseconds.
    pub residence_us: Option<Tail>,
}

/// Reads, time after time.
struct ChurnReader {
    metrics: Metrics,
}

impl ChurnReader {
    async fn begin(stage: &Stage) -> Result<Self, LoadError> {
        let metrics = Metrics::fetch(&stage.server.url).await?;
        Ok(Self { metrics })
    }

    async fn read(&mut self, stage: &Stage, sessions: usize) -> Result<ChurnPoint, LoadError> {
        let metrics = Metrics::fetch(&stage.server.url).await?;
        let before = core::mem::replace(&mut self.metrics, metrics);
        Ok(ChurnPoint {
            sessions,
            memory: Memory::read(stage.server.dataplane())?,
            residence_us: residence(&before, &self.metrics),
        })
    }
}

/// Lets `count` subscribers join and leave, `rate` a second, and reads the memory every
/// `CHURN_STEP` of them.
///
/// # Errors
///
/// [`LoadError`] if a join fails for good, or the server does.
pub async fn churn(
    stage: &mut Stage,
    count: usize,
    rate: u32,
) -> Result<Vec<ChurnPoint>, LoadError> {
    stage
        .load
        .publish(Some(stage.scenario.demand(Rate::Natural)));
    sleep(BEFORE).await;
    let mut reader = ChurnReader::begin(stage).await?;
    sleep(BEFORE).await;
    let mut points = vec![reader.read(stage, 0).await?];
    let mut gone = 0;
    while gone < count {
        let step = CHURN_STEP.min(count - gone);
        let begin = Instant::now();
        let mut coming = JoinSet::new();
        for number in 0..step {
            let (site, tracks) = (Arc::clone(&stage.site), stage.tracks_for(number));
            let offset = Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX) / rate;
            coming.spawn(async move {
                sleep_until((begin + offset).into()).await;
                let (Joined { kept, .. }, _) = join_with_retries(&site, &tracks).await?;
                kept.close().await;
                Ok::<(), LoadError>(())
            });
        }
        while let Some(outcome) = coming.join_next().await {
            outcome.map_err(std::io::Error::other)??;
        }
        gone += step;
        sleep(LEAVE).await;
        points.push(reader.read(stage, gone).await?);
    }
    stage.quiet().await?;
    Ok(points)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds of media before a storm, to warm up and then to measure.
const BEFORE: Duration = Duration::from_secs(2);

/// Sessions between two readings of the memory.
const CHURN_STEP: usize = 1_000;

/// How long the server may take to free the last sessions.
const LEAVE: Duration = Duration::from_secs(1);
