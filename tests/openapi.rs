//! `openapi.yaml` against the running server: the same routes, and answers that match their schemas.

#[expect(dead_code, reason = "shared with tests/api, which uses all of it")]
#[path = "api/support.rs"]
mod support;

use std::collections::BTreeSet;

use diarist::api::ROUTES;
use diarist::asr::AsrError;
use serde_json::{Value, json};
use support::*;

/// The document.
struct Document(Value);

impl Document {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
        Self(serde_json::to_value(yaml).unwrap())
    }

    /// `value`, or what it refers to.
    fn follow<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                self.0.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}"))
            }
            None => value,
        }
    }

    /// The schema documented for this answer.
    #[track_caller]
    fn schema(&self, method: &str, path: &str, answer: &Answer) -> Value {
        let responses = &self.0["paths"][path][method.to_lowercase()]["responses"];
        let response = self.follow(&responses[answer.status.to_string()]);
        let content_type = answer.header("content-type").unwrap();
        let schema = &response["content"][content_type]["schema"];
        assert!(schema.is_object(), "{method} {path} does not document {} {content_type}", answer.status);
        schema.clone()
    }

    #[track_caller]
    fn check(&self, schema: &Value, instance: &Value) {
        let whole = json!({"allOf": [schema], "components": self.0["components"]});
        let validator = jsonschema::validator_for(&whole).unwrap();
        let errors: Vec<String> = validator.iter_errors(instance).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{instance}");
    }

    /// Checks the status, the content type and the body of an answer.
    #[track_caller]
    fn check_answer(&self, method: &str, path: &str, answer: &Answer) {
        let schema = self.schema(method, path, answer);
        match answer.header("content-type").unwrap() {
            "application/json" => self.check(&schema, &answer.json()),
            "text/event-stream; charset=utf-8" => {
                let frames = answer.body.trim_end().split("\r\n\r\n");
                for data in frames.map(|frame| frame.strip_prefix("data: ").unwrap()) {
                    if data != "[DONE]" {
                        self.check(&schema, &serde_json::from_str(data).unwrap());
                    }
                }
            }
            _ => self.check(&schema, &Value::String(answer.body.clone())),
        }
    }
}

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";
const TRANSLATIONS: &str = "/v1/audio/translations";
const DIARIZATIONS: &str = "/v1/audio/diarizations";

#[test]
fn the_document_has_the_routes_of_the_server_in_its_order() {
    let document = Document::read();
    let methods = ["get", "post", "put", "patch", "delete"];
    let mut documented = Vec::new();
    for (path, item) in document.0["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            assert!(methods.contains(&method.as_str()), "{method} of {path} is no method");
            documented.push((method.to_uppercase(), path.clone()));
        }
    }
    let served: Vec<(String, String)> =
        ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(documented, served);
}

