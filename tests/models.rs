//! Pulling models from a hub that redirects, cuts connections, lies and falls silent.
//!
//! Two local servers play the hub and the storage behind it. Each test says what is in the folder of models
//! afterwards, and what the user is told.

#[path = "models/fake_hub.rs"]
mod fake_hub;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use diarist::models::ModelError;
use diarist::models::catalogue::{Catalogue, ModelsOptions};
use diarist::models::cli;
use diarist::models::download::{Order, Patience, Progress, pull_with};
use diarist::models::verify::{Verdict, verify};
use fake_hub::{Reply, Request, Server};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const SIZE: usize = 300_000;

/// What a Whisper file starts with, and bytes that are all different from each other's neighbours.
fn model() -> Vec<u8> {
    let header = [0x6767_6d6c_u32, 51864, 1500, 384, 6, 4, 448, 384, 6, 4, 80, 1];
    let header = header.iter().flat_map(|field| field.to_le_bytes());
    let rest = (0_u32..).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes());
    header.chain(rest).take(SIZE).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An order of `owner/repo`, file `ggml-x.bin`, with the size and hash that the catalogue would know.
fn order() -> Order {
    Order { size: Some(SIZE as u64), sha256: Some(sha256(&model())), ..unknown_order() }
}

/// The same, of a model that is in no catalogue.
fn unknown_order() -> Order {
    Order {
        id: "x".into(),
        local_name: "ggml-x.bin".into(),
        repo: "owner/repo".into(),
        revision: "main".into(),
        file: "ggml-x.bin".into(),
        size: None,
        sha256: None,
    }
}

/// A hub that redirects to a storage, and a folder of models.
struct World {
    hub: Server,
    storage: Arc<Server>,
    folder: TempDir,
    options: ModelsOptions,
    patience: Patience,
}

impl World {
    /// The hub says the truth about [`model`]; the storage answers as told.
    fn with_storage(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let hash = sha256(&model());
        Self::with(answer, move |request, storage| {
            assert_eq!(request.path, "/owner/repo/resolve/main/ggml-x.bin");
            Reply::redirect(storage.url("/signed?key=1"))
                .with("X-Linked-Etag", format!("\"{hash}\""))
                .with("X-Linked-Size", SIZE.to_string())
        })
    }

    fn with(
        storage: impl Fn(&Request) -> Reply + Send + Sync + 'static,
        hub: impl Fn(&Request, &Server) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let storage = Arc::new(Server::start(storage));
        let behind = Arc::clone(&storage);
        let hub = Server::start(move |request| hub(request, &behind));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = ModelsOptions {
            dir: folder.path().join("models"),
            bundled_dir: folder.path().join("none"),
            default_model: "x".into(),
            offline: false,
            hub_endpoint: hub.url(""),
            hub_token: None,
            memory_budget_bytes: 0,
            idle_unload_s: 0,
        };
        let patience =
            Patience { tries: 3, first_pause: Duration::from_millis(1), stall: Duration::from_secs(20) };
        Self { hub, storage, folder, options, patience }
    }

    fn pull(&self, order: &Order) -> Result<PathBuf, ModelError> {
        pull_with(order, &self.options, self.patience, &mut |_| {})
    }

    fn refusal(&self, order: &Order) -> String {
        self.pull(order).expect_err("must not succeed").to_string()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.options.dir.join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(&self.options.dir).expect("a folder");
        fs::write(self.file(name), bytes).expect("a file");
    }

    /// Names in the folder of models, without the lock.
    fn names(&self) -> Vec<String> {
        let Ok(listing) = fs::read_dir(&self.options.dir) else { return Vec::new() };
        let names = listing.map(|item| item.expect("an entry").file_name().into_string().expect("a name"));
        let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
        names.sort();
        names
    }

    fn assert_pulled(&self, result: Result<PathBuf, ModelError>) {
        assert_eq!(result.expect("pulled"), self.file("ggml-x.bin"));
        assert!(fs::read(self.file("ggml-x.bin")).expect("a file") == model(), "the bytes are wrong");
        assert!(!self.file("ggml-x.bin.part").exists(), "a part is left");
    }

