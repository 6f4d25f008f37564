//! One question to the hub: a file, from some byte on. Redirects are followed by hand.
//!
//! By hand, because the first answer carries what the file must be (`X-Linked-Etag` is its SHA-256,
//! `X-Linked-Size` its length) and because the token is for the hub alone, never for the storage that it
//! points to. Proxies come from the environment (`HTTPS_PROXY`, `NO_PROXY`, …), certificates from
//! `SSL_CERT_FILE` if it is set. Knows nothing of files on disk.

use std::net::IpAddr;
use std::time::Duration;

use ureq::http::{HeaderMap, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};
use url::{Host, Url};

use super::catalogue::ModelsOptions;
use super::download::{Order, Patience};
use super::verify::parse_sha256;

/// Redirects that are followed for one question.
const MAX_REDIRECTS: usize = 10;
/// Longest pause that the hub can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The next try may succeed, after the pause that the other side asked for.
    Passing { reason: String, pause: Option<Duration> },
    /// No try will succeed until somebody changes something.
    Lasting(String),
}

impl Failure {
    pub fn passing(reason: impl Into<String>) -> Self {
        Self::Passing { reason: reason.into(), pause: None }
    }
}

/// What an answer brings.
pub(super) enum Content {
    /// The file from its first byte; its length, if said.
    Whole { length: Option<u64>, body: Body },
    /// The file from byte `start` on; its whole length, if said.
    Part { start: u64, length: Option<u64>, body: Body },
    /// There is nothing behind the byte asked for; the file's length, if said.
    BeyondEnd { length: Option<u64> },
}

/// An answer, and what the hub said of the file.
pub(super) struct Answer {
    pub content: Content,
    pub sha256: Option<String>,
    pub size: Option<u64>,
}

/// The hub, as configured.
pub(super) struct Hub<'a> {
    base: Url,
    token: Option<&'a str>,
    roots: Option<RootCerts>,
    stall: Duration,
}

impl<'a> Hub<'a> {
    /// # Errors
    /// `Lasting` when the address or the certificates cannot be used.
    pub fn new(options: &'a ModelsOptions, patience: &Patience) -> Result<Self, Failure> {
        let base = Url::parse(&options.hub_endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| Failure::Lasting("HF_ENDPOINT must be an http or https address".to_owned()))?;
        let token = options.hub_token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        Ok(Self { base, token, roots: root_certificates()?, stall: patience.stall })
    }

    /// Asks for the file from byte `from` on.
    pub fn get(&self, order: &Order, from: u64) -> Result<Answer, Failure> {
        let mut url = self.address_of(order)?;
        let (mut sha256, mut size) = (None, None);
        for _ in 0..=MAX_REDIRECTS {
            let is_hub = url.origin() == self.base.origin();
            let response = self.ask(&url, from)?;
            if is_hub {
                sha256 = sha256.or_else(|| linked_sha256(response.headers()));
                size = size.or_else(|| number(response.headers(), "x-linked-size"));
            }
            if !response.status().is_redirection() {
                return Ok(Answer {
                    content: content_of(response, order, is_hub, self.token)?,
                    sha256,
                    size,
                });
            }
            url = self.redirected(&url, response.headers())?;
        }
        Err(Failure::Lasting(format!("the hub redirects more than {MAX_REDIRECTS} times")))
    }

