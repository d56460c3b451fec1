//! Asking a container over HTTP whether it is well.
//!
//! A GET in HTTP/1.0, of which only the status line is read: the other side is the container that
//! is being judged, so it gets little time and no memory. RFC 9112 §4.

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long to wait between two probes.
pub const INTERVAL: Duration = Duration::from_millis(150);
/// How long one probe may take.
const LIMIT: Duration = Duration::from_secs(3);
/// How many bytes of the answer are read: a status line with a long reason phrase.
const MAX_STATUS_LINE_BYTES: usize = 256;

/// Says why a container is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeFailure {
    /// It has no port yet.
    NoPort,
    /// Nothing answers there.
    Connection(String),
    /// It does not answer in time.
    Timeout,
    /// It answers something that is not HTTP.
    NotHttp,
    /// It answers with a status that means trouble.
    Status(u16),
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort => f.write_str("it has no port"),
            Self::Connection(reason) => write!(f, "nothing answers ({reason})"),
            Self::Timeout => write!(f, "no answer within {} seconds", LIMIT.as_secs()),
            Self::NotHttp => f.write_str("it does not answer in HTTP"),
            Self::Status(status) => write!(f, "it answers with status {status}"),
        }
    }
}

/// Returns the status with which `path` answers at `endpoint` (`host:port`), if it is one of 200
/// to 399.
///
/// # Errors
/// Everything that [`ProbeFailure`] names.
pub async fn get(endpoint: &str, path: &str) -> Result<u16, ProbeFailure> {
    match tokio::time::timeout(LIMIT, ask(endpoint, path)).await {
        Ok(result) => result,
        Err(_) => Err(ProbeFailure::Timeout),
    }
}

async fn ask(endpoint: &str, path: &str) -> Result<u16, ProbeFailure> {
    let io = |e: std::io::Error| ProbeFailure::Connection(e.kind().to_string());
    let mut stream = TcpStream::connect(endpoint).await.map_err(io)?;
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {endpoint}\r\nUser-Agent: countersign\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(io)?;
    let mut answer = Vec::new();
    while answer.len() < MAX_STATUS_LINE_BYTES && !answer.contains(&b'\n') {
        if stream.read_buf(&mut answer).await.map_err(io)? == 0 {
            break;
        }
    }
    match status(&answer) {
        Some(status @ 200..=399) => Ok(status),
        Some(status) => Err(ProbeFailure::Status(status)),
        None => Err(ProbeFailure::NotHttp),
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(answer.split(|b| *b == b'\r').next()?).ok()?;
    let mut words = text.split(' ');
    let is_http = words.next()?.starts_with("HTTP/1.");
    let status: u16 = words.next()?.parse().ok()?;
    (is_http && (100..=599).contains(&status)).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answering(answer: &'static str) -> Result<u16, ProbeFailure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /healthz HTTP/1.0\r\n"));
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let result = get(&endpoint, "/healthz").await;
        server.await.unwrap();
        result
    }

    #[tokio::test]
    async fn only_a_good_status_is_well() {
        assert_eq!(answering("HTTP/1.1 200 OK\r\n\r\n").await, Ok(200));
        assert_eq!(answering("HTTP/1.0 302 Found\r\n\r\n").await, Ok(302));
        let failing = answering("HTTP/1.1 503 No\r\n\r\n").await;
        assert_eq!(failing, Err(ProbeFailure::Status(503)));
        for answer in [
            "",
            "SSH-2.0-x\r\n",
            "HTTP/1.1 abc\r\n",
            "HTTP/1.1 700 x\r\n",
        ] {
            assert_eq!(
                answering(answer).await,
                Err(ProbeFailure::NotHttp),
                "{answer}"
            );
        }
    }

    #[tokio::test]
    async fn nothing_listening_is_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        drop(listener);
        let failure = get(&endpoint, "/").await.unwrap_err();
        assert!(matches!(failure, ProbeFailure::Connection(_)), "{failure}");
    }
}
