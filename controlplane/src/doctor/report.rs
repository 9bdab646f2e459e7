//! What a check found, and how the findings are shown.

use std::fmt;

use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It will work, but not at the highest rates.
    Warning,
    /// It will not work.
    Problem,
    /// This host does not show it.
    Unknown,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::Unknown => "unknown",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check; it stays the same between versions.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was read or tried, with its value.
    pub read: String,
    /// Why it matters, in a clause.
    pub why: &'static str,
    /// The line to run, or where no command can help, what to change.
    pub fix: Option<String>,
}

/// A check's name and reason, from which its findings are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    /// A clause: why it matters.
    pub(super) why: &'static str,
}

impl Check {
    pub(super) fn ok(self, read: impl Into<String>) -> Finding {
        self.finding(Verdict::Ok, read.into(), None)
    }

    pub(super) fn unknown(self, read: impl Into<String>) -> Finding {
        self.finding(Verdict::Unknown, read.into(), None)
    }

    pub(super) fn warning(self, read: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.finding(Verdict::Warning, read.into(), Some(fix.into()))
    }

    pub(super) fn problem(self, read: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.finding(Verdict::Problem, read.into(), Some(fix.into()))
    }

    fn finding(self, verdict: Verdict, read: String, fix: Option<String>) -> Finding {
        Finding {
            check: self.name,
            verdict,
            read,
            why: self.why,
            fix,
        }
    }
}

/// All findings. As text it is for people; [`Report::json`] is for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether Jackfield can work here at all.
    works: bool,
    checks: Vec<Finding>,
}

impl Report {
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        let works = findings
            .iter()
            .all(|finding| finding.verdict != Verdict::Problem);
        Self {
            works,
            checks: findings,
        }
    }

    /// Whether Jackfield can work here at all: nothing is a [`Verdict::Problem`].
    pub fn works(&self) -> bool {
        self.works
    }

    /// In the order of the report.
    pub fn findings(&self) -> &[Finding] {
        &self.checks
    }

    /// `{"works": .., "checks": [{"check", "verdict", "read", "why", "fix"}]}`, on several lines.
    pub fn json(&self) -> String {
        // A struct of texts can always be written.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    fn count(&self, verdict: Verdict) -> usize {
        let those = self
            .checks
            .iter()
            .filter(|finding| finding.verdict == verdict);
        those.count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding {
            check,
            verdict,
            read,
            why,
            fix,
        } in &self.checks
        {
            writeln!(f, "{:<8} {check:<20} {read} ({why})", verdict.name())?;
            if let Some(fix) = fix {
                writeln!(f, "{:>29} {fix}", "to fix:")?;
            }
        }
        let (problems, warnings) = (self.count(Verdict::Problem), self.count(Verdict::Warning));
        writeln!(f, "problems: {problems}, warnings: {warnings}")?;
        if problems + warnings > 0 {
            writeln!(f, "{HOW_TO_FIX}")?;
        }
        Ok(())
    }
}

const HOW_TO_FIX: &str = "The lines want root. What sysctl and echo set lasts until the next boot: \
keep it in /etc/sysctl.d or a unit.";

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: Check = Check {
        name: "udp-buffers",
        why: "bursts are lost",
    };

    #[test]
    fn a_warning_is_shown_with_the_line_that_mends_it() {
        let report = Report::new(vec![CHECK.warning("8 bytes", "sysctl -w a=b")]);
        let text = report.to_string();
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some("warning  udp-buffers          8 bytes (bursts are lost)")
        );
        assert_eq!(lines.next().map(str::trim), Some("to fix: sysctl -w a=b"));
        assert_eq!(lines.next(), Some("problems: 0, warnings: 1"));
        assert!(report.works());
    }

    #[test]
    fn a_problem_means_that_it_will_not_work() {
        let report = Report::new(vec![CHECK.ok("fine"), CHECK.problem("none", "more")]);
        assert!(!report.works());
    }

    #[test]
    fn what_is_unknown_is_no_problem() {
        assert!(Report::new(vec![CHECK.unknown("not shown")]).works());
    }

    #[test]
    fn json_has_the_same_in_fields() {
        let report = Report::new(vec![CHECK.problem("none", "more")]);
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        let check = serde_json::json!({
            "check": "udp-buffers",
            "verdict": "problem",
            "read": "none",
            "why": "bursts are lost",
            "fix": "more",
        });
        assert_eq!(
            json,
            serde_json::json!({ "works": false, "checks": [check] })
        );
    }
}
