//! Loads each model once and hands out leases.
//!
//! Built once and shared. A model is loaded by its first lease, by one thread, while other threads that want
//! the same model wait and those that want another one do not. It stays in memory as long as it is leased,
//! and afterwards until it has been idle for too long or its room is needed: least recently used goes first.
//! What is loaded, and how, is the loader's business; here it is a value and the memory that it takes.

use std::collections::HashMap;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::ModelError;
use super::catalogue::{Catalogue, ModelSpec, ModelsOptions, Role};

/// State of one model, for `/health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStatus {
    /// Id in the catalogue.
    pub id: String,
    /// Where it stands.
    pub state: ModelState,
    /// Memory it takes, in bytes, when loaded.
    pub memory_bytes: u64,
}

/// Where a model stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// On disk only.
    Unloaded,
    /// Being read.
    Loading,
    /// In memory, ready.
    Loaded,
    /// Loading failed; the message says why.
    Failed(String),
}

/// What a loader makes of a model.
pub struct Loaded<T> {
    /// Ready for use by many threads.
    pub value: Arc<T>,
    /// Memory it takes, in bytes.
    pub memory_bytes: u64,
}

/// Reads a model and warms it up. Called without locks, by the thread that wants the lease; for different
/// models at the same time. After an error or a panic it is called again by the next lease.
pub type Loader<T> = Box<dyn Fn(&ModelSpec) -> Result<Loaded<T>, ModelError> + Send + Sync>;

/// Keeps the models in memory; dropped, it unloads what is not leased, and the rest goes with its lease.
pub struct ModelManager<T: Send + Sync + 'static> {
    house: Arc<House<T>>,
    sweeper: Option<Sweeper>,
}

impl<T: Send + Sync + 'static> ModelManager<T> {
    /// A manager of speech models with nothing loaded. With `idle_unload_s` above 0 a thread of its own unloads idle
    /// models.
    pub fn new(catalogue: Arc<Catalogue>, loader: Loader<T>, options: &ModelsOptions) -> Self {
        Self::of_role(Role::Speech, catalogue, loader, options)
    }

    /// As `new`, of models of another role.
    pub fn of_role(
        role: Role,
        catalogue: Arc<Catalogue>,
        loader: Loader<T>,
        options: &ModelsOptions,
    ) -> Self {
        let idle_limit = (options.idle_unload_s > 0).then(|| Duration::from_secs(options.idle_unload_s));
        let house = Arc::new(House {
            role,
            catalogue,
            loader,
            budget_bytes: options.memory_budget_bytes,
            idle_limit,
            slots: Mutex::default(),
            changed: Condvar::new(),
        });
        let sweeper = idle_limit.and_then(|limit| Sweeper::start(Arc::clone(&house), limit));
        Self { house, sweeper }
    }

    /// A lease of the model that `name` (id or alias) stands for, loading it if need be. Blocking.
    ///
    /// Room is made for it by unloading idle models. A model that has not been loaded before is taken to need
    /// as much memory as its file has bytes; what it takes in truth is known, and counted, afterwards.
    ///
    /// # Errors
    /// As [`Catalogue::resolve_as`]; the loader's error, also for all who waited for that load; `Unusable` if the
    /// model is larger than the memory budget; `NoRoom` if it does not fit beside the models in use now.
    pub fn lease(&self, name: &str) -> Result<Lease<T>, ModelError> {
        let spec = self.house.catalogue.resolve_as(name, self.house.role)?;
        let value = match self.house.claim(&spec)? {
            Claim::Ready(value) => value,
            Claim::MustLoad(evicted) => {
                // Their memory must be free before more is taken.
                drop(evicted);
                self.house.load(&spec)?
            }
        };
        let seat = Seat { house: Arc::clone(&self.house), id: spec.id.clone() };
        Ok(Lease { value, spec, _seat: seat })
    }

    /// Loads models, so that the first request need not wait. All are tried.
    ///
    /// # Errors
    /// The first of them.
    pub fn preload<S: AsRef<str>>(&self, names: &[S]) -> Result<(), ModelError> {
        let results: Vec<_> = names.iter().map(|name| self.lease(name.as_ref()).map(drop)).collect();
        results.into_iter().collect()
    }

    /// Where every installed model of the role stands, by id.
    pub fn status(&self) -> Vec<ModelStatus> {
        let installed = self.house.catalogue.installed_as(self.house.role);
        let mut ids: Vec<String> = installed.into_iter().map(|spec| spec.id).collect();
        let slots = self.house.slots();
        // A model whose file has gone may still be in memory.
        let in_memory = slots.iter().filter(|(_, slot)| slot.takes_room()).map(|(id, _)| id.clone());
        ids.extend(in_memory);
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| status_of(slots.get(&id), id)).collect()
    }

    /// Unloads what has been idle for `idle_unload_s`, and gives the ids; nothing when that is 0.
    pub fn unload_idle(&self) -> Vec<String> {
        self.house.idle_limit.map(|limit| self.house.unload_idle_for(limit)).unwrap_or_default()
    }

    /// Unloads everything that is not leased, and gives the ids.
    pub fn unload_all(&self) -> Vec<String> {
        self.house.unload_idle_for(Duration::ZERO)
    }
}

