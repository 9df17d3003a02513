"""Debian's docker-registry (distribution 2.8) with a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple, Self

from tests.network.namespace import NetNs
from tests.registry.build import Built
from tests.registry.loopback import ADDRESS, Named
from tests.support import MARK, wait_until

#: The one user of a registry with a password, and the line that ``htpasswd -Bbn -C 4`` made of it.
USER, PASSWORD = "somebody", "opensesame"
_HTPASSWD = f"{USER}:$2b$04$SY0Rx.kkm58xF57IASCa7e6HWbZ9/Ungcn7.XKYOR/IWTsCrZwjgK\n"

_OPENSSL = """
[req]
distinguished_name = name
prompt = no
[name]
CN = Dockyard tests
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:localhost
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "openssl.cnf")


class Certificates(NamedTuple):
    """Paths. ``ca`` alone is what clients need; their ``--cert-dir`` and ``certs.d`` folders are :attr:`folder`."""

    ca: Path
    certificate: Path
    key: Path

    @property
    def folder(self) -> Path:
        """A folder with nothing but ``ca.crt``."""
        return self.ca.parent

    def context(self) -> ssl.SSLContext:
        """For a server."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.certificate, self.key)
        return made


def certificates(folder: Path) -> Certificates:
    """An authority and a certificate of 127.0.0.1 and localhost, in an empty folder."""
    (folder / "openssl.cnf").write_text(_OPENSSL)
    (folder / "trust").mkdir()

    def openssl(*words: str) -> None:
        done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    openssl(
        "req", "-x509", *_KEY, "-extensions", "authority", "-days", "2", "-keyout", "ca.key", "-out", "trust/ca.crt"
    )
    openssl("req", *_KEY, "-keyout", "host.key", "-out", "host.csr")
    signed = ("-CA", "trust/ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "openssl.cnf")
    openssl("x509", "-req", "-in", "host.csr", *signed, "-extensions", "leaf", "-days", "2", "-out", "host.crt")
    return Certificates(folder / "trust/ca.crt", folder / "host.crt", folder / "host.key")


def free_port(netns: NetNs) -> int:
    """A port of loopback that nobody listens on now."""

    def find() -> int:
        with socket.create_server((ADDRESS, 0)) as found:
            return int(found.getsockname()[1])

    return netns.inside(find)


class Registry(Named):
    """A registry below ``base``, in ``netns``; ``secure``: with TLS, and for ``USER`` with ``PASSWORD`` alone.

    Blobs can be deleted, the catalog is on. ``log`` is what it wrote, ``folder`` where its files are.
    """

    def __init__(self, base: Path, netns: NetNs, *, secure: bool = False) -> None:
        self.netns = netns
        self.folder = Path(tempfile.mkdtemp(prefix="r", dir=base))
        self.base = base
        self.certificates = certificates(self.folder) if secure else None
        self.ca = str(self.certificates.ca) if self.certificates else None
        self._log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start it, again on its port if it ran before."""
        self.port = self.port or free_port(self.netns)
        path = self.folder / "config.json"
        path.write_text(json.dumps(self._configuration()))  # YAML has JSON in it
        environment = {**os.environ, MARK: str(self.base)}
        argv = ["docker-registry", "serve", str(path)]
        with self._log.open("ab") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "env": environment, "cwd": "/"}
            self.process = self.netns.inside(lambda: subprocess.Popen(argv, **options))  # type: ignore[call-overload]
        wait_until(self._answers, 20, f"the registry answers; log:\n{self.log}")

    def stop(self) -> None:
        """End its process; what it keeps stays until the block is left."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"docker-registry left with {self.process.returncode}:\n{self.log}")
        try:
            return self.ask("GET", "/v2/").status in (200, 401)
        except OSError:
            return False

    def _configuration(self) -> dict[str, object]:
        http: dict[str, object] = {"addr": self.host, "secret": "of the tests"}
        document: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.folder / "data")},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": http,
        }
        if self.certificates:
            http["tls"] = {"certificate": str(self.certificates.certificate), "key": str(self.certificates.key)}
            (self.folder / "htpasswd").write_text(_HTPASSWD)
            document["auth"] = {"htpasswd": {"realm": "tests", "path": str(self.folder / "htpasswd")}}
        return document

    @property
    def log(self) -> str:
        try:
            return self._log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    # --- what is in it -----------------------------------------------------------------------------

    def put(self, repository: str, reference: str, image: Built) -> str:
        """Store an image or index, its children first; the digest of its manifest. Plain registries only."""
        for child in image.children:
            self.put(repository, child.digest, child)
        for digest, data in image.blobs.items():
            begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
            assert begun.status == 202, begun
            where = begun.headers["location"]
            sent = self.ask("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", data)
            assert sent.status == 201, sent
        headers = {"Content-Type": image.media_type}
        kept = self.ask("PUT", f"/v2/{repository}/manifests/{reference}", image.manifest, headers)
        assert kept.status == 201, kept
        return kept.headers["docker-content-digest"]

    def digest(self, repository: str, tag: str) -> str:
        """The digest of the manifest that a tag stands for; "" when there is none. Plain registries only."""
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
                  "application/vnd.docker.distribution.manifest.v2+json, "
                  "application/vnd.docker.distribution.manifest.list.v2+json"}  # fmt: skip
        return self.ask("HEAD", f"/v2/{repository}/manifests/{tag}", headers=accept).headers.get(
            "docker-content-digest", ""
        )
