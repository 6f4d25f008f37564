//! Fetches a model from the hub: resume, verify, and only then put it in its place.
//!
//! Bytes go to `<file>.part`, which survives cut connections and killed programs; the next pull goes on
//! where it ends. The file gets its name only when its length and its SHA-256 are right, so a file that is
//! there is whole. A lock keeps two pulls of one file apart. `hub` asks the questions.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Body;

use super::ModelError;
use super::catalogue::ModelsOptions;
use super::hub::{Answer, Content, Failure, Hub};
use super::shelf::is_whisper_file;
use super::verify::{hash_into, hex, note_sha256, noted_sha256, sha256_of_file};

/// Largest file taken where nobody says how large it is, in bytes.
const MAX_UNKNOWN_BYTES: u64 = 16 << 30;
/// Tries in all, however much each of them brings.
const MAX_TRIES: u32 = 200;

/// What to fetch from where; [`Catalogue::order`](super::catalogue::Catalogue::order) makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Id of the model, for messages.
    pub id: String,
    /// Name of the file in the folder of models; a plain file name.
    pub local_name: String,
    /// `owner/name` on the hub.
    pub repo: String,
    /// Commit, tag or branch.
    pub revision: String,
    /// Path in the repository.
    pub file: String,
    /// Size in bytes, if known; the hub's must agree.
    pub size: Option<u64>,
    /// SHA-256 in lower-case hexadecimal; where unknown, the hub's own value is used.
    pub sha256: Option<String>,
}

/// What a pull is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another process is fetching the same file.
    Waiting,
    /// Bytes that are here already are being hashed.
    Checking {
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Bytes arrive.
    Receiving {
        /// Bytes here, those of earlier tries included.
        done: u64,
        /// Bytes in all, if known.
        total: Option<u64>,
    },
    /// A try failed; the next follows after a pause.
    Retrying {
        /// What went wrong.
        reason: String,
        /// How long until then.
        pause: Duration,
    },
    /// What an earlier pull had left does not fit; it is fetched from the first byte.
    StartingOver,
}

/// How long to bear with a bad connection.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries in a row that may bring nothing new; default 6.
    pub tries: u32,
    /// Pause after the first of them, doubled after each further one; default 1 s.
    pub first_pause: Duration,
    /// Longest silence on a connection; default 60 s.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 6, first_pause: Duration::from_secs(1), stall: Duration::from_secs(60) }
    }
}

