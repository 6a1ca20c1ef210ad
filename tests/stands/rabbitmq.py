"""RabbitMQ as an ordinary process: its own folder, ports, node and name server, on loopback."""

import os
import signal
import subprocess
from pathlib import Path

from deploy.servers import die_with_parent, free_port, wait_for
from tests.stands.packages import ROOT, program, script

UP_WITHIN_S = 90.0
SAVED_WITHIN_S = 60.0
CONFIGURATION = """\
listeners.tcp.default = 127.0.0.1:{port}
# Whatever else runs on this machine: the tests need little.
disk_free_limit.absolute = 10MB
log.file.level = warning
"""


class RabbitMQ:
    """One broker, with what it has been told on disk; a context manager that starts and ends it."""

    def __init__(self, folder: Path) -> None:
        self.script = program("rabbitmq-server", "rabbitmq-server").resolve()
        self.folder = folder / "rabbitmq"
        self.port, self.names_port, self.inner_port = free_port(), free_port(), free_port()
        self.names: subprocess.Popen[bytes] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the broker."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def __enter__(self) -> "RabbitMQ":
        self.folder.mkdir(mode=0o700)
        (self.folder / "rabbitmq.conf").write_text(CONFIGURATION.format(port=self.port))
        # Debian's `erl` knows one place only.
        places = {"ROOTDIR": self.erts.parent.parent, "BINDIR": self.erts}
        script(self.folder / "erl", self.erts / "erlexec", **places, EMU="beam", PROGNAME="erl")
        self.names = self.spawn([str(self.erts / "epmd"), "-address", "127.0.0.1", "-port", str(self.names_port)])
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        if self.names:
            self.names.kill()
            self.names.wait()

    @property
    def erts(self) -> Path:
        """Where Erlang's own programs are."""
        return next((ROOT / "usr/lib/erlang").glob("erts-*/bin"))

    def start(self) -> None:
        """Start the broker and wait until it answers."""
        self.process = self.spawn([str(self.script)])
        if not wait_for(self.answers, UP_WITHIN_S, 0.1):
            raise AssertionError(f"RabbitMQ is not up after {UP_WITHIN_S:g} s; its log is in {self.folder}")

    def answers(self) -> bool:
        """Tell whether it lets us in."""
        from deploy.external import ask_rabbitmq

        assert self.process is not None and self.process.poll() is None, f"RabbitMQ ended; see {self.folder}"
        try:
            ask_rabbitmq(self.url)
        # Whatever the client raises: not yet.
        except Exception:
            return False
        return True

    def kill(self) -> None:
        """End it without warning, once its queues are older than a few seconds.

        RabbitMQ keeps which log is which quorum queue's in a table that it saves five seconds after the last change
        (SYNC_INTERVAL of Ra's ra_directory): one killed before that comes back with queues that never have a leader.
        """
        assert wait_for(self.remembers, SAVED_WITHIN_S, 0.1), f"RabbitMQ does not save its queues: {self.folder}"
        self.end()

    def remembers(self) -> bool:
        """Tell whether it would find each of its quorum queues again."""
        names = list(self.folder.glob("data/*/quorum/*/names.dets"))
        saved = b"".join(name.read_bytes() for name in names)
        return all(log.parent.name.encode() in saved for name in names for log in name.parent.glob("*/config"))

    def end(self) -> None:
        """End it at once."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def spawn(self, command: list[str]) -> "subprocess.Popen[bytes]":
        """Start a program of its environment, that does not outlive this one."""
        parent = os.getpid()
        with (self.folder / "out").open("ab") as out:
            return subprocess.Popen(
                command,
                env={**os.environ, **self.variables()},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(parent, signal.SIGKILL),  # noqa: PLW1509 (one thread)
            )

    def variables(self) -> dict[str, str]:
        """Return what keeps it to its folder and its ports."""
        return {
            "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self.names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.inner_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            # The script then becomes the broker, which can be killed by that process id.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
