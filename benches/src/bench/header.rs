//! What one must know of the machine to make sense of a figure.

use std::time::SystemTime;

use serde::Serialize;

use super::cores::Cores;

/// The circumstances of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    /// UTC.
    pub date: String,
    /// As the shell gave it.
    pub command: String,
    /// As the processor calls itself.
    pub processor: String,
    /// Release.
    pub kernel: String,
    /// Who has which.
    pub cores: Cores,
    /// Bytes that a socket may ask for.
    pub rmem_max: u64,
    /// Of the last minute, before the run: who else was at work.
    pub load_average: f64,
}

impl Header {
    /// Of this machine now.
    pub fn new(cores: Cores) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let average = read("/proc/loadavg");
        let average = average.split(' ').next().and_then(|text| text.parse().ok());
        Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            processor: processor(&read("/proc/cpuinfo")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cores,
            rmem_max: read("/proc/sys/net/core/rmem_max")
                .trim()
                .parse()
                .unwrap_or_default(),
            load_average: average.unwrap_or_default(),
        }
    }
}

impl core::fmt::Display for Header {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        writeln!(f, "{}  {}", self.date, self.command)?;
        writeln!(f, "{}, Linux {}", self.processor, self.kernel)?;
        writeln!(
            f,
            "server on {:?}; load generator, control plane and handshakes on {:?}; rmem_max {}; \
             load average before {}",
            self.cores.server, self.cores.load, self.rmem_max, self.load_average
        )
    }
}

fn processor(cpuinfo: &str) -> String {
    let line = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    line.and_then(|line| line.split_once(':')).map_or_else(
        || "unknown processor".to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_once() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.6GHz\nprocessor\t: 1\n";
        assert_eq!(processor(text), "Some CPU @ 2.6GHz");
        assert_eq!(processor(""), "unknown processor");
    }

    #[test]
    fn a_header_tells_the_kernel_and_the_cores() {
        let cores = Cores {
            server: vec![1],
            load: vec![0],
        };
        let text = Header::new(cores).to_string();
        assert!(
            text.contains("server on [1]") && text.contains("Linux "),
            "{text}"
        );
    }
}
