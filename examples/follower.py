#!/usr/bin/env python3
"""A resource server's half of the kill switch, in Python, with nothing but the standard library.

It verifies access tokens offline with the broker's published keys, follows the stops (docs/ENFORCEMENT.md has the
format), and says after each change what it has seen, so that `hallpass revoke` can name it. Without a fresh word from
the broker it lets no token pass.

Here it is a program: it reads one token a line and prints one verdict a line, as JSON. `status` prints where it is.
In a service, keep `Follower`, call `judge(token)` for each request, and check the request against the claims it gives.
The signature checks are for reading, not for speed: a service uses a library for them.
"""

import argparse
import base64
import hashlib
import http.client
import json
import ssl
import sys
import threading
import time
import urllib.parse

LEEWAY = 5  # Seconds between the clocks of two machines.
# Goes on while the machine sleeps, and nobody can set it.
BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now():
    return time.clock_gettime(BOOTTIME)


class Refused(Exception):
    """Why a token is not let pass, for the service's log."""


# --- The stops ---------------------------------------------------------------------------------------------------


class Book:
    """What is known of the kill switch up to `revision`."""

    def __init__(self):
        self.revision = 0
        self.floor = 0
        self.standings = {}  # Target: (whether it is stopped, its last stop, its last change).
        self.ended = {}  # Token: when its holder ended it.
        self.unnumbered = frozenset()

    def take_in(self, piece):
        for told in piece["stops"]:
            known = self.standings.get(told["target"])
            if known is None or known[2] <= told["changed"]:
                self.standings[told["target"]] = ("stop" in told, told["stopped"], told["changed"])
        for told in piece["ended"]:
            self.ended[told["token"]] = told["revision"]
        if not piece.get("more"):
            self.unnumbered = frozenset(piece["unnumbered"])
            self.revision = piece["revision"]
            self.raise_floor(piece["floor"])

    def raise_floor(self, floor):
        """Every token that was decided before the floor is dead: what could only tell of them is forgotten."""
        if floor <= self.floor:
            return
        self.floor = floor
        for target, (in_force, _, changed) in list(self.standings.items()):
            if changed <= floor and (not in_force or target.startswith("token:")):
                del self.standings[target]
        for token, revision in list(self.ended.items()):
            if revision <= floor:
                del self.ended[token]

    def judge(self, claims):
        """A token is dead if anything that covers it is stopped now, or was stopped after it was decided. It is covered
        by its own levels and by those of every token that it was handed down from."""
        for link in [claims, *claims.get("parents", [])]:
            as_of, jti = link.get("as_of", 0), link["jti"]
            issuer = link["workload"].partition("|")[0]
            targets = ["everything", f"issuer:{issuer}", f"owner:{link['owner']}", f"agent:{link['client_id']}"]
            for target in [*targets, f"token:{jti}"]:
                in_force, stopped, _ = self.standings.get(target, (False, 0, 0))
                if in_force or target in self.unnumbered:
                    raise Refused(f"{target} is stopped")
                if stopped > as_of:
                    raise Refused(f"{target} was stopped after the token was issued")
            if jti in self.ended:
                raise Refused("its holder ended it")
            if as_of < self.floor:
                raise Refused("it is older than any token lives")
            if as_of > self.revision:
                raise Refused("it was issued after a change that is not known here")