    /// `{base}/{owner}/{name}/resolve/{revision}/{file}`.
    fn address_of(&self, order: &Order) -> Result<Url, Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::Lasting("HF_ENDPOINT cannot carry a path".to_owned()))?
            .pop_if_empty()
            .extend(order.repo.split('/'))
            .extend(["resolve", &order.revision])
            .extend(order.file.split('/'));
        Ok(url)
    }

    fn ask(&self, url: &Url, from: u64) -> Result<Response<Body>, Failure> {
        let mut request = self.agent_for(url).get(url.as_str());
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        if let Some(token) = self.token.filter(|_| url.origin() == self.base.origin()) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.call().map_err(|error| failure_of(&error, url))
    }

    fn agent_for(&self, url: &Url) -> Agent {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("diarist/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(self.stall))
            .timeout_per_write(Some(self.stall))
            .timeout_recv_response(Some(self.stall));
        if is_this_machine(url) {
            config = config.proxy(None);
        }
        if let Some(roots) = self.roots.clone() {
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        config.build().new_agent()
    }

    /// Where a redirect leads; never from https to http.
    fn redirected(&self, from: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
        let location = headers.get("location").and_then(|value| value.to_str().ok());
        let target = location.and_then(|location| from.join(location).ok());
        let target = target.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let target = target.ok_or_else(|| Failure::Lasting("the hub redirects to no address".to_owned()))?;
        if from.scheme() == "https" && target.scheme() == "http" {
            return Err(Failure::Lasting("the hub redirects to an address without encryption".to_owned()));
        }
        Ok(target)
    }
}

/// What the last answer of a chain of redirects brings.
fn content_of(
    response: Response<Body>,
    order: &Order,
    is_hub: bool,
    token: Option<&str>,
) -> Result<Content, Failure> {
    let status = response.status().as_u16();
    let headers = response.headers();
    match status {
        200 => {
            let length = number(headers, "content-length");
            Ok(Content::Whole { length, body: response.into_body() })
        }
        206 => {
            let range = headers.get("content-range").and_then(|value| value.to_str().ok());
            let (start, length) = range
                .and_then(parse_content_range)
                .ok_or_else(|| Failure::passing("the hub sent a part of the file without saying which"))?;
            Ok(Content::Part { start, length, body: response.into_body() })
        }
        416 => {
            let range = headers.get("content-range").and_then(|value| value.to_str().ok());
            let length = range.and_then(|range| range.strip_prefix("bytes */")?.trim().parse().ok());
            Ok(Content::BeyondEnd { length })
        }
        408 | 425 | 429 | 500..=599 => Err(Failure::Passing {
            reason: format!("the hub answered with status {status}"),
            pause: number(headers, "retry-after").map(|s| Duration::from_secs(s).min(MAX_RETRY_AFTER)),
        }),
        // The storage behind the hub takes signed addresses that expire: the hub gives a fresh one.
        _ if !is_hub => {
            Err(Failure::passing(format!("the storage that the hub points to answered with status {status}")))
        }
        _ => Err(Failure::Lasting(refusal(status, order, token))),
    }
}

/// What to do about a status that no further try will change.
fn refusal(status: u16, order: &Order, token: Option<&str>) -> String {
    let Order { repo, revision, file, .. } = order;
    match (status, token) {
        (401, None) => {
            format!(
                "the hub has no repository {repo} that is open to all (status 401); if it needs a token, set HF_TOKEN"
            )
        }
        (401, Some(_)) => format!("the hub does not take the token in HF_TOKEN for {repo} (status 401)"),
        (403, _) => format!(
            "the hub does not give out {repo} (status 403); agree to its terms on its page there, and set HF_TOKEN"
        ),
        (404, _) => format!("the hub has no file {file} in {repo} at revision {revision} (status 404)"),
        (407, _) => "the proxy wants a user and a password (status 407); set HTTPS_PROXY".to_owned(),
        _ => format!("the hub answered with status {status}"),
    }
}

/// Whether another try may help, and what to say.
fn failure_of(error: &ureq::Error, url: &Url) -> Failure {
    let host = url.host_str().unwrap_or_default();
    match error {
        ureq::Error::Timeout(_) => Failure::passing(format!("{host} does not answer")),
        ureq::Error::HostNotFound => {
            Failure::passing(format!("{host} cannot be found; is there a network, and is HF_ENDPOINT right?"))
        }
        // What rustls says of a certificate comes as this kind.
        ureq::Error::Io(cause) if cause.kind() == std::io::ErrorKind::InvalidData => Failure::Lasting(
            format!("{host} cannot be trusted ({error}); SSL_CERT_FILE names the certificates to trust"),
        ),
        ureq::Error::Io(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => {
            Failure::passing(format!("the connection to {host} failed ({error})"))
        }
        ureq::Error::Http(_) => {
            Failure::Lasting("the request cannot be made; is HF_TOKEN one line?".to_owned())
        }
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
            Failure::Lasting(format!("the proxy cannot be used ({error}); see HTTPS_PROXY and NO_PROXY"))
        }
        _ => Failure::Lasting(format!("{host} cannot be asked ({error})")),
    }
}

/// `start` and whole length from `bytes start-end/length`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _end) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, length.trim().parse().ok()))
}

