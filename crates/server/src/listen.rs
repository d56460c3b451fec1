//! The listening socket: TLS or loopback, HTTP/1.1 and HTTP/2, time limits, graceful stop.
//!
//! `axum::serve` has no header time limit, which one slow client per connection would exploit
//! (slow loris, zot 2026-04), so the accept loop is ours. Plain text is served on loopback
//! addresses only: a token that crosses a network unencrypted is everybody's token.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

/// How long a client may take to send the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests that are in flight may take to finish after the stop signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// The most connections at once: half of the common limit of 20,000 open files leaves room for
/// the files that they read.
const MAX_CONNECTIONS: usize = 8_192;
/// The most bytes of a request's headers. A token, cookies and a long `Link` fit ten times over.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// The most streams of one HTTP/2 connection (CVE-2023-44487, rapid reset, is bounded by it).
const MAX_STREAMS: u32 = 256;

/// Says why the server does not listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// A network address without TLS.
    #[error(
        "`{0}` is not a loopback address, and plain text over a network would give the tokens away: \
         add `--tls-cert` and `--tls-key`, or listen on 127.0.0.1"
    )]
    PlainText(SocketAddr),
    /// A file of the certificate or its key could not be read.
    #[error("cannot read `{}`", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// The certificate file holds no certificate.
    #[error("`{0}` holds no PEM certificate")]
    Certificate(String),
    /// The key file holds no private key.
    #[error("`{0}` holds no PEM private key")]
    Key(String),
    /// The certificate and the key do not work together.
    #[error("the TLS certificate and key cannot be used")]
    Tls(#[source] rustls::Error),
    /// The address is taken, or not ours.
    #[error("cannot listen on `{0}`")]
    Bind(SocketAddr, #[source] std::io::Error),
    /// The socket cannot be asked.
    #[error("the listening socket has no address")]
    Address(#[source] std::io::Error),
}

/// A certificate chain and its key, in PEM.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub certificate: String,
    /// The private key, in PKCS#8, PKCS#1 or SEC1.
    pub key: String,
}

impl TlsFiles {
    /// Reads the two files.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, ListenError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|error| ListenError::Read(path.into(), error))
        };
        Ok(Self {
            certificate: read(certificate)?,
            key: read(key)?,
        })
    }

    /// Returns the configuration of a server that speaks HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// When the texts are not PEM, or do not belong together.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, ListenError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(self.certificate.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|_| ListenError::Certificate("--tls-cert".to_owned()))?;
        if chain.is_empty() {
            return Err(ListenError::Certificate("--tls-cert".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|_| ListenError::Key("--tls-key".to_owned()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ListenError::Tls)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(ListenError::Tls)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// A bound socket that has not begun to accept.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    /// Refuses a network address without TLS; otherwise what the system says.
    pub async fn bind(address: SocketAddr, tls: Option<&TlsFiles>) -> Result<Self, ListenError> {
        check_address(address, tls.is_some())?;
        let tls = tls.map(TlsFiles::server_config).transpose()?;
        let socket = TcpListener::bind(address)
            .await
            .map_err(|error| ListenError::Bind(address, error))?;
        let address = socket.local_addr().map_err(ListenError::Address)?;
        Ok(Self {
            socket,
            address,
            tls: tls.map(tokio_rustls::TlsAcceptor::from),
        })
    }

    /// Returns the address, with the port that the system chose where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of this address.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves `app` until `stop` becomes true, then lets the requests in flight finish.
    pub async fn serve(self, app: Router, mut stop: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let connection_stop = stop.clone();
        loop {
            let slot = slots.clone().acquire_owned();
            let accepted = tokio::select! {
                () = stopped(&mut stop) => break,
                accepted = async { (slot.await, self.socket.accept().await) } => accepted,
            };
            let (Ok(slot), Ok((stream, peer))) = accepted else {
                // Out of file descriptors: the next connection that ends makes room.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let connection = Connection {
                app: app.clone(),
                peer,
                stop: connection_stop.clone(),
            };
            let tls = self.tls.clone();
            tokio::spawn(async move {
                connection.run(stream, tls).await;
                drop(slot);
            });
        }
        drop(self.socket);
        drain(&slots).await;
    }
}

/// Waits until the stop signal was given, or can no longer be.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopped| *stopped).await;
}

/// Waits until every connection has given its slot back.
async fn drain(slots: &Semaphore) {
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    if tokio::time::timeout(DRAIN_TIMEOUT, slots.acquire_many(all))
        .await
        .is_err()
    {
        tracing::warn!("requests were still in flight when the time to finish them ran out");
    }
}

/// Refuses plain text on an address that others can reach.
///
/// # Errors
/// Says what to do instead.
pub fn check_address(address: SocketAddr, tls: bool) -> Result<(), ListenError> {
    if tls || address.ip().is_loopback() {
        Ok(())
    } else {
        Err(ListenError::PlainText(address))
    }
}

struct Connection {
    app: Router,
    peer: SocketAddr,
    stop: watch::Receiver<bool>,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<tokio_rustls::TlsAcceptor>) {
        // Answers are written whole: waiting for more to fill a segment only adds delay.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let Some(tls) = tls else {
            return self.http(stream).await;
        };
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "TLS handshake"),
            Err(_) => tracing::debug!(peer = %self.peer, "TLS handshake took too long"),
        }
    }

    async fn http<S>(mut self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (app, peer) = (self.app, self.peer);
        let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            app.clone().oneshot(request.map(axum::body::Body::new))
        });
        let builder = builder();
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stopped(&mut self.stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%peer, error = %error, "connection ended");
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEADER_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX));
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_for_loopback_only() {
        for (address, tls, expected) in [
            ("127.0.0.1:80", false, true),
            ("[::1]:80", false, true),
            ("0.0.0.0:80", false, false),
            ("[::]:80", false, false),
            ("192.0.2.1:80", false, false),
            ("192.0.2.1:80", true, true),
        ] {
            let checked = check_address(address.parse().unwrap(), tls);
            assert_eq!(checked.is_ok(), expected, "{address} tls={tls}");
        }
        let error = check_address("0.0.0.0:80".parse().unwrap(), false).unwrap_err();
        assert!(error.to_string().contains("--tls-cert"), "{error}");
    }
}
