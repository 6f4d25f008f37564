//! Any bytes as a request: the first byte says to which route, and how much comes at a time; the first line is its content
//! type.

#![no_main]

use bytes::Bytes;
use diarist_fuzz::scratch;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
}

fuzz_target!(|data: &[u8]| {
    let Some((&pace, rest)) = data.split_first() else { return };
    let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let (content_type, body) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let chunks = body.chunks(1 + usize::from(pace >> 2).pow(2)).map(Bytes::copy_from_slice).collect();
    RUNTIME.with(|runtime| {
        runtime.block_on(diarist::api::fuzzing::form(pace & 3, content_type, chunks, &diarist::scratch::Scratch::within(scratch())));
    });
});
