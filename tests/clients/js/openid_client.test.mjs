// openid-client: an agent by token exchange and by registered key, a resource server by introspection.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { importPKCS8 } from 'jose'
import * as client from 'openid-client'
import { ACCESS_TOKEN, JWT, TOKEN_EXCHANGE, proof, world } from './world.mjs'

// Plain http, which the library takes on request, for the broker is on loopback.
const options = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }

const discover = (id, authentication) =>
  client.discovery(new URL(world.issuer), id, undefined, authentication, options)

const workload = await discover(world.agent, client.None())
const resourceServer = await discover(
  world.resource_server,
  client.ClientSecretBasic(world.resource_server_key),
)

// As OpenID Connect discovers it: /.well-known/openid-configuration.
test('discovery by OpenID Connect', async () => {
  const oidc = { ...options, algorithm: 'oidc' }
  const found = await client.discovery(new URL(world.issuer), world.agent, undefined, client.None(), oidc)
  const { jwks_uri, token_endpoint } = workload.serverMetadata()
  assert.equal(found.serverMetadata().jwks_uri, jwks_uri)
  assert.equal(found.serverMetadata().token_endpoint, token_endpoint)
})

async function exchange(narrowing = {}, alg = 'ES256') {
  const proven = { subject_token: await proof(alg), subject_token_type: JWT }
  return client.genericGrantRequest(workload, TOKEN_EXCHANGE, { ...proven, ...narrowing })
}

const introspect = (token) => client.tokenIntrospection(resourceServer, token)

for (const alg of ['ES256', 'RS256']) {
  test(`token exchange with a proof by ${alg}`, async () => {
    const token = await exchange({}, alg)
    assert.equal(token.issued_token_type, ACCESS_TOKEN)
    assert.equal(token.token_type, 'bearer')
    assert.equal(token.scope, 'payments:read payments:push ledger:GET')
    assert.ok(token.expiresIn() > 0)
  })
}

test('narrowing', async () => {
  assert.equal((await exchange({ scope: 'ledger:GET' })).scope, 'ledger:GET')
  assert.equal((await exchange({ resource: world.origin })).scope, 'ledger:GET')
  const details = [{ type: 'git_repository', identifier: 'payments', actions: ['read'] }]
  const token = await exchange({ authorization_details: JSON.stringify(details) })
  assert.equal(token.authorization_details[0].identifier, 'payments')
  assert.equal(token.scope, 'payments:read')
})

test('a refusal is an error of the library', async () => {
  await assert.rejects(exchange({ scope: 'secrets:read' }), (error) => {
    assert.ok(error instanceof client.ResponseBodyError, error)
    assert.equal(error.error, 'invalid_scope')
    assert.equal(error.cause.reason, 'scope_not_registered')
    return true
  })
})

for (const [alg, pem] of [
  ['EdDSA', world.ed25519_key],
  ['ES256', world.p256_key],
]) {
  test(`client credentials with a registered key, ${alg}`, async () => {
    const key = await importPKCS8(pem, alg)
    const agent = await discover(world.agent, client.PrivateKeyJwt(key))
    const token = await client.clientCredentialsGrant(agent, { scope: 'ledger:GET' })
    assert.equal((await introspect(token.access_token)).active, true)
    // The library authenticates to the revocation endpoint in the same way.
    await client.tokenRevocation(agent, token.access_token)
    assert.deepEqual(await introspect(token.access_token), { active: false })
  })
}

test('introspection', async () => {
  const answer = await introspect((await exchange()).access_token)
  assert.equal(answer.active, true)
  assert.equal(answer.client_id, world.agent)
  assert.equal(answer.iss, world.issuer)
  const { access_token } = await exchange({ scope: 'payments:read' })
  assert.deepEqual(await introspect(access_token), { active: false }, 'it is not for this server')
})

test('introspection needs the key', async () => {
  const stranger = await discover(world.resource_server, client.ClientSecretBasic('a guess'))
  const { access_token } = await exchange()
  await assert.rejects(client.tokenIntrospection(stranger, access_token), (error) => {
    assert.equal(error.cause.status ?? error.status, 401)
    return true
  })
})

test('an agent ends its own token', async () => {
  const [ended, kept] = [await exchange(), await exchange()]
  await client.tokenRevocation(workload, ended.access_token, { token_type_hint: 'access_token' })
  assert.deepEqual(await introspect(ended.access_token), { active: false })
  assert.equal((await introspect(kept.access_token)).active, true)
})
