//! `tracks/new`: which of its shapes a request has.

use shared::protocol::Change;

use super::client_offer::Answering;
use super::error::NegotiationError;
use super::item::{Items, expect_some};
use super::line::Line;
use super::model::{OfferState, SessionModel};
use super::plan::{LocalSdp, Plan, Renegotiation, TrackResult};
use super::push::Laid;
use super::request::{AddTracks, Context, Discovery};
use super::{describe, pull, push};
use crate::sdp::DescriptionKind;

/// See [`super::add_tracks`].
pub(super) fn tracks(
    model: &SessionModel,
    request: &AddTracks,
    context: &mut Context<'_>,
) -> Result<Plan, NegotiationError> {
    if request.discovery == Discovery::Off {
        expect_some(request.tracks.len())?;
    } else if request.description.is_none() {
        return Err(NegotiationError::Body("sessionDescription".to_owned()));
    }
    let items = Items::check(&request.tracks)?;
    match &request.description {
        Some(description) => {
            let model = model.clone();
            let mut answering = Answering::begin(model, Vec::new(), description, context)?;
            let results = match &items {
                Items::Push(pushes) => {
                    push::into_offer(&mut answering, pushes, request.discovery, context)?
                }
                Items::Pull(pulls) => pull::into_offer(&mut answering, pulls, context),
            };
            let mut plan = answering.finish(context)?;
            plan.tracks = results;
            Ok(plan)
        }
        None => by_our_offer(model, &items, context),
    }
}

fn by_our_offer(
    model: &SessionModel,
    items: &Items,
    context: &mut Context<'_>,
) -> Result<Plan, NegotiationError> {
    let mut next = model.clone();
    let mut changes = Vec::new();
    let (results, laid) = match items {
        Items::Push(pushes) => push::by_our_offer(&mut next, &mut changes, pushes, context)?,
        Items::Pull(pulls) => pull::by_our_offer(&mut next, &mut changes, pulls, context),
    };
    match (laid, model.offer) {
        (Laid::Sections, OfferState::HaveLocalOffer) => Err(NegotiationError::HaveLocalOffer),
        (Laid::Sections, OfferState::Stable) => offer(next, changes, results, context),
        (Laid::Nothing, _) => {
            let mut plan = next.into_plan(changes)?;
            plan.tracks = results;
            Ok(plan)
        }
    }
}

fn offer(
    mut model: SessionModel,
    changes: Vec<Change>,
    results: Vec<TrackResult>,
    context: &Context<'_>,
) -> Result<Plan, NegotiationError> {
    model.version = model.version.saturating_add(1);
    model.offer = OfferState::HaveLocalOffer;
    for line in model.lines.iter_mut().filter_map(Line::media_mut) {
        line.direction = line.offered_direction();
    }
    let sdp = describe::offer(&model, context.transport);
    let mut plan = model.into_plan(changes)?;
    plan.tracks = results;
    plan.description = Some(LocalSdp {
        kind: DescriptionKind::Offer,
        sdp,
    });
    plan.renegotiation = Renegotiation::Needed;
    Ok(plan)
}
