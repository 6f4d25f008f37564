//! Speech regions to chunks for the recogniser. Pure.

/// How the recording is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChunkOptions {
    /// Longest chunk, in ms; the recogniser's window.
    pub max_ms: u64,
    /// A chunk is closed at the first pause after this much, in ms. `max_ms` packs as much as fits; 0
    /// gives every region a chunk of its own.
    pub target_ms: u64,
    /// Overlap of two chunks where there is no pause to cut in, in ms.
    pub overlap_ms: u64,
}

impl Default for ChunkOptions {
    fn default() -> Self {
        Self { max_ms: 30_000, target_ms: 30_000, overlap_ms: 4_000 }
    }
}

/// Turns regions into chunks as they come.
pub struct Chunker {}

impl Chunker {
    /// A chunker for one recording.
    pub fn new(_options: ChunkOptions) -> Self {
        unimplemented!()
    }

    /// Takes the next region; gives the chunks that are now complete.
    pub fn push(&mut self, _region: crate::time::SpeechRegion) -> Vec<crate::time::Chunk> {
        unimplemented!()
    }

    /// Ends the recording; gives what is still open.
    pub fn finish(self) -> Vec<crate::time::Chunk> {
        unimplemented!()
    }
}
