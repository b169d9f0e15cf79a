package loggingtest_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

// recorder takes what a test would be told.
type recorder struct {
	testing.TB
	faults  []string
	cleanup func()
}

func (r *recorder) Cleanup(f func()) { r.cleanup = f }
func (r *recorder) Error(args ...any) {
	for _, a := range args {
		r.faults = append(r.faults, a.(string))
	}
}
func (r *recorder) Failed() bool { return false }

func TestSecretsInLinesAreFound(t *testing.T) {
	t.Parallel()
	token := "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJhIn0abc." + strings.Repeat("s", 43)
	for name, text := range map[string]string{
		"a token": "got " + token, "a secret key": "sb_secret_0123456789abcdef", "a join token": "stark_join_" + strings.Repeat("a", 43),
		"a credential": "stark_node_" + strings.Repeat("a", 43), "a ticket": "stark_ticket_" + strings.Repeat("a", 43),
		"a header": "Authorization: Bearer 0123456789abcdef", "a DSN": "postgresql://postgres:hunter2@127.0.0.1/x",
		"a signed address": "/object/sign/b/k?token=abcdef0123456789", "a private key": "-----BEGIN EC PRIVATE KEY-----",
		"what the test says": "the Correct-Horse-9 of somebody", "what it says later": "later-named-secret", "escaped": "a%2Fsecret%2Fpath",
	} {
		r := &recorder{TB: t}
		log := loggingtest.New(r, "Correct-Horse-9", "a/secret/path")
		log.Debug("line", slog.String("text", text))
		log.Secret("later-named-secret")
		r.cleanup()
		if len(r.faults) != 1 {
			t.Errorf("%s: %q", name, r.faults)
		}
	}
	r := &recorder{TB: t}
	log := loggingtest.New(r, "short")
	for _, text := range []string{"short words", "postgresql://postgres:xxxxx@127.0.0.1/x", "https://example.com:80/a@b", "Bearer token missing", "a token=short"} {
		log.Info("line", slog.String("text", text), slog.String("accessToken", token))
	}
	r.cleanup()
	if len(r.faults) != 0 {
		t.Errorf("found in what is harmless: %q", r.faults)
	}
	log.Info("after the end", slog.String("text", token))
}

func TestASharedLog(t *testing.T) {
	t.Parallel()
	var shown bytes.Buffer
	log, end := loggingtest.Shared(&shown)
	log.Debug("quiet", slog.String("key", "a-secret-that-comes-later"))
	log.Error("loud")
	log.Secret("a-secret-that-comes-later")
	if text := shown.String(); strings.Contains(text, "quiet") || !strings.Contains(text, "loud") {
		t.Errorf("shown: %s", text)
	}
	if err := end(); err == nil || !strings.Contains(err.Error(), "quiet") {
		t.Errorf("got %v", err)
	}
	log, end = loggingtest.Shared(&shown)
	log.Info("nothing")
	if err := end(); err != nil {
		t.Error(err)
	}
}