    fn assert_nothing_here(&self) {
        assert_eq!(self.names(), [""; 0]);
    }
}

fn serve_well(request: &Request) -> Reply {
    Reply::file(&model(), request)
}

#[test]
fn a_model_comes_through_the_redirect_and_is_in_its_place() {
    let world = World::with_storage(serve_well);
    let mut seen = Vec::new();
    let result = pull_with(&order(), &world.options, world.patience, &mut |progress| seen.push(progress));
    world.assert_pulled(result);
    assert_eq!(world.names(), ["ggml-x.bin"]);
    assert_eq!((world.hub.requests().len(), world.storage.ranges()), (1, vec![None]));
    let total = Some(SIZE as u64);
    assert_eq!(seen.first(), Some(&Progress::Receiving { done: 0, total }));
    assert_eq!(seen.last(), Some(&Progress::Receiving { done: SIZE as u64, total }));
}

#[test]
fn a_cut_connection_goes_on_where_it_was_cut() {
    let world = World::with_storage(|request| {
        let cut_after = (request.number < 3).then_some(60_000);
        Reply { cut_after, ..serve_well(request) }
    });
    let mut retries = Vec::new();
    let result = pull_with(&order(), &world.options, world.patience, &mut |progress| {
        if let Progress::Retrying { reason, .. } = progress {
            retries.push(reason);
        }
    });
    world.assert_pulled(result);
    assert_eq!(world.storage.ranges(), [None, Some(60_000), Some(120_000), Some(180_000)]);
    assert!(retries[0].contains("cut after 60000 of 300000 bytes"), "{retries:?}");
    // The hub is asked each time: the addresses it signs expire.
    assert_eq!(world.hub.requests().len(), 4);
}

#[test]
fn what_a_broken_pull_has_brought_serves_the_next_one() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let world = World::with_storage(move |request| match (mended.load(Ordering::SeqCst), request.from()) {
        (true, _) => serve_well(request),
        (false, None) => Reply { cut_after: Some(1000), ..serve_well(request) },
        (false, Some(_)) => Reply::status(503),
    });
    let message = world.refusal(&order());
    assert!(message.contains("status 503; 1000 bytes are here, and the next pull goes on"), "{message}");
    assert_eq!(world.names(), ["ggml-x.bin.part"]);
    assert_eq!(world.storage.requests().len(), 1 + 3, "three tries that bring nothing new");
    is_mended.store(true, Ordering::SeqCst);
    world.assert_pulled(world.pull(&order()));
    assert_eq!(world.storage.ranges().last(), Some(&Some(1000)));
}

#[test]
fn a_server_that_ignores_the_range_is_read_from_the_first_byte() {
    let world = World::with_storage(|_| Reply::whole(&model()));
    world.put("ggml-x.bin.part", &model()[..1000]);
    world.assert_pulled(world.pull(&order()));
    assert_eq!(world.storage.ranges(), [Some(1000)]);
}

#[test]
fn a_server_that_sends_another_range_is_not_believed() {
    let world = World::with_storage(|request| match request.from() {
        Some(_) => {
            Reply { status: 206, ..Reply::whole(&model()) }.with("Content-Range", "bytes 0-299999/300000")
        }
        None => Reply::whole(&model()),
    });
    world.put("ggml-x.bin.part", &model()[..1000]);
    world.assert_pulled(world.pull(&order()));
    assert_eq!(world.storage.ranges(), [Some(1000), None]);
}

#[test]
fn a_part_that_is_whole_already_is_only_verified() {
    let world = World::with_storage(serve_well);
    world.put("ggml-x.bin.part", &model());
    world.assert_pulled(world.pull(&order()));
    assert_eq!(world.hub.requests().len(), 0, "size and hash are known: nobody needs to be asked");
    fs::rename(world.file("ggml-x.bin"), world.file("ggml-x.bin.part")).expect("renamed");
    world.assert_pulled(world.pull(&unknown_order()));
    assert_eq!(world.storage.ranges(), [Some(SIZE)], "the storage answers 416");
}

