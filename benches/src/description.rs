//! Session descriptions: what peers write, and as much as they need of what the server writes.

use core::fmt::Write;
use core::net::{IpAddr, SocketAddr};

use crate::error::LoadError;
use crate::ice::Credentials;
use crate::media::Kind;

/// Our side of the transport.
#[derive(Clone, Debug)]
pub struct Local {
    /// Of our ICE agent.
    pub ice: Credentials,
    /// Of our certificate, SHA-256.
    pub fingerprint: String,
}

/// A track that a publisher offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedTrack {
    /// Of the media section.
    pub mid: String,
    /// Audio or video.
    pub kind: Kind,
    /// What it is sent with.
    pub ssrc: u32,
}

/// The payload type that publishers send a kind with.
pub const fn payload_type(kind: Kind) -> u8 {
    match kind {
        Kind::Audio => 111,
        Kind::Video => 96,
    }
}

/// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 8843).
pub const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// The transport-wide sequence number.
pub const TRANSPORT_CC_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// A publisher's offer: one media section for each track, one transport.
pub fn publisher_offer(local: &Local, tracks: &[OfferedTrack]) -> String {
    let mids: Vec<&str> = tracks.iter().map(|track| track.mid.as_str()).collect();
    let mut sdp = session_part(&mids);
    for track in tracks {
        let payload_type = payload_type(track.kind);
        media_part(&mut sdp, local, track.kind, &[payload_type]);
        let _ = write!(
            sdp,
            "a=mid:{}\r\na=extmap:4 {MID_URI}\r\na=extmap:3 {TRANSPORT_CC_URI}\r\na=sendonly\r\n\
             a=msid:load {}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
            track.mid,
            track.kind.name(),
        );
        codec_part(&mut sdp, track.kind, payload_type);
        let _ = write!(
            sdp,
            "a=rtcp-fb:{payload_type} transport-cc\r\na=ssrc:{} cname:load\r\n",
            track.ssrc
        );
    }
    sdp
}

/// A subscriber's answer to the server's offer: takes Opus and VP8, RTX if `retransmission`, and
/// numbers that packets have throughout the transport if `arrivals`.
pub fn subscriber_answer(
    local: &Local,
    offer: &Remote,
    retransmission: Retransmission,
    arrivals: ArrivalReports,
) -> String {
    let mids: Vec<&str> = offer
        .sections
        .iter()
        .map(|section| section.mid.as_str())
        .collect();
    let mut sdp = session_part(&mids);
    for section in &offer.sections {
        let rtx = section
            .rtx_payload_type
            .filter(|_| retransmission == Retransmission::Rtx);
        let payload_types: Vec<u8> = [Some(section.payload_type), rtx]
            .into_iter()
            .flatten()
            .collect();
        media_part(&mut sdp, local, section.kind, &payload_types);
        let _ = write!(
            sdp,
            "a=mid:{}\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
            section.mid
        );
        if let Some(id) = section.extension(MID_URI) {
            let _ = write!(sdp, "a=extmap:{id} {MID_URI}\r\n");
        }
        codec_part(&mut sdp, section.kind, section.payload_type);
        if arrivals == ArrivalReports::TransportWide
            && let Some(id) = section.extension(TRANSPORT_CC_URI)
        {
            let number = section.payload_type;
            let _ = write!(
                sdp,
                "a=extmap:{id} {TRANSPORT_CC_URI}\r\na=rtcp-fb:{number} transport-cc\r\n"
            );
        }
        if let Some(rtx) = rtx {
            let apt = section.payload_type;
            let _ = write!(
                sdp,
                "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={apt}\r\n"
            );
        }
    }
    sdp
}

/// Whether a subscriber takes retransmissions as a stream of their own (RFC 4588).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retransmission {
    /// Yes, where the server offers it.
    Rtx,
    /// No.
    None,
}

