"""What a test may know: the broker's issuer, and what a workload and a resource server hold."""

import json
import os
import pathlib

import requests
from authlib.oauth2.rfc8414 import get_well_known_url

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"

WORLD = json.loads(pathlib.Path(os.environ["CLIENTS_WORLD"]).read_text())


def proof(alg="ES256"):
    """A fresh token of the platform that the workload runs on."""
    answer = requests.get(WORLD["proof_url"], params={"alg": alg}, timeout=10)
    answer.raise_for_status()
    return answer.text


def metadata():
    """All that a client knows of a broker (RFC 8414 §3), found by its issuer."""
    answer = requests.get(get_well_known_url(WORLD["issuer"], external=True), timeout=10)
    answer.raise_for_status()
    found = answer.json()
    assert found["issuer"] == WORLD["issuer"], found
    return found
