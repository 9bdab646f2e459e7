//! `tracks/update`: another source or another layer for a track that is pulled already.

use shared::id::PublicationId;
use shared::protocol::{Change, Mid};

use super::codecs::candidates;
use super::error::{ErrorCode, ItemError, NegotiationError};
use super::item::{self, Pull, expect_some, wrong};
use super::line::{MediaLine, Pending};
use super::model::SessionModel;
use super::plan::Plan;
use super::published::{PublishedTrack, Publishers};
use super::pull;
use super::request::TrackRequest;

/// See [`super::update_tracks`].
pub(super) fn tracks(
    model: &SessionModel,
    tracks: &[TrackRequest],
    publishers: &dyn Publishers,
) -> Result<Plan, NegotiationError> {
    expect_some(tracks.len())?;
    let mut next = model.clone();
    let mut changes = Vec::new();
    let mut results = Vec::new();
    for (index, track) in tracks.iter().enumerate() {
        if track.location.as_deref() != Some("remote") {
            return Err(wrong(index, "location must be \"remote\""));
        }
        let pull = item::pull(index, track)?;
        let outcome = update_one(&mut next, &mut changes, &pull, publishers);
        let mut result = pull::result(&pull, outcome);
        if result.error.is_some() {
            result.mid.clone_from(&track.mid);
        }
        results.push(result);
    }
    let mut plan = next.into_plan(changes)?;
    plan.tracks = results;
    Ok(plan)
}

fn update_one(
    model: &mut SessionModel,
    changes: &mut Vec<Change>,
    pull: &Pull,
    publishers: &dyn Publishers,
) -> Result<Mid, ItemError> {
    let is_meant = |line: &&MediaLine| match (&pull.mid, &line.subscription) {
        (_, None) => false,
        (Some(mid), Some(_)) => line.mid.as_str() == mid,
        (None, Some(subscription)) => {
            Some(subscription.source.session) == pull.session
                && subscription.track_name == pull.track_name
        }
    };
    let Some(line) = model.media_lines().find(is_meant) else {
        return Err(refusal("mid: the session pulls no track there"));
    };
    let (mid, kind) = (line.mid, line.kind);
    let source = line
        .subscription
        .as_ref()
        .map(|subscription| subscription.source);
    let published = pull::find(pull, publishers)?;
    if published.kind != kind {
        return Err(refusal(
            "trackName: the track is of another kind than the one it replaces",
        ));
    }
    if source == Some(published.id) {
        if published.rids.is_empty() && pull.simulcast.is_some() {
            return Err(refusal(
                "The track is not configured for simulcast, no updates applicable.",
            ));
        }
        if pull.simulcast.is_none() {
            return Ok(mid);
        }
    }
    if line.pending.is_some() {
        replace_pending(model, mid, pull, &published)?;
    } else {
        pull::resubscribe(model, changes, mid.as_str(), &published, pull.selection)?;
    }
    Ok(mid)
}

/// The track was offered, but the answer has not come yet: it will begin otherwise.
fn replace_pending(
    model: &mut SessionModel,
    mid: Mid,
    pull: &Pull,
    published: &PublishedTrack,
) -> Result<(), ItemError> {
    let Some(line) = model.line(mid.as_str()) else {
        return Err(refusal("mid: the session pulls no track there"));
    };
    let candidates = candidates(published, &line.payload_types, &model.numbers);
    if candidates
        .first()
        .is_none_or(|first| first.payload_types.is_empty())
    {
        return Err(super::codecs::missing_codec());
    }
    let source: PublicationId = published.id;
    if let Some(line) = model.line_mut(mid.as_str()) {
        line.pending = Some(Pending::Subscribe {
            candidates,
            selection: pull.selection,
        });
        if let Some(subscription) = &mut line.subscription {
            subscription.source = source;
            subscription.track_name.clone_from(&published.track_name);
        }
    }
    Ok(())
}

fn refusal(what: &str) -> ItemError {
    ItemError {
        code: ErrorCode::UpdateTrackError,
        description: what.to_owned(),
    }
}
