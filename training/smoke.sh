#!/bin/sh
# All steps of README.md in small: a few minutes on one core. Fails if a step fails or whisper.cpp refuses the file.
set -e
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_NUM_THREADS=1
python -m diarist_micro.make_speech "$folder/speech" --shards 1 --size 60 --sound-minutes 1
python -m diarist_micro.train "$folder/speech" "$folder/run" --minutes 5 --steps 20 --frames 2400
for type in f16 q8_0; do
    python -m diarist_micro.export "$folder/run/checkpoint.pt" "$folder/model-$type.bin" --type $type
    python -m diarist_micro.evaluate "$folder/model-$type.bin" --card "$folder/card.md" --checkpoint "$folder/run/checkpoint.pt" \
        --sentences 4 --ways greedy --sound-seconds 5 --long-seconds 10
    test -s "$folder/card.md"
done
echo "smoke test passed"
