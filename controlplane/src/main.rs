//! The `jackfield` command. Only this file names both planes.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use controlplane::config::{
    self, ConfigError, ControlplaneFlags, DataplaneFlags, DoctorFlags, Flags, ServeFlags, Settings,
};
use controlplane::doctor;
use controlplane::observe;
use controlplane::server::{self, ServerError};
use controlplane::supervise::Starter;
use dataplane::cores::{CoreAllowance, CoreSelection};
use dataplane::port::BufferSizes;
use dataplane::{CoreChoice, DataplaneConfig, DtlsEngine, IoBackend, MediaAddress};

/// A self-hosted media server that speaks Cloudflare Realtime's SFU API.
///
/// Without a subcommand it serves: it runs the control plane (HTTP) and starts the data plane
/// (media) as a process of its own, or attaches to the one that still runs.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    serve: ServeFlags,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Runs both planes; this is the default
    ///
    /// A data plane that still runs in the same data directory is attached to, and its calls go
    /// on. SIGTERM or SIGINT stops both; a second one does so at once.
    #[command(after_help = AFTER_HELP)]
    Serve(ServeFlags),
    /// Runs the data plane alone: it forwards media and waits for a control plane
    ///
    /// The control plane attaches over the unix socket dataplane.sock in the data directory.
    #[command(after_help = AFTER_HELP)]
    Dataplane(DataplaneFlags),
    /// Runs the control plane alone, attached to a data plane that runs already
    ///
    /// It never starts or stops the data plane. When it ends, calls go on.
    #[command(after_help = AFTER_HELP)]
    Controlplane(ControlplaneFlags),
    /// Checks whether this host is fit for high packet rates, and says what to change
    ///
    /// Takes the settings that the server would take, and needs no rights. The exit code is 1 if
    /// something will not work, and 0 if all will, be it with warnings.
    #[command(after_help = AFTER_HELP)]
    Doctor(DoctorFlags),
}

/// Why the command failed.
enum Failure {
    Config(ConfigError),
    Dataplane(dataplane::DataplaneError),
    Server(ServerError),
    System(std::io::Error),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    choose_tls_provider();
    let done = |()| ExitCode::SUCCESS;
    let result = match cli.command {
        None => serve(cli.serve).map(done),
        Some(Subcommands::Serve(flags)) => serve(flags).map(done),
        Some(Subcommands::Dataplane(flags)) => dataplane(flags).map(done),
        Some(Subcommands::Controlplane(flags)) => controlplane(flags).map(done),
        Some(Subcommands::Doctor(flags)) => doctor(flags),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            use std::io::Write as _;
            // If not even that can be written, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "jackfield: {failure}");
            failure.exit_code()
        }
    }
}

/// Two of our dependencies bring a provider of cryptography each to rustls, which then takes neither
/// by itself and panics when HTTPS is to start.
fn choose_tls_provider() {
    // It fails only where one was chosen already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn serve(flags: ServeFlags) -> Result<(), Failure> {
    let settings = load(flags)?;
    // What cannot work is said now, not by a child that ends.
    dataplane_config(&settings).validate()?;
    let cores = CoreAllowance::of_this_process()
        .select(&core_choice(&settings.cores))?
        .reason;
    let starter = Starter::Command {
        program: std::env::current_exe()?,
        arguments: dataplane_arguments(&settings),
    };
    runtime()?.block_on(server::serve(settings, starter, &cores))?;
    Ok(())
}

fn controlplane(flags: ControlplaneFlags) -> Result<(), Failure> {
    let settings = load(flags)?;
    runtime()?.block_on(server::serve(settings, Starter::Never, ""))?;
    Ok(())
}

fn dataplane(flags: DataplaneFlags) -> Result<(), Failure> {
    let settings = load(flags)?;
    std::fs::create_dir_all(&settings.data_dir)?;
    Ok(dataplane::run(dataplane_config(&settings))?)
}

fn doctor(flags: DoctorFlags) -> Result<ExitCode, Failure> {
    use std::io::Write as _;
    let json = flags.json;
    let config = dataplane_config(&load(flags)?);
    config.validate()?;
    let allowance = CoreAllowance::of_this_process();
    let selection = allowance.select(&config.cores)?;
    let report = doctor::examine(plan(&config, allowance, selection)?);
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", report.json())?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(match report.works() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What a data plane with these settings would do, for the examination.
fn plan(
    config: &DataplaneConfig,
    allowance: CoreAllowance,
    selection: CoreSelection,
) -> Result<doctor::Plan, Failure> {
    let mut sockets = Vec::new();
    for (shard, _) in (0..).zip(&selection.cores) {
        let port = config.media_port(shard)?;
        let addresses = config.media_addresses.iter();
        sockets.extend(addresses.map(|address| SocketAddr::new(address.bind, port)));
    }
    Ok(doctor::Plan {
        cores: selection.cores,
        spare: selection.spare,
        reason: selection.reason,
        quota: allowance.quota.map(|quota| doctor::Quota {
            cores: quota.quota_us as f64 / quota.period_us as f64,
            file: quota.file,
        }),
        sockets,
        buffer_bytes: BufferSizes::ASKED,
        dataplane_socket: config.control_socket.clone(),
    })
}

fn load(flags: impl Flags) -> Result<Settings, Failure> {
    let file: Option<PathBuf> = flags.config();
    let settings = Settings::load(flags.into_layer(), file.as_deref())?;
    observe::start_logging(&settings.log);
    Ok(settings)
}

/// The control plane leaves the cores to the data plane.
fn runtime() -> Result<tokio::runtime::Runtime, std::io::Error> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
}

