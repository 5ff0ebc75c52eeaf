// jose and oauth4webapi: a resource server verifies tokens offline, with the keys that the metadata names.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import { JWT, TOKEN_EXCHANGE, proof, world } from './world.mjs'

// Plain http, which the library takes on request, for the broker is on loopback.
const insecure = { [oauth.allowInsecureRequests]: true }

const issuer = new URL(world.issuer)
const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure })
const server = await oauth.processDiscoveryResponse(issuer, discovered)
const keys = createRemoteJWKSet(new URL(server.jwks_uri))

async function aToken() {
  const client = { client_id: world.agent }
  const proven = { subject_token: await proof(), subject_token_type: JWT }
  const response = await oauth.genericTokenEndpointRequest(
    server, client, oauth.None(), TOKEN_EXCHANGE, proven, insecure,
  )
  const token = await oauth.processGenericTokenEndpointResponse(server, client, response)
  return token.access_token
}

const verify = (token, audience) =>
  jwtVerify(token, keys, {
    typ: 'at+jwt',
    issuer: world.issuer,
    audience,
    algorithms: server.access_token_signing_alg_values_supported,
    requiredClaims: ['exp', 'iat', 'nbf', 'sub', 'jti', 'client_id'],
  })

const changed = (token) => {
  const [header, claims, signature] = token.split('.')
  return [header, claims, (signature[0] === 'A' ? 'B' : 'A') + signature.slice(1)].join('.')
}

test('jose verifies a token', async () => {
  for (const audience of [world.origin, 'https://github.com']) {
    const { payload } = await verify(await aToken(), audience)
    assert.equal(payload.sub, `agent:${world.agent}`)
    assert.equal(payload.scope, 'payments:read payments:push ledger:GET')
    assert.ok(payload.exp - payload.iat <= 900)
  }
})

test('jose refuses a token for others, a changed one, and the proof itself', async () => {
  const token = await aToken()
  const code = (code) => ({ code })
  await assert.rejects(verify(token, 'https://other.acme.internal'), code('ERR_JWT_CLAIM_VALIDATION_FAILED'))
  await assert.rejects(verify(changed(token), world.origin), code('ERR_JWS_SIGNATURE_VERIFICATION_FAILED'))
  await assert.rejects(verify(await proof(), world.issuer), code('ERR_JWKS_NO_MATCHING_KEY'))
})

// RFC 9068 §4.
const guard = (token, audience) =>
  oauth.validateJwtAccessToken(
    server,
    new Request(`${world.origin}/v1/entries/1`, { headers: { authorization: `Bearer ${token}` } }),
    audience,
    insecure,
  )

test('oauth4webapi guards a resource', async () => {
  const token = await aToken()
  const claims = await guard(token, world.origin)
  assert.equal(claims.client_id, world.agent)
  await assert.rejects(guard(token, 'https://other.acme.internal'))
  await assert.rejects(guard(changed(token), world.origin))
  await assert.rejects(guard(await proof(), world.issuer))
})
