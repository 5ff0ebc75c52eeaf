"""google-auth: the file of an external account, with hallpass where Google's token service would be."""

import json
import pathlib
import tempfile
import unittest

import requests
from google.auth import identity_pool
from google.auth.exceptions import OAuthError
from google.auth.transport.requests import AuthorizedSession, Request
from world import JWT, WORLD, metadata, proof

SERVER = metadata()


class ExternalAccount(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def credentials(self, audience=SERVER["issuer"], scopes=None, subject_token=None):
        subject_token_file = self.folder / "subject_token"
        subject_token_file.write_text(subject_token or proof("RS256"))
        file = self.folder / "credentials.json"
        account = {
            "type": "external_account",
            "audience": audience,
            "subject_token_type": JWT,
            "token_url": SERVER["token_endpoint"],
            "credential_source": {"file": str(subject_token_file)},
        }
        file.write_text(json.dumps(account))
        return identity_pool.Credentials.from_file(file, scopes=scopes)

    def test_a_token_for_everything_that_is_free(self):
        credentials = self.credentials()
        credentials.refresh(Request())
        self.assertTrue(credentials.valid)
        self.assertEqual(introspect(credentials.token)["scope"], "payments:read payments:push ledger:GET")

    def test_scopes_narrow(self):
        credentials = self.credentials(scopes=["payments:read", "ledger:GET"])
        credentials.refresh(Request())
        self.assertEqual(introspect(credentials.token)["scope"], "payments:read ledger:GET")

    def test_the_audience_narrows_where_it_is_an_origin(self):
        credentials = self.credentials(audience=WORLD["origin"])
        credentials.refresh(Request())
        self.assertEqual(introspect(credentials.token)["aud"], [WORLD["origin"]])

    def test_a_session_sends_the_token(self):
        session = AuthorizedSession(self.credentials())
        sent = session.get(f"{SERVER['issuer']}/healthz").request
        self.assertTrue(introspect(sent.headers["authorization"].removeprefix("Bearer "))["active"])

    def test_refusals_are_errors_of_the_library(self):
        with self.assertRaisesRegex(OAuthError, "invalid_scope.*secrets:read"):
            self.credentials(scopes=["secrets:read"]).refresh(Request())
        with self.assertRaisesRegex(OAuthError, "invalid_target"):
            self.credentials(audience="//iam.googleapis.com/projects/1/locations/global").refresh(Request())
        forged = proof()[:-4] + "AAAA"
        with self.assertRaisesRegex(OAuthError, "invalid_request"):
            self.credentials(subject_token=forged).refresh(Request())


def introspect(token):
    caller = (WORLD["resource_server"], WORLD["resource_server_key"])
    answer = requests.post(SERVER["introspection_endpoint"], {"token": token}, auth=caller, timeout=10)
    answer.raise_for_status()
    return answer.json()
