package storage

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

const roleService = "service_role"

// actor is whom a transaction speaks for.
type actor struct {
	role   string
	sub    string
	token  string
	claims string // JSON
}

// serviceActor is the role that policies do not bind.
var serviceActor = actor{role: roleService, claims: `{"role":"service_role"}`}

// ownerID is nil for callers without a subject, such as the service key.
func (a actor) ownerID() *string {
	if a.sub == "" {
		return nil
	}
	return &a.sub
}

// ownerUUID fills the older column, which takes UUIDs only.
func (a actor) ownerUUID() *string {
	if _, err := uuid.Parse(a.sub); err != nil {
		return nil
	}
	return &a.sub
}

// caller reads the Authorization header, with or without the word Bearer.
func (s *service) caller(r *http.Request) (actor, error) {
	header := strings.TrimSpace(r.Header.Get("Authorization"))
	if header == "" {
		return actor{}, invalidRequest("headers must have required property 'authorization'")
	}
	token := header
	if scheme, rest, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(rest)
	}
	claims, err := s.verify(token)
	if err != nil {
		f := accessDenied(shorten(err.Error()))
		f.cause = err
		return actor{}, f
	}
	text, err := json.Marshal(claims)
	if err != nil {
		return actor{}, internal(err)
	}
	a := actor{role: claim(claims, "role"), sub: claim(claims, "sub"), token: token, claims: string(text)}
	if a.role == "" {
		a.role = "anon"
	}
	return a, nil
}

func claim(claims map[string]any, name string) string {
	v, _ := claims[name].(string)
	return v
}
