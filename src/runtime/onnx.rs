//! The ONNX Runtime environment: found, loaded and shared once.
//!
//! ONNX Runtime is a shared library beside the program, not linked into it. It is looked for on first use
//! and stays loaded; rooms ask for a `session` and know nothing of where it came from. Knows no model.

use std::env;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ort::AsPointer;
use ort::editor::Model;
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{Outlet, TensorElementType, TensorRef, TensorRefMut, ValueType};

use super::cpu;

/// Environment variables that name the library, strongest first; the second is ort's own.
const PATH_VARIABLES: [&str; 2] = ["DIARIST_ONNXRUNTIME", "ORT_DYLIB_PATH"];

/// Folder that `make run` installs the library into.
const RUNTIME_DIR: &str = ".runtime";

/// What the library's file name starts with, the version following on Linux.
#[cfg(target_os = "macos")]
const LIBRARY_PREFIX: &str = "libonnxruntime";
#[cfg(target_os = "windows")]
const LIBRARY_PREFIX: &str = "onnxruntime.dll";
#[cfg(not(any(target_os = "macos", target_os = "windows")))]
const LIBRARY_PREFIX: &str = "libonnxruntime.so";

/// What the system's linker is asked for when no file was found.
#[cfg(target_os = "macos")]
const LINKER_NAMES: [&str; 1] = ["libonnxruntime.dylib"];
#[cfg(target_os = "windows")]
const LINKER_NAMES: [&str; 1] = ["onnxruntime.dll"];
#[cfg(not(any(target_os = "macos", target_os = "windows")))]
const LINKER_NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];

/// How many folders above the program are searched: target/release/diarist lies two below the root.
const ANCESTORS: usize = 4;

static RUNTIME: OnceLock<Result<OnnxRuntime, OnnxError>> = OnceLock::new();

/// Why ONNX Runtime or one of its models cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// No library was found anywhere.
    #[error(
        "ONNX Runtime is not installed: no {LIBRARY_PREFIX} beside the program, in {RUNTIME_DIR}/ or known to \
         the system; `make run` installs it, or set DIARIST_ONNXRUNTIME to the library's path"
    )]
    Missing,
    /// There is a library, but it does not load.
    #[error(
        "ONNX Runtime cannot be loaded from {path}: {reason}; set DIARIST_ONNXRUNTIME to a library of version \
         1.{} or newer",
        ort::MINOR_VERSION
    )]
    Unusable {
        /// The library.
        path: String,
        /// What the loader says.
        reason: String,
    },
    /// The file is not a model that ONNX Runtime can run.
    #[error("{path} is not a usable ONNX model: {reason}")]
    Model {
        /// The model file.
        path: String,
        /// What ONNX Runtime says.
        reason: String,
    },
}

/// The loaded library.
#[derive(Debug)]
pub struct OnnxRuntime {
    environment: Environment,
    path: PathBuf,
}

impl OnnxRuntime {
    /// The library's file, or the bare name when the system's linker found it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Version and place in one line, for `doctor` and the log at start.
    pub fn describe(&self) -> String {
        let resolved = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        match version_in_name(&resolved) {
            Some(version) => format!("ONNX Runtime {version} ({})", self.path.display()),
            None => format!("ONNX Runtime ({}; {})", self.path.display(), ort::info()),
        }
    }

    /// Loads the model at `path` for one thread: work is spread over workers, never inside an operator,
    /// and nothing spins while it waits. Running a session takes it exclusively: one per worker.
    ///
    /// # Errors
    /// `Model` when the file is missing or not a model.
    pub fn session(&self, path: &Path) -> Result<Session, OnnxError> {
        let unusable = |error: std::io::Error| unusable_model(path, &error.to_string());
        self.session_of(&std::fs::read(path).map_err(unusable)?, path)
    }

    /// As `session`, of a model that has been read from `path` before.
    ///
    /// # Errors
    /// `Model` when it is not a model.
    pub fn session_of(&self, model: &[u8], path: &Path) -> Result<Session, OnnxError> {
        self.build_session(model).map_err(|reason| unusable_model(path, &reason))
    }

    /// Makes a session of a model built in memory, for many threads at once; each run uses one.
    ///
    /// # Errors
    /// What ONNX Runtime says.
    pub fn shared_session(&self, model: Model) -> Result<SharedSession, String> {
        let session = model.into_session(&self.builder()?).map_err(|error| error.to_string())?;
        Ok(SharedSession { session })
    }

    /// As `session_of`, for many threads at once; each run uses one.
    ///
    /// # Errors
    /// `Model` when it is not a model.
    pub fn shared_session_of(&self, model: &[u8], path: &Path) -> Result<SharedSession, OnnxError> {
        Ok(SharedSession { session: self.session_of(model, path)? })
    }

