//! A client's offer: what it changes, and our answer to it.

use shared::protocol::{Change, DtlsRole, Extension, ExtensionMapping, Mid, RemoteTransport};

use super::codecs::is_for_subscriber;
use super::describe::{self, Wanted};
use super::error::NegotiationError;
use super::line::{Line, MediaLine, Receive};
use super::model::{OfferState, SessionModel};
use super::plan::{LocalSdp, Plan};
use super::random;
use super::request::{Context, SessionDescription};
use crate::sdp::{
    self, DescriptionKind, LocalCodec, LocalSection, MediaType, RejectedSection, RemoteDescription,
    SdpError, Section, SectionTransport, Setup,
};

/// A client's offer in the middle of being answered: the model has taken in what it says, and the
/// caller may claim its sections for tracks before [`Self::finish`].
pub(super) struct Answering {
    /// The next model.
    pub(super) model: SessionModel,
    /// The offer; as many sections as the model has lines.
    pub(super) offer: RemoteDescription,
    /// What the data plane will be asked.
    pub(super) changes: Vec<Change>,
}

impl Answering {
    /// Reads the offer and takes it in. `changes` are those that come before it.
    pub(super) fn begin(
        model: SessionModel,
        changes: Vec<Change>,
        description: &SessionDescription,
        context: &mut Context<'_>,
    ) -> Result<Self, NegotiationError> {
        if model.offer == OfferState::HaveLocalOffer {
            return Err(NegotiationError::HaveLocalOffer);
        }
        match description.kind.as_str() {
            "offer" => {}
            "answer" => return Err(NegotiationError::OfferExpected),
            _ => return Err(unknown_type()),
        }
        let offer = sdp::parse(DescriptionKind::Offer, &description.sdp)?;
        if offer.ice_lite {
            return Err(invalid(
                "a=ice-lite: the SFU is lite itself, and one side must not be",
            ));
        }
        let mut answering = Self {
            model,
            offer,
            changes,
        };
        answering.take_sections()?;
        answering.take_transport(context)?;
        answering.model.extmap_allow_mixed = answering.offer.extmap_allow_mixed;
        Ok(answering)
    }

    /// Writes the answer.
    pub(super) fn finish(mut self, context: &Context<'_>) -> Result<Plan, NegotiationError> {
        let mut sections = Vec::with_capacity(self.model.lines.len());
        for (line, section) in self.model.lines.iter_mut().zip(&self.offer.sections) {
            if let Line::Media(line) = line {
                line.direction = line.answered_direction(section.direction);
            }
        }
        for (line, section) in self.model.lines.iter().zip(&self.offer.sections) {
            sections.push(match line {
                Line::Rejected(rejected) => LocalSection::Rejected(rejected.clone()),
                Line::Media(line) => {
                    let codecs = self.answered_codecs(line, section);
                    describe::media(&self.model, line, line.direction, codecs)
                }
            });
        }
        self.model.version = self.model.version.saturating_add(1);
        let bundle = self.answered_bundle();
        let sdp = describe::write(&self.model, context.transport, &bundle, &sections);
        let mut plan = self.model.into_plan(self.changes)?;
        plan.description = Some(LocalSdp {
            kind: DescriptionKind::Answer,
            sdp,
        });
        Ok(plan)
    }

    /// The section of a line.
    pub(super) fn section(&self, mid: &str) -> Option<&Section> {
        self.offer
            .sections
            .iter()
            .find(|section| section.mid.as_str() == mid)
    }

    /// RFC 8843 §7.3: what is left of the offer's group, in the offer's order.
    fn answered_bundle(&self) -> Vec<Mid> {
        let is_used = |mid: &Mid| self.model.line(mid.as_str()).is_some();
        if self.offer.bundle.is_empty() {
            return self.model.bundle();
        }
        self.offer.bundle.iter().copied().filter(is_used).collect()
    }

    /// In the client's order (RFC 8829 §5.3.1), with no more than it offered.
    fn answered_codecs(&self, line: &MediaLine, section: &Section) -> Vec<LocalCodec> {
        let wanted = Wanted::of(line.kind);
        let extensions = self.model.extensions_of(line);
        let codec = |number: &u8| {
            let offered = section
                .codecs
                .iter()
                .find(|codec| codec.payload_type == *number)?;
            let feedback = wanted.limit(offered.feedback, &extensions);
            let mut codec = self.model.numbers.local_codec(*number, feedback)?;
            codec.format = offered.format.clone();
            codec.rtx_payload_type = codec
                .rtx_payload_type
                .filter(|rtx| offered.rtx_payload_type == Some(*rtx));
            Some(codec)
        };
        line.payload_types.iter().filter_map(codec).collect()
    }