#[test]
fn a_part_that_is_longer_than_the_file_is_dropped() {
    for order in [order(), unknown_order()] {
        let world = World::with_storage(serve_well);
        world.put("ggml-x.bin.part", &vec![7; SIZE + 1]);
        world.assert_pulled(world.pull(&order));
    }
}

#[test]
fn a_part_of_another_file_is_found_out_and_fetched_anew() {
    let world = World::with_storage(serve_well);
    world.put("ggml-x.bin.part", &[7; 1000]);
    let mut started_over = 0;
    let result = pull_with(&order(), &world.options, world.patience, &mut |progress| {
        started_over += usize::from(progress == Progress::StartingOver);
    });
    world.assert_pulled(result);
    assert_eq!((started_over, world.storage.ranges()), (1, vec![Some(1000), None]));
}

#[test]
fn a_file_with_the_wrong_hash_is_deleted_and_both_hashes_are_named() {
    let mut other = model();
    other[SIZE - 1] ^= 1;
    let actual = sha256(&other);
    let world = World::with_storage(move |request| Reply::file(&other, request));
    let message = world.refusal(&order());
    assert!(message.contains(&actual) && message.contains(&sha256(&model())), "{message}");
    world.assert_nothing_here();
}

#[test]
fn a_hub_whose_file_is_not_the_catalogues_is_refused() {
    let world = World::with_storage(serve_well);
    let another = Order { sha256: Some("0".repeat(64)), ..order() };
    let message = world.refusal(&another);
    assert!(message.contains(&"0".repeat(64)) && message.contains(&sha256(&model())), "{message}");
    let longer = Order { size: Some(SIZE as u64 + 1), ..order() };
    let message = world.refusal(&longer);
    assert!(message.contains("has 300000 bytes, the one wanted has 300001"), "{message}");
    world.assert_nothing_here();
}

#[test]
fn a_page_in_place_of_the_file_is_refused_and_costs_nothing() {
    let world = World::with_storage(|_| Reply::whole(b"<html>Please log in to this network</html>"));
    world.put("ggml-x.bin.part", &model()[..1000]);
    let message = world.refusal(&order());
    assert!(message.contains("the file offered has 42 bytes, the one wanted has 300000"), "{message}");
    assert_eq!(fs::metadata(world.file("ggml-x.bin.part")).expect("kept").len(), 1000);
}

#[test]
fn a_file_that_does_not_end_is_given_up() {
    let world = World::with_storage(|request| {
        let mut reply = serve_well(request);
        reply.body.extend([0; 100_000]);
        Reply { without_length: true, ..reply }
    });
    let message = world.refusal(&order());
    assert!(message.contains("more than the 300000 bytes"), "{message}");
    world.assert_nothing_here();
}

#[test]
fn a_file_that_the_hub_does_not_have_is_named() {
    let world = World::with(serve_well, |_, _| Reply::status(404));
    let message = world.refusal(&order());
    assert!(message.contains("no file ggml-x.bin in owner/repo at revision main (status 404)"), "{message}");
    world.assert_nothing_here();
    assert_eq!(world.hub.requests().len(), 1, "asking again would not help");
}

