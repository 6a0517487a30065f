#!/bin/bash
# Started by the interop runner in a container. The base image's /setup.sh routes traffic through the simulated network.
set -e
/setup.sh

case "$ROLE" in
    client)
        # The simulator has to be up first.
        /wait-for-it.sh sim:57832 -s -t 30
        exec gannet-interop client
        ;;
    server) exec gannet-interop server ;;
    *)
        echo "ROLE is neither client nor server: $ROLE"
        exit 1
        ;;
esac
