//! The networks, loaded once and shared by all requests.
//!
//! Windows are taken in blocks: each block is segmented, then its voices are embedded, both by all threads of the team;
//! what comes out goes to `attribution` window by window, in order. Nothing is kept but what windows to come need, so
//! memory does not grow with the recording, beyond what attribution keeps.

use std::ops::Range;
use std::sync::Arc;

use super::activity::Activity;
use super::attribution::{self, Attribution, WindowNumbers};
use super::buffers::Buffers;
use super::embedding::{HeardWindow, Horizon, SpeakerEmbedder};
use super::grid::{FRAMES, Grid, WINDOW};
use super::masks::clearest_speaker;
use super::samples::{Samples, read_padded};
use super::segmentation::{SpeakerSegmenter, Window, WindowSegmenter};
use super::team::{Places, Team};
use super::{Diarization, DiarizationError, DiarizationOptions, KnownVoice, LearnedVoice, MayHoldSpeech};
use crate::audio::{AudioError, PcmSpool};
use crate::cancel::CancelToken;
use crate::time::{SampleIndex, TimeSpan};

/// Windows in a block. Threads wait for each other at its end, so it holds many tasks for each; and the same on every
/// machine, since the 8-bit encoder scales its numbers over a batch.
const BLOCK: usize = 64;

/// Windows that the segmentation network hears at once: a tenth to a fifth less time than one by one. With more of them
/// each thread would take 10 MB more for each, and a block would hold too few tasks for many threads.
pub const TOGETHER: usize = 2;

/// Shortest step of windows, in samples.
const MIN_STEP: SampleIndex = 1_600;

/// Speech by one voice alone that a reference must hold, in frames of the segmentation network: half a second. What an
/// encoder makes of less is noise.
const MIN_REFERENCE_FRAMES: usize = 30;

/// What is listened to.
pub struct Sound<'a> {
    /// The recording; may still be growing.
    pub spool: &'a PcmSpool,
    /// What voice activity found, where it looks too.
    pub speech: Option<MayHoldSpeech<'a>>,
    /// Ends the work early.
    pub cancel: &'a CancelToken,
}

/// A segmentation network and a speaker encoder, ready for any number of requests at once.
pub struct DiarizationEngine {
    segmenter: Box<dyn SpeakerSegmenter>,
    embedder: Box<dyn SpeakerEmbedder>,
    places: Arc<Places>,
}

impl DiarizationEngine {
    /// An engine of these networks. All engines that share `places` together run no more tasks at once than these
    /// allow.
    pub fn new(
        segmenter: Box<dyn SpeakerSegmenter>,
        embedder: Box<dyn SpeakerEmbedder>,
        places: Arc<Places>,
    ) -> Self {
        Self { segmenter, embedder, places }
    }

    /// Hears the clips of known voices. Blocking; works on threads of its own.
    ///
    /// # Errors
    /// `Reference` for a clip without enough speech; `Engine` when a network fails; `Cancelled`.
    pub fn learn(
        &self,
        known: &[KnownVoice],
        cancel: &CancelToken,
    ) -> Result<Vec<LearnedVoice>, DiarizationError> {
        let team = Team::new(&self.places, cancel);
        let learned = |(index, voice): (usize, &KnownVoice)| {
            let embedding = self.reference(&voice.clip, &team)?.ok_or(DiarizationError::Reference {
                index,
                reason: "holds too little speech: half a second of one voice is needed at least".to_owned(),
            })?;
            Ok(LearnedVoice { name: voice.name.clone(), embedding })
        };
        known.iter().enumerate().map(learned).collect()
    }

    /// Who spoke when in a recording, which may still be growing: what has not been decoded is waited for. Blocking;
    /// works on threads of its own. `known` voices give their names to the speakers who sound like them.
    ///
    /// # Errors
    /// `Engine` when a network fails; `Audio` when decoding fails or the request is cancelled.
    pub fn diarize(
        &self,
        sound: &Sound<'_>,
        known: &[LearnedVoice],
        options: &DiarizationOptions,
    ) -> Result<Diarization, DiarizationError> {
        let options = DiarizationOptions { step: options.step.clamp(MIN_STEP, WINDOW), ..options.clone() };
        let team = Team::new(&self.places, sound.cancel);
        let method = self.embedder.method();
        let mut attribution = Attribution::new(method.clone());
        let grid = self.listen(sound, options.step, &team, &mut |numbers| attribution.push(&numbers))?;
        let mut attributed = attribution.finish(grid, &options);
        if sound.cancel.is_cancelled() {
            return Err(AudioError::Cancelled.into());
        }
        attribution::name_voices(&mut attributed.voices, known, &method);
        let attribution::Attributed { turns, exclusive, voices } = attributed;
        Ok(Diarization { turns, exclusive, voices })
    }

    /// Runs the networks over a recording, which may still be growing, with a window every `step` samples, and hands
    /// out what they give, window by window in order. Gives the windows' grid.
    ///
    /// # Errors
    /// As `diarize`.
    pub fn listen(
        &self,
        sound: &Sound<'_>,
        step: SampleIndex,
        team: &Team<'_>,
        take: &mut dyn FnMut(WindowNumbers),
    ) -> Result<Grid, DiarizationError> {
        let segmenter = self.segmenter.open(sound.spool);
        let mut listener = self.embedder.open(sound.spool);
        let mut first = 0;
        loop {
            let block = Block::wait_for(sound.spool, step, first, self.segmenter.lookahead())?;
            let starts: Vec<SampleIndex> =
                block.windows.clone().map(|window| block.grid.start(window)).collect();
            let heard = segment((&*segmenter, sound.spool), sound.speech, &starts, team)?;
            listener.hear(heard, block.horizon(), team)?.into_iter().for_each(&mut *take);
            if block.is_last {
                return Ok(block.grid);
            }
            first = block.windows.end;
        }
    }

