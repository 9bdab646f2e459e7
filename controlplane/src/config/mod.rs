//! Settings: read from flags, environment and a TOML file, under the same names everywhere, and
//! strict. Whatever cannot be understood stops the start with a sentence that names it.
//!
//! A flag wins over the environment, the environment over the file, the file over the default.

mod flags;
mod layer;
mod value;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use flags::{ControlplaneFlags, DataplaneFlags, DoctorFlags, Flags, ServeFlags};
pub use layer::{ConfigError, Layer, Layers, Origin};
pub use value::{AppCredentials, Cores, Dtls, Io, MediaIp};

/// Everything that can be set, after reading and checking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `http`: where the API and the page are served.
    pub http: SocketAddr,
    /// `media-ip`: the addresses for media; never empty.
    pub media_ips: Vec<MediaIp>,
    /// `media-port`: UDP port of the first shard.
    pub media_port: u16,
    /// `cores`: which cores get a shard.
    pub cores: Cores,
    /// `io`: how datagrams are moved.
    pub io: Io,
    /// `gso`: whether datagrams of one destination leave as one message (`UDP_SEGMENT`).
    pub gso: bool,
    /// `spin`: whether the forwarding cores look for packets all the time instead of sleeping.
    pub spin: bool,
    /// `data-dir`: where the database, the secrets and the data plane's socket stand.
    pub data_dir: PathBuf,
    /// `app`: apps that must exist.
    pub apps: Vec<AppCredentials>,
    /// `tls-cert` and `tls-key`: PEM files; both or none.
    pub tls: Option<TlsFiles>,
    /// `dtls`: who does the handshakes.
    pub dtls: Dtls,
    /// `log`: a filter such as `info` or `controlplane=debug,info`.
    pub log: String,
    /// `orphan-timeout`: how long the data plane waits for a new control plane.
    pub orphan_timeout: Duration,
    /// `unconnected-timeout`: how long a session may take to connect.
    pub unconnected_timeout: Duration,
    /// `lost-timeout`: how long a session that was connected may be lost.
    pub lost_timeout: Duration,
    /// `account-token`: what the account API asks for; made at the first start if not set.
    pub account_token: Option<String>,
    /// `attach`: the socket of a data plane that runs already (`controlplane` only).
    pub attach: Option<PathBuf>,
}

/// The two files of a TLS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

impl Settings {
    /// Reads the environment and the file (named by `--config` or `JACKFIELD_CONFIG`) under
    /// `flags`.
    ///
    /// # Errors
    /// An unknown key, a bad value, or a file that cannot be read.
    pub fn load(flags: Layer, config_flag: Option<&Path>) -> Result<Self, ConfigError> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        });
        let (environment, config_variable) = Layer::from_environment(variables)?;
        let file = match config_flag.map(Path::to_path_buf).or(config_variable) {
            Some(path) => Layer::from_file(&path)?,
            None => Layer::empty(),
        };
        Self::resolve(&Layers::new(flags, environment, file))
    }

    /// Makes settings of the three layers.
    ///
    /// # Errors
    /// The first value that cannot be understood, with where it was set.
    pub fn resolve(layers: &Layers) -> Result<Self, ConfigError> {
        let mut media_ips = layers.all("media-ip", value::media_ip)?;
        if media_ips.is_empty() {
            media_ips = default_media_ips();
        }
        Ok(Self {
            http: layers.one("http", value::socket_address)?.unwrap_or(HTTP),
            media_ips,
            media_port: layers.one("media-port", value::port)?.unwrap_or(MEDIA_PORT),
            cores: layers.one("cores", value::cores)?.unwrap_or_default(),
            io: layers.one("io", value::io)?.unwrap_or_default(),
            gso: layers.one("gso", value::switch)?.unwrap_or(true),
            spin: layers.one("spin", value::switch)?.unwrap_or(false),
            data_dir: match layers.one("data-dir", value::path)? {
                Some(path) => path,
                None => default_data_dir()?,
            },
            apps: layers.all("app", value::app)?,
            tls: tls_files(layers)?,
            dtls: layers.one("dtls", value::dtls)?.unwrap_or_default(),
            log: layers
                .one("log", value::log_filter)?
                .unwrap_or_else(|| LOG.to_owned()),
            orphan_timeout: layers
                .one("orphan-timeout", value::duration)?
                .unwrap_or(ORPHAN_TIMEOUT),
            unconnected_timeout: layers
                .one("unconnected-timeout", value::duration)?
                .unwrap_or(UNCONNECTED_TIMEOUT),
            lost_timeout: layers
                .one("lost-timeout", value::duration)?
                .unwrap_or(LOST_TIMEOUT),
            account_token: layers.one("account-token", value::token)?,
            attach: layers.one("attach", value::path)?,
        })
    }

    /// The unix socket of the data plane that belongs to this data directory.
    pub fn dataplane_socket(&self) -> PathBuf {
        self.data_dir.join("dataplane.sock")
    }
}

fn tls_files(layers: &Layers) -> Result<Option<TlsFiles>, ConfigError> {
    let certificate = layers.one("tls-cert", value::path)?;
    let key = layers.one("tls-key", value::path)?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::Incomplete {
            given: "tls-cert",
            missing: "tls-key",
        }),
        (None, Some(_)) => Err(ConfigError::Incomplete {
            given: "tls-key",
            missing: "tls-cert",
        }),
    }
}

