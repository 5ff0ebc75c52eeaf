"""authlib: an agent by token exchange and by registered key, a resource server by introspection."""

import time
import unittest

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc6750.errors import InvalidTokenError
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import ECKey, KeySet, OKPKey
from world import ACCESS_TOKEN, JWT, TOKEN_EXCHANGE, WORLD, metadata, proof

SERVER = metadata()


def exchange(alg="ES256", **narrowing):
    session = OAuth2Session()
    proven = {"subject_token": proof(alg), "subject_token_type": JWT}
    return session.fetch_token(SERVER["token_endpoint"], grant_type=TOKEN_EXCHANGE, **proven, **narrowing)


def key_holder(key, alg, **options):
    """A session that proves itself with a registered key."""
    session = OAuth2Session(WORLD["agent"], key, token_endpoint_auth_method="private_key_jwt")
    session.register_client_auth_method(PrivateKeyJWT(alg=alg, **options))
    return session


def by_key(key, alg, **narrowing):
    # authlib names an hour by itself; hallpass takes five minutes. Its audience is the token endpoint.
    session = key_holder(key, alg, claims={"exp": int(time.time()) + 60})
    return session.fetch_token(SERVER["token_endpoint"], grant_type="client_credentials", **narrowing)


def ed25519():
    return OKPKey.import_key(WORLD["ed25519_key"])


def introspect(token):
    server = OAuth2Session(WORLD["resource_server"], WORLD["resource_server_key"])
    answer = server.introspect_token(SERVER["introspection_endpoint"], token, "access_token")
    answer.raise_for_status()
    return answer.json()


class Validator(JWTBearerTokenValidator):
    def get_jwks(self):
        return KeySet.import_key_set(requests.get(SERVER["jwks_uri"], timeout=10).json())


class Agent(unittest.TestCase):
    def test_token_exchange(self):
        for alg in ("ES256", "RS256"):
            with self.subTest(alg):
                token = exchange(alg)
                self.assertEqual(token["token_type"], "Bearer")
                self.assertEqual(token["issued_token_type"], ACCESS_TOKEN)
                self.assertEqual(token["scope"], "payments:read payments:push ledger:GET")
                self.assertFalse(token.is_expired())

    def test_narrowing(self):
        self.assertEqual(exchange(scope="ledger:GET")["scope"], "ledger:GET")
        self.assertEqual(exchange(resource=WORLD["origin"])["scope"], "ledger:GET")
        self.assertLessEqual(exchange(requested_ttl="60")["expires_in"], 60)

    def test_refusals_are_errors_of_the_library(self):
        with self.assertRaises(OAuthError) as refused:
            exchange(scope="payments:read secrets:read")
        self.assertEqual(refused.exception.error, "invalid_scope")
        self.assertIn("secrets:read", refused.exception.description)

    def test_registered_ed25519_key(self):
        for alg in ("EdDSA", "Ed25519"):  # RFC 8037, RFC 9864
            with self.subTest(alg):
                token = by_key(ed25519(), alg, scope="ledger:GET")
                self.assertEqual(token["scope"], "ledger:GET")
                self.assertTrue(introspect(token["access_token"])["active"])

    def test_registered_p256_key(self):
        token = by_key(ECKey.import_key(WORLD["p256_key"]), "ES256")
        self.assertIn("payments:read", token["scope"])

    def test_what_is_wrong_with_an_assertion_is_said(self):
        cases = [
            ({}, "5 minutes from iat to exp"),  # an hour of life
            ({"token_endpoint": SERVER["jwks_uri"]}, "aud must be this broker's issuer or its token endpoint"),
        ]
        for options, words in cases:
            with self.assertRaises(OAuthError) as refused:
                session = key_holder(ed25519(), "EdDSA", **options)
                session.fetch_token(SERVER["token_endpoint"], grant_type="client_credentials")
            self.assertEqual(refused.exception.error, "invalid_client")
            self.assertIn(words, refused.exception.description)

    def test_an_agent_ends_its_own_token(self):
        ended, kept = exchange()["access_token"], exchange()["access_token"]
        answer = OAuth2Session().revoke_token(SERVER["revocation_endpoint"], ended, "access_token")
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(introspect(ended), {"active": False})
        self.assertTrue(introspect(kept)["active"])


class ResourceServer(unittest.TestCase):
    def test_introspection(self):
        answer = introspect(exchange()["access_token"])
        self.assertTrue(answer["active"])
        self.assertEqual(answer["client_id"], WORLD["agent"])
        self.assertEqual(answer["owner"], "team-payments")
        self.assertEqual(introspect(exchange(scope="payments:read")["access_token"]), {"active": False})

    def test_introspection_needs_the_key(self):
        stranger = OAuth2Session(WORLD["resource_server"], "a guess")
        token = exchange()["access_token"]
        answer = stranger.introspect_token(SERVER["introspection_endpoint"], token)
        self.assertEqual((answer.status_code, answer.json()["error"]), (401, "invalid_client"))

    def test_verification_by_rfc_9068(self):
        token = exchange()["access_token"]
        validator = Validator(SERVER["issuer"], WORLD["origin"])
        claims = validator.authenticate_token(token)
        validator.validate_token(claims, ["ledger:GET"], None)
        self.assertEqual(claims["sub"], f"agent:{WORLD['agent']}")
        other = Validator(SERVER["issuer"], "https://other.acme.internal")
        with self.assertRaises(InvalidTokenError):
            other.validate_token(other.authenticate_token(token), ["ledger:GET"], None)
