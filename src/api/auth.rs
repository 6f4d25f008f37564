//! Bearer keys: who may use the routes under `/v1`.
//!
//! No key configured means open. Keys are compared as SHA-256 digests in constant time, so that neither
//! their content nor their length shows in the time an answer takes.

use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{ResponseError, web};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::ApiState;
use super::client::Client;
use super::error::ApiError;

/// Where Azure's clients put the key.
const API_KEY: &str = "api-key";

/// The configured keys, as digests.
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// White space around a key is dropped, and so are empty keys.
    pub fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| key.trim()).filter(|key| !key.is_empty()).map(digest).collect())
    }

    /// Whether none is configured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets a request with these headers through; gives the digest of its key, where keys are configured.
    ///
    /// # Errors
    /// 401 when keys are configured and none of them was presented.
    pub fn check(&self, headers: &HeaderMap) -> Result<Option<[u8; 32]>, ApiError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let authorization = text(AUTHORIZATION.as_str());
        let bearer = authorization.as_deref().and_then(bearer);
        let azure = text(API_KEY);
        let presented = [bearer, azure.as_deref().map(str::trim)];
        if let Some(known) = presented.iter().flatten().find_map(|key| self.known(key)) {
            return Ok(Some(known));
        }
        Err(match presented.into_iter().flatten().next() {
            Some(key) => ApiError::unauthorized(
                Some("invalid_api_key"),
                format!(
                    "incorrect API key provided: {}; the server's operator has the right one",
                    masked(key)
                ),
            ),
            None => ApiError::unauthorized(
                None,
                "no API key provided; send it in an `Authorization: Bearer KEY` header",
            ),
        })
    }

    /// The digest of `key`, if it is one of the keys. Looks at every key, whichever matches.
    fn known(&self, key: &str) -> Option<[u8; 32]> {
        let key = digest(key);
        let hit = self.0.iter().fold(Choice::from(0), |hit, known| hit | known.ct_eq(&key));
        bool::from(hit).then_some(key)
    }
}

/// Middleware: answers 401 before anything of the body is read, and notes who sends what is let through.
///
/// # Errors
/// When no key, or a wrong one, was sent.
pub async fn guard<B>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<BoxBody>, Error>
where
    B: MessageBody + 'static,
{
    let state = request.app_data::<web::Data<ApiState>>().expect("the app is built with its state");
    match state.keys.check(request.headers()) {
        Ok(key) => {
            key.map_or_else(|| Client::at_address(&request), Client::Key).note(&request);
            Ok(next.call(request).await?.map_into_boxed_body())
        }
        Err(error) => Ok(request.into_response(error.error_response())),
    }
}

/// The key of a bearer header, whatever the case of its scheme and the spaces around it.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, key) = authorization.trim().split_once(char::is_whitespace)?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Enough of a key to recognise one's own by, never enough to use it.
fn masked(key: &str) -> String {
    let shown = |text: &[char]| text.iter().filter(|c| c.is_ascii_graphic()).collect::<String>();
    let characters: Vec<char> = key.chars().collect();
    if characters.len() < 16 {
        return "****".to_owned();
    }
    format!("{}****{}", shown(&characters[..3]), shown(&characters[characters.len() - 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn allows(keys: &[&str], header: Option<(&'static str, &'static str)>) -> bool {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Keys::new(&keys).check(&headers).is_ok()
    }

    #[test]
    fn without_keys_everybody_is_let_in() {
        assert!(allows(&[], None));
        assert!(allows(&["", "  "], Some(("authorization", "Bearer anything"))));
    }

    #[test]
    fn every_configured_key_opens_in_every_spelling() {
        for value in ["Bearer two", "bearer two", "BEARER   two  ", " Bearer\ttwo"] {
            assert!(allows(&["one", "two"], Some(("authorization", value))), "{value:?}");
        }
        assert!(allows(&["one", "two"], Some(("api-key", "one"))));
    }

    #[test]
    fn anything_else_is_refused() {
        for value in ["Bearer on", "Bearer onee", "Basic one", "one", "Bearer", "Bearer one two", ""] {
            assert!(!allows(&["one"], Some(("authorization", value))), "{value:?}");
        }
        assert!(!allows(&["one"], None));
        assert!(!allows(&["one"], Some(("api-key", "two"))));
    }

    #[test]
    fn a_wrong_key_is_echoed_only_in_part() {
        assert_eq!(masked("sk-1234567890abcdef"), "sk-****cdef");
        assert_eq!(masked("short"), "****");
    }
}