#[test]
fn every_route_of_the_table_is_served() {
    let app = spawn(Script::default());
    for (method, path) in ROUTES {
        let url = app.url(&path.replace("{model}", "tiny"));
        let response = app.client.request(method.parse().unwrap(), url).send().unwrap();
        assert!(![404, 405].contains(&response.status().as_u16()), "{method} {path}: {}", response.status());
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_sound() {
    fn walk<'a>(value: &'a Value, references: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(object) => {
                references.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| walk(value, references));
            }
            Value::Array(array) => array.iter().for_each(|value| walk(value, references)),
            _ => {}
        }
    }
    let document = Document::read();
    let mut references = BTreeSet::new();
    walk(&document.0, &mut references);
    for reference in &references {
        assert!(document.0.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for name in document.0["components"]["schemas"].as_object().unwrap().keys() {
        let reference = format!("#/components/schemas/{name}");
        assert!(references.contains(reference.as_str()), "nothing refers to {name}");
        jsonschema::validator_for(&json!({"$ref": reference, "components": document.0["components"]}))
            .unwrap();
    }
}

#[test]
fn the_fields_of_the_document_are_those_that_are_known() {
    let document = Document::read();
    let app = spawn(Script::default());
    let documented =
        |schema: &str| document.0["components"]["schemas"][schema]["properties"].as_object().unwrap();
    let mut all: BTreeSet<&String> = documented("CreateTranscriptionRequest").keys().collect();
    all.extend(documented("CreateDiarizationRequest").keys());
    for (path, schema) in [
        (TRANSCRIPTIONS, "CreateTranscriptionRequest"),
        (TRANSLATIONS, "CreateTranslationRequest"),
        (DIARIZATIONS, "CreateDiarizationRequest"),
    ] {
        let fields = documented(schema);
        for field in all.iter().filter(|field| !["file", "model"].contains(&field.as_str())) {
            // An empty value is no value, yet it shows whether the name is known.
            let answer = match path {
                DIARIZATIONS => app.diarize(&[(field, "")]),
                _ => app.post(path, &speech_form(&[(field, "")])),
            };
            let is_ignored = answer.json().get("warnings").is_some();
            assert_eq!(is_ignored, !fields.contains_key(*field), "{field} of {path}");
        }
    }
}

#[test]
fn answers_match_their_schemas() {
    let document = Document::read();
    let words = ("timestamp_granularities[]", "word");
    let (diarized, diarize) = (("response_format", "diarized_json"), ("diarize", "true"));
    let requests: [&[(&str, &str)]; 17] = [
        &[],
        &[("response_format", "text")],
        &[("response_format", "srt")],
        &[("response_format", "vtt")],
        &[("response_format", "verbose_json")],
        &[("response_format", "verbose_json"), words],
        &[("response_format", "verbose_json"), words, ("timestamp_granularities[]", "segment")],
        &[("response_format", "verbose_json"), ("guard", "true"), ("coverage", "true")],
        &[("response_format", "verbose_json"), ("vocal_separation", "auto")],
        &[("model", "gpt-transcribe"), ("include[]", "logprobs")],
        &[("stream", "true")],
        &[("stream", "true"), ("include[]", "logprobs"), ("unknown", "x"), ("model", "gpt-transcribe")],
        &[("response_format", "verbose_json"), words, ("timestamp_granularities[]", "segment"), diarize],
        &[("response_format", "vtt"), ("speaker_labels", "true")],
        &[diarized],
        &[diarized, ("model", "gpt-4o-transcribe-diarize"), ("unknown", "x")],
        &[diarized, ("stream", "true")],
    ];
    for silent in [false, true] {
        let app = spawn(Script { silent, ..Script::default() });
        for fields in requests {
            let answer = app.transcribe(fields);
            assert_eq!(answer.status, 200);
            document.check_answer("POST", TRANSCRIPTIONS, &answer);
            if !fields.contains(&words) && !fields.contains(&diarized) {
                document.check_answer("POST", TRANSLATIONS, &app.translate(fields));
            }
        }
    }
}

#[test]
fn turns_match_their_schemas() {
    let document = Document::read();
    for silent in [false, true] {
        let app = spawn(Script { silent, ..Script::default() });
        for fields in [
            &[][..],
            &[("embeddings", "true"), ("unknown", "x")],
            &[("response_format", "rttm")],
            &[("num_speakers", "none")],
        ] {
            document.check_answer("POST", DIARIZATIONS, &app.diarize(fields));
        }
    }
}

#[test]
fn the_other_routes_match_their_schemas() {
    let document = Document::read();
    for loading in [false, true] {
        let app = spawn(Script { loading, ..Script::default() });
        for (path, url) in [
            ("/v1/models", "/v1/models"),
            ("/v1/models/{model}", "/v1/models/tiny"),
            ("/v1/models/{model}", "/v1/models/nope"),
            ("/health", "/health"),
            ("/health/live", "/health/live"),
            ("/health/ready", "/health/ready"),
            ("/metrics", "/metrics"),
        ] {
            document.check_answer("GET", path, &app.get(url));
        }
    }
}

#[test]
fn a_stopping_server_matches_its_schemas() {
    let document = Document::read();
    let app = spawn(Script::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(app.api.close());
    for (path, url, status) in [
        ("/v1/models", "/v1/models", 503),
        ("/v1/models/{model}", "/v1/models/tiny", 503),
        ("/health", "/health", 503),
        ("/health/live", "/health/live", 200),
        ("/health/ready", "/health/ready", 503),
    ] {
        let answer = app.get(url);
        assert_eq!(answer.status, status, "{answer:?}");
        document.check_answer("GET", path, &answer);
    }
    for (path, answer) in [(TRANSCRIPTIONS, app.transcribe(&[])), (TRANSLATIONS, app.translate(&[]))] {
        assert_eq!(answer.status, 503);
        document.check_answer("POST", path, &answer);
    }
}

#[test]
fn errors_match_their_schemas() {
    let document = Document::read();
    let check = |app: &App, fields: &[(&str, &str)], status| {
        for (path, answer) in
            [(TRANSCRIPTIONS, app.transcribe(fields)), (TRANSLATIONS, app.translate(fields))]
        {
            assert_eq!(answer.status, status, "{answer:?}");
            document.check_answer("POST", path, &answer);
        }
    };
    let app = spawn(Script::default());
    check(&app, &[("temperature", "hot")], 400);
    check(&app, &[("model", "nope")], 404);
    for path in [TRANSCRIPTIONS, TRANSLATIONS] {
        let answer = app.get(path);
        assert_eq!(answer.status, 405);
        document.check_answer("POST", path, &answer);
    }
    check(&spawn_with(Script::default(), |options| options.max_upload_bytes = 10), &[], 413);
    check(&spawn_with(Script::default(), |options| options.api_keys = vec!["k".into()]), &[], 401);
    check(
        &spawn(Script { refuse: Some(|| AsrError::Engine("x".into()).into()), ..Script::default() }),
        &[],
        500,
    );
    check(&spawn(Script { loading: true, ..Script::default() }), &[], 503);
    let failing = spawn(Script { fail: Some(|| AsrError::Engine("x".into()).into()), ..Script::default() });
    document.check_answer("POST", TRANSCRIPTIONS, &failing.transcribe(&[("stream", "true")]));
}
