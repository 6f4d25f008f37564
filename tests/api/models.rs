//! `GET /v1/models` and `GET /v1/models/{model}`.

use serde_json::json;

use crate::support::*;

#[test]
fn the_list_has_every_model_and_alias() {
    let app = spawn(Script::default());
    let body = app.get("/v1/models").json();
    assert_eq!(body["object"], "list");
    let ids: Vec<&str> =
        body["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"tiny") && ids.contains(&"whisper-1"));
    assert_eq!(
        body["data"][0],
        json!({"id": "tiny", "object": "model", "created": 1_700_000_000, "owned_by": "diarist"})
    );
    for id in ids {
        assert_eq!(app.transcribe(&[("model", id)]).status, 200, "{id}");
    }
}

#[test]
fn ids_with_slashes_are_found_encoded_or_not() {
    let app = spawn(Script::default());
    for path in ["org%2Fname%20tiny:q8", "org/name%20tiny:q8", "org%2fname%20tiny%3Aq8"] {
        let body = app.get(&format!("/v1/models/{path}")).json();
        assert_eq!(body["id"], "org/name tiny:q8", "{path}");
        assert_eq!(body["object"], "model");
    }
}

#[test]
fn an_unknown_model_is_not_found_by_get_or_delete() {
    let app = spawn(Script::default());
    let error = app.get("/v1/models/no%2Fsuch").error(404);
    assert_eq!((error["param"].as_str(), error["code"].as_str()), (Some("model"), Some("model_not_found")));
    let error = app.get("/v1/models/silero-vad").error(404);
    assert_eq!(error["code"], "model_not_found", "it is there, but not to be asked to transcribe");
    let delete = |id: &str| app.client.delete(app.url(&format!("/v1/models/{id}"))).send().unwrap();
    assert_eq!(delete("nope").status(), 404);
    assert_eq!(delete("tiny").status(), 405);
    assert_eq!(app.get("/v1/models/tiny").status, 200);
}

#[test]
fn a_long_or_odd_id_is_an_ordinary_404() {
    let app = spawn(Script::default());
    for id in ["x".repeat(4_000), "%00%0a%ff".to_owned(), "..%2f..%2fetc%2fpasswd".to_owned()] {
        let answer = app.get(&format!("/v1/models/{id}"));
        answer.error(404);
        assert!(answer.body.len() < 600, "{answer:?}");
    }
}