class Follower:
    def __init__(self, arguments):
        self.arguments = arguments
        self.name = arguments.name
        with open(arguments.key_file, encoding="utf-8") as file:
            self.key = file.read().strip()
        self.keys = Keys(arguments)
        self.changed = threading.Condition()
        # All that follows is changed under the lock of `changed`.
        self.book = Book()
        self.id = None  # The place up to which everything is taken in.
        self.max_staleness = arguments.max_staleness
        self.fresh = None  # The book holds all that the broker knew at this moment.
        self.promised = []  # (id, moment): so fresh is the book once it has reached the id.
        self.due = 0  # Counts what is to be reported.

    def start(self):
        for work in [self.follow_for_ever, self.report_for_ever]:
            threading.Thread(target=work, daemon=True).start()

    # - judging

    def judge(self, token):
        """The claims of a token that may pass; else why not."""
        claims = self.keys.verify(token)
        with self.changed:
            # Issued a moment ago, by a broker that is ahead of the stream: what it knows is on its way.
            as_of = max(link.get("as_of", 0) for link in [claims, *claims.get("parents", [])])
            self.changed.wait_for(lambda: as_of <= self.book.revision, timeout=1)
            if self.fresh is None or now() - self.fresh > self.max_staleness:
                raise Refused("the stops are not known: nothing fresh came from the broker")
            self.book.judge(claims)
        return claims

    def status(self):
        with self.changed:
            age = None if self.fresh is None else round((now() - self.fresh) * 1000)
            return {"id": self.id, "age_ms": age, "fresh": age is not None and age <= self.max_staleness * 1000}

    # - reporting

    def report_for_ever(self):
        """Reports after each change and each heartbeat. The answer says how fresh that makes the book."""
        reported, connection = 0, None
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.due > reported)
                reported, report = self.due, {"follower": self.name, "id": self.id}
            asked = now()
            try:
                connection = connection or self.connect()
                answer = self.post(connection, report)
            except (OSError, ValueError, http.client.HTTPException) as error:
                tell("report", error)
                connection = None
                continue
            with self.changed:
                self.max_staleness = min(self.arguments.max_staleness, answer["max_staleness_ms"] / 1000)
                self.promised = self.promised[-63:] + [(answer["id"], asked - answer["age_ms"] / 1000)]
                self.keep_promises()

    def post(self, connection, report):
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        connection.request("POST", "/v1/revocations/seen", json.dumps(report), headers)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise OSError(f"{response.status} {body[:200]!r}")
        return json.loads(body)

    def keep_promises(self):
        left = []
        for promised, moment in self.promised:
            if reaches(self.id, promised):
                self.fresh = moment if self.fresh is None else max(self.fresh, moment)
            else:
                left.append((promised, moment))
        self.promised = left

    def leave(self):
        """Before the process ends: no stop waits for it any more."""
        with self.changed:
            self.fresh, self.max_staleness = None, -1
        try:
            self.post(self.connect(), {"follower": self.name, "id": None, "leaving": True})
        except (OSError, ValueError, http.client.HTTPException) as error:
            tell("leave", error)

    # - following

    def connect(self):
        return connection_to(self.arguments.admin_url, self.arguments.ca_file)

    def follow_for_ever(self):
        pause = 0.1
        while True:
            began = now()
            try:
                self.follow()
            except (OSError, ValueError, http.client.HTTPException) as error:
                tell("stream", error)
            if now() - began > 10:
                pause = 0.1
            time.sleep(pause)
            pause = min(pause * 2, 2)

    def follow(self):
        headers = {"authorization": f"Bearer {self.key}", "accept": "text/event-stream"}
        if self.id is not None:
            headers["last-event-id"] = self.id
        connection = self.connect()
        try:
            connection.request("GET", f"/v1/revocations/stream?follower={self.name}", headers=headers)
            # http.client lets go of the socket once the answer is known to be the last one.
            response = connection.getresponse()
            if response.status != 200:
                raise OSError(f"{response.status} {response.read()[:200]!r}")
            pieces = []
            for kind, place, data in events(response):
                if kind == "changes":
                    pieces.append(data)
                    if not data.get("more"):
                        self.take_in(pieces, place)
                        pieces = []
                elif kind == "heartbeat":
                    with self.changed:
                        self.book.raise_floor(data["floor"])
                        self.report_soon()
                elif kind == "hello":
                    if data["version"] != 1 or data["issuer"] != self.arguments.issuer:
                        raise OSError(f"the stream of another broker: {data}")
                    tell("hello", data["follower"])
                elif kind == "end":
                    tell("end", data["reason"])
                    return
        finally:
            connection.close()

    def take_in(self, pieces, place):
        with self.changed:
            # What is begun anew is built beside what is judged by, and takes its place whole.
            book = Book() if pieces[0].get("reset") else self.book
            for piece in pieces:
                book.take_in(piece)
            self.book, self.id = book, place
            self.keep_promises()
            self.report_soon()

    def report_soon(self):
        self.due += 1
        self.changed.notify_all()


