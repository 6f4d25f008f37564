//! A form over loopback to the server with a backend that answers at once: HTTP, the multipart parser and
//! writing the file.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::channel;

use criterion::{Criterion, Throughput};
use diarist::api::{ApiOptions, Backend, Health, listen};
use diarist::language::Language;
use diarist::models::ModelError;
use diarist::models::catalogue::{Catalogue, ModelSpec};
use diarist::pipeline::{Control, DiarizationOutcome, DiarizationRequest, Outcome, PipelineError, Request};
use diarist::transcript::{Conversation, Segments, Transcript};
use reqwest::blocking::Client;
use reqwest::blocking::multipart::{Form, Part};

/// Sizes of the file, in bytes: a voice message, and ten minutes of uncompressed sound.
const SIZES: [usize; 2] = [64 << 10, 16 << 20];

pub fn bench(criterion: &mut Criterion) {
    let url = serve();
    let client = Client::builder().no_proxy().build().unwrap();
    let mut group = criterion.benchmark_group("upload");
    for size in SIZES {
        let file = vec![0x55; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{} KiB", size >> 10), |bencher| {
            bencher.iter(|| {
                let part = Part::bytes(file.clone()).file_name("speech.wav");
                let form = Form::new().text("model", "whisper-1").part("file", part);
                let answer = client.post(&url).multipart(form).send().unwrap();
                assert!(answer.status().is_success(), "{}", answer.text().unwrap());
                answer.bytes().unwrap()
            });
        });
    }
    group.finish();
}

/// Address of the route on a free port; the server lives as long as the process.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/audio/transcriptions", listener.local_addr().unwrap());
    let (sender, started) = channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async {
            let options = ApiOptions { max_upload_bytes: 64 << 20, ..ApiOptions::default() };
            let server = listen(options, Arc::new(Idle::new()), listener).unwrap();
            sender.send(()).unwrap();
            server.await.unwrap();
        });
    });
    started.recv().unwrap();
    url
}

/// Knows the models and hears nothing.
struct Idle {
    catalogue: Catalogue,
}

impl Idle {
    fn new() -> Self {
        let settings = diarist::config::Settings::load(&diarist::config::Sources::default()).unwrap();
        Self { catalogue: Catalogue::open(&settings.models()).unwrap() }
    }
}

impl Backend for Idle {
    fn run(&self, request: &Request, _control: &Control) -> Result<Outcome, PipelineError> {
        let transcript = Transcript {
            task: request.task,
            language: Language::ENGLISH,
            language_probability: None,
            duration: 16_000,
            segments: Segments::default(),
            turns: Vec::new(),
            speakers: Vec::new(),
            known_names: Vec::new(),
            dropped: Vec::new(),
            coverage: None,
            separation: None,
            prompt_tokens: 0,
            text_tokens: 0,
            warnings: Vec::new(),
        };
        Ok(Outcome { transcript, timings: Vec::new() })
    }

    fn diarize(
        &self,
        _request: &DiarizationRequest,
        _control: &Control,
    ) -> Result<DiarizationOutcome, PipelineError> {
        Ok(DiarizationOutcome { conversation: Conversation::default(), timings: Vec::new() })
    }

    fn models(&self) -> Vec<ModelSpec> {
        self.catalogue.usable()
    }

    fn resolve(&self, name: &str) -> Result<ModelSpec, ModelError> {
        self.catalogue.resolve(name)
    }

    fn health(&self) -> Health {
        Health { ready: true, models: Vec::new() }
    }
}