    /// As `shared_session_of`, for a network so large that each run takes `threads` threads: that of the caller and
    /// those of the session, for which runs at the same time wait.
    ///
    /// # Errors
    /// `Model` when it is not a model.
    pub fn wide_session_of(
        &self,
        model: &[u8],
        path: &Path,
        threads: usize,
    ) -> Result<SharedSession, OnnxError> {
        let unusable = |reason: String| unusable_model(path, &reason);
        let builder = self.builder().map_err(unusable)?;
        let mut builder =
            builder.with_intra_threads(threads.max(1)).map_err(|error| unusable(error.to_string()))?;
        let session = builder.commit_from_memory(model).map_err(|error| unusable(error.to_string()))?;
        Ok(SharedSession { session })
    }

    fn build_session(&self, model: &[u8]) -> Result<Session, String> {
        self.builder()?.commit_from_memory(model).map_err(|error| error.to_string())
    }

    fn builder(&self) -> Result<SessionBuilder, String> {
        let text = |error: ort::Error<_>| error.to_string(); // builder errors are not Send
        let builder = Session::builder(&self.environment)
            .map_err(|error| error.to_string())?
            .with_intra_threads(1)
            .map_err(text)?
            .with_inter_threads(1)
            .map_err(text)?
            .with_intra_op_spinning(false)
            .map_err(text)?
            .with_inter_op_spinning(false)
            .map_err(text)?
            // Plans of where values lie take memory of their own, for each shape that comes.
            .with_memory_pattern(false)
            .map_err(text)?;
        if cpu::has_int8_products() {
            return Ok(builder);
        }
        // Without it, 8-bit products saturate on processors that have AVX2 but not VNNI; with it they are slower.
        builder.with_precise_qmm().map_err(text)
    }
}

/// The shape that a network tells of an input or output: see `SharedSession::shapes`.
pub type Told = Option<Vec<i64>>;

/// A session that any number of threads run at the same time on one copy of the weights.
///
/// `ort` asks for `&mut Session` because some accelerators are not safe to share. On the processor ONNX Runtime
/// promises it (`OrtApi::Run`: "multiple threads are allowed to run this function"), and sessions made here
/// use nothing else.
#[derive(Debug)]
pub struct SharedSession {
    session: Session,
}

impl SharedSession {
    /// Names of the inputs and of the outputs.
    pub fn names(&self) -> (Vec<&str>, Vec<&str>) {
        fn names(outlets: &[Outlet]) -> Vec<&str> {
            outlets.iter().map(Outlet::name).collect()
        }
        (names(self.session.inputs()), names(self.session.outputs()))
    }

    /// Shapes of the inputs and of the outputs, in the order of their names: -1 for an axis of any length, and `None`
    /// for what is not a tensor of 32-bit numbers.
    pub fn shapes(&self) -> (Vec<Told>, Vec<Told>) {
        fn shape(outlet: &Outlet) -> Told {
            match outlet.dtype() {
                ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => Some(shape.to_vec()),
                _ => None,
            }
        }
        (
            self.session.inputs().iter().map(shape).collect(),
            self.session.outputs().iter().map(shape).collect(),
        )
    }

