// Package storage answers Supabase Storage's HTTP interface (buckets, objects,
// signed URLs) for the local stack, on the same tables and policies as
// Supabase: every decision about who may do what is taken by Postgres, as the
// role in the caller's token. It is for development and tests on loopback; it
// offers no resumable uploads, no S3 protocol and no image transformation.
//
// # Files
//
// An object's bytes lie in a file named after the row's version, which is a
// fresh UUID for every upload and never changes afterwards. A file is complete
// (and on disk, with [Config.Durable]) before the row that names it commits,
// and it is removed only after the row that replaces it has committed. So a
// crash at any moment leaves whole objects and at worst a file without a row,
// which [New] removes; and whoever reads an old version while a new one
// arrives reads it to its end.
//
// # Rights
//
// As measured on the real server, a write is first tried as the caller in a
// transaction that is always rolled back, and then done as service_role. A
// policy therefore sees version '1' and only mimetype and contentLength in the
// metadata of an upload.
//
// # Differences from the real server, all on the strict or helpful side
//
//   - Size limits hold for uploads without Content-Length too; the real server
//     skips them there.
//   - Keys may have 1024 bytes whatever the length of a path segment, and longer
//     ones are refused as InvalidKey; the real server's file backend fails with
//     500 from 256 bytes on.
//   - Emptying a bucket is finished when the answer arrives.
//   - An x-metadata header that is no base64 JSON object is refused.
//   - A request for an image transformation is refused instead of ignored.
package storage
