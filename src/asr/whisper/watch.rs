//! What is seen and decided while whisper.cpp runs: cancel, temperatures, no-speech probability.
//!
//! One `Watch` lives on the stack of one `whisper_full_with_state` call; the callbacks get its address.
//! Nothing is boxed, so nothing can leak or outlive the call.

use std::ffi::{c_int, c_void};

use whisper_rs::whisper_rs_sys as sys;

use super::WhisperModel;
use super::encoder::hook::Failure;
use crate::cancel::CancelToken;

/// State of the callbacks during one call, which decodes one window.
pub struct Watch<'a> {
    /// Temperatures tried.
    pub attempts: u32,
    /// Probability of `<|nospeech|>` right after `<|startoftranscript|>`, in [0, 1].
    pub no_speech_prob: f32,
    /// Encoder and decoder graphs that have run.
    pub graphs: usize,
    model: &'a WhisperModel,
    state: *mut sys::whisper_state,
    failure: &'a Failure,
    cancel: &'a CancelToken,
}

impl<'a> Watch<'a> {
    pub fn new(
        model: &'a WhisperModel,
        state: *mut sys::whisper_state,
        failure: &'a Failure,
        cancel: &'a CancelToken,
    ) -> Self {
        Self { attempts: 0, no_speech_prob: 0.0, graphs: 0, model, state, failure, cancel }
    }

    /// Puts the callbacks into `params`. `self` must stay where it is until the call has returned.
    pub fn install(&mut self, params: &mut sys::whisper_full_params) {
        let this: *mut c_void = std::ptr::from_mut(self).cast();
        params.abort_callback = Some(on_graph_done);
        params.abort_callback_user_data = this;
        params.logits_filter_callback = Some(on_logits);
        params.logits_filter_callback_user_data = this;
    }

    /// After each encoder or decoder graph. Right after the encoder's, `<|startoftranscript|>` alone is
    /// decoded to learn the probability of no speech (Radford et al. 2022, section 4.5): one token's work.
    /// whisper.cpp itself reads that number from the first row of logits, which it computes only for prompts of
    /// one token; for longer ones it finds there what this has left, at the first temperature. It clears the
    /// cache before it decodes its own prompt, so nothing else remains.
    fn graph_done(&mut self) -> bool {
        self.graphs += 1;
        let cancelled = self.cancel.is_cancelled() || self.failure.is_set();
        if self.graphs == 1 && !cancelled {
            self.no_speech_prob = no_speech_probability(self.model, self.state);
        }
        cancelled
    }
}

fn no_speech_probability(model: &WhisperModel, state: *mut sys::whisper_state) -> f32 {
    let context = model.as_ptr();
    // SAFETY: the encoder has run on this state; the logits hold one row of n_vocab values.
    let logits = unsafe {
        let start = sys::whisper_token_sot(context);
        if sys::whisper_decode_with_state(context, state, &start, 1, 0, model.threads) != 0 {
            return 0.0;
        }
        let row = sys::whisper_get_logits_from_state(state);
        if row.is_null() {
            return 0.0;
        }
        std::slice::from_raw_parts(row, sys::whisper_model_n_vocab(context) as usize)
    };
    // SAFETY: reads a constant of the model.
    let no_speech = unsafe { sys::whisper_token_nosp(context) } as usize;
    softmax_at(logits, no_speech)
}

/// Softmax of `logits` at `index`; 0 where there is no such entry.
fn softmax_at(logits: &[f32], index: usize) -> f32 {
    let Some(&wanted) = logits.get(index) else { return 0.0 };
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
    (f64::from(wanted - max).exp() / sum) as f32
}

unsafe extern "C" fn on_graph_done(watch: *mut c_void) -> bool {
    // SAFETY: `install` passed a live Watch; the engine calls this on the calling thread only.
    unsafe { (*watch.cast::<Watch>()).graph_done() }
}

/// Called for every step of every decoder, for later steps from several threads at once; only the first
/// step of an attempt, which is on the calling thread, touches the watch.
unsafe extern "C" fn on_logits(
    _: *mut sys::whisper_context,
    _: *mut sys::whisper_state,
    _: *const sys::whisper_token_data,
    tokens: c_int,
    _: *mut f32,
    watch: *mut c_void,
) {
    if tokens == 0 {
        // SAFETY: as above.
        unsafe { (*watch.cast::<Watch>()).attempts += 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_of_equal_logits_is_uniform() {
        assert!((softmax_at(&[3.0; 8], 5) - 0.125).abs() < 1e-6);
        assert_eq!(softmax_at(&[1.0], 4), 0.0);
    }

    #[test]
    fn softmax_survives_suppressed_logits() {
        assert_eq!(softmax_at(&[f32::NEG_INFINITY, 0.0], 1), 1.0);
    }
}
