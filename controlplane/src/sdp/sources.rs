//! Which encodings a media section sends: by rid (RFC 8851, RFC 8853) or by SSRC (RFC 5576).

use arrayvec::ArrayVec;
use shared::limits::LAYERS_MAX;
use shared::protocol::{LayerParameters, Rid};

use super::attribute::{Attributes, rid};

/// The encodings that `attributes` announce, the first [`LAYERS_MAX`] of them. At least one.
pub(super) fn layers(attributes: &Attributes<'_>) -> ArrayVec<LayerParameters, LAYERS_MAX> {
    let by_rid: ArrayVec<_, LAYERS_MAX> = sent_rids(attributes)
        .into_iter()
        .take(LAYERS_MAX)
        // SSRCs are not announced by rid; they are bound when packets come (RFC 8852 §2).
        .map(|rid| LayerParameters {
            rid: Some(rid),
            ssrc: None,
            rtx_ssrc: None,
        })
        .collect();
    if !by_rid.is_empty() {
        return by_rid;
    }
    let sources = Sources::read(attributes);
    let mut layers: ArrayVec<_, LAYERS_MAX> = sources
        .primaries()
        .into_iter()
        .take(LAYERS_MAX)
        .map(|ssrc| sources.layer(ssrc))
        .collect();
    if layers.is_empty() {
        layers.push(LayerParameters {
            rid: None,
            ssrc: None,
            rtx_ssrc: None,
        });
    }
    layers
}

/// In the order of `a=simulcast`; of alternatives, the first (RFC 8853 §5.1).
fn sent_rids(attributes: &Attributes<'_>) -> Vec<Rid> {
    let mut defined: Vec<Rid> = Vec::new();
    for value in attributes.values("rid").take(RIDS_READ_MAX) {
        let mut words = value.split_whitespace();
        let (Some(id), Some("send")) = (words.next(), words.next()) else {
            continue;
        };
        defined.extend(rid(id).filter(|id| !defined.contains(id)));
    }
    let Some(simulcast) = attributes.value("simulcast") else {
        // One encoding may have a rid without simulcast (RFC 8851 §4).
        return if defined.len() == 1 {
            defined
        } else {
            Vec::new()
        };
    };
    let mut words = simulcast.split_whitespace();
    let list = words
        .by_ref()
        .find(|word| *word == "send")
        .and_then(|_| words.next());
    // Drafts before RFC 8853 wrote `send rid=a;b`.
    let list = list.map_or("", |list| list.strip_prefix("rid=").unwrap_or(list));
    let mut sent: Vec<Rid> = Vec::new();
    for alternatives in list.split(';').take(RIDS_READ_MAX) {
        let first = alternatives.split(',').next().and_then(rid);
        sent.extend(first.filter(|id| defined.contains(id) && !sent.contains(id)));
    }
    sent
}

/// `a=ssrc` and `a=ssrc-group` of one media section.
struct Sources {
    ssrcs: Vec<u32>,
    /// `FID`: a source and its retransmissions.
    retransmissions: Vec<(u32, u32)>,
    /// `SIM`: the encodings of simulcast before rids.
    simulcast: Vec<u32>,
    /// Sources of forward error correction, which we do not take.
    repair: Vec<u32>,
}

impl Sources {
    fn read(attributes: &Attributes<'_>) -> Self {
        let mut sources = Self {
            ssrcs: Vec::new(),
            retransmissions: Vec::new(),
            simulcast: Vec::new(),
            repair: Vec::new(),
        };
        for value in attributes.values("ssrc").take(SSRC_LINES_READ_MAX) {
            let ssrc = value
                .split_whitespace()
                .next()
                .and_then(|text| text.parse().ok());
            sources
                .ssrcs
                .extend(ssrc.filter(|ssrc| !sources.ssrcs.contains(ssrc)));
        }
        for value in attributes.values("ssrc-group").take(SSRC_LINES_READ_MAX) {
            let mut words = value.split_whitespace();
            let semantics = words.next();
            let group: Vec<u32> = words.filter_map(|word| word.parse().ok()).collect();
            match (semantics, group.as_slice()) {
                (Some("FID"), [source, rtx]) => sources.retransmissions.push((*source, *rtx)),
                (Some("SIM"), [_, ..]) if sources.simulcast.is_empty() => {
                    sources.simulcast = group;
                }
                (Some("FEC-FR" | "FEC"), [_, repair @ ..]) => sources.repair.extend(repair),
                _ => {}
            }
        }
        sources
    }

