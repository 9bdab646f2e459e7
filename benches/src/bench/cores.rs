//! Which cores the server gets, and which the load generator.

use std::io;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The division of this machine.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cores {
    /// For shards.
    pub server: Vec<usize>,
    /// For load threads, the control plane and handshakes.
    pub load: Vec<usize>,
}

impl Cores {
    /// The last `server` cores of those that this process may use go to the server, the others to
    /// the load generator; it shares all of them if none is left.
    ///
    /// # Errors
    ///
    /// There are fewer cores, or the kernel does not tell.
    pub fn divide(server: usize) -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let all = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        Self::divide_among(&all.collect::<Vec<_>>(), server)
    }

    fn divide_among(all: &[usize], server: usize) -> io::Result<Self> {
        let first = all.len().checked_sub(server).filter(|_| server > 0);
        let Some((load, chosen)) = first.and_then(|first| all.split_at_checked(first)) else {
            let text = format!(
                "{server} cores for the server of the {} there are",
                all.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        Ok(Self {
            server: chosen.to_vec(),
            load: if load.is_empty() { all } else { load }.to_vec(),
        })
    }

    /// All of them.
    pub fn all(&self) -> Vec<usize> {
        [self.load.as_slice(), &self.server].concat()
    }

    /// The server's cores as the setting `cores` takes a list: with a comma behind each, since a
    /// number alone would be a count.
    pub fn server_list(&self) -> String {
        self.server.iter().map(|core| format!("{core},")).collect()
    }
}

/// Keeps the calling thread, and those that it starts, on `cores`.
///
/// # Errors
///
/// This process may not use them.
pub fn pin_this_thread(cores: &[usize]) -> io::Result<()> {
    Ok(sched_setaffinity(None, &set_of(cores))?)
}

/// Keeps every thread of a process on `cores`.
///
/// # Errors
///
/// It has ended, or this process may not do that.
pub fn pin_process(process: u32, cores: &[usize]) -> io::Result<()> {
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let id = task?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            sched_setaffinity(Some(id), &set_of(cores))?;
        }
    }
    Ok(())
}

fn set_of(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for core in cores.iter().filter(|core| **core < CpuSet::MAX_CPU) {
        set.set(*core);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_gets_the_last_cores() {
        let cores = Cores::divide_among(&[0, 1, 4, 5], 1).unwrap();
        assert_eq!(
            (cores.server_list().as_str(), cores.load),
            ("5,", vec![0, 1, 4])
        );
    }

    #[test]
    fn where_none_is_left_all_are_shared() {
        let cores = Cores::divide_among(&[0, 1], 2).unwrap();
        assert_eq!((cores.server, cores.load), (vec![0, 1], vec![0, 1]));
    }

    #[test]
    fn more_cores_than_there_are_is_an_error() {
        assert!(Cores::divide_among(&[0, 1], 3).is_err());
        assert!(Cores::divide_among(&[0, 1], 0).is_err());
    }
}
