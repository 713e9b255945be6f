"""A lab of hosts made of network namespaces, an S3 server in it, and `ray up` on them.

Nothing here is a mock of the cluster: ssh, rsync, Ray's own command line and the files that users
get are what is tested. Only S3 and EC2 are played by moto.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
HOSTS = Path(__file__).with_name("hosts.sh")
MOTO = Path(sys.prefix) / "bin" / "moto_server"
TOOLS = {"ip": "iproute2", "sshd": "openssh-server", "rsync": "rsync", "nft": "nftables",
         "sudo": "sudo"}  # and the package of each  # fmt: skip
LAPTOP, HEAD, W1, W2 = "10.99.0.1", "10.99.0.10", "10.99.0.11", "10.99.0.12"  # as in hosts.sh
BUCKET = "results"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
PLACE = {
    "AWS_DEFAULT_REGION": "us-west-2",
    "AWS_REGION": "us-west-2",
    "AWS_ENDPOINT_URL": f"http://{LAPTOP}:5000",
    "AWS_EC2_METADATA_DISABLED": "true",
    **{  # moto behind the shim (aws_shim.py)
        f"AWS_ENDPOINT_URL_{service}": f"http://{LAPTOP}:5002"
        for service in ("EC2", "SSM", "SERVICE_QUOTAS")
    },
}
AWS = {**PLACE, **KEYS}
OBJECT_STORE = "--object-store-memory=200000000"  # bytes; several nodes share this machine
JOINING_SECONDS = 240  # until all nodes have joined, on a busy machine; an idle one takes 20
ALIVE = """
import logging, ray
ray.init("auto", logging_level=logging.ERROR, log_to_driver=False)
print("ALIVE", *sorted(n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"]))
"""
# The clock is the kernel's, and so the tests' too. It ends when its standard input is closed.
CHANGES = """
import json, logging, ray, select, sys, time
ray.init("auto", logging_level=logging.ERROR, log_to_driver=False)
before = None
while not select.select([sys.stdin], [], [], 0.5)[0]:
    alive = sorted(n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"])
    if alive != before:
        print(json.dumps([time.monotonic(), alive]), flush=True)
    before = alive
"""


def what_is_missing() -> str:
    """Return why no host can be made here; an empty text if one can."""
    if os.geteuid() != 0:
        return "hosts are made of network namespaces, which only root may make"
    path = f"{os.environ['PATH']}:/usr/sbin"
    packages = [package for tool, package in TOOLS.items() if not shutil.which(tool, path=path)]
    if packages:
        return f"packages are missing: apt-get install {' '.join(packages)}"
    made = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "true"],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        return f"this machine does not allow namespaces: {made.stderr.strip()}"
    if not MOTO.exists():
        return f"{MOTO} is missing: `make install` installs it"
    return ""


class Lab:
    """The hosts of one test session, and the laptop from which they are used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "id_ed25519"
        self.name = f"fer-{os.getpid()}-{int(time.time())}"  # Ray shares ssh connections by it
        for part in ("home", "tmp"):
            (folder / part).mkdir()
        base = [] if sys.base_prefix == "/usr" else [sys.base_prefix]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}:/usr/sbin",
            "LAB_STATE": str(folder),
            "LAB_HIDE": str(ROOT),
            "LAB_READ_ONLY": " ".join([sys.prefix, *base]),
            "LAB_HOME_VENV": sys.prefix,
        }
        self.hosts("up")
        self.laptop("ray", "get-auth-token", "--generate")
        credentials = folder / "home" / ".aws" / "credentials"
        credentials.parent.mkdir()
        credentials.touch(mode=0o600)
        keys = [f"{name.lower()} = {value}" for name, value in KEYS.items()]
        credentials.write_text("\n".join(["[default]", *keys, ""]))

    def hosts(self, *arguments: str, timeout: float = 60, **options) -> subprocess.CompletedProcess:
        options = {"capture_output": True, "text": True, "env": self.environment} | options
        done = subprocess.run([HOSTS, *arguments], timeout=timeout, **options)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def boot(self, name: str, address: str) -> None:
        self.hosts("boot", name, address.rsplit(".", 1)[1])

    def enter(self, host: str, command: str, timeout: float = 60) -> str:
        """Run a command as the hosts' user in a login shell, and return what it prints."""
        return self.hosts("enter", host, "su", "-", "ray", "-c", command, timeout=timeout).stdout

    def cut(self, host: str) -> None:
        """Pull the cable to the cluster's network."""
        self.hosts("link", host, "down")

    def plug(self, host: str) -> None:
        self.hosts("link", host, "up")

    def laptop(
        self, *command: str, timeout: float = 120, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess:
        """Run a command as a user at the laptop; standard error goes to its output."""
        done = subprocess.run(
            self.at_the_laptop(*command),
            env=self.user(environment),
            cwd=ROOT,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout[-4000:]}"
        return done

    @contextlib.contextmanager
    def running(self, *command: str, **environment: str):
        """Run a command at the laptop while the context lasts; its output goes to a file."""
        with (self.folder / f"{Path(command[0]).name}.log").open("a") as log:
            process = subprocess.Popen(
                self.at_the_laptop(*command),
                env=self.user(environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def answering(self, place: str, address: str, *ports: int) -> set[int]:
        """Return the ports that a machine reaches: a host, the laptop or the outsider."""
        connect = f"timeout 5 bash -c '</dev/tcp/{address}/'$port 2>/dev/null && echo $port &"
        command = f"for port in {' '.join(map(str, ports))}; do {connect} done; wait"
        where = [place] if place in ("laptop", "outsider") else ["enter", place]
        return set(map(int, self.hosts(*where, "bash", "-c", command).stdout.split()))

    def opens(
        self, place: str, address: str, port: int, *, while_runs: subprocess.Popen, seconds=60.0
    ) -> None:
        """Wait until a machine reaches a port, while the process behind it runs."""
        deadline = time.monotonic() + seconds
        while not self.answering(place, address, port):
            assert while_runs.poll() is None, f"{while_runs.args} ended, and opened no port {port}"
            assert time.monotonic() < deadline, f"{while_runs.args} opens no port {port}"
            time.sleep(0.2)

    def end(self) -> None:
        self.hosts("down")

    def at_the_laptop(self, *command: str) -> list[str]:
        """Give a command a process table of its own: `ray stop` ends every Ray that it sees."""
        alone = ["unshare", "--pid", "--fork", "--mount", "--mount-proc", "--kill-child"]
        return [str(HOSTS), "laptop", *alone, *command]

    def user(self, environment: dict[str, str]) -> dict[str, str]:
        """Return the environment of the user at the laptop, with more variables."""
        return {
            **self.environment,
            **AWS,
            "HOME": str(self.folder / "home"),
            "RAY_TMPDIR": str(self.folder / "tmp"),
            "TMPDIR": str(self.folder / "tmp"),
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
            "AUTOSCALER_NODE_START_WAIT_S": "60",  # by default Ray tries a host for 15 minutes
            **environment,
        }


class S3:
    """A bucket on the laptop's address; an outage cuts the network, since it lives in memory."""

    url = f"s3://{BUCKET}"

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        code = f"""
import boto3, time
for attempt in range(100):
    try:
        boto3.client("s3").create_bucket(
            Bucket="{BUCKET}", CreateBucketConfiguration={{"LocationConstraint": "us-west-2"}})
        break
    except Exception as error:
        time.sleep(0.2)
else:
    raise error
"""
        lab.laptop("python", "-c", code)

    def stop(self) -> None:
        """Refuse every connection from now on, and cut those that are open."""
        self.lab.hosts(
            "laptop",
            "nft",
            "table inet outage { chain input { type filter hook input priority 0;"
            " tcp dport 5000 reject with tcp reset; }; }",
        )

    def start(self) -> None:
        self.lab.hosts("laptop", "nft", "delete table inet outage")


class Cluster:
    """The cluster that `ray up` made of the hosts."""

    def __init__(self, lab: Lab, config: dict, *, head: str) -> None:
        self.lab = lab
        self.head = head  # the host's name
        self.file = lab.folder / "cluster.yaml"
        self.file.write_text(yaml.safe_dump(config, sort_keys=False, width=1000))

    def up(self, nodes: list[str]) -> None:
        self.lab.laptop("ray", "up", "-y", "--no-config-cache", str(self.file), timeout=400)
        deadline = time.monotonic() + JOINING_SECONDS
        while (alive := self.alive()) != nodes:
            assert time.monotonic() < deadline, f"only {alive} of {nodes} joined"
            time.sleep(1)

    def alive(self) -> list[str]:
        """Return the addresses of the nodes that Ray calls alive, asked at the head."""
        printed = self.python(self.head, ALIVE)
        lines = [line.split()[1:] for line in printed.splitlines() if line.startswith("ALIVE")]
        return lines[0] if lines else []

    def python(self, host: str, code: str, environment: str = "", timeout: float = 120) -> str:
        """Run Python code on a host, and return what it prints, even if it fails."""
        script = f"env {environment} python - 2>&1 <<'END' || true\n{code}\nEND"
        return self.lab.enter(host, script, timeout=timeout)

    def submit(self, *entrypoint: str, timeout: float = 300) -> subprocess.CompletedProcess:
        """Run a command as a Ray job from the laptop, with the checkout; its log is the output."""
        job = ["ray", "job", "submit", "--address", "http://localhost:8265", "--working-dir", "."]
        return self.lab.laptop(*job, "--", *entrypoint, timeout=timeout, check=False)

    @contextlib.contextmanager
    def watched(self):
        """Give a function: [when, addresses alive] of each change so far, as the head sees it."""
        python = f"python -u -c {shlex.quote(CHANGES)}"
        command = [HOSTS, "enter", self.head, "su", "-", "ray", "-c", python]
        file = self.lab.folder / "changes.log"
        with file.open("w") as log:
            process = subprocess.Popen(
                command, env=self.lab.environment, stdin=subprocess.PIPE, stdout=log
            )

        def changes() -> list:
            lines = file.read_text().splitlines(keepends=True)
            return [json.loads(line) for line in lines if line[0] == "[" and line[-1] == "\n"]

        try:
            yield changes
        finally:
            process.stdin.close()
            try:
                process.wait(30)
            finally:
                process.kill()

    def end(self) -> None:
        """Do what cluster.local.yaml tells to do, since `ray down` stops only the head."""
        text = (ROOT / "cluster.local.yaml").read_text().replace("10.0.0.", "10.99.0.")
        shown = re.search(r"ray exec cluster\.local\.yaml '(.*?)'", text, re.DOTALL)[1]
        command = re.sub("^#", "", shown, flags=re.MULTILINE)
        self.lab.laptop("ray", "exec", str(self.file), command)
        self.down()

    def down(self) -> None:
        self.lab.laptop("ray", "down", "-y", str(self.file))


def bashrc_line(variables: dict[str, str]) -> str:
    """Make a set-up command that puts variables into every shell of a host, once."""
    words = " ".join(f"{name}={value}" for name, value in variables.items())
    return f"grep -q {next(iter(variables))} ~/.bashrc || sed -i '1i export {words}' ~/.bashrc"


def installed_already(commands: list[str]) -> list[str]:
    """Drop set-up commands that need the internet or a GPU; hosts share this machine's ~/venv."""
    needless = ("pip install", "apt-get", "nvidia-smi")
    return [command for command in commands if not any(word in command for word in needless)]


def rendered_local(lab: Lab) -> dict:
    """Adapt cluster.local.yaml to the lab: addresses, user and key, no installation, small nodes.

    The keys of S3 are sent in the way that the file shows.
    """
    text = (ROOT / "cluster.local.yaml").read_text()
    assert "  # ~/.aws/" in text
    text = text.replace("  # ~/.aws/", "  ~/.aws/").replace("10.0.0.", "10.99.0.")
    config = yaml.safe_load(text)
    config["cluster_name"] = lab.name
    config["auth"]["ssh_private_key"] = str(lab.key)
    config["setup_commands"] = [*installed_already(config["setup_commands"]), bashrc_line(PLACE)]
    config["head_start_ray_commands"][-1] += f" {OBJECT_STORE}"
    config["worker_start_ray_commands"][-1] += f" {OBJECT_STORE} --num-cpus=2 --num-gpus=1"
    return config
