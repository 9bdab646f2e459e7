//! Opens what the peer sends.

use core::fmt;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use shared::counters::DropReason;
use shared::limits::{LAYERS_MAX, PUBLICATIONS_PER_SESSION_MAX};

use super::cipher::{RtcpCipher, RtpCipher};
use super::keys::SessionKeys;
use super::replay::{Freshness, ReplayWindow};
use crate::rtp::header::RtpHeader;

/// One session's incoming direction: RTP and RTCP of all SSRCs of the peer.
///
/// What it knows of an SSRC is made by the first packet that authenticates, so that nobody but
/// the peer can make it remember anything. It remembers the [`SSRCS_MAX`] SSRCs that were heard
/// last.
pub struct SrtpReceiver {
    rtp: RtpCipher,
    rtcp: RtcpCipher,
    rtp_streams: Streams<RTP_WINDOW_WORDS>,
    rtcp_streams: Streams<RTCP_WINDOW_WORDS>,
}

impl SrtpReceiver {
    /// Derives the session keys of the peer's direction.
    pub fn new(keys: &SessionKeys) -> Self {
        Self {
            rtp: RtpCipher::new(keys.profile, keys.remote()),
            rtcp: RtcpCipher::new(keys.profile, keys.remote()),
            rtp_streams: Streams::new(),
            rtcp_streams: Streams::new(),
        }
    }

    /// Authenticates and decrypts `packet` in place; `header` was parsed from it. Returns the
    /// length of the opened packet, which is shorter by the tag.
    ///
    /// The roll-over counter of a new SSRC is taken to be zero, as RFC 3711 §3.3.1 has it for a
    /// receiver that was there from the beginning.
    ///
    /// # Errors
    ///
    /// [`DropReason::RtpReplayed`] if the packet came before or is older than the replay window,
    /// [`DropReason::RtpUnauthenticated`] if it is forged, damaged or too short. Nothing is
    /// remembered of it then, but its payload may be overwritten.
    pub fn open_rtp(&mut self, header: &RtpHeader, packet: &mut [u8]) -> Result<usize, DropReason> {
        let stream = self.rtp_streams.find(header.ssrc);
        let index = match stream {
            Some(stream) => estimate_index(stream.window.highest(), header.sequence_number)
                .ok_or(DropReason::RtpReplayed)?,
            None => u64::from(header.sequence_number),
        };
        if stream.is_some_and(|stream| stream.window.check(index) == Freshness::Stale) {
            return Err(DropReason::RtpReplayed);
        }
        let length = self
            .rtp
            .open(header.ssrc, index, header.len(), packet)
            .ok_or(DropReason::RtpUnauthenticated)?;
        self.rtp_streams.commit(header.ssrc, index);
        Ok(length)
    }

    /// Authenticates and decrypts the compound packet `packet` in place. Returns the length of the
    /// opened packet.
    ///
    /// # Errors
    ///
    /// [`DropReason::RtcpReplayed`] if the packet came before or is older than the replay window,
    /// [`DropReason::RtcpUnauthenticated`] if it is forged, damaged or too short. Nothing is
    /// remembered of it then, but its content may be overwritten.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let unauthenticated = DropReason::RtcpUnauthenticated;
        let identity = self.rtcp.identify(packet).ok_or(unauthenticated)?;
        let index = u64::from(identity.index);
        if let Some(stream) = self.rtcp_streams.find(identity.ssrc)
            && stream.window.check(index) == Freshness::Stale
        {
            return Err(DropReason::RtcpReplayed);
        }
        let length = self.rtcp.open(identity, packet).ok_or(unauthenticated)?;
        self.rtcp_streams.commit(identity.ssrc, index);
        Ok(length)
    }

    /// How many SSRCs have sent authentic RTP, as far as is remembered.
    #[cfg(test)]
    pub(super) fn rtp_ssrcs(&self) -> usize {
        self.rtp_streams.entries.len()
    }
}

impl fmt::Debug for SrtpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpReceiver")
            .field("rtp_streams", &self.rtp_streams.entries.len())
            .field("rtcp_streams", &self.rtcp_streams.entries.len())
            .finish_non_exhaustive()
    }
}

/// What is known of the SSRCs heard last. Sessions have few, so a search beats a table; the room
/// for all of them is taken at the start.
struct Streams<const WORDS: usize> {
    entries: HashMap<u32, Stream<WORDS>, FxBuildHasher>,
    /// Counts commits, to tell which entry was not used for longest.
    now: u64,
}

struct Stream<const WORDS: usize> {
    last_used: u64,
    window: ReplayWindow<WORDS>,
}

impl<const WORDS: usize> Streams<WORDS> {
    fn new() -> Self {
        Self {
            entries: HashMap::default(),
            now: 0,
        }
    }

    fn find(&self, ssrc: u32) -> Option<&Stream<WORDS>> {
        self.entries.get(&ssrc)
    }

    /// Remembers an authenticated packet.
    fn commit(&mut self, ssrc: u32, index: u64) {
        self.now += 1;
        if let Some(stream) = self.entries.get_mut(&ssrc) {
            stream.last_used = self.now;
            stream.window.commit(index);
            return;
        }
        if self.entries.len() == SSRCS_MAX {
            let oldest = self
                .entries
                .iter()
                .min_by_key(|(_, stream)| stream.last_used);
            if let Some(oldest) = oldest.map(|(ssrc, _)| *ssrc) {
                self.entries.remove(&oldest);
            }
        }
        let window = ReplayWindow::new(index);
        let last_used = self.now;
        self.entries.insert(ssrc, Stream { last_used, window });
    }
}

/// The index of a packet from its sequence number and the highest index that was authenticated
/// (RFC 3711 §3.3.1 and appendix A). `None` if the packet would be older than the first one of
/// all, or later than the last one that the master key is good for (RFC 3711 §9.2).
fn estimate_index(highest: u64, sequence_number: u16) -> Option<u64> {
    let [.., high, low] = highest.to_be_bytes();
    let last = u16::from_be_bytes([high, low]);
    let roll_over = highest >> 16;
    let guess = if last < HALF {
        if sequence_number.saturating_sub(last) > HALF {
            roll_over.checked_sub(1)?
        } else {
            roll_over
        }
    } else if last - HALF > sequence_number {
        roll_over + 1
    } else {
        roll_over
    };
    (guess <= u64::from(u32::MAX)).then_some(guess << 16 | u64::from(sequence_number))
}

/// SSRCs that a session remembers, RTP and RTCP counted apart.
pub const SSRCS_MAX: usize = 512;
const _: () = assert!(SSRCS_MAX >= PUBLICATIONS_PER_SESSION_MAX * LAYERS_MAX * 2);

/// A window of 512 RTP packets: more than the 64 of RFC 3711 §3.3.2, because packets that are sent
/// again without RTX come late.
const RTP_WINDOW_WORDS: usize = 9;

/// A window of 128 RTCP packets.
const RTCP_WINDOW_WORDS: usize = 3;

/// Half of the sequence number space.
const HALF: u16 = 1 << 15;
