// Package gateway joins the services of the local stack on one port, as Supabase's gateway does: it checks
// the API key before /auth/v1 and /rest/v1, lets Storage check for itself, turns the keys of the newer kind into the
// tokens they stand for, and answers cross-origin questions. It decides nothing about users.
package gateway

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/stark-orchestrator/stark/supabase/devstack/keys"
)

// Config names what stands behind the gateway.
type Config struct {
	Auth, Storage http.Handler // each expects its prefix stripped
	Rest          http.Handler // likewise; nil where the API is switched off
	Keys          *keys.Set
}

const (
	authPrefix    = "/auth/v1"
	storagePrefix = "/storage/v1"
	restPrefix    = "/rest/v1"
)

// openPaths need no API key: browsers arrive there from links.
var openPaths = map[string]bool{
	"/verify": true, "/callback": true, "/authorize": true, "/.well-known/jwks.json": true,
}

// New returns the gateway. Paths are matched by hand, as a ServeMux would clean object keys.
func New(c Config) http.Handler {
	auth := http.StripPrefix(authPrefix, c.Auth)
	storage := http.StripPrefix(storagePrefix, c.Storage)
	rest := http.StripPrefix(restPrefix, c.Rest)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if preflight(w, r) {
			return
		}
		switch {
		case below(r, authPrefix):
			if fault := c.checkKey(r); fault != "" {
				refuse(w, http.StatusUnauthorized, fault)
				return
			}
			c.swap(r, false)
			auth.ServeHTTP(w, r)
		case c.Rest != nil && below(r, restPrefix):
			if fault := c.checkKey(r); fault != "" {
				refuse(w, http.StatusUnauthorized, fault)
				return
			}
			c.swap(r, false)
			rest.ServeHTTP(w, r)
		case below(r, storagePrefix):
			c.swap(r, true)
			storage.ServeHTTP(w, r)
		default:
			refuse(w, http.StatusNotFound, "no Route matched with those values")
		}
	})
}

func below(r *http.Request, prefix string) bool {
	rest, ok := strings.CutPrefix(r.URL.Path, prefix)
	return ok && strings.HasPrefix(rest, "/") && strings.HasPrefix(r.URL.EscapedPath(), prefix)
}

// apiKey is the key of a request: the header, else the query.
func apiKey(r *http.Request) string {
	if key := r.Header.Get("Apikey"); key != "" {
		return key
	}
	return r.URL.Query().Get("apikey")
}

// checkKey returns what is wrong with the API key of a request, or nothing.
func (c Config) checkKey(r *http.Request) string {
	if path, isAuth := strings.CutPrefix(r.URL.Path, authPrefix); isAuth && openPaths[path] {
		return ""
	}
	key := apiKey(r)
	if key == "" {
		return "No API key found in request"
	}
	for _, known := range []string{c.Keys.AnonKey, c.Keys.ServiceRoleKey, c.Keys.PublishableKey, c.Keys.SecretKey} {
		if subtle.ConstantTimeCompare([]byte(key), []byte(known)) == 1 {
			return ""
		}
	}
	return "Invalid authentication credentials"
}

// swap puts the token that an API key stands for in place of a key of the newer kind, which no service
// understands. A user's own token stays. Storage is also given a key of the older kind, as it comes.
func (c Config) swap(r *http.Request, bare bool) {
	given := r.Header.Get("Authorization")
	if token, isBearer := strings.CutPrefix(given, "Bearer "); isBearer && strings.HasPrefix(token, "sb_") {
		if legacy := c.legacy(token); legacy != "" {
			r.Header.Set("Authorization", "Bearer "+legacy)
		}
		return
	}
	key := apiKey(r)
	if given != "" || key == "" {
		return
	}
	if legacy := c.legacy(key); legacy != "" {
		r.Header.Set("Authorization", "Bearer "+legacy)
	} else if bare {
		r.Header.Set("Authorization", key)
	}
}

// legacy is the JWT that a key of the newer kind stands for, or nothing.
func (c Config) legacy(key string) string {
	switch {
	case subtle.ConstantTimeCompare([]byte(key), []byte(c.Keys.PublishableKey)) == 1:
		return c.Keys.AnonKey
	case subtle.ConstantTimeCompare([]byte(key), []byte(c.Keys.SecretKey)) == 1:
		return c.Keys.ServiceRoleKey
	default:
		return ""
	}
}

// preflight sets the cross-origin headers and answers the question that browsers ask before a request.
func preflight(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "*, X-Total-Count, Link, Content-Range, Content-Profile, Location, Preference-Applied, X-Supabase-Api-Version, X-Sb-Error-Code")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS")
	asked := r.Header.Get("Access-Control-Request-Headers")
	if asked == "" {
		asked = "authorization, apikey, content-type, x-client-info"
	}
	h.Set("Access-Control-Allow-Headers", asked)
	h.Set("Access-Control-Max-Age", "3600")
	h.Add("Vary", "Access-Control-Request-Headers")
	w.WriteHeader(http.StatusOK)
	return true
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // the caller may have gone
}
