// Package web holds the sources of the page of a tab that is a node; agent/browser/build
// makes of them what servers show.
package web

import "embed"

// Files are the sources.
//
//go:embed *.html *.css *.js
var Files embed.FS
