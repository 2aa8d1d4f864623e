"""Where the examples of docs/deploy are, and the programs that they are tried with."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.acceptance.processes import Process

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
WHOLE = """
daemon off;
{user}
pid nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{
    access_log access.log;
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {example}
}}
"""


def program(name: str) -> str:
    """The path of a program of this environment or of the system."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin")
    assert found, f"{name} is not there: `make system` brings it"
    return found


def certificate(folder: Path) -> Path:
    """Of `localhost`, signed by itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = folder / "localhost.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "localhost.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return file


@contextmanager
def nginx(
    folder: Path, example: str, port: int, service: int, host: str = "example.com", own: str = "127.0.0.1"
) -> Iterator[Process]:
    """Nginx with an example of the documentation for this host, as `localhost` with the certificate of this folder and
    with these ports, until the end of the block; callers from `own` are of your own network.
    """
    for written, instead in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "127.0.0.1:7000": f"127.0.0.1:{service}",
        f"/etc/ssl/{host}.": f"{folder}/localhost.",
        f"server_name {host};": "server_name localhost;",
        "allow 127.0.0.1;": f"allow {own};",
    }.items():
        assert written in example
        example = example.replace(written, instead)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(WHOLE.format(user=user, example=example), "utf-8")
    shutil.copy(DEPLOY / "cloudbeds-auth-proxy.conf", folder)
    command = (program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr")
    process = Process(env={}, cwd=folder, command=command)
    try:
        process.wait_for("start worker process ")
        yield process
    finally:
        assert process.stop(signal.SIGQUIT) == 0
