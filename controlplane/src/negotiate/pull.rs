//! Tracks that the client receives: by an offer of ours, into its own offer, or into a
//! bidirectional transceiver without any SDP.

use shared::protocol::{
    Change, CodecMapping, Extension, ExtensionMapping, Mid, SubscribeParameters,
};

use super::client_offer::Answering;
use super::codecs::{candidates, is_for_subscriber, map_onto, missing_codec, offered_number};
use super::error::{ErrorCode, ItemError};
use super::item::Pull;
use super::line::{MediaLine, Pending, Receive, Subscription, Wish};
use super::model::SessionModel;
use super::plan::TrackResult;
use super::published::{Lookup, PublishedTrack, Publishers};
use super::push::Laid;
use super::request::Context;
use super::slot::{self, send_source};
use crate::sdp::Direction;

/// Lays sections out for our offer, one for each track that is there; those that name a
/// bidirectional transceiver need none.
pub(super) fn by_our_offer(
    model: &mut SessionModel,
    changes: &mut Vec<Change>,
    pulls: &[Pull],
    context: &mut Context<'_>,
) -> (Vec<TrackResult>, Laid) {
    let mut laid = Laid::Nothing;
    let mut results = Vec::new();
    for pull in pulls {
        let mid = find(pull, context.publishers).and_then(|published| match carrier(pull) {
            Some(track_name) => put_into(model, changes, track_name, pull, &published),
            None => {
                let mid = lay_out(model, pull, &published, context)?;
                laid = Laid::Sections;
                Ok(mid)
            }
        });
        results.push(result(pull, mid));
    }
    (results, laid)
}

/// Puts tracks into sections of the client's offer that can receive.
pub(super) fn into_offer(
    answering: &mut Answering,
    pulls: &[Pull],
    context: &mut Context<'_>,
) -> Vec<TrackResult> {
    let mut results = Vec::new();
    for pull in pulls {
        let mid = find(pull, context.publishers).and_then(|published| match carrier(pull) {
            Some(track_name) => {
                let Answering { model, changes, .. } = answering;
                put_into(model, changes, track_name, pull, &published)
            }
            None => subscribe_in_offer(answering, pull, &published, context),
        });
        results.push(result(pull, mid));
    }
    results
}

/// The published track that an item names.
pub(super) fn find(
    pull: &Pull,
    publishers: &dyn Publishers,
) -> Result<Box<PublishedTrack>, ItemError> {
    let lookup = match pull.session {
        Some(session) => publishers.find(session, &pull.track_name),
        None => Lookup::NotFound,
    };
    match lookup {
        Lookup::Found(published) if published.codecs.is_empty() => Err(missing_codec()),
        Lookup::Found(published) => Ok(published),
        Lookup::NotFound => Err(ItemError {
            code: ErrorCode::NotFoundTrackError,
            description:
                "Track not found on remote peer. Make sure the publisher peer is connected \
                          and sending packets for this track"
                    .to_owned(),
        }),
        Lookup::Empty => Err(ItemError {
            code: ErrorCode::EmptyTrackError,
            description:
                "No track data from remote peer. Make sure the publisher peer is connected \
                          and sending packets for this track"
                    .to_owned(),
        }),
    }
}

/// One entry of the response. A failed pull has an empty mid, as on the live service.
pub(super) fn result(pull: &Pull, outcome: Result<Mid, ItemError>) -> TrackResult {
    let (mid, error) = match outcome {
        Ok(mid) => (mid.to_string(), None),
        Err(error) => (String::new(), Some(error)),
    };
    TrackResult {
        mid: Some(mid),
        session_id: Some(pull.session_text.clone()),
        track_name: Some(pull.track_name.clone()),
        kind: None,
        simulcast: pull.simulcast.clone(),
        hints: pull.hints,
        error,
    }
}

/// What goes from publisher to subscriber, the mid, and the number by which the client tells when
/// each packet came.
pub(super) fn subscriber_extensions(
    model: &SessionModel,
    line: &MediaLine,
) -> Vec<ExtensionMapping> {
    let mut payload_types = line.payload_types.iter();
    let tells_arrivals = payload_types.any(|number| {
        let known = model.numbers.format(*number);
        known.is_some_and(|known| known.feedback.transport_cc)
    });
    let mut extensions = model.extensions_of(line);
    extensions.retain(|known| is_for_subscriber(known.extension, tells_arrivals));
    extensions
}

