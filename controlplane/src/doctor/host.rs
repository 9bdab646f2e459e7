//! What the checks know of a host: its files, what system calls answered, and what is planned.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::probes::Probes;

/// A host as the checks see it.
#[derive(Debug)]
pub(super) struct Host {
    /// `/proc` and `/sys`.
    pub(super) files: Files,
    /// What was tried.
    pub(super) probes: Probes,
    /// What would run here.
    pub(super) plan: Plan,
}

/// What a data plane with the settings at hand would do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Cores that forward media, one shard each, ascending.
    pub cores: Vec<usize>,
    /// Cores that this process may use besides.
    pub spare: Vec<usize>,
    /// A sentence on why these.
    pub reason: String,
    /// The cgroup's limit on CPU time, if there is one.
    pub quota: Option<Quota>,
    /// The media sockets: all addresses of the first shard, then those of the second, and so on.
    pub sockets: Vec<SocketAddr>,
    /// Bytes of buffer that a media socket asks the kernel for, each way.
    pub buffer_bytes: usize,
    /// Where a data plane of this data directory listens for its control plane.
    pub dataplane_socket: PathBuf,
}

/// A cgroup's limit on CPU time.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    /// How many cores can be busy all the time.
    pub cores: f64,
    /// The `cpu.max` that says it.
    pub file: PathBuf,
}

/// Small files of the kernel, under a root.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
}

impl Host {
    /// Tries all system calls.
    pub(super) fn of_this_machine(plan: Plan) -> Self {
        Self {
            files: Files::under("/"),
            probes: Probes::take(&plan),
            plan,
        }
    }
}

impl Plan {
    /// How many shards there would be.
    pub(super) fn shards(&self) -> usize {
        self.cores.len()
    }

    /// The first and the last media port, as `7882:7885`.
    pub(super) fn port_range(&self) -> String {
        let ports = self.sockets.iter().map(SocketAddr::port);
        let (first, last) = (ports.clone().min(), ports.max());
        match (first, last) {
            (Some(first), Some(last)) if first != last => format!("{first}:{last}"),
            (first, _) => first.unwrap_or_default().to_string(),
        }
    }
}

impl Files {
    /// `root` is `/`, or a tree that a test made.
    pub(super) fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A file's text without the white space around it; `path` is relative to the root. None if it
    /// is not there or may not be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The value of a file that holds one.
    pub(super) fn value<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// The names in a directory, sorted; none if it is not there.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(path))
            .into_iter()
            .flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names
    }
}

/// Cores as the kernel lists them, such as `0-3,8`; None if this is no such list.
pub(super) fn core_list(text: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cores.extend(first.parse().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_list_is_read_as_the_kernel_writes_it() {
        assert_eq!(core_list("0-2,8\n"), Some(vec![0, 1, 2, 8]));
        assert_eq!(core_list("\n"), Some(vec![]));
        assert_eq!(core_list("x"), None);
    }

    #[test]
    fn the_ports_of_one_shard_are_no_range() {
        let mut plan = super::super::testing::plan();
        plan.sockets = vec![
            "127.0.0.1:7882".parse().unwrap(),
            "[::1]:7882".parse().unwrap(),
        ];
        assert_eq!(plan.port_range(), "7882");
        plan.sockets.push("127.0.0.1:7883".parse().unwrap());
        assert_eq!(plan.port_range(), "7882:7883");
    }
}
