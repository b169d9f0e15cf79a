package logging_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/logging"
)

func record(t *testing.T, write func(log *slog.Logger)) map[string]any {
	t.Helper()
	var buf bytes.Buffer
	write(logging.New(&buf, slog.LevelInfo, "test"))
	if buf.Len() == 0 {
		return nil
	}
	var out map[string]any
	if err := json.Unmarshal(buf.Bytes(), &out); err != nil {
		t.Fatalf("%s: %v", buf.String(), err)
	}
	return out
}

func TestRecordsCarryTheCorrelationID(t *testing.T) {
	t.Parallel()
	ctx := logging.WithCorrelationID(t.Context(), "c-1")
	for name, write := range map[string]func(*slog.Logger){
		"plain": func(l *slog.Logger) { l.InfoContext(ctx, "hello", slog.Int("n", 1)) },
		"with":  func(l *slog.Logger) { l.With(slog.Int("n", 1)).InfoContext(ctx, "hello") },
	} {
		got := record(t, write)
		if got["msg"] != "hello" || got[logging.KeyCorrelationID] != "c-1" || got[logging.KeyComponent] != "test" || got["n"] != 1.0 {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if got := record(t, func(l *slog.Logger) { l.InfoContext(t.Context(), "hello") }); got[logging.KeyCorrelationID] != nil {
		t.Errorf("got %v, want no correlation id", got)
	}
	if got := record(t, func(l *slog.Logger) { l.DebugContext(ctx, "hello") }); got != nil {
		t.Errorf("got %v, want nothing below the level", got)
	}
	grouped := record(t, func(l *slog.Logger) { l.WithGroup("g").InfoContext(ctx, "hello", slog.String("token", "hunter2")) })
	if g, _ := grouped["g"].(map[string]any); g["token"] != "[redacted]" {
		t.Errorf("got %v, want a group with a redacted token", grouped)
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	t.Parallel()
	for key, hidden := range map[string]bool{
		"password": true, "newPassword": true, "access_token": true, "Refresh-Token": true, "authorization": true, "apikey": true, "service_role_key": true,
		"client.secret": true, "nodeCredential": true, "databaseUrl": true, "Set-Cookie": true, "anonKey": true, "jwt": true,
		"podId": false, "tokens": false, "key": false, "path": false, "secretName": false,
	} {
		got := record(t, func(l *slog.Logger) { l.InfoContext(t.Context(), "x", slog.String(key, "hunter2")) })
		if (got[key] == "[redacted]") != hidden {
			t.Errorf("%s is written as %v, want hidden: %t", key, got[key], hidden)
		}
	}
	got := record(t, func(l *slog.Logger) {
		l.InfoContext(t.Context(), "x", slog.Group("credentials", slog.String("user", "ada"), slog.String("password", "hunter2")))
	})
	group, _ := got["credentials"].(map[string]any)
	if group["user"] != "ada" || group["password"] != "[redacted]" {
		t.Errorf("got %v, want only the password hidden", got)
	}
}

func TestValidCorrelationID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"": false, "a-1": true, "a b": false, "a\nb": false, `a"b`: false, `a\b`: false, "é": false,
		strings.Repeat("a", 128): true, strings.Repeat("a", 129): false,
	} {
		if got := logging.ValidCorrelationID(id); got != want {
			t.Errorf("ValidCorrelationID(%q) = %t, want %t", id, got, want)
		}
	}
}

func TestParseLevel(t *testing.T) {
	t.Parallel()
	if l, err := logging.ParseLevel("Warn"); err != nil || l != slog.LevelWarn {
		t.Errorf("got %v, %v, want warn", l, err)
	}
	if _, err := logging.ParseLevel("loud"); err == nil {
		t.Error("loud is taken as a level")
	}
}

func TestDurationsHaveTheirUnit(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	logging.New(&out, slog.LevelInfo, "").Info("later", slog.Duration("retry", 1500*time.Millisecond))
	if !strings.Contains(out.String(), `"retry":"1.5s"`) {
		t.Errorf("got %s", out.String())
	}
}