/// Whether a subscriber tells when packets came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalReports {
    /// By transport-wide feedback, where the server offers it.
    TransportWide,
    /// No.
    None,
}

fn session_part(mids: &[&str]) -> String {
    let bundle: String = mids.iter().flat_map(|mid| [" ", mid]).collect();
    format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
         a=group:BUNDLE{bundle}\r\na=msid-semantic: WMS *\r\n"
    )
}

fn media_part(sdp: &mut String, local: &Local, kind: Kind, payload_types: &[u8]) {
    let formats: String = payload_types
        .iter()
        .map(|number| format!(" {number}"))
        .collect();
    let _ = write!(
        sdp,
        "m={} 9 UDP/TLS/RTP/SAVPF{formats}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:active\r\n",
        kind.name(),
        local.ice.ufrag,
        local.ice.password,
        local.fingerprint,
    );
}

fn codec_part(sdp: &mut String, kind: Kind, number: u8) {
    let _ = match kind {
        Kind::Audio => write!(
            sdp,
            "a=rtpmap:{number} opus/48000/2\r\na=fmtp:{number} minptime=10;useinbandfec=1\r\n"
        ),
        Kind::Video => write!(
            sdp,
            "a=rtpmap:{number} VP8/90000\r\na=rtcp-fb:{number} nack\r\n\
             a=rtcp-fb:{number} nack pli\r\na=rtcp-fb:{number} ccm fir\r\n"
        ),
    };
}

/// What the server's description says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Of its ICE agent.
    pub ice: Credentials,
    /// Of its certificate, SHA-256.
    pub fingerprint: String,
    /// UDP host candidates, in their order.
    pub candidates: Vec<SocketAddr>,
    /// The media sections that are not rejected.
    pub sections: Vec<Section>,
}

/// One media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// `a=mid`.
    pub mid: String,
    /// Audio or video.
    pub kind: Kind,
    /// Of Opus or VP8.
    pub payload_type: u8,
    /// Of the retransmissions of that one.
    pub rtx_payload_type: Option<u8>,
    /// The SSRCs that are announced; media first, then RTX if there is an FID group.
    pub ssrcs: Vec<u32>,
    extensions: Vec<(u8, String)>,
}

impl Section {
    /// The id of a header extension.
    pub fn extension(&self, uri: &str) -> Option<u8> {
        self.extensions
            .iter()
            .find(|(_, known)| known == uri)
            .map(|(id, _)| *id)
    }
}

impl Remote {
    /// Reads an offer or answer of the server.
    ///
    /// # Errors
    ///
    /// [`LoadError::Description`] says what it lacks.
    pub fn parse(sdp: &str) -> Result<Self, LoadError> {
        let (session, media) = sdp.split_once("\r\nm=").unwrap_or((sdp, ""));
        let first = media.split("\r\nm=").next().unwrap_or_default();
        let of_transport = |name| attribute(first, name).or_else(|| attribute(session, name));
        let ice = Credentials {
            ufrag: of_transport("ice-ufrag")
                .ok_or(LoadError::Description("no ice-ufrag"))?
                .to_owned(),
            password: of_transport("ice-pwd")
                .ok_or(LoadError::Description("no ice-pwd"))?
                .to_owned(),
        };
        let fingerprint = of_transport("fingerprint")
            .and_then(|value| value.strip_prefix("sha-256 "))
            .ok_or(LoadError::Description("no SHA-256 fingerprint"))?;
        let sections: Result<Vec<_>, _> = media
            .split("\r\nm=")
            .filter(|section| !section.contains("\r\na=inactive") && !is_rejected(section))
            .filter_map(section_kind)
            .map(|(kind, section)| parse_section(kind, section))
            .collect();
        Ok(Self {
            ice,
            fingerprint: fingerprint.to_owned(),
            candidates: attributes(sdp, "candidate")
                .filter_map(parse_candidate)
                .collect(),
            sections: sections?,
        })
    }

