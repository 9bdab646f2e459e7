//! The negotiated state of one session.

use serde::{Deserialize, Serialize};
use shared::id::{PublicationId, SessionId};
use shared::limits::{
    CHANGES_MAX, MODEL_BYTES_MAX, PUBLICATIONS_PER_SESSION_MAX, SUBSCRIPTIONS_PER_SESSION_MAX,
};
use shared::protocol::{Change, IceCredentials, Mid, PublishedCodec, RemoteTransport};

use super::error::NegotiationError;
use super::line::{Line, MediaLine, Pending};
use super::numbers::Numbers;
use super::plan::{Plan, TrackSource, TrackStage, TrackView};
use super::published::{PublishedFormat, PublishedTrack};
use super::random::{self, Randomness};

/// All that must be remembered of a session between two calls. The data plane keeps it, encoded,
/// beside the session, so that a new control plane finds it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionModel {
    pub(super) id: SessionId,
    /// `<sess-id>` of our origin.
    pub(super) origin: u64,
    /// `<sess-version>` of our last description.
    pub(super) version: u64,
    pub(super) local_ice: IceCredentials,
    /// Once the client has described itself.
    pub(super) remote: Option<RemoteTransport>,
    pub(super) extmap_allow_mixed: bool,
    pub(super) numbers: Numbers,
    pub(super) lines: Vec<Line>,
    /// The section that describes the transport: the first of the BUNDLE group.
    pub(super) tagged: Option<Mid>,
    pub(super) next_publication: u32,
    pub(super) next_subscription: u32,
    pub(super) next_mid: u32,
    pub(super) offer: OfferState,
}

/// Where the offer/answer machine stands (RFC 3264 §4): a client's offer is answered in the same
/// call, so only ours can be outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum OfferState {
    Stable,
    HaveLocalOffer,
}

