//! whisper.cpp through the raw bindings of whisper-rs.
//!
//! The safe layer of whisper-rs 0.16 leaks every prompt, language and closure given to it and casts its
//! abort closure to the wrong type, so this room drives `whisper_full_with_state` itself: one context
//! (weights, read-only) per model, one state per worker, callbacks that point at a struct on the stack
//! (`watch`). Only this file and its children name the engine.

mod encoder;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod header;
mod results;
mod watch;
mod window;

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{Arc, Once};

use whisper_rs::whisper_rs_sys as sys;

use super::{AsrError, ChunkTranscript, DecodingOptions, Transcriber, TranscriberSpec};
use crate::cancel::CancelToken;
use crate::runtime::cpu;
use crate::time::SAMPLE_RATE;
use crate::transcript::Task;
use encoder::hook::{self, Failure};
use encoder::{Dimensions, Encoder, Precision};
use results::Part;
use watch::Watch;
use window::Window;

/// Whisper's window: 30 s at 16 kHz.
const WINDOW: usize = 30 * SAMPLE_RATE as usize;

/// Longest prompt text that is tokenized, in bytes. The model keeps at most 223 tokens; whisper.cpp's
/// tokenizer recurses over long words, so hostile prompts are cut before they reach it.
const MAX_PROMPT_BYTES: usize = 4096;

/// Samples per frame of the spectrogram (10 ms).
const FRAME: usize = SAMPLE_RATE as usize / 100;

/// A rest of the chunk shorter than this (0.2 s) is not decoded by itself; the alignment needs 15 frames.
const MIN_FRAMES: usize = 20;

/// Most windows decoded in one chunk. A model that asks again and again to be heard from a little later is
/// lost; a chunk has seldom more than two.
const MAX_WINDOWS: usize = 10;

/// Encoder positions beyond the sound (1 s): silence that tells the model where the chunk ends.
const CONTEXT_MARGIN: usize = 50;

/// Encoder positions come in steps of this many, so that few sizes occur.
const CONTEXT_STEP: usize = 64;

/// Workspace of the alignment: 448 tokens, 1500 positions, 20 heads, a few copies. Only what is used is
/// touched.
const ALIGNMENT_BYTES: usize = 256 << 20;

/// Most decoders that whisper.cpp keeps per state (`WHISPER_MAX_DECODERS`).
pub const MAX_DECODERS: u8 = 8;

/// Narrowest encoder for which 8 bits are chosen by themselves: below, products cost less than what is around
/// them.
const LEAST_INT8_WIDTH: usize = 384;

/// First of ggml's file types that are quantized; before it are `f32` and `f16`.
const FIRST_QUANTIZED_FTYPE: c_int = 2;

/// ggml's file types carry the version of the quantization in thousands (`GGML_QNT_VERSION_FACTOR`).
const FTYPE_VERSION_FACTOR: c_int = 1000;

/// What runs a model's encoder on processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EncoderEngine {
    /// ONNX Runtime, in 8 bits where the file's weights are quantized and the processor is fast at it, else in
    /// `f32`.
    #[default]
    Auto,
    /// ONNX Runtime in `f32`.
    F32,
    /// ONNX Runtime in 8 bits.
    Int8,
    /// whisper.cpp's own.
    WhisperCpp,
}

impl std::str::FromStr for EncoderEngine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "int8" => Ok(Self::Int8),
            "whisper.cpp" => Ok(Self::WhisperCpp),
            _ => Err(format!("`{name}` is none of auto, f32, int8, whisper.cpp")),
        }
    }
}

/// Where a model is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WhisperOptions {
    /// Whether an accelerator may be used, if the build has one.
    pub use_gpu: bool,
    /// Threads of the engine per worker.
    pub threads: usize,
    /// Whether the encoder hears just the chunk instead of 30 s, which costs in proportion; only for models
    /// that were trained so.
    pub short_context: bool,
    /// What runs the encoder; accelerators always run their own.
    pub encoder: EncoderEngine,
}

