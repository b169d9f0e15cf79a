// Package adapters holds what a pack's context offers beyond its own pod: storage,
// http and workers, written once in JavaScript for both runtimes. It owns their
// meaning, down to the words of errors; each runtime gives it a platform, the few
// things that differ. It refuses to know how a pod is started or stopped.
package adapters

import _ "embed" // the script is part of the program

// Script defines the function starkAdapters(platform). It is plain script, so that it
// can stand behind a CommonJS file as well as in a worker of a browser.
//
//go:embed adapters.js
var Script string
