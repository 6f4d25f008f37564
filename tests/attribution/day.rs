//! A day of conversation: one set of speakers, in bounded memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use diarist::diarization::attribution::Attribution;

use crate::conversation::{Chance, Conversation, method, options};

/// The system's allocator, which counts what each thread holds and has held at most: tests run side by side.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    MOST.set(MOST.get().max(HELD.get()));
}

// SAFETY: all is handed to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as for `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as for `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[test]
fn a_day_of_twelve_voices_has_twelve_speakers_and_takes_64_mib_at_most() {
    const STEP: u64 = 40_000;
    let mut chance = Chance(12);
    let day = Conversation::of(12, 24 * 3_600, &mut chance);
    let before = HELD.get();
    MOST.set(before);
    let mut attribution = Attribution::new(method());
    for window in day.windows(STEP, &mut chance) {
        attribution.push(&window);
    }
    let kept = HELD.get() - before;
    let begun = Instant::now();
    let found = attribution.finish(day.grid(STEP), &options(STEP));
    let (took, most) = (begun.elapsed(), MOST.get() - before);
    let error = day.error(&found);
    println!(
        "24 h, {} windows: {} turns of {} speakers, {:.2} % wrong, decided in {took:.1?}; {} MiB kept, {} MiB at most",
        day.grid(STEP).windows(),
        found.turns.len(),
        found.voices.len(),
        100.0 * error,
        kept >> 20,
        most >> 20,
    );
    assert_eq!(found.voices.len(), 12);
    assert!(error < 0.02, "{error}");
    assert!(most < 64 << 20, "{most} bytes");
}
