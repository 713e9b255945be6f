"""EC2 simulated by moto, with instances that are real hosts of the lab: they boot, they go off."""

import json
import subprocess
import threading

import yaml

from tests.cluster.lab import AWS, OBJECT_STORE, ROOT, Lab, bashrc_line, installed_already

HEAD_ON_EC2 = "10.99.0.4"  # the first address that EC2 gives away in a network
# The network in which the lab's hosts are. All else that `ray up` needs, deploy/aws.sh makes.
ACCOUNT = """
vpc = ec2.create_vpc(CidrBlock="10.99.0.0/24")["Vpc"]["VpcId"]
subnet = ec2.create_subnet(
    VpcId=vpc, CidrBlock="10.99.0.0/24", AvailabilityZone="us-west-2a")["Subnet"]["SubnetId"]
answer = {"subnet": subnet}
"""
RUNNING = """
only = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
found = ec2.describe_instances(Filters=only)["Reservations"]
answer = sorted((i for r in found for i in r["Instances"]), key=lambda i: str(i["LaunchTime"]))
"""
POLL = f"""
import boto3, json, time
ec2 = boto3.client("ec2")
before = None
while True:
    {RUNNING.replace(chr(10), chr(10) + "    ")}
    keys = ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
    public = {{key["KeyName"]: key["PublicKey"] for key in keys}}
    now = {{i["PrivateIpAddress"]: public[i["KeyName"]] for i in answer}}
    if now != before:
        print(json.dumps(now))
    before = now
    time.sleep(1)
"""


class Ec2:
    """The hosts behind moto's instances: boots one for each that runs, removes the others."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.prepared = lab.laptop("bash", "deploy/aws.sh", timeout=300).stdout
        self.account = self.ask(ACCOUNT)
        self.poll = subprocess.Popen(
            lab.at_the_laptop("python", "-u", "-c", POLL),
            env=lab.user({}),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.power = threading.Thread(target=self._follow)
        self.power.start()

    def ask(self, code: str):
        """Run code that uses a client `ec2`, and return what it assigns to `answer`."""
        wrapped = f"import boto3, json\nec2 = boto3.client('ec2')\n{code}"
        wrapped += "\nprint(json.dumps(answer, default=str))"
        return json.loads(self.lab.laptop("python", "-c", wrapped).stdout)

    def running(self) -> list[dict]:
        """Return EC2's description of each running instance, the head first."""
        return self.ask(RUNNING)

    def end(self) -> None:
        self.poll.kill()
        self.poll.wait()
        self.power.join()
        self.poll.stdout.close()

    def _follow(self) -> None:
        booted: set[str] = set()
        for line in self.poll.stdout:
            running = json.loads(line)  # {address: the public half of its key}
            for address in booted - set(running):
                self.lab.hosts("scrap", host_at(address))
            for address in set(running) - booted:
                self.lab.boot(host_at(address), address)
                let_in = f"echo '{running[address]}' >>~ray/.ssh/authorized_keys"
                self.lab.hosts("enter", host_at(address), "bash", "-c", let_in)
            booted = set(running)


def host_at(address: str) -> str:
    """Return the name of an instance's host."""
    return f"i{address.rsplit('.', 1)[1]}"


def rendered_aws(lab: Lab, account: dict) -> dict:
    """Adapt cluster.yaml to moto's EC2: network, no installation, fewer workers."""
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    address = '--node-ip-address=$(echo $SSH_CONNECTION | cut -d" " -f3)'  # no default route
    config["cluster_name"] = lab.name
    config["provider"].update(use_internal_ips=True, availability_zone="us-west-2a")
    config["auth"]["ssh_user"] = "ray"
    for node_type in config["available_node_types"].values():
        node_type["node_config"].update(SubnetIds=[account["subnet"]])
    config["available_node_types"]["gpu_spot"]["max_workers"] = config["max_workers"] = 2
    config["idle_timeout_minutes"] = 0.25
    config["setup_commands"] = [*installed_already(config["setup_commands"]), bashrc_line(AWS)]
    config["worker_setup_commands"] = []
    for start in ("head_start_ray_commands", "worker_start_ray_commands"):
        config[start][-1] += f" {address} {OBJECT_STORE}"
    return config
