package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func bundle(content string, size int64) client.Bundle {
	return client.Bundle{Size: size, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	var fields []string
	var length int64
	refuse := true
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if refuse { // the first token has expired: the whole upload comes again
			refuse = false
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"success":false,"error":{"code":"TOKEN_EXPIRED","message":"expired"}}`)
			return
		}
		form, err := r.MultipartReader()
		if err != nil {
			t.Errorf("not a form: %v", err)
			return
		}
		fields, length = readForm(t, form), r.ContentLength
		_, _ = io.WriteString(w, `{"success":true,"data":{"pack":{"id":"k"}}}`)
	})
	content := strings.Repeat("0123456789", 100_000)
	b := bundle(content, int64(len(content)))
	var sent int64
	b.Progress = func(n int64) { sent = n }
	pack, err := s.client(t, &rotating{}).CreatePack(t.Context(), api.CreatePackRequest{
		Name: "hello", Version: "1.0.0", RuntimeTag: api.TagNode, Metadata: map[string]any{"a": 1},
	}, b)
	if err != nil || pack.ID != "k" {
		t.Fatalf("got %v, %v", pack, err)
	}
	want := []string{"name=hello", "version=1.0.0", "runtimeTag=node", `metadata={"a":1}`, "bundle=" + content}
	if !reflect.DeepEqual(fields, want) {
		t.Errorf("the form's fields do not come as sent, file last")
	}
	if got := int64(len(s.last(t).body)); length != got || sent != int64(len(content)) {
		t.Errorf("Content-Length %d for %d bytes, progress up to %d of %d", length, got, sent, len(content))
	}
}

func readForm(t *testing.T, form *multipart.Reader) []string {
	t.Helper()
	var fields []string
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return fields
		}
		if err != nil {
			t.Errorf("read the form: %v", err)
			return fields
		}
		var value bytes.Buffer
		if _, err := value.ReadFrom(part); err != nil {
			t.Errorf("read %s: %v", part.FormName(), err)
		}
		fields = append(fields, part.FormName()+"="+value.String())
	}
}

func TestUploadsThatFail(t *testing.T) {
	t.Parallel()
	// A server that drains what it gets without minding how it ends.
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusBadRequest)
	})
	s := newPlainServer(t, handler)
	c, err := client.New(client.Config{URL: s})
	if err != nil {
		t.Fatal(err)
	}
	req := api.CreatePackRequest{Name: "hello"}
	for name, size := range map[string]int64{"shorter": 10, "longer": 2} {
		if _, err := c.CreatePack(t.Context(), req, bundle("12345", size)); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("a file %s than its size gives %v, want CONFLICT", name, err)
		}
	}
	if _, err := c.CreatePack(t.Context(), req, client.Bundle{Open: func() (io.ReadCloser, error) { return nil, io.ErrNoProgress }}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want the failure to open", err)
	}
	req.Metadata = map[string]any{"f": func() {}}
	if _, err := c.CreatePack(t.Context(), req, bundle("", 0)); fault.CodeOf(err) != fault.Validation {
		t.Errorf("got %v, want metadata refused", err)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	s := answering(t, http.StatusOK, `{"time":"2026-01-02T03:04:05Z","stream":"stdout","line":"one"}`+"\n\n"+`{"stream":"stderr","line":"two"}`+"\n")
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var lines []string
	for line, err := range s.client(t, nil).PodLogs(t.Context(), "p", client.LogOptions{Tail: new(-1), Since: &since, Follow: true, Previous: true}) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line.Stream+":"+line.Line)
	}
	if want := []string{"stdout:one", "stderr:two"}; !reflect.DeepEqual(lines, want) {
		t.Errorf("got %v, want %v", lines, want)
	}
	if got, want := s.last(t).uri, "/api/pods/p/logs?follow=true&previous=true&since=2026-01-02T03%3A04%3A05Z&tail=-1"; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	for _, err := range s.client(t, nil).PodLogs(t.Context(), "p", client.LogOptions{}) {
		if err != nil {
			t.Error(err)
		}
		break // a reader may leave at any line
	}
}

func TestLogsThatFail(t *testing.T) {
	t.Parallel()
	good := `{"stream":"stdout","line":"one"}` + "\n"
	for name, c := range map[string]struct {
		status int
		body   string
		want   fault.Code
	}{
		"refused":   {http.StatusNotFound, `{"success":false,"error":{"code":"NOT_FOUND","message":"no pod"}}`, fault.NotFound},
		"at end":    {http.StatusOK, good + `{"error":{"code":"GONE","message":"the node left"}}` + "\n", fault.Gone},
		"garbage":   {http.StatusOK, good + "<html>\n", fault.Internal},
		"long line": {http.StatusOK, good + strings.Repeat("x", 5<<20), fault.PayloadTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var last error
			for _, err := range answering(t, c.status, c.body).client(t, nil).PodLogs(t.Context(), "p", client.LogOptions{}) {
				if last != nil {
					t.Error("the stream goes on after an error")
				}
				last = err
			}
			if fault.CodeOf(last) != c.want {
				t.Errorf("got %v, want %s", last, c.want)
			}
		})
	}
}

func TestFollowedLogsEndWithTheContext(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"line":"one"}`+"\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for line, err := range s.client(t, nil).PodLogs(ctx, "p", client.LogOptions{Follow: true}) {
		if line.Line == "one" {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", last)
	}
	cut := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"line":"one"}`+"\n")
	})
	for _, err := range cut.client(t, nil).PodLogs(t.Context(), "p", client.LogOptions{}) {
		last = err
	}
	if fault.CodeOf(last) != fault.Unavailable {
		t.Errorf("a cut stream gives %v, want SERVICE_UNAVAILABLE", last)
	}
}