/// The weights of one model, shared by its workers.
pub struct WhisperModel {
    context: NonNull<sys::whisper_context>,
    /// `None` where whisper.cpp's own encoder runs.
    encoder: Option<Arc<Encoder>>,
    multilingual: bool,
    threads: c_int,
    short_context: bool,
    bytes: u64,
}

// SAFETY: after loading, whisper.cpp only reads the context; everything mutable lives in the states
// (whisper.h, "thread safety": one state per thread).
unsafe impl Send for WhisperModel {}
// SAFETY: as above.
unsafe impl Sync for WhisperModel {}

impl WhisperModel {
    /// Reads a GGML file.
    ///
    /// # Errors
    /// When the file is missing, not a Whisper model, or incomplete.
    pub fn load(path: &Path, options: WhisperOptions) -> Result<Arc<Self>, AsrError> {
        static LOGGING: Once = Once::new();
        LOGGING.call_once(whisper_rs::install_logging_hooks);

        let header = header::read(path)?;
        let c_path = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| AsrError::Model("its path contains a NUL byte".into()))?;
        // SAFETY: plain data; the pointer outlives the call.
        let context = unsafe {
            let mut params = sys::whisper_context_default_params();
            params.use_gpu = options.use_gpu;
            // Flash attention keeps no attention weights, which word times are read from; on processors it
            // is no faster in this version.
            params.flash_attn = false;
            params.dtw_token_timestamps = true;
            params.dtw_aheads_preset = header.alignment_heads();
            params.dtw_n_top = header.top_layers();
            params.dtw_mem_size = ALIGNMENT_BYTES;
            sys::whisper_init_from_file_with_params_no_state(c_path.as_ptr(), params)
        };
        let context = NonNull::new(context)
            .ok_or_else(|| AsrError::Model("whisper.cpp rejected the file (incomplete or damaged)".into()))?;
        // SAFETY: the context was just created.
        let multilingual = unsafe { sys::whisper_is_multilingual(context.as_ptr()) } != 0;
        let mut model = Self {
            context,
            encoder: None,
            multilingual,
            threads: options.threads.clamp(1, 64) as c_int,
            short_context: options.short_context,
            bytes: header.file_bytes,
        };
        if let Some(precision) = model.encoder_precision(options) {
            match Encoder::load(path, model.dimensions(), precision) {
                Ok(encoder) => {
                    model.bytes += encoder.weight_bytes();
                    model.encoder = Some(encoder);
                }
                Err(reason) if options.encoder == EncoderEngine::Auto => {
                    tracing::warn!(reason, "whisper.cpp runs the encoder: ONNX Runtime cannot");
                }
                Err(reason) => return Err(AsrError::Model(format!("ONNX Runtime cannot run it: {reason}"))),
            }
        }
        Ok(Arc::new(model))
    }

    /// What ONNX Runtime computes the encoder in; `None` leaves it to whisper.cpp.
    fn encoder_precision(&self, options: WhisperOptions) -> Option<Precision> {
        match options.encoder {
            _ if options.use_gpu => None,
            EncoderEngine::WhisperCpp => None,
            EncoderEngine::F32 => Some(Precision::F32),
            EncoderEngine::Int8 => Some(Precision::Int8),
            EncoderEngine::Auto => {
                // SAFETY: reads a constant of the model.
                let ftype = unsafe { sys::whisper_model_ftype(self.as_ptr()) } % FTYPE_VERSION_FACTOR;
                let quantized = ftype >= FIRST_QUANTIZED_FTYPE;
                let wide = self.dimensions().width >= LEAST_INT8_WIDTH;
                Some(if quantized && wide && cpu::has_int8_products() {
                    Precision::Int8
                } else {
                    Precision::F32
                })
            }
        }
    }

    fn dimensions(&self) -> Dimensions {
        let size = |number: c_int| number.max(0) as usize;
        // SAFETY: reads constants of the model.
        unsafe {
            Dimensions {
                mels: size(sys::whisper_model_n_mels(self.as_ptr())),
                width: size(sys::whisper_model_n_audio_state(self.as_ptr())),
                heads: size(sys::whisper_model_n_audio_head(self.as_ptr())),
                layers: size(sys::whisper_model_n_audio_layer(self.as_ptr())),
            }
        }
    }

    /// What the model can do.
    pub fn spec(&self) -> TranscriberSpec {
        TranscriberSpec { window: WINDOW, multilingual: self.multilingual }
    }

    /// Memory of the weights, in bytes: the size of the file, and of the encoder's own copy if it has one.
    pub fn weight_bytes(&self) -> u64 {
        self.bytes
    }

    fn as_ptr(&self) -> *mut sys::whisper_context {
        self.context.as_ptr()
    }

    /// Encoder positions (20 ms each) for `frames` frames of sound; 0 is all of them.
    fn audio_context(&self, frames: usize) -> c_int {
        if !self.short_context {
            return 0;
        }
        let positions = frames / 2 + CONTEXT_MARGIN;
        positions.next_multiple_of(CONTEXT_STEP).min(WINDOW / FRAME / 2) as c_int
    }

    /// Bytes of a token's text; empty for special and timestamp tokens.
    fn token_bytes(&self, id: sys::whisper_token) -> Vec<u8> {
        // SAFETY: ids come from the model; the string belongs to the context.
        unsafe {
            if id >= sys::whisper_token_eot(self.as_ptr()) {
                return Vec::new();
            }
            let text = sys::whisper_token_to_str(self.as_ptr(), id);
            if text.is_null() { Vec::new() } else { CStr::from_ptr(text).to_bytes().to_vec() }
        }
    }

    /// The last tokens of `prompt` that fit beside the text the model may write.
    fn tokenize(&self, prompt: &str) -> Vec<sys::whisper_token> {
        let mut start = prompt.len().saturating_sub(MAX_PROMPT_BYTES);
        while !prompt.is_char_boundary(start) {
            start += 1;
        }
        let text: String = prompt[start..].chars().filter(|c| *c != '\0').collect();
        let Ok(text) = CString::new(text) else { return Vec::new() };
        let mut tokens = vec![0; MAX_PROMPT_BYTES + 1];
        // SAFETY: the buffer holds one token per byte, the most that can come out.
        let count = unsafe {
            sys::whisper_tokenize(self.as_ptr(), text.as_ptr(), tokens.as_mut_ptr(), tokens.len() as c_int)
        };
        tokens.truncate(count.max(0) as usize);
        // SAFETY: reads a constant of the model.
        let longest = (unsafe { sys::whisper_n_text_ctx(self.as_ptr()) } / 2 - 1).max(0) as usize;
        let surplus = tokens.len().saturating_sub(longest);
        tokens.split_off(surplus)
    }
}

