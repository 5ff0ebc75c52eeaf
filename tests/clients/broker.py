"""What the clients meet: a hallpass that serves, and the OIDC issuer of a platform beside it.

    python broker.py FOLDER HALLPASS -- COMMAND…

makes a configuration in FOLDER, starts both on loopback, runs COMMAND, ends both and exits as COMMAND did. COMMAND
finds what it may know in the JSON file that CLIENTS_WORLD names:

    issuer              the broker's issuer: all that a client is told of it
    proof_url           gives a fresh proof of the workload, `?alg=ES256` or `?alg=RS256`, as text
    agent               the agent that the workload is
    ed25519_key         its private key, as `hallpass keygen` wrote it
    p256_key            another, as openssl would write it
    resource_server     who may introspect, and
    resource_server_key its key, as `hallpass operator new` made it
    origin              the origin that it guards
    tool_caller         another agent, which may call one MCP server,
    tool_caller_key     its private key, and
    mcp_url             that server: 401 with a way to its metadata (RFC 9728) until a token of the broker is shown
"""

import base64
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AGENT = "payments-refactorer"
TOOL_CALLER = "tool-caller"
ORIGIN = "https://ledger.staging.acme.internal"
CLAIMS = {"repository_id": "456789", "ref": "refs/heads/main"}
READY_WITHIN = 20  # seconds


class Issuer(ThreadingHTTPServer):
    """An OIDC issuer as a CI system runs one: discovery, keys, and a proof for the job that asks."""

    def __init__(self, audience):
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.audience = audience
        ec_key = ec.generate_private_key(ec.SECP256R1())
        rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.keys = {"ES256": ec_key, "RS256": rsa_key}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def discovery(self):
        return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}

    def jwks(self):
        es256 = ECAlgorithm.to_jwk(self.keys["ES256"].public_key(), as_dict=True)
        rs256 = RSAAlgorithm.to_jwk(self.keys["RS256"].public_key(), as_dict=True)
        both = [("ES256", es256), ("RS256", rs256)]
        return {"keys": [public_jwk(key) | {"kid": alg, "alg": alg, "use": "sig"} for alg, key in both]}

    def proof(self, alg):
        now = int(time.time())
        claims = CLAIMS | {
            "iss": self.url,
            "sub": "repo:acme/payments:ref:refs/heads/main",
            "aud": self.audience,
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self.keys[alg], algorithm=alg, headers={"kid": alg})


class McpServer(ThreadingHTTPServer):
    """A server as MCP clients meet it: it says whose tokens it takes, and takes no others."""

    def __init__(self, broker_url):
        super().__init__(("127.0.0.1", 0), McpAnswer)
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.origin}/mcp"
        self.broker_url = broker_url
        self.keys = jwt.PyJWKClient(f"{broker_url}/.well-known/jwks.json")
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def protected_resource(self):
        servers = {"authorization_servers": [self.broker_url]}
        return servers | {"resource": self.origin, "scopes_supported": ["tools:POST"]}

    def whose(self, token):
        key = self.keys.get_signing_key_from_jwt(token).key
        claims = jwt.decode(token, key, algorithms=["ES256"], audience=self.origin, issuer=self.broker_url)
        return {"client_id": claims["client_id"], "scope": claims["scope"]}