impl<T: Send + Sync + 'static> Drop for ModelManager<T> {
    fn drop(&mut self) {
        if let Some(sweeper) = self.sweeper.take() {
            sweeper.stop();
        }
        self.unload_all();
    }
}

/// The right to use a model; it stays in memory as long as this lives.
pub struct Lease<T: Send + Sync + 'static> {
    // Declared, and so dropped, before the seat: a model without leases has no other user.
    value: Arc<T>,
    spec: ModelSpec,
    _seat: Seat<T>,
}

impl<T: Send + Sync + 'static> Lease<T> {
    /// The model that was leased; an alias has become the model it stands for.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }
}

impl<T: Send + Sync + 'static> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// One lease, counted in the model's slot.
struct Seat<T: Send + Sync + 'static> {
    house: Arc<House<T>>,
    id: String,
}

impl<T: Send + Sync + 'static> Drop for Seat<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.house.slots().get_mut(&self.id) {
            slot.leases = slot.leases.saturating_sub(1);
            slot.last_use = Instant::now();
        }
    }
}

/// What leases, the manager and its sweeper share.
struct House<T> {
    role: Role,
    catalogue: Arc<Catalogue>,
    loader: Loader<T>,
    budget_bytes: u64,
    idle_limit: Option<Duration>,
    slots: Mutex<Slots<T>>,
    changed: Condvar,
}

type Slots<T> = HashMap<String, Slot<T>>;

/// What is known of one model.
struct Slot<T> {
    stage: Stage<T>,
    leases: usize,
    last_use: Instant,
    /// Loads begun so far: tells a thread whether the load that it waited for is the one that failed.
    loads: u64,
    /// Bytes it takes, or took when it was loaded last, or may take; `None` when it never was.
    memory_bytes: Option<u64>,
}

enum Stage<T> {
    Unloaded,
    Loading,
    Loaded(Arc<T>),
    Failed(ModelError),
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { stage: Stage::Unloaded, leases: 0, last_use: Instant::now(), loads: 0, memory_bytes: None }
    }
}

impl<T> Slot<T> {
    fn takes_room(&self) -> bool {
        matches!(self.stage, Stage::Loading | Stage::Loaded(_))
    }

    fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Loaded(_)) && self.leases == 0
    }

    fn unload(&mut self) -> Option<Arc<T>> {
        match std::mem::replace(&mut self.stage, Stage::Unloaded) {
            Stage::Loaded(value) => Some(value),
            _ => None,
        }
    }
}

/// How a lease begins.
enum Claim<T> {
    /// The model is in memory and the lease is counted.
    Ready(Arc<T>),
    /// The caller has been chosen to load it, and drops these first.
    MustLoad(Vec<Arc<T>>),
}