def reaches(place, promised):
    """Whether whoever is at `place` knows all that `promised` stands for. `<revision>-<mark>-<unnumbered>`."""
    if place is None or place == promised:
        return place is not None
    (at, _, here), (to, _, there) = place.split("-"), promised.split("-")
    return int(at) > int(to) and there in ("00000000", here)


def events(response):
    """Server-sent events, as this stream sends them. A silent one ends by the connection's time-out."""
    kind, place, data = "message", None, []
    while line := response.readline():
        line = line.decode("utf-8").rstrip("\r\n")
        if not line:
            if data:
                yield kind, place, json.loads("\n".join(data))
            kind, place, data = "message", None, []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            place = value
        elif name == "data":
            data.append(value)


# --- The tokens --------------------------------------------------------------------------------------------------


class Keys:
    """The broker's published keys, and what a token must say."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.lock = threading.Lock()
        self.known, self.fetched = {}, None

    def verify(self, token):
        try:
            head, body, signature = token.split(".")
            header, claims = json.loads(decoded(head)), json.loads(decoded(body))
            signature = decoded(signature)
        except ValueError as error:
            raise Refused("it is no JWT") from error
        if header.get("typ") != "at+jwt" or "crit" in header:
            raise Refused("it is no access token")
        key = self.of(header.get("kid"))
        if key is None or header.get("alg") != key.get("alg"):
            raise Refused("no published key signed it")
        check = {"ES256": es256, "EdDSA": ed25519, "RS256": rs256}.get(key["alg"])
        if check is None or not check(key, f"{head}.{body}".encode(), signature):
            raise Refused("its signature is wrong")
        moment = time.time()
        if claims["iss"] != self.arguments.issuer:
            raise Refused("it is of another issuer")
        if self.arguments.audience not in claims["aud"]:
            raise Refused("it is for others")
        if moment >= claims["exp"]:
            raise Refused("it is expired")
        if max(claims["nbf"], claims["iat"]) > moment + LEEWAY:
            raise Refused("it is not good yet")
        if "cnf" in claims:
            raise Refused("it is bound to a key, which this example does not check")
        return claims

    def of(self, kid):
        with self.lock:
            # A key that is not known may be new. Nobody's tokens cause more than one question a second.
            if kid not in self.known and (self.fetched is None or now() - self.fetched > 1):
                self.fetched = now()
                try:
                    connection = connection_to(self.arguments.url, self.arguments.ca_file)
                    connection.request("GET", "/.well-known/jwks.json")
                    keys = json.loads(connection.getresponse().read())["keys"]
                    connection.close()
                    self.known = {key["kid"]: key for key in keys}
                except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                    tell("keys", error)
            return self.known.get(kid)


def decoded(text):
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("not base64url as it is written (RFC 7515 §2)")
    return raw


def number(text):
    return int.from_bytes(decoded(text), "big")


P256 = 2**256 - 2**224 + 2**192 + 2**96 - 1
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_BASE = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def p256_add(one, other):
    if one is None or other is None:
        return one or other
    (x, y), (u, v) = one, other
    if x == u and (y + v) % P256 == 0:
        return None
    slope = (3 * x * x - 3) * pow(2 * y, -1, P256) if one == other else (v - y) * pow(u - x, -1, P256)
    w = (slope * slope - x - u) % P256
    return w, (slope * (x - w) - y) % P256


def p256_times(point, factor):
    product = None
    while factor:
        if factor & 1:
            product = p256_add(product, point)
        point, factor = p256_add(point, point), factor >> 1
    return product


def es256(key, message, signature):
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if len(signature) != 64 or not 0 < r < P256_ORDER or not 0 < s < P256_ORDER:
        return False
    inverse = pow(s, -1, P256_ORDER)
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    public = number(key["x"]), number(key["y"])
    one = p256_times(P256_BASE, digest * inverse % P256_ORDER)
    point = p256_add(one, p256_times(public, r * inverse % P256_ORDER))
    return point is not None and point[0] % P256_ORDER == r


ED = 2**255 - 19
ED_ORDER = 2**252 + 27742317777372353535851937790883648493
ED_D = -121665 * pow(121666, -1, ED) % ED


def ed_add(one, other):
    (a, b), (c, d) = one, other
    product = ED_D * a * b * c * d
    return (a * d + b * c) * pow(1 + product, -1, ED) % ED, (b * d + a * c) * pow(1 - product, -1, ED) % ED


def ed_times(point, factor):
    product = (0, 1)
    while factor:
        if factor & 1:
            product = ed_add(product, point)
        point, factor = ed_add(point, point), factor >> 1
    return product


def ed_point(encoded):
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(ED_D * y * y + 1, -1, ED) % ED
    x = pow(square, (ED + 3) // 8, ED)
    if (x * x - square) % ED:
        x = x * pow(2, (ED - 1) // 4, ED) % ED
    if y >= ED or (x * x - square) % ED or (x == 0 and sign):
        return None
    return (ED - x if x & 1 != sign else x), y


def ed25519(key, message, signature):
    public = decoded(key["x"])
    if len(signature) != 64 or len(public) != 32:
        return False
    r, a, s = ed_point(signature[:32]), ed_point(public), int.from_bytes(signature[32:], "little")
    if r is None or a is None or s >= ED_ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ED_ORDER
    base = ed_point((4 * pow(5, -1, ED) % ED).to_bytes(32, "little"))
    return ed_times(base, s) == ed_add(r, ed_times(a, challenge))


def rs256(key, message, signature):
    modulus, exponent = number(key["n"]), number(key["e"])
    size = (modulus.bit_length() + 7) // 8
    digest = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(message).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    signed = int.from_bytes(signature, "big")
    return len(signature) == size and signed < modulus and pow(signed, exponent, modulus).to_bytes(size, "big") == padded


# --- The program -------------------------------------------------------------------------------------------------


def connection_to(url, ca_file):
    address = urllib.parse.urlsplit(url)
    # A heartbeat comes each second.
    if address.scheme == "https":
        context = ssl.create_default_context(cafile=ca_file)
        return http.client.HTTPSConnection(address.netloc, timeout=3, context=context)
    return http.client.HTTPConnection(address.netloc, timeout=3)


def tell(what, words):
    print(f"{what}: {words}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--url", required=True, help="where the broker's keys are published")
    parser.add_argument("--admin-url", required=True, help="where the stops are followed")
    parser.add_argument("--issuer", help="`iss` of the tokens; --url if not given")
    parser.add_argument("--audience", required=True, help="the origin that this service is")
    parser.add_argument("--key-file", required=True, help="the key of the [[resource_server]]")
    parser.add_argument("--name", required=True, help="another for each process of the service")
    parser.add_argument("--max-staleness", type=float, default=60, help="seconds; the broker's is used if it is less")
    parser.add_argument("--ca-file", help="roots to trust, PEM")
    arguments = parser.parse_args()
    arguments.issuer = arguments.issuer or arguments.url
    follower = Follower(arguments)
    follower.start()
    for line in sys.stdin:
        if line.strip() == "status":
            verdict = follower.status()
        else:
            try:
                verdict = {"pass": True, "agent": follower.judge(line.strip())["client_id"]}
            except Refused as refused:
                verdict = {"pass": False, "because": str(refused)}
            except (KeyError, TypeError, ValueError):
                verdict = {"pass": False, "because": "it is not as hallpass writes tokens"}
        print(json.dumps(verdict), flush=True)
    follower.leave()


if __name__ == "__main__":
    main()
