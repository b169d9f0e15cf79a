// Package rest is the HTTP API: typed huma operations on gin for what is request
// and answer, plain gin handlers for streams, uploads, health and metrics. A
// handler binds, calls and returns; the envelope, error codes, authentication,
// limits and logs are the business of the middleware around it.
//
// The package owns the shapes on the wire and who may call what. It refuses to
// hold SQL, to know Supabase's dialects, and to decide about pods: the
// interfaces it calls are declared here, where they are used.
package rest