/// Fetches a file and gives its path. A file that is there and right is not fetched again. Blocking.
///
/// # Errors
/// `Download` with the reason and the remedy. Where a further pull can go on, the part that came stays.
pub fn pull(
    order: &Order,
    options: &ModelsOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, ModelError> {
    pull_with(order, options, Patience::default(), progress)
}

/// [`pull`] with other patience.
///
/// # Errors
/// As `pull`.
pub fn pull_with(
    order: &Order,
    options: &ModelsOptions,
    patience: Patience,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, ModelError> {
    let fetched = fetch_once(order, options, patience, progress);
    fetched.map_err(|reason| ModelError::Download { id: order.id.clone(), reason })
}

fn fetch_once(
    order: &Order,
    options: &ModelsOptions,
    patience: Patience,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, String> {
    let target = options.dir.join(&order.local_name);
    if is_here(order, &target, progress) {
        return Ok(target);
    }
    if options.offline {
        return Err(
            "DIARIST_OFFLINE is set, so nothing is fetched; unset it, or put the file into the folder \
                    of models by hand"
                .to_owned(),
        );
    }
    fs::create_dir_all(&options.dir).map_err(|error| disk_trouble(&error, None))?;
    let _lock = lock(&options.dir.join(format!(".{}.lock", order.local_name)), progress)?;
    // Whoever held the lock may have done the work.
    if is_here(order, &target, progress) {
        return Ok(target);
    }
    let part_path = options.dir.join(format!("{}.part", order.local_name));
    let mut fetch = Fetch {
        order,
        hub: Hub::new(options, &patience).map_err(|failure| match failure {
            Failure::Lasting(reason) | Failure::Passing { reason, .. } => reason,
        })?,
        part: Part::open(part_path, progress).map_err(|error| disk_trouble(&error, order.size))?,
        size: order.size,
        sha256: order.sha256.clone(),
        patience,
    };
    if let Err(reason) = fetch.run(progress) {
        fetch.part.remove_if_empty();
        return Err(reason);
    }
    fetch.put_in_place(&target)?;
    Ok(target)
}

/// Whether the file is there with the SHA-256 that it should have.
fn is_here(order: &Order, target: &Path, progress: &mut dyn FnMut(Progress)) -> bool {
    let Ok(total) = fs::metadata(target).map(|metadata| metadata.len()) else { return false };
    let Some(expected) = order.sha256.clone().or_else(|| noted_sha256(target)) else { return false };
    let mut done = 0;
    let actual = sha256_of_file(target, &mut |bytes| {
        done += bytes;
        progress(Progress::Checking { done, total });
    });
    actual.is_ok_and(|actual| actual == expected)
}

/// Takes the lock of a file, waiting for whoever holds it; it ends with the returned file, or the process.
fn lock(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<File, String> {
    const POLL: Duration = Duration::from_millis(100);
    // The file stays when the lock ends: removing it would let two others lock two different files.
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|error| disk_trouble(&error, None))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                progress(Progress::Waiting);
                thread::sleep(POLL);
            }
            // A file system without locks: better unlocked than not at all.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, "the folder of models cannot lock files; run one pull at a time");
                return Ok(file);
            }
        }
    }
}

/// One file on its way.
struct Fetch<'a> {
    order: &'a Order,
    hub: Hub<'a>,
    part: Part,
    /// Bytes that the file must have, as far as anybody has said.
    size: Option<u64>,
    /// SHA-256 that the file must have.
    sha256: Option<String>,
    patience: Patience,
}

