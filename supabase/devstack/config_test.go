package devstack

import (
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/supabase"
)

func TestTheProjectsConfig(t *testing.T) {
	t.Parallel()
	p, err := parseConfig(supabase.Config)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.authConfig()
	if err != nil {
		t.Fatal(err)
	}
	if c.TokenLife != time.Hour || c.MinPassword < 8 || !c.SignUp || c.Anonymous || !c.Rotate || c.ReuseInterval != 10*time.Second {
		t.Errorf("config = %+v", c)
	}
	if len(c.Hook) != 2 || c.Hook[0] != "stark" {
		t.Errorf("hook = %v", c.Hook)
	}
	if _, declared := p.Storage.Buckets["pack-bundles"]; !declared {
		t.Errorf("buckets = %v", p.Storage.Buckets)
	}
}

func TestTheAPIsConfig(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		schema  string
		maxRows int64
		off     bool
	}{
		"":                       {"public", 1000, false},
		"[api]\nenabled = false": {"public", 1000, true},
		"[api]\nenabled = true\nschemas = [\"api\", \"public\"]\nmax_rows = 5": {"api", 5, false},
	} {
		p, err := parseConfig([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if c, off := p.restConfig(); c.Schemas[0] != want.schema || c.MaxRows != want.maxRows || off != want.off {
			t.Errorf("%q: got %+v %v", text, c, off)
		}
	}
}

func TestConfigIsObeyed(t *testing.T) {
	t.Parallel()
	p, err := parseConfig([]byte(`
		[auth]
		jwt_expiry = 60
		enable_signup = true
		enable_anonymous_sign_ins = true
		minimum_password_length = 12
		password_requirements = "lower_upper_letters_digits_symbols"
		enable_refresh_token_rotation = false
		refresh_token_reuse_interval = 3
		unknown_key = "is left alone"
		[auth.email]
		enable_signup = false
		enable_confirmations = true`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.authConfig()
	if err != nil {
		t.Fatal(err)
	}
	if c.TokenLife != time.Minute || c.SignUp || !c.Anonymous || c.MinPassword != 12 || len(c.PasswordClasses) != 4 ||
		c.Rotate || c.ReuseInterval != 3*time.Second || c.AutoConfirm || c.Hook != nil {
		t.Errorf("config = %+v", c)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "12": 12, "5B": 5, "20MB": 20 << 20, "50MiB": 50 << 20, "1.5k": 1536, " 2 GiB ": 2 << 30} {
		if got, err := size(text); err != nil || got != want {
			t.Errorf("size(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1xB", "9999999T", "NaN"} {
		if got, err := size(text); err == nil {
			t.Errorf("size(%q) = %d, want an error", text, got)
		}
	}
}
