//! One run: publishers first, then the subscribers at the asked rate, then the sum.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::api::{Api, Track};
use crate::dtls_client::Identity;
use crate::error::LoadError;
use crate::media::Kind;
use crate::options::Options;
use crate::publisher::{Publisher, PublisherTotals};
use crate::report::Summary;
use crate::subscriber::{Subscriber, SubscriberResult};

/// What all peers of a run share.
#[derive(Debug)]
pub struct Shared {
    /// As given.
    pub options: Options,
    /// To the server.
    pub api: Api,
    /// Where it answers: candidates of the same address are preferred.
    pub api_address: IpAddr,
    /// Everybody's certificate.
    pub identity: Identity,
    /// What is published.
    pub kinds: Vec<Kind>,
    /// Packets sent by publishers.
    pub sent: AtomicU64,
    /// Datagrams received by subscribers.
    pub received: AtomicU64,
    published: OnceLock<Vec<Track>>,
    start: Instant,
}

impl Shared {
    /// Microseconds since the beginning of the run.
    pub fn elapsed_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The tracks to pull.
    pub fn published(&self) -> Vec<Track> {
        self.published.get().cloned().unwrap_or_default()
    }
}

/// Runs as `options` say.
///
/// # Errors
///
/// [`LoadError`] if a publisher cannot join or go on. Subscribers that fail are in the summary.
pub async fn run(options: Options) -> Result<Summary, LoadError> {
    let kinds: Vec<Kind> = [
        (Kind::Audio, options.no_audio),
        (Kind::Video, options.no_video),
    ]
    .into_iter()
    .filter_map(|(kind, left_out)| (!left_out).then_some(kind))
    .collect();
    let api = Api::new(&options.api, &options.app)?;
    let shared = Arc::new(Shared {
        api_address: api.address().await?,
        api,
        identity: Identity::generate()?,
        kinds,
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        published: OnceLock::new(),
        start: Instant::now(),
        options,
    });
    let (stop_publishers, publishers_stopped) = watch::channel(false);
    let publishers = start_publishers(&shared, &publishers_stopped).await?;
    let (stop_subscribers, subscribers_stopped) = watch::channel(false);
    let (sent, totals) = watch::channel(Vec::new());
    let mut joining = JoinSet::new();
    let (joined, mut waiting) = watch::channel(0_usize);
    let joined = Arc::new(joined);
    let begin = Instant::now();
    for number in 0..u32::try_from(shared.options.subscribers).unwrap_or(u32::MAX) {
        let at = begin + Duration::from_secs(1) * number / shared.options.join_rate;
        let peer = subscribe(
            Arc::clone(&shared),
            at,
            Arc::clone(&joined),
            subscribers_stopped.clone(),
            totals.clone(),
        );
        joining.spawn(peer);
    }
    // Everybody has joined or given up; a closed channel cannot be, since we hold a sender.
    let subscribers = shared.options.subscribers;
    let _ = waiting.wait_for(|count| *count >= subscribers).await;
    let rates = steady(&shared).await;

    let _ = stop_publishers.send(true);
    let totals = finish_publishers(publishers).await?;
    let _ = sent.send(totals.clone());
    sleep(DRAIN).await;
    let _ = stop_subscribers.send(true);
    let outcomes = joining.join_all().await;
    Ok(summarize(&shared, outcomes, totals, rates))
}

async fn start_publishers(
    shared: &Arc<Shared>,
    stopped: &watch::Receiver<bool>,
) -> Result<Vec<tokio::task::JoinHandle<Result<PublisherTotals, LoadError>>>, LoadError> {
    let mut tracks = Vec::new();
    let mut publishers = Vec::new();
    for index in 0..shared.options.publishers {
        let publisher = Publisher::join(shared, index).await?;
        tracks.extend(publisher.tracks.iter().cloned());
        let (shared, stopped) = (Arc::clone(shared), stopped.clone());
        publishers.push(tokio::spawn(async move {
            publisher.run(&shared, stopped).await
        }));
    }
    let _ = shared.published.set(tracks);
    Ok(publishers)
}

async fn finish_publishers(
    publishers: Vec<tokio::task::JoinHandle<Result<PublisherTotals, LoadError>>>,
) -> Result<Vec<PublisherTotals>, LoadError> {
    let mut totals = Vec::new();
    for publisher in publishers {
        totals.push(publisher.await.map_err(std::io::Error::other)??);
    }
    Ok(totals)
}

/// What became of one subscriber, and how often its join was tried again.
struct Outcome {
    result: Result<SubscriberResult, LoadError>,
    retries: u64,
}

/// Joins, with a few tries: the DTLS of webrtc-rs does not survive every loss, which is no fault
/// of the server. Then receives until the end.
async fn subscribe(
    shared: Arc<Shared>,
    at: Instant,
    joined: Arc<watch::Sender<usize>>,
    stopped: watch::Receiver<bool>,
    totals: watch::Receiver<Vec<PublisherTotals>>,
) -> Outcome {
    sleep_until(at).await;
    let mut retries = 0;
    let subscriber = loop {
        match Subscriber::join(&shared).await {
            Ok(subscriber) => break Ok(subscriber),
            Err(_) if retries < JOIN_RETRIES => retries += 1,
            Err(error) => break Err(error),
        }
    };
    joined.send_modify(|count| *count += 1);
    let result = match subscriber {
        Ok(subscriber) => subscriber.run(&shared, stopped, totals).await,
        Err(error) => Err(error),
    };
    Outcome { result, retries }
}

/// Waits for the asked time; packets a second in and out meanwhile.
async fn steady(shared: &Shared) -> (f64, f64) {
    let read = || [&shared.sent, &shared.received].map(|count| count.load(Ordering::Relaxed));
    let (begin, before) = (Instant::now(), read());
    sleep(Duration::from_secs(shared.options.duration)).await;
    let (seconds, after) = (begin.elapsed().as_secs_f64(), read());
    let [sent, received] = [0, 1].map(|of: usize| {
        let count = after
            .get(of)
            .zip(before.get(of))
            .map_or(0, |(after, before)| after - before);
        f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds.max(0.001)
    });
    (sent, received)
}

fn summarize(
    shared: &Shared,
    outcomes: Vec<Outcome>,
    publishers: Vec<PublisherTotals>,
    (packets_per_second_in, packets_per_second_out): (f64, f64),
) -> Summary {
    let retried_joins = outcomes.iter().map(|outcome| outcome.retries).sum();
    let (mut results, mut failures) = (Vec::new(), BTreeSet::new());
    for outcome in outcomes {
        match outcome.result {
            Ok(result) => results.push(result),
            Err(error) => {
                failures.insert(error.to_string());
            }
        }
    }
    let tracks_each = shared.kinds.len() * usize::from(shared.options.publishers);
    Summary {
        retried_joins,
        failures: failures.into_iter().collect(),
        publishers,
        packets_per_second_in,
        packets_per_second_out,
        ..Summary::new(shared.options.subscribers, tracks_each, &results)
    }
}

/// Times that a failed join is tried again.
const JOIN_RETRIES: u64 = 3;

/// How long subscribers stay after the publishers.
const DRAIN: Duration = Duration::from_millis(500);
