package storage

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// service holds no state beside its folder and its database.
type service struct {
	db       *database
	files    *files
	verify   func(string) (map[string]any, error)
	sign     func(map[string]any) (string, error)
	maxBytes int64
	log      *slog.Logger
	now      func() time.Time
}

// call is one request on its way through a handler.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	bucket string
	key    string
	op     string // what policies read as storage.operation()
}

type handler func(*service, *call) error

// ServeHTTP implements http.Handler. Paths are matched by hand, because keys
// may hold empty segments and escaped slashes, which http.ServeMux would clean.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, c := route(r)
	if h == nil {
		writeJSON(w, http.StatusNotFound, map[string]any{
			"message": "Route " + r.Method + ":" + shorten(r.URL.Path) + " not found",
			"error":   "Not Found", "statusCode": http.StatusNotFound,
		})
		return
	}
	c.w, c.r = w, r
	err := checkPath(r.URL.Path)
	if err == nil {
		err = h(s, c)
	}
	if err != nil {
		s.writeFault(r.Context(), w, err)
		drain(w, r, 2*s.maxBytes)
	}
}

// checkPath refuses what Postgres cannot take as text: every path reaches it
// as a setting.
func checkPath(path string) error {
	if !utf8.ValidString(path) || strings.ContainsRune(path, 0) {
		return invalidKey(strings.ToValidUTF8(path, "\uFFFD"))
	}
	return nil
}

// route finds the handler. Fixed words win over bucket names, as in the real
// server.
func route(r *http.Request) (handler, *call) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	head, rest, _ := strings.Cut(path, "/")
	switch head {
	case "status", "health":
		if rest == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			return alive, &call{}
		}
	case "bucket":
		return routeBucket(r.Method, rest)
	case "object":
		return routeObject(r.Method, rest)
	}
	return nil, nil
}

func alive(_ *service, c *call) error {
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func routeBucket(method, rest string) (handler, *call) {
	id, verb, hasVerb := strings.Cut(rest, "/")
	name, err := url.PathUnescape(id)
	if err != nil {
		return nil, nil
	}
	type key struct {
		method         string
		named, hasVerb bool
	}
	table := map[key]struct {
		h  handler
		op string
	}{
		{http.MethodGet, false, false}:   {listBuckets, "storage.bucket.list"},
		{http.MethodPost, false, false}:  {createBucket, "storage.bucket.create"},
		{http.MethodGet, true, false}:    {getBucket, "storage.bucket.get"},
		{http.MethodPut, true, false}:    {updateBucket, "storage.bucket.update"},
		{http.MethodDelete, true, false}: {deleteBucket, "storage.bucket.delete"},
		{http.MethodPost, true, true}:    {emptyBucket, "storage.bucket.empty"},
	}
	found, ok := table[key{method, name != "", hasVerb}]
	if !ok || (hasVerb && verb != "empty") {
		return nil, nil
	}
	return found.h, &call{bucket: name, op: found.op}
}

// endpoint is one row of the object routes: a fixed prefix below /object, and
// whether a bucket and a key follow.
type endpoint struct {
	method string
	prefix string
	bucket bool
	key    bool
	h      handler
	op     string
}

// endpoints are tried in order: longer prefixes stand before shorter ones.
var endpoints = []endpoint{
	{http.MethodPost, "upload/sign/", true, true, signUpload, "storage.object.upload_sign_url"},
	{http.MethodPut, "upload/sign/", true, true, uploadSigned, "storage.object.upload_signed"},
	{http.MethodPost, "sign/", true, true, signOne, "storage.object.sign"},
	{http.MethodPost, "sign/", true, false, signMany, "storage.object.sign_many"},
	{http.MethodGet, "sign/", true, true, downloadSigned, "storage.object.get_signed"},
	{http.MethodPost, "list/", true, false, listObjects, "storage.object.list"},
	{http.MethodPost, "list-v2/", true, false, listObjectsV2, "storage.object.list_v2"},
	{http.MethodPost, "move", false, false, moveObject, "storage.object.move"},
	{http.MethodPost, "copy", false, false, copyObject, "storage.object.copy"},
	{http.MethodGet, "info/authenticated/", true, true, infoAuthenticated, "storage.object.info_authenticated"},
	{http.MethodGet, "info/public/", true, true, infoPublic, "storage.object.info_public"},
	{http.MethodGet, "info/", true, true, infoAuthenticated, "storage.object.info_authenticated"},
	{http.MethodGet, "authenticated/", true, true, downloadAuthenticated, "storage.object.get_authenticated"},
	{http.MethodGet, "public/", true, true, downloadPublic, "storage.object.get_public"},
	{http.MethodGet, "", true, true, downloadAny, "storage.object.get_authenticated"},
	{http.MethodPost, "", true, true, uploadNew, "storage.object.upload"},
	{http.MethodPut, "", true, true, uploadReplace, "storage.object.upload_update"},
	{http.MethodDelete, "", true, true, deleteObject, "storage.object.delete"},
	{http.MethodDelete, "", true, false, deleteObjects, "storage.object.delete_many"},
}

func routeObject(method, rest string) (handler, *call) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, e := range endpoints {
		tail, ok := strings.CutPrefix(rest, e.prefix)
		if !ok || e.method != method {
			continue
		}
		bucket, key, hasKey := strings.Cut(tail, "/")
		if e.bucket != (bucket != "") || e.key != (hasKey && key != "") {
			continue
		}
		c := &call{op: e.op}
		var err1, err2 error
		c.bucket, err1 = url.PathUnescape(bucket)
		c.key, err2 = url.PathUnescape(key)
		if err1 != nil || err2 != nil {
			return nil, nil
		}
		return e.h, c
	}
	return nil, nil
}