/// The address of the default route, if there is one, and loopback.
///
/// A connected UDP socket tells its local address without sending anything.
fn default_media_ips() -> Vec<MediaIp> {
    let routed = || -> std::io::Result<IpAddr> {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        // RFC 5737: an address for documentation; only the routing table is asked about it.
        socket.connect("192.0.2.1:9")?;
        Ok(socket.local_addr()?.ip())
    };
    let loopback = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let mut addresses = Vec::new();
    if let Ok(address) = routed()
        && !address.is_unspecified()
        && !address.is_loopback()
    {
        addresses.push(MediaIp::direct(address));
    }
    addresses.push(MediaIp::direct(loopback));
    addresses
}

/// `$XDG_DATA_HOME/jackfield`, else `~/.local/share/jackfield`.
fn default_data_dir() -> Result<PathBuf, ConfigError> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("jackfield"))
        .ok_or(ConfigError::NoDataDir)
}

const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8787);
const MEDIA_PORT: u16 = 7882;
const LOG: &str = "info";
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(60);
const UNCONNECTED_TIMEOUT: Duration = Duration::from_secs(120);
const LOST_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(file: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (environment, _) = Layer::from_environment(variables)?;
        let file = Layer::from_toml(file, Path::new("jackfield.toml"))?;
        Settings::resolve(&Layers::new(Layer::empty(), environment, file))
    }

    fn sentence(file: &str, variables: &[(&str, &str)]) -> String {
        resolve(file, variables).unwrap_err().to_string()
    }

    #[test]
    fn without_anything_set_the_defaults_hold() {
        let settings = resolve("", &[]).unwrap();
        assert_eq!(settings.http.to_string(), "127.0.0.1:8787");
        assert_eq!(settings.media_port, 7882);
        let last = settings.media_ips.last().unwrap();
        assert_eq!(*last, MediaIp::direct("127.0.0.1".parse().unwrap()));
        assert_eq!(settings.cores, Cores::AllButOne);
        assert_eq!(settings.tls, None);
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let settings = resolve("media-port = 1000", &[("JACKFIELD_MEDIA_PORT", "2000")]).unwrap();
        assert_eq!(settings.media_port, 2000);
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let mut flags = Layer::empty();
        flags.set_flag("media-port", Some("3000".to_owned()));
        let variables = [("JACKFIELD_MEDIA_PORT".to_owned(), "2000".to_owned())];
        let (environment, _) = Layer::from_environment(variables.into_iter()).unwrap();
        let layers = Layers::new(flags, environment, Layer::empty());
        assert_eq!(Settings::resolve(&layers).unwrap().media_port, 3000);
    }

    #[test]
    fn a_list_replaces_the_list_of_a_lower_layer() {
        let file = "media-ip = [\"192.0.2.1\", \"192.0.2.2\"]";
        let settings = resolve(file, &[("JACKFIELD_MEDIA_IP", "203.0.113.9=10.0.0.1")]).unwrap();
        let expected = MediaIp {
            bind: "10.0.0.1".parse().unwrap(),
            public: "203.0.113.9".parse().unwrap(),
        };
        assert_eq!(settings.media_ips, [expected]);
    }

    #[test]
    fn an_unknown_key_in_the_file_is_named_with_a_guess_at_what_was_meant() {
        let told = sentence("media-prot = 1", &[]);
        assert!(
            told.contains("media-prot") && told.contains("jackfield.toml"),
            "{told}"
        );
        assert!(told.contains("did you mean `media-port`"), "{told}");
    }

    #[test]
    fn an_unknown_variable_is_named() {
        let told = sentence("", &[("JACKFIELD_HTPP", "x")]);
        assert!(told.contains("JACKFIELD_HTPP"), "{told}");
    }

    #[test]
    fn a_variable_that_is_not_ours_is_ignored() {
        assert!(resolve("", &[("JACKFIELDS", "x"), ("PATH", "/bin")]).is_ok());
    }

    #[test]
    fn every_bad_value_stops_the_start_with_its_name() {
        let table = [
            ("http", "\"localhost\""),
            ("http", "\"127.0.0.1\""),
            ("media-ip", "\"example.org\""),
            ("media-ip", "\"0.0.0.0\""),
            ("media-ip", "\"2001:db8::1=127.0.0.1\""),
            ("media-port", "0"),
            ("media-port", "70000"),
            ("media-port", "\"7882-7892\""),
            ("cores", "0"),
            ("cores", "\"some\""),
            ("cores", "\"3-1\""),
            ("cores", "\"1,1\""),
            ("io", "\"magic\""),
            ("gso", "\"perhaps\""),
            ("spin", "2"),
            ("data-dir", "\"\""),
            ("app", "\"id-without-secret\""),
            ("app", "\"id:\""),
            ("app", "\"no/slash:secret\""),
            ("dtls", "\"openssl\""),
            ("log", "\"info,,=x=\""),
            ("orphan-timeout", "\"1 fortnight\""),
            ("unconnected-timeout", "-1"),
            ("lost-timeout", "\"\""),
            ("account-token", "\"\""),
            ("http", "{ address = \"127.0.0.1:1\" }"),
            ("media-port", "[1, 2]"),
        ];
        for (key, value) in table {
            let told = sentence(&format!("{key} = {value}"), &[]);
            assert!(
                told.contains(&format!("`{key}`")),
                "{key} = {value}: {told}"
            );
            assert!(told.contains("jackfield.toml"), "{key} = {value}: {told}");
        }
    }

    #[test]
    fn a_bad_secret_is_not_repeated_in_the_sentence() {
        let told = sentence("app = \"bad id:hunter2\"", &[]);
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn one_half_of_tls_is_refused() {
        assert!(sentence("tls-cert = \"a.pem\"", &[]).contains("tls-key"));
        assert!(sentence("tls-key = \"a.pem\"", &[]).contains("tls-cert"));
    }

    #[test]
    fn a_file_that_is_not_toml_is_named() {
        assert!(sentence("http = ", &[]).contains("jackfield.toml"));
    }
}
