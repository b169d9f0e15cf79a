// Package local runs Stark's parts on this machine in one process: the embedded
// Supabase, a server, and a Node.js node. `stark dev` is a thin front on it;
// `stark server start` and `stark node agent start` use its halves. Here is where
// the modules meet: none of them knows another.
package local
