//! Every datagram of media and control that the servers send, seen before the network loses any.
//!
//! For one key, SSRC and index there is one keystream. Under AES-CM and AES-GCM alike, the same
//! plaintext gives the same datagram, and another plaintext another one; so two different
//! datagrams with one index are two contents under one nonce, which gives the keys of GCM away
//! (RFC 7714 §8.4) and the contents of AES-CM (RFC 3711 §9.1).

use std::collections::{BTreeMap, BTreeSet};

use crate::publisher::nearest;
use crate::rng::hash;

/// What has been sent, by client, which stands for its key.
#[derive(Debug, Default)]
pub struct SentByServer {
    rtp: BTreeMap<(usize, u32, u64), u64>,
    highest: BTreeMap<(usize, u32), u64>,
    rtcp: BTreeSet<(usize, u32, u32)>,
    tags: BTreeMap<usize, TagPlace>,
    /// RTP datagrams.
    pub packets: u64,
    /// RTP datagrams that were sent before.
    pub repeats: u64,
}

impl SentByServer {
    /// Takes a datagram to a client. Returns SSRC and index if it is RTP.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn datagram(&mut self, client: usize, bytes: &[u8]) -> Result<Option<(u32, u64)>, String> {
        match bytes {
            [128..=191, 192..=223, ..] => self.rtcp(client, bytes).map(|()| None),
            [128..=191, ..] => self.rtp(client, bytes).map(Some),
            _ => Ok(None),
        }
    }

    fn rtp(&mut self, client: usize, bytes: &[u8]) -> Result<(u32, u64), String> {
        let number = u16::from_be_bytes([bytes[2], bytes[3]]);
        let ssrc = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let highest = self
            .highest
            .entry((client, ssrc))
            .or_insert_with(|| u64::from(number));
        let index = nearest(*highest, number);
        *highest = index.max(*highest);
        let digest = hash(0, bytes);
        self.packets += 1;
        match self.rtp.insert((client, ssrc, index), digest) {
            Some(before) if before != digest => Err(format!(
                "client {client}, SSRC {ssrc:x}: index {index} was used for two contents"
            )),
            Some(_) => {
                self.repeats += 1;
                Ok((ssrc, index))
            }
            None => Ok((ssrc, index)),
        }
    }

    /// The index stands in the clear: behind the tag of GCM (RFC 7714 §9.2), before the 10 bytes of
    /// the tag of AES-CM (RFC 3711 §3.4).
    fn rtcp(&mut self, client: usize, bytes: &[u8]) -> Result<(), String> {
        let ssrc = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let trailer = match self.tags.get(&client) {
            Some(TagPlace::BeforeIndex) => bytes.len() - 4,
            _ => bytes.len() - 14,
        };
        let index = u32::from_be_bytes(*bytes[trailer..].first_chunk().unwrap());
        if index >> 31 == 0 {
            return Err(format!("client {client}: RTCP that is not encrypted"));
        }
        if self.rtcp.insert((client, ssrc, index)) {
            Ok(())
        } else {
            Err(format!(
                "client {client}, SSRC {ssrc:x}: RTCP index {index:x} was used twice"
            ))
        }
    }

    /// Tells where a client's profile has the tag of RTCP.
    pub fn set_tag_place(&mut self, client: usize, place: TagPlace) {
        self.tags.insert(client, place);
    }
}

/// Where the tag of an RTCP packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagPlace {
    /// AES-CM.
    AfterIndex,
    /// GCM.
    BeforeIndex,
}
