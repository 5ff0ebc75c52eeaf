// What a test may know: the broker's issuer, and what a workload and a resource server hold.

import { readFileSync } from 'node:fs'

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const JWT = 'urn:ietf:params:oauth:token-type:jwt'
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

export const world = JSON.parse(readFileSync(process.env.CLIENTS_WORLD, 'utf8'))

// A fresh token of the platform that the workload runs on.
export async function proof(alg = 'ES256') {
  const answer = await fetch(`${world.proof_url}?alg=${alg}`)
  if (!answer.ok) throw new Error(`no proof: ${answer.status}`)
  return answer.text()
}
