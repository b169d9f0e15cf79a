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
