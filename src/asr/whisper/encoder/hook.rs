//! How whisper.cpp is given another encoder.
//!
//! whisper.cpp can leave its encoder to OpenVINO: built with `WHISPER_USE_OPENVINO` it calls three
//! functions that its own OpenVINO file would define. That file is not compiled here; the functions below
//! stand in its place (`whisper-openvino-encoder.h`). States without an encoder of ours run ggml's.

use std::ffi::{c_char, c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use whisper_rs::whisper_rs_sys as sys;

use super::Encoder;

/// What one state of whisper.cpp holds: its encoder, and where its failure is told.
struct Hook {
    encoder: Arc<Encoder>,
    failure: Failure,
}

/// The sentence of a failed run, taken by who started it: whisper.cpp passes no errors on.
#[derive(Clone, Default)]
pub struct Failure(Arc<Mutex<Option<String>>>);

impl Failure {
    /// The failure since the last call, if there was one.
    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the encoder has failed and nobody has taken note.
    pub fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn set(&self, reason: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

/// Makes `state` use `encoder` from now on.
///
/// # Errors
/// When this build of whisper.cpp does not take other encoders.
///
/// # Safety
/// `state` must belong to `context` and be used by nobody else, and compute on the processor.
pub unsafe fn install(
    context: *mut sys::whisper_context,
    state: *mut sys::whisper_state,
    encoder: &Arc<Encoder>,
) -> Result<Failure, String> {
    let failure = Failure::default();
    let hook = Box::new(Hook { encoder: Arc::clone(encoder), failure: failure.clone() });
    let hook = Box::into_raw(hook);
    // The three names must reach the linker before whisper.cpp's library asks for them.
    std::hint::black_box([
        whisper_openvino_init as *const () as usize,
        whisper_openvino_encode as *const () as usize,
        whisper_openvino_free as *const () as usize,
    ]);
    // SAFETY: whisper.cpp hands the third text, the name of a device, to `whisper_openvino_init` unread; it
    // carries the address of the hook, which then belongs to the state.
    let code = unsafe {
        sys::whisper_ctx_init_openvino_encoder_with_state(
            context,
            state,
            c"".as_ptr(),
            hook.cast::<c_char>(),
            c"".as_ptr(),
        )
    };
    if code != 0 {
        // SAFETY: whisper.cpp has not taken it.
        drop(unsafe { Box::from_raw(hook) });
        return Err("whisper.cpp was built without WHISPER_USE_OPENVINO".into());
    }
    Ok(failure)
}

#[unsafe(no_mangle)]
extern "C" fn whisper_openvino_init(
    _model: *const c_char,
    hook: *const c_char,
    _cache: *const c_char,
) -> *mut c_void {
    hook.cast_mut().cast()
}

/// # Safety
/// `hook` must come from `install` and not be used any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn whisper_openvino_free(hook: *mut c_void) {
    // SAFETY: made by `Box::into_raw` in `install`, freed once, with its state.
    drop(unsafe { Box::from_raw(hook.cast::<Hook>()) });
}

/// Reads the spectrogram `mel` (bands × frames) and fills `out` (positions × width), half as many positions
/// as there are frames.
///
/// # Safety
/// `hook` must come from `install`; the tensors must be `f32`, contiguous and in main memory.
#[unsafe(no_mangle)]
unsafe extern "C" fn whisper_openvino_encode(
    hook: *mut c_void,
    mel: *const sys::ggml_tensor,
    out: *mut sys::ggml_tensor,
) -> c_int {
    // SAFETY: whisper.cpp calls this from the state's only user, between `install` and `free`; ggml lays
    // out new tensors without gaps, innermost dimension first.
    let (hook, mel, out) = unsafe {
        let (mel, out) = (&*mel, &*out);
        let count = |tensor: &sys::ggml_tensor| (tensor.ne[0] * tensor.ne[1]).max(0) as usize;
        (
            &*hook.cast::<Hook>(),
            std::slice::from_raw_parts(mel.data.cast::<f32>(), count(mel)),
            std::slice::from_raw_parts_mut(out.data.cast::<f32>(), count(out)),
        )
    };
    match hook.encoder.encode(mel, out) {
        Ok(()) => 1,
        Err(reason) => {
            hook.failure.set(reason);
            0
        }
    }
}
