#!/bin/sh
# The enclave's two processes. The end of either ends both, and so the enclave: a gateway without its daemon is
# unreachable, a daemon without its gateway would attest a key that is gone. PATH and SSL_CERT_FILE come from the image.
#
# No order between the two is assumed: the gateway waits for the daemon and tells it when the public may come in.
# -fqdn is a constant because clients pin the self-signed certificate, and because two operators' images must agree.
set -eu

if [ -e /dev/nsm ]; then
    chown root:gateway /dev/nsm
    chmod 0660 /dev/nsm
fi

start-stop-daemon -S -c gateway:gateway -x /usr/bin/python3 -- -I -B -m gateway &
gateway=$!

(
    nitriding \
        -fqdn tee-gateway.internal \
        -appwebsrv http://127.0.0.1:8000 \
        -ext-pub-port 443 \
        -intport 8080 \
        -wait-for-app &
    trap 'kill "$!" 2>/dev/null' TERM
    wait "$!" || echo "nitriding ended with status $?" >&2
    kill -TERM "$gateway" 2>/dev/null
) &
daemon=$!

trap 'kill -TERM "$gateway" 2>/dev/null' TERM INT

status=0
wait "$gateway" || status=$?
while kill -0 "$gateway" 2>/dev/null; do
    status=0
    wait "$gateway" || status=$?
done
echo "gateway ended with status $status" >&2
kill -TERM "$daemon" 2>/dev/null || true
wait "$daemon" || true
exit "$status"
