#!/bin/sh
# What people write for an alert executor: see that the primary is dead and the
# standby alive, and have HAProxy move. It is written to be fast: one connection
# each. It keeps nothing, proves nothing, and reads nothing back.
#
#   bare.sh PRIMARY STANDBY SOCKET BACKEND
set -eu
if curl -sf -m 1 -o /dev/null "$1/health"; then exit 0; fi
curl -sf -m 1 -o /dev/null "$2/health"
echo "set server $4/primary state maint; set server $4/hot state ready" | socat - "UNIX-CONNECT:$3"
