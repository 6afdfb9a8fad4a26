#!/usr/bin/env bash
# Launches an enclave image on this EC2 host, verifies its attestation, then injects its keys. Runs until Ctrl-C.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: nitro/run-enclave.sh EIF

Launches EIF behind gvproxy (port 443 for everybody, port 8000 on 127.0.0.1 of this host only), waits for its health,
verifies its attestation against measurements.txt, only then injects the keys of .env, and waits until the gateway is
ready. Ctrl-C ends the enclave.

The enclave's journal of payments is kept, sealed, in JOURNAL_FOLDER, so that the next enclave settles what this one left
behind. Its key is JOURNAL_KEY in .env, which is generated and added if missing. An empty JOURNAL_FOLDER= disables the
journal: payments that are unsettled when the enclave ends are then lost.

Settings, from the environment:
  ENCLAVE_CID      vsock address of the enclave, 4 or more           (4)
  ENCLAVE_CPUS     vCPUs taken from the host                         (2)
  ENCLAVE_MEMORY   MiB taken from the host                           (8192)
  PUBLIC_PORT      port of this host that is open to everybody       (443)
  HOST_PORT        port on 127.0.0.1 for key injection               (8000)
  ENV_FILE         provider keys, payee, heartbeat settings          (.env)
  MEASUREMENTS     the expected PCRs                                 (measurements.txt beside this repository)
  JOURNAL_FOLDER   directory of the sealed journal                   (enclave-journal)
  HEALTH_SECONDS   timeout for the gateway to come up                (180)
  READY_SECONDS    timeout for it to become ready                    (60)
  WATCH_SECONDS    interval of the checks on the running enclave     (10)

Exit status: 0 ended by Ctrl-C, 2 usage, 3 tool missing, 4 port taken, 5 .env, 6 launch, 7 health, 8 attestation,
9 injection.
TEXT
}

readonly USAGE=2 TOOL=3 PORT=4 ENV=5 LAUNCH=6 HEALTH=7 ATTESTATION=8 INJECTION=9
# Fixed addresses of nitriding and gvproxy.
readonly GVPROXY_VSOCK_PORT=1024 ENCLAVE_ADDRESS=192.168.127.2
# The enclave connects to its journal at 192.168.127.254:8010, which gvproxy forwards to this host's loopback.
readonly JOURNAL_PORT=8010

# Secrets come from the file only, and are not passed to the commands below.
unset OPENAI_API_KEY ANTHROPIC_API_KEY GOOGLE_API_KEY XAI_API_KEY ARK_API_KEY BYTEDANCE_API_KEY NOUS_API_KEY
unset COINGECKO_API_KEY JOURNAL_KEY UPTO_TRIAL_KEY GATEWAY_UPTO_TRIAL_KEY EVM_RPC_URL GATEWAY_RPC_URL
# All requests below go to this host, never through a proxy.
unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cid=${ENCLAVE_CID:-4}
cpus=${ENCLAVE_CPUS:-2}
memory=${ENCLAVE_MEMORY:-8192}
public_port=${PUBLIC_PORT:-443}
host_port=${HOST_PORT:-8000}
env_file=${ENV_FILE:-.env}
measurements=${MEASUREMENTS:-$root/measurements.txt}
journal=${JOURNAL_FOLDER-enclave-journal}
health_seconds=${HEALTH_SECONDS:-180}
ready_seconds=${READY_SECONDS:-60}
watch_seconds=${WATCH_SECONDS:-10}

public_url=https://127.0.0.1:$public_port
host_url=http://127.0.0.1:$host_port
scratch='' gvproxy='' sink='' enclave='' stopped=''

fail() {
    echo "run-enclave: $2" >&2
    exit "$1"
}

clean_up() {
    trap '' INT TERM
    [[ -z $enclave ]] || nitro-cli terminate-enclave --enclave-id "$enclave" >/dev/null ||
        echo "run-enclave: enclave $enclave could not be terminated" >&2
    # Suppresses bash's own messages about children that just exited.
    {
        [[ -z $gvproxy ]] || kill -KILL "$gvproxy" || true
        [[ -z $sink ]] || kill -TERM "$sink" || true
        [[ -z $scratch ]] || rm -rf "$scratch"
    } 2>/dev/null
}

