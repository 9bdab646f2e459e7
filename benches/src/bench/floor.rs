//! The floor: what sealing and sending cost by themselves. One thread on the server's core seals
//! for each of N keys a run of packets into a buffer, and sends the runs with as few calls as can
//! be, to sockets like the subscribers'. No parsing, no state, nothing of the server.

use core::time::Duration;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use webrtc_srtp::protection_profile::ProtectionProfile;

use super::cores::pin_this_thread;
use super::load::Load;
use super::receiver::Lane;
use super::seal::Sealer;
use super::sys::{Outgoing, SendBatch, set_gro};
use crate::dtls_client::MasterKey;
use crate::error::LoadError;
use crate::media::Kind;
use crate::options::ProfileChoice;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct FloorPlan {
    /// Keys and sockets.
    pub destinations: usize,
    /// Bytes of a payload.
    pub payload_bytes: usize,
    /// Packets of one run.
    pub run: usize,
    /// For sealing.
    pub profile: ProfileChoice,
    /// As the subscribers have it.
    pub gro: bool,
    /// Where to run.
    pub core: usize,
    /// How long.
    pub time: Duration,
}

/// What it cost.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct FloorFigures {
    /// Nanoseconds of CPU time for each packet.
    pub ns_per_packet: f64,
    /// What one busy core can do.
    pub packets_per_core: f64,
    /// The run length.
    pub run: usize,
    /// Packets that did not arrive: the load generator was too slow.
    pub lost: u64,
}

/// Runs the floor against `load`, whose publishers should be silent.
///
/// # Errors
///
/// [`LoadError`] if sockets or threads cannot be had.
pub async fn run(plan: FloorPlan, load: &mut Load) -> Result<FloorFigures, LoadError> {
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    sender.set_nonblocking(true)?;
    let source = sender.local_addr()?;
    let before = load.subscribers();
    let mut targets = Vec::new();
    for _ in 0..plan.destinations {
        let sink = crate::peer::bind(source)?;
        // Connected, as the subscribers' sockets are.
        sink.connect(source)?;
        set_gro(&sink, plan.gro)?;
        if let SocketAddr::V4(address) = sink.local_addr()? {
            targets.push(SocketAddrV4::new([127, 0, 0, 1].into(), address.port()));
        }
        let types = vec![(PAYLOAD_TYPE, Kind::Video)];
        load.add_subscriber(Lane::new(sink, None, types, Instant::now()), Vec::new());
    }
    let counted = load.snapshot().await?.received.packets;
    let thread = std::thread::Builder::new()
        .name("floor".to_owned())
        .spawn(move || send(&plan, &sender, &targets))?;
    while !thread.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let outcome = thread
        .join()
        .map_err(|_| io::Error::other("the floor panicked"))?;
    let (sent, cpu) = outcome?;
    tokio::time::sleep(DRAIN).await;
    let arrived = load.snapshot().await?.received.packets - counted;
    load.keep_subscribers(before);
    let ns_per_packet = cpu.as_secs_f64() * 1e9 / (sent as f64).max(1.0);
    Ok(FloorFigures {
        ns_per_packet,
        packets_per_core: super::number::rate_of(ns_per_packet),
        run: plan.run,
        lost: sent.saturating_sub(arrived),
    })
}