impl Drop for WhisperModel {
    fn drop(&mut self) {
        // SAFETY: the last Arc is gone, so no state refers to the context.
        unsafe { sys::whisper_free(self.as_ptr()) }
    }
}

/// One worker's decoding state on a shared model.
pub struct WhisperTranscriber {
    // Declared before `model`: freed first.
    state: Option<State>,
    /// Whether the state's random generator has been used.
    sampled: bool,
    model: Arc<WhisperModel>,
}

/// What all windows of a chunk share.
struct ChunkRequest<'a> {
    /// Frames of sound, padding included.
    frames: usize,
    prompt: &'a [sys::whisper_token],
    options: &'a DecodingOptions,
    cancel: &'a CancelToken,
}

struct State {
    pointer: NonNull<sys::whisper_state>,
    /// What went wrong in an encoder of ours.
    failure: Failure,
}

// SAFETY: a state may move between threads; it is used by one at a time (`&mut self`).
unsafe impl Send for State {}

impl State {
    fn new(model: &WhisperModel) -> Result<Self, AsrError> {
        // SAFETY: the context is alive as long as `model`.
        let pointer = unsafe { sys::whisper_init_state(model.as_ptr()) };
        let pointer =
            NonNull::new(pointer).ok_or_else(|| AsrError::Engine("no memory for a decoding state".into()))?;
        let mut state = Self { pointer, failure: Failure::default() };
        if let Some(encoder) = &model.encoder {
            // SAFETY: the state is new, and models with an encoder of ours are on the processor.
            let installed = unsafe { hook::install(model.as_ptr(), pointer.as_ptr(), encoder) };
            state.failure = installed.map_err(AsrError::Engine)?;
        }
        Ok(state)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: created by whisper_init_state and freed only here.
        unsafe { sys::whisper_free_state(self.pointer.as_ptr()) }
    }
}

