package rest_test

import (
	"context"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/server/gotrue"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

type fakeAuth struct {
	signUp     func(gotrue.NewUser) (api.Session, error)
	signIn     func(email, password string) (api.Session, error)
	signInFor  func(ctx context.Context) (api.Session, error)
	refresh    func(token string) (api.Session, error)
	logout     func(token string) error
	createUser func(gotrue.NewUser) (api.User, error)
	madeBy     map[string]string // the request that made a user
	deleteUser func(userID string) error
	setBanned  func(userID string, banned bool) error
	health     func() error
}

func (f *fakeAuth) SignUp(_ context.Context, u gotrue.NewUser) (api.Session, error) {
	if f.signUp == nil {
		return api.Session{}, unexpected()
	}
	return f.signUp(u)
}

func (f *fakeAuth) SignIn(ctx context.Context, email, password string) (api.Session, error) {
	if f.signInFor != nil {
		return f.signInFor(ctx)
	}
	if f.signIn == nil {
		return api.Session{}, unexpected()
	}
	return f.signIn(email, password)
}

func (f *fakeAuth) Refresh(_ context.Context, token string) (api.Session, error) {
	if f.refresh == nil {
		return api.Session{}, unexpected()
	}
	return f.refresh(token)
}

func (f *fakeAuth) Logout(_ context.Context, token string) error {
	if f.logout == nil {
		return unexpected()
	}
	return f.logout(token)
}

func (f *fakeAuth) AdminCreateUser(_ context.Context, u gotrue.NewUser) (api.User, error) {
	if f.createUser == nil {
		return api.User{}, unexpected()
	}
	return f.createUser(u)
}

func (f *fakeAuth) AdminMadeBy(_ context.Context, userID, request string) (bool, error) {
	return f.madeBy[userID] == request, nil
}

func (f *fakeAuth) AdminDeleteUser(_ context.Context, userID string) error {
	if f.deleteUser == nil {
		return unexpected()
	}
	return f.deleteUser(userID)
}

func (f *fakeAuth) AdminSetBanned(_ context.Context, userID string, banned bool) error {
	if f.setBanned == nil {
		return unexpected()
	}
	return f.setBanned(userID, banned)
}

func (f *fakeAuth) Health(context.Context) error {
	if f.health == nil {
		return nil
	}
	return f.health()
}

type fakeBundles struct {
	open   func(token, path string) (string, error)
	put    func(token, path string, r io.Reader, size int64, contentType string) error
	signed func(path string, ttl time.Duration) (string, time.Time, error)
	remove func(path string) error
}

func (f *fakeBundles) Put(_ context.Context, token, path string, r io.Reader, size int64, contentType string) (string, error) {
	if f.put == nil {
		return "", unexpected()
	}
	return "object of " + path, f.put(token, path, r, size, contentType)
}

func (f *fakeBundles) Open(_ context.Context, token, path string) (io.ReadCloser, int64, error) {
	if f.open == nil {
		return nil, 0, unexpected()
	}
	data, err := f.open(token, path)
	return io.NopCloser(strings.NewReader(data)), int64(len(data)), err
}

func (f *fakeBundles) SignedURL(_ context.Context, path string, ttl time.Duration) (string, time.Time, error) {
	if f.signed == nil {
		return "", time.Time{}, unexpected()
	}
	return f.signed(path, ttl)
}

func (f *fakeBundles) Delete(_ context.Context, path string) error {
	if f.remove == nil {
		return unexpected()
	}
	return f.remove(path)
}

func (f *fakeBundles) Health(context.Context) error { return nil }

type fakeLogs func(ctx context.Context, nodeID string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error]

func (f fakeLogs) OpenLogs(ctx context.Context, nodeID string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
	return f(ctx, nodeID, o)
}
