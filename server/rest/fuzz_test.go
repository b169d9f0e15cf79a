package rest

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// refusal wants a fault that is about the input.
func refusal(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Message == "" {
		t.Fatalf("got %v, want a fault", err)
	}
	if status := fault.Status(e.Code); status < http.StatusBadRequest || status >= http.StatusInternalServerError {
		t.Fatalf("got %v, want a refusal", err)
	}
}

func FuzzIfMatch(f *testing.F) {
	for _, seed := range []string{`"1"`, `W/"1"`, `"1", "2"`, "*", " * ", "", `"`, `""`, `","`, `"a b"`, "\"\xff\"", `W/`, `"1",`, "W/\"1\"W/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		ctx, err := withPrecondition(t.Context(), IfMatchInput{IfMatch: header})
		if err != nil {
			refusal(t, err)
			return
		}
		for _, v := range access.Expected(ctx) {
			if !api.ValidResourceVersion(v) {
				t.Errorf("%q names the version %q", header, v)
			}
		}
	})
}

// FuzzForm reads the form of an upload.
func FuzzForm(f *testing.F) {
	const boundary = "b"
	part := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	head := part("name", "hello") + part("version", "1.0.0") + part("runtimeTag", "node")
	for _, seed := range []string{
		"", "--b--", head + part("bundle", "code") + "--b--\r\n", head + part("bundle", "code"), head + part("bundle", "code") + part("name", "x") + "--b--",
		part("metadata", "{") + "--b--", part("metadata", `{"a":null}`) + "--b--", part("name", "a\x00b") + "--b--", part("other", "x") + "--b--", part("", "x") + "--b--",
		"--b\r\n\r\n", "--b\r\nContent-Disposition: form-data; name=\"a\r\n", part("name", "\xff"), "--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=ZZ\r\n--b--",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req, bundle, err := readForm(multipart.NewReader(bytes.NewReader(body), boundary))
		if err == nil {
			if err = req.Validate(); err != nil {
				t.Fatalf("a form was taken that is not valid: %v", err)
			}
			_, err = io.Copy(io.Discard, bundle)
			if err != nil {
				err = readFault(err)
			}
		}
		if err != nil {
			refusal(t, tooLarge(err))
		}
	})
}

// FuzzParameters reads the parts of a URL.
func FuzzParameters(f *testing.F) {
	for _, seed := range []string{"", "tail=1", "tail=-1", "tail=99999999999999999999", "follow", "follow=maybe", "a=%00", "%ff=1", "a=%ff", "%zz", ";", "a&b=c&a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		c, _ := gin.CreateTestContext(httptest.NewRecorder())
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.URL.RawQuery = query
		c.Request = r
		if err := textual(c); err != nil {
			refusal(t, err)
		}
		if n, err := intParam(c, "tail", 0, -1, 100); err != nil {
			refusal(t, err)
		} else if n < -1 || n > 100 {
			t.Errorf("%q gives %d", query, n)
		}
		if _, err := boolParam(c, "follow"); err != nil {
			refusal(t, err)
		}
	})
}
