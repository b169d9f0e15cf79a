package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// The bad inputs that every endpoint must refuse, or take, as what they are. What is
// added here is tried everywhere, and so is every endpoint that the OpenAPI document
// gains.
var (
	// hostileText goes, escaped, wherever a path or a query takes text.
	hostileText = map[string]string{
		"empty": "", "a space": " ", "a dot": ".", "two dots": "..", "traversal": "../../etc/passwd", "a backslash": `..\..\etc`,
		"NUL": "a\x00b", "bad UTF-8": "\xff\xfe", "control characters": "a\r\nX-Evil: 1\x1b[31m", "bidi": "a\u202eb\u2066", "quotes": `"'` + "`",
		"SQL": "'; drop table public.pods; --", "a pattern": "%_*?", "markup": "<script>alert(1)</script>", "a format": "%s%n%d",
		"long": strings.Repeat("x", 5000), "huge": "9999999999999999999999", "an exponent": "1e999", "negative": "-1", "NaN": "NaN", "null": "null",
		"a UUID in braces": "{0190b2f5-7c1a-7d3e-9f00-000000000001}", "another UUID": "0190B2F5-7C1A-7D3E-9F00-000000000001", "emoji": "🦀", "a list": "a,b,,c",
	}
	// hostileBodies are sent as they are.
	hostileBodies = map[string]string{
		"nothing": "", "null": "null", "a list": "[]", "a list of objects": "[{}]", "a text": `"x"`, "a number": "1", "a flag": "true",
		"an empty object": "{}", "half an object": "{", "half a text": `{"a":"`, "two objects": "{}{}", "a trailing comma": `{"a":1,}`, "a comment": "{/*x*/}",
		"an unknown field": `{"noSuchField":1}`, "a field of prototypes": `{"__proto__":{"admin":true}}`, "an empty name": `{"":1}`, "NUL in a name": `{"\u0000":1}`,
		"NaN": `{"a":NaN}`, "bad UTF-8": "{\"a\":\"\xff\xfe\"}", "half a surrogate": `{"a":"\ud800"}`, "a byte order mark": "\ufeff{}", "UTF-16": "{\x00}\x00",
		"deep lists": strings.Repeat("[", 20000) + strings.Repeat("]", 20000), "deep objects": strings.Repeat(`{"a":`, 11000) + "1" + strings.Repeat("}", 11000),
		"deep in a field": `{"metadata":` + strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000) + "}",
		"XML":             "<?xml version='1.0'?><a/>", "too much": `{"a":"` + strings.Repeat("x", 1<<20) + `"}`,
	}
	// hostileValues stand for each field of each body in turn.
	hostileValues = map[string]string{
		"null": "null", "a flag": "true", "zero": "0", "negative": "-1", "a fraction": "1.5", "huge": "99999999999999999999999", "past float": "1e999",
		"an empty text": `""`, "a text": `"x"`, "a space": `" "`, "NUL": `"a\u0000b"`, "control": `"a\u001b[31m\r\n"`, "bidi": `"a\u202eb"`, "half a surrogate": `"\udfff"`,
		"bad UTF-8": "\"\xc3\x28\"", "traversal": `"../../x"`, "SQL": `"'; drop table pods; --"`, "a number as text": `"12"`, "a quantity": `"1e999Gi"`,
		"long": `"` + strings.Repeat("x", 70000) + `"`, "a list": "[]", "a list of nulls": "[null]", "a list of lists": "[[[]]]", "a list of all": `[1,"a",null,{}]`,
		"many": "[" + strings.Repeat(`"a",`, 5000) + `"a"]`, "an object": "{}", "an object of null": `{"a":null}`, "an object of objects": `{"a":{"b":{}}}`,
		"an empty name": `{"":""}`, "NUL in a name": `{"a\u0000":"b"}`, "a name twice": `{"a":"1","a":"2"}`,
	}
)

// TestHostileInput sends what nobody should to every documented endpoint, on a real
// Postgres and Auth, as an admin, whom no missing right protects.
func TestHostileInput(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.account("/auth/setup", "root@example.org", http.StatusCreated)
	r := &reviewer{t: t, s: s, token: admin.AccessToken}
	doc := r.document()
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		item := doc.Paths.Value(path)
		for method, op := range item.Operations() {
			if op.OperationID == "logout" { // ends the session that all the others need
				continue
			}
			r.review(method, path, op)
		}
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodTrace, "BREW"} {
			if item.GetOperation(method) == nil && method != "BREW" || method == "BREW" {
				r.send("method "+method, method, concrete(path, nil), "", nil)
			}
		}
	}
	const least = 3000 // of what the table above makes of the document
	if r.sent < least {
		t.Errorf("only %d requests were sent", r.sent)
	}
	if _, _, err := s.db.ListUsers(t.Context(), access.Identity{UserID: admin.User.ID, Roles: admin.User.Roles}, api.UserQuery{}); err != nil {
		t.Errorf("the database is not well afterwards: %v", err)
	}
}

type reviewer struct {
	t     *testing.T
	s     *stack
	token string
	sent  int
}