    /// Each encoding's SSRC.
    fn primaries(&self) -> Vec<u32> {
        if self.simulcast.len() > 1 {
            return self.simulcast.clone();
        }
        let is_primary = |ssrc: &u32| {
            !self.repair.contains(ssrc) && self.retransmissions.iter().all(|(_, rtx)| rtx != ssrc)
        };
        let from_groups = self.retransmissions.iter().map(|(source, _)| *source);
        from_groups
            .chain(self.ssrcs.iter().copied())
            .find(is_primary)
            .into_iter()
            .collect()
    }

    fn layer(&self, ssrc: u32) -> LayerParameters {
        let pair = self
            .retransmissions
            .iter()
            .find(|(source, _)| *source == ssrc);
        LayerParameters {
            rid: None,
            ssrc: Some(ssrc),
            rtx_ssrc: pair.map(|(_, rtx)| *rtx),
        }
    }
}

const RIDS_READ_MAX: usize = 16;
const SSRC_LINES_READ_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use ::sdp::description::common::Attribute;

    use super::*;

    fn read(lines: &[&str]) -> Vec<LayerParameters> {
        let attributes: Vec<Attribute> = lines
            .iter()
            .map(|line| {
                let (key, value) = line.split_once(':').unwrap();
                Attribute {
                    key: key.to_owned(),
                    value: Some(value.to_owned()),
                }
            })
            .collect();
        layers(&Attributes(&attributes)).to_vec()
    }

    fn rids(lines: &[&str]) -> Vec<String> {
        read(lines)
            .iter()
            .filter_map(|layer| layer.rid)
            .map(|rid| rid.to_string())
            .collect()
    }

    #[test]
    fn rids_come_in_the_order_of_simulcast() {
        // RFC 8853 §5.1.
        let lines = [
            "rid:f send",
            "rid:h send",
            "rid:q send",
            "simulcast:send q;h;f",
        ];
        assert_eq!(rids(&lines), ["q", "h", "f"]);
    }

    #[test]
    fn paused_and_alternative_rids_are_understood() {
        let lines = [
            "rid:a send",
            "rid:b send",
            "rid:c send",
            "simulcast:recv x send a,c;~b",
        ];
        assert_eq!(rids(&lines), ["a", "b"]);
    }

    #[test]
    fn rids_without_a_definition_are_left_out_and_the_old_form_is_read() {
        assert_eq!(rids(&["rid:a send", "simulcast:send rid=a;b"]), ["a"]);
        assert_eq!(rids(&["rid:only send pt=96"]), ["only"]);
        assert!(rids(&["rid:a recv", "simulcast:recv a"]).is_empty());
    }

    #[test]
    fn more_rids_than_we_hold_are_cut_off() {
        let lines: Vec<String> = (0..6).map(|n| format!("rid:{n} send")).collect();
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        lines.push("simulcast:send 0;1;2;3;4;5");
        assert_eq!(rids(&lines), ["0", "1", "2", "3"]);
    }

    #[test]
    fn a_fid_group_pairs_media_with_retransmissions() {
        // RFC 5576 §4.2 and RFC 4588 §8.3.
        let lines = ["ssrc-group:FID 11 12", "ssrc:12 cname:x", "ssrc:11 cname:x"];
        let layer = LayerParameters {
            rid: None,
            ssrc: Some(11),
            rtx_ssrc: Some(12),
        };
        assert_eq!(read(&lines), [layer]);
    }

    #[test]
    fn a_legacy_sim_group_gives_layers_without_rids() {
        let lines = [
            "ssrc-group:SIM 1 2",
            "ssrc-group:FID 1 11",
            "ssrc-group:FID 2 12",
        ];
        let layers = read(&lines);
        let pairs: Vec<_> = layers
            .iter()
            .map(|layer| (layer.ssrc, layer.rtx_ssrc))
            .collect();
        assert_eq!(pairs, [(Some(1), Some(11)), (Some(2), Some(12))]);
    }

    #[test]
    fn without_any_announcement_there_is_one_unbound_layer() {
        let layer = LayerParameters {
            rid: None,
            ssrc: None,
            rtx_ssrc: None,
        };
        assert_eq!(read(&["mid:0"]), [layer]);
    }

    #[test]
    fn the_source_of_error_correction_is_not_an_encoding() {
        let lines = ["ssrc:5 cname:x", "ssrc:4 cname:x", "ssrc-group:FEC-FR 4 5"];
        assert_eq!(read(&lines).first().and_then(|layer| layer.ssrc), Some(4));
    }
}
