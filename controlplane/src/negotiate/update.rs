//! `tracks/update`: another source, another layer or other hints for a track that is pulled already.

use shared::id::PublicationId;
use shared::protocol::{Change, Mid};

use super::codecs::candidates;
use super::error::{ErrorCode, ItemError, NegotiationError};
use super::item::{self, Pull, expect_some, wrong};
use super::line::{MediaLine, Pending, Wish};
use super::model::SessionModel;
use super::plan::Plan;
use super::published::{PublishedTrack, Publishers};
use super::pull;
use super::request::{HintsRequest, TrackRequest};

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
    let line = model.media_lines().find(is_meant);
    let Some((line, present)) = line.and_then(|line| Some((line, line.subscription.as_ref()?)))
    else {
        return Err(refusal("mid: the session pulls no track there"));
    };
    let (mid, kind) = (line.mid, line.kind);
    let published = pull::find(pull, publishers)?;
    if published.kind != kind {
        return Err(refusal(
            "trackName: the track is of another kind than the one it replaces",
        ));
    }
    let is_same = present.source == published.id;
    if is_same && published.rids.is_empty() && pull.simulcast.is_some() {
        return Err(refusal(
            "The track is not configured for simulcast, no updates applicable.",
        ));
    }
    if is_same && pull.simulcast.is_none() && pull.hints == HintsRequest::default() {
        return Ok(mid);
    }
    // What the call does not name stays. Rids are another track's own, but hints are about how the
    // client shows whatever comes.
    let wish = Wish {
        selection: if is_same && pull.simulcast.is_none() {
            present.wish.selection
        } else {
            pull.selection
        },
        hints: pull.hints.over(present.wish.hints),
    };
    if line.pending.is_some() {
        replace_pending(model, mid, &published, wish)?;
    } else {
        pull::resubscribe(model, changes, mid.as_str(), &published, wish)?;
    }
    Ok(mid)
}

/// The track was offered, but the answer has not come yet: it will begin otherwise.
fn replace_pending(
    model: &mut SessionModel,
    mid: Mid,
    published: &PublishedTrack,
    wish: Wish,
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
        line.pending = Some(Pending::Subscribe { candidates });
        if let Some(subscription) = &mut line.subscription {
            subscription.source = source;
            subscription.track_name.clone_from(&published.track_name);
            subscription.wish = wish;
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