impl Fetch<'_> {
    /// Tries until the part file is whole and right.
    fn run(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), String> {
        let (mut vain_tries, mut most) = (0, self.part.length);
        for _ in 0..MAX_TRIES {
            match self.attempt(progress) {
                Ok(()) if self.is_right()? => return Ok(()),
                Ok(()) => {
                    self.part.restart().map_err(|error| disk_trouble(&error, self.size))?;
                    progress(Progress::StartingOver);
                    (vain_tries, most) = (0, 0);
                }
                Err(Failure::Lasting(reason)) => return Err(reason),
                Err(Failure::Passing { reason, pause }) => {
                    vain_tries = if self.part.length > most { 0 } else { vain_tries + 1 };
                    most = most.max(self.part.length);
                    if vain_tries >= self.patience.tries {
                        return Err(self.given_up(&reason));
                    }
                    let pause = pause
                        .unwrap_or(self.patience.first_pause * (1 << vain_tries.saturating_sub(1).min(5)));
                    progress(Progress::Retrying { reason, pause });
                    thread::sleep(pause);
                }
            }
        }
        Err(self.given_up("the connection breaks again and again"))
    }

    fn given_up(&self, reason: &str) -> String {
        match self.part.length {
            0 => format!("{reason}; try again later"),
            bytes => format!("{reason}; {bytes} bytes are here, and the next pull goes on from them"),
        }
    }

    /// One question to the hub, and everything that it answers. `Ok` when nothing more is to come.
    fn attempt(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), Failure> {
        if self.size.is_some_and(|size| self.part.length > size) {
            self.restart()?;
        }
        if self.sha256.is_some() && self.size == Some(self.part.length) {
            return Ok(());
        }
        let answer = self.hub.get(self.order, self.part.length)?;
        self.learn(&answer)?;
        match answer.content {
            Content::BeyondEnd { length } if length.or(self.size) == Some(self.part.length) => Ok(()),
            Content::BeyondEnd { .. } => {
                self.restart()?;
                Err(Failure::passing("what an earlier pull left is longer than the file"))
            }
            Content::Part { start, .. } if start != self.part.length => {
                self.restart()?;
                Err(Failure::passing("the hub sent another part of the file than asked for"))
            }
            Content::Part { length, body, .. } => {
                self.agree_on_size(length)?;
                self.part.is_resumed |= self.part.length > 0;
                self.receive(body, progress)
            }
            Content::Whole { length, body } => {
                self.agree_on_size(length)?;
                self.restart()?;
                self.receive(body, progress)
            }
        }
    }

    /// Takes over what the hub says of the file, if it agrees with what is known.
    fn learn(&mut self, answer: &Answer) -> Result<(), Failure> {
        match (&self.sha256, &answer.sha256) {
            (Some(known), Some(said)) if known != said => {
                return Err(Failure::Lasting(format!(
                    "the hub's file is another: its SHA-256 is {said}, the one wanted is {known}; nothing was taken"
                )));
            }
            (None, None) => {
                return Err(Failure::Lasting(
                    "the hub gives no SHA-256 for it, so what comes could not be verified; fetch it by other means \
                     and put it into the folder of models"
                        .to_owned(),
                ));
            }
            (None, Some(said)) => self.sha256 = Some(said.clone()),
            _ => {}
        }
        self.agree_on_size(answer.size)
    }

    fn agree_on_size(&mut self, said: Option<u64>) -> Result<(), Failure> {
        match (self.size, said) {
            (Some(known), Some(said)) if known != said => Err(Failure::Lasting(format!(
                "the file offered has {said} bytes, the one wanted has {known}; nothing was taken"
            ))),
            (known, said) => {
                self.size = known.or(said);
                Ok(())
            }
        }
    }

    fn receive(&mut self, mut body: Body, progress: &mut dyn FnMut(Progress)) -> Result<(), Failure> {
        let most = self.size.unwrap_or(MAX_UNKNOWN_BYTES);
        let mut reader = body.as_reader();
        let mut buffer = vec![0; 128 << 10];
        loop {
            progress(Progress::Receiving { done: self.part.length, total: self.size });
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Err(Failure::passing(self.cut_off(&format!(" ({error})")))),
            };
            if self.part.length + read as u64 > most {
                self.restart()?;
                return Err(Failure::Lasting(format!(
                    "more than the {most} bytes of the file come from the hub"
                )));
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            self.part.append(bytes).map_err(|error| self.lasting(&error))?;
        }
        match self.size {
            Some(size) if self.part.length < size => Err(Failure::passing(self.cut_off(""))),
            _ => Ok(()),
        }
    }

    fn cut_off(&self, cause: &str) -> String {
        match self.size {
            Some(size) => format!("the connection was cut after {} of {size} bytes{cause}", self.part.length),
            None => format!("the connection was cut after {} bytes{cause}", self.part.length),
        }
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.part.restart().map_err(|error| self.lasting(&error))
    }

    fn lasting(&self, error: &io::Error) -> Failure {
        Failure::Lasting(disk_trouble(error, self.size.map(|size| size.saturating_sub(self.part.length))))
    }

    /// Whether the whole part file has the right hash. A wrong one is dropped; `false` asks for one more try
    /// from the first byte, because the file may have changed between two pulls.
    fn is_right(&mut self) -> Result<bool, String> {
        let actual = hex(self.part.hasher.clone());
        let expected = self.sha256.clone().unwrap_or_default();
        if actual == expected {
            return Ok(true);
        }
        if self.part.is_resumed {
            return Ok(false);
        }
        self.part.remove();
        Err(format!(
            "what came is not the file wanted: its SHA-256 is {actual} and should be {expected}; it was deleted"
        ))
    }

    /// Gives the verified part file its name, so that it survives a power cut.
    fn put_in_place(self, target: &Path) -> Result<(), String> {
        if !is_whisper_file(&self.part.path) {
            self.part.remove();
            return Err("the file is not a Whisper model in GGML form; it was deleted".to_owned());
        }
        let trouble = |error: io::Error| disk_trouble(&error, None);
        self.part.file.sync_all().map_err(trouble)?;
        fs::rename(&self.part.path, target).map_err(trouble)?;
        if let Some(folder) = target.parent().and_then(|folder| File::open(folder).ok()) {
            // Not every file system can do this for a folder, and the file itself is safe already.
            let _ = folder.sync_all();
        }
        match &self.sha256 {
            Some(sha256) if self.order.sha256.is_none() => note_sha256(target, sha256).map_err(trouble),
            _ => Ok(()),
        }
    }
}

