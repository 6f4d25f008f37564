#!/bin/sh
# All steps of README.md in small: a few minutes on one core. Fails if a step fails or whisper.cpp refuses the file.
set -e
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_NUM_THREADS=1
for languages in english multilingual; do
    if [ $languages = multilingual ] && [ ! -e ../models/diarist-micro-multi-q8_0.bin ]; then
        echo "no multilingual vocabulary: README.md says how to get one"
        continue
    fi
    speech=$folder/$languages run=$folder/run-$languages
    python -m diarist_micro.make_speech "$speech" --shards 1 --size 60 --sound-minutes 1 --languages $languages
    python -m diarist_micro.train "$speech" "$run" --minutes 5 --steps 20 --frames 2400 --languages $languages
    for type in f16 q8_0; do
        model=$folder/$languages-$type.bin card=$folder/$languages-$type.md
        python -m diarist_micro.export "$run/checkpoint.pt" "$model" --type $type
        python -m diarist_micro.evaluate "$model" --card "$card" --checkpoint "$run/checkpoint.pt" \
            --sentences 4 --voices 1 --ways greedy --sound-seconds 5 --long-seconds 10
        test -s "$card"
    done
done
echo "smoke test passed"
