//! Sound through an `ffmpeg` program, for what the built-in decoders cannot open.
//!
//! The program sees one file and nothing else: playlists and other formats that name further files or
//! addresses are not on its list. It is stopped when the request ends, a limit is reached, or it hangs.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::time::SAMPLE_RATE;

use super::intake::Intake;
use super::{AudioBlock, AudioError, FFMPEG_RATE};

/// Containers that ffmpeg may open: those that hold their own sound.
const FORMATS: &str = "aac,ac3,eac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,dtshd,flac,flv,\
    matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,ogg,rm,tak,truehd,tta,voc,w64,wav,wv,xwma";

/// Resampling in ffmpeg, with a filter as sharp as the built-in one instead of the default that aliases.
const FILTER: &str = "filter_size=256:cutoff=0.985";

/// What is asked of it, in Hz and channels: what the spool takes, or what a sink is given.
const FOR_SPOOL: (u32, usize) = (SAMPLE_RATE, 1);
const FOR_SINK: (u32, usize) = (FFMPEG_RATE, 2);

/// Bytes of one block: one second of 16 kHz mono `f32`.
const BLOCK_BYTES: usize = 64_000;

/// Bytes kept of what ffmpeg says about a failure.
const MAX_MESSAGE_BYTES: usize = 2_000;

/// How often a request's end is looked for while nothing arrives.
const POLL: Duration = Duration::from_millis(100);

/// Longest silence of the program before it counts as hung.
const STALL: Duration = Duration::from_secs(120);

/// Why ffmpeg gave nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It ran and could not decode, or could not be run; its own words.
    Refused(String),
    /// A limit, the request's end, or the disk's.
    Stopped(AudioError),
}

impl From<AudioError> for Failure {
    fn from(error: AudioError) -> Self {
        Self::Stopped(error)
    }
}

/// Decodes the first audio track of `file` into `intake`. Gives ffmpeg's complaint when it could not decode
/// all of it.
///
/// # Errors
/// When nothing came out, or `intake` stopped it.
pub(super) fn decode(program: &Path, file: &Path, intake: &mut Intake) -> Result<Option<String>, Failure> {
    let shape = if intake.has_sink() { FOR_SINK } else { FOR_SPOOL };
    let mut running = Running::start(program, file, shape)
        .map_err(|error| Failure::Refused(format!("{} could not be run: {error}", program.display())))?;
    let mut carry = Vec::new();
    let mut last_news = Instant::now();
    loop {
        intake.check_cancelled()?;
        match running.blocks.recv_timeout(POLL) {
            Ok(block) => {
                last_news = Instant::now();
                carry.extend_from_slice(&block);
                match shape {
                    FOR_SPOOL => intake.push_resampled(&take_samples(&mut carry, 1)),
                    (sample_rate, channels) => {
                        let samples = take_samples(&mut carry, channels);
                        intake.push(&AudioBlock { sample_rate, channels: planar(&samples, channels) })
                    }
                }?;
            }
            Err(RecvTimeoutError::Timeout) if last_news.elapsed() > STALL => {
                return Err(Failure::Refused("it gave no sound for two minutes".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let (succeeded, message) = running.end();
    if intake.is_untouched() {
        let message = if message.is_empty() { "it found no sound".to_owned() } else { message };
        return Err(Failure::Refused(message));
    }
    Ok((!succeeded || !message.is_empty()).then_some(message))
}

/// The samples of all whole frames in `carry`; the bytes left over stay in it.
fn take_samples(carry: &mut Vec<u8>, channels: usize) -> Vec<f32> {
    let frame = channels * size_of::<f32>();
    let whole = carry.len() / frame * frame;
    carry
        .drain(..whole)
        .as_slice()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect()
}

fn planar(interleaved: &[f32], channels: usize) -> Vec<Vec<f32>> {
    let channel = |channel| interleaved.iter().skip(channel).step_by(channels).copied().collect();
    (0..channels).map(channel).collect()
}

/// A running program with its two pipes being emptied; stopped when dropped.
struct Running {
    child: Child,
    blocks: Receiver<Vec<u8>>,
    message: Option<JoinHandle<String>>,
}

impl Running {
    fn start(program: &Path, file: &Path, (rate, channels): (u32, usize)) -> io::Result<Self> {
        let file = std::path::absolute(file)?;
        // The protocol prefix keeps a name with a colon or a dash from being read as anything else.
        let mut input = std::ffi::OsString::from("file:");
        input.push(file);
        let mut command = Command::new(program);
        command.env_clear();
        for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .args(["-nostdin", "-hide_banner", "-v", "error"])
            .args(["-protocol_whitelist", "file", "-format_whitelist", FORMATS])
            .arg("-i")
            .arg(input)
            .args(["-map", "0:a:0", "-af", &format!("aresample={rate}:{FILTER}")])
            .args(["-ac", &channels.to_string(), "-f", "f32le", "pipe:1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (sender, blocks) = sync_channel(2);
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || forward(stdout, &sender));
        }
        let message = child.stderr.take().map(|stderr| thread::spawn(move || collect_message(stderr)));
        Ok(Self { child, blocks, message })
    }

    /// Waits for the program, whose output has ended; whether it succeeded, and what it said.
    fn end(&mut self) -> (bool, String) {
        let succeeded = self.child.wait().is_ok_and(|status| status.success());
        let message = self.message.take().and_then(|thread| thread.join().ok());
        (succeeded, message.unwrap_or_default())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the program has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends the program's output on until it ends or nobody listens.
fn forward(mut stdout: ChildStdout, blocks: &SyncSender<Vec<u8>>) {
    let mut block = vec![0; BLOCK_BYTES];
    while let Ok(count) = stdout.read(&mut block) {
        if count == 0 || blocks.send(block[..count].to_vec()).is_err() {
            return;
        }
    }
}

/// Reads all of the program's complaints and keeps the first of them, without the file's path.
fn collect_message(mut stderr: impl Read) -> String {
    let mut kept = Vec::new();
    let _ = stderr.by_ref().take(MAX_MESSAGE_BYTES as u64).read_to_end(&mut kept);
    // The pipe must be emptied, or the program would wait for room in it.
    let _ = io::copy(&mut stderr, &mut io::sink());
    let text = String::from_utf8_lossy(&kept);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let said = if line.starts_with("file:") { line.rsplit(": ").next().unwrap_or_default() } else { line };
    said.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_cut_between_blocks_are_joined() {
        let bytes: Vec<u8> =
            [0.5_f32, -0.25, 1.0, 0.0].iter().flat_map(|sample| sample.to_le_bytes()).collect();
        for channels in [1, 2] {
            let (mut carry, mut samples) = (Vec::new(), Vec::new());
            for piece in [&bytes[..5], &bytes[5..]] {
                carry.extend_from_slice(piece);
                samples.extend(take_samples(&mut carry, channels));
            }
            assert_eq!((samples, carry), (vec![0.5, -0.25, 1.0, 0.0], vec![]));
        }
    }

    #[test]
    fn channels_are_told_apart() {
        assert_eq!(planar(&[0.1, 0.2, 0.3, 0.4], 2), [[0.1, 0.3], [0.2, 0.4]]);
        assert_eq!(planar(&[0.1, 0.2], 1), [[0.1, 0.2]]);
    }

    #[test]
    fn the_message_leaves_the_path_out() {
        let said =
            "[mov] moov atom not found\nfile:/tmp/x/upload: Invalid data found when processing input\n";
        assert_eq!(collect_message(said.as_bytes()), "Invalid data found when processing input");
    }
}
