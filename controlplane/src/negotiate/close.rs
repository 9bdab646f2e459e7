//! `tracks/close`.

use shared::protocol::Change;

use super::client_offer::{Answering, close};
use super::error::{ErrorCode, ItemError, NegotiationError};
use super::item::expect_some;
use super::model::{OfferState, SessionModel};
use super::plan::{Plan, TrackResult};
use super::request::{CloseMode, CloseTracks, Context};

/// See [`super::close_tracks`].
pub(super) fn tracks(
    model: &SessionModel,
    request: &CloseTracks,
    context: &mut Context<'_>,
) -> Result<Plan, NegotiationError> {
    expect_some(request.mids.len())?;
    let mut model = model.clone();
    let mut changes = Vec::new();
    if request.mode == CloseMode::Negotiated {
        if request.description.is_none() {
            return Err(NegotiationError::Body("sessionDescription".to_owned()));
        }
        if model.offer == OfferState::HaveLocalOffer {
            return Err(NegotiationError::HaveLocalOffer);
        }
    }
    // Before the offer is looked at: it stops some of these transceivers, and leaves others
    // active that are to be closed all the same.
    let results: Vec<TrackResult> = request
        .mids
        .iter()
        .map(|mid| close_one(&mut model, &mut changes, mid))
        .collect();
    let mut plan = match &request.description {
        Some(description) => {
            Answering::begin(model, changes, description, context)?.finish(context)?
        }
        None => model.into_plan(changes)?,
    };
    plan.tracks = results;
    Ok(plan)
}

fn close_one(model: &mut SessionModel, changes: &mut Vec<Change>, mid: &str) -> TrackResult {
    let line = model.line_mut(mid).filter(|line| {
        line.publication().is_some() || line.subscription.is_some() || line.pending.is_some()
    });
    let error = match line {
        Some(line) => {
            close(line, changes);
            None
        }
        None => Some(ItemError {
            code: ErrorCode::CloseTrackError,
            description: "Track doesn't exist or was already closed".to_owned(),
        }),
    };
    TrackResult {
        mid: Some(mid.to_owned()),
        error,
        ..TrackResult::default()
    }
}
