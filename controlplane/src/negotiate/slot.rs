//! Where a new media section goes, and what we send with in it.

use shared::limits::{PUBLICATIONS_PER_SESSION_MAX, SUBSCRIPTIONS_PER_SESSION_MAX};
use shared::protocol::MediaKind;

use super::error::{ErrorCode, ItemError};
use super::line::{Line, MediaLine, SendSource};
use super::model::SessionModel;
use super::random::Randomness;
use crate::sdp::MediaType;

/// A line with a new mid, not placed yet. See [`place`].
pub(super) fn new_line(model: &mut SessionModel, kind: MediaKind) -> Result<MediaLine, ItemError> {
    if model.lines.len() >= LINES_MAX && vacant_slot(model).is_none() {
        return Err(ItemError {
            code: ErrorCode::TrackError,
            description: "The session has as many media sections as it may".to_owned(),
        });
    }
    Ok(MediaLine::new(model.new_mid(), kind))
}

/// Puts a line where a rejected media section was (JSEP §5.2.2: it may be recycled for
/// another one, with another mid), or at the end.
pub(super) fn place(model: &mut SessionModel, line: MediaLine) {
    let line = Line::Media(Box::new(line));
    let vacant = vacant_slot(model).and_then(|index| model.lines.get_mut(index));
    match vacant {
        Some(slot) => *slot = line,
        None => model.lines.push(line),
    }
}

/// New SSRCs; one for retransmissions if any of `payload_types` has them.
pub(super) fn send_source(
    model: &SessionModel,
    payload_types: &[u8],
    randomness: &mut dyn Randomness,
) -> SendSource {
    let ssrc = model.new_ssrc(randomness);
    let has_rtx = payload_types.iter().any(|number| {
        model
            .numbers
            .format(*number)
            .is_some_and(|known| known.rtx_payload_type.is_some())
    });
    let mut rtx_ssrc = has_rtx.then(|| model.new_ssrc(randomness));
    if rtx_ssrc == Some(ssrc) {
        rtx_ssrc = None;
    }
    SendSource { ssrc, rtx_ssrc }
}

/// The first rejected section of audio or video behind the one that describes the transport. One
/// before it would become the first of the BUNDLE group, and Chrome 156 then makes a new transport
/// (or, if the group names it last, fails to apply its own answer). Data channels keep their
/// section for a later offer.
fn vacant_slot(model: &SessionModel) -> Option<usize> {
    let is_used = |line: &Line| line.media().is_some();
    let first_used = model.lines.iter().position(is_used).unwrap_or(0);
    let is_vacant = |line: &Line| matches!(line, Line::Rejected(rejected) if matches!(rejected.media, MediaType::Media(_)));
    let mut behind = model.lines.iter().enumerate().skip(first_used);
    behind
        .find(|(_, line)| is_vacant(line))
        .map(|(index, _)| index)
}

const LINES_MAX: usize = PUBLICATIONS_PER_SESSION_MAX + SUBSCRIPTIONS_PER_SESSION_MAX;
