#!/bin/sh
# Trains with one single-threaded process per core: train.sh PROCESSES SPEECH RUN [options of diarist_micro.train]
# The processes share their gradients. A second start of the same command continues from the last checkpoint.
processes=$1
shift
export OMP_NUM_THREADS=1 WORLD_SIZE="$processes" MASTER_ADDR=127.0.0.1 MASTER_PORT="${MASTER_PORT:-29511}"
trap 'kill $others $first 2>/dev/null' TERM INT
for rank in $(seq 1 $((processes - 1))); do
    RANK=$rank nice -n 19 python -m diarist_micro.train "$@" >/dev/null &
    others="$others $!"
done
RANK=0 nice -n 19 python -m diarist_micro.train "$@" &
first=$!
wait $first
wait
