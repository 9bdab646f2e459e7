//! What a decoded value must keep to, whoever wrote it.

use super::WireError;
use crate::limits::{
    CHANGES_MAX, CODECS_MAX, EXTENSIONS_MAX, LAYERS_MAX, MODEL_BYTES_MAX, PASSWORD_BYTES_MAX,
    PUBLICATIONS_PER_SESSION_MAX, SUBSCRIPTIONS_PER_SESSION_MAX, UFRAG_BYTES_MAX,
};
use crate::protocol::{
    Change, CodecMapping, Command, Fingerprint, HashAlgorithm, IceCredentials, Message,
    PublicationReport, PublishParameters, RemoteTransport, Reply, Request, Response, SessionReport,
    SessionStatistics, SubscribeParameters,
};

type Checked = Result<(), WireError>;

pub(super) fn check_request(request: &Request) -> Checked {
    match &request.command {
        Command::ListSessions { .. }
        | Command::InspectSession { .. }
        | Command::MeasureSession { .. }
        | Command::CloseSession { .. } => Ok(()),
        Command::Execute {
            session: _,
            changes,
            model,
        } => {
            at_most(CHANGES_MAX, changes.len(), "changes")?;
            at_most(MODEL_BYTES_MAX, model.as_ref().map_or(0, Vec::len), "model")?;
            changes.iter().try_for_each(check_change)
        }
    }
}

pub(super) fn check_message(message: &Message) -> Checked {
    match message {
        Message::Response(Response {
            id: _,
            result: Ok(Reply::Session(report)),
        }) => check_report(report),
        Message::Response(Response {
            id: _,
            result: Ok(Reply::Statistics(statistics)),
        }) => check_statistics(statistics),
        // A page of sessions has no bound but the record.
        Message::Response(_) | Message::Event(_) => Ok(()),
    }
}

fn check_change(change: &Change) -> Checked {
    match change {
        Change::Open(local) => check_credentials(local),
        Change::SetRemote(remote) => check_remote(remote),
        Change::RestartIce { local, remote } => {
            check_credentials(local)?;
            check_credentials(remote)
        }
        Change::Publish(parameters) => check_publish(parameters),
        Change::Subscribe(parameters) => check_subscribe(parameters),
        Change::Resubscribe { codecs, .. } => check_codecs(codecs),
        Change::Unpublish { .. } | Change::Unsubscribe { .. } | Change::LimitAudio { .. } => Ok(()),
    }
}

/// RFC 8839 §5.4: a ufrag has 4 to 256 characters, a password 22 to 256.
fn check_credentials(credentials: &IceCredentials) -> Checked {
    within(4, UFRAG_BYTES_MAX, credentials.ufrag.len(), "ufrag")?;
    within(
        22,
        PASSWORD_BYTES_MAX,
        credentials.password.len(),
        "password",
    )
}

fn check_remote(remote: &RemoteTransport) -> Checked {
    check_credentials(&remote.ice)?;
    within(
        1,
        FINGERPRINTS_MAX,
        remote.fingerprints.len(),
        "fingerprints",
    )?;
    remote.fingerprints.iter().try_for_each(check_fingerprint)
}

/// A digest is as long as its hash function says.
pub(crate) fn check_fingerprint(fingerprint: &Fingerprint) -> Checked {
    let length = match fingerprint.algorithm {
        HashAlgorithm::Sha256 => 32,
        HashAlgorithm::Sha384 => 48,
        HashAlgorithm::Sha512 => 64,
    };
    within(length, length, fingerprint.digest.len(), "fingerprint")
}

fn check_publish(parameters: &PublishParameters) -> Checked {
    within(1, CODECS_MAX, parameters.codecs.len(), "codecs")?;
    at_most(EXTENSIONS_MAX, parameters.extensions.len(), "extensions")?;
    within(1, LAYERS_MAX, parameters.layers.len(), "layers")?;
    for codec in &parameters.codecs {
        check_payload_type(codec.payload_type)?;
        codec.rtx_payload_type.map_or(Ok(()), check_payload_type)?;
    }
    parameters
        .extensions
        .iter()
        .try_for_each(|mapping| check_extension_id(mapping.id))
}

fn check_subscribe(parameters: &SubscribeParameters) -> Checked {
    check_codecs(&parameters.codecs)?;
    at_most(EXTENSIONS_MAX, parameters.extensions.len(), "extensions")?;
    parameters
        .extensions
        .iter()
        .try_for_each(|mapping| check_extension_id(mapping.id))
}

fn check_codecs(codecs: &[CodecMapping]) -> Checked {
    // None at all is possible: a pull before its publisher's media is known.
    at_most(CODECS_MAX, codecs.len(), "codecs")?;
    for codec in codecs {
        check_payload_type(codec.source_payload_type)?;
        check_payload_type(codec.payload_type)?;
        codec.rtx_payload_type.map_or(Ok(()), check_payload_type)?;
    }
    Ok(())
}

/// RFC 3550 §5.1: seven bits.
fn check_payload_type(payload_type: u8) -> Checked {
    at_most(127, usize::from(payload_type), "payload type")
}

/// RFC 8285 §4.2 and §4.3: 0 is padding in both forms.
fn check_extension_id(id: u8) -> Checked {
    within(1, 255, usize::from(id), "header extension id")
}

fn check_report(report: &SessionReport) -> Checked {
    at_most(MODEL_BYTES_MAX, report.model.len(), "model")?;
    check_publications(&report.publications)
}

fn check_statistics(statistics: &SessionStatistics) -> Checked {
    at_most(
        SUBSCRIPTIONS_PER_SESSION_MAX,
        statistics.subscriptions.len(),
        "subscriptions",
    )?;
    check_publications(&statistics.publications)
}

fn check_publications(publications: &[PublicationReport]) -> Checked {
    at_most(
        PUBLICATIONS_PER_SESSION_MAX,
        publications.len(),
        "publications",
    )?;
    publications
        .iter()
        .try_for_each(|publication| at_most(LAYERS_MAX, publication.layers.len(), "layers"))
}

fn at_most(max: usize, value: usize, what: &'static str) -> Checked {
    within(0, max, value, what)
}

fn within(min: usize, max: usize, value: usize, what: &'static str) -> Checked {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(WireError::OutOfBounds(what))
    }
}

/// Fingerprints that one description may carry (RFC 8122 §5 allows several): one for each hash
/// function that we know, and some to spare.
pub const FINGERPRINTS_MAX: usize = 8;
