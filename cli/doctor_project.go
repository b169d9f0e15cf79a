package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	projectTimeout = 10 * time.Second
	maxProjectJSON = 1 << 20
	bundleBucket   = "pack-bundles"
)

// project checks Auth and Storage with both keys.
func (d *doctor) project(ctx context.Context) {
	d.auth(ctx)
	d.signingKeys(ctx)
	d.tokenHook()
	d.bucket(ctx)
}

// get asks the project with an API key, and gives the status of the answer. Older
// keys are tokens and go into Authorization as well; newer ones must not.
func (d *doctor) get(ctx context.Context, path, key string, into any) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, projectTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.config.SupabaseURL+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("apikey", key)
	if !strings.HasPrefix(key, "sb_") {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // what matters has been read
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxProjectJSON))
	if err == nil && resp.StatusCode == http.StatusOK && into != nil {
		err = json.Unmarshal(data, into)
	}
	return resp.StatusCode, err
}

// judged tells what went wrong with a request, and reports whether it went well.
func (d *doctor) judged(check, keys string, status int, err error) bool {
	switch {
	case err != nil:
		d.fail(check, "is SUPABASE_URL right, and does the project run? A paused project has to be restored in the dashboard", "%s: %s", d.config.SupabaseURL, err)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		d.fail(check, "copy the key anew: `supabase status`, or API Keys in the dashboard", "the project refuses the key in %s (%d)", keys, status)
	case status != http.StatusOK:
		d.fail(check, "look at the project's logs for this part", "it answers %d", status)
	default:
		return true
	}
	return false
}

func (d *doctor) auth(ctx context.Context) {
	var settings struct {
		DisableSignup bool `json:"disable_signup"`
	}
	status, err := d.get(ctx, "/auth/v1/settings", d.config.AnonKey, &settings)
	if d.judged("auth", orDefault(d.config.Sources["anonKey"], "the public key"), status, err) {
		text := "strangers may make accounts there; they have no role unless registration is open"
		if settings.DisableSignup {
			text = "sign-ups are switched off there"
		}
		d.ok("auth", "answers; %s", text)
	}
	status, err = d.get(ctx, "/auth/v1/admin/users?page=1&per_page=1", d.config.ServiceKey, nil)
	if d.judged("secret key", orDefault(d.config.Sources["serviceKey"], "the secret key"), status, err) {
		d.ok("secret key", "opens the administration of Auth")
	}
}

// signingKeys checks that access tokens can be verified.
func (d *doctor) signingKeys(ctx context.Context) {
	const check = "signing keys"
	var set struct {
		Keys []struct {
			ID        string `json:"kid"`
			Type      string `json:"kty"`
			Algorithm string `json:"alg"`
		} `json:"keys"`
	}
	status, err := d.get(ctx, "/auth/v1/.well-known/jwks.json", d.config.AnonKey, &set)
	if !d.judged(check, "", status, err) {
		return
	}
	var usable, ids []string
	for _, k := range set.Keys {
		if k.Type == "EC" || k.Type == "RSA" {
			usable = append(usable, orDefault(k.Algorithm, k.Type)+" "+k.ID)
			ids = append(ids, k.ID)
		}
	}
	header, claims, readable := tokenParts(d.token)
	mine := readable && claims["iss"] == d.config.JWTIssuer
	kid, _ := header["kid"].(string)
	switch {
	case len(usable) == 0 && d.config.JWTSecret == "":
		d.fail(check, "set SUPABASE_JWT_SECRET, or better switch the project to signing keys (JWT Keys in the dashboard)", "the project publishes none, so it signs with a secret that the server does not have")
	case len(usable) == 0:
		d.ok(check, "tokens are checked with SUPABASE_JWT_SECRET")
	case mine && kid != "" && !strings.Contains(" "+strings.Join(ids, " ")+" ", " "+kid+" "):
		d.warn(check, "stark auth login", "your session was signed with the key %s, which the project does not publish any more", kid)
	default:
		d.ok(check, "%s", strings.Join(usable, ", "))
	}
}

// tokenHook looks for the roles that the hook writes into tokens; Auth tells
// nobody whether it is switched on.
func (d *doctor) tokenHook() {
	const check = "token hook"
	_, claims, readable := tokenParts(d.token)
	stark, _ := claims["stark"].(map[string]any)
	switch {
	case !readable || claims["iss"] != d.config.JWTIssuer:
		d.skip(check, "sign in with `stark auth login` and run this again", "no session of this project is kept here, and only a token shows whether the hook is on")
	case stark["roles"] == nil:
		d.fail(check, "turn it on: [auth.hook.custom_access_token] in config.toml, or Authentication > Hooks in the dashboard: schema stark, function custom_access_token_hook; then sign in again", "the kept session's token has no roles")
	default:
		d.ok(check, "is on: the kept session's token has roles")
	}
}

// tokenParts reads header and claims of a token, without believing them.
func tokenParts(token string) (header, claims map[string]any, ok bool) {
	const parts = 3
	text := strings.Split(token, ".")
	if len(text) != parts {
		return nil, nil, false
	}
	for i, into := range []*map[string]any{&header, &claims} {
		data, err := base64.RawURLEncoding.DecodeString(text[i])
		if err != nil || json.Unmarshal(data, into) != nil {
			return nil, nil, false
		}
	}
	return header, claims, true
}

func (d *doctor) bucket(ctx context.Context) {
	const check = "bucket"
	var bucket struct {
		Public bool  `json:"public"`
		Limit  int64 `json:"file_size_limit"`
	}
	status, err := d.get(ctx, "/storage/v1/bucket/"+bundleBucket, d.config.ServiceKey, &bucket)
	switch {
	case err == nil && (status == http.StatusBadRequest || status == http.StatusNotFound):
		d.fail(check, "apply the migrations, which make it: `supabase db push` or `stark server start --migrate`", "Storage answers, but has no bucket %s", bundleBucket)
	case !d.judged(check, orDefault(d.config.Sources["serviceKey"], "the secret key"), status, err):
	case bucket.Public:
		d.fail(check, "make it private: update storage.buckets set public = false where id = '"+bundleBucket+"'", "%s is public: everybody can read the code of private packs", bundleBucket)
	default:
		limit := "no limit of its own"
		if bucket.Limit > 0 {
			limit = fmt.Sprintf("%d MiB at most", bucket.Limit>>20)
		}
		d.ok(check, "%s is there and private, %s", bundleBucket, limit)
	}
}
