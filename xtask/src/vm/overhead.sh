#!/bin/bash
# A job: what the agent costs in instructions of the guest. The arguments are flags of `netspan-lab overhead`.
exec "$NETSPAN_BINARIES/netspan-lab" overhead "$@"
