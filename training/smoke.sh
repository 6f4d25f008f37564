#!/bin/sh
# All steps of README.md in small: some ten minutes on one core. Fails if a step fails or whisper.cpp refuses the file.
# Training begins twice: with random weights, and with those of the shipped file. What is evaluated is the latter, since
# whisper.cpp takes minutes over the nonsense of a model that has learned nothing.
set -e
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_NUM_THREADS=1
for languages in english multilingual; do
    case $languages in
        english) shipped=../models/diarist-micro-en-q8_0.bin ;;
        multilingual) shipped=../models/diarist-micro-multi-q8_0.bin ;;
    esac
    if [ $languages = multilingual ] && [ ! -e $shipped ]; then
        echo "no multilingual vocabulary: README.md says how to get one"
        continue
    fi
    speech=$folder/$languages run=$folder/run-$languages
    python -m diarist_micro.make_speech "$speech" --shards 1 --size 60 --sound-minutes 1 --languages $languages
    python -m diarist_micro.train "$speech" "$run-random" --minutes 5 --steps 10 --frames 2400 --languages $languages
    python -m diarist_micro.export "$run-random/checkpoint.pt" "$folder/$languages-random.bin"
    python -c 'import sys; from diarist_micro.measure import Ear; Ear(sys.argv[1])' "$folder/$languages-random.bin"
    python -m diarist_micro.restore $shipped "$folder/$languages.pt"
    python -m diarist_micro.train "$speech" "$run" --minutes 5 --steps 10 --frames 2400 --languages $languages \
        --start-from "$folder/$languages.pt"
    for type in f16 q8_0; do
        model=$folder/$languages-$type.bin card=$folder/$languages-$type.md
        python -m diarist_micro.export "$run/checkpoint.pt" "$model" --type $type
        python -m diarist_micro.evaluate "$model" --card "$card" --checkpoint "$run/checkpoint.pt" \
            --sentences 4 --voices 1 --ways greedy --sound-seconds 5 --long-seconds 10
        test -s "$card"
    done
done
echo "smoke test passed"
