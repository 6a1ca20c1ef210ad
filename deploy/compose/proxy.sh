#!/bin/sh
# Decides who may place orders, then becomes the proxy.
#
# A connection from this machine itself comes from the private address of a Docker network.  So does everybody's where a
# port driver (rootless Docker, Docker Desktop) or a load balancer stands between: a private network is no list of clients
# once the ports are open.
set -eu

refuse() {
  echo "the proxy does not start: $1" >&2
  exit 2
}

if [ "$LISTEN" = 127.0.0.1 ]; then
  DIRECT=private_ranges
else
  [ -n "$CLIENTS" ] || refuse "LISTEN=$LISTEN opens the ports; name in CLIENTS the networks that may place orders"
  case " $CLIENTS " in
    *" private_ranges "* | */0\ *) refuse "CLIENTS=$CLIENTS may be everybody; name the networks that may place orders" ;;
  esac
  DIRECT=$CLIENTS
fi
# Through the tunnel come those in CLIENTS alone, and without it nobody (RFC 5737).
TUNNELLED=${CLIENTS:-192.0.2.0/32}
export DIRECT TUNNELLED
exec caddy run --config /etc/caddy/Caddyfile --adapter caddyfile