    /// Runs the model on named `inputs`; the results are written into the named `outputs`.
    ///
    /// # Errors
    /// What ONNX Runtime says, wrong names and shapes included.
    pub fn run(
        &self,
        inputs: &[(&CStr, &TensorRef<'_, f32>)],
        outputs: &mut [(&CStr, TensorRefMut<'_, f32>)],
    ) -> ort::Result<()> {
        let input_names: Vec<_> = inputs.iter().map(|(name, _)| name.as_ptr()).collect();
        let input_values: Vec<_> = inputs.iter().map(|(_, value)| value.ptr()).collect();
        let output_names: Vec<_> = outputs.iter().map(|(name, _)| name.as_ptr()).collect();
        let mut output_values: Vec<_> = outputs.iter().map(|(_, value)| value.ptr().cast_mut()).collect();
        // SAFETY: every name and value outlives the call and is as many as told; the session is only read.
        unsafe {
            ort::Error::result_from_status((ort::api().Run)(
                self.session.ptr().cast_mut(),
                std::ptr::null(),
                input_names.as_ptr(),
                input_values.as_ptr(),
                inputs.len(),
                output_names.as_ptr(),
                outputs.len(),
                output_values.as_mut_ptr(),
            ))
        }
    }
}

/// The process's ONNX Runtime. The first call decides for the life of the process: it loads the library
/// at `explicit` or, without one, the first that is found.
///
/// # Errors
/// `Missing` or `Unusable`, the same on every call.
pub fn runtime(explicit: Option<&Path>) -> Result<&'static OnnxRuntime, OnnxError> {
    RUNTIME.get_or_init(|| find_and_load(explicit)).as_ref().map_err(Clone::clone)
}

/// Loads the model at `path` with the process's runtime; see `OnnxRuntime::session`.
///
/// # Errors
/// Any of `OnnxError`.
pub fn session(path: &Path) -> Result<Session, OnnxError> {
    runtime(None)?.session(path)
}

/// As `session`, of a model that has been read from `path` before; see `OnnxRuntime::session_of`.
///
/// # Errors
/// Any of `OnnxError`.
pub fn session_of(model: &[u8], path: &Path) -> Result<Session, OnnxError> {
    runtime(None)?.session_of(model, path)
}

fn unusable_model(path: &Path, reason: &str) -> OnnxError {
    OnnxError::Model { path: path.display().to_string(), reason: one_line(reason) }
}

/// A library that somebody named is the only one tried; of those found, the first that loads is used.
fn find_and_load(explicit: Option<&Path>) -> Result<OnnxRuntime, OnnxError> {
    let named = explicit.map(Path::to_path_buf).or_else(|| {
        let values = PATH_VARIABLES.iter().filter_map(env::var_os);
        values.filter(|value| !value.is_empty()).map(PathBuf::from).next()
    });
    if let Some(path) = named {
        // The loader would take a relative path from the program's folder.
        return load(&std::path::absolute(&path).unwrap_or(path));
    }
    let mut unusable = None;
    for path in
        search_dirs(env::current_exe().ok(), env::current_dir().ok()).iter().flat_map(|dir| libraries(dir))
    {
        match load(&path) {
            Ok(runtime) => return Ok(runtime),
            Err(error) => unusable = unusable.or(Some(error)),
        }
    }
    let by_linker = LINKER_NAMES.iter().find_map(|name| load(Path::new(name)).ok());
    by_linker.ok_or(unusable.unwrap_or(OnnxError::Missing))
}

/// Folders that may hold the library, nearest first.
fn search_dirs(program: Option<PathBuf>, current: Option<PathBuf>) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if let Some(program_dir) = program.as_deref().and_then(Path::parent) {
        dirs.push(program_dir.to_path_buf());
        dirs.push(program_dir.join("..").join("lib"));
        dirs.extend(program_dir.ancestors().take(ANCESTORS).map(|dir| dir.join(RUNTIME_DIR)));
    }
    dirs.extend(current.map(|dir| dir.join(RUNTIME_DIR)));
    dirs
}

/// The libraries in `dir`, the newest version last in name order first; nothing when there is no such folder.
fn libraries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = dir.read_dir() else { return Vec::new() };
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // ONNX Runtime's own plug-ins share the prefix up to an underscore.
        name.starts_with(LIBRARY_PREFIX) && !name.contains('_')
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_library).collect();
    found.sort();
    found.reverse();
    found
}

fn load(path: &Path) -> Result<OnnxRuntime, OnnxError> {
    let unusable =
        |reason: String| OnnxError::Unusable { path: path.display().to_string(), reason: one_line(&reason) };
    let builder = ort::init_from(path).map_err(|error| unusable(error.to_string()))?;
    let environment = builder
        .with_name("diarist")
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(OnnxRuntime { environment, path: path.to_path_buf() })
}

/// `1.31.1` of `libonnxruntime.so.1.31.1` and `libonnxruntime.1.31.1.dylib`: the library's interface
/// tells its version only to whoever opens it by hand.
fn version_in_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let from_digit = &name[name.find(|c: char| c.is_ascii_digit())?..];
    let end = from_digit.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(from_digit.len());
    let version = from_digit[..end].trim_end_matches('.');
    version.contains('.').then_some(version)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_folder_of_the_repository_is_searched_from_the_built_program() {
        let dirs = search_dirs(Some("/repo/target/release/diarist".into()), Some("/elsewhere".into()));
        let position = |dir: &str| dirs.iter().position(|known| known == Path::new(dir));
        assert!(position("/repo/.runtime").is_some());
        assert!(position("/elsewhere/.runtime").is_some());
        assert_eq!(position("/repo/target/release"), Some(0));
        assert!(position("/repo/.runtime") < position("/elsewhere/.runtime"));
    }

    #[test]
    fn without_program_and_folder_there_is_nothing_to_search() {
        assert!(search_dirs(None, None).is_empty());
        assert!(libraries(Path::new("/no/such/folder")).is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn only_the_library_itself_is_taken_from_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["libonnxruntime.so.1.31.1", "libonnxruntime_providers_shared.so", "libonnx.so", "notes.txt"]
        {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        assert_eq!(libraries(dir.path()), [dir.path().join("libonnxruntime.so.1.31.1")]);
    }

    #[test]
    fn a_file_that_is_no_library_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("libonnxruntime.so");
        std::fs::write(&path, b"not a library").unwrap();
        let error = load(&path).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, OnnxError::Unusable { .. }));
        assert!(
            message.contains("libonnxruntime.so") && message.contains("DIARIST_ONNXRUNTIME"),
            "{message}"
        );
    }

    #[test]
    fn the_version_is_read_from_the_file_name() {
        let version = |name: &'static str| version_in_name(Path::new(name));
        assert_eq!(version("/x/libonnxruntime.so.1.31.1"), Some("1.31.1"));
        assert_eq!(version("libonnxruntime.1.31.1.dylib"), Some("1.31.1"));
        assert_eq!(version("libonnxruntime.so"), None);
        assert_eq!(version("libonnxruntime.so.1"), None);
    }
}
