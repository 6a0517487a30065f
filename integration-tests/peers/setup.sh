#!/usr/bin/env bash
# setup.sh DIR: the peers that peers.py talks to: aioquic and curl_cffi in DIR/venv; gtlsclient, gtlsserver and caddy from
# Debian. What is there already is left alone, so that a second run takes a second.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: setup.sh DIR}

missing=()
command -v gtlsclient > /dev/null || missing+=(ngtcp2-client)
command -v gtlsserver > /dev/null || missing+=(ngtcp2-server)
command -v caddy > /dev/null || missing+=(caddy)
command -v openssl > /dev/null || missing+=(openssl)
python3 -c 'import ensurepip' 2> /dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

[ -x "$dir/venv/bin/pip" ] || python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