#[test]
fn a_token_goes_to_the_hub_and_to_nobody_else() {
    let hash = sha256(&model());
    let mut world = World::with(serve_well, move |request, storage| {
        match request.headers.get("authorization").map(String::as_str) {
            Some("Bearer hf_secret") => Reply::redirect(storage.url("/signed"))
                .with("X-Linked-Etag", format!("\"{hash}\""))
                .with("X-Linked-Size", SIZE.to_string()),
            Some(_) => Reply::status(403),
            None => Reply::status(401),
        }
    });
    let message = world.refusal(&order());
    assert!(message.contains("status 401") && message.contains("set HF_TOKEN"), "{message}");
    world.options.hub_token = Some("hf_wrong".into());
    let message = world.refusal(&order());
    assert!(message.contains("status 403") && !message.contains("hf_wrong"), "{message}");
    world.assert_nothing_here();
    world.options.hub_token = Some(" hf_secret\n".into());
    world.assert_pulled(world.pull(&order()));
    assert!(world.storage.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn a_redirect_within_the_hub_keeps_the_token_and_the_hash() {
    let hash = sha256(&model());
    let mut world = World::with(serve_well, move |request, storage| {
        assert_eq!(request.headers.get("authorization").map(String::as_str), Some("Bearer t"));
        match request.path.as_str() {
            // A repository that has moved.
            "/owner/repo/resolve/main/ggml-x.bin" => {
                Reply::status(307).with("Location", "/new/resolve/main/ggml-x.bin")
            }
            _ => Reply::redirect(storage.url("/signed")).with("X-Linked-Etag", format!("\"{hash}\"")),
        }
    });
    world.options.hub_token = Some("t".into());
    world.assert_pulled(world.pull(&unknown_order()));
}

#[test]
fn trouble_that_passes_is_waited_out() {
    let hash = sha256(&model());
    let world = World::with(
        |request| match request.number {
            // A signed address that has expired.
            0 => Reply::status(403),
            _ => serve_well(request),
        },
        move |request, storage| match request.number {
            0 => Reply::status(500),
            1 => Reply::status(429).with("Retry-After", "0"),
            _ => Reply::redirect(storage.url("/signed")).with("X-Linked-Etag", format!("\"{hash}\"")),
        },
    );
    let patience = Patience { tries: 4, ..world.patience };
    world.assert_pulled(pull_with(&order(), &world.options, patience, &mut |_| {}));
    assert_eq!(world.hub.requests().len(), 4);
}

#[test]
fn trouble_that_stays_is_told() {
    let world = World::with(serve_well, |_, _| Reply::status(500));
    let message = world.refusal(&order());
    assert!(message.ends_with("status 500; try again later"), "{message}");
    assert_eq!(world.hub.requests().len(), 3);
}

#[test]
fn a_slow_server_is_borne_with() {
    let world = World::with_storage(|request| Reply {
        trickle: Some((SIZE / 20, Duration::from_millis(5))),
        ..serve_well(request)
    });
    world.assert_pulled(world.pull(&order()));
    assert_eq!(world.storage.ranges(), [None]);
}

#[test]
fn a_server_that_falls_silent_is_asked_again() {
    let mut world = World::with_storage(|request| Reply {
        stall: (request.number == 0).then_some((100_000, Duration::from_secs(20))),
        ..serve_well(request)
    });
    world.patience.stall = Duration::from_secs(1);
    world.assert_pulled(world.pull(&order()));
    assert_eq!(world.storage.ranges(), [None, Some(100_000)]);
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let world = World::with_storage(|request| Reply {
        trickle: Some((SIZE / 10, Duration::from_millis(20))),
        ..serve_well(request)
    });
    thread::scope(|scope| {
        let pull = || world.pull(&order());
        let both = [scope.spawn(pull), scope.spawn(pull)];
        for one in both {
            world.assert_pulled(one.join().expect("no panic"));
        }
    });
    assert_eq!(world.storage.ranges(), [None]);
    assert_eq!(world.names(), ["ggml-x.bin"]);
}

#[test]
fn offline_nobody_is_asked() {
    let mut world = World::with_storage(serve_well);
    world.options.offline = true;
    let message = world.refusal(&order());
    assert!(message.contains("DIARIST_OFFLINE is set"), "{message}");
    assert!(!world.options.dir.exists(), "not even a folder is made");
    world.put("ggml-x.bin", &model());
    world.assert_pulled(world.pull(&order()));
    assert_eq!(world.hub.requests().len() + world.storage.requests().len(), 0);
}

#[test]
fn a_file_that_is_right_is_not_fetched_again_and_a_damaged_one_is() {
    let world = World::with_storage(serve_well);
    world.put("ggml-x.bin", &model());
    world.assert_pulled(world.pull(&order()));
    assert_eq!(world.hub.requests().len(), 0);
    let mut damaged = model();
    damaged[SIZE / 2] ^= 1;
    world.put("ggml-x.bin", &damaged);
    world.assert_pulled(world.pull(&order()));
    assert_eq!(world.hub.requests().len(), 1);
}

#[test]
fn a_model_of_no_catalogue_is_verified_against_the_hub_and_used_by_its_name() {
    let hash = sha256(&model());
    let world = World::with(serve_well, move |request, storage| {
        assert_eq!(request.path, "/some-one/whisper-x/resolve/v2/sub/ggml-model.bin");
        Reply::redirect(storage.url("/signed")).with("X-Linked-Etag", format!("\"{hash}\""))
    });
    let catalogue = Catalogue::open(&world.options).expect("a catalogue");
    let name = "some-one/whisper-x@v2:sub/ggml-model";
    let path = cli::pull_with_bar(name, &catalogue, &world.options).expect("pulled");
    assert!(fs::read(&path).expect("a file") == model());
    let spec = catalogue.resolve(name).expect("found without a restart");
    assert_eq!(spec.path.as_ref(), Some(&path));
    assert_eq!(verify(&spec, &mut |_| {}).expect("readable"), Verdict::Sound { sha256: sha256(&model()) });
    fs::write(&path, [&model()[..SIZE - 1], &[0xff]].concat()).expect("damaged");
    assert!(matches!(verify(&spec, &mut |_| {}).expect("readable"), Verdict::Damaged { .. }));
}

#[test]
fn what_cannot_be_verified_is_not_taken() {
    let world = World::with(serve_well, |_, storage| {
        // The storage's word does not count, and a git hash is none.
        Reply::redirect(storage.url("/signed")).with("X-Linked-Etag", format!("\"{}\"", "ab".repeat(20)))
    });
    let message = world.refusal(&unknown_order());
    assert!(message.contains("gives no SHA-256"), "{message}");
    world.assert_nothing_here();
    let message = {
        let hash = sha256(&model());
        let world = World::with(
            move |request| serve_well(request).with("X-Linked-Etag", format!("\"{hash}\"")),
            |_, storage| Reply::redirect(storage.url("/signed")),
        );
        world.refusal(&unknown_order())
    };
    assert!(message.contains("gives no SHA-256"), "{message}");
}

#[test]
fn a_file_that_is_no_whisper_model_is_not_kept() {
    let bytes = b"GGUF, say".repeat(100);
    let hash = sha256(&bytes);
    let world = World::with(
        move |request| Reply::file(&bytes, request),
        move |_, storage| {
            Reply::redirect(storage.url("/signed")).with("X-Linked-Etag", format!("\"{hash}\""))
        },
    );
    let message = world.refusal(&unknown_order());
    assert!(message.contains("not a Whisper model in GGML form"), "{message}");
    world.assert_nothing_here();
}

#[test]
fn a_hub_that_is_not_there_is_named() {
    let mut world = World::with_storage(serve_well);
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    world.options.hub_endpoint = format!("http://{port}");
    let message = world.refusal(&order());
    assert!(message.contains("the connection to 127.0.0.1 failed"), "{message}");
    for address in ["", "hub", "file:///tmp", "ftp://hub.example"] {
        world.options.hub_endpoint = address.to_owned();
        let message = world.refusal(&order());
        assert!(message.contains("HF_ENDPOINT"), "{address}: {message}");
    }
    world.assert_nothing_here();
}

#[test]
fn redirects_without_end_are_not_followed() {
    let world = World::with(serve_well, |request, _| Reply::redirect(request.path.clone()));
    let message = world.refusal(&order());
    assert!(message.contains("redirects more than 10 times"), "{message}");
    assert_eq!(world.hub.requests().len(), 11);
}

#[test]
fn a_folder_of_models_that_is_none_is_told() {
    let mut world = World::with_storage(serve_well);
    world.options.dir = world.folder.path().join("file");
    fs::write(&world.options.dir, "not a folder").expect("a file");
    let message = world.refusal(&order());
    assert!(message.contains("DIARIST_MODELS_DIR names another folder"), "{message}");
    assert_eq!(world.hub.requests().len(), 0);
}