check_number() { # name, value, minimum, maximum
    if ! [[ $2 =~ ^[0-9]{1,7}$ ]] || ((10#$2 < $3 || 10#$2 > ${4:-9999999})); then
        fail "$USAGE" "$1 is '$2', but must be a number from $3 ${4:+to }${4:-up}"
    fi
}

# The loopback ports of this host, where gvproxy and the journal sink listen.
check_distinct_ports() {
    ((10#$public_port != 10#$host_port)) || fail "$USAGE" "PUBLIC_PORT and HOST_PORT are both '$host_port'"
    [[ -z $journal ]] || ((10#$public_port != JOURNAL_PORT && 10#$host_port != JOURNAL_PORT)) ||
        fail "$USAGE" "port $JOURNAL_PORT is reserved for the journal: choose another PUBLIC_PORT or HOST_PORT"
}

check_tools() {
    local tool missing=()
    for tool in nitro-cli gvproxy curl python3 ss; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    ((${#missing[@]} == 0)) || fail "$TOOL" "missing: ${missing[*]}"
    python3 -c 'import aiohttp, cbor2, cryptography' 2>/dev/null ||
        fail "$TOOL" "python3 lacks aiohttp, cbor2 or cryptography: put this repository's .venv/bin first in PATH"
}

check_ports() {
    local port
    for port in "$public_port" "$host_port" ${journal:+"$JOURNAL_PORT"}; do
        [[ -z $(ss -Hltn "sport = :$port") ]] || fail "$PORT" "port $port is taken"
    done
}

# The file is searched, never sourced: its values stay out of this shell and its children.
check_env_file() {
    [[ -f $env_file && -r $env_file ]] || fail "$ENV" "$env_file is missing or cannot be read"
    grep -qE '^[[:space:]]*(export[[:space:]]+)?[A-Z_]+_API_KEY=["'\'']?[^"'\'' ]' "$env_file" || fail "$ENV" "$env_file sets no *_API_KEY"
}

# The key is generated and written by the tool; this shell never reads it.
check_journal_key() {
    local output
    output=$(PYTHONPATH=$root python3 -m tools.inject.journal_key "$env_file" 2>&1) ||
        fail "$ENV" "${output#python -m tools.inject.journal_key: }; set JOURNAL_FOLDER= to run without a journal"
    [[ -z $output ]] || echo "$output"
}

start_sink() {
    PYTHONPATH=$root python3 -m tools.journal_sink --folder "$journal" --port "$JOURNAL_PORT" >/dev/null &
    sink=$!
    disown
}

await_sink() {
    curl --silent --fail --head --output /dev/null --retry 10 --retry-delay 1 --retry-all-errors \
        "http://127.0.0.1:$JOURNAL_PORT/" || fail "$LAUNCH" "the journal sink for $journal does not respond"
}

# Whether it has all three registers is found out when the enclave is verified.
check_measurements() {
    [[ -r $measurements ]] || fail "$ATTESTATION" "$measurements is missing or cannot be read: the enclave cannot be verified"
}

expose() { # address on this host, port in the enclave
    curl --silent --fail --retry 10 --retry-delay 1 --retry-all-errors \
        --unix-socket "$scratch/gvproxy.sock" http://gvproxy/services/forwarder/expose \
        --data "{\"local\":\"$1\",\"remote\":\"$ENCLAVE_ADDRESS:$2\"}" >/dev/null || {
        local error
        error=$(tail -n 1 "$scratch/gvproxy.log" 2>/dev/null) || error=''
        fail "$LAUNCH" "gvproxy does not forward $1 to port $2 of the enclave${error:+: $error}"
    }
}

launch() {
    local answer
    scratch=$(mktemp -d)
    if [[ -n $journal ]]; then
        start_sink
        await_sink
    fi
    gvproxy -listen "vsock://:$GVPROXY_VSOCK_PORT" -listen "unix://$scratch/gvproxy.sock" >"$scratch/gvproxy.log" 2>&1 &
    gvproxy=$!
    disown
    expose ":$public_port" 443
    expose "127.0.0.1:$host_port" 8000
    # An enclave cannot be terminated before its id is known: signals are deferred until then.
    trap 'stopped=yes' INT TERM
    answer=$(trap '' INT TERM && nitro-cli run-enclave --eif-path "$1" --enclave-cid "$cid" --cpu-count "$cpus" \
        --memory "$memory") || fail "$LAUNCH" "nitro-cli could not launch $1"
    [[ $answer =~ \"EnclaveID\":\ *\"([^\"]+)\" ]] || fail "$LAUNCH" "nitro-cli returned no enclave ID"
    enclave=${BASH_REMATCH[1]}
    trap 'exit 0' INT TERM
    [[ -z $stopped ]] || exit 0
}

# Only checks that a server responds; the attestation identifies it.
await_health() {
    curl --silent --fail --insecure --output /dev/null --max-time 5 "$public_url/health" \
        --retry 1000000 --retry-delay 1 --retry-all-errors --retry-max-time "$health_seconds" ||
        fail "$HEALTH" "$public_url/health did not respond within $health_seconds s"
}

verify_attestation() {
    PYTHONPATH=$root python3 -m tools.verify attestation --url "$public_url" --measurements "$measurements" ||
        fail "$ATTESTATION" "the enclave could not be verified against $measurements; no key was injected"
}

inject() {
    PYTHONPATH=$root python3 -m tools.inject --url "$host_url" --attestation-url "$public_url" \
        --measurements "$measurements" --env-file "$env_file" || fail "$INJECTION" "the keys were not injected"
}

# Facilitator, prices and journal are connected after injection; without them no request can be paid.
await_ready() {
    local answer deadline=$((SECONDS + 10#$ready_seconds))
    until answer=$(curl --silent --insecure --max-time 5 --write-out '\n%{http_code}' "$public_url/health/ready") &&
        [[ $answer == *$'\n200' ]]; do
        answer=${answer%$'\n'*}
        ((SECONDS < deadline)) ||
            fail "$HEALTH" "the keys are in, but the gateway is not ready after $ready_seconds s: ${answer:-no response}"
        sleep 1
    done
}

# Restarts the journal sink, which has no state but its files.
keep_sink() {
    [[ -z $journal ]] || kill -0 "$sink" 2>/dev/null || start_sink
}

running() {
    kill -0 "$gvproxy" 2>/dev/null && [[ $(nitro-cli describe-enclaves) == *"\"$enclave\""* ]]
}

check_arguments() {
    if (($# != 1)) || [[ $1 == -* ]]; then
        usage >&2
        exit "$USAGE"
    fi
    [[ -f $1 && -r $1 ]] || fail "$USAGE" "$1 is not a readable file"
    check_number ENCLAVE_CID "$cid" 4
    check_number ENCLAVE_CPUS "$cpus" 1
    check_number ENCLAVE_MEMORY "$memory" 64
    check_number PUBLIC_PORT "$public_port" 1 65535
    check_number HOST_PORT "$host_port" 1 65535
    check_distinct_ports
    check_number HEALTH_SECONDS "$health_seconds" 1
    check_number READY_SECONDS "$ready_seconds" 0
    check_number WATCH_SECONDS "$watch_seconds" 1
}

main() {
    check_arguments "$@"
    check_tools
    check_ports
    check_env_file
    check_measurements
    [[ -z $journal ]] || check_journal_key

    trap clean_up EXIT
    trap 'exit 0' INT TERM
    launch "$1"
    await_health
    verify_attestation
    inject
    await_ready

    cat <<TEXT
enclave      $enclave, CID $cid, $cpus CPUs, $memory MiB
public       https://<this host>:$public_port
attestation  https://<this host>:$public_port/enclave/attestation?nonce=<40 hex digits>
journal      ${journal:-none: unsettled payments are lost when the enclave stops}
host only    $host_url
TEXT
    while running; do
        keep_sink
        sleep "$watch_seconds" >/dev/null 2>&1 &
        wait "$!"
    done
    fail "$LAUNCH" "enclave $enclave or its gvproxy has ended"
}

if [[ ${1-} == --help ]]; then
    usage
else
    main "$@"
fi
