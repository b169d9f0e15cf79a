// Package browser runs the agent in a browser tab: it implements the agent's Dialer and
// State and the executor seam on what web/agent.js reaches of the browser. The Go
// program runs in a dedicated worker, whose timers and socket live on in a hidden tab.
// It owns the boundary to JavaScript and refuses to know the page: what the page shows
// and what its owner wishes travel as messages (see program.go).
//
// Every pod is a worker in an iframe of opaque origin, with a policy of its own; a
// worker of the page's origin could read the node's credential from IndexedDB.
package browser