    /// What the voice sounds like that is heard most clearly in a clip; `None` if none is heard for long enough.
    fn reference(&self, clip: &[f32], team: &Team<'_>) -> Result<Option<Vec<f32>>, DiarizationError> {
        let samples: &dyn Samples = &clip;
        let grid = Grid { step: WINDOW, length: clip.len() as SampleIndex };
        let starts: Vec<SampleIndex> = (0..grid.windows()).map(|window| grid.start(window)).collect();
        let heard = segment((&*self.segmenter.open(samples), samples), None, &starts, team)?;
        let numbers = self.embedder.open(samples).hear(heard, Horizon::End(grid.length), team)?;
        let clearest = numbers.into_iter().filter_map(|mut window| {
            let (speaker, frames) = clearest_speaker(&window.activity)?;
            let embedding = window.embeddings.get_mut(speaker)?.take()?;
            (frames >= MIN_REFERENCE_FRAMES).then_some((frames, embedding))
        });
        Ok(clearest.max_by_key(|(frames, _)| *frames).map(|(_, embedding)| embedding.into_vec()))
    }
}

/// Who is active in the windows of a recording that begin at `starts`.
fn segment(
    (segmenter, samples): (&dyn WindowSegmenter, &dyn Samples),
    speech: Option<MayHoldSpeech<'_>>,
    starts: &[SampleIndex],
    team: &Team<'_>,
) -> Result<Vec<HeardWindow>, DiarizationError> {
    let may_hold_speech = |start: &SampleIndex| match speech {
        Some(speech) => speech(TimeSpan::new(*start, *start + WINDOW)),
        None => Ok(true),
    };
    let worth: Vec<bool> = starts.iter().map(may_hold_speech).collect::<Result<_, _>>()?;
    let wanted: Vec<SampleIndex> =
        starts.iter().zip(&worth).filter(|(_, is_worth_it)| **is_worth_it).map(|(start, _)| *start).collect();
    let tasks: Vec<&[SampleIndex]> = wanted.chunks(TOGETHER).collect();
    let buffers = Buffers::default();
    let heard = team.map(&tasks, |starts| activities(segmenter, samples, starts, &buffers))?;
    let activities = with_silence(&worth, heard.into_iter().flatten());
    Ok(starts
        .iter()
        .zip(activities)
        .map(|(start, activity)| HeardWindow { start: *start, activity })
        .collect())
}

/// Who is active in the few windows that begin at `starts`.
fn activities(
    segmenter: &dyn WindowSegmenter,
    samples: &dyn Samples,
    starts: &[SampleIndex],
    buffers: &Buffers,
) -> Result<Vec<Activity>, DiarizationError> {
    let read = |start: &SampleIndex| {
        let mut window = buffers.take(WINDOW as usize);
        read_padded(samples, *start as i64, WINDOW as usize, &mut window);
        window
    };
    let windows: Vec<_> = starts.iter().map(read).collect();
    let sounds: Vec<bool> = windows.iter().map(|window| window.iter().any(|sample| *sample != 0.0)).collect();
    let sounding: Vec<Window<'_>> = std::iter::zip(starts, &windows)
        .zip(&sounds)
        .filter(|(_, sounds)| **sounds)
        .map(|((start, samples), _)| Window { start: *start, samples })
        .collect();
    let heard = if sounding.is_empty() { Vec::new() } else { segmenter.segment(&sounding)? };
    Ok(with_silence(&sounds, heard))
}

/// What was heard in those windows of which `is_heard` is true, with silence in the others.
fn with_silence(is_heard: &[bool], heard: impl IntoIterator<Item = Activity>) -> Vec<Activity> {
    let mut heard = heard.into_iter();
    let activity = |is_heard: &bool| if *is_heard { heard.next() } else { None };
    is_heard.iter().map(activity).map(|activity| activity.unwrap_or_else(silence)).collect()
}

/// The windows from `first` on that can be heard now.
struct Block {
    /// As far as it is known.
    grid: Grid,
    windows: Range<usize>,
    is_last: bool,
}

impl Block {
    /// Waits until a block of windows is there, or the recording has ended.
    fn wait_for(
        spool: &PcmSpool,
        step: SampleIndex,
        first: usize,
        lookahead: SampleIndex,
    ) -> Result<Self, DiarizationError> {
        let end = first + BLOCK;
        let length = spool.wait_for((end - 1) as SampleIndex * step + WINDOW + lookahead)?;
        // Asked for afterwards, since the recording may have grown, and ended, in between.
        let total = spool.total();
        let grid = Grid { step, length: total.unwrap_or(length) };
        let all = total.map(|_| grid.windows());
        Ok(Self {
            grid,
            windows: first..end.min(all.unwrap_or(end)),
            is_last: all.is_some_and(|all| all <= end),
        })
    }

    fn horizon(&self) -> Horizon {
        if self.is_last {
            Horizon::End(self.grid.length)
        } else {
            Horizon::Next(self.grid.start(self.windows.end))
        }
    }
}

fn silence() -> Activity {
    Activity::of(&[0; FRAMES])
}