class McpAnswer(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/.well-known/oauth-protected-resource":
            self.say(200, self.server.protected_resource())
        else:
            self.say(404, {})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        try:
            assert scheme == "Bearer" and self.path == "/mcp"
            self.say(200, self.server.whose(token))
        except (AssertionError, jwt.PyJWTError):
            self.say(401, {})

    def say(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        if status == 401:
            metadata = f"{self.server.origin}/.well-known/oauth-protected-resource"
            self.send_header("WWW-Authenticate", f'Bearer resource_metadata="{metadata}"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        alg = urllib.parse.parse_qs(url.query).get("alg", ["ES256"])[0]
        if url.path == "/.well-known/openid-configuration":
            self.say(json.dumps(self.server.discovery()), "application/json")
        elif url.path == "/jwks":
            self.say(json.dumps(self.server.jwks()), "application/json")
        elif url.path == "/proof" and alg in self.server.keys:
            self.say(self.server.proof(alg), "text/plain")
        else:
            self.send_error(404)

    def say(self, text, kind):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


def public_jwk(key):
    """Without `key_ops`, which differ between libraries and versions."""
    return {name: value for name, value in key.items() if name != "key_ops"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def p256_key(path):
    """A key pair that was not made by hallpass: PKCS#8 to `path`, and what the agent's file says of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form))
    point = key.public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (point.x, point.y))
    return f'[[identity]]\nkey = {{ kty = "EC", crv = "P-256", x = "{x}", y = "{y}" }}\n'


def agent_file(issuer_rule, keys):
    return f"""purpose = "Meets the clients that others wrote."
owner = "team-payments"
{issuer_rule}
{keys}
[[repository]]
name = "payments"
url = "https://github.com/acme/payments"
refs = ["refs/heads/agent/*"]
free = ["read", "push"]

[[endpoint]]
name = "ledger"
url = "{ORIGIN}"
paths = ["/v1/entries/**"]
free = ["GET"]
"""


def tool_caller_file(keys, origin):
    return f"""purpose = "Calls the tools of one MCP server."
owner = "team-payments"
{keys}
[[endpoint]]
name = "tools"
url = "{origin}"
paths = ["/mcp"]
free = ["GET", "POST"]
"""


def configuration(public, admin, issuer_url, resource_server_key):
    return f"""[server]
listen = "127.0.0.1:{public}"
public_url = "http://127.0.0.1:{public}"
[admin]
listen = "127.0.0.1:{admin}"
local_operator_key_file = "operator.key"
[store]
url = "sqlite://hallpass.db"
[limits]
refusals_per_minute = 0
[[resource_server]]
name = "ledger"
origins = ["{ORIGIN}"]
key_sha256 = "{hashlib.sha256(resource_server_key.encode()).hexdigest()}"
[[issuer]]
name = "ci"
url = "{issuer_url}"
audience = "http://127.0.0.1:{public}"
"""


class Broker:
    """A `hallpass serve` with a folder of its own."""

    def __init__(self, folder, hallpass):
        self.folder, self.hallpass = folder, hallpass
        # A variable of whoever runs this must not reach the broker's configuration.
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("HALLPASS_")}
        port, admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.issuer = Issuer(audience=self.url)
        self.mcp = McpServer(self.url)
        keys = self.run("keygen", "--out", str(folder / "ed25519.key")) + p256_key(folder / "p256.key")
        self.run("operator", "new", "ledger", "--roles", "auditor", "--out", str(folder / "ledger.key"))
        self.ledger_key = (folder / "ledger.key").read_text().strip()
        rule = ", ".join(f'{name} = "{value}"' for name, value in CLAIMS.items())
        rule = f'[[identity]]\nissuer = "ci"\nclaims = {{ {rule} }}\n'
        (folder / "agents").mkdir()
        (folder / "agents" / f"{AGENT}.toml").write_text(agent_file(rule, keys))
        tool_caller = tool_caller_file(p256_key(folder / "tool-caller.key"), self.mcp.origin)
        (folder / "agents" / f"{TOOL_CALLER}.toml").write_text(tool_caller)
        config = configuration(port, admin_port, self.issuer.url, self.ledger_key)
        (folder / "hallpass.toml").write_text(config)

    def run(self, *args):
        done = subprocess.run([self.hallpass, *args], env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"hallpass {args[0]}: {done.stderr}")
        return done.stdout

    def __enter__(self):
        self.log = (self.folder / "log").open("w+")
        command = [self.hallpass, "serve", "--config", str(self.folder / "hallpass.toml")]
        self.process = subprocess.Popen(command, env=self.environment, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + READY_WITHIN
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                sys.exit(f"the broker did not start:\n{self.said()}")
            time.sleep(0.05)
        return self

    def ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def said(self):
        return (self.folder / "log").read_text()

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def known(self):
        return {
            "issuer": self.url,
            "proof_url": f"{self.issuer.url}/proof",
            "agent": AGENT,
            "ed25519_key": (self.folder / "ed25519.key").read_text(),
            "p256_key": (self.folder / "p256.key").read_text(),
            "resource_server": "ledger",
            "resource_server_key": self.ledger_key,
            "origin": ORIGIN,
            "tool_caller": TOOL_CALLER,
            "tool_caller_key": (self.folder / "tool-caller.key").read_text(),
            "mcp_url": self.mcp.url,
        }


def main():
    folder, hallpass, dashes, *command = sys.argv[1:]
    assert dashes == "--" and command, __doc__
    folder = pathlib.Path(folder).resolve()
    world = folder / "world.json"
    with Broker(folder, hallpass) as broker:
        world.touch(mode=0o600)
        world.write_text(json.dumps(broker.known()))
        code = subprocess.run(command, env=os.environ | {"CLIENTS_WORLD": str(world)}).returncode
        if code != 0:
            lines = [line for line in broker.said().splitlines() if '"level":"INFO"' not in line]
            print("the broker's log, from warnings on:", *lines, sep="\n", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
