"""The MCP SDK: an agent that a server sends to the broker, and that proves itself by its registered key."""

import time
import unittest
import uuid

import httpx2
import jwt
from mcp.client.auth.extensions.client_credentials import (
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
    static_assertion_provider,
)
from world import WORLD


class Memory:
    """What the SDK keeps tokens in."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def signed():
    """The SDK's own assertions: five minutes, for the issuer as the SDK writes it."""
    agent, key = WORLD["tool_caller"], WORLD["tool_caller_key"]
    by = SignedJWTParameters(issuer=agent, subject=agent, signing_key=key, signing_algorithm="ES256")
    return by.create_assertion_provider()


def made_before(**claims):
    """One assertion that somebody else made; without `iat`, as RFC 7523 lets it be."""
    agent = WORLD["tool_caller"]
    always = {"iss": agent, "sub": agent, "exp": int(time.time()) + 120, "jti": str(uuid.uuid4())}
    return static_assertion_provider(jwt.encode(always | claims, WORLD["tool_caller_key"], algorithm="ES256"))


class Mcp(unittest.IsolatedAsyncioTestCase):
    async def call(self, assertions):
        """Calls the server, which answers 401; what it answers once the SDK has a token."""
        names = {"client_id": WORLD["tool_caller"], "issuer": WORLD["issuer"]}
        memory = Memory()
        provider = PrivateKeyJWTOAuthProvider(WORLD["mcp_url"], memory, assertion_provider=assertions, **names)
        async with httpx2.AsyncClient(auth=provider, trust_env=False) as client:
            answer = await client.post(WORLD["mcp_url"], json={})
        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertTrue(memory.tokens.access_token)
        return answer.json()

    async def test_private_key_jwt(self):
        answer = await self.call(signed())
        self.assertEqual(answer, {"client_id": WORLD["tool_caller"], "scope": "tools:POST"})

    async def test_static_assertion(self):
        endpoint = WORLD["issuer"] + "/oauth/token"
        for audience in (WORLD["issuer"], endpoint, [WORLD["issuer"], endpoint]):
            with self.subTest(audience):
                answer = await self.call(made_before(aud=audience))
                self.assertEqual(answer["client_id"], WORLD["tool_caller"])


if __name__ == "__main__":
    unittest.main()
