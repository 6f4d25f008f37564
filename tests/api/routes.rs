//! Paths and methods that are not served, and calls from browsers.

use reqwest::Method;

use crate::support::*;

#[test]
fn unknown_paths_are_named_with_their_method() {
    let app = spawn(Script::default());
    for path in ["/", "/v1", "/v1/nope", "/nope", "/v1/audio", "/v1/audio/speech", "/v1/models/", "/health/x"]
    {
        let message = app.get(path).error(404)["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&format!("GET {path}")), "{message}");
    }
    app.post("/v1/nope", &speech_form(&[])).error(404);
}

#[test]
fn other_methods_on_known_paths_are_405_and_told_what_to_use() {
    let app = spawn(Script::default());
    for (method, path, allow) in [
        (Method::GET, "/v1/audio/transcriptions", "POST"),
        (Method::PUT, "/v1/audio/transcriptions", "POST"),
        (Method::DELETE, "/v1/audio/translations", "POST"),
        (Method::OPTIONS, "/v1/audio/translations", "POST"),
        (Method::POST, "/v1/models", "GET, HEAD"),
        (Method::PUT, "/v1/models/tiny", "GET, HEAD"),
        (Method::POST, "/health", "GET, HEAD"),
    ] {
        let response = app.client.request(method.clone(), app.url(path)).send().unwrap();
        assert_eq!(response.status(), 405, "{method} {path}");
        assert_eq!(response.headers()["allow"], allow);
        let body: serde_json::Value = serde_json::from_str(&response.text().unwrap()).unwrap();
        assert!(body["error"]["message"].as_str().unwrap().contains(path), "{body}");
    }
}

#[test]
fn head_has_the_head_of_get_and_no_body() {
    let app = spawn(Script::default());
    for (path, status) in [
        ("/health", 200),
        ("/v1/models", 200),
        ("/v1/models/tiny", 200),
        ("/v1/models/x", 404),
        ("/v1/audio/transcriptions", 405),
    ] {
        let answer =
            app.raw(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{path}");
        assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    }
}

#[test]
fn browsers_may_call_when_their_origin_is_configured() {
    let preflight = |app: &App, origin: &str| {
        let response = app
            .client
            .request(Method::OPTIONS, app.url("/v1/audio/transcriptions"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,x-stainless-lang,x-stainless-retry-count",
            )
            .send()
            .unwrap();
        let allowed = response
            .headers()
            .get("access-control-allow-headers")
            .map(|value| value.to_str().unwrap().to_lowercase());
        (response.status().as_u16(), allowed)
    };
    let app = spawn_with(Script::default(), |options| {
        options.cors_origins = vec!["https://good.example".into()];
        options.api_keys = vec!["one".into()];
    });
    let (status, allowed) = preflight(&app, "https://good.example");
    assert_eq!(status, 200);
    let allowed = allowed.unwrap();
    assert!(allowed.contains("authorization") && allowed.contains("x-stainless-lang"), "{allowed}");
    assert!(preflight(&app, "https://bad.example").1.is_none());
    let simple =
        app.client.get(app.url("/v1/models")).bearer_auth("one").header("origin", "https://good.example");
    let response = simple.send().unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "https://good.example");
    let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap().to_lowercase();
    assert!(exposed.contains("x-request-id"), "{exposed}");

    let open = spawn_with(Script::default(), |options| options.cors_origins = vec!["*".into()]);
    assert_eq!(preflight(&open, "https://any.example").0, 200);
}

#[test]
fn no_page_of_another_origin_may_read_answers_unless_it_is_configured() {
    for origins in [vec![], vec!["https://good.example".to_owned()]] {
        let app = spawn_with(Script::default(), |options| options.cors_origins = origins);
        let request = app.client.get(app.url("/v1/models")).header("origin", "https://bad.example");
        let response = request.send().unwrap();
        assert!(response.headers().get("access-control-allow-origin").is_none());
        assert!(response.headers().get("access-control-allow-credentials").is_none());
    }
}

#[test]
fn no_answer_is_taken_for_a_page_or_kept_by_others() {
    let app = spawn(Script::default());
    for answer in [app.transcribe(&[]), app.get("/v1/models"), app.get("/health"), app.get("/nope")] {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
    }
}
