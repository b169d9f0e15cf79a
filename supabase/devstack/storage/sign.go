package storage

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	scopeDownload = "download"
	scopeUpload   = "upload"
	// uploadTokenLife is how long a signed upload URL works.
	uploadTokenLife = 2 * time.Hour
	// maxExpiresIn keeps exp within what every JWT library reads exactly.
	maxExpiresIn = 1 << 31
	// maxSignPaths bounds one bulk request.
	maxSignPaths = 10000
)

type signInput struct {
	ExpiresIn *int64          `json:"expiresIn"`
	Paths     []string        `json:"paths"`
	Transform json.RawMessage `json:"transform"`
}

func (s *service) readSign(c *call) (actor, signInput, error) {
	var in signInput
	a, err := s.caller(c.r)
	if err != nil {
		return a, in, err
	}
	if err := readJSON(c.w, c.r, &in); err != nil {
		return a, in, err
	}
	switch {
	case in.ExpiresIn == nil:
		return a, in, invalidRequest("body must have required property 'expiresIn'")
	case *in.ExpiresIn < 1 || *in.ExpiresIn > maxExpiresIn:
		return a, in, invalidRequest("body/expiresIn must be >= 1")
	case len(in.Transform) > 0 && string(in.Transform) != "null":
		return a, in, notEnabled("image transformation")
	}
	return a, in, nil
}

func signOne(s *service, c *call) error {
	a, in, err := s.readSign(c)
	if err != nil {
		return err
	}
	if _, err := s.bucketAs(c, serviceActor, c.bucket); err != nil {
		return err
	}
	if _, err := s.objectAs(c, a); err != nil {
		return err
	}
	link, err := s.downloadLink(c.bucket, c.key, *in.ExpiresIn)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]string{"signedURL": link})
	return nil
}

func (s *service) downloadLink(bucket, key string, expiresIn int64) (string, error) {
	now := s.now().Unix()
	token, err := s.sign(map[string]any{
		"url": bucket + "/" + key, "scope": scopeDownload, "iat": now, "exp": now + expiresIn,
	})
	if err != nil {
		return "", internal(err)
	}
	return "/object/sign/" + linkPath(bucket+"/"+key) + "?token=" + url.QueryEscape(token), nil
}

// signedPath is one entry of a bulk answer; exactly one of the two is null.
type signedPath struct {
	Error     *string `json:"error"`
	Path      string  `json:"path"`
	SignedURL *string `json:"signedURL"`
}

func signMany(s *service, c *call) error {
	a, in, err := s.readSign(c)
	if err != nil {
		return err
	}
	if len(in.Paths) == 0 || len(in.Paths) > maxSignPaths {
		return invalidRequest("body/paths must NOT have fewer than 1 items or more than %d", maxSignPaths)
	}
	seen := map[string]bool{}
	err = s.db.as(c, a, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select name from storage.objects where bucket_id = $1 and name = any($2)`,
			c.bucket, in.Paths)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, n := range names {
			seen[n] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	answer := make([]signedPath, 0, len(in.Paths))
	for _, path := range in.Paths {
		entry := signedPath{Path: path}
		if !seen[path] {
			entry.Error = new("Either the object does not exist or you do not have access to it")
		} else {
			link, err := s.downloadLink(c.bucket, path, *in.ExpiresIn)
			if err != nil {
				return err
			}
			entry.SignedURL = &link
		}
		answer = append(answer, entry)
	}
	writeJSON(c.w, http.StatusOK, answer)
	return nil
}

// signedClaims checks the token of a signed URL for this path and scope. The
// scope keeps a token for reading from writing, and the url claim keeps a
// user's access token from being either.
func (s *service) signedClaims(c *call, scope string) (map[string]any, error) {
	token := c.r.URL.Query().Get("token")
	if token == "" {
		return nil, invalidRequest("querystring must have required property 'token'")
	}
	claims, err := s.verify(token)
	if err != nil {
		f := invalidJWT(shorten(err.Error()))
		f.cause = err
		return nil, f
	}
	if claim(claims, "url") != c.bucket+"/"+c.key || claim(claims, "scope") != scope {
		return nil, invalidSignature()
	}
	return claims, nil
}

func downloadSigned(s *service, c *call) error {
	claims, err := s.signedClaims(c, scopeDownload)
	if err != nil {
		return err
	}
	if exp, ok := claims["exp"].(float64); ok {
		c.w.Header().Set("Expires", time.Unix(int64(exp), 0).UTC().Format(http.TimeFormat))
	}
	return s.serve(c, serviceActor)
}

// signUpload asks the policies now; the upload itself then needs no rights.
func signUpload(s *service, c *call) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	if err := checkKey(c.key); err != nil {
		return err
	}
	if _, err := s.bucketAs(c, serviceActor, c.bucket); err != nil {
		return err
	}
	upsert := c.r.Header.Get("X-Upsert") == "true"
	in := insertion{
		bucket: c.bucket, key: c.key, owner: a, version: trialVersion,
		metadata: metadata{MIME: defaultMIME}, upsert: upsert,
	}
	if err := s.db.try(c, a, in.attempt); err != nil {
		return err
	}
	now := s.now()
	claims := map[string]any{
		"url": c.bucket + "/" + c.key, "upsert": upsert, "scope": scopeUpload,
		"iat": now.Unix(), "exp": now.Add(uploadTokenLife).Unix(),
	}
	if a.sub != "" {
		claims["owner"] = a.sub
	}
	token, err := s.sign(claims)
	if err != nil {
		return internal(err)
	}
	link := "/object/upload/sign/" + linkPath(c.bucket+"/"+c.key) + "?token=" + url.QueryEscape(token)
	writeJSON(c.w, http.StatusOK, map[string]string{"url": link, "token": token})
	return nil
}

func uploadSigned(s *service, c *call) error {
	claims, err := s.signedClaims(c, scopeUpload)
	if err != nil {
		return err
	}
	owner := serviceActor
	owner.sub = claim(claims, "owner")
	upsert, _ := claims["upsert"].(bool)
	o, err := s.receive(c, upload{actor: owner, trusted: true, upsert: upsert})
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]string{"Key": o.BucketID + "/" + o.Name})
	return nil
}

// linkPath leaves keys as they are, because clients escape the link that they
// get; only what would end the path is escaped here.
func linkPath(path string) string { return strings.ReplaceAll(path, "?", "%3F") }

// escapeSegment makes a text safe in a header parameter, which bears less than
// what url.PathEscape leaves alone.
func escapeSegment(s string) string {
	return strings.NewReplacer("'", "%27", "(", "%28", ")", "%29", "*", "%2A", ";", "%3B", ",", "%2C", "=", "%3D",
		"@", "%40", ":", "%3A").Replace(url.PathEscape(s))
}