/// Packets sent, and the CPU time of it.
fn send(
    plan: &FloorPlan,
    socket: &UdpSocket,
    targets: &[SocketAddrV4],
) -> Result<(u64, Duration), LoadError> {
    pin_this_thread(&[plan.core])?;
    let profile = match plan.profile {
        ProfileChoice::Gcm128 | ProfileChoice::Any => ProtectionProfile::AeadAes128Gcm,
        ProfileChoice::Gcm256 => ProtectionProfile::AeadAes256Gcm,
        ProfileChoice::Cm => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let mut floor = Floor::new(plan, profile, targets)?;
    // The first rounds touch memory for the first time.
    for _ in 0..WARM_UP_ROUNDS {
        floor.round(socket)?;
    }
    let warm_up = floor.sent;
    let cpu = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let (start, mut used) = (Instant::now(), Duration::ZERO);
    while start.elapsed() < plan.time {
        let before = cpu();
        floor.round(socket)?;
        let round = cpu() - before;
        used += round;
        // The receivers must be able to follow: what the kernel throws away costs the sender less
        // than what it delivers.
        std::thread::sleep(round);
    }
    let measured = floor.sent - warm_up;
    let packets = u32::try_from(measured).unwrap_or(u32::MAX);
    // The caller compares with what arrived, the warm-up included.
    let per_packet = used.as_secs_f64() / f64::from(packets.max(1));
    Ok((
        floor.sent,
        Duration::from_secs_f64(per_packet * floor.sent as f64),
    ))
}

struct Floor<'a> {
    plan: &'a FloorPlan,
    keys: Vec<(Sealer, SocketAddrV4)>,
    payloads: Vec<Vec<u8>>,
    /// The runs of one call.
    buffer: Vec<u8>,
    batch: SendBatch,
    index: u64,
    sent: u64,
}

impl<'a> Floor<'a> {
    fn new(
        plan: &'a FloorPlan,
        profile: ProtectionProfile,
        targets: &[SocketAddrV4],
    ) -> Result<Self, LoadError> {
        let mut keys = Vec::new();
        for (target, number) in targets.iter().zip(1_u64..) {
            let byte = |index: usize| number.to_be_bytes().get(index % 8).copied();
            let fill = |length| (0..length).filter_map(byte).collect();
            let master = MasterKey {
                key: fill(profile.key_len()),
                salt: fill(profile.salt_len()),
            };
            keys.push((Sealer::new(profile, &master)?, *target));
        }
        let payloads = (0_u8..)
            .take(plan.run)
            .map(|byte| vec![byte; plan.payload_bytes]);
        Ok(Self {
            plan,
            keys,
            payloads: payloads.collect(),
            buffer: Vec::with_capacity(PACKETS_PER_CALL * (plan.payload_bytes + 64)),
            batch: SendBatch::default(),
            index: 0,
            sent: 0,
        })
    }

    /// One run to each destination.
    fn round(&mut self, socket: &UdpSocket) -> Result<(), LoadError> {
        let Self {
            plan,
            keys,
            payloads,
            buffer,
            batch,
            ..
        } = self;
        let runs_per_call = (PACKETS_PER_CALL / plan.run.max(1)).max(1);
        for part in keys.chunks(runs_per_call) {
            buffer.clear();
            for (sealer, _) in part {
                for (payload, index) in payloads.iter().zip(self.index..) {
                    let [.., high, low] = index.to_be_bytes();
                    let header = [0x80, PAYLOAD_TYPE, high, low, 0, 0, 0, 1, 0, 0, 0, 1];
                    sealer.seal(1, index, &header, payload, buffer)?;
                }
            }
            let run_bytes = buffer.len() / part.len().max(1);
            let segment = u16::try_from(run_bytes / plan.run.max(1)).unwrap_or(u16::MAX);
            let runs = part.iter().zip(buffer.chunks_exact(run_bytes.max(1)));
            let runs: Vec<Outgoing<'_>> = runs
                .map(|((_, target), bytes)| Outgoing {
                    destination: Some(*target),
                    bytes,
                    segment,
                })
                .collect();
            self.sent += (batch.send(socket, &runs) * plan.run) as u64;
        }
        self.index += plan.run as u64;
        Ok(())
    }
}

/// As many as the server gathers for one call.
const PACKETS_PER_CALL: usize = 1024;

const PAYLOAD_TYPE: u8 = 96;

const WARM_UP_ROUNDS: u32 = 20;

/// How long the last packets may take to be counted.
const DRAIN: Duration = Duration::from_millis(200);
