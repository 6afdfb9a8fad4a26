#!/bin/sh
# Runs the enclave's two processes. When one exits, the other is terminated, and so is the enclave: a gateway without its
# daemon is unreachable, and a daemon without its gateway would attest a lost key. PATH and SSL_CERT_FILE come from the
# image.
#
# They may start in any order: the gateway waits for the daemon, and tells it when to accept public connections.
# -fqdn is constant because clients pin the self-signed certificate, and because the images of all operators must agree.
set -eu

if [ -e /dev/nsm ]; then
    chown root:gateway /dev/nsm
    chmod 0660 /dev/nsm
    # Lets the gateway bind the addresses of loopback and the tap device before nitriding has assigned them.
    echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind
fi

# Nitriding takes two descriptors for each public connection: the kernel's 4096 would suffice for 2048.
# shellcheck disable=SC3045  # busybox's sh has it
ulimit -n 16384 2>/dev/null || true

gateway='' stop=''
trap 'stop=yes; kill -TERM "$gateway" 2>/dev/null || true' TERM INT
start-stop-daemon -S -c gateway:gateway -x /usr/bin/python3 -- -I -B -m gateway &
gateway=$!
[ -z "$stop" ] || kill -TERM "$gateway"

(
    daemon='' done=''
    trap 'done=yes; kill -KILL "$daemon" 2>/dev/null || true' TERM
    nitriding \
        -fqdn tee-gateway.internal \
        -appwebsrv http://127.0.0.1:8000 \
        -ext-pub-port 443 \
        -intport 8080 \
        -wait-for-app &
    daemon=$!
    [ -z "$done" ] || kill -KILL "$daemon"
    status=0
    wait "$daemon" || status=$?
    [ -n "$done" ] || echo "nitriding ended with status $status" >&2
    kill -TERM "$gateway" 2>/dev/null
) &
watcher=$!

# A signal interrupts wait before the gateway has drained.
while :; do
    status=0
    wait "$gateway" || status=$?
    if [ -z "$stop" ] || [ "$status" -le 128 ]; then
        break
    fi
    stop=''
done
echo "gateway ended with status $status" >&2
kill -TERM "$watcher" 2>/dev/null || true
wait "$watcher" || true
exit "$status"
