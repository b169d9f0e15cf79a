package access

import (
	"context"
	"slices"
)

type expectKey struct{}

// Expect makes what is changed within ctx a change of one of these versions alone:
// an object that has changed since is not changed again. It travels beside the
// identity, because it belongs to the request and not to one kind of object.
func Expect(ctx context.Context, versions ...string) context.Context {
	return context.WithValue(ctx, expectKey{}, slices.Clone(versions))
}

// Expected gives the versions that Expect has named; none means any.
func Expected(ctx context.Context) []string {
	versions, _ := ctx.Value(expectKey{}).([]string)
	return versions
}
