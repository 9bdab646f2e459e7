//! The flags of each subcommand, with the help that an operator reads.
//!
//! They are taken as text: all sources go through the same checks.

use std::path::PathBuf;

use clap::Args;

use super::layer::Layer;

/// Flags of `jackfield serve`.
#[derive(Args, Debug, Default)]
pub struct ServeFlags {
    #[command(flatten)]
    common: CommonFlags,
    #[command(flatten)]
    control: ControlFlags,
    #[command(flatten)]
    media: MediaFlags,
}

/// Flags of `jackfield dataplane`.
#[derive(Args, Debug, Default)]
pub struct DataplaneFlags {
    #[command(flatten)]
    common: CommonFlags,
    #[command(flatten)]
    media: MediaFlags,
}

/// Flags of `jackfield doctor`.
#[derive(Args, Debug, Default)]
pub struct DoctorFlags {
    #[command(flatten)]
    common: CommonFlags,
    #[command(flatten)]
    media: MediaFlags,

    /// Prints the findings as JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// Flags of `jackfield controlplane`.
#[derive(Args, Debug, Default)]
pub struct ControlplaneFlags {
    #[command(flatten)]
    common: CommonFlags,
    #[command(flatten)]
    control: ControlFlags,

    /// Unix socket of the data plane [default: dataplane.sock in the data directory]
    #[arg(long, value_name = "PATH")]
    attach: Option<String>,
}

#[derive(Args, Debug, Default)]
struct CommonFlags {
    /// TOML file with settings; its keys are the names of these flags [env: `JACKFIELD_CONFIG`]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,

    /// Directory for the database, the secrets and the sockets [default:
    /// `$XDG_DATA_HOME/jackfield` or `~/.local/share/jackfield`]
    #[arg(long, value_name = "PATH")]
    data_dir: Option<String>,

    /// What is logged, such as `warn`, `debug` or `controlplane=debug,info` [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// What the HTTP side is told.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "HTTP")]
struct ControlFlags {
    /// Where the API and the page are served [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,

    /// Makes sure that this app exists with this secret; may be given several times
    #[arg(long, value_name = "ID:SECRET")]
    app: Vec<String>,

    /// PEM file with the certificate chain for HTTPS; pages on other machines need HTTPS before a
    /// browser lets them use the camera
    #[arg(long, value_name = "PATH")]
    tls_cert: Option<String>,

    /// PEM file with the private key for HTTPS
    #[arg(long, value_name = "PATH")]
    tls_key: Option<String>,

    /// Bearer token of the account API [default: made at the first start, kept in the data
    /// directory]
    #[arg(long, value_name = "TOKEN")]
    account_token: Option<String>,
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Media")]
struct MediaFlags {
    /// Local address for media; behind a 1:1 NAT both addresses, PUBLIC=PRIVATE; may be given
    /// several times [default: the address of the default route, and loopback]
    #[arg(long, value_name = "IP")]
    media_ip: Vec<String>,

    /// UDP port of the first shard; each further shard has the next one [default: 7882]
    #[arg(long, value_name = "PORT")]
    media_port: Option<String>,

    /// Cores that forward media, one shard each: `auto` (all that are allowed but one), `all`, a
    /// number, or a list such as 0,2-5 [default: auto]
    #[arg(long, value_name = "CORES")]
    cores: Option<String>,

    /// How datagrams are moved: `uring` (`io_uring`), `mmsg` (`recvmmsg` and `sendmmsg`), or `auto`
    /// (whichever a short trial at the start finds clearly cheaper) [default: auto]
    #[arg(long, value_name = "BACKEND")]
    io: Option<String>,

    /// Whether datagrams of one destination leave as one message (UDP generic segmentation
    /// offload), where the system can: `on` or `off` [default: on]
    #[arg(long, value_name = "SWITCH")]
    gso: Option<String>,

    /// The forwarding cores look for packets all the time instead of sleeping: a lower delay for
    /// all of a core; for cores that do nothing else [default: off]
    #[arg(long, value_name = "SWITCH", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    spin: Option<String>,

    /// DTLS engine: `dimpl` or `webrtc` [default: dimpl]
    #[arg(long, value_name = "ENGINE")]
    dtls: Option<String>,

