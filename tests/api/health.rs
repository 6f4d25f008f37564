//! `GET /health`, `/health/live`, `/health/ready`.

use serde_json::json;

use crate::support::*;

#[test]
fn health_tells_the_state_of_each_model() {
    let app = spawn(Script::default());
    let answer = app.get("/health");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({"status": "ok", "models": [
            {"id": "tiny", "state": "loaded", "memory_bytes": 1000},
            {"id": "bad", "state": "failed", "memory_bytes": 0, "error": "damaged"},
        ]})
    );
    assert_eq!(app.get("/health/ready").json(), json!({"status": "ok"}));
}

#[test]
fn until_the_models_are_there_health_is_503_and_the_process_lives() {
    let app = spawn(Script { loading: true, ..Script::default() });
    let answer = app.get("/health");
    assert_eq!((answer.status, &answer.json()["status"]), (503, &json!("loading")));
    assert_eq!(app.get("/health/ready").status, 503);
    assert_eq!(app.get("/health/live").status, 200);
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(app.get(path).header("cache-control"), Some("no-store"), "{path}");
    }
}

#[test]
fn health_asks_for_no_key() {
    let app = spawn_with(Script::default(), |options| options.api_keys = vec!["secret".into()]);
    assert_eq!(app.get("/health").status, 200);
    assert_eq!(app.get("/health/live").status, 200);
}
