package web

import "testing"

// pathTest tries what paths the storage of a tab looks at: a pack may come past the adapters
// that make them.
const pathTest = `
const assert = require('node:assert');
for (const path of ['/', '/a', '/a.b/..c', '/a'.repeat(64), ('/' + 'x'.repeat(255)).repeat(64)]) assert(straight(path), path.slice(0, 20));
for (const path of ['', 'a', '/a/', '//', '/.', '/a/..', '/a/../b', '/\0', '/a'.repeat(65), '/a'.repeat(8192), '/'.repeat(70), '/' + 'x'.repeat(16_384), undefined, 7]) {
  assert(!straight(path), String(path).slice(0, 20));
}
`

func TestPathsOfTabStorage(t *testing.T) {
	t.Parallel()
	runNode(t, source(t, "files.js")+pathTest)
}