impl<T> House<T> {
    fn slots(&self) -> MutexGuard<'_, Slots<T>> {
        // Nothing panics while it holds the lock, and each slot is right by itself.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a lease of a loaded model, or makes this thread its loader; waits while another one loads it.
    fn claim(&self, spec: &ModelSpec) -> Result<Claim<T>, ModelError> {
        let mut slots = self.slots();
        let mut awaited = None;
        loop {
            let slot = slots.entry(spec.id.clone()).or_default();
            match &slot.stage {
                Stage::Loaded(value) => {
                    let value = Arc::clone(value);
                    slot.leases += 1;
                    slot.last_use = Instant::now();
                    return Ok(Claim::Ready(value));
                }
                Stage::Loading => {
                    awaited = Some(slot.loads);
                    slots = self.changed.wait(slots).unwrap_or_else(PoisonError::into_inner);
                }
                Stage::Failed(error) if awaited == Some(slot.loads) => return Err(error.clone()),
                Stage::Failed(_) | Stage::Unloaded => {
                    let needed = slot.memory_bytes.or(spec.size).unwrap_or(0);
                    let evicted = self.make_room(&mut slots, &spec.id, needed)?;
                    let slot = slots.entry(spec.id.clone()).or_default();
                    slot.stage = Stage::Loading;
                    slot.memory_bytes = Some(needed);
                    slot.loads += 1;
                    return Ok(Claim::MustLoad(evicted));
                }
            }
        }
    }

