"""A server before moto that answers what moto 5.2 does not: names of images, and quotas.

    python tests/cluster/aws_shim.py HOST PORT MOTO_URL

AWS resolves `resolve:ssm:NAME` in RunInstances. The shim does so for the public names of images:
each stands for the same image of moto. It also answers the look-up of these names (SSM) and the
quotas of GPU machines (Service Quotas). All other requests go to moto as they are.
"""

import http.client
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

import boto3

PUBLIC = re.compile(  # names that AWS documents for its own images and for Canonical's
    r"/aws/service/(deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24\.04/latest/ami-id"
    r"|canonical/ubuntu/server/24\.04/stable/current/amd64/hvm/ebs-gp3/ami-id)"
)
RESOLVE = "resolve:ssm:"
QUOTAS = {"L-3819A6DF": 0.0, "L-DB2E81BA": 8.0}  # vCPUs of spot and of on-demand G machines


class Shim(BaseHTTPRequestHandler):
    """Answers one connection; `server.moto` is where moto is, and `server.image` the image."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = self.headers.get("X-Amz-Target", "")
        operation = target.rpartition(".")[2]
        if operation in ("GetParameter", "GetParameters"):
            return self._parameters(operation, json.loads(body))
        if operation in ("GetServiceQuota", "GetAWSDefaultServiceQuota"):
            code = json.loads(body)["QuotaCode"]
            return self._json(200, {"Quota": {"QuotaCode": code, "Value": QUOTAS[code]}})
        form = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))
        image = form.get("ImageId", "")
        if form.get("Action") == "RunInstances" and image.startswith(RESOLVE):
            if not PUBLIC.fullmatch(image.removeprefix(RESOLVE)):
                return self._unknown(image)
            body = urlencode(form | {"ImageId": self.server.image}).encode()
        return self._pass_on(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815  # http.server's names

    def _parameters(self, operation: str, asked: dict) -> None:
        names = [asked["Name"]] if operation == "GetParameter" else asked["Names"]
        found = [{"Name": n, "Value": self.server.image} for n in names if PUBLIC.fullmatch(n)]
        if operation == "GetParameters":
            return self._json(200, {"Parameters": found, "InvalidParameters": []})
        if not found:
            return self._json(400, {"__type": "ParameterNotFound", "message": names[0]})
        return self._json(200, {"Parameter": found[0]})

    def _unknown(self, image: str) -> None:
        text = f"<Response><Errors><Error><Code>InvalidAMIID.NotFound</Code><Message>{image}"
        end = "</Message></Error></Errors><RequestID>shim</RequestID></Response>"
        self._send(400, {"Content-Type": "text/xml"}, (text + end).encode())

    def _json(self, status: int, answer: dict) -> None:
        self._send(
            status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()
        )

    def _pass_on(self, body: bytes) -> None:
        moto = http.client.HTTPConnection(*self.server.moto, timeout=60)
        kept = {k: v for k, v in self.headers.items() if k.lower() not in _OURS}
        moto.request(self.command, self.path, body, kept | {"Content-Length": str(len(body))})
        reply = moto.getresponse()
        content = reply.read()
        headers = {k: v for k, v in reply.getheaders() if k.lower() not in _OURS}
        if self.command == "HEAD":
            headers["Content-Length"] = reply.getheader("Content-Length") or "0"
        self._send(reply.status, headers, content)
        moto.close()

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


_OURS = {"content-length", "transfer-encoding", "connection"}


def serve(host: str, port: int, moto: str) -> ThreadingHTTPServer:
    """Make the server that listens at a host and port, with moto's URL behind it."""
    ec2 = boto3.client(
        "ec2",
        endpoint_url=moto,
        region_name="us-west-2",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    images = [i for i in ec2.describe_images()["Images"] if i["Architecture"] == "x86_64"]
    server, at = ThreadingHTTPServer((host, port), Shim), urlsplit(moto)
    server.moto, server.image = (at.hostname, at.port), images[0]["ImageId"]
    return server


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]).serve_forever()