/// Feeds a live subscription from another track, or with another wish for the same one.
pub(super) fn resubscribe(
    model: &mut SessionModel,
    changes: &mut Vec<Change>,
    mid: &str,
    published: &PublishedTrack,
    wish: Wish,
) -> Result<(), ItemError> {
    let line = model.line(mid).ok_or_else(missing_codec)?;
    let codecs = map_onto(published, line, &model.numbers)?;
    let Some(line) = model.line_mut(mid) else {
        return Err(missing_codec());
    };
    let Some(subscription) = &mut line.subscription else {
        return Err(missing_codec());
    };
    subscription.source = published.id;
    subscription.track_name.clone_from(&published.track_name);
    subscription.wish = wish;
    changes.push(Change::Resubscribe {
        number: subscription.number,
        source: published.id,
        codecs,
        selection: wish.selection,
        hints: wish.hints,
    });
    Ok(())
}

/// `#NAME` of `mid`.
fn carrier(pull: &Pull) -> Option<&str> {
    pull.mid.as_deref()?.strip_prefix('#')
}

fn lay_out(
    model: &mut SessionModel,
    pull: &Pull,
    published: &PublishedTrack,
    context: &mut Context<'_>,
) -> Result<Mid, ItemError> {
    check_room(model)?;
    let mut payload_types: Vec<u8> = Vec::new();
    for source in published.codecs.iter().take(shared::limits::CODECS_MAX) {
        let number = offered_number(published, source, &mut model.numbers);
        payload_types.extend(number.filter(|number| !payload_types.contains(number)));
    }
    let candidates = candidates(published, &payload_types, &model.numbers);
    // There may be no payload types left for what the publisher sends.
    if candidates
        .first()
        .is_none_or(|first| first.payload_types.is_empty())
    {
        return Err(missing_codec());
    }
    let mut extensions: Vec<u8> = Vec::new();
    let end_to_end = published
        .extensions
        .iter()
        .filter(|extension| extension.is_end_to_end());
    for extension in HOP_BY_HOP.iter().chain(end_to_end) {
        extensions.extend(model.numbers.id_for(*extension));
    }
    let vacant = model
        .media_lines()
        .find(|line| line.is_vacant_for_pull(published.kind));
    let mut line = match vacant {
        Some(line) => line.clone(),
        None => slot::new_line(model, published.kind)?,
    };
    let is_new = model.line(line.mid.as_str()).is_none();
    line.source = Some(send_source(model, &payload_types, context.randomness));
    line.payload_types = payload_types;
    line.extensions = extensions;
    let number = model.new_subscription();
    line.subscription = Some(subscription(number, pull, published));
    line.pending = Some(Pending::Subscribe { candidates });
    let mid = line.mid;
    if is_new {
        slot::place(model, line);
    } else if let Some(old) = model.line_mut(mid.as_str()) {
        *old = line;
    }
    Ok(mid)
}

fn subscribe_in_offer(
    answering: &mut Answering,
    pull: &Pull,
    published: &PublishedTrack,
    context: &mut Context<'_>,
) -> Result<Mid, ItemError> {
    let model = &answering.model;
    check_room(model)?;
    let is_free = |line: &&MediaLine| {
        line.kind == published.kind && line.client_receives && line.subscription.is_none()
    };
    // A line that is not inactive would give the client no new `track` event.
    let is_quiet = |line: &&MediaLine| line.direction == Direction::Inactive || line.bidirectional;
    let named = pull
        .mid
        .as_deref()
        .and_then(|mid| model.line(mid))
        .filter(is_free);
    let others = model.media_lines().filter(is_free).filter(is_quiet);
    let mut refusal = ItemError {
        code: ErrorCode::TrackError,
        description: "mid: no media section of the offer is free to receive this track".to_owned(),
    };
    let mut found = None;
    for line in named.into_iter().chain(others) {
        match map_onto(published, line, &model.numbers) {
            Ok(codecs) => {
                found = Some((line.mid, codecs));
                break;
            }
            Err(error) => refusal = error,
        }
    }
    if let Some((mid, codecs)) = found {
        let codecs = without_refused_rtx(answering, mid, codecs);
        begin(answering, mid, pull, published, (codecs, context));
        return Ok(mid);
    }
    Err(refusal)
}

/// A section may leave out the retransmissions that another one of the session has.
fn without_refused_rtx(
    answering: &Answering,
    mid: Mid,
    mut codecs: Vec<CodecMapping>,
) -> Vec<CodecMapping> {
    let offered = answering
        .section(mid.as_str())
        .map_or(&[][..], |section| &section.codecs);
    for mapping in &mut codecs {
        let codec = offered
            .iter()
            .find(|codec| codec.payload_type == mapping.payload_type);
        let rtx = codec.and_then(|codec| codec.rtx_payload_type);
        mapping.rtx_payload_type = mapping.rtx_payload_type.filter(|known| rtx == Some(*known));
    }
    codecs
}

