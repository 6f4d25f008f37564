//! Keys.

use crate::support::*;

fn status(app: &App, name: &str, value: &str) -> u16 {
    app.client.get(app.url("/v1/models")).header(name, value).send().unwrap().status().as_u16()
}

#[test]
fn every_key_opens_in_every_spelling() {
    let app = spawn_with(Script::default(), |options| options.api_keys = vec!["one".into(), "two".into()]);
    for value in ["Bearer one", "bearer two", "BEARER one", "Bearer    two  "] {
        assert_eq!(status(&app, "authorization", value), 200, "{value}");
    }
    assert_eq!(status(&app, "api-key", "two"), 200);
    for value in ["Bearer three", "Basic one", "one", "Bearer", "Bearer oneone"] {
        assert_eq!(status(&app, "authorization", value), 401, "{value}");
    }
}

#[test]
fn a_401_says_what_is_wrong_and_hides_the_key() {
    let app = spawn_with(Script::default(), |options| options.api_keys = vec!["one".into()]);
    let missing = app.get("/v1/models");
    assert!(missing.error(401)["code"].is_null());
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"Diarist API\""));
    let key = "sk-very-secret-key-0123";
    let response = app.client.get(app.url("/v1/models")).bearer_auth(key).send().unwrap();
    assert!(response.headers().contains_key("www-authenticate"));
    let body: serde_json::Value = serde_json::from_str(&response.text().unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "invalid_api_key");
    assert_eq!(body["error"]["type"], "invalid_request_error");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(!message.contains(key) && message.contains("0123"), "{message}");
}

#[test]
fn an_upload_without_a_key_is_refused_unread() {
    let app = spawn_with(Script::default(), |options| options.api_keys = vec!["one".into()]);
    let form = speech_form(&[]).file("big.wav", &vec![0; 3 << 20]);
    app.post("/v1/audio/transcriptions", &form).error(401);
    assert_eq!(app.uploads(), 0);
}

#[test]
fn an_open_server_takes_any_key() {
    let app = spawn(Script::default());
    assert_eq!(status(&app, "authorization", "Bearer whatever"), 200);
    assert_eq!(app.get("/v1/models").status, 200);
}
