//! Diarization: its scores beside pyannote.metrics', and what it makes of recordings whose truth is known.

mod vectors;
