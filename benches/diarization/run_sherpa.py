"""Diarizes recordings with sherpa-onnx on one thread and prints what it took.

    python run_sherpa.py MODELS RECORDINGS OUT [--threshold 0.5]

MODELS is made by sherpa_models.py. Writes OUT/NAME.rttm for each recording and prints one line of JSON: `audio_s` and
`cpu_s`, processor time of diarization alone. Settings other than the threshold are its own.
"""

import argparse
import json
import time
from pathlib import Path

import sherpa_onnx as sherpa
import soundfile


def engine(models, threshold):
    pyannote = sherpa.OfflineSpeakerSegmentationPyannoteModelConfig(model=str(models / "segmentation.onnx"))
    config = sherpa.OfflineSpeakerDiarizationConfig(
        segmentation=sherpa.OfflineSpeakerSegmentationModelConfig(pyannote=pyannote, num_threads=1),
        embedding=sherpa.SpeakerEmbeddingExtractorConfig(model=str(models / "encoder.onnx"), num_threads=1),
        clustering=sherpa.FastClusteringConfig(num_clusters=-1, threshold=threshold),
        min_duration_on=0.3,
        min_duration_off=0.5,
    )
    assert config.validate(), "sherpa-onnx does not take these models"
    return sherpa.OfflineSpeakerDiarization(config)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("models", "recordings", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--threshold", type=float, default=0.5)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    diarizer, audio_s, cpu_s = engine(options.models, options.threshold), 0.0, 0.0
    for path in sorted(options.recordings.glob("*.flac")):
        if not path.with_suffix(".rttm").exists():
            continue
        samples, rate = soundfile.read(path, dtype="float32")
        before = time.process_time()
        turns = diarizer.process(samples).sort_by_start_time()
        cpu_s += time.process_time() - before
        audio_s += len(samples) / rate
        line = "SPEAKER {} 1 {:.3f} {:.3f} <NA> <NA> speaker{} <NA> <NA>\n"
        text = "".join(line.format(path.stem, turn.start, turn.end - turn.start, turn.speaker) for turn in turns)
        (options.out / path.with_suffix(".rttm").name).write_text(text)
    print(json.dumps({"audio_s": round(audio_s, 3), "cpu_s": round(cpu_s, 3)}))


if __name__ == "__main__":
    main()
