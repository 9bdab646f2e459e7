//! Tracks that the client sends: into its own offer, or by an offer of ours.

use shared::protocol::{Change, Extension, LayerParameters, MediaKind, Mid, PublishParameters};

use super::client_offer::Answering;
use super::codecs::{published_codecs, usual_formats};
use super::error::{ErrorCode, ItemError, NegotiationError};
use super::item::{Flow, Push, wrong};
use super::line::{MediaLine, Pending, Publication, Receive};
use super::model::SessionModel;
use super::plan::TrackResult;
use super::random;
use super::request::{Context, Discovery};
use super::slot::{self, send_source};

/// Claims sections of the client's offer for `pushes`, and for discovered tracks.
pub(super) fn into_offer(
    answering: &mut Answering,
    pushes: &[Push],
    discovery: Discovery,
    context: &mut Context<'_>,
) -> Result<Vec<TrackResult>, NegotiationError> {
    let mut results = Vec::new();
    for (index, push) in pushes.iter().enumerate() {
        let Some(mid) = push.mid.as_deref() else {
            return Err(wrong(index, "Missing mid in track"));
        };
        let layers = answering
            .section(mid)
            .filter(|section| section.direction.sends())
            .map(|section| section.layers.to_vec());
        let claimed = claim(
            &mut answering.model,
            &mut answering.changes,
            push,
            mid,
            layers,
        );
        if claimed.is_ok() && push.flow == Flow::BothWays {
            make_bidirectional(&mut answering.model, mid, context);
        }
        results.push(result(mid, &push.track_name, claimed));
    }
    if discovery == Discovery::On {
        results.extend(discover(answering, context));
    }
    Ok(results)
}

/// Claims sections that were negotiated before, or lays new ones out for our offer. Says whether
/// there is anything to offer.
pub(super) fn by_our_offer(
    model: &mut SessionModel,
    changes: &mut Vec<Change>,
    pushes: &[Push],
    context: &mut Context<'_>,
) -> Result<(Vec<TrackResult>, Laid), NegotiationError> {
    let mut results = Vec::new();
    let mut laid = Laid::Nothing;
    for (index, push) in pushes.iter().enumerate() {
        let unclaimed = push
            .mid
            .as_deref()
            .and_then(|mid| match &model.line(mid)?.receive {
                Receive::Unclaimed(layers) => Some((mid, layers.to_vec())),
                Receive::Nothing | Receive::Track(_) | Receive::Closed => None,
            });
        if let Some((mid, layers)) = unclaimed {
            let claimed = claim(model, changes, push, mid, Some(layers));
            results.push(result(mid, &push.track_name, claimed));
            continue;
        }
        let Some(kind) = push.kind else {
            return Err(wrong(
                index,
                "Missing kind in track (the SFU makes the offer)",
            ));
        };
        match lay_out(model, push, kind, context) {
            Ok(mid) => {
                laid = Laid::Sections;
                results.push(result(&mid, &push.track_name, Ok(())));
            }
            Err(error) => results.push(result("", &push.track_name, Err(error))),
        }
    }
    Ok((results, laid))
}

/// Whether our next offer has something new in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Laid {
    Nothing,
    Sections,
}

/// Begins a publication on a line.
pub(super) fn publish(
    model: &mut SessionModel,
    changes: &mut Vec<Change>,
    mid: Mid,
    layers: &[LayerParameters],
    track_name: String,
) {
    let number = model.new_publication();
    let Some(line) = model.line(mid.as_str()) else {
        return;
    };
    changes.push(Change::Publish(Box::new(PublishParameters {
        number,
        mid,
        kind: line.kind,
        codecs: published_codecs(model, line),
        extensions: model.extensions_of(line),
        layers: layers.to_vec(),
    })));
    let rids = layers.iter().filter_map(|layer| layer.rid).collect();
    if let Some(line) = model.line_mut(mid.as_str()) {
        line.receive = Receive::Track(Publication {
            number,
            track_name,
            rids,
        });
    }
}

/// Gives what comes in a section its name. `layers`: what the client sends there, if it does.
fn claim(
    model: &mut SessionModel,
    changes: &mut Vec<Change>,
    push: &Push,
    mid: &str,
    layers: Option<Vec<LayerParameters>>,
) -> Result<(), ItemError> {
    check_name(model, &push.track_name)?;
    let Some(line) = model.line(mid) else {
        return Err(ItemError {
            code: ErrorCode::TrackError,
            description: format!(
                "mid: no media section in use has a=mid:{mid} (or the SFU knows none of its codecs)"
            ),
        });
    };
    if let Some(publication) = line.publication() {
        return Err(ItemError {
            code: ErrorCode::RepeatedLocalTrackError,
            description: format!(
                "mid: the media section with a=mid:{mid} carries the track {:?} already",
                publication.track_name
            ),
        });
    }
    let Some(layers) = layers else {
        return Err(ItemError {
            code: ErrorCode::TrackError,
            description: format!("mid: the client does not send in the section with a=mid:{mid}"),
        });
    };
    let mid = line.mid;
    publish(model, changes, mid, &layers, push.track_name.clone());
    Ok(())
}

