check('storage: the service makes, shows, changes and lists buckets', async () => {
  const name = `js-${run}`
  assert.equal(good(await admin.storage.createBucket(name, { public: false, fileSizeLimit: 1000, allowedMimeTypes: ['text/plain'] })).name, name)
  good(await admin.storage.updateBucket(name, { public: true, fileSizeLimit: '2KB', allowedMimeTypes: ['text/plain'] }))
  const found = good(await admin.storage.getBucket(name))
  assert.equal(found.public, true)
  assert.equal(found.file_size_limit, 2000)
  assert.ok(good(await admin.storage.listBuckets()).some((b) => b.id === name))
  assert.equal(bad(await admin.storage.createBucket(name)).statusCode, '409')
  assert.equal(bad(await admin.storage.getBucket('absent')).statusCode, '404')
})
check('storage: users neither see nor make buckets', async () => {
  assert.deepEqual(good(await alice.storage.listBuckets()), [])
  assert.equal(bad(await alice.storage.createBucket(`alice-${run}`)).statusCode, '403')
})
check('storage: size and type limits', async () => {
  const box = admin.storage.from(`js-${run}`)
  assert.equal(bad(await box.upload('a', 'x'.repeat(2001), { contentType: 'text/plain' })).statusCode, '413')
  assert.equal(bad(await box.upload('a', new Blob(['x'.repeat(2001)], { type: 'text/plain' }))).statusCode, '413')
  assert.equal(bad(await box.upload('a', 'x', { contentType: 'image/png' })).statusCode, '415')
})
check('storage: an upload beyond the global limit still gets its answer', async () => {
  const box = alice.storage.from(bucket)
  const huge = Buffer.alloc(52 << 20, 'x')
  const bodies = [huge, new Blob([huge], { type: 'text/plain' }), new Blob([huge]).stream()]
  for (const body of bodies) {
    const error = bad(await box.upload(`${seen.alice}/huge`, body, { contentType: 'text/plain', duplex: 'half' }))
    assert.equal(error.statusCode, '413')
  }
  assert.equal((await box.exists(`${seen.alice}/huge`)).data, false)
})
check('storage: strings, buffers, blobs and streams arrive as they are', async () => {
  const box = alice.storage.from(bucket)
  const bodies = {
    string: ['text é', { contentType: 'text/plain' }],
    buffer: [Buffer.from([0, 1, 2, 255]), { contentType: 'application/octet-stream' }],
    blob: [new Blob(['in a form'], { type: 'text/plain' }), { cacheControl: '60', metadata: { from: 'blob' } }],
    stream: [new Blob(['x'.repeat(100000)]).stream(), { contentType: 'text/plain', duplex: 'half' }],
  }
  for (const [name, [body, options]] of Object.entries(bodies)) {
    const path = `${seen.alice}/kinds/${name}`
    const done = good(await box.upload(path, body, options))
    assert.equal(done.path, path)
    assert.equal(done.fullPath, `${bucket}/${path}`)
    assert.ok(done.id)
  }
  const read = async (name) => Buffer.from(await good(await box.download(`${seen.alice}/kinds/${name}`)).arrayBuffer())
  assert.equal((await read('string')).toString(), 'text é')
  assert.deepEqual([...(await read('buffer'))], [0, 1, 2, 255])
  assert.equal((await read('blob')).toString(), 'in a form')
  assert.equal((await read('stream')).length, 100000)
  const info = good(await box.info(`${seen.alice}/kinds/blob`))
  assert.equal(info.size, 9)
  assert.equal(info.cacheControl, 'max-age=60')
  assert.deepEqual(info.metadata, { from: 'blob' })
})
check('storage: an existing object is kept unless upsert is asked for', async () => {
  const box = alice.storage.from(bucket)
  const path = `${seen.alice}/doc.txt`
  good(await box.upload(path, 'one', { contentType: 'text/plain' }))
  assert.equal(bad(await box.upload(path, 'two', { contentType: 'text/plain' })).statusCode, '409')
  good(await box.upload(path, 'three', { contentType: 'text/plain', upsert: true }))
  good(await box.update(path, 'four', { contentType: 'text/plain' }))
  assert.equal(await good(await box.download(path)).text(), 'four')
})
check('storage: exists, copy and move', async () => {
  const box = alice.storage.from(bucket)
  assert.equal(good(await box.exists(`${seen.alice}/doc.txt`)), true)
  assert.equal((await box.exists(`${seen.alice}/absent`)).data, false)
  assert.equal(good(await box.copy(`${seen.alice}/doc.txt`, `${seen.alice}/copy.txt`)).path, `${bucket}/${seen.alice}/copy.txt`)
  good(await box.move(`${seen.alice}/copy.txt`, `${seen.alice}/moved.txt`))
  assert.equal(await good(await box.download(`${seen.alice}/moved.txt`)).text(), 'four')
})
check('storage: list shows folders and files, page by page', async () => {
  const box = alice.storage.from(bucket)
  assert.deepEqual(good(await box.list(seen.alice)).map((e) => e.name), ['kinds', 'doc.txt', 'moved.txt'])
  assert.deepEqual(good(await box.list(seen.alice, { limit: 1, offset: 2 })).map((e) => e.name), ['moved.txt'])
  assert.deepEqual(good(await box.list(`${seen.alice}/kinds`, { search: 'str', sortBy: { column: 'name', order: 'desc' } })).map((e) => e.name), ['string', 'stream'])
  const page = good(await box.listV2({ prefix: `${seen.alice}/`, with_delimiter: true, limit: 2 }))
  assert.equal(page.hasNext, true)
  const next = good(await box.listV2({ prefix: `${seen.alice}/`, with_delimiter: true, limit: 2, cursor: page.nextCursor }))
  assert.equal(page.objects.length + page.folders.length + next.objects.length + next.folders.length, 3)
})
check('storage: signed URLs open to anybody for a while', async () => {
  const box = alice.storage.from(bucket)
  const { signedUrl } = good(await box.createSignedUrl(`${seen.alice}/doc.txt`, 60, { download: 'my name.txt' }))
  const answer = await fetch(signedUrl)
  assert.equal(await answer.text(), 'four')
  assert.match(answer.headers.get('content-disposition'), /^attachment; filename=my%20name.txt/)
  const [one, none] = good(await box.createSignedUrls([`${seen.alice}/doc.txt`, `${seen.alice}/absent`], 60))
  assert.equal((await fetch(one.signedUrl)).status, 200)
  assert.ok(none.error)
  assert.equal((await fetch(signedUrl.replace(/token=[^&]+/, 'token=x'))).status, 400)
  assert.equal(bad(await bob.storage.from(bucket).createSignedUrl(`${seen.alice}/doc.txt`, 60)).statusCode, '404')
})
check('storage: signed upload URLs take one upload', async () => {
  const path = `${seen.alice}/signed.txt`
  const { token } = good(await alice.storage.from(bucket).createSignedUploadUrl(path))
  const box = nobody.storage.from(bucket)
  good(await box.uploadToSignedUrl(path, token, 'by link', { contentType: 'text/plain' }))
  assert.equal(bad(await box.uploadToSignedUrl(path, token, 'again', { contentType: 'text/plain' })).statusCode, '409')
  assert.equal(await good(await alice.storage.from(bucket).download(path)).text(), 'by link')
})
check('storage: users are kept apart', async () => {
  const box = bob.storage.from(bucket)
  const path = `${seen.alice}/doc.txt`
  bad(await box.download(path))
  assert.deepEqual(good(await box.list(seen.alice)), [])
  assert.equal(bad(await box.upload(`${seen.alice}/evil`, 'x', { contentType: 'text/plain' })).statusCode, '403')
  assert.equal(bad(await box.upload(path, 'x', { contentType: 'text/plain', upsert: true })).statusCode, '403')
  assert.deepEqual(good(await box.remove([path])), [])
  bad(await nobody.storage.from(bucket).download(path))
  assert.equal(await good(await alice.storage.from(bucket).download(path)).text(), 'four')
})
check('storage: a viewer uploads no bundle', async () => {
  const box = alice.storage.from('pack-bundles')
  assert.equal(bad(await box.upload(`${seen.alice}/p/1.0.0/x.js`, 'x', { contentType: 'text/javascript' })).statusCode, '403')
})
check('storage: public buckets are open to anybody', async () => {
  const box = admin.storage.from(`js-${run}`)
  good(await box.upload('open.txt', 'open', { contentType: 'text/plain' }))
  const { publicUrl } = box.getPublicUrl('open.txt').data
  assert.equal(await (await fetch(publicUrl)).text(), 'open')
})
check('storage: remove tells what it removed', async () => {
  const box = alice.storage.from(bucket)
  const gone = good(await box.remove([`${seen.alice}/doc.txt`, `${seen.alice}/absent`]))
  assert.deepEqual(gone.map((o) => o.name), [`${seen.alice}/doc.txt`])
  bad(await box.download(`${seen.alice}/doc.txt`))
})
check('storage: a bucket is emptied, then deleted', async () => {
  assert.equal(bad(await admin.storage.deleteBucket(`js-${run}`)).statusCode, '409')
  good(await admin.storage.emptyBucket(`js-${run}`))
  good(await admin.storage.deleteBucket(`js-${run}`))
})
check('storage: ranges, conditions and HEAD', async () => {
  const path = `${seen.alice}/ranges.txt`
  good(await alice.storage.from(bucket).upload(path, '0123456789', { contentType: 'text/plain' }))
  const { session } = good(await alice.auth.getSession())
  const headers = { apikey: anonKey, authorization: `Bearer ${session.access_token}` }
  const ask = (more, method = 'GET') => fetch(`${url}/storage/v1/object/authenticated/${bucket}/${path}`, { method, headers: { ...headers, ...more } })
  for (const [range, text, place] of [['bytes=2-4', '234', 'bytes 2-4/10'], ['bytes=7-', '789', 'bytes 7-9/10'], ['bytes=-2', '89', 'bytes 8-9/10']]) {
    const answer = await ask({ range })
    assert.deepEqual([answer.status, answer.headers.get('content-range'), await answer.text()], [206, place, text])
  }
  const beyond = await ask({ range: 'bytes=99-' })
  assert.equal(beyond.status, 416)
  assert.equal((await beyond.json()).code, 'InvalidRange')
  const head = await ask({}, 'HEAD')
  assert.deepEqual([head.status, head.headers.get('content-length'), head.headers.get('accept-ranges')], [200, '10', 'bytes'])
  assert.equal((await ask({ 'if-none-match': head.headers.get('etag') })).status, 304)
})
check('storage: copies go to other buckets too, where the caller may write', async () => {
  const name = `to-${run}`
  good(await admin.storage.createBucket(name))
  const box = admin.storage.from(bucket)
  good(await box.copy(`${seen.alice}/ranges.txt`, 'copied.txt', { destinationBucket: name }))
  assert.equal(await good(await admin.storage.from(name).download('copied.txt')).text(), '0123456789')
  good(await box.move(`${seen.alice}/ranges.txt`, 'moved.txt', { destinationBucket: name }))
  assert.equal((await alice.storage.from(bucket).exists(`${seen.alice}/ranges.txt`)).data, false)
  assert.equal(bad(await admin.storage.from(name).move('moved.txt', 'copied.txt')).statusCode, '409')
  bad(await alice.storage.from(name).download('copied.txt'))
  assert.equal(good(await admin.storage.from(name).remove(['copied.txt', 'moved.txt', 'absent'])).length, 2)
  good(await admin.storage.deleteBucket(name))
})
check('storage: a signed upload URL keeps the upsert that it was made with', async () => {
  const path = `${seen.alice}/again.txt`
  const { token } = good(await alice.storage.from(bucket).createSignedUploadUrl(path, { upsert: true }))
  for (const text of ['one', 'two']) good(await nobody.storage.from(bucket).uploadToSignedUrl(path, token, text, { contentType: 'text/plain' }))
  assert.equal(await good(await alice.storage.from(bucket).download(path)).text(), 'two')
  assert.equal(bad(await bob.storage.from(bucket).createSignedUploadUrl(path)).statusCode, '403')
})
check('storage: keys that no URL bears are refused', async () => {
  const box = alice.storage.from(bucket)
  for (const name of ['ä', 'a#b', 'a[b]', 'a{b}', 'a%b']) {
    const error = bad(await box.upload(`${seen.alice}/${encodeURIComponent(name)}`, 'x', { contentType: 'text/plain' }))
    assert.equal(error.statusCode, '400', name)
  }
})
