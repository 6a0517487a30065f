"""Our `serve` and `fetch` against independent HTTP/3 implementations over loopback, every byte compared.

    setup.sh DIR; DIR/venv/bin/python peers.py --dir DIR --bin target/release [--size BYTES] [--only TEXT] [--peers-only]

Each server starts once on a port of its own and every client runs its cases against it; --peers-only runs the pairs
without ours instead, which shows that the peers themselves work here. Prints the version of each peer, then one line per case; what
fails says why, and its server's last words. Exit 1 if a case failed. Processes end by their own handle, whatever happens.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = "gannet"
CASE_SECONDS = 150
START_SECONDS = 15


@dataclass(frozen=True)
class Case:
    """What a client does with a server. `client` and `server` tell who can take part."""

    name: str
    path: str
    post: bool = False
    requests: int = 1
    early: bool = False
    clients: tuple = (OURS, "aioquic", "curl", "ngtcp2")
    servers: tuple = (OURS, "aioquic", "caddy", "ngtcp2")


CASES = (
    Case("GET", "/large"),
    Case("POST /echo", "/echo", post=True, clients=(OURS, "aioquic", "curl"), servers=(OURS, "aioquic")),
    Case("GET x1000, 64 at a time", "/small", requests=1000, clients=(OURS, "aioquic")),
    Case("GET with 0-RTT", "/large", early=True, clients=(OURS,), servers=(OURS, "caddy", "ngtcp2")),
)


class Lab:
    """The folder of one run: certificates, files to serve, logs."""

    def __init__(self, options, folder):
        self.python = str(options.dir / "venv/bin/python")
        self.bin = options.bin
        self.folder = folder
        self.root = folder / "www"
        self.cert, self.key, self.ca = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
        self.root.mkdir()
        (self.root / "small").write_bytes(os.urandom(1024))
        (self.root / "large").write_bytes(os.urandom(options.size))
        self.make_certificates()

    def make_certificates(self):
        ca_key, request, extensions = self.folder / "ca.key", self.folder / "leaf.csr", self.folder / "leaf.ext"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *key, "-keyout", ca_key, "-out", self.ca, "-days", "13", "-subj", "/CN=peers test CA")
        openssl("req", *key, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost")
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial",
                "-days", "13", "-extfile", extensions, "-out", self.cert)  # fmt: skip

    def server_command(self, name, port):
        if name == OURS:
            return [self.bin / "serve", "--listen", f"127.0.0.1:{port}", "--root", self.root,
                    "--cert", self.cert, "--key", self.key]  # fmt: skip
        if name == "aioquic":
            return [self.python, HERE / "aioquic_server.py", "--root", self.root, "--cert", self.cert,
                    "--key", self.key, port]  # fmt: skip
        if name == "ngtcp2":
            return ["gtlsserver", "-q", "-d", self.root, "127.0.0.1", port, self.key, self.cert]
        config = self.folder / "Caddyfile"
        config.write_text(
            "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
            f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {self.cert} {self.key}\n"
            f"\troot * {self.root}\n\tfile_server\n}}\n"
        )
        return ["caddy", "run", "--config", config, "--adapter", "caddyfile"]

    def client_command(self, name, case, port, out):
        url = f"https://localhost:{port}{case.path}"
        body = str(self.root / "large") if case.post else None
        many = ["--repeat", case.requests, "--concurrency", 64] if case.requests > 1 else []
        if name == OURS:
            post = ["-X", "POST", "-d", f"@{body}"] if body else []
            early = ["--0rtt"] if case.early else []
            return [self.bin / "fetch", "--ca", self.ca, *many, *early, *post, "-o", out, url]
        if name == "ngtcp2":
            return ["gtlsclient", "-q", "--exit-on-all-streams-close", f"--download={out.parent}", "127.0.0.1", port, url]
        script = {"aioquic": "aioquic_client.py", "curl": "curl_client.py"}[name]
        return [self.python, HERE / script, "--ca", self.ca, *many, *(["--body", body] if body else []), url, out]


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def free_port():
    """A port of 127.0.0.1 that is free for UDP and TCP (caddy takes both) just now."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                tcp.bind(udp.getsockname())
                return udp.getsockname()[1]
    raise RuntimeError("no free port")