impl WhisperTranscriber {
    /// A worker for `model`.
    ///
    /// # Errors
    /// When memory for its buffers cannot be had.
    pub fn new(model: Arc<WhisperModel>) -> Result<Self, AsrError> {
        let mut worker = Self { state: None, sampled: false, model };
        worker.state()?;
        Ok(worker)
    }

    fn state(&mut self) -> Result<&State, AsrError> {
        if self.state.is_none() {
            self.state = Some(State::new(&self.model)?);
        }
        Ok(self.state.as_ref().expect("just created"))
    }

    /// Decodes from frame `seek` to the end of the chunk; `samples` are given at the first call only.
    fn decode_window(
        &mut self,
        samples: &[f32],
        seek: usize,
        request: &ChunkRequest<'_>,
    ) -> Result<Window, AsrError> {
        let ChunkRequest { prompt, options, cancel, .. } = *request;
        if cancel.is_cancelled() {
            return Err(AsrError::Cancelled);
        }
        let state = self.state()?;
        let (state, failure) = (state.pointer.as_ptr(), state.failure.clone());
        let model = Arc::clone(&self.model);
        let language = CString::new(options.language.code()).expect("language codes hold no NUL");
        let mut watch = Watch::new(&model, state, &failure, cancel);
        let mut params = full_params(options, model.threads);
        params.offset_ms = (seek * 10) as c_int;
        params.audio_ctx = model.audio_context(request.frames - seek);
        params.language = language.as_ptr();
        params.prompt_tokens = prompt.as_ptr();
        params.prompt_n_tokens = prompt.len() as c_int;
        watch.install(&mut params);
        // SAFETY: every pointer in `params` (language, prompt, watch) outlives the call; the state belongs
        // to this worker alone.
        let code = unsafe { full(&model, state, params, samples) };
        self.sampled |= options.beam_size > 1 || watch.attempts > 1 || options.temperature > 0.0;
        if code != 0 {
            self.discard_state(code);
        }
        if cancel.is_cancelled() {
            return Err(AsrError::Cancelled);
        }
        if let Some(reason) = failure.take() {
            return Err(AsrError::Engine(format!("the encoder failed: {reason}")));
        }
        if code != 0 {
            return Err(AsrError::Engine(format!("whisper.cpp ended with code {code}")));
        }
        Ok(results::read_window(&model, state, &watch, options))
    }

    /// Makes the next chunk independent of the last: sampling, and beam search too, which in whisper.cpp
    /// draws its candidates, advance the random generator of a state's first decoder, and that is seeded
    /// only when the state is made. A new state costs a few percent of a chunk.
    fn forget_randomness(&mut self) {
        if std::mem::take(&mut self.sampled) {
            self.state = None;
        }
    }

    /// Frees the state after an error of the engine.
    fn discard_state(&mut self, code: c_int) {
        if let Some(state) = self.state.take() {
            // On -7 whisper.cpp has freed the state itself.
            if code == -7 { std::mem::forget(state) } else { drop(state) }
        }
    }
}

