//! What a session description may weigh, checked before anything is parsed.

use super::error::SdpError;

/// Checks the bounds and gives the text back with tidy line ends.
///
/// A missing newline at the end is tolerated, and so are bare line feeds. Lines that mean nothing
/// to WebRTC and that the parser does arithmetic on (`r=`, `z=`: RFC 8866 §5.10 and §5.11) are
/// left out.
pub(super) fn check(text: &str) -> Result<String, SdpError> {
    if text.len() > BYTES_MAX {
        return Err(SdpError::TooLarge(format!("more than {BYTES_MAX} bytes")));
    }
    let mut tidy = String::with_capacity(text.len().saturating_add(2));
    let mut count = Count::default();
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line).trim_end();
        count.take(line)?;
        if line.is_empty() || line.starts_with("r=") || line.starts_with("z=") {
            continue;
        }
        tidy.push_str(line);
        tidy.push_str("\r\n");
    }
    if tidy.is_empty() {
        return Err(SdpError::Syntax("it is empty".to_owned()));
    }
    Ok(tidy)
}

#[derive(Default)]
struct Count {
    lines: usize,
    lines_of_section: usize,
    sections: usize,
    candidates: usize,
}

impl Count {
    fn take(&mut self, line: &str) -> Result<(), SdpError> {
        self.lines = self.lines.saturating_add(1);
        self.lines_of_section = self.lines_of_section.saturating_add(1);
        if line.starts_with("m=") {
            self.sections = self.sections.saturating_add(1);
            self.lines_of_section = 0;
        }
        if line.starts_with("a=candidate:") {
            self.candidates = self.candidates.saturating_add(1);
        }
        let bounds = [
            (line.len(), LINE_BYTES_MAX, "bytes in a line"),
            (self.sections, SECTIONS_MAX, "media sections"),
            (self.candidates, CANDIDATES_MAX, "candidates"),
            (
                self.lines_of_section,
                LINES_OF_SECTION_MAX,
                "lines in one media section",
            ),
            (self.lines, LINES_MAX, "lines"),
        ];
        for (value, bound, what) in bounds {
            if value > bound {
                return Err(SdpError::TooLarge(format!("more than {bound} {what}")));
            }
        }
        // What we take over into our own descriptions must not be able to break a line.
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(SdpError::Syntax(format!(
                "control character in line {}",
                self.lines
            )));
        }
        Ok(())
    }
}

const BYTES_MAX: usize = 1024 * 1024;
const LINES_MAX: usize = 30_000;
/// Chrome writes about 130 lines for a sending video section.
const LINES_OF_SECTION_MAX: usize = 1_000;
const LINE_BYTES_MAX: usize = 4_096;
/// As many as a session can hold tracks.
const SECTIONS_MAX: usize =
    shared::limits::PUBLICATIONS_PER_SESSION_MAX + shared::limits::SUBSCRIPTIONS_PER_SESSION_MAX;
const CANDIDATES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        check(text).unwrap_err().to_string()
    }

    #[test]
    fn each_bomb_gets_an_error_that_names_the_bound() {
        let candidate = "a=candidate:1 1 udp 1 attacker.example 9 typ host\r\n";
        assert!(refusal(&"x".repeat(BYTES_MAX + 1)).contains("bytes"));
        assert!(refusal(&"a=x\r\n".repeat(10_000)).contains("lines in one media section"));
        assert!(refusal(&"m=audio 9 x 0\r\n".repeat(10_000)).contains("320 media sections"));
        assert!(refusal(&candidate.repeat(10_000)).contains("1000 candidates"));
        let spread = format!("m=audio 9 x 0\r\n{}", candidate.repeat(100));
        assert!(refusal(&spread.repeat(100)).contains("1000 candidates"));
        assert!(refusal(&format!("a={}", "x".repeat(LINE_BYTES_MAX))).contains("in a line"));
        let lines = format!("m=audio 9 x 0\r\n{}", "a=x\r\n".repeat(900));
        assert!(refusal(&lines.repeat(34)).contains("30000 lines"));
    }

    #[test]
    fn control_characters_cannot_smuggle_lines() {
        assert!(check("v=0\r\na=mid:0\ra=evil\r\n").is_err());
        assert!(check("v=0\r\na=mid:\0\r\n").is_err());
    }

    #[test]
    fn line_ends_are_tidied_and_a_missing_one_is_added() {
        assert_eq!(
            check("v=0\ns=-\n\nt=0 0").as_deref(),
            Ok("v=0\r\ns=-\r\nt=0 0\r\n")
        );
        assert_eq!(check("v=0\r\nz=0 1d\r\n").as_deref(), Ok("v=0\r\n"));
        assert!(check("").is_err() && check("\r\n\r\n").is_err());
    }
}