def bound(port):
    entries = Path("/proc/net/udp").read_text() + Path("/proc/net/udp6").read_text()
    return f":{port:04X} " in entries


@contextlib.contextmanager
def server(lab, name):
    """Runs a server until the block ends. Yields its port and its log."""
    port, log = free_port(), lab.folder / f"{name}-server.log"
    with open(log, "wb") as output:
        command = list(map(str, lab.server_command(name, port)))
        try:
            home = dict(os.environ, XDG_CONFIG_HOME=str(lab.folder), XDG_DATA_HOME=str(lab.folder))  # caddy's
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=home)
        except OSError as error:
            raise RuntimeError(f"the {name} server did not start: {error}") from error
    try:
        deadline = time.monotonic() + START_SECONDS
        while not bound(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the {name} server did not start:\n{tail(log)}")
            time.sleep(0.05)
        yield port, log
        if process.poll() is not None:
            raise RuntimeError(f"the {name} server ended by itself ({process.returncode}):\n{tail(log)}")
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tail(log):
    lines = log.read_text(errors="replace").splitlines()[-15:]
    return "\n".join(f"    | {line[:300]}" for line in lines)


def run_case(lab, case, client, port):
    """None if all is well, else what went wrong."""
    out = lab.folder / "downloads" / Path(case.path).name
    shutil.rmtree(out.parent, ignore_errors=True)
    out.parent.mkdir()
    command = list(map(str, lab.client_command(client, case, port, out)))
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=CASE_SECONDS)  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done after {CASE_SECONDS} s"
    except OSError as error:
        return str(error)
    said = "\n".join(f"    | {line[:300]}" for line in done.stdout.splitlines()[-15:])
    if done.returncode != 0:
        return f"the client ended with {done.returncode}:\n{said}"
    if case.early and "took" not in done.stdout:
        return f"the server took no early data:\n{said}"
    want = (lab.root / ("large" if case.post else case.path[1:])).read_bytes()
    got = out.read_bytes() if out.exists() else b""
    if got != want:
        return f"{len(got)} bytes arrived where {len(want)} were due, or others:\n{said}"
    return None


def print_versions():
    def first_line(*command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout.strip().split("\n")[0]

    from curl_cffi import __curl_version__

    print(f"peer: aioquic {version('aioquic')}")
    print(f"peer: curl_cffi {version('curl_cffi')} ({__curl_version__})")
    for package in ("ngtcp2-client", "ngtcp2-server"):
        print(f"peer: {package} {first_line('dpkg-query', '-W', '-f', '${Version}', package)}")
    print(f"peer: caddy {first_line('caddy', 'version')}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True, help="the folder setup.sh made")
    parser.add_argument("--bin", type=Path, default=Path("target/release"), help="where serve and fetch are")
    parser.add_argument("--size", type=int, default=5_000_000, help="bytes of the large file")
    parser.add_argument("--only", default="", help="run the cases whose line contains this")
    parser.add_argument("--peers-only", action="store_true", help="the pairs without ours, instead of those with")
    options = parser.parse_args()
    options.dir = options.dir.absolute()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end, too

    print_versions()
    failed = []
    with tempfile.TemporaryDirectory(prefix="gannet-peers-") as folder:
        lab = Lab(options, Path(folder))
        for name in (OURS, "aioquic", "caddy", "ngtcp2"):
            plan = [
                (f"{client} -> {name}: {case.name}", case, client)
                for case in CASES
                for client in case.clients
                if name in case.servers and (OURS in (client, name)) != options.peers_only
            ]
            plan = [entry for entry in plan if options.only in entry[0]]
            if not plan:
                continue
            try:
                with server(lab, name) as (port, log):
                    for line, case, client in plan:
                        started = time.monotonic()
                        wrong = run_case(lab, case, client, port)
                        took = time.monotonic() - started
                        print(f"{'FAIL' if wrong else 'ok  '} {line} ({took:.1f} s){': ' + wrong if wrong else ''}", flush=True)
                        if wrong:
                            failed.append(line)
                            print(f"    the {name} server said:\n{tail(log)}", flush=True)
            except RuntimeError as error:
                print(f"FAIL {name}: {error}", flush=True)
                failed.append(f"{name} as server")
    if failed:
        print("failed: " + "; ".join(failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