fn begin(
    answering: &mut Answering,
    mid: Mid,
    pull: &Pull,
    published: &PublishedTrack,
    (codecs, context): (Vec<CodecMapping>, &mut Context<'_>),
) {
    let model = &mut answering.model;
    let number = model.new_subscription();
    let used: Vec<u8> = codecs.iter().map(|mapping| mapping.payload_type).collect();
    let Some(line) = model.line(mid.as_str()) else {
        return;
    };
    let source = line
        .source
        .unwrap_or_else(|| send_source(model, &used, context.randomness));
    // A section in which the client does not send is narrowed down to what we send in it.
    let narrow = matches!(line.receive, Receive::Nothing | Receive::Closed);
    let extensions: Vec<u8> = subscriber_extensions(model, line)
        .into_iter()
        .filter(|known| {
            HOP_BY_HOP.contains(&known.extension) || published.extensions.contains(&known.extension)
        })
        .map(|known| known.id)
        .collect();
    if let Some(line) = model.line_mut(mid.as_str()) {
        line.source = Some(source);
        line.subscription = Some(subscription(number, pull, published));
        if narrow {
            line.payload_types.retain(|number| used.contains(number));
            line.extensions = extensions;
        }
    }
    push_subscribe(model, &mut answering.changes, mid, codecs);
}

/// Puts a track into the transceiver that carries the client's own track `track_name`.
fn put_into(
    model: &mut SessionModel,
    changes: &mut Vec<Change>,
    track_name: &str,
    pull: &Pull,
    published: &PublishedTrack,
) -> Result<Mid, ItemError> {
    let carries = |line: &&MediaLine| {
        line.publication()
            .is_some_and(|publication| publication.track_name == track_name)
    };
    let refuse = |what: &str| ItemError {
        code: ErrorCode::TrackError,
        description: format!("mid: the transceiver of #{track_name} {what}"),
    };
    let Some(line) = model.media_lines().find(carries) else {
        return Err(refuse("does not exist (is its offer answered?)"));
    };
    if !line.bidirectional || line.source.is_none() {
        return Err(refuse("is not bidirectional"));
    }
    if line.kind != published.kind {
        return Err(refuse("is of another kind than the track"));
    }
    let mid = line.mid;
    if line.subscription.is_some() {
        resubscribe(model, changes, mid.as_str(), published, pull.wish())?;
        return Ok(mid);
    }
    check_room(model)?;
    let codecs = map_onto(published, line, &model.numbers)?;
    let number = model.new_subscription();
    if let Some(line) = model.line_mut(mid.as_str()) {
        line.subscription = Some(subscription(number, pull, published));
    }
    push_subscribe(model, changes, mid, codecs);
    Ok(mid)
}

/// Tells the data plane of the subscription that the line has been given.
pub(super) fn push_subscribe(
    model: &SessionModel,
    changes: &mut Vec<Change>,
    mid: Mid,
    codecs: Vec<CodecMapping>,
) {
    let Some(line) = model.line(mid.as_str()) else {
        return;
    };
    let (Some(subscription), Some(source)) = (&line.subscription, line.source) else {
        return;
    };
    let has_rtx = codecs
        .iter()
        .any(|mapping| mapping.rtx_payload_type.is_some());
    changes.push(Change::Subscribe(Box::new(SubscribeParameters {
        number: subscription.number,
        mid,
        kind: line.kind,
        source: subscription.source,
        ssrc: source.ssrc,
        rtx_ssrc: source.rtx_ssrc.filter(|_| has_rtx),
        codecs,
        extensions: subscriber_extensions(model, line),
        selection: subscription.wish.selection,
        hints: subscription.wish.hints,
    })));
}

fn subscription(number: u32, pull: &Pull, published: &PublishedTrack) -> Subscription {
    Subscription {
        number,
        source: published.id,
        track_name: published.track_name.clone(),
        wish: pull.wish(),
    }
}

fn check_room(model: &SessionModel) -> Result<(), ItemError> {
    if model.has_room_for_subscription() {
        return Ok(());
    }
    Err(ItemError {
        code: ErrorCode::TrackError,
        description: "The session pulls as many tracks as it may".to_owned(),
    })
}

/// What a section that only we send in has whatever the publisher sends.
const HOP_BY_HOP: [Extension; 2] = [Extension::Mid, Extension::TransportWideSequenceNumber];
