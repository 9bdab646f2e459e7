//! From the model to our descriptions.

use shared::protocol::{DtlsRole, ExtensionMapping, MediaKind, Mid};

use super::codecs::is_transport_wide;
use super::line::{Line, MediaLine};
use super::model::SessionModel;
use super::numbers::offered_feedback;
use super::request::LocalTransport;
use crate::sdp::{
    Direction, Feedback, LocalCodec, LocalDescription, LocalMedia, LocalSection, LocalSource, Setup,
};

/// The feedback that we want in a section.
#[derive(Clone, Copy)]
pub(super) struct Wanted(Feedback);

impl Wanted {
    pub(super) fn of(kind: MediaKind) -> Self {
        Self(offered_feedback(kind))
    }

    /// What both sides want. `transport-cc` needs its header extension to be of use.
    pub(super) fn limit(self, theirs: Feedback, extensions: &[ExtensionMapping]) -> Feedback {
        Feedback {
            nack: self.0.nack && theirs.nack,
            pli: self.0.pli && theirs.pli,
            fir: self.0.fir && theirs.fir,
            transport_cc: self.0.transport_cc
                && theirs.transport_cc
                && extensions.iter().copied().any(is_transport_wide),
        }
    }
}

/// Our next offer: every line as the model has it.
pub(super) fn offer(model: &SessionModel, transport: &LocalTransport) -> String {
    let sections: Vec<LocalSection> = model
        .lines
        .iter()
        .map(|line| match line {
            Line::Rejected(rejected) => LocalSection::Rejected(rejected.clone()),
            Line::Media(line) => media(
                model,
                line,
                line.direction,
                offered_codecs(model, line, line.direction),
            ),
        })
        .collect();
    write(model, transport, &model.bundle(), &sections)
}

/// One media section.
pub(super) fn media(
    model: &SessionModel,
    line: &MediaLine,
    direction: Direction,
    codecs: Vec<LocalCodec>,
) -> LocalSection {
    LocalSection::Media(Box::new(LocalMedia {
        kind: line.kind,
        mid: line.mid,
        direction,
        codecs,
        extensions: model.extensions_of(line),
        receive_rids: line.rids(),
        source: source(model, line),
    }))
}

/// The text of a description of ours.
pub(super) fn write(
    model: &SessionModel,
    transport: &LocalTransport,
    bundle: &[Mid],
    sections: &[LocalSection],
) -> String {
    let setup = match model.remote.as_ref().map(|remote| remote.role) {
        // RFC 8842 §5.2: the first offer leaves the choice to the client.
        None => Setup::ActPass,
        Some(DtlsRole::Server) => Setup::Passive,
        Some(DtlsRole::Client) => Setup::Active,
    };
    LocalDescription {
        origin: model.origin,
        version: model.version,
        ice: &model.local_ice,
        addresses: &transport.addresses,
        fingerprint: &transport.fingerprint,
        setup,
        extmap_allow_mixed: model.extmap_allow_mixed,
        bundle,
        sections,
    }
    .write()
}

fn offered_codecs(model: &SessionModel, line: &MediaLine, direction: Direction) -> Vec<LocalCodec> {
    let wanted = Wanted::of(line.kind);
    let extensions = model.extensions_of(line);
    let codec = |number: &u8| {
        let known = model.numbers.format(*number)?;
        let theirs = if direction.receives() {
            known.feedback
        } else {
            wanted.0
        };
        model
            .numbers
            .local_codec(*number, wanted.limit(theirs, &extensions))
    };
    line.payload_types.iter().filter_map(codec).collect()
}

/// What we send in a line. Tracks of one publisher share a stream, so that they are played in step,
/// and a CNAME, which the data plane sends in RTCP too: the publisher's session.
fn source(model: &SessionModel, line: &MediaLine) -> Option<LocalSource> {
    let source = line.source?;
    let (stream, track) = match &line.subscription {
        // Its name must not change when something else is put into it without SDP.
        _ if line.bidirectional => (model.id, format!("track-{}", line.mid)),
        Some(subscription) => (
            subscription.source.session,
            format!("track-{}", subscription.number),
        ),
        None => return None,
    };
    Some(LocalSource {
        ssrc: source.ssrc,
        rtx_ssrc: source.rtx_ssrc,
        stream: stream.to_string(),
        track,
        cname: stream.to_string(),
    })
}
