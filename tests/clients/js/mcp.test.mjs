// The MCP SDK: an agent that a server sends to the broker, and that proves itself by its registered key.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { auth } from '@modelcontextprotocol/sdk/client/auth.js'
import { PrivateKeyJwtProvider, StaticPrivateKeyJwtProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js'
import { SignJWT, importPKCS8 } from 'jose'
import { world } from './world.mjs'

const common = { clientId: world.tool_caller, expectedIssuer: world.issuer }

// The SDK finds the server's metadata (RFC 9728), the broker by it, and a token there.
async function call(provider) {
  assert.equal(await auth(provider, { serverUrl: world.mcp_url }), 'AUTHORIZED')
  const headers = { authorization: `Bearer ${provider.tokens().access_token}` }
  const answer = await fetch(world.mcp_url, { method: 'POST', headers, body: '{}' })
  assert.equal(answer.status, 200)
  return answer.json()
}

// One assertion that somebody else made; without `iat`, as RFC 7523 lets it be.
async function madeBefore(audience) {
  const key = await importPKCS8(world.tool_caller_key, 'ES256')
  const claims = { iss: world.tool_caller, sub: world.tool_caller, aud: audience, jti: randomUUID() }
  const assertion = new SignJWT(claims).setProtectedHeader({ alg: 'ES256' }).setExpirationTime('2 minutes')
  return assertion.sign(key)
}

test('private_key_jwt', async () => {
  const provider = new PrivateKeyJwtProvider({ ...common, privateKey: world.tool_caller_key, algorithm: 'ES256', scope: 'tools:POST' })
  assert.deepEqual(await call(provider), { client_id: world.tool_caller, scope: 'tools:POST' })
})

for (const audience of [world.issuer, `${world.issuer}/oauth/token`]) {
  test(`a static assertion for ${new URL(audience).pathname}`, async () => {
    const jwtBearerAssertion = await madeBefore(audience)
    const answer = await call(new StaticPrivateKeyJwtProvider({ ...common, jwtBearerAssertion }))
    assert.equal(answer.client_id, world.tool_caller)
  })
}
