//! Counters for `/metrics` and the form of the log.

use std::sync::Mutex;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends the log to standard error. A second call changes nothing.
///
/// `filter` is in the form of `tracing_subscriber::EnvFilter`; `None` means `info`.
pub fn init_log(format: LogFormat, filter: Option<&str>) {
    let filter = filter
        .and_then(|filter| EnvFilter::try_new(filter).ok())
        .unwrap_or_else(|| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// The counters of the front.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<AreaLabels, Histogram, fn() -> Histogram>,
    /// Bytes of blobs received.
    pub received_bytes: Counter,
    /// Bytes of blobs sent.
    pub sent_bytes: Counter,
    /// Whether each role answered when it was last asked: 1 or 0.
    pub roles: Family<RoleLabels, Gauge>,
}

/// The labels of the request counter: few values each, none taken from a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    area: Area,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AreaLabels {
    area: Area,
}

/// The label that names a role.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RoleLabels {
    /// The role's name.
    pub role: &'static str,
}

/// The part of the server that a request went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Area {
    Registry,
    Api,
    Git,
    Other,
}

impl Area {
    fn of(path: &str) -> Self {
        match path.split('/').nth(1) {
            Some("v2") => Self::Registry,
            Some("api") => Self::Api,
            Some("git") => Self::Git,
            _ => Self::Other,
        }
    }
}

impl Metrics {
    /// Returns counters at zero.
    #[expect(
        clippy::new_without_default,
        reason = "one set of counters per front: a default would hide a second set"
    )]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("countersign");
        let requests = Family::default();
        // From 0.1 ms to 26 s, each bucket four times the one before.
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.0001, 4.0, 10));
        let seconds = Family::new_with_constructor(histogram);
        let (received_bytes, sent_bytes) = (Counter::default(), Counter::default());
        let roles = Family::default();
        registry.register("requests", "Requests answered", Family::clone(&requests));
        registry.register("request_seconds", "Time to the headers", seconds.clone());
        registry.register(
            "blob_received_bytes",
            "Blob bytes in",
            received_bytes.clone(),
        );
        registry.register("blob_sent_bytes", "Blob bytes out", sent_bytes.clone());
        registry.register("role_up", "Whether a role answers", Family::clone(&roles));
        Self {
            registry: Mutex::new(registry),
            requests,
            seconds,
            received_bytes,
            sent_bytes,
            roles,
        }
    }

    /// Adds counters of another part of the server.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        let mut registry = self
            .registry
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        add(&mut registry);
    }

    /// Counts a request.
    pub(crate) fn request(
        &self,
        method: &Method,
        path: &str,
        status: StatusCode,
        elapsed: Duration,
    ) {
        let area = Area::of(path);
        let labels = RequestLabels {
            area,
            method: known_method(method),
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
        let labels = AreaLabels { area };
        self.seconds
            .get_or_create(&labels)
            .observe(elapsed.as_secs_f64());
    }

    /// Returns all counters in the text format of OpenMetrics.
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.register(|registry| {
            if prometheus_client::encoding::text::encode(&mut text, registry).is_err() {
                text.clear();
            }
        });
        text
    }
}

/// A client may send any method: each would be a counter of its own.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cannot_add_counters() {
        let metrics = Metrics::new();
        for name in ["AAA", "BBB"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            metrics.request(&method, "/v2/x", StatusCode::OK, Duration::from_millis(1));
        }
        let text = metrics.render();
        let line =
            "countersign_requests_total{area=\"Registry\",method=\"other\",status=\"200\"} 2";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("AAA"), "{text}");
    }
}
