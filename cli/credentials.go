package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gofrs/flock"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// login is what is kept of a session with one server.
type login struct {
	AccessToken  string    `json:"accessToken"`
	RefreshToken string    `json:"refreshToken,omitempty"`
	ExpiresAt    time.Time `json:"expiresAt"`
	UserID       string    `json:"userId"`
	Email        string    `json:"email"`
}

// credentials is the file of all logins. Whoever changes it holds its lock.
type credentials struct{ home home }

type credentialsContent struct {
	Servers map[string]login `json:"servers"` // by API URL
}

const (
	credentialsFile = "credentials.json"
	credentialsLock = "credentials.lock"
	lockTimeout     = 30 * time.Second // longer than a refresh takes
	lockRetry       = 20 * time.Millisecond
)

func (h home) credentials() credentials { return credentials{h} }

func (c credentials) load() (credentialsContent, error) {
	var content credentialsContent
	err := c.home.read(credentialsFile, &content)
	if content.Servers == nil {
		content.Servers = map[string]login{}
	}
	return content, err
}

func (c credentials) get(url string) (login, bool, error) {
	content, err := c.load()
	l, ok := content.Servers[url]
	return l, ok, err
}

// change runs fn on the content under the lock and writes it back, unless fn fails.
func (c credentials) change(ctx context.Context, fn func(*credentialsContent) error) error {
	if err := c.home.make(); err != nil {
		return err
	}
	lock := flock.New(c.home.path(credentialsLock))
	wait, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	if _, err := lock.TryLockContext(wait, lockRetry); err != nil {
		return fmt.Errorf("lock the credentials: %w", err)
	}
	defer func() { _ = lock.Unlock() }() // ends with the process at the latest
	content, err := c.load()
	if err != nil {
		return err
	}
	if err := fn(&content); err != nil {
		return err
	}
	return c.home.write(credentialsFile, content)
}

func (c credentials) put(ctx context.Context, url string, s api.Session) error {
	return c.change(ctx, func(content *credentialsContent) error {
		content.Servers[url] = loginOf(s)
		return nil
	})
}

func (c credentials) remove(ctx context.Context, url string) error {
	return c.change(ctx, func(content *credentialsContent) error {
		delete(content.Servers, url)
		return nil
	})
}

func loginOf(s api.Session) login {
	return login{
		AccessToken: s.AccessToken, RefreshToken: s.RefreshToken, ExpiresAt: s.ExpiresAt,
		UserID: s.User.ID, Email: s.User.Email,
	}
}

// session is the user's token for one server. Several processes may refresh at
// the same time: one does it under the lock, the others take what it has written,
// for a refresh token can be spent once only.
type session struct {
	store credentials
	url   string
}

// expirySkew is how long before its end a token is renewed.
const expirySkew = 30 * time.Second

// Token gives a token that is good for the next request.
func (s *session) Token(ctx context.Context) (string, error) {
	l, ok, err := s.store.get(s.url)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", fault.New(fault.AuthenticationRequired, "you are not signed in at %s", s.url)
	}
	if time.Until(l.ExpiresAt) > expirySkew {
		return l.AccessToken, nil
	}
	fresh, err := s.Refresh(ctx, l.AccessToken)
	if err != nil && fault.Retryable(err) && time.Until(l.ExpiresAt) > 0 {
		return l.AccessToken, nil
	}
	return fresh, err
}

// Refresh gives a newer token than stale.
func (s *session) Refresh(ctx context.Context, stale string) (string, error) {
	var token string
	err := s.store.change(ctx, func(content *credentialsContent) error {
		l, ok := content.Servers[s.url]
		if !ok {
			return fault.New(fault.AuthenticationRequired, "you are not signed in at %s", s.url)
		}
		if l.AccessToken != stale && time.Until(l.ExpiresAt) > expirySkew {
			token = l.AccessToken // another process was faster
			return nil
		}
		fresh, err := s.exchange(ctx, l)
		if err != nil {
			return err
		}
		content.Servers[s.url] = fresh
		token = fresh.AccessToken
		return nil
	})
	return token, err
}

func (s *session) exchange(ctx context.Context, l login) (login, error) {
	ended := fault.New(fault.AuthenticationRequired, "your session at %s has ended", s.url)
	if l.RefreshToken == "" {
		return login{}, ended
	}
	c, err := client.New(client.Config{URL: s.url, UserAgent: userAgent()})
	if err != nil {
		return login{}, err
	}
	fresh, err := c.RefreshSession(ctx, l.RefreshToken)
	if err == nil {
		next := loginOf(fresh)
		if next.Email == "" {
			next.Email, next.UserID = l.Email, l.UserID
		}
		return next, nil
	}
	if e, ok := errors.AsType[*fault.Error](err); ok && (fault.Status(e.Code) == 401 || fault.Status(e.Code) == 400) {
		ended.Cause = err
		return login{}, ended
	}
	return login{}, fmt.Errorf("renew the session: %w", err)
}