    fn take_sections(&mut self) -> Result<(), NegotiationError> {
        let Self {
            model,
            offer,
            changes,
        } = self;
        if offer.sections.len() < model.lines.len() {
            return Err(invalid(&format!(
                "the offer has {} media sections, but the session has {}: JSEP §5.2.2 keeps them",
                offer.sections.len(),
                model.lines.len()
            )));
        }
        let mids: Vec<Mid> = offer
            .sections
            .iter()
            .filter(|s| !s.rejected)
            .map(|section| section.mid)
            .collect();
        // RFC 8843 §7.2.1: one transport needs one group. A single section needs none.
        let is_bundled =
            |mid: &Mid| offer.bundle.contains(mid) || (offer.bundle.is_empty() && mids.len() == 1);
        if let Some(mid) = mids.iter().find(|mid| !is_bundled(mid)) {
            return Err(invalid(&format!(
                "a=group:BUNDLE must hold every a=mid, but lacks {mid}"
            )));
        }
        for (index, section) in offer.sections.iter().enumerate() {
            take_section(model, changes, index, section)?;
        }
        Ok(())
    }

    /// RFC 8843 §7.3.1: what the first section of the BUNDLE group that is not refused says of the
    /// transport counts for all of it.
    fn take_transport(&mut self, context: &mut Context<'_>) -> Result<(), NegotiationError> {
        let is_used = |section: &&Section| {
            !section.rejected && self.model.line(section.mid.as_str()).is_some()
        };
        let by_mid = |mid: &Mid| {
            self.offer
                .sections
                .iter()
                .find(|section| section.mid == *mid)
        };
        let grouped = self.offer.bundle.iter().filter_map(by_mid);
        let tagged = grouped.chain(&self.offer.sections).find(is_used);
        let Some(tagged) = tagged else {
            // Everything was stopped: the transport stays as it is, if there is one.
            return match self.model.remote {
                Some(_) => Ok(()),
                None => Err(invalid(
                    "no media section can be used: audio or video with a codec that the SFU knows \
                     is needed (data channels alone are not supported yet)",
                )),
            };
        };
        let transport = tagged.transport.clone();
        self.model.tagged = Some(tagged.mid);
        self.apply_transport(transport, context)
    }

    fn apply_transport(
        &mut self,
        transport: SectionTransport,
        context: &mut Context<'_>,
    ) -> Result<(), NegotiationError> {
        let CompleteTransport {
            ice,
            fingerprints,
            setup,
        } = check_transport(transport)?;
        let Some(known) = &mut self.model.remote else {
            // RFC 8842 §5.3: passive is better for us, the client is the one behind a NAT.
            let role = match setup {
                Some(Setup::Passive) => DtlsRole::Client,
                Some(Setup::ActPass | Setup::Active) | None => DtlsRole::Server,
            };
            let remote = RemoteTransport {
                ice,
                fingerprints,
                role,
            };
            self.changes.push(Change::SetRemote(remote.clone()));
            self.model.remote = Some(remote);
            return Ok(());
        };
        if !fingerprints
            .iter()
            .any(|fingerprint| known.fingerprints.contains(fingerprint))
        {
            return Err(invalid(
                "a=fingerprint is another than before: make a new session for a new connection",
            ));
        }
        if known.ice != ice {
            // RFC 8839 §4.4.1.1.1: new credentials ask for an ICE restart, answered with new ones.
            let local = random::ice_credentials(context.randomness);
            self.changes.push(Change::RestartIce {
                local: local.clone(),
                remote: ice.clone(),
            });
            known.ice = ice;
            self.model.local_ice = local;
        }
        Ok(())
    }
}

/// Refuses a description without ICE credentials or without a fingerprint.
pub(super) fn check_transport(
    transport: SectionTransport,
) -> Result<CompleteTransport, NegotiationError> {
    let SectionTransport {
        ice,
        fingerprints,
        setup,
    } = transport;
    let ice = ice.ok_or_else(|| invalid("SDP contains no ice-ufrag"))?;
    if fingerprints.is_empty() {
        return Err(invalid(
            "SDP contains no fingerprint of sha-256 or stronger",
        ));
    }
    Ok(CompleteTransport {
        ice,
        fingerprints,
        setup,
    })
}

