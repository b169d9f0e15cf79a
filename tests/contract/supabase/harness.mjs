// The unmodified supabase-js against a running stack. Prints one JSON object
// per check; package supabase of the contract tests turns each into a subtest.
// This part makes the clients; auth, storage and tables add checks, in this
// order; run runs them. The parts are joined before Node.js sees them.
import { createClient } from '@supabase/supabase-js'
import assert from 'node:assert/strict'
import ws from 'ws'

const { SUPABASE_URL: url, ANON_KEY: anonKey, SERVICE_KEY: serviceKey, BUCKET: bucket } = process.env
const password = 'Correct horse 4 battery'
const run = crypto.randomUUID().slice(0, 8)
const mail = (name) => `${name}-${run}@example.com`
let clients = 0

const connect = (key) =>
  createClient(url, key, {
    auth: { persistSession: false, autoRefreshToken: false, storageKey: `client-${clients++}` },
    realtime: { transport: ws },
  })

// good returns the data of an answer that must not be an error.
const good = ({ data, error }) => {
  assert.equal(error, null, error?.message)
  return data
}
// bad returns the error of an answer that must be one.
const bad = ({ error }) => {
  assert.ok(error, 'an error is missing')
  return error
}
const claimsOf = (session) => JSON.parse(Buffer.from(session.access_token.split('.')[1], 'base64url').toString())

const checks = []
const check = (name, fn) => checks.push([name, fn])

const alice = connect(anonKey)
const bob = connect(anonKey)
const nobody = connect(anonKey)
const admin = connect(serviceKey)
const seen = {}
