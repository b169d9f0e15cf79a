// Package api holds the domain types that every part of Stark shares: what they
// are called on the wire, which values they may take, and which input is valid.
//
// The package owns names and rules and refuses everything that does I/O. JSON
// field names are those of the public REST API.
package api
