// Package supabase builds the clients that speak to Supabase Auth and Storage.
// It is the only importer of supabase-go.
//
// supabase-go, gotrue-go and storage-go know no context, time limit, typed error
// or redirect policy, and keep the session of whoever used them last. So a client
// is built for each call, and everything that is missing is put underneath it: a
// RoundTripper that carries the call's context, refuses redirects, bounds the
// body, and turns the three error dialects into fault.Error. The package decides
// nothing about users or bundles.
package supabase
