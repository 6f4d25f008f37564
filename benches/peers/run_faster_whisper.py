"""faster-whisper as its users run it for long recordings: batched, int8, greedy.

    python run_faster_whisper.py MODEL_DIR RECORDING THREADS

Writes the text. Speech is searched for and packed into windows by faster-whisper itself.
"""

import sys

from faster_whisper import BatchedInferencePipeline, WhisperModel

folder, recording, threads = sys.argv[1:]
model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=int(threads))
# No list of suppressed tokens: whisper.cpp and Diarist have none by default either.
segments, _ = BatchedInferencePipeline(model).transcribe(recording, language="en", beam_size=1, batch_size=8, suppress_tokens=[])
print(*(segment.text.strip() for segment in segments))