    /// Loads a model that this thread has claimed, counts its lease, and wakes those who wait for it.
    fn load(&self, spec: &ModelSpec) -> Result<Arc<T>, ModelError> {
        let started = Instant::now();
        // A panic must not leave the others waiting; the loader is not touched again with half-made state,
        // because all it can see is the file.
        let load = || (self.loader)(spec);
        let result = catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|_| {
            let reason = "loading it broke down inside the engine; `diarist models verify` checks its file";
            Err(ModelError::Unusable { id: spec.id.clone(), reason: reason.to_owned() })
        });
        match &result {
            Ok(loaded) => tracing::info!(
                model = spec.id,
                memory_bytes = loaded.memory_bytes,
                elapsed_ms = started.elapsed().as_millis() as u64,
                "model loaded"
            ),
            Err(error) => tracing::warn!(model = spec.id, %error, "model not loaded"),
        }
        let (outcome, _evicted) = self.settle(spec, result);
        outcome
    }

    /// Writes down how a load ended. What has become superfluous is handed out, to be dropped without the lock.
    fn settle(
        &self,
        spec: &ModelSpec,
        result: Result<Loaded<T>, ModelError>,
    ) -> (Result<Arc<T>, ModelError>, Vec<Arc<T>>) {
        let mut slots = self.slots();
        let fitted = result.map(|loaded| {
            let room = self.make_room(&mut slots, &spec.id, loaded.memory_bytes);
            (loaded, room)
        });
        let slot = slots.entry(spec.id.clone()).or_default();
        slot.last_use = Instant::now();
        let (outcome, superfluous) = match fitted {
            Ok((loaded, Ok(evicted))) => {
                slot.memory_bytes = Some(loaded.memory_bytes);
                slot.stage = Stage::Loaded(Arc::clone(&loaded.value));
                slot.leases += 1;
                (Ok(loaded.value), evicted)
            }
            // It turned out larger than its file. Its size is kept, so that the next try knows beforehand.
            Ok((loaded, Err(error))) => {
                slot.memory_bytes = Some(loaded.memory_bytes);
                slot.stage = Stage::Failed(error.clone());
                (Err(error), vec![loaded.value])
            }
            Err(error) => {
                slot.memory_bytes = None;
                slot.stage = Stage::Failed(error.clone());
                (Err(error), Vec::new())
            }
        };
        self.changed.notify_all();
        (outcome, superfluous)
    }

    /// Takes idle models out, least recently used first, until `needed` bytes for `id` are within the budget.
    /// Takes none out if that would not be enough.
    fn make_room(&self, slots: &mut Slots<T>, id: &str, needed: u64) -> Result<Vec<Arc<T>>, ModelError> {
        if self.budget_bytes == 0 {
            return Ok(Vec::new());
        }
        let bytes_of = |slot: &Slot<T>| slot.memory_bytes.unwrap_or(0);
        let others = || slots.iter().filter(|(other, slot)| *other != id && slot.takes_room());
        let in_use: u64 = others().filter(|(_, slot)| !slot.is_idle()).map(|(_, slot)| bytes_of(slot)).sum();
        if in_use.saturating_add(needed) > self.budget_bytes {
            return Err(self.too_large(id, needed, in_use));
        }
        let mut taken: u64 = others().map(|(_, slot)| bytes_of(slot)).sum();
        let mut idle: Vec<(Instant, String)> = others()
            .filter(|(_, slot)| slot.is_idle())
            .map(|(other, slot)| (slot.last_use, other.clone()))
            .collect();
        idle.sort_unstable();
        let mut evicted = Vec::new();
        for (_, victim) in idle {
            if taken.saturating_add(needed) <= self.budget_bytes {
                break;
            }
            let Some(slot) = slots.get_mut(&victim) else { continue };
            taken = taken.saturating_sub(bytes_of(slot));
            evicted.extend(slot.unload());
            tracing::info!(model = victim, "model unloaded to make room");
        }
        Ok(evicted)
    }

    fn too_large(&self, id: &str, needed: u64, in_use: u64) -> ModelError {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let (id, budget) = (id.to_owned(), mib(self.budget_bytes));
        if needed > self.budget_bytes {
            let reason = format!(
                "it needs about {} MiB of memory, and DIARIST_MEMORY_BUDGET_BYTES allows {budget} MiB; raise it, or \
                 use a smaller model",
                mib(needed)
            );
            return ModelError::Unusable { id, reason };
        }
        let reason = format!(
            "it needs about {} MiB, other models in use take {} MiB, and DIARIST_MEMORY_BUDGET_BYTES allows {budget} \
             MiB; try again later, or raise it",
            mib(needed),
            mib(in_use)
        );
        ModelError::NoRoom { id, reason }
    }

    /// Unloads what nobody has used for at least `limit`.
    fn unload_idle_for(&self, limit: Duration) -> Vec<String> {
        let mut unloaded = Vec::new();
        let mut values = Vec::new();
        for (id, slot) in self.slots().iter_mut() {
            if slot.is_idle() && slot.last_use.elapsed() >= limit {
                values.extend(slot.unload());
                unloaded.push(id.clone());
            }
        }
        // Freeing gigabytes takes time: the lock is no longer held.
        drop(values);
        unloaded.sort_unstable();
        if !unloaded.is_empty() {
            tracing::info!(models = ?unloaded, "idle models unloaded");
        }
        unloaded
    }
}

fn status_of<T>(slot: Option<&Slot<T>>, id: String) -> ModelStatus {
    let (state, memory_bytes) = match slot.map(|slot| (&slot.stage, slot.memory_bytes.unwrap_or(0))) {
        None | Some((Stage::Unloaded, _)) => (ModelState::Unloaded, 0),
        Some((Stage::Loading, _)) => (ModelState::Loading, 0),
        Some((Stage::Loaded(_), bytes)) => (ModelState::Loaded, bytes),
        Some((Stage::Failed(error), _)) => (ModelState::Failed(error.to_string()), 0),
    };
    ModelStatus { id, state, memory_bytes }
}