/// `whisper_full_params` with everything that decides the result set from `options`.
fn full_params(options: &DecodingOptions, threads: c_int) -> sys::whisper_full_params {
    let strategy = if options.beam_size > 1 {
        sys::whisper_sampling_strategy_WHISPER_SAMPLING_BEAM_SEARCH
    } else {
        sys::whisper_sampling_strategy_WHISPER_SAMPLING_GREEDY
    };
    // SAFETY: returns plain data.
    let mut params = unsafe { sys::whisper_full_default_params(strategy) };
    params.n_threads = threads;
    params.no_context = true;
    params.translate = options.task == Task::Translate;
    params.print_progress = false;
    params.print_realtime = false;
    params.print_special = false;
    params.print_timestamps = false;
    // One window per call, with its tokens in one piece: `window` splits them into segments, and the seek
    // from window to window stays in our hands. The alignment of words would stop the process on the few
    // last frames that whisper.cpp's own seek can leave over.
    params.single_segment = true;
    params.temperature = options.temperature;
    params.temperature_inc = options.temperature_increment;
    params.entropy_thold = options.entropy_threshold;
    params.logprob_thold = options.logprob_threshold;
    // A window that is silence by openai/whisper's rule (no speech likely, its text unlikely) is not tried
    // at higher temperatures: what they write there is invented. whisper.cpp takes the probability from the
    // first row of logits, which its own prompt leaves alone if it has several tokens: there `watch` has put
    // those of `<|startoftranscript|>`.
    params.no_speech_thold = options.no_speech_threshold;
    params.greedy.best_of = c_int::from(options.best_of.clamp(1, MAX_DECODERS));
    params.beam_search.beam_size = c_int::from(options.beam_size.clamp(1, MAX_DECODERS));
    params
}

/// `samples`, with silence after them where they are shorter than the engine's least.
fn pad(samples: &[f32]) -> Cow<'_, [f32]> {
    let least = MIN_FRAMES * FRAME;
    if samples.len() >= least {
        return Cow::Borrowed(samples);
    }
    let mut padded = samples.to_vec();
    padded.resize(least, 0.0);
    Cow::Owned(padded)
}

/// Runs the engine on `samples`; on none, on the spectrogram it has.
///
/// # Safety
/// The pointers in `params` must be valid, and `state` must belong to `model` and be used by nobody else.
unsafe fn full(
    model: &WhisperModel,
    state: *mut sys::whisper_state,
    params: sys::whisper_full_params,
    samples: &[f32],
) -> c_int {
    // SAFETY: promised by the caller.
    unsafe {
        sys::whisper_full_with_state(model.as_ptr(), state, params, samples.as_ptr(), samples.len() as c_int)
    }
}

impl Transcriber for WhisperTranscriber {
    fn spec(&self) -> TranscriberSpec {
        self.model.spec()
    }

    fn transcribe(
        &mut self,
        samples: &[f32],
        options: &DecodingOptions,
        cancel: &CancelToken,
    ) -> Result<ChunkTranscript, AsrError> {
        self.forget_randomness();
        let model = Arc::clone(&self.model);
        let prompt = model.tokenize(&options.prompt);
        let mut chunk = ChunkTranscript { segments: Vec::new(), prompt_tokens: prompt.len() };
        let padded = pad(&samples[..samples.len().min(WINDOW)]);
        let frames = padded.len() / FRAME;
        let request = ChunkRequest { frames, prompt: &prompt, options, cancel };
        let mut seek = 0;
        // The spectrogram of the first call serves the later ones.
        let mut unheard: &[f32] = &padded;
        for _ in 0..MAX_WINDOWS {
            if seek > 0 && seek + MIN_FRAMES > frames {
                break;
            }
            let window = self.decode_window(unheard, seek, &request)?;
            unheard = &[];
            let part = Part { seek, end: frames, options };
            chunk.segments.extend(results::segments(&model, &window, &part));
            seek += window.advance(frames.saturating_sub(seek));
        }
        Ok(chunk)
    }

