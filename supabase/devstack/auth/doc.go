// Package auth answers as GoTrue does (measured answers, not its source): sign-up, password and refresh
// grants with rotation, the signed-in user, logout, administration of users, settings, health and the
// public keys. It works on schema auth of a database with Supabase's roles and owns nothing else: what
// users may do with the application's tables is decided by the database.
//
// It sends no mail, knows no phone numbers, no external providers and no second factors, and is for
// development and tests on loopback only.
package auth
