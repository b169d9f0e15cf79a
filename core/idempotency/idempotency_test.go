package idempotency_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/idempotency"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func write(t *testing.T, owner, key string, asked ...string) idempotency.Write {
	t.Helper()
	parts := make([][]byte, len(asked))
	for i, a := range asked {
		parts[i] = []byte(a)
	}
	w, err := idempotency.New(owner, key, time.Minute, parts...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestSameAndOther(t *testing.T) {
	t.Parallel()
	a, again := write(t, "ann", "k", "POST", "/x"), write(t, "ann", "k", "POST", "/x")
	if !bytes.Equal(a.Hash, again.Hash) || !bytes.Equal(a.Fingerprint, again.Fingerprint) || a.Claim == again.Claim {
		t.Error("the same request must have the same hash and fingerprint, and a claim of its own")
	}
	for _, other := range []idempotency.Write{write(t, "bob", "k", "POST", "/x"), write(t, "ann", "l", "POST", "/x"), write(t, "annk", "k", "POST", "/x")} {
		if bytes.Equal(a.Hash, other.Hash) {
			t.Errorf("%+v has the hash of another", other)
		}
	}
	if bytes.Equal(a.Fingerprint, write(t, "ann", "k", "POST/", "x").Fingerprint) {
		t.Error("parts must not run together")
	}
}

func TestSealedAnswers(t *testing.T) {
	t.Parallel()
	w := write(t, "ann", "k", "x")
	want := idempotency.Answer{Status: 201, ContentType: "application/json", ETag: `"7"`, Body: []byte(`{"token":"stark_join_secret"}`)}
	sealed, err := w.Seal(want)
	if err != nil || bytes.Contains(sealed, []byte("secret")) {
		t.Fatalf("got %q, %v, want nothing to read", sealed, err)
	}
	if got, err := write(t, "ann", "k", "x").Open(sealed); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, other := range []idempotency.Write{write(t, "bob", "k", "x"), write(t, "ann", "l", "x"), write(t, "ann", "k", "y")} {
		if got, err := other.Open(sealed); err == nil {
			t.Errorf("somebody else has opened %+v", got)
		}
	}
	for _, bad := range [][]byte{nil, sealed[:5], sealed[:len(sealed)-1]} {
		if _, err := w.Open(bad); err == nil {
			t.Errorf("%d bytes of %d were opened", len(bad), len(sealed))
		}
	}
	if long, err := w.Seal(idempotency.Answer{Body: make([]byte, idempotency.MaxAnswer)}); err != nil || long != nil {
		t.Errorf("got %d bytes, %v, want nothing of what is too long", len(long), err)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", " ", "a b", "a\tb", "ä", strings.Repeat("k", idempotency.MaxKey+1)} {
		if _, err := idempotency.New("ann", bad, time.Minute); fault.CodeOf(err) != fault.Validation {
			t.Errorf("key %q gives %v, want a validation fault", bad, err)
		}
	}
	write(t, "ann", strings.Repeat("~", idempotency.MaxKey))
}
