//! A server with its publishers and subscribers, ready to be measured.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::case::Case;
use super::cores::{Cores, pin_this_thread};
use super::join::{Joined, Kept, Site};
use super::load::{Load, Snapshot};
use super::options::{Options, Rate, Switch};
use super::process::Memory;
use super::scenario::Scenario;
use super::server::{Server, ServerSettings, default_program};
use crate::api::{Api, Track};
use crate::dtls_client::Identity;
use crate::error::LoadError;
use crate::report::{Latencies, Quantiles};

/// Everything that a measurement needs. Fields are dropped in their order: the server last.
#[derive(Debug)]
pub struct Stage {
    /// What is played.
    pub scenario: Scenario,
    /// The load threads.
    pub load: Load,
    /// How others join.
    pub site: Arc<Site>,
    /// What publishers publish: by publisher.
    pub published: Vec<Vec<Track>>,
    /// How the subscribers joined.
    pub joins: Joins,
    kept: Vec<Kept>,
    /// Who has which cores.
    pub cores: Cores,
    /// Under test.
    pub server: Server,
}

/// How the subscribers joined.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Joins {
    /// How many did.
    pub joined: usize,
    /// Joins that failed and were tried again.
    pub retried: u64,
    /// Milliseconds from the first call to the end of DTLS.
    pub connect_ms: Quantiles,
    /// KiB of the data plane for each session that pulls, as `smaps_rollup` has it.
    pub rss_kib_per_session: f64,
    /// The same, shared pages divided.
    pub pss_kib_per_session: f64,
    /// KiB of the data plane with all of them.
    pub rss_kib: u64,
}

impl Stage {
    /// Starts the server and lets everybody join; they stay silent afterwards.
    ///
    /// # Errors
    ///
    /// [`LoadError`] says what cannot be had.
    pub async fn set(options: &Options, cores: &Cores, case: &Case) -> Result<Self, LoadError> {
        let scenario = case.scenario();
        let mut stage = Self::open(options, cores, case).await?;
        for index in 0..scenario.publishers {
            let (publisher, kept, tracks) =
                stage.site.join_publisher(index, scenario.kinds).await?;
            stage.load.add_publisher(publisher);
            stage.kept.push(kept);
            stage.published.push(tracks);
        }
        // A pull waits for the first packets.
        stage.load.publish(Some(scenario.demand(Rate::Natural)));
        sleep(PUBLISHERS_ALONE).await;
        let dataplane = stage.server.dataplane();
        let before = Memory::read(dataplane)?;
        stage.join_subscribers(options.join_rate).await?;
        stage.settle().await?;
        let after = Memory::read(dataplane)?;
        let per_session = |before: u64, after: u64| {
            (after as f64 - before as f64) / (scenario.subscribers as f64).max(1.0)
        };
        stage.joins.rss_kib_per_session = per_session(before.rss, after.rss);
        stage.joins.pss_kib_per_session = per_session(before.pss, after.pss);
        stage.joins.rss_kib = after.rss;
        stage.quiet().await?;
        Ok(stage)
    }

    async fn open(options: &Options, cores: &Cores, case: &Case) -> Result<Self, LoadError> {
        let program = options
            .server
            .clone()
            .or_else(default_program)
            .ok_or_else(|| {
                std::io::Error::other(
                    "no server beside this executable: cargo build --release, or --server PATH",
                )
            })?;
        // A server may use what its parent may.
        pin_this_thread(&cores.all())?;
        let server = Server::start(&ServerSettings {
            program,
            cores: cores.clone(),
            flags: case.server_flags(options),
        })?;
        pin_this_thread(&cores.load)?;
        let api = Api::new(&server.url, &server.app)?;
        let site = Site {
            address: api.address().await?,
            api,
            identity: Identity::generate()?,
            profile: case.profile,
            gro: case.gro == Switch::On,
            feedback: case.feedback,
        };
        Ok(Self {
            scenario: case.scenario(),
            load: Load::start(&cores.load, Instant::now())?,
            site: Arc::new(site),
            published: Vec::new(),
            joins: Joins::default(),
            kept: Vec::new(),
            cores: cores.clone(),
            server,
        })
    }

    async fn join_subscribers(&mut self, rate: u32) -> Result<(), LoadError> {
        let begin = Instant::now();
        let mut joining = JoinSet::new();
        for number in 0..self.scenario.subscribers {
            let offset = Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX) / rate;
            let tracks = self.tracks_for(number);
            let site = Arc::clone(&self.site);
            joining.spawn(async move {
                tokio::time::sleep_until((begin + offset).into()).await;
                join_with_retries(&site, &tracks).await
            });
        }
        let mut connect = Latencies::default();
        while let Some(outcome) = joining.join_next().await {
            let (joined, retries) = outcome.map_err(std::io::Error::other)??;
            self.joins.joined += 1;
            self.joins.retried += retries;
            connect.add(u64::try_from(joined.took.as_millis()).unwrap_or(u64::MAX));
            self.admit(joined);
        }
        self.joins.connect_ms = Quantiles::from(&connect);
        Ok(())
    }

    /// Gives a load thread a subscriber that has joined.
    pub fn admit(&mut self, joined: Joined) {
        self.load.add_subscriber(joined.lane, joined.early);
        self.kept.push(joined.kept);
    }

    /// What subscriber number `number` pulls.
    pub fn tracks_for(&self, number: usize) -> Vec<Track> {
        (0..)
            .zip(&self.published)
            .filter(|(publisher, _)| self.scenario.pulls(number, *publisher))
            .flat_map(|(_, tracks)| tracks.iter().cloned())
            .collect()
    }

    /// Waits until every track at every subscriber is known well enough for samples to do.
    async fn settle(&mut self) -> Result<(), LoadError> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        let wanted = self.scenario.tracks();
        loop {
            let settled = self.load.snapshot().await?.settled;
            if settled >= wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                let text = format!("{settled} of {wanted} tracks reached their subscribers");
                return Err(std::io::Error::other(text).into());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Lets the publishers fall silent, and waits until nothing arrives any more.
    ///
    /// # Errors
    ///
    /// A load thread has ended.
    pub async fn quiet(&mut self) -> Result<Snapshot, LoadError> {
        self.load.publish(None);
        let deadline = Instant::now() + DRAIN_LIMIT;
        let mut before = self.load.snapshot().await?;
        loop {
            sleep(DRAIN_STEP).await;
            let now = self.load.snapshot().await?;
            if now.received.packets == before.received.packets || Instant::now() > deadline {
                return Ok(now);
            }
            before = now;
        }
    }
}

/// Joins, with a few tries: the DTLS of webrtc-rs does not survive every loss, which is no fault
/// of the server. With the number of tries that failed.
///
/// # Errors
///
/// The last try's.
pub async fn join_with_retries(site: &Site, tracks: &[Track]) -> Result<(Joined, u64), LoadError> {
    let mut retries = 0;
    loop {
        match site.join_subscriber(tracks).await {
            Ok(joined) => return Ok((joined, retries)),
            Err(_) if retries < JOIN_RETRIES => retries += 1,
            Err(error) => return Err(error),
        }
    }
}

const JOIN_RETRIES: u64 = 3;
const PUBLISHERS_ALONE: Duration = Duration::from_millis(300);
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const DRAIN_STEP: Duration = Duration::from_millis(250);
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