    /// Where to send to: a candidate on `preferred` if there is one, else the first.
    ///
    /// # Errors
    ///
    /// [`LoadError::Description`] if there are no UDP host candidates.
    pub fn candidate(&self, preferred: IpAddr) -> Result<SocketAddr, LoadError> {
        let same = self
            .candidates
            .iter()
            .find(|address| address.ip() == preferred);
        same.or_else(|| self.candidates.first())
            .copied()
            .ok_or(LoadError::Description("no UDP host candidate"))
    }
}

fn is_rejected(section: &str) -> bool {
    section.split(' ').nth(1) == Some("0")
}

fn section_kind(section: &str) -> Option<(Kind, &str)> {
    [Kind::Audio, Kind::Video]
        .into_iter()
        .find(|kind| section.starts_with(kind.name()))
        .map(|kind| (kind, section))
}

fn parse_section(kind: Kind, section: &str) -> Result<Section, LoadError> {
    let codec = match kind {
        Kind::Audio => "opus/48000/2",
        Kind::Video => "VP8/90000",
    };
    let payload_type = attributes(section, "rtpmap")
        .filter_map(|value| value.split_once(' '))
        .find(|(_, name)| name.eq_ignore_ascii_case(codec))
        .and_then(|(number, _)| number.parse().ok())
        .ok_or(LoadError::Description("neither Opus nor VP8"))?;
    let apt = format!("apt={payload_type}");
    let rtx_payload_type = attributes(section, "fmtp")
        .filter_map(|value| value.split_once(' '))
        .find(|(_, parameters)| *parameters == apt)
        .and_then(|(number, _)| number.parse().ok());
    let mut ssrcs: Vec<u32> = attributes(section, "ssrc-group")
        .filter_map(|value| value.strip_prefix("FID "))
        .flat_map(|list| list.split(' '))
        .filter_map(|ssrc| ssrc.parse().ok())
        .collect();
    for ssrc in attributes(section, "ssrc") {
        if let Some(ssrc) = ssrc.split(' ').next().and_then(|ssrc| ssrc.parse().ok())
            && !ssrcs.contains(&ssrc)
        {
            ssrcs.push(ssrc);
        }
    }
    let extensions = attributes(section, "extmap")
        .filter_map(|value| value.split_once(' '))
        .filter_map(|(id, uri)| Some((id.split('/').next()?.parse().ok()?, uri.to_owned())))
        .collect();
    let mid = attribute(section, "mid")
        .ok_or(LoadError::Description("no mid"))?
        .to_owned();
    Ok(Section {
        mid,
        kind,
        payload_type,
        rtx_payload_type,
        ssrcs,
        extensions,
    })
}

/// `foundation component transport priority address port typ host ...` (RFC 8839 §5.1).
fn parse_candidate(value: &str) -> Option<SocketAddr> {
    let mut fields = value.split(' ');
    let transport = fields.nth(2)?;
    let address: IpAddr = fields.nth(1)?.parse().ok()?;
    let port = fields.next()?.parse().ok()?;
    (transport.eq_ignore_ascii_case("udp") && fields.nth(1) == Some("host"))
        .then_some(SocketAddr::new(address, port))
}

fn attribute<'a>(part: &'a str, name: &str) -> Option<&'a str> {
    attributes(part, name).next()
}

