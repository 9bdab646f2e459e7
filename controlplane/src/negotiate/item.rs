//! The entries of `tracks`, checked: everything after this deals with good values only.

use shared::id::SessionId;
use shared::limits::TRACKS_PER_CALL_MAX;
use shared::protocol::{Hints, LayerSelection, MediaKind, Ordering, Rid};

use super::error::NegotiationError;
use super::line::Wish;
use super::request::{HintsRequest, SimulcastRequest, TrackRequest};

/// A track that the client wants to send.
#[derive(Clone, Debug)]
pub(super) struct Push {
    pub(super) mid: Option<String>,
    pub(super) track_name: String,
    pub(super) kind: Option<MediaKind>,
    pub(super) flow: Flow,
}

/// `bidirectionalMediaStream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    OneWay,
    BothWays,
}

/// A track that the client wants to receive.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    pub(super) mid: Option<String>,
    /// `None` for text that is no session id: no such session can exist.
    pub(super) session: Option<SessionId>,
    /// As it is echoed.
    pub(super) session_text: String,
    pub(super) track_name: String,
    /// As it is echoed.
    pub(super) simulcast: Option<SimulcastRequest>,
    pub(super) selection: LayerSelection,
    pub(super) hints: HintsRequest,
}

impl Pull {
    /// What is wanted of a track that is not pulled yet.
    pub(super) fn wish(&self) -> Wish {
        Wish {
            selection: self.selection,
            hints: self.hints.over(Hints::default()),
        }
    }
}

/// All entries of one call: they go one way.
#[derive(Clone, Debug)]
pub(super) enum Items {
    Push(Vec<Push>),
    Pull(Vec<Pull>),
}

impl Items {
    /// Checks `tracks` of `tracks/new`. An empty list is a push of nothing.
    pub(super) fn check(tracks: &[TrackRequest]) -> Result<Self, NegotiationError> {
        check_count(tracks.len())?;
        let mut pushes = Vec::new();
        let mut pulls = Vec::new();
        for (index, track) in tracks.iter().enumerate() {
            match track.location.as_deref() {
                Some("local") => pushes.push(push(index, track)?),
                Some("remote") => pulls.push(pull(index, track)?),
                Some(_) => return Err(wrong(index, "location must be \"local\" or \"remote\"")),
                None => return Err(wrong(index, "Missing location in track")),
            }
        }
        match (pushes.is_empty(), pulls.is_empty()) {
            (false, false) => Err(NegotiationError::InvalidParams(
                "tracks: Pushing and Pulling tracks in one request is unsupported".to_owned(),
            )),
            (_, true) => Ok(Self::Push(pushes)),
            (true, false) => Ok(Self::Pull(pulls)),
        }
    }
}

/// One entry of `tracks/update`, or a remote one of `tracks/new`.
pub(super) fn pull(index: usize, track: &TrackRequest) -> Result<Pull, NegotiationError> {
    let Some(session_text) = track.session_id.clone() else {
        return Err(wrong(index, "Missing sessionId in track"));
    };
    if session_text.len() > SESSION_ID_BYTES_MAX {
        return Err(wrong(index, "sessionId is too long"));
    }
    Ok(Pull {
        mid: track.mid.clone().filter(|mid| !mid.is_empty()),
        session: session_text.parse().ok(),
        session_text,
        track_name: track_name(index, track)?,
        simulcast: track.simulcast.clone(),
        selection: selection(index, track.simulcast.as_ref())?,
        hints: hints(index, track)?,
    })
}

/// Refuses no tracks at all, and too many.
pub(super) fn expect_some(count: usize) -> Result<(), NegotiationError> {
    if count == 0 {
        return Err(NegotiationError::InvalidParams(
            "tracks: Expecting at least 1 track in the request".to_owned(),
        ));
    }
    check_count(count)
}

fn check_count(count: usize) -> Result<(), NegotiationError> {
    if count > TRACKS_PER_CALL_MAX {
        return Err(NegotiationError::InvalidParams(format!(
            "tracks: Expecting at most {TRACKS_PER_CALL_MAX} tracks in the request"
        )));
    }
    Ok(())
}

fn push(index: usize, track: &TrackRequest) -> Result<Push, NegotiationError> {
    let kind = match track.kind.as_deref() {
        None => None,
        Some("audio") => Some(MediaKind::Audio),
        Some("video") => Some(MediaKind::Video),
        Some(_) => return Err(wrong(index, "kind must be \"audio\" or \"video\"")),
    };
    Ok(Push {
        mid: track.mid.clone().filter(|mid| !mid.is_empty()),
        track_name: track_name(index, track)?,
        kind,
        flow: if track.bidirectional_media_stream {
            Flow::BothWays
        } else {
            Flow::OneWay
        },
    })
}

fn track_name(index: usize, track: &TrackRequest) -> Result<String, NegotiationError> {
    match track.track_name.as_deref() {
        None | Some("") => Err(wrong(index, "Missing trackName in track")),
        Some(name) if name.len() > TRACK_NAME_BYTES_MAX => {
            Err(wrong(index, "trackName is longer than 256 bytes"))
        }
        Some(name) => Ok(name.to_owned()),
    }
}

/// Without a `simulcast` object the client has no wish: the best layer, and another if it fails.
fn selection(
    index: usize,
    simulcast: Option<&SimulcastRequest>,
) -> Result<LayerSelection, NegotiationError> {
    let Some(simulcast) = simulcast else {
        return Ok(LayerSelection {
            preferred_rid: None,
            priority_ordering: Ordering::Asciibetical,
            rid_not_available: Ordering::Asciibetical,
        });
    };
    let preferred_rid = match simulcast.preferred_rid.as_deref() {
        None | Some("") => None,
        Some(text) => Some(
            Rid::from(text)
                .map_err(|_| wrong(index, "simulcast.preferredRid is longer than 16 bytes"))?,
        ),
    };
    let ordering = |field: &str, text: Option<&str>| match text {
        None | Some("none") => Ok(Ordering::None),
        Some("asciibetical") => Ok(Ordering::Asciibetical),
        Some(_) => Err(wrong(
            index,
            &format!("simulcast.{field} must be \"none\" or \"asciibetical\""),
        )),
    };
    Ok(LayerSelection {
        preferred_rid,
        priority_ordering: ordering("priorityOrdering", simulcast.priority_ordering.as_deref())?,
        rid_not_available: ordering("ridNotAvailable", simulcast.rid_not_available.as_deref())?,
    })
}

fn hints(index: usize, track: &TrackRequest) -> Result<HintsRequest, NegotiationError> {
    let priority = track.priority.map(u8::try_from).transpose();
    let max_height = track.max_height.map(u16::try_from).transpose();
    Ok(HintsRequest {
        priority: priority.map_err(|_| wrong(index, "priority must be 0 to 255"))?,
        max_height: match max_height {
            Ok(Some(0)) | Err(_) => Err(wrong(index, "maxHeight must be 1 to 65535")),
            Ok(max_height) => Ok(max_height),
        }?,
    })
}

/// An error that names the entry.
pub(super) fn wrong(index: usize, what: &str) -> NegotiationError {
    NegotiationError::InvalidParams(format!("tracks[{index}]: {what}"))
}

const TRACK_NAME_BYTES_MAX: usize = 256;
/// What is not 32 digits names no session anyway; this only bounds the echo.
const SESSION_ID_BYTES_MAX: usize = 256;
