// Package rest answers the part of PostgREST's HTTP interface that direct use of tables and functions needs:
// select with filters, order, pages, counts and embedded tables, insert, upsert, put, update, delete, and calls of
// functions. Whoever asks gets the rights of the role in his token and no others: every request is one
// transaction of that role, in which the database decides. It is for development and tests on loopback.
//
// # No SQL from outside
//
// A request never becomes SQL text. Names are quoted identifiers, operators and keywords come from tables in
// this package, types from the catalog, and every value travels as a parameter beside the statement.
//
// # Differences from PostgREST
//
//   - The catalog is read with every request, so nothing has to be told when the schema changes.
//   - UPDATE and DELETE without a filter are refused, as Supabase's pg-safeupdate does. A limit on them is
//     ignored, as by PostgREST since version 13: every row that the filters name is changed.
//   - A table between two others is not seen where it is a view. Aggregates and plans are refused, as on
//     Supabase by default.
package rest