fn attributes<'a>(part: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    part.lines().filter_map(move |line| {
        line.strip_prefix("a=")?
            .strip_prefix(name)?
            .strip_prefix(':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Local {
        Local {
            ice: Credentials {
                ufrag: "abcd".to_owned(),
                password: "p".repeat(22),
            },
            fingerprint: "AA:BB".to_owned(),
        }
    }

    const SERVER_OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE 0 1\r\na=ice-lite\r\n\
        m=audio 7000 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 10.0.0.5\r\na=ice-ufrag:srv\r\n\
        a=ice-pwd:servers-password-012345\r\na=fingerprint:sha-256 01:02\r\na=setup:actpass\r\n\
        a=mid:0\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendonly\r\n\
        a=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\na=ssrc:11 cname:x\r\n\
        a=candidate:1 1 udp 2130706431 10.0.0.5 7000 typ host\r\n\
        a=candidate:2 1 udp 2130706430 127.0.0.1 7000 typ host\r\n\
        a=candidate:3 1 tcp 2130706429 127.0.0.1 9 typ host tcptype active\r\n\
        a=end-of-candidates\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 98 99 96 97\r\na=mid:1\r\na=sendonly\r\n\
        a=rtpmap:98 VP9/90000\r\na=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=ssrc-group:FID 22 23\r\na=ssrc:22 cname:x\r\na=ssrc:23 cname:x\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=inactive\r\n";

    #[test]
    fn the_servers_offer_is_read() {
        let remote = Remote::parse(SERVER_OFFER).unwrap();
        assert_eq!(remote.ice.ufrag, "srv");
        assert_eq!(remote.fingerprint, "01:02");
        assert_eq!(remote.sections.len(), 2);
        let [audio, video] = &remote.sections[..] else {
            panic!("two sections")
        };
        assert_eq!((audio.payload_type, audio.rtx_payload_type), (111, None));
        assert_eq!(
            (audio.extension(MID_URI), audio.ssrcs.as_slice()),
            (Some(4), &[11][..])
        );
        assert_eq!((video.payload_type, video.rtx_payload_type), (96, Some(97)));
        assert_eq!(video.ssrcs, [22, 23]);
    }

    #[test]
    fn the_candidate_of_the_apis_address_is_preferred() {
        let remote = Remote::parse(SERVER_OFFER).unwrap();
        assert_eq!(remote.candidates.len(), 2, "the TCP candidate is left out");
        let loopback = remote.candidate("127.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(loopback, "127.0.0.1:7000".parse::<SocketAddr>().unwrap());
        let other = remote.candidate("192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(other, "10.0.0.5:7000".parse::<SocketAddr>().unwrap());
    }

    #[test]
    fn a_description_without_a_fingerprint_is_refused() {
        let sdp = SERVER_OFFER.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1");
        assert!(matches!(
            Remote::parse(&sdp),
            Err(LoadError::Description(_))
        ));
    }

    #[test]
    fn an_answer_takes_one_codec_of_every_section_and_rtx_on_request() {
        let offer = Remote::parse(SERVER_OFFER).unwrap();
        let plain = subscriber_answer(&local(), &offer, Retransmission::None, ArrivalReports::None);
        assert!(plain.contains("a=group:BUNDLE 0 1\r\n"));
        assert!(plain.contains("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"));
        assert!(plain.contains("a=setup:active\r\n") && plain.contains("a=recvonly\r\n"));
        assert!(plain.ends_with("\r\n"));
        let rtx = subscriber_answer(&local(), &offer, Retransmission::Rtx, ArrivalReports::None);
        assert!(rtx.contains("m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n"));
        assert!(rtx.contains("a=fmtp:97 apt=96\r\n"));
    }

    #[test]
    fn an_offer_can_be_read_by_the_other_side() {
        let tracks = [
            OfferedTrack {
                mid: "0".to_owned(),
                kind: Kind::Audio,
                ssrc: 5,
            },
            OfferedTrack {
                mid: "1".to_owned(),
                kind: Kind::Video,
                ssrc: 6,
            },
        ];
        let offer = Remote::parse(&publisher_offer(&local(), &tracks)).unwrap();
        assert_eq!(offer.ice, local().ice);
        assert_eq!(offer.sections[0].ssrcs, [5]);
        assert_eq!(offer.sections[1].payload_type, 96);
        assert_eq!(offer.sections[1].extension(TRANSPORT_CC_URI), Some(3));
    }
}
