package headers_test

import (
	"net/http"
	"testing"

	"github.com/stark-orchestrator/stark/supabase/devstack/headers"
)

func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	h := http.Header{
		"Authorization": {"Bearer x"}, "Apikey": {"k"}, "Cookie": {"c"}, "X-Metadata": {"m"},
		"X-Test": {"a", "b"}, "Accept": {"\xff\""},
	}
	if got, want := headers.JSON(h), `{"accept":"\ufffd\"","x-test":"a, b"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
