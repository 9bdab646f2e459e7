//! One control plane from start to stop: what it prepares, serves, and leaves behind.

mod banner;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use self::banner::banner;
use crate::api::{Rooms, Service, SharedService, Waits, Watchers};
use crate::config::Settings;
use crate::engine::Engine;
use crate::observe::HttpFigures;
use crate::registry::Registry;
use crate::routes;
use crate::store::{NewApp, Store, StoreError, random_hex};
use crate::supervise::{Phase, Starter, SuperviseError, Supervisor, spawn_hearing};

/// Why the control plane could not start, or had to stop: a sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum ServerError {
    #[error("cannot use the data directory {}: {source}", path.display())]
    DataDir { path: PathBuf, source: io::Error },
    #[error("another jackfield uses the data directory {} already", path.display())]
    InUse { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot serve HTTP at {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot use `tls-cert` {} and `tls-key`: {source}", certificate.display())]
    Tls {
        certificate: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

/// Serves until a signal comes (SIGTERM or SIGINT; a second one forces the end).
///
/// `cores` is the sentence about the cores of a data plane that is started here.
///
/// # Errors
/// Something that is needed cannot be had.
pub async fn serve(settings: Settings, starter: Starter, cores: &str) -> Result<(), ServerError> {
    let prepared = Prepared::new(&settings).await?;
    let listener = listen(settings.http)?;
    let tls = load_tls(&settings).await?;
    let mut phase = watch_signals()?;

    let (notices, heard) = mpsc::unbounded_channel();
    let service: SharedService = Arc::new(Service {
        store: prepared.store.clone(),
        engine: Engine::new(notices),
        registry: Registry::new(),
        rooms: Rooms::default(),
        watchers: Watchers::default(),
        figures: HttpFigures::default(),
        account_token: prepared.account_token.clone(),
        waits: Waits::default(),
    });
    spawn_hearing(&service, heard);

    let socket = settings
        .attach
        .clone()
        .unwrap_or_else(|| settings.dataplane_socket());
    let mut supervisor = Supervisor::new(Arc::clone(&service), socket, starter);
    let attached = match supervisor.attach_first(&mut phase).await {
        Err(SuperviseError::Stopped) => return Ok(()),
        result => result?,
    };
    // The port may have been 0.
    let address = listener.local_addr()?;
    print(&banner(&settings, address, &prepared, &attached, cores))?;
    let watching = tokio::spawn(supervisor.run(attached, phase.clone()));
    serve_http(listener, tls, service, phase).await?;
    // A panic in there has been reported.
    let _ = watching.await;
    drop(prepared);
    tracing::info!("stopped");
    Ok(())
}

/// What stands in the data directory.
struct Prepared {
    store: Store,
    account_token: String,
    token_is_new: bool,
    made: Option<NewApp>,
    app_ids: Vec<String>,
    /// Held as long as this process lives.
    _lock: File,
}

impl Prepared {
    async fn new(settings: &Settings) -> Result<Self, ServerError> {
        let path = &settings.data_dir;
        let failed = |source| ServerError::DataDir {
            path: path.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let lock = lock(path)?;
        let (account_token, token_is_new) = match &settings.account_token {
            Some(token) => (token.clone(), false),
            None => kept_token(&path.join(TOKEN_FILE)).map_err(failed)?,
        };
        let store = Store::open(path).await?;
        for app in &settings.apps {
            store.ensure_app(&app.id, &app.secret).await?;
        }
        let made = match store.apps().await?.is_empty() {
            true => Some(store.create_app("").await?),
            false => None,
        };
        let app_ids = store.apps().await?.into_iter().map(|app| app.id).collect();
        Ok(Self {
            store,
            account_token,
            token_is_new,
            made,
            app_ids,
            _lock: lock,
        })
    }
}

/// One control plane for one data directory.
fn lock(data_dir: &Path) -> Result<File, ServerError> {
    let path = data_dir.join(LOCK_FILE);
    let failed = |source| ServerError::DataDir {
        path: data_dir.to_path_buf(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ServerError::InUse {
            path: data_dir.to_path_buf(),
        }),
        Err(error) => Err(failed(error.into())),
    }
}

/// The account token of an earlier start, or a new one; whether it is new.
fn kept_token(path: &Path) -> io::Result<(String, bool)> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(mut file) => {
            let token = random_hex::<32>().map_err(io::Error::other)?;
            file.write_all(token.as_bytes())?;
            Ok((token, true))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut token = String::new();
            File::open(path)?.read_to_string(&mut token)?;
            let token = token.trim().to_owned();
            if token.is_empty() {
                return Err(io::Error::other(format!("{} is empty", path.display())));
            }
            Ok((token, false))
        }
        Err(error) => Err(error),
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let failed = |source| ServerError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

async fn load_tls(settings: &Settings) -> Result<Option<RustlsConfig>, ServerError> {
    let Some(files) = &settings.tls else {
        return Ok(None);
    };
    RustlsConfig::from_pem_file(&files.certificate, &files.key)
        .await
        .map(Some)
        .map_err(|source| ServerError::Tls {
            certificate: files.certificate.clone(),
            source,
        })
}

/// Turns signals into phases.
fn watch_signals() -> Result<watch::Receiver<Phase>, ServerError> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let (phase, watched) = watch::channel(Phase::Running);
    tokio::spawn(async move {
        for next in [Phase::Stopping, Phase::Forced] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!(?next, "a signal came");
            phase.send_replace(next);
        }
        // The last phase stays to be seen.
        phase.closed().await;
    });
    Ok(watched)
}

async fn serve_http(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    service: SharedService,
    mut phase: watch::Receiver<Phase>,
) -> Result<(), ServerError> {
    let handle = axum_server::Handle::new();
    let stopper = handle.clone();
    tokio::spawn(async move {
        // An error means that nobody can stop us any more but the runtime.
        let _ = phase.wait_for(|phase| *phase > Phase::Running).await;
        stopper.graceful_shutdown(Some(HTTP_STOP_TIME_MAX));
    });
    let app = routes::router(service).into_make_service();
    match tls {
        Some(tls) => {
            let mut server = axum_server::from_tcp_rustls(listener, tls)?.handle(handle);
            limit(server.http_builder());
            server.serve(app).await?;
        }
        None => {
            let mut server = axum_server::from_tcp(listener)?.handle(handle);
            limit(server.http_builder());
            server.serve(app).await?;
        }
    }
    Ok(())
}

/// A client that sends its headers by the drop is cut off.
fn limit(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEADER_TIME_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(STREAM_HEADER_BYTES_MAX);
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

const LOCK_FILE: &str = "control.lock";
const TOKEN_FILE: &str = "account-token";
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: usize = 64 * 1024;
const STREAM_HEADER_BYTES_MAX: u32 = 64 * 1024;
const STREAMS_MAX: u32 = 128;
const HTTP_STOP_TIME_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_account_token_is_kept_and_only_ours_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOKEN_FILE);
        let (token, is_new) = kept_token(&path).unwrap();
        assert!(is_new && token.len() == 64);
        assert_eq!(kept_token(&path).unwrap(), (token, false));
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn two_control_planes_do_not_share_a_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(ServerError::InUse { .. })));
        drop(first);
        assert!(lock(dir.path()).is_ok());
    }
}
