//! Header extensions by their URIs (RFC 8285 §5).

use shared::protocol::Extension;

/// What `uri` names, if we know it.
pub(super) fn extension_of(uri: &str) -> Option<Extension> {
    EVERY
        .into_iter()
        .find(|extension| uri_of(*extension) == uri)
}

/// The URI of `extension`.
pub(super) fn uri_of(extension: Extension) -> &'static str {
    match extension {
        Extension::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
        Extension::RtpStreamId => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        Extension::RepairedRtpStreamId => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        Extension::TransportWideSequenceNumber => {
            "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
        }
        Extension::AbsoluteSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        Extension::TransmissionOffset => "urn:ietf:params:rtp-hdrext:toffset",
        Extension::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        Extension::VideoOrientation => "urn:3gpp:video-orientation",
        Extension::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        Extension::VideoContentType => {
            "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"
        }
        Extension::VideoTiming => "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
        Extension::ColorSpace => "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
        Extension::DependencyDescriptor => {
            "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
        }
        Extension::VideoLayersAllocation => {
            "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"
        }
        Extension::AbsoluteCaptureTime => {
            "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
        }
    }
}

const EVERY: [Extension; 15] = [
    Extension::Mid,
    Extension::RtpStreamId,
    Extension::RepairedRtpStreamId,
    Extension::TransportWideSequenceNumber,
    Extension::AbsoluteSendTime,
    Extension::TransmissionOffset,
    Extension::AudioLevel,
    Extension::VideoOrientation,
    Extension::PlayoutDelay,
    Extension::VideoContentType,
    Extension::VideoTiming,
    Extension::ColorSpace,
    Extension::DependencyDescriptor,
    Extension::VideoLayersAllocation,
    Extension::AbsoluteCaptureTime,
];
