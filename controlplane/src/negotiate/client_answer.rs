//! The client's answer to our offer: what was pending begins.

use shared::protocol::{Change, DtlsRole, Extension, Mid, RemoteTransport};

use super::client_offer::{self, CompleteTransport, check_transport, invalid};
use super::codecs;
use super::error::NegotiationError;
use super::line::{Candidates, Line, Pending, Receive};
use super::model::{OfferState, SessionModel};
use super::plan::Plan;
use super::pull::push_subscribe;
use super::push;
use crate::sdp::{
    self, DescriptionKind, Direction, Half, RejectedSection, RemoteDescription, Section, Setup,
};

/// Takes the answer in. Its sections that the client refuses, or in which it shares no codec with
/// us, carry nothing; they are no error, since the client has already settled on its answer.
pub(super) fn apply(model: &SessionModel, sdp: &str) -> Result<Plan, NegotiationError> {
    if model.offer != OfferState::HaveLocalOffer {
        return Err(NegotiationError::NoOfferOutstanding);
    }
    let answer = sdp::parse(DescriptionKind::Answer, sdp)?;
    check_sections(model, &answer)?;
    let mut model = model.clone();
    let mut changes = Vec::new();
    take_transport(&mut model, &mut changes, &answer)?;
    if model.version == 1 {
        model.extmap_allow_mixed = answer.extmap_allow_mixed;
    }
    let offered = model.bundle();
    for (index, section) in answer.sections.iter().enumerate() {
        take_section(&mut model, &mut changes, index, section);
    }
    // RFC 8843 §7.4: the first of our group that the client took describes the transport.
    model.tagged = offered
        .into_iter()
        .find(|mid| model.line(mid.as_str()).is_some());
    model.offer = OfferState::Stable;
    model.into_plan(changes)
}

/// RFC 3264 §6: as many sections as the offer, in its order.
fn check_sections(
    model: &SessionModel,
    answer: &RemoteDescription,
) -> Result<(), NegotiationError> {
    if answer.sections.len() != model.lines.len() {
        return Err(invalid(&format!(
            "the answer has {} media sections, but the offer had {}",
            answer.sections.len(),
            model.lines.len()
        )));
    }
    for (index, (line, section)) in model.lines.iter().zip(&answer.sections).enumerate() {
        let kind_differs = line
            .media()
            .is_some_and(|line| section.media_kind() != Some(line.kind));
        if line.mid() != section.mid || kind_differs {
            return Err(invalid(&format!(
                "media section {index} of the answer is {} with a=mid:{}, not that of the offer \
                 with a=mid:{}",
                section.media.as_str(),
                section.mid,
                line.mid()
            )));
        }
    }
    Ok(())
}

fn take_transport(
    model: &mut SessionModel,
    changes: &mut Vec<Change>,
    answer: &RemoteDescription,
) -> Result<(), NegotiationError> {
    let by_mid = |mid: &Mid| answer.sections.iter().find(|section| section.mid == *mid);
    let grouped = answer.bundle.iter().filter_map(by_mid);
    let tagged = grouped
        .chain(&answer.sections)
        .find(|section| !section.rejected);
    let Some(tagged) = tagged else { return Ok(()) };
    let CompleteTransport {
        ice,
        fingerprints,
        setup,
    } = check_transport(tagged.transport.clone())?;
    let Some(known) = &model.remote else {
        let role = match setup {
            Some(Setup::Passive) => DtlsRole::Client,
            Some(Setup::Active | Setup::ActPass) | None => DtlsRole::Server,
        };
        let remote = RemoteTransport {
            ice,
            fingerprints,
            role,
        };
        changes.push(Change::SetRemote(remote.clone()));
        model.remote = Some(remote);
        return Ok(());
    };
    if known.ice != ice {
        // RFC 8839 §4.4.1.1.1: only an offer restarts ICE, and ours did not.
        return Err(invalid("a=ice-ufrag of the answer is another than before"));
    }
    if !fingerprints
        .iter()
        .any(|fingerprint| known.fingerprints.contains(fingerprint))
    {
        return Err(invalid(
            "a=fingerprint of the answer is another than before",
        ));
    }
    Ok(())
}

fn take_section(
    model: &mut SessionModel,
    changes: &mut Vec<Change>,
    index: usize,
    section: &Section,
) {
    let Some(Line::Media(line)) = model.lines.get_mut(index) else {
        return;
    };
    let accepted: Vec<u8> = section
        .codecs
        .iter()
        .map(|codec| codec.payload_type)
        .filter(|number| line.payload_types.contains(number))
        .collect();
    if section.rejected || accepted.is_empty() {
        client_offer::close(line, changes);
        let rejected = RejectedSection {
            media: section.media,
            protocol: section.protocol.clone(),
            format: section.first_format.clone(),
            mid: section.mid,
        };
        if let Some(slot) = model.lines.get_mut(index) {
            *slot = Line::Rejected(rejected);
        }
        return;
    }
    let offered = line.direction;
    if offered.sends() {
        line.client_receives = section.direction.receives();
    }
    line.payload_types.clone_from(&accepted);
    line.extensions
        .retain(|id| section.extensions.iter().any(|taken| taken.id == *id));
    if !section.tells_arrivals() {
        let numbered = model
            .numbers
            .extension_id(Extension::TransportWideSequenceNumber);
        line.extensions.retain(|id| Some(*id) != numbered);
    }
    line.direction = Direction::new(
        Half::when(offered.sends() && section.direction.receives()),
        Half::when(offered.receives() && section.direction.sends()),
    );
    if matches!(line.receive, Receive::Unclaimed(_)) && !section.direction.sends() {
        line.receive = Receive::Nothing;
    }
    for codec in section
        .codecs
        .iter()
        .filter(|codec| accepted.contains(&codec.payload_type))
    {
        if codec.rtx_payload_type.is_none() {
            model.numbers.drop_rtx(codec.payload_type);
        }
        if section.direction.sends() {
            model.numbers.set_feedback(codec);
        }
    }
    begin_tracks(model, changes, section);
}

/// What the section was offered for begins, or is dropped if the client does not want it.
fn begin_tracks(model: &mut SessionModel, changes: &mut Vec<Change>, section: &Section) {
    let Some(line) = model.line_mut(section.mid.as_str()) else {
        return;
    };
    if !section.direction.receives() && line.bidirectional {
        line.bidirectional = false;
        line.source = None;
    }
    match line.pending.take() {
        Some(Pending::Subscribe { candidates }) => {
            subscribe(model, changes, section, &candidates);
        }
        Some(Pending::Publish { track_name }) => {
            if section.direction.sends() {
                push::publish(model, changes, section.mid, &section.layers, track_name);
            }
        }
        None => {
            if !section.direction.receives()
                && let Some(subscription) = line.subscription.take()
            {
                changes.push(Change::Unsubscribe {
                    number: subscription.number,
                });
            }
        }
    }
}

fn subscribe(
    model: &mut SessionModel,
    changes: &mut Vec<Change>,
    section: &Section,
    candidates: &[Candidates],
) {
    let Some(line) = model.line(section.mid.as_str()) else {
        return;
    };
    let codecs = codecs::settle(candidates, &line.payload_types, &model.numbers);
    match (section.direction.receives(), codecs) {
        (true, Ok(codecs)) => push_subscribe(model, changes, section.mid, codecs),
        (true, Err(_)) | (false, _) => {
            if let Some(line) = model.line_mut(section.mid.as_str()) {
                line.subscription = None;
                line.source = None;
            }
        }
    }
}
