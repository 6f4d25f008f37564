//! Vocal separation as a request has it: whether it is wanted, who does it, and the voice's own track.
//! Read next: `separating`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::audio::{AudioError, AudioOptions, AudioSource, BlockSink, Decoding, PcmSpool, SpoolWriter};
use crate::cancel::CancelToken;
use crate::models::ModelError;
use crate::models::manager::{Lease, ModelManager};
use crate::separation::{LoadedSeparator, SeparationError, SeparatorSpec, VocalSeparator};
use crate::time::{SampleIndex, TimeSpan};
use crate::transcript::{SourceCounts, VocalSeparation, Warning};

use super::PipelineError;
use super::review::Source;
use super::separating::Separating;

/// Most separated regions that an answer lists.
const MAX_LISTED: usize = 1_000;

/// When voices are separated from what plays under them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SeparationMode {
    /// Never.
    #[default]
    Off,
    /// Where music plays: separation can hurt clean speech.
    Auto,
    /// Everywhere.
    On,
}

impl SeparationMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Off, Self::Auto, Self::On];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Auto => "auto",
            Self::On => "on",
        }
    }

    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// A separator for one request; whoever lends it keeps it loaded as long as this lives.
#[derive(Clone)]
pub struct LentSeparator {
    /// The model's id.
    pub id: String,
    /// The model.
    pub separator: Arc<dyn VocalSeparator>,
}

/// Lends a separator for one request, loading it if need be. Blocking.
pub type SeparatorFactory = Box<dyn Fn() -> Result<LentSeparator, ModelError> + Send + Sync>;

/// Lends the separator called `id`, loaded once by `separators` and shared.
pub fn lent_separator(separators: Arc<ModelManager<LoadedSeparator>>, id: String) -> SeparatorFactory {
    Box::new(move || {
        let lease = separators.lease(&id)?;
        let id = lease.spec().id.clone();
        Ok(LentSeparator { id, separator: Arc::new(Leased { separator: lease.shared(), _lease: lease }) })
    })
}

/// A separator that stays loaded as long as somebody uses it.
struct Leased {
    // Declared, and so dropped, before the lease.
    separator: Arc<dyn VocalSeparator>,
    _lease: Lease<LoadedSeparator>,
}

impl VocalSeparator for Leased {
    fn spec(&self) -> SeparatorSpec {
        self.separator.spec()
    }

    fn separate(&self, mix: &[Vec<f32>], voice: &mut [Vec<f32>]) -> Result<(), SeparationError> {
        self.separator.separate(mix, voice)
    }
}

/// One request's separation, ready to run.
pub(super) struct Separation {
    pub lent: LentSeparator,
    /// Not `Off`.
    pub mode: SeparationMode,
}

impl Separation {
    /// What `mode` needs of the separators there are; nothing where it is off.
    ///
    /// # Errors
    /// `Incapable` when the model is not on this machine: the request names the field, the message the remedy.
    /// `Separation` when it cannot be used.
    pub fn lend(
        separators: Option<&SeparatorFactory>,
        mode: SeparationMode,
    ) -> Result<Option<Self>, PipelineError> {
        if mode == SeparationMode::Off {
            return Ok(None);
        }
        let none = || SeparationError::Model("none has been set up".to_owned());
        let lent = separators.ok_or_else(none)?().map_err(|error| match error {
            ModelError::NotInstalled { id } => PipelineError::Incapable {
                field: "vocal_separation",
                message: format!(
                    "the model `{id}`, which separates voices, has not been downloaded to this machine; \
                     `diarist models pull {id}` does that, or turn vocal separation off"
                ),
            },
            error @ ModelError::NoRoom { .. } => error.into(),
            error => SeparationError::Model(error.to_string()).into(),
        })?;
        Ok(Some(Self { lent, mode }))
    }
}

/// Starts to decode `source`, and beside it to separate the voice if that is wanted.
///
/// # Errors
/// As `Decoding::start`.
pub(super) fn start(
    source: &AudioSource,
    options: &AudioOptions,
    cancel: &CancelToken,
    separation: Option<Separation>,
) -> Result<(Decoding, Tracks), AudioError> {
    let writer = separation.as_ref().map(|_| SpoolWriter::create(&options.scratch)).transpose()?;
    let mut voice = None;
    let sink = |mix: &Arc<PcmSpool>| -> Option<Box<dyn BlockSink>> {
        let (separation, writer) = separation.zip(writer)?;
        let track = VoiceTrack {
            spool: writer.spool(),
            model: separation.lent.id.clone(),
            notes: Arc::new(Notes::default()),
        };
        let notes = Arc::clone(&track.notes);
        voice = Some(track);
        Some(Box::new(Separating::new(separation, Arc::clone(mix), writer, notes, cancel.clone())))
    };
    let decoding = Decoding::start_with(source.clone(), options.clone(), cancel, sink)?;
    let mix = Arc::clone(decoding.spool());
    Ok((decoding, Tracks { mix, voice }))
}

/// A recording as the stages hear it.
pub(super) struct Tracks {
    /// All of its sound.
    pub mix: Arc<PcmSpool>,
    /// The voice by itself, where that was asked for.
    pub voice: Option<VoiceTrack>,
}

impl Tracks {
    /// What voice activity and diarization listen to: the voice, else everything.
    pub fn clearest(&self) -> &Arc<PcmSpool> {
        self.of(Source::Voice)
    }

    /// What `source` stands for. Without a separate voice it is in the mix.
    pub fn of(&self, source: Source) -> &Arc<PcmSpool> {
        match (source, &self.voice) {
            (Source::Voice, Some(voice)) => &voice.spool,
            _ => &self.mix,
        }
    }

