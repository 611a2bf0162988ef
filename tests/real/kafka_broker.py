"""Apache Kafka itself: one KRaft node on loopback, from the jars that kafka/pom.xml names. It listens in plain text and, to those
with a certificate and a password, by TLS."""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from certificates import Authority
from confluent_kafka import Consumer, KafkaException
from cryptography.hazmat.primitives import serialization
from fakes.kafka_cluster import free_port

POM = Path(__file__).with_name("kafka") / "pom.xml"
JAVA_MAJOR = 17
PASSWORD = "kafka-secret"
_LOGIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_relay="{PASSWORD}";'
_CONFIG = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secure}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config={login}
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
ssl.client.auth=required
log.dirs={logs}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
message.max.bytes=100000
num.network.threads=2
num.io.threads=2
"""


class CannotRun(Exception):
    """A real broker cannot run here; the message says why, in a sentence."""


def fetch_jars(directory: Path) -> Path:
    """The broker's jars, by Maven's own client and cache. Raises CannotRun."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or _java_major(java) < JAVA_MAJOR:
        raise CannotRun(f"Apache Kafka needs Java {JAVA_MAJOR} or newer and there is no such `java` here.")
    if maven is None:
        raise CannotRun("Apache Kafka's jars are fetched by Maven and there is no `mvn` here.")
    argv = [
        maven,
        "-B",
        "-q",
        "-ntp",
        "-Dstyle.color=never",
        "-f",
        str(POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={directory}",
    ]
    try:
        done = subprocess.run(
            [*argv, "-DincludeScope=runtime"], capture_output=True, text=True, timeout=600, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise CannotRun("Maven did not fetch Apache Kafka's jars within ten minutes.") from None
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if "ERROR" in line]
        raise CannotRun(f"Maven cannot fetch Apache Kafka's jars: {(lines or ['it says nothing'])[0].strip()[:300]}")
    return directory


def _java_major(java: str) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = said.partition('"')[2].partition('"')[0]
    return int(version.split(".")[0]) if version.split(".")[0].isdecimal() else 0


def _pkcs8(key: Path) -> bytes:
    """The key as Java reads it."""
    read = serialization.load_pem_private_key(key.read_bytes(), None)
    return read.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class KafkaBroker:
    """`with KafkaBroker(jars, directory) as kafka: kafka.bootstrap`. Its methods block."""

    def __init__(self, jars: Path, directory: Path) -> None:
        self.port, self.secure_port, controller = free_port(), free_port(), free_port()
        self.ours = Authority(directory / "certificates")
        shown = self.ours.issue("127.0.0.1")
        keystore = directory / "keystore.pem"
        keystore.write_bytes(_pkcs8(shown.key) + shown.certificate.read_bytes())
        self._java = ["java", "-Xmx384m", "-cp", f"{jars}/*"]
        self._config = directory / "server.properties"
        places = {"logs": directory / "logs", "keystore": keystore, "authority": self.ours.authority}
        ports = {"port": self.port, "secure": self.secure_port, "controller": controller}
        self._config.write_text(_CONFIG.format(**ports, **places, login=_LOGIN))
        self._output = directory / "output"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def secure(self, authority: Path) -> dict[str, str]:
        """KAFKA_BOOTSTRAP_SERVERS and KAFKA_CONFIG of a client that trusts that authority, with a certificate and a password."""
        shown = self.ours.issue("relay.soma")
        config = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "relay",
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(authority),
            "ssl.certificate.location": str(shown.certificate),
            "ssl.key.location": str(shown.key),
        }
        pairs = ",".join(f"{name}={value}" for name, value in config.items())
        return {"bootstrap": f"127.0.0.1:{self.secure_port}", "KAFKA_CONFIG": pairs}

    def __enter__(self) -> Self:
        cluster = base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
        format_it = [*self._java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._config)]
        done = subprocess.run(format_it, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill9()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self._config)], stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, self._output.read_text()
            assert time.monotonic() < deadline, self._output.read_text()

    def kill9(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=30)

    def _answers(self) -> bool:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "ready", "log_level": 0})
        try:
            consumer.list_topics(timeout=2)
        except KafkaException:
            return False
        finally:
            consumer.close()
        return True
