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

/// Puts a line where the first rejected media section was (JSEP §5.2.2: it may be recycled for
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

/// Data channels keep their section for a later offer.
fn vacant_slot(model: &SessionModel) -> Option<usize> {
    model.lines.iter().position(|line| {
        matches!(line, Line::Rejected(rejected) if matches!(rejected.media, MediaType::Media(_)))
    })
}

const LINES_MAX: usize = PUBLICATIONS_PER_SESSION_MAX + SUBSCRIPTIONS_PER_SESSION_MAX;