/// Takes one section in: a new line, or new facts about an old one.
fn take_section(
    model: &mut SessionModel,
    changes: &mut Vec<Change>,
    index: usize,
    section: &Section,
) -> Result<(), NegotiationError> {
    model.mid_seen(section.mid);
    if let Some(line) = model.lines.get(index).and_then(Line::media)
        && (line.mid != section.mid || section.media_kind() != Some(line.kind))
    {
        return Err(invalid(&format!(
            "media section {index} is {} with a=mid:{}, but was {} with a=mid:{}",
            section.media.as_str(),
            section.mid,
            MediaType::Media(line.kind).as_str(),
            line.mid
        )));
    }
    let usable = !section.rejected && section.is_over_dtls();
    let accepted = if usable {
        model.numbers.learn(section)
    } else {
        Vec::new()
    };
    let line = match section.media_kind() {
        Some(kind) if !accepted.is_empty() => {
            let old = model.lines.get(index).and_then(Line::media).cloned();
            let mut line = old.unwrap_or_else(|| MediaLine::new(section.mid, kind));
            take_facts(&mut line, changes, section, accepted);
            line.extensions = usable_extensions(model, &line, section);
            Line::Media(Box::new(line))
        }
        Some(_) | None => {
            if let Some(line) = model.lines.get_mut(index).and_then(Line::media_mut) {
                close(line, changes);
            }
            Line::Rejected(RejectedSection {
                media: section.media,
                protocol: section.protocol.clone(),
                format: section.first_format.clone(),
                mid: section.mid,
            })
        }
    };
    match model.lines.get_mut(index) {
        Some(slot) => *slot = line,
        None => model.lines.push(line),
    }
    Ok(())
}

fn take_facts(
    line: &mut MediaLine,
    changes: &mut Vec<Change>,
    section: &Section,
    mut accepted: Vec<u8>,
) {
    line.client_receives = section.direction.receives();
    if !section.direction.receives()
        && let Some(subscription) = line.subscription.take()
    {
        // RFC 3264 §6.1: nothing may be sent to who does not want to receive.
        changes.push(Change::Unsubscribe {
            number: subscription.number,
        });
    }
    if line.subscription.is_some() && !section.direction.sends() {
        accepted.retain(|number| line.payload_types.contains(number));
    }
    if !accepted.is_empty() {
        line.payload_types = accepted;
    }
    line.receive = match (
        core::mem::replace(&mut line.receive, Receive::Nothing),
        section.direction.sends(),
    ) {
        (Receive::Nothing | Receive::Unclaimed(_), true) => {
            Receive::Unclaimed(section.layers.clone())
        }
        (Receive::Unclaimed(_) | Receive::Closed | Receive::Nothing, false) => Receive::Nothing,
        (Receive::Closed, true) => Receive::Closed,
        (Receive::Track(publication), _) => Receive::Track(publication),
    };
}

/// The ids of the extensions that we take of those that are offered.
fn usable_extensions(model: &SessionModel, line: &MediaLine, section: &Section) -> Vec<u8> {
    let is_wanted = |extension: Extension| {
        if section.direction.sends() {
            // Both say how a packet left its sender; transport-wide numbers say it better.
            !matches!(
                extension,
                Extension::AbsoluteSendTime | Extension::TransmissionOffset
            )
        } else {
            is_for_subscriber(extension, section.tells_arrivals())
        }
    };
    let settled = line.subscription.is_some() && !section.direction.sends();
    let mut ids = Vec::new();
    for offered in &section.extensions {
        let Some(extension) = offered.extension.filter(|extension| is_wanted(*extension)) else {
            continue;
        };
        let agrees = model.numbers.agrees(ExtensionMapping {
            id: offered.id,
            extension,
        }) && model.numbers.extension(offered.id).is_some();
        if agrees
            && !ids.contains(&offered.id)
            && (!settled || line.extensions.contains(&offered.id))
        {
            ids.push(offered.id);
        }
    }
    ids
}

/// Ends what a line carries, in both directions.
pub(super) fn close(line: &mut MediaLine, changes: &mut Vec<Change>) {
    if let Some(publication) = line.publication() {
        changes.push(Change::Unpublish {
            number: publication.number,
        });
    }
    // What only our unanswered offer holds is not known to the data plane yet.
    let pending = line.pending.take();
    if let Some(subscription) = line.subscription.take()
        && pending.is_none()
    {
        changes.push(Change::Unsubscribe {
            number: subscription.number,
        });
    }
    if !matches!(line.receive, Receive::Nothing) {
        line.receive = Receive::Closed;
    }
    line.bidirectional = false;
    line.source = None;
}

/// A session description that says something wrong.
pub(super) fn invalid(text: &str) -> NegotiationError {
    NegotiationError::Sdp(SdpError::Invalid(text.to_owned()))
}

/// `type` is neither of the two words.
pub(super) fn unknown_type() -> NegotiationError {
    NegotiationError::InvalidParams(
        "sessionDescription.type must be \"offer\" or \"answer\"".to_owned(),
    )
}

/// What a client says of its transport, nothing missing.
pub(super) struct CompleteTransport {
    pub(super) ice: shared::protocol::IceCredentials,
    pub(super) fingerprints: Vec<shared::protocol::Fingerprint>,
    pub(super) setup: Option<Setup>,
}
