//! What is printed at the start: where the page, the API and media are, and the secrets that are new.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Prepared, TOKEN_FILE};
use crate::config::Settings;
use crate::store::NewApp;
use crate::supervise::{Attached, Found};

/// Lines with names before them; `cores` is the sentence about the cores of a data plane that was
/// started.
pub(super) fn banner(
    settings: &Settings,
    address: SocketAddr,
    prepared: &Prepared,
    attached: &Attached,
    cores: &str,
) -> String {
    let scheme = if settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let base = format!("{scheme}://{}", reachable(address));
    let mut banner = Banner {
        lines: vec![
            format!("Jackfield {}", env!("CARGO_PKG_VERSION")),
            String::new(),
        ],
    };
    banner.apps(&base, prepared);
    banner.apis(&base, prepared);
    banner.media(attached);
    banner.data_plane(attached, cores);
    banner.line("Data", settings.data_dir.display().to_string());
    banner.lines.push(String::new());
    banner.lines.join("\n")
}

/// What was said so far.
struct Banner {
    lines: Vec<String>,
}

impl Banner {
    fn line(&mut self, name: &str, text: impl AsRef<str>) {
        self.lines.push(format!("  {name:<11} {}", text.as_ref()));
    }

    /// The page, and the apps that it works with.
    fn apps(&mut self, base: &str, prepared: &Prepared) {
        match &prepared.made {
            Some(NewApp { app, secret }) => {
                let page = format!("{base}/#app={}&secret={secret}", app.id);
                self.line("Page", page);
                self.line("App", format!("id {}", app.id));
                self.line("", format!("secret {secret} (shown this once; keep it)"));
            }
            None => {
                self.line("Page", format!("{base}/"));
                self.line("Apps", prepared.app_ids.join(", "));
            }
        }
    }

    fn apis(&mut self, base: &str, prepared: &Prepared) {
        self.line("API", format!("{base}/v1/apps/{{appId}}/..."));
        if prepared.token_is_new {
            let accounts = format!("{base}/client/v4/accounts/{{any}}/calls/apps");
            let token = &prepared.account_token;
            let kept = format!("token {token} (kept in {TOKEN_FILE} in the data directory)");
            self.line("Accounts", accounts);
            self.line("", kept);
        }
    }

    /// Where each shard gets media.
    fn media(&mut self, attached: &Attached) {
        for shard in attached.plane.shards() {
            let candidates = attached.plane.candidates(shard).iter();
            let addresses: Vec<_> = candidates.map(ToString::to_string).collect();
            let name = if shard.0 == 0 { "Media" } else { "" };
            let text = format!("udp {} (shard {})", addresses.join(", "), shard.0);
            self.line(name, text);
        }
    }

    fn data_plane(&mut self, attached: &Attached, cores: &str) {
        let (process, sessions) = (attached.plane.process_id(), attached.sessions);
        match attached.found {
            Found::Started => {
                self.line("Cores", cores);
                self.line("Data plane", format!("started, process {process}"));
            }
            Found::Running => {
                let text = format!("ran already, process {process}, sessions {sessions}");
                self.line("Data plane", text);
            }
        }
    }
}

/// An address that a browser on this machine can open.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_shown_as_loopback() {
        let shown = reachable("0.0.0.0:8787".parse().unwrap());
        assert_eq!(shown.to_string(), "127.0.0.1:8787");
    }
}
