"""docs/server.md: its blocks, one after the other, lead to a hotel that is called through nginx."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.acceptance.processes import CLIENT_ID, CLIENT_SECRET, Http, Process, Vendor, vendor_on_a_thread
from tests.deploy.tools import DEPLOY, ROOT, certificate, nginx, program
from tests.docs.pages import block
from tests.support.ports import free_port

INSTALL = (
    "docs/server.md#program", "docs/server.md#settings", "docs/server.md#service", "docs/server.md#nginx",
    "docs/server.md#reload",
)  # fmt: skip
DOCTOR = "docs/server.md#doctor"
FOLDERS = ("/opt/cloudbeds-auth", "/etc/cloudbeds-auth", "/etc/systemd/system", "/etc/nginx", "/var/lib/cloudbeds-auth")
SYSTEM = r"^sudo (?:useradd|systemctl|nginx) .*$"  # what would change this machine; the test does the same by itself


@dataclass
class Server:
    """A server whose folders are below `root`; root there is whoever runs this."""

    root: Path
    vendor: Vendor
    port: int
    public: int
    left_out: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        """What hotels and programs see."""
        return f"https://localhost:{self.public}"

    def here(self, text: str) -> str:
        """With the folders of this server."""
        return re.sub("|".join(FOLDERS), lambda found: f"{self.root}{found[0]}", text)

    def run(self, *names: str) -> str:
        """What these blocks print, in one shell that ends with the first error."""
        text = "\n".join(block(name) for name in names)
        self.left_out += re.findall(SYSTEM, text, re.MULTILINE)
        text = re.sub(r"\bsudo (?:-u \S+ )?", "", re.sub(SYSTEM, "", text, flags=re.MULTILINE))
        text = self.here(text.replace("-o cloudbeds-auth -g cloudbeds-auth ", ""))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=ROOT, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": ""},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def edit(self, path: str, changed: dict[str, str], added: str = "") -> None:
        """What the page tells to do with an editor."""
        file = Path(self.here(path))
        text = file.read_text("utf-8")
        for former, new in changed.items():
            assert former in text
            text = text.replace(former, new)
        file.chmod(0o600)
        file.write_text(self.here(text) + added, "utf-8")
        file.chmod(0o400)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The service as the installed unit starts it, and nginx as it is installed."""
        (start,) = re.findall(r"^ExecStart=(.*)$", self.unit.read_text("utf-8"), re.MULTILINE)
        service = Process(env={}, cwd=self.root, command=self.here(start).split())
        site = Path(self.here("/etc/nginx/conf.d/cloudbeds-auth.conf")).read_text("utf-8")
        try:
            service.wait_for("listening on http")
            with nginx(self.root, site, self.public, self.port, host="auth.example.com"):
                yield
        finally:
            service.stop()

    @property
    def unit(self) -> Path:
        """The unit that was installed."""
        return Path(self.here("/etc/systemd/system/cloudbeds-auth.service"))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An empty one: a system has its folders, and systemd makes that of the state."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path)))
    public = free_port()
    with vendor_on_a_thread("--auto-approve", redirect_uri=f"https://localhost:{public}/callback") as vendor:
        made = Server(tmp_path, vendor, free_port(), public)
        for folder in ("/etc/systemd/system", "/etc/nginx/conf.d", "/var/lib/cloudbeds-auth"):
            Path(made.here(folder)).mkdir(parents=True, mode=0o700)
        yield made


@pytest.mark.timeout(300)
def test_every_step(server: Server) -> None:
    """Installed from the lock, set up, started as the unit says, checked; a hotel approves, and a program calls it with
    the key that the page makes. What is left out is what would change this machine.
    """
    server.run(*INSTALL)
    made_by_hand = [line for line in server.left_out if "useradd" in line]
    assert made_by_hand[0].removeprefix("sudo ") in (DEPLOY / "cloudbeds-auth.service").read_text("utf-8")
    assert len(server.left_out) == 5
    server.edit(
        "/etc/cloudbeds-auth/service.env",
        {"your-client-id": CLIENT_ID, "https://auth.example.com": server.base},
        f"CLOUDBEDS_BASE_URL={server.vendor.base}\nCLOUDBEDS_AUTH_PORT={server.port}\n",
    )
    server.edit("/etc/cloudbeds-auth/client-secret", {}, f"{CLIENT_SECRET}\n")
    assert server.unit.read_text("utf-8") == (DEPLOY / server.unit.name).read_text("utf-8")
    with server.running():
        assert "PROBLEM" not in server.run(DOCTOR)
        link = approved(server)
        assert link.startswith(f"{server.base}/connect/")
        key = server.run(DOCTOR, "docs/server.md#key").splitlines()[-1]
        answer = Http(server.base, key).get("/proxy/100001/api/v1.3/echo/a%2Fb")
        assert (answer.status, answer.json["path"]) == (200, "/api/v1.3/echo/a%2Fb")
        assert Http(server.base, key).get("/api/v1/connections").json["connections"][0]["reference"] == "tenant-7"


def approved(server: Server) -> str:
    """The link that the page's command prints; it has waited until somebody opened it and approved."""
    text = block(DOCTOR).replace("hotels doctor\n", block("docs/server.md#hotel"))
    text = server.here(re.sub(r"\bsudo (?:-u \S+ )?", "exec ", text))
    waiting = Process(env={}, cwd=server.root, command=(program("bash"), "-euc", text))
    try:
        link: str = waiting.wait_for(r"https://\S+/connect/\S+")[0]
        assert Http().start(link, follow=True).status == 200
        waiting.wait_for("^connected")
        assert waiting.popen.wait(30) == 0
    finally:
        waiting.stop()
    return link
