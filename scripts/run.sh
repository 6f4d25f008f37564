#!/usr/bin/env bash
# Starts the server, transcribes a first recording and stays in the foreground until Ctrl-C.
#
#   DIARIST_LISTEN   address and port (127.0.0.1:8000)
#   ONCE=1           stop after the first transcription; fails if it is not right word for word
set -euo pipefail
cd "$(dirname "$0")/.."

program=${CARGO_TARGET_DIR:-target}/release/diarist
recording=fixtures/audio/hello.flac
listen=${DIARIST_LISTEN:-127.0.0.1:8000}
port=${listen##*:}
case ${listen%:*} in
    0.0.0.0 | '[::]' | '') host=127.0.0.1 ;; # "every address" is not one that can be asked
    *) host=${listen%:*} ;;
esac
url=http://$host:$port
key=${DIARIST_API_KEYS:-}
key=${key%%,*}

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

server=
stop() {
    trap '' INT TERM
    if [ -n "$server" ] && kill -TERM "$server" 2>/dev/null; then
        wait "$server" || true
    fi
    server=
}
trap 'stop; exit 0' INT TERM
trap stop EXIT

# get PATH: succeeds on a 2xx answer.
get() {
    if command -v curl >/dev/null; then
        curl --silent --fail --noproxy '*' --max-time 5 --output /dev/null "$url$1"
    else
        python3 scripts/transcribe.py "$url$1" 2>/dev/null
    fi
}

transcribe() {
    if command -v curl >/dev/null; then
        curl --silent --show-error --fail-with-body --noproxy '*' ${key:+--header "Authorization: Bearer $key"} \
            --form file=@"$recording" --form model=whisper-1 --form response_format=text "$url/v1/audio/transcriptions"
    else
        API_KEY=$key python3 scripts/transcribe.py "$url/v1/audio/transcriptions" "$recording"
    fi
}

[ -x "$program" ] || die "$program is not there; run \`make build\` first"
if (exec 3<>"/dev/tcp/${host//[\[\]]/}/$port") 2>/dev/null; then
    die "Port $port of $host is in use: something is listening there already." \
        "Stop it, or choose another port: DIARIST_LISTEN=127.0.0.1:8001 make run"
fi

DIARIST_LISTEN=$listen "$program" serve &
server=$!

for attempt in $(seq 1 600); do
    get /health && break
    if ! kill -0 "$server" 2>/dev/null; then
        wait "$server" && code=0 || code=$?
        server=
        die "The server ended before it was ready (exit code $code); what it said is above."
    fi
    [ "$attempt" -lt 600 ] || die "The server was not ready after two minutes; what it said is above."
    sleep 0.2
done

shown_key=${key:+" -H 'Authorization: Bearer YOUR_KEY'"}
transcript=$(transcribe) || die "The first transcription failed: $transcript"
cat <<END

$recording says:

  $transcript

Diarist is ready at $url. Try it with a recording of your own:

  curl $url/v1/audio/transcriptions$shown_key -F model=whisper-1 -F file=@$recording

Any client of OpenAI's API works too: set its base URL to $url/v1.
END

if [ "${ONCE:-}" = 1 ]; then
    [ "$transcript" = "$(cat fixtures/expected/hello.txt)" ] || die "That is not what the recording says: $(cat fixtures/expected/hello.txt)"
    exit 0
fi
echo "Press Ctrl-C to stop."
echo
wait "$server" && code=0 || code=$?
server=
exit "$code"