fn check_name(model: &SessionModel, track_name: &str) -> Result<(), ItemError> {
    let is_taken = model.media_lines().any(|line| {
        let pending = matches!(&line.pending, Some(Pending::Publish { track_name: name }) if name == track_name);
        pending || line.publication().is_some_and(|publication| publication.track_name == track_name)
    });
    if is_taken {
        return Err(ItemError {
            code: ErrorCode::RepeatedLocalTrackError,
            description: format!("trackName: {track_name:?} is published by this session already"),
        });
    }
    if !model.has_room_for_publication() {
        return Err(ItemError {
            code: ErrorCode::TrackError,
            description: "The session publishes as many tracks as it may".to_owned(),
        });
    }
    Ok(())
}

/// Every sending section that has no track yet becomes one.
fn discover(answering: &mut Answering, context: &mut Context<'_>) -> Vec<TrackResult> {
    let is_new = |line: &&MediaLine| matches!(line.receive, Receive::Unclaimed(_));
    let new: Vec<(Mid, MediaKind)> = answering
        .model
        .media_lines()
        .filter(is_new)
        .map(|line| (line.mid, line.kind))
        .take(shared::limits::TRACKS_PER_CALL_MAX)
        .collect();
    let mut results = Vec::new();
    for (mid, kind) in new {
        let push = Push {
            mid: Some(mid.to_string()),
            track_name: random::track_name(context.randomness),
            kind: Some(kind),
            flow: Flow::OneWay,
        };
        let layers = answering
            .section(mid.as_str())
            .map(|section| section.layers.to_vec());
        let (model, changes) = (&mut answering.model, &mut answering.changes);
        let claimed = claim(model, changes, &push, mid.as_str(), layers);
        let result = result(mid.as_str(), &push.track_name, claimed);
        results.push(TrackResult {
            kind: Some(kind),
            ..result
        });
    }
    results
}

/// What we send back in a section that the client offered as `sendrecv`.
fn make_bidirectional(model: &mut SessionModel, mid: &str, context: &mut Context<'_>) {
    let Some(line) = model.line(mid).filter(|line| line.client_receives) else {
        return;
    };
    let source = send_source(model, &line.payload_types, context.randomness);
    if let Some(line) = model.line_mut(mid) {
        line.bidirectional = true;
        line.source = Some(source);
    }
}

/// A section for our offer, in which the client is to send.
fn lay_out(
    model: &mut SessionModel,
    push: &Push,
    kind: MediaKind,
    context: &mut Context<'_>,
) -> Result<Mid, ItemError> {
    check_name(model, &push.track_name)?;
    let formats = usual_formats(kind);
    let payload_types: Vec<u8> = formats
        .iter()
        .filter_map(|(format, number, rtx)| model.numbers.number_for(format, *number, *rtx))
        .collect();
    let wanted: &[Extension] = match kind {
        MediaKind::Audio => &AUDIO_EXTENSIONS,
        MediaKind::Video => &VIDEO_EXTENSIONS,
    };
    let extensions = wanted
        .iter()
        .filter_map(|wanted| model.numbers.id_for(*wanted))
        .collect();
    let mut line = slot::new_line(model, kind)?;
    line.pending = Some(Pending::Publish {
        track_name: push.track_name.clone(),
    });
    if push.flow == Flow::BothWays {
        line.bidirectional = true;
        line.source = Some(send_source(model, &payload_types, context.randomness));
    }
    line.payload_types = payload_types;
    line.extensions = extensions;
    let mid = line.mid;
    slot::place(model, line);
    Ok(mid)
}

fn result(mid: &str, track_name: &str, outcome: Result<(), ItemError>) -> TrackResult {
    TrackResult {
        mid: Some(mid.to_owned()),
        track_name: Some(track_name.to_owned()),
        error: outcome.err(),
        ..TrackResult::default()
    }
}

const AUDIO_EXTENSIONS: [Extension; 3] = [
    Extension::AudioLevel,
    Extension::TransportWideSequenceNumber,
    Extension::Mid,
];

const VIDEO_EXTENSIONS: [Extension; 10] = [
    Extension::VideoOrientation,
    Extension::TransportWideSequenceNumber,
    Extension::PlayoutDelay,
    Extension::VideoContentType,
    Extension::VideoTiming,
    Extension::ColorSpace,
    Extension::DependencyDescriptor,
    Extension::Mid,
    Extension::RtpStreamId,
    Extension::RepairedRtpStreamId,
];