    fn language_probabilities(
        &mut self,
        samples: &[f32],
        cancel: &CancelToken,
    ) -> Result<Vec<f32>, AsrError> {
        if cancel.is_cancelled() {
            return Err(AsrError::Cancelled);
        }
        if !self.model.multilingual {
            return Ok(vec![1.0]);
        }
        let samples = &samples[..samples.len().min(WINDOW)];
        self.forget_randomness();
        if self.model.short_context {
            // It would listen to as little as the last chunk was long.
            self.state = None;
        }
        let state = self.state()?;
        let (state, failure) = (state.pointer.as_ptr(), state.failure.clone());
        let (context, threads) = (self.model.as_ptr(), self.model.threads);
        // SAFETY: the buffer holds one probability per language id; the state belongs to this worker.
        unsafe {
            let mut probabilities = vec![0.0; (sys::whisper_lang_max_id() + 1) as usize];
            let samples_len = samples.len() as c_int;
            let mel =
                sys::whisper_pcm_to_mel_with_state(context, state, samples.as_ptr(), samples_len, threads);
            if mel != 0 {
                return Err(AsrError::Engine(format!("the spectrogram failed with code {mel}")));
            }
            let best = sys::whisper_lang_auto_detect_with_state(
                context,
                state,
                0,
                threads,
                probabilities.as_mut_ptr(),
            );
            if let Some(reason) = failure.take() {
                return Err(AsrError::Engine(format!("the encoder failed: {reason}")));
            }
            if best < 0 {
                return Err(AsrError::Engine(format!("language detection failed with code {best}")));
            }
            Ok(probabilities)
        }
    }
}