/// The thread that unloads idle models, until its sender goes.
struct Sweeper {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Sweeper {
    /// Looks four times per `limit`, at least once a minute. `None` when there can be no more threads.
    fn start<T: Send + Sync + 'static>(house: Arc<House<T>>, limit: Duration) -> Option<Self> {
        let period = (limit / 4).min(Duration::from_secs(60));
        let (stop, stopped) = mpsc::channel();
        let sweep = move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                house.unload_idle_for(limit);
            }
        };
        match thread::Builder::new().name("model-sweeper".to_owned()).spawn(sweep) {
            Ok(thread) => Some(Self { stop, thread }),
            Err(error) => {
                tracing::warn!(%error, "idle models stay in memory");
                None
            }
        }
    }

    fn stop(self) {
        drop(self.stop);
        // It has nothing to say; a panic in it has been reported by the panic hook.
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::models::shelf::write_fake_model;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tempfile::TempDir;

    /// What the fake loader makes: counts itself while in memory.
    struct Weights {
        id: String,
        alive: Arc<AtomicUsize>,
    }

    impl Drop for Weights {
        fn drop(&mut self) {
            self.alive.fetch_sub(1, Ordering::SeqCst);
        }
    }

    struct Stand {
        _folder: TempDir,
        manager: ModelManager<Weights>,
        loads: Arc<AtomicUsize>,
        alive: Arc<AtomicUsize>,
    }

    type Hook = Box<dyn Fn(&ModelSpec, usize) -> Result<u64, ModelError> + Send + Sync>;

    /// Models `a`, `b`, `c` of 100 bytes; `hook` gets the model and the number of the load, and gives the
    /// memory that it takes.
    fn stand(budget_bytes: u64, hook: Hook) -> Stand {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for id in ["a", "b", "c"] {
            write_fake_model(&folder.path().join(format!("{id}.bin")), 100);
        }
        let options = ModelsOptions {
            dir: folder.path().to_owned(),
            bundled_dir: folder.path().join("none"),
            default_model: "a".into(),
            offline: true,
            hub_endpoint: String::new(),
            hub_token: None,
            memory_budget_bytes: budget_bytes,
            idle_unload_s: 0,
        };
        let (loads, alive) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, living) = (Arc::clone(&loads), Arc::clone(&alive));
        let loader: Loader<Weights> = Box::new(move |spec| {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let memory_bytes = hook(spec, number)?;
            living.fetch_add(1, Ordering::SeqCst);
            let weights = Weights { id: spec.id.clone(), alive: Arc::clone(&living) };
            Ok(Loaded { value: Arc::new(weights), memory_bytes })
        });
        let catalogue = Arc::new(Catalogue::open(&options).expect("a catalogue"));
        Stand { manager: ModelManager::new(catalogue, loader, &options), _folder: folder, loads, alive }
    }

    impl Stand {
        fn loads(&self) -> usize {
            self.loads.load(Ordering::SeqCst)
        }

        fn alive(&self) -> usize {
            self.alive.load(Ordering::SeqCst)
        }

        fn state(&self, id: &str) -> ModelState {
            let status = self.manager.status();
            status.into_iter().find(|status| status.id == id).expect("a known id").state
        }

        fn lease(&self, id: &str) -> Lease<Weights> {
            self.manager.lease(id).expect("a lease")
        }
    }

    fn always_100() -> Hook {
        Box::new(|_, _| Ok(100))
    }

    fn broken(id: &str) -> ModelError {
        ModelError::Unusable { id: id.to_owned(), reason: "broken".into() }
    }

    #[test]
    fn many_leases_at_once_load_once() {
        let stand = stand(
            0,
            Box::new(|_, _| {
                thread::sleep(Duration::from_millis(50));
                Ok(100)
            }),
        );
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| assert_eq!(stand.lease("a").id, "a"));
            }
        });
        assert_eq!((stand.loads(), stand.alive()), (1, 1));
        assert_eq!(stand.state("a"), ModelState::Loaded);
        assert_eq!(stand.state("b"), ModelState::Unloaded);
    }

    #[test]
    fn an_alias_leases_the_model_that_it_stands_for() {
        let stand = stand(0, always_100());
        let (alias, model) = (stand.lease("whisper-1"), stand.lease("a"));
        assert_eq!((alias.spec().id.as_str(), model.spec().id.as_str()), ("a", "a"));
        assert_eq!(stand.loads(), 1);
        assert!(matches!(stand.manager.lease("nothing"), Err(ModelError::Unknown { .. })));
    }

    #[test]
    fn different_models_load_at_the_same_time() {
        let (here, there) = (mpsc::channel(), mpsc::channel());
        let ends = Mutex::new(vec![(here.0, there.1), (there.0, here.1)]);
        let stand = stand(
            0,
            Box::new(move |spec, _| {
                let (tell, hear) = ends.lock().expect("unpoisoned").pop().expect("two loads");
                tell.send(()).map_err(|_| broken(&spec.id))?;
                // Answered only by a load that runs meanwhile.
                hear.recv_timeout(Duration::from_secs(30)).map_err(|_| broken(&spec.id))?;
                Ok(100)
            }),
        );
        thread::scope(|scope| {
            let both = ["a", "b"].map(|id| scope.spawn(|| stand.manager.lease(id).map(drop)));
            for one in both {
                one.join().expect("no panic").expect("loaded beside the other");
            }
        });
    }

    #[test]
    fn the_least_recently_used_idle_model_makes_room() {
        let stand = stand(250, always_100());
        drop(stand.lease("a"));
        drop(stand.lease("b"));
        drop(stand.lease("a"));
        drop(stand.lease("c"));
        assert_eq!(stand.state("b"), ModelState::Unloaded);
        assert_eq!(stand.state("a"), ModelState::Loaded);
        assert_eq!(stand.state("c"), ModelState::Loaded);
        assert_eq!((stand.loads(), stand.alive()), (3, 2));
    }

    #[test]
    fn a_leased_model_is_never_unloaded() {
        let stand = stand(250, always_100());
        let (a, _b) = (stand.lease("a"), stand.lease("b"));
        let error = stand.manager.lease("c").err().expect("no room");
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.to_string().contains("DIARIST_MEMORY_BUDGET_BYTES"), "{error}");
        assert!(stand.manager.unload_all().is_empty());
        assert_eq!((stand.loads(), a.id.as_str()), (2, "a"));
        drop(a);
        assert_eq!(stand.lease("c").id, "c");
        assert_eq!(stand.state("a"), ModelState::Unloaded);
    }

    #[test]
    fn nothing_is_unloaded_for_a_model_that_does_not_fit_anyway() {
        let stand = stand(250, always_100());
        let _a = stand.lease("a");
        drop(stand.lease("b"));
        let slots = &mut stand.manager.house.slots();
        assert!(stand.manager.house.make_room(slots, "c", 200).is_err());
        assert!(slots.get("b").is_some_and(Slot::is_idle));
    }

    #[test]
    fn a_model_above_the_budget_is_refused_before_and_after_loading() {
        let small = stand(99, always_100());
        let error = small.manager.lease("a").err().expect("too large");
        assert_eq!((error.kind(), small.loads()), (ErrorKind::ModelUnusable, 0));
        // Its file is within the budget, the loaded model is not.
        let stand = stand(150, Box::new(|_, _| Ok(200)));
        for _ in 0..2 {
            let error = stand.manager.lease("a").err().expect("too large");
            assert_eq!(error.kind(), ErrorKind::ModelUnusable);
        }
        assert_eq!((stand.loads(), stand.alive()), (1, 0), "the second time it is known beforehand");
    }

    #[test]
    fn a_model_larger_than_its_file_makes_room_afterwards() {
        let stand = stand(250, Box::new(|spec, _| Ok(if spec.id == "b" { 200 } else { 100 })));
        drop(stand.lease("a"));
        drop(stand.lease("b"));
        assert_eq!(stand.state("a"), ModelState::Unloaded);
        assert_eq!((stand.state("b"), stand.alive()), (ModelState::Loaded, 1));
    }

    #[test]
    fn a_failed_load_is_told_and_tried_again_by_the_next_lease() {
        let stand =
            stand(0, Box::new(|spec, number| if number == 0 { Err(broken(&spec.id)) } else { Ok(100) }));
        assert!(stand.manager.lease("a").is_err());
        assert!(matches!(stand.state("a"), ModelState::Failed(reason) if reason.contains("broken")));
        assert_eq!(stand.lease("a").id, "a");
        assert_eq!(stand.state("a"), ModelState::Loaded);
    }

    #[test]
    fn those_who_waited_for_a_failed_load_get_its_error() {
        let (begun, begin) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let (begun, released) = (Mutex::new(begun), Mutex::new(released));
        let stand = stand(
            0,
            Box::new(move |spec, _| {
                begun.lock().expect("unpoisoned").send(()).expect("somebody listens");
                let _ = released.lock().expect("unpoisoned").recv_timeout(Duration::from_secs(30));
                Err(broken(&spec.id))
            }),
        );
        thread::scope(|scope| {
            let first = scope.spawn(|| stand.manager.lease("a").is_err());
            begin.recv_timeout(Duration::from_secs(30)).expect("a load begins");
            let second = scope.spawn(|| stand.manager.lease("a").is_err());
            // Long enough, as a rule, for the second to wait; if not, it loads and fails by itself.
            thread::sleep(Duration::from_millis(50));
            drop(release);
            assert!(first.join().expect("no panic") && second.join().expect("no panic"));
        });
    }

    #[test]
    fn a_panic_while_loading_is_an_error_and_leaves_nobody_waiting() {
        let stand = stand(0, Box::new(|_, number| if number == 0 { panic!("engine") } else { Ok(100) }));
        let error = stand.manager.lease("a").err().expect("an error");
        assert_eq!(error.kind(), ErrorKind::ModelUnusable);
        assert_eq!(stand.lease("a").id, "a");
    }

    #[test]
    fn idle_models_are_unloaded_and_come_back() {
        let stand = stand(0, always_100());
        let a = stand.lease("a");
        drop(stand.lease("b"));
        assert!(stand.manager.unload_idle().is_empty(), "no limit is set");
        assert_eq!(stand.manager.house.unload_idle_for(Duration::from_secs(3600)), [""; 0]);
        assert_eq!(stand.manager.unload_all(), ["b"]);
        assert_eq!((stand.alive(), a.id.as_str()), (1, "a"));
        assert_eq!(stand.lease("b").id, "b");
    }

    #[test]
    fn the_sweeper_unloads_by_itself_and_stops_with_the_manager() {
        let stand = stand(0, always_100());
        drop(stand.lease("a"));
        let sweeper =
            Sweeper::start(Arc::clone(&stand.manager.house), Duration::from_millis(4)).expect("a thread");
        let deadline = Instant::now() + Duration::from_secs(30);
        while stand.alive() > 0 {
            assert!(Instant::now() < deadline, "never unloaded");
            thread::sleep(Duration::from_millis(1));
        }
        sweeper.stop();
        assert_eq!(Arc::strong_count(&stand.manager.house), 1);
    }

    #[test]
    fn preloading_tries_all_and_tells_the_first_error() {
        let stand = stand(0, Box::new(|spec, _| if spec.id == "a" { Err(broken("a")) } else { Ok(100) }));
        let error = stand.manager.preload(&["a", "nothing", "b"]).expect_err("two of three fail");
        assert!(error.to_string().contains("`a`"));
        assert_eq!(stand.state("b"), ModelState::Loaded);
    }

    #[test]
    fn a_lease_outlives_the_manager_and_everything_is_freed() {
        let Stand { manager, alive, _folder, .. } = stand(0, always_100());
        let a = manager.lease("a").expect("a lease");
        drop(manager.lease("b").expect("a lease"));
        drop(manager);
        assert_eq!((alive.load(Ordering::SeqCst), a.id.as_str()), (1, "a"));
        drop(a);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn leases_that_come_and_go_under_a_tight_budget_stay_within_it() {
        let stand = stand(200, always_100());
        thread::scope(|scope| {
            for turn in 0..6 {
                let stand = &stand;
                scope.spawn(move || {
                    for step in 0..50 {
                        let id = ["a", "b", "c"][(turn + step) % 3];
                        match stand.manager.lease(id) {
                            Ok(lease) => assert_eq!(lease.id, id),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Busy),
                        }
                        assert!(stand.alive() <= 3);
                    }
                });
            }
        });
        assert!(stand.alive() <= 2);
        stand.manager.unload_all();
        assert_eq!(stand.alive(), 0);
    }
}
