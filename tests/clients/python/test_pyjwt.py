"""PyJWT: a resource server verifies tokens offline, with the keys that the metadata names."""

import unittest

import jwt
from authlib.integrations.requests_client import OAuth2Session
from world import JWT, TOKEN_EXCHANGE, WORLD, metadata, proof

SERVER = metadata()
KEYS = jwt.PyJWKClient(SERVER["jwks_uri"])


def a_token():
    proven = {"subject_token": proof(), "subject_token_type": JWT}
    return OAuth2Session().fetch_token(SERVER["token_endpoint"], grant_type=TOKEN_EXCHANGE, **proven)["access_token"]


def verify(token, audience):
    key = KEYS.get_signing_key_from_jwt(token)
    required = {"require": ["exp", "iat", "nbf", "iss", "aud", "sub", "jti"]}
    algorithms = SERVER["access_token_signing_alg_values_supported"]
    checked = jwt.decode_complete(
        token, key, algorithms=algorithms, audience=audience, issuer=SERVER["issuer"], options=required
    )
    assert checked["header"]["typ"] == "at+jwt", checked["header"]
    return checked["payload"]


class Verification(unittest.TestCase):
    def test_a_token_verifies(self):
        for audience in (WORLD["origin"], "https://github.com"):
            claims = verify(a_token(), audience)
            self.assertEqual(claims["client_id"], WORLD["agent"])
            kinds = [detail["type"] for detail in claims["authorization_details"]]
            self.assertEqual(kinds, ["git_repository", "http_endpoint"])
            self.assertLessEqual(claims["exp"] - claims["iat"], 900)

    def test_a_token_for_others_does_not(self):
        with self.assertRaises(jwt.InvalidAudienceError):
            verify(a_token(), "https://other.acme.internal")

    def test_a_changed_token_does_not(self):
        header, claims, signature = a_token().split(".")
        changed = ("A" if signature[0] != "A" else "B") + signature[1:]
        with self.assertRaises(jwt.InvalidSignatureError):
            verify(f"{header}.{claims}.{changed}", WORLD["origin"])

    def test_the_platforms_own_token_is_no_access_token(self):
        with self.assertRaises(jwt.PyJWTError):
            verify(proof(), SERVER["issuer"])