    /// Whether the two differ anywhere in `span`, of which the voice must have been read.
    pub fn differ_in(&self, span: TimeSpan) -> bool {
        self.voice.as_ref().is_some_and(|voice| voice.notes.touches(span))
    }

    /// What was separated, for the answer; nothing if nothing was. For complete recordings.
    pub fn account(&self, chunks: Option<SourceCounts>) -> Option<VocalSeparation> {
        let voice = self.voice.as_ref()?;
        let regions = voice.notes.lock().separated.clone();
        let samples: SampleIndex = regions.iter().map(TimeSpan::len).sum();
        (samples > 0).then(|| VocalSeparation { model: voice.model.clone(), samples, regions, chunks })
    }

    /// The cause of an error that decoding ended with.
    pub fn cause(&self, error: AudioError) -> PipelineError {
        let failure = self.voice.as_ref().and_then(|voice| voice.notes.lock().failure.take());
        failure.map_or_else(|| error.into(), PipelineError::from)
    }

    /// Why samples could not be read back, if that happened.
    pub fn take_failure(&self) -> Option<PipelineError> {
        let voice = || self.voice.as_ref().and_then(|voice| voice.spool.take_failure());
        self.mix.take_failure().or_else(voice).map(PipelineError::from)
    }

    /// Time that separation took, if there was any.
    pub fn took(&self) -> Option<Duration> {
        self.voice.as_ref().map(|voice| voice.notes.lock().took)
    }
}

/// Shortens the list of regions to what an answer takes, and says so.
pub(super) fn bound(separation: &mut VocalSeparation) -> Option<Warning> {
    let unlisted = separation.regions.len().saturating_sub(MAX_LISTED);
    separation.regions.truncate(MAX_LISTED);
    (unlisted > 0).then(|| {
        let message = format!("{unlisted} more regions in which the voice was separated are not listed");
        Warning::new("separation_not_listed", message)
    })
}

/// The voice by itself; where nothing was separated, the mix, sample for sample. As long as the mix in the end.
pub(super) struct VoiceTrack {
    spool: Arc<PcmSpool>,
    model: String,
    notes: Arc<Notes>,
}

/// What the stage says of itself while it runs.
#[derive(Default)]
pub(super) struct Notes(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    /// Sorted, disjoint, none adjoining; known before the samples can be read.
    separated: Vec<TimeSpan>,
    took: Duration,
    failure: Option<SeparationError>,
}

impl Notes {
    /// The voice was separated in `span`, which begins no earlier than the last one.
    pub fn add(&self, span: TimeSpan) {
        let separated = &mut self.lock().separated;
        match separated.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => separated.push(span),
        }
    }

    /// The stage was at work for so long.
    pub fn spend(&self, time: Duration) {
        self.lock().took += time;
    }

    /// Keeps an error that decoding has no words for, and gives what it ends with.
    pub fn fail(&self, error: SeparationError) -> AudioError {
        match error {
            SeparationError::Audio(error) => error,
            error => {
                self.lock().failure.get_or_insert(error);
                AudioError::Cancelled
            }
        }
    }

    fn touches(&self, span: TimeSpan) -> bool {
        let separated = &self.lock().separated;
        let first = separated.partition_point(|region| region.end <= span.start);
        separated.get(first).is_some_and(|region| region.start < span.end)
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_adjoin_are_one_and_touch_what_they_share_a_sample_with() {
        let (notes, at) = (Notes::default(), TimeSpan::new);
        for span in [at(10, 20), at(19, 30), at(30, 40), at(60, 70)] {
            notes.add(span);
        }
        assert_eq!(notes.lock().separated, [at(10, 40), at(60, 70)]);
        let touched = [at(0, 10), at(0, 11), at(39, 60), at(40, 60), at(65, 66), at(70, 90)];
        let touched = touched.map(|span| notes.touches(span));
        assert_eq!(touched, [false, true, true, false, true, false]);
    }

    #[test]
    fn modes_have_names() {
        assert_eq!(
            SeparationMode::ALL.map(|mode| SeparationMode::parse(mode.name()).unwrap()),
            SeparationMode::ALL
        );
        assert_eq!(SeparationMode::parse("sometimes"), None);
    }

    #[test]
    fn long_lists_are_cut_and_told_of() {
        let span = |index: u64| TimeSpan::new(2 * index, 2 * index + 1);
        let of = |count: usize| VocalSeparation {
            model: "m".into(),
            samples: count as u64,
            regions: (0..count as u64).map(span).collect(),
            chunks: None,
        };
        assert_eq!(bound(&mut of(MAX_LISTED)), None);
        let mut long = of(MAX_LISTED + 7);
        assert!(bound(&mut long).unwrap().message.starts_with("7 more"));
        assert_eq!((long.regions.len(), long.samples), (MAX_LISTED, MAX_LISTED as u64 + 7));
    }

    #[test]
    fn a_model_that_is_not_here_is_named_with_the_command_that_fetches_it() {
        let factory: SeparatorFactory = Box::new(|| Err(ModelError::NotInstalled { id: "big".into() }));
        assert!(Separation::lend(Some(&factory), SeparationMode::Off).unwrap().is_none());
        assert!(Separation::lend(None, SeparationMode::Off).unwrap().is_none());
        for mode in [SeparationMode::Auto, SeparationMode::On] {
            match Separation::lend(Some(&factory), mode).map(drop) {
                Err(PipelineError::Incapable { field, message }) => {
                    assert_eq!(field, "vocal_separation");
                    assert!(message.contains("`diarist models pull big`"), "{message}");
                }
                other => panic!("{other:?}"),
            }
            assert!(matches!(Separation::lend(None, mode), Err(PipelineError::Separation(_))));
        }
    }
}