func (r *reviewer) document() *openapi3.T {
	r.t.Helper()
	resp, err := r.s.srv.Client().Get(r.s.srv.URL + "/openapi.json")
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	doc, err := openapi3.NewLoader().LoadFromIoReader(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return doc
}

// concrete fills the parameters of a path, and leaves some to bad.
func concrete(path string, bad map[string]string) string {
	for strings.Contains(path, "{") {
		before, rest, _ := strings.Cut(path, "{")
		name, after, _ := strings.Cut(rest, "}")
		value, ok := bad[name]
		switch {
		case ok:
		case name == "role":
			value = "viewer"
		case name == "id":
			value = someID
		default:
			value = "hello"
		}
		path = before + url.PathEscape(value) + after
	}
	return path
}

func (r *reviewer) review(method, path string, op *openapi3.Operation) {
	r.t.Helper()
	query := url.Values{}
	for _, p := range op.Parameters {
		for what, text := range hostileText {
			what = p.Value.Name + ": " + what
			switch p.Value.In {
			case openapi3.ParameterInPath:
				r.send(what, method, concrete(path, map[string]string{p.Value.Name: text}), "", nil)
			case openapi3.ParameterInQuery:
				if p.Value.Name == "watch" || p.Value.Name == "follow" {
					continue // true begins a stream; guard_test.go has its own for these
				}
				r.send(what, method, concrete(path, nil)+"?"+url.Values{p.Value.Name: {text}}.Encode(), "", nil)
			case openapi3.ParameterInHeader:
				if strings.Trim(text, " ") != "" && !strings.ContainsAny(text, "\x00\r\n") { // no client can send these
					r.send(what, method, concrete(path, nil), `{}`, map[string]string{p.Value.Name: text})
				}
			}
		}
	}
	query.Set("noSuchParameter", "1")
	r.send("an unknown parameter", method, concrete(path, nil)+"?"+query.Encode(), "", nil)
	r.send("a broken query", method, concrete(path, nil)+"?%zz=%", "", nil)
	if op.RequestBody != nil {
		r.reviewBody(method, concrete(path, nil), op)
	}
}

func (r *reviewer) reviewBody(method, path string, op *openapi3.Operation) {
	r.t.Helper()
	for what, body := range hostileBodies {
		r.send("body: "+what, method, path, body, nil)
	}
	for _, contentType := range []string{"", "text/plain", "application/xml", "application/json; charset=latin1", "multipart/form-data", "a/b/c"} {
		r.send("content type "+contentType, method, path, `{}`, map[string]string{"Content-Type": contentType})
	}
	r.send("an encoded body", method, path, `{}`, map[string]string{"Content-Encoding": "gzip"})
	media := op.RequestBody.Value.Content.Get("application/json")
	if media == nil || media.Schema == nil {
		return
	}
	for name := range media.Schema.Value.Properties {
		for what, value := range hostileValues {
			r.send(name+": "+what, method, path, fmt.Sprintf(`{%q:%s}`, name, value), nil)
		}
		r.send(name+" twice", method, path, fmt.Sprintf(`{%q:null,%q:null}`, name, name), nil)
		r.send(name+" in capitals", method, path, fmt.Sprintf(`{%q:null}`, strings.ToUpper(name)), nil)
	}
}

// hang is how long an answer may take: twice what the server gives any request.
const hang = time.Minute

// send sends one request and judges the answer: never a failure of the server, always
// an envelope, and in it the field where a field is at fault.
func (r *reviewer) send(what, method, path, body string, header map[string]string) {
	r.t.Helper()
	r.sent++
	ctx, cancel := context.WithTimeout(r.t.Context(), hang)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.s.srv.URL+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatalf("%s %s: %s: %v", method, path, what, err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	req.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		req.Header[http.CanonicalHeaderKey(k)] = []string{v}
	}
	resp, err := r.s.srv.Client().Do(req)
	if ctx.Err() != nil {
		r.t.Errorf("%s %s: %s: no answer within %s", method, shorten(path), what, hang)
		return
	}
	if err != nil {
		r.t.Logf("%s %s: %s: not sent: %v", method, shorten(path), what, err)
		return
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Errorf("%s %s: %s: %v", method, shorten(path), what, err)
		return
	}
	if why := judge(resp, raw); why != "" {
		r.t.Errorf("%s %s: %s: %d %.300s: %s", method, shorten(path), what, resp.StatusCode, raw, why)
	}
}

func shorten(path string) string { return fmt.Sprintf("%.120s", path) }

func judge(resp *http.Response, raw []byte) string {
	correlation := resp.Header.Get("X-Correlation-Id")
	if correlation == "" {
		return "it has no correlation id"
	}
	if resp.StatusCode < http.StatusBadRequest {
		return ""
	}
	if resp.Header.Get("X-Evil") != "" {
		return "a header was smuggled in"
	}
	if strings.Contains(string(raw), "goroutine ") || strings.Contains(string(raw), ".go:") || strings.Contains(string(raw), "SQLSTATE") {
		return "it shows what is inside"
	}
	var e fault.Envelope
	if err := json.Unmarshal(raw, &e); err != nil || e.Success || e.Error.Code == "" || e.Error.Message == "" {
		return "it is no error envelope"
	}
	if id, ok := e.Error.Details["correlationId"]; ok && id != correlation {
		return "its two correlation ids differ"
	}
	switch {
	case resp.StatusCode >= http.StatusInternalServerError:
		return "the server failed"
	case e.Error.Code == fault.Validation && len(e.Error.Details) == 0:
		return "it names no field"
	}
	return ""
}