/// One line about the engine and the processor features it was built for.
pub fn engine_info() -> String {
    // SAFETY: a static string of the library.
    let info = unsafe { CStr::from_ptr(sys::whisper_print_system_info()) };
    format!("whisper.cpp {} ({})", whisper_rs::WHISPER_CPP_VERSION, info.to_string_lossy().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundled_model() -> Arc<WhisperModel> {
        WhisperModel::load(&bundled_path(), WhisperOptions { threads: 1, ..WhisperOptions::default() })
            .unwrap()
    }

    fn loaded(encoder: EncoderEngine) -> WhisperTranscriber {
        let options =
            WhisperOptions { threads: 1, short_context: true, encoder, ..WhisperOptions::default() };
        WhisperTranscriber::new(WhisperModel::load(&bundled_path(), options).unwrap()).unwrap()
    }

    fn bundled_path() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/diarist-micro-en-q8_0.bin")
    }

    #[test]
    fn every_encoder_gives_nearly_the_same_numbers() {
        let options = DecodingOptions { beam_size: 1, word_times: true, ..DecodingOptions::default() };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio/vad_check.wav");
        let speech: Vec<f32> = hound::WavReader::open(path)
            .unwrap()
            .into_samples::<i16>()
            .map(|sample| f32::from(sample.unwrap()) / 32_768.0)
            .take(8 * SAMPLE_RATE as usize)
            .collect();
        let hear = |encoder| loaded(encoder).transcribe(&speech, &options, &CancelToken::new()).unwrap();
        let expected = hear(EncoderEngine::WhisperCpp);
        assert!(!expected.segments.is_empty(), "the clip holds speech");
        for (encoder, tolerance) in [(EncoderEngine::F32, 0.01), (EncoderEngine::Int8, 0.05)] {
            let heard = hear(encoder);
            let texts = |chunk: &ChunkTranscript| {
                chunk.segments.iter().map(|segment| segment.text.clone()).collect::<Vec<_>>()
            };
            assert_eq!(texts(&heard), texts(&expected), "{encoder:?}");
            for (ours, theirs) in heard.segments.iter().zip(&expected.segments) {
                let difference = (ours.avg_logprob - theirs.avg_logprob).abs();
                assert!(difference < tolerance, "{encoder:?}: {difference}");
            }
        }
    }

    #[test]
    fn a_failing_encoder_is_an_error_and_the_next_chunk_is_served() {
        let mut model = bundled_model();
        let dimensions = model.dimensions();
        let whole = model.encoder.clone();
        Arc::get_mut(&mut model).unwrap().encoder = Some(Encoder::broken(&bundled_path(), dimensions));
        let mut worker = WhisperTranscriber::new(model).unwrap();
        let result = worker.transcribe(&hum(), &DecodingOptions::default(), &CancelToken::new());
        let message = result.unwrap_err().to_string();
        assert!(message.contains("the encoder failed"), "{message}");
        worker.state = None;
        Arc::get_mut(&mut worker.model).unwrap().encoder = whole;
        worker.transcribe(&hum(), &DecodingOptions::default(), &CancelToken::new()).unwrap();
    }

    /// Two seconds of a hum: sound without words.
    fn hum() -> Vec<f32> {
        (0..32_000).map(|i| (i as f32 * 0.05).sin() * 0.3).collect()
    }

    /// Runs the engine as `transcribe` does, without its first look at the token, so that only the abort
    /// callback can stop it. Gives the engine's code and how many graphs ran.
    fn run_watched(cancel: &CancelToken) -> (c_int, usize) {
        let model = bundled_model();
        let mut worker = WhisperTranscriber::new(Arc::clone(&model)).unwrap();
        let state = worker.state().unwrap().pointer.as_ptr();
        let failure = Failure::default();
        let mut watch = Watch::new(&model, state, &failure, cancel);
        let mut params = full_params(&DecodingOptions::default(), 1);
        params.language = c"en".as_ptr();
        watch.install(&mut params);
        // SAFETY: as in `transcribe`.
        let code = unsafe { full(&model, state, params, &hum()) };
        (code, watch.graphs)
    }

    #[test]
    fn the_abort_callback_stops_the_engine_after_the_running_graph() {
        let (code, graphs) = run_watched(&CancelToken::new());
        assert_eq!(code, 0);
        assert!(graphs > 2, "{graphs} graphs: encoder and decoder must have run");

        let cancelled = CancelToken::new();
        cancelled.cancel();
        let (code, graphs) = run_watched(&cancelled);
        assert_eq!((code, graphs), (-6, 1), "the encoder's graph must be the last");
    }

    #[test]
    fn the_same_chunk_gives_the_same_result_whatever_came_before() {
        let mut worker = WhisperTranscriber::new(bundled_model()).unwrap();
        let cold = DecodingOptions::default();
        let hot = DecodingOptions { temperature: 1.0, ..DecodingOptions::default() };
        let cancel = CancelToken::new();
        let noise: Vec<f32> =
            hum().iter().zip(1u32..).map(|(s, i)| s + (i.wrapping_mul(2_654_435_761) as f32 / 4e9)).collect();
        let first = worker.transcribe(&noise, &hot, &cancel).unwrap();
        let greedy = DecodingOptions { beam_size: 1, ..DecodingOptions::default() };
        for before in [&cold, &hot, &greedy] {
            worker.transcribe(&hum(), before, &cancel).unwrap();
            assert_eq!(worker.transcribe(&noise, &hot, &cancel).unwrap(), first);
        }
    }

    #[test]
    fn a_prompt_is_cut_to_what_the_model_can_take() {
        let model = bundled_model();
        assert!(model.tokenize("").is_empty());
        let long = "a\0 é".repeat(50_000) + &"x".repeat(100_000);
        let tokens = model.tokenize(&long);
        assert!(!tokens.is_empty() && tokens.len() < 224, "{}", tokens.len());
    }

    #[test]
    fn files_that_are_no_models_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bin");
        let options = WhisperOptions { threads: 1, ..WhisperOptions::default() };
        assert!(WhisperModel::load(&path, options).is_err());
        std::fs::write(&path, b"lmgg but nothing else").unwrap();
        assert!(WhisperModel::load(&path, options).is_err());
        std::fs::write(&path, &std::fs::read(bundled_path()).unwrap()[..2_000_000]).unwrap();
        assert!(WhisperModel::load(&path, options).is_err(), "a cut-off file must not load");
    }
}
