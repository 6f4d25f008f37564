//! Vocal separation, asked of the built program.

use serde_json::Value;

use crate::support::*;

fn body(answer: &Answer) -> &str {
    answer.text.split_once("\r\n\r\n").unwrap().1
}

fn json(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    serde_json::from_str(body(answer)).unwrap()
}

#[test]
fn the_answer_its_timing_and_the_metrics_tell_what_was_separated() {
    let server = Server::start(&["separation_model=voice-band"]);
    let verbose = ("response_format", "verbose_json");
    let plain = server.transcribe(&hello(), &[verbose]);
    assert!(json(&plain).get("separation").is_none(), "it is off by default");
    let separated = server.transcribe(&hello(), &[verbose, ("vocal_separation", "on")]);
    let told = &json(&separated)["separation"];
    assert_eq!(told["model"], "voice-band");
    assert_eq!(told["seconds"], json(&plain)["duration"]);
    assert_eq!(told["regions"].as_array().unwrap().len(), 1);
    assert!(told["chunks"]["voice"].as_u64().unwrap() + told["chunks"]["mix"].as_u64().unwrap() > 0);
    assert!(separated.text.contains(", separation;dur="), "{}", separated.text);
    assert!(!plain.text.contains("separation;dur="), "{}", plain.text);
    let metrics = server.get("/metrics");
    let counted =
        metrics.text.lines().find(|line| line.starts_with("diarist_audio_separated_seconds_total "));
    let seconds: f64 = counted.unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    assert!((seconds - told["seconds"].as_f64().unwrap()).abs() < 0.01, "{seconds}");
}

#[test]
fn without_the_model_requests_for_it_are_refused_and_all_else_goes_on() {
    let server = Server::start(&["separation=auto", "models_dir=none-are-here"]);
    assert!(server.log().contains("diarist models pull kim-vocal-2"), "{}", server.log());
    // By the setting, and by the field.
    for fields in [&[][..], &[("vocal_separation", "on")]] {
        for answer in [server.transcribe(&hello(), fields), server.diarize(&hello(), fields)] {
            assert_eq!(answer.status, 400, "{}", answer.text);
            let error: Value = serde_json::from_str(body(&answer)).unwrap();
            assert_eq!(error["error"]["param"], "vocal_separation");
            let message = error["error"]["message"].as_str().unwrap();
            assert!(message.contains("`diarist models pull kim-vocal-2`"), "{message}");
        }
    }
    assert!(server.transcribe(&hello(), &[("vocal_separation", "off")]).text.contains(SAID));
    assert_eq!(server.files(""), 0);
}

#[test]
fn a_model_that_is_damaged_is_told_of_and_hurts_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Kim_Vocal_2.onnx"), b"this is no network").unwrap();
    let server = Server::start(&[&format!("models_dir={}", folder.path().display())]);
    let field = [("vocal_separation", "on")];
    for answer in [server.transcribe(&hello(), &field), server.diarize(&hello(), &field)] {
        assert_eq!(answer.status, 500, "{}", answer.text);
        assert!(answer.text.contains("\"param\":null,\"code\":\"model_unusable\""), "{}", answer.text);
        assert!(answer.text.contains("diarist models pull kim-vocal-2"), "{}", answer.text);
    }
    assert!(server.transcribe(&hello(), &[]).text.contains(SAID));
}