/// The file of bytes that have come so far, and their hash.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    hasher: Sha256,
    /// Whether it is made of more than one answer.
    is_resumed: bool,
}

impl Part {
    /// Opens the part file, hashing what an earlier pull left in it.
    fn open(path: PathBuf, progress: &mut dyn FnMut(Progress)) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let total = file.metadata()?.len();
        let mut hasher = Sha256::new();
        let mut done = 0;
        let length = hash_into(&mut hasher, &mut file, &mut |bytes| {
            done += bytes;
            progress(Progress::Checking { done, total });
        })?;
        Ok(Self { path, file, length, hasher, is_resumed: length > 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // After an error this part is used no more; the next pull hashes anew what is there.
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Sha256::new();
        self.length = 0;
        self.is_resumed = false;
        Ok(())
    }

    /// Nothing is left of a pull that brought nothing.
    fn remove_if_empty(&self) {
        if self.length == 0 && self.path.exists() {
            self.remove();
        }
    }

    /// A part that cannot be removed is found wrong again by the next pull.
    fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "an unusable part of a model could not be removed");
        }
    }
}

/// What to say of a disk that does not play along; `missing` is how many bytes are still to come.
fn disk_trouble(error: &io::Error, missing: Option<u64>) -> String {
    const REMEDY: &str = "DIARIST_MODELS_DIR names another folder";
    match (error.kind(), missing) {
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, Some(missing)) => {
            format!("the disk is full, {missing} bytes are still to come; make room, or {REMEDY}")
        }
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, None) => {
            format!("the disk is full; make room, or {REMEDY}")
        }
        (io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem, _) => {
            format!("the folder of models cannot be written to ({error}); {REMEDY}")
        }
        _ => format!("the folder of models cannot be used ({error}); {REMEDY}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_called_by_its_name() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(
            disk_trouble(&full, Some(7)),
            "the disk is full, 7 bytes are still to come; make room, or DIARIST_MODELS_DIR names another folder"
        );
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(disk_trouble(&denied, None).contains("cannot be written to"));
    }

    #[test]
    fn a_part_that_goes_on_has_the_hash_of_the_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x.part");
        let open = || Part::open(path.clone(), &mut |_| {}).expect("opened");
        open().append(b"a").expect("written");
        let mut part = open();
        assert!(part.is_resumed);
        part.append(b"bc").expect("written");
        assert_eq!(part.length, 3);
        assert_eq!(hex(part.hasher.clone()), hex(Sha256::new_with_prefix(b"abc")));
        part.restart().expect("emptied");
        part.append(b"abc").expect("written");
        assert_eq!(fs::read(&path).expect("readable"), b"abc");
    }

    /// `/dev/full` takes no byte, as a full disk does.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_that_takes_nothing_ends_in_an_error() {
        let file = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let mut part =
            Part { path: "/dev/full".into(), file, length: 0, hasher: Sha256::new(), is_resumed: false };
        assert!(part.append(&[0; 10]).is_err());
        assert_eq!(part.length, 0);
    }
}
