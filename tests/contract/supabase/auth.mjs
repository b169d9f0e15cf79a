check('auth: sign-up answers with a session', async () => {
  const { user, session } = good(await alice.auth.signUp({ email: mail('alice'), password, options: { data: { display_name: 'Alice' } } }))
  assert.equal(user.email, mail('alice'))
  assert.equal(user.user_metadata.display_name, 'Alice')
  assert.equal(user.aud, 'authenticated')
  assert.equal(user.identities.length, 1)
  assert.ok(session.access_token && session.refresh_token && session.expires_in > 0)
  seen.alice = user.id
})
check('auth: a taken e-mail is refused', async () => {
  assert.equal(bad(await nobody.auth.signUp({ email: mail('alice'), password })).code, 'user_already_exists')
})
check('auth: a weak password is refused with its reasons', async () => {
  const error = bad(await nobody.auth.signUp({ email: mail('weak'), password: 'Sh0rt' }))
  assert.equal(error.code, 'weak_password')
  assert.deepEqual(error.reasons, ['length'])
})
check('auth: a wrong password is refused', async () => {
  const error = bad(await nobody.auth.signInWithPassword({ email: mail('alice'), password: 'Wrong password 1' }))
  assert.equal(error.code, 'invalid_credentials')
  assert.equal(error.status, 400)
})
check('auth: sign-in does not mind the case of the e-mail', async () => {
  const { session } = good(await alice.auth.signInWithPassword({ email: mail('ALICE').toUpperCase(), password }))
  assert.equal(session.user.id, seen.alice)
})
check('auth: getUser asks the server', async () => {
  assert.equal(good(await alice.auth.getUser()).user.id, seen.alice)
})
check('auth: getClaims verifies the token with the published key', async () => {
  const { claims } = good(await alice.auth.getClaims())
  assert.equal(claims.sub, seen.alice)
  assert.equal(claims.role, 'authenticated')
})
check('auth: the access token hook adds the roles', async () => {
  const { session } = good(await alice.auth.getSession())
  assert.deepEqual(claimsOf(session).stark.roles, ['viewer'])
})
check('auth: refresh rotates the token', async () => {
  const before = good(await alice.auth.getSession()).session
  const { session } = good(await alice.auth.refreshSession())
  assert.notEqual(session.refresh_token, before.refresh_token)
  assert.equal(claimsOf(session).session_id, claimsOf(before).session_id)
})
check('auth: an unknown refresh token is refused', async () => {
  const error = bad(await nobody.auth.refreshSession({ refresh_token: 'abcdefghijkl' }))
  assert.equal(error.code, 'refresh_token_not_found')
})
check('auth: a forged token is refused', async () => {
  const { session } = good(await alice.auth.getSession())
  const forged = session.access_token.slice(0, -8) + 'AAAAAAAA'
  assert.equal(bad(await nobody.auth.getUser(forged)).code, 'bad_jwt')
})
check('auth: signOut ends the session at the server', async () => {
  const other = connect(anonKey)
  const { session } = good(await other.auth.signInWithPassword({ email: mail('alice'), password }))
  good(await other.auth.signOut({ scope: 'local' }).then(({ error }) => ({ data: null, error })))
  // supabase-js gives this answer a class of its own.
  assert.equal(bad(await nobody.auth.getUser(session.access_token)).name, 'AuthSessionMissingError')
  good(await alice.auth.getUser())
})
check('auth: the service key makes users', async () => {
  const { user } = good(await admin.auth.admin.createUser({
    email: mail('bob'), password, email_confirm: true, user_metadata: { display_name: 'Bob' },
  }))
  assert.equal(user.email, mail('bob'))
  assert.equal(bad(await admin.auth.admin.createUser({ email: mail('bob'), password })).code, 'email_exists')
  assert.equal(good(await bob.auth.signInWithPassword({ email: mail('bob'), password })).user.id, user.id)
  seen.bob = user.id
})
check('auth: others do not make users', async () => {
  assert.equal(bad(await nobody.auth.admin.createUser({ email: mail('eve'), password })).code, 'not_admin')
})
check('auth: a user made unconfirmed cannot sign in', async () => {
  good(await admin.auth.admin.createUser({ email: mail('late'), password }))
  assert.equal(bad(await nobody.auth.signInWithPassword({ email: mail('late'), password })).code, 'email_not_confirmed')
})
check('auth: anonymous sign-in follows the setting', async () => {
  assert.equal(bad(await nobody.auth.signInAnonymously()).code, 'anonymous_provider_disabled')
})
check('auth: a user changes data, password and e-mail', async () => {
  const client = connect(anonKey)
  const elsewhere = connect(anonKey)
  good(await client.auth.signUp({ email: mail('changing'), password, options: { data: { keep: 1, drop: 2 } } }))
  good(await elsewhere.auth.signInWithPassword({ email: mail('changing'), password }))
  const { user } = good(await client.auth.updateUser({ data: { drop: null, more: { x: [1] } } }))
  assert.equal(user.user_metadata.keep, 1)
  assert.equal('drop' in user.user_metadata, false)
  assert.deepEqual(user.user_metadata.more, { x: [1] })
  assert.equal(bad(await client.auth.updateUser({ password })).code, 'same_password')
  assert.equal(bad(await client.auth.updateUser({ password: 'Sh0rt' })).code, 'weak_password')
  assert.equal(bad(await client.auth.updateUser({ email: mail('bob') })).code, 'email_exists')
  good(await elsewhere.auth.getUser())
  good(await client.auth.updateUser({ password: 'Another horse 5 battery' }))
  good(await client.auth.getUser())
  assert.equal((await elsewhere.auth.getUser()).error.name, 'AuthSessionMissingError')
  assert.equal(bad(await nobody.auth.signInWithPassword({ email: mail('changing'), password })).code, 'invalid_credentials')
  assert.equal(good(await client.auth.updateUser({ email: mail('changed') })).user.email, mail('changed'))
  good(await client.auth.signInWithPassword({ email: mail('changed'), password: 'Another horse 5 battery' }))
})
check('auth: signOut ends the sessions of its scope', async () => {
  good(await nobody.auth.signUp({ email: mail('leaving'), password }))
  const enter = async () => {
    const client = connect(anonKey)
    const { session } = good(await client.auth.signInWithPassword({ email: mail('leaving'), password }))
    return { client, token: session.access_token, refresh: session.refresh_token }
  }
  const alive = async ({ token }) => (await nobody.auth.getUser(token)).error === null
  for (const [scope, first, second] of [['local', false, true], ['others', true, false], ['global', false, false]]) {
    const [one, two] = [await enter(), await enter()]
    assert.equal((await one.client.auth.signOut({ scope })).error, null)
    assert.deepEqual([await alive(one), await alive(two)], [first, second], scope)
    const gone = first ? two : one
    assert.equal(bad(await nobody.auth.refreshSession({ refresh_token: gone.refresh })).code, 'refresh_token_not_found')
  }
})
check('auth: a refresh token used several times at once gives one successor', async () => {
  const client = connect(anonKey)
  const { session } = good(await client.auth.signUp({ email: mail('tabs'), password }))
  const refresh = () => connect(anonKey).auth.refreshSession({ refresh_token: session.refresh_token })
  const tokens = (await Promise.all([1, 2, 3, 4, 5].map(refresh))).map((r) => good(r).session.refresh_token)
  assert.equal(new Set(tokens).size, 1)
  // The parent of the active token rescues an answer that got lost.
  assert.equal(good(await refresh()).session.refresh_token, tokens[0])
})
check('auth: the service pages through users', async () => {
  const page = good(await admin.auth.admin.listUsers({ page: 1, perPage: 2 }))
  assert.equal(page.users.length, 2)
  assert.ok(page.total >= 3)
  assert.equal(page.nextPage, 2)
  assert.ok(page.lastPage >= 2)
  assert.equal(page.aud, 'authenticated')
  assert.deepEqual(good(await admin.auth.admin.listUsers({ page: 1000, perPage: 50 })).users, [])
  const listed = good(await admin.auth.admin.listUsers({ page: 1, perPage: 1000 })).users.find((u) => u.id === seen.alice)
  assert.equal(listed.email, mail('alice'))
})
check('auth: the service merges metadata, and bans', async () => {
  const change = async (to) => good(await admin.auth.admin.updateUserById(seen.bob, to)).user
  good(await admin.auth.admin.getUserById(seen.bob))
  await change({ app_metadata: { team: 'x', gone: 1 }, user_metadata: { a: 1 } })
  const user = await change({ app_metadata: { gone: null, more: true }, user_metadata: { b: 2 } })
  assert.equal(user.app_metadata.provider, 'email')
  assert.deepEqual([user.app_metadata.team, user.app_metadata.more, 'gone' in user.app_metadata], ['x', true, false])
  assert.deepEqual([user.user_metadata.a, user.user_metadata.b, user.user_metadata.display_name], [1, 2, 'Bob'])
  const { session } = good(await bob.auth.signInWithPassword({ email: mail('bob'), password }))
  assert.equal(claimsOf(session).app_metadata.team, 'x')
  assert.ok((await change({ ban_duration: '24h' })).banned_until)
  assert.equal(bad(await nobody.auth.signInWithPassword({ email: mail('bob'), password })).code, 'user_banned')
  assert.equal(bad(await nobody.auth.refreshSession({ refresh_token: session.refresh_token })).code, 'user_banned')
  assert.equal(bad(await nobody.auth.getUser(session.access_token)).code, 'user_banned')
  await change({ ban_duration: 'none' })
  good(await bob.auth.signInWithPassword({ email: mail('bob'), password }))
  assert.equal(bad(await admin.auth.admin.updateUserById(seen.bob, { password: 'Sh0rt' })).code, 'weak_password')
  assert.equal(bad(await nobody.auth.admin.updateUserById(seen.bob, { ban_duration: 'none' })).code, 'not_admin')
})
check('auth: the service deletes users, softly or for good', async () => {
  const make = async (name) => good(await admin.auth.admin.createUser({ email: mail(name), password, email_confirm: true })).user.id
  const soft = await make('soft')
  good(await admin.auth.admin.deleteUser(soft, true))
  const kept = good(await admin.auth.admin.getUserById(soft)).user
  assert.ok(kept.deleted_at)
  assert.notEqual(kept.email, mail('soft'))
  const hard = await make('hard')
  const { session } = good(await connect(anonKey).auth.signInWithPassword({ email: mail('hard'), password }))
  good(await admin.auth.admin.deleteUser(hard))
  assert.equal(bad(await admin.auth.admin.getUserById(hard)).code, 'user_not_found')
  assert.equal(bad(await admin.auth.admin.deleteUser(hard)).code, 'user_not_found')
  assert.equal(bad(await nobody.auth.getUser(session.access_token)).code, 'user_not_found')
})
check('auth: public keys are there without an API key', async () => {
  const { keys } = await (await fetch(`${url}/auth/v1/.well-known/jwks.json`)).json()
  assert.equal(keys.length, 1)
  assert.deepEqual(Object.keys(keys[0]).sort(), ['alg', 'crv', 'key_ops', 'kid', 'kty', 'use', 'x', 'y'])
  assert.equal((await fetch(`${url}/auth/v1/settings`)).status, 401)
  assert.equal((await fetch(`${url}/rest/v1/pods`)).status, 401)
})
