//! The pure half of the API: a model of one session, a request, and what comes of them.
//!
//! Each function takes the session as it is and gives a [`Plan`]: what to tell the data plane, the
//! session as it will be, and the parts of the response. Nothing here does I/O, reads a clock or
//! draws random numbers of its own.
//!
//! How a call is carried out: decode the model, call one of the functions, send `plan.changes`
//! with `plan.model.encode()` to the data plane, and only on success keep the model and answer.
//! A call that fails leaves everything as it was.

use std::num::NonZeroU8;

use shared::id::SessionId;
use shared::protocol::Change;

use client_offer::Answering;

mod add;
mod client_answer;
mod client_offer;
mod close;
mod codecs;
mod describe;
mod error;
mod item;
mod line;
mod model;
mod numbers;
mod plan;
mod published;
mod pull;
mod push;
mod random;
mod request;
mod slot;
mod update;

pub use error::{ErrorCode, ItemError, NegotiationError};
pub use model::{ModelError, SessionModel};
pub use plan::{LocalSdp, Plan, Renegotiation, TrackResult, TrackSource, TrackStage, TrackView};
pub use published::{Lookup, PublishedFormat, PublishedTrack, Publishers};
pub use random::Randomness;
pub use request::{
    AddTracks, CloseMode, CloseTracks, Context, CreateSession, Discovery, HintsRequest,
    LocalTransport, SessionDescription, SimulcastRequest, TrackRequest,
};

/// `POST sessions/new`: makes a session, and answers the offer if there is one. `plan.tracks` is
/// empty.
///
/// # Errors
/// The offer cannot be used.
pub fn create_session(
    request: &CreateSession,
    context: &mut Context<'_>,
) -> Result<Plan, NegotiationError> {
    let CreateSession {
        session,
        description,
        loudest_audio,
    } = request;
    let model = SessionModel::new(*session, context.randomness);
    let mut changes = vec![Change::Open(model.local_ice.clone())];
    if loudest_audio.is_some() {
        changes.push(Change::LimitAudio {
            loudest: *loudest_audio,
        });
    }
    match description {
        Some(description) => {
            Answering::begin(model, changes, description, context)?.finish(context)
        }
        None => model.into_plan(changes),
    }
}

/// `POST tracks/new`, in all its shapes.
///
/// # Errors
/// The call as a whole is wrong; what is wrong with one item stands in [`TrackResult::error`].
pub fn add_tracks(
    model: &SessionModel,
    request: &AddTracks,
    context: &mut Context<'_>,
) -> Result<Plan, NegotiationError> {
    add::tracks(model, request, context)
}

/// `PUT renegotiate`: takes the answer to our offer, or an offer of the client (an ICE restart, or
/// any other change of its transceivers), which is answered in `plan.description`.
///
/// # Errors
/// The description cannot be used, or does not fit the signalling state.
pub fn renegotiate(
    model: &SessionModel,
    description: &SessionDescription,
    context: &mut Context<'_>,
) -> Result<Plan, NegotiationError> {
    match description.kind.as_str() {
        "answer" => client_answer::apply(model, &description.sdp),
        "offer" => {
            Answering::begin(model.clone(), Vec::new(), description, context)?.finish(context)
        }
        _ => Err(NegotiationError::AnswerExpected),
    }
}

/// `PUT tracks/close`.
///
/// # Errors
/// The call as a whole is wrong.
pub fn close_tracks(
    model: &SessionModel,
    request: &CloseTracks,
    context: &mut Context<'_>,
) -> Result<Plan, NegotiationError> {
    close::tracks(model, request, context)
}

/// `PUT tracks/update`: other sources or other layers for tracks that are pulled already.
///
/// # Errors
/// The call as a whole is wrong.
pub fn update_tracks(
    model: &SessionModel,
    tracks: &[TrackRequest],
    publishers: &dyn Publishers,
) -> Result<Plan, NegotiationError> {
    update::tracks(model, tracks, publishers)
}

/// `PUT audio`: how many audio tracks are forwarded to the client at most, the loudest; none for all.
///
/// # Errors
/// The session is full.
pub fn limit_audio(
    model: &SessionModel,
    loudest: Option<NonZeroU8>,
) -> Result<Plan, NegotiationError> {
    model
        .clone()
        .into_plan(vec![Change::LimitAudio { loudest }])
}

/// The tracks that `request` pulls: what the caller must be able to look up, each pair once.
/// At most 64 tracks are worth a look-up: more are refused. Malformed session ids are left out (they are answered `not_found_track_error`).
pub fn pulled_tracks(tracks: &[TrackRequest]) -> Vec<(SessionId, &str)> {
    let mut pairs: Vec<(SessionId, &str)> = Vec::new();
    for track in tracks
        .iter()
        .filter(|track| track.location.as_deref() == Some("remote"))
    {
        let session = track
            .session_id
            .as_deref()
            .and_then(|text| text.parse().ok());
        let (Some(session), Some(name)) = (session, track.track_name.as_deref()) else {
            continue;
        };
        if !pairs.contains(&(session, name)) {
            pairs.push((session, name));
        }
    }
    pairs
}

#[cfg(test)]
mod tests;