    /// How long the data plane lives without a control plane [default: 60s]
    #[arg(long, value_name = "TIME")]
    orphan_timeout: Option<String>,

    /// How long a new session may take to connect [default: 120s]
    #[arg(long, value_name = "TIME")]
    unconnected_timeout: Option<String>,

    /// How long a session that was connected may be lost before it ends [default: 30s]
    #[arg(long, value_name = "TIME")]
    lost_timeout: Option<String>,
}

/// The two things that every subcommand's flags give.
pub trait Flags {
    /// The file named by `--config`.
    fn config(&self) -> Option<PathBuf>;
    /// All others.
    fn into_layer(self) -> Layer;
}

impl Flags for ServeFlags {
    fn config(&self) -> Option<PathBuf> {
        self.common.config.clone()
    }

    fn into_layer(self) -> Layer {
        let mut layer = Layer::empty();
        self.common.fill(&mut layer);
        self.control.fill(&mut layer);
        self.media.fill(&mut layer);
        layer
    }
}

impl Flags for DataplaneFlags {
    fn config(&self) -> Option<PathBuf> {
        self.common.config.clone()
    }

    fn into_layer(self) -> Layer {
        let mut layer = Layer::empty();
        self.common.fill(&mut layer);
        self.media.fill(&mut layer);
        layer
    }
}

impl Flags for DoctorFlags {
    fn config(&self) -> Option<PathBuf> {
        self.common.config.clone()
    }

    fn into_layer(self) -> Layer {
        let mut layer = Layer::empty();
        self.common.fill(&mut layer);
        self.media.fill(&mut layer);
        layer
    }
}

impl Flags for ControlplaneFlags {
    fn config(&self) -> Option<PathBuf> {
        self.common.config.clone()
    }

    fn into_layer(self) -> Layer {
        let mut layer = Layer::empty();
        self.common.fill(&mut layer);
        self.control.fill(&mut layer);
        layer.set_flag("attach", self.attach);
        layer
    }
}

impl CommonFlags {
    fn fill(self, layer: &mut Layer) {
        layer.set_flag("data-dir", self.data_dir);
        layer.set_flag("log", self.log);
    }
}

impl ControlFlags {
    fn fill(self, layer: &mut Layer) {
        layer.set_flag("http", self.http);
        layer.set_flags("app", self.app);
        layer.set_flag("tls-cert", self.tls_cert);
        layer.set_flag("tls-key", self.tls_key);
        layer.set_flag("account-token", self.account_token);
    }
}

impl MediaFlags {
    fn fill(self, layer: &mut Layer) {
        layer.set_flags("media-ip", self.media_ip);
        layer.set_flag("media-port", self.media_port);
        layer.set_flag("cores", self.cores);
        layer.set_flag("io", self.io);
        layer.set_flag("gso", self.gso);
        layer.set_flag("spin", self.spin);
        layer.set_flag("dtls", self.dtls);
        layer.set_flag("orphan-timeout", self.orphan_timeout);
        layer.set_flag("unconnected-timeout", self.unconnected_timeout);
        layer.set_flag("lost-timeout", self.lost_timeout);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Command;

    use super::super::layer::setting_names;
    use super::*;

    fn long_flags(command: &Command) -> BTreeSet<String> {
        command
            .get_arguments()
            .filter_map(|argument| argument.get_long().map(str::to_owned))
            .filter(|name| name != "config" && name != "help")
            .collect()
    }

    #[test]
    fn every_setting_has_a_flag_and_every_flag_is_a_setting() {
        let serve = ServeFlags::augment_args(Command::new("serve"));
        let controlplane = ControlplaneFlags::augment_args(Command::new("controlplane"));
        let flags: BTreeSet<String> = long_flags(&serve)
            .union(&long_flags(&controlplane))
            .cloned()
            .collect();
        let settings: BTreeSet<String> = setting_names().map(str::to_owned).collect();
        assert_eq!(flags, settings);
    }

    #[test]
    fn every_flag_has_a_help() {
        let command = ServeFlags::augment_args(Command::new("serve"));
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{:?}", argument.get_long());
        }
    }
}
