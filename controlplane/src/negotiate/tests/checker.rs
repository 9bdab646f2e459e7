//! What must hold for every description of ours, checked on the text by other code than wrote it.

use std::collections::{HashMap, HashSet};
use std::io::Cursor;

use super::{mid_of, split};

/// Checks one description.
pub(super) fn check(text: &str) {
    let parsed = ::sdp::SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes())).unwrap();
    assert_eq!(
        text.matches('\n').count(),
        text.matches("\r\n").count(),
        "CRLF everywhere"
    );
    assert!(text.ends_with("\r\n"));
    let parts = split(text);
    assert_eq!(parsed.media_descriptions.len(), parts.len() - 1);
    assert!(parts[0].contains(&"a=ice-lite".to_owned()));
    check_bundle(&parts);
    for lines in &parts[1..] {
        check_section(lines);
    }
    Numbers::default().take(text);
    check_ssrcs(&parts);
}

fn is_refused(lines: &[String]) -> bool {
    lines[0].split(' ').nth(1) == Some("0")
}

fn check_bundle(parts: &[Vec<String>]) {
    let group = parts[0]
        .iter()
        .find_map(|line| line.strip_prefix("a=group:BUNDLE "));
    let group: Vec<&str> = group.unwrap_or("").split_whitespace().collect();
    let used: Vec<String> = parts[1..]
        .iter()
        .filter(|lines| !is_refused(lines))
        .map(|lines| mid_of(lines))
        .collect();
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    let group: Vec<String> = group.into_iter().map(str::to_owned).collect();
    assert_eq!(
        sorted(&group),
        sorted(&used),
        "the group holds what is used"
    );
    for lines in &parts[1..] {
        let count = lines
            .iter()
            .filter(|line| line.starts_with("a=candidate:"))
            .count();
        let tagged = !is_refused(lines) && group.first() == Some(&mid_of(lines));
        assert_eq!(count, if tagged { 2 } else { 0 }, "{lines:#?}");
    }
}

fn check_section(lines: &[String]) {
    if is_refused(lines) {
        return;
    }
    let one = |prefix: &str| lines.iter().filter(|line| line.starts_with(prefix)).count();
    for prefix in [
        "a=mid:",
        "a=ice-ufrag:",
        "a=ice-pwd:",
        "a=fingerprint:",
        "a=setup:",
        "a=rtcp-mux",
        "a=rtcp-rsize",
    ] {
        assert_eq!(one(prefix), 1, "{prefix} in {lines:#?}");
    }
    let numbers: Vec<&str> = lines[0].split(' ').skip(3).collect();
    let unique: HashSet<_> = numbers.iter().collect();
    assert!(
        !numbers.is_empty() && unique.len() == numbers.len(),
        "{}",
        lines[0]
    );
    let mapped: Vec<&str> = lines
        .iter()
        .filter_map(|l| l.strip_prefix("a=rtpmap:")?.split(' ').next())
        .collect();
    assert_eq!(numbers, mapped, "each number has its rtpmap");
    for line in lines {
        // RFC 4588 §8.6: apt names a number of the same section.
        if let Some((_, apt)) = line.split_once("apt=") {
            assert!(numbers.contains(&apt), "{line}");
        }
        if let Some(rest) = line.strip_prefix("a=rtcp-fb:") {
            assert!(numbers.contains(&rest.split(' ').next().unwrap()), "{line}");
        }
    }
    let sends = lines
        .iter()
        .any(|line| line == "a=sendonly" || line == "a=sendrecv");
    assert_eq!(sends, one("a=ssrc:") > 0, "{lines:#?}");
    assert_eq!(sends, one("a=msid:") == 1, "{lines:#?}");
}

fn check_ssrcs(parts: &[Vec<String>]) {
    let mut seen = HashSet::new();
    for lines in parts {
        let of_section: HashSet<&str> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("a=ssrc:")?.split(' ').next())
            .collect();
        for ssrc in of_section {
            assert!(
                seen.insert(ssrc.to_owned()),
                "SSRC {ssrc} is in two sections"
            );
        }
    }
}

/// What the numbers of a session mean; fed with every description of both sides, it is what Chrome
/// checks (and dies of).
#[derive(Default)]
pub(super) struct Numbers {
    extensions: HashMap<String, String>,
    ids: HashMap<String, String>,
    formats: HashMap<String, String>,
}

impl Numbers {
    /// Compares one description with all before.
    pub(super) fn take(&mut self, text: &str) {
        for lines in &split(text)[1..] {
            for line in lines {
                if let Some((id, uri)) = line
                    .strip_prefix("a=extmap:")
                    .and_then(|rest| rest.split_once(' '))
                {
                    let id = id.split('/').next().unwrap();
                    let known = self
                        .extensions
                        .entry(id.to_owned())
                        .or_insert_with(|| uri.to_owned());
                    assert_eq!(known, uri, "extension id {id} means something else");
                    let known = self
                        .ids
                        .entry(uri.to_owned())
                        .or_insert_with(|| id.to_owned());
                    assert_eq!(known, id, "{uri} has another id");
                }
                if let Some((number, encoding)) = line
                    .strip_prefix("a=rtpmap:")
                    .and_then(|rest| rest.split_once(' '))
                {
                    // One channel is what is meant without a number (RFC 8866 §6.6).
                    let encoding = encoding.strip_suffix("/1").unwrap_or(encoding);
                    let parameters = lines
                        .iter()
                        .find_map(|line| line.strip_prefix(&format!("a=fmtp:{number} ")));
                    let meaning =
                        format!("{encoding} {}", key_of(encoding, parameters.unwrap_or("")));
                    let known = self
                        .formats
                        .entry(number.to_owned())
                        .or_insert_with(|| meaning.clone());
                    assert_eq!(
                        *known, meaning,
                        "payload type {number} means something else"
                    );
                }
            }
        }
    }
}

/// The parameters that tell formats of one codec apart.
fn key_of(encoding: &str, parameters: &str) -> String {
    let wanted: &[&str] = match encoding.split('/').next().unwrap() {
        "rtx" => &["apt"],
        "H264" => &["packetization-mode", "profile-level-id"],
        "VP9" => &["profile-id"],
        _ => &[],
    };
    let pairs = parameters
        .split(';')
        .filter_map(|pair| pair.split_once('='));
    let mut kept: Vec<String> = pairs
        .filter(|(key, _)| wanted.contains(key))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    kept.sort();
    kept.join(";")
}