fn dataplane_config(settings: &Settings) -> DataplaneConfig {
    let addresses = settings
        .media_ips
        .iter()
        .map(|address| MediaAddress {
            bind: address.bind,
            public: address.public,
        })
        .collect();
    let mut config = DataplaneConfig::new(settings.dataplane_socket(), addresses);
    config.cores = core_choice(&settings.cores);
    config.first_media_port = settings.media_port;
    config.io = match settings.io {
        config::Io::Auto => IoBackend::Auto,
        config::Io::Uring => IoBackend::Uring,
        config::Io::Mmsg => IoBackend::Mmsg,
    };
    config.gso = settings.gso;
    config.spin = settings.spin;
    config.dtls = match settings.dtls {
        config::Dtls::Dimpl => DtlsEngine::Dimpl,
        config::Dtls::Webrtc => DtlsEngine::Webrtc,
    };
    config.orphan_timeout = settings.orphan_timeout;
    config.unconnected_timeout = settings.unconnected_timeout;
    config.lost_timeout = settings.lost_timeout;
    config
}

fn core_choice(cores: &config::Cores) -> CoreChoice {
    match cores {
        config::Cores::AllButOne => CoreChoice::AllButOne,
        config::Cores::All => CoreChoice::All,
        config::Cores::Count(count) => CoreChoice::Count(*count),
        config::Cores::List(cores) => CoreChoice::List(cores.clone()),
    }
}

fn on_or_off(switch: bool) -> &'static str {
    if switch { "on" } else { "off" }
}

/// The command line that gives a data plane the same settings.
fn dataplane_arguments(settings: &Settings) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["dataplane".into()];
    let mut flag = |name: &str, value: OsString| {
        let mut argument = OsString::from(format!("--{name}="));
        argument.push(value);
        arguments.push(argument);
    };
    flag("data-dir", settings.data_dir.clone().into());
    flag("log", settings.log.clone().into());
    for address in &settings.media_ips {
        flag("media-ip", address.to_string().into());
    }
    flag("media-port", settings.media_port.to_string().into());
    flag("cores", settings.cores.to_string().into());
    flag("io", settings.io.to_string().into());
    flag("gso", on_or_off(settings.gso).into());
    flag("spin", on_or_off(settings.spin).into());
    flag("dtls", settings.dtls.to_string().into());
    for (name, timeout) in [
        ("orphan-timeout", settings.orphan_timeout),
        ("unconnected-timeout", settings.unconnected_timeout),
        ("lost-timeout", settings.lost_timeout),
    ] {
        flag(name, format!("{}ms", timeout.as_millis()).into());
    }
    arguments
}

impl Failure {
    /// 2 for settings, like clap; 1 for all else.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Dataplane(dataplane::DataplaneError::Config(_)) => {
                ExitCode::from(2)
            }
            Self::Dataplane(_) | Self::Server(_) | Self::System(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Dataplane(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<dataplane::ConfigError> for Failure {
    fn from(error: dataplane::ConfigError) -> Self {
        Self::Dataplane(error.into())
    }
}

impl From<dataplane::DataplaneError> for Failure {
    fn from(error: dataplane::DataplaneError) -> Self {
        Self::Dataplane(error)
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        Self::Server(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::System(error)
    }
}

const WORKERS: usize = 2;
const AFTER_HELP: &str = "Every flag can also stand in the TOML file of --config under the same \
name, or in the environment as JACKFIELD_ and the name in capitals with underscores \
(JACKFIELD_MEDIA_PORT). A flag wins over the environment, the environment over the file. What is \
unknown or wrong stops the start.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_doctor_examines_the_ports_of_every_shard_and_address() {
        let addresses =
            ["127.0.0.1", "::1"].map(|text| MediaAddress::direct(text.parse().unwrap()));
        let mut config = DataplaneConfig::new(PathBuf::from("/d.sock"), addresses.to_vec());
        config.first_media_port = 7882;
        let allowance = CoreAllowance {
            cores: vec![0, 1, 2],
            quota: None,
        };
        let selection = allowance.select(&CoreChoice::Count(2)).unwrap();
        let Ok(plan) = plan(&config, allowance, selection) else {
            panic!("there are such ports");
        };
        let sockets: Vec<String> = plan.sockets.iter().map(SocketAddr::to_string).collect();
        assert_eq!(
            sockets,
            [
                "127.0.0.1:7882",
                "[::1]:7882",
                "127.0.0.1:7883",
                "[::1]:7883"
            ]
        );
        assert_eq!((plan.cores, plan.spare), (vec![1, 2], vec![0]));
    }

    #[test]
    fn a_data_plane_that_is_started_gets_the_same_settings() {
        let text = "media-ip = [\"203.0.113.1=127.0.0.1\", \"::1\"]\nmedia-port = 9000\n\
                    cores = \"0,\"\ndtls = \"webrtc\"\nlost-timeout = \"1500ms\"\ndata-dir = \"/x y\"";
        let dir = std::env::temp_dir().join(format!("jackfield-main-test-{}", std::process::id()));
        std::fs::write(&dir, text).unwrap();
        let flags = Cli::parse_from(["jackfield"]).serve.into_layer();
        let settings = Settings::load(flags, Some(&dir)).unwrap();
        std::fs::remove_file(&dir).unwrap();

        let mut line = vec![OsString::from("jackfield")];
        line.extend(dataplane_arguments(&settings));
        let Some(Subcommands::Dataplane(flags)) = Cli::parse_from(line).command else {
            panic!("the data plane's subcommand");
        };
        let theirs = Settings::load(flags.into_layer(), None).unwrap();
        assert_eq!(dataplane_config(&theirs), dataplane_config(&settings));
    }
}