/// The hub's SHA-256 of a large file: `"<hex>"`. Small files have the hash of a git object there instead.
fn linked_sha256(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("x-linked-etag")?.to_str().ok()?;
    parse_sha256(value.trim().trim_start_matches("W/").trim_matches('"'))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Whether the address is this machine itself, which no proxy can reach for us.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// The certificates of `SSL_CERT_FILE`, for networks that have an authority of their own.
fn root_certificates() -> Result<Option<RootCerts>, Failure> {
    let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let pem = std::fs::read(&path).map_err(|error| {
        Failure::Lasting(format!("the file that SSL_CERT_FILE names cannot be read ({error})"))
    })?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Failure::Lasting("the file that SSL_CERT_FILE names holds no certificates".to_owned()));
    }
    Ok(Some(RootCerts::new_with_certs(&certificates)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_gives_start_and_length() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        for text in ["", "bytes", "bytes */10", "bytes x-9/10", "5-9/10", "bytes 5/10"] {
            assert_eq!(parse_content_range(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_a_sha256_counts_as_the_hubs_hash() {
        let with = |etag: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-linked-etag", etag.parse().expect("a header"));
            linked_sha256(&headers)
        };
        let hash = "ab".repeat(32);
        assert_eq!(with(&format!("\"{hash}\"")), Some(hash.clone()));
        assert_eq!(with(&hash), Some(hash));
        assert_eq!(with(&format!("\"{}\"", "ab".repeat(20))), None);
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_not_tried_again() {
        let url = Url::parse("https://hub.example").expect("an address");
        let failure = |kind| failure_of(&ureq::Error::Io(std::io::Error::new(kind, "cause")), &url);
        let untrusted = failure(std::io::ErrorKind::InvalidData);
        assert!(matches!(untrusted, Failure::Lasting(reason) if reason.contains("SSL_CERT_FILE")));
        assert!(matches!(failure(std::io::ErrorKind::ConnectionReset), Failure::Passing { .. }));
    }

    #[test]
    fn the_address_is_made_of_segments() {
        let order = Order {
            id: "x".into(),
            local_name: "x.bin".into(),
            repo: "owner/name".into(),
            revision: "main".into(),
            file: "sub/x.bin".into(),
            size: None,
            sha256: None,
        };
        for (base, expected) in [
            ("https://hub.example", "https://hub.example/owner/name/resolve/main/sub/x.bin"),
            ("https://hub.example/mirror/", "https://hub.example/mirror/owner/name/resolve/main/sub/x.bin"),
        ] {
            let base = Url::parse(base).expect("an address");
            let hub = Hub { base, token: None, roots: None, stall: Duration::from_secs(1) };
            assert_eq!(hub.address_of(&order).expect("an address").as_str(), expected);
        }
    }

    #[test]
    fn a_redirect_never_gives_up_encryption() {
        let base = Url::parse("https://hub.example").expect("an address");
        let hub = Hub { base: base.clone(), token: None, roots: None, stall: Duration::from_secs(1) };
        let to = |location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("location", location.parse().expect("a header"));
            hub.redirected(&base, &headers).map(String::from)
        };
        assert_eq!(to("/a").as_deref(), Ok("https://hub.example/a"));
        assert_eq!(to("https://cdn.example/a").as_deref(), Ok("https://cdn.example/a"));
        assert!(to("http://cdn.example/a").is_err());
        assert!(to("file:///etc/passwd").is_err());
        assert!(hub.redirected(&base, &HeaderMap::new()).is_err());
    }
}