impl SessionModel {
    /// A session of which only our own ICE credentials are known.
    pub(super) fn new(id: SessionId, randomness: &mut dyn Randomness) -> Self {
        Self {
            id,
            origin: random::origin(randomness),
            version: 0,
            local_ice: random::ice_credentials(randomness),
            remote: None,
            // We understand both forms (RFC 8285 §4.1); the client's word decides later on.
            extmap_allow_mixed: true,
            numbers: Numbers::default(),
            lines: Vec::new(),
            tagged: None,
            next_publication: 0,
            next_subscription: 0,
            next_mid: 0,
            offer: OfferState::Stable,
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// Another version, or bytes that no model encodes to.
    pub fn decode(bytes: &[u8]) -> Result<Self, ModelError> {
        let (version, body) = bytes.split_first().ok_or(ModelError::Malformed)?;
        if *version != MODEL_VERSION {
            return Err(ModelError::Version(*version));
        }
        match postcard::take_from_bytes(body) {
            Ok((model, [])) => Ok(model),
            Ok(_) | Err(_) => Err(ModelError::Malformed),
        }
    }

    /// A version byte and the model; never more than [`shared::limits::MODEL_BYTES_MAX`] for a
    /// model that a [`Plan`] holds.
    pub fn encode(&self) -> Vec<u8> {
        let start = vec![MODEL_VERSION];
        match postcard::to_extend(self, start) {
            Ok(bytes) => bytes,
            Err(error) => unreachable!("a Vec takes every byte of plain data: {error}"),
        }
    }

    /// Which session.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whether both sides' transports are known: from then on the session can connect, and calls
    /// that need a connection can wait for it (425, 410).
    pub fn has_transport(&self) -> bool {
        self.remote.is_some()
    }

    /// Whether an offer of ours waits for its answer.
    pub fn has_local_offer(&self) -> bool {
        self.offer == OfferState::HaveLocalOffer
    }

    /// Every track, in the order of the media sections.
    pub fn tracks(&self) -> Vec<TrackView> {
        let mut views = Vec::new();
        for line in self.media_lines() {
            let mid = line.mid.to_string();
            if let Some(publication) = line.publication() {
                views.push(TrackView {
                    mid: mid.clone(),
                    track_name: publication.track_name.clone(),
                    kind: line.kind,
                    source: TrackSource::Local {
                        publication: publication.number,
                    },
                    stage: TrackStage::Negotiated,
                });
            }
            if let Some(subscription) = &line.subscription {
                let offered = matches!(line.pending, Some(Pending::Subscribe { .. }));
                views.push(TrackView {
                    mid,
                    track_name: subscription.track_name.clone(),
                    kind: line.kind,
                    source: TrackSource::Remote {
                        session: subscription.source.session,
                        subscription: subscription.number,
                        publication: subscription.source.number,
                    },
                    stage: if offered {
                        TrackStage::Offered
                    } else {
                        TrackStage::Negotiated
                    },
                });
            }
        }
        views
    }

    /// A track that this session publishes.
    pub fn published_track(&self, track_name: &str) -> Option<PublishedTrack> {
        let (line, publication) = self.media_lines().find_map(|line| {
            let publication = line.publication()?;
            (publication.track_name == track_name).then_some((line, publication))
        })?;
        let codecs = line.payload_types.iter().filter_map(|payload_type| {
            let known = self.numbers.format(*payload_type)?;
            let feedback = known.feedback;
            Some(PublishedFormat {
                codec: PublishedCodec {
                    payload_type: *payload_type,
                    codec: known.format.codec,
                    rtx_payload_type: known.rtx_payload_type,
                    nack: feedback.nack,
                    pli: feedback.pli,
                    fir: feedback.fir,
                    transport_cc: feedback.transport_cc,
                },
                format: known.format.clone(),
            })
        });
        Some(PublishedTrack {
            id: PublicationId {
                session: self.id,
                number: publication.number,
            },
            track_name: track_name.to_owned(),
            kind: line.kind,
            codecs: codecs.collect(),
            extensions: self
                .extensions_of(line)
                .iter()
                .map(|known| known.extension)
                .collect(),
            rids: publication.rids.clone(),
        })
    }

    pub(super) fn media_lines(&self) -> impl Iterator<Item = &MediaLine> {
        self.lines.iter().filter_map(Line::media)
    }

    /// The line that is in use under `mid`.
    pub(super) fn line(&self, mid: &str) -> Option<&MediaLine> {
        self.media_lines().find(|line| line.mid.as_str() == mid)
    }

    /// See [`Self::line`].
    pub(super) fn line_mut(&mut self, mid: &str) -> Option<&mut MediaLine> {
        self.lines
            .iter_mut()
            .filter_map(Line::media_mut)
            .find(|line| line.mid.as_str() == mid)
    }

    /// The header extensions of a line.
    pub(super) fn extensions_of(
        &self,
        line: &MediaLine,
    ) -> Vec<shared::protocol::ExtensionMapping> {
        line.extensions
            .iter()
            .filter_map(|id| self.numbers.extension(*id))
            .collect()
    }

    /// The BUNDLE group of our next offer. The section that described the transport so far comes
    /// first, though another may stand before it by now; else one that was negotiated before.
    pub(super) fn bundle(&self) -> Vec<Mid> {
        let rank = |line: &&MediaLine| match (self.tagged == Some(line.mid), &line.pending) {
            (true, _) => 0,
            (false, None) => 1,
            (false, Some(_)) => 2,
        };
        let mut lines: Vec<&MediaLine> = self.media_lines().collect();
        lines.sort_by_key(rank);
        lines.into_iter().map(|line| line.mid).collect()
    }

    /// A mid that was never used: 0, 1, 2 and so on, past all that the client has used.
    pub(super) fn new_mid(&mut self) -> Mid {
        let number = self.next_mid;
        self.next_mid = number.saturating_add(1);
        let mut mid = Mid::new_const();
        // Ten digits at most.
        for digit in number.to_string().chars() {
            let _ = mid.try_push(digit);
        }
        mid
    }

    /// Keeps [`Self::new_mid`] away from a mid of the client's.
    pub(super) fn mid_seen(&mut self, mid: Mid) {
        if let Ok(number) = mid.as_str().parse::<u32>() {
            self.next_mid = self.next_mid.max(number.saturating_add(1));
        }
    }

    pub(super) fn new_publication(&mut self) -> u32 {
        let number = self.next_publication;
        self.next_publication = number.saturating_add(1);
        number
    }

    pub(super) fn new_subscription(&mut self) -> u32 {
        let number = self.next_subscription;
        self.next_subscription = number.saturating_add(1);
        number
    }

    /// An SSRC that no line of this session sends with.
    pub(super) fn new_ssrc(&self, randomness: &mut dyn Randomness) -> u32 {
        random::ssrc(randomness, |ssrc| {
            let sources = self.media_lines().filter_map(|line| line.source);
            sources
                .into_iter()
                .any(|own| own.ssrc == ssrc || own.rtx_ssrc == Some(ssrc))
        })
    }

    /// Whether one more publication may be made.
    pub(super) fn has_room_for_publication(&self) -> bool {
        let of_line = |line: &&MediaLine| {
            line.publication().is_some() || matches!(line.pending, Some(Pending::Publish { .. }))
        };
        self.media_lines().filter(of_line).count() < PUBLICATIONS_PER_SESSION_MAX
    }

    /// Whether one more subscription may be made.
    pub(super) fn has_room_for_subscription(&self) -> bool {
        let count = self
            .media_lines()
            .filter(|line| line.subscription.is_some())
            .count();
        count < SUBSCRIPTIONS_PER_SESSION_MAX
    }

    /// A plan with this as the next model, if that fits the channel to the data plane.
    pub(super) fn into_plan(self, changes: Vec<Change>) -> Result<Plan, NegotiationError> {
        if changes.len() > CHANGES_MAX {
            return Err(NegotiationError::SessionFull(
                "one call changes too many of them",
            ));
        }
        if self.encode().len() > MODEL_BYTES_MAX {
            return Err(NegotiationError::SessionFull(
                "their names and numbers need too much memory",
            ));
        }
        Ok(Plan {
            changes,
            model: self,
            tracks: Vec::new(),
            description: None,
            renegotiation: super::plan::Renegotiation::NotNeeded,
        })
    }
}

/// Bytes that are not a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Written by another version of this program.
    #[error("the session's model has version {0}, not {expected}", expected = MODEL_VERSION)]
    Version(u8),
    /// Not a model at all.
    #[error("the session's model cannot be decoded")]
    Malformed,
}

/// Goes up with every change of the layout.
const MODEL_VERSION: u8 = 2;
