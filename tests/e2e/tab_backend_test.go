package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// The application that the documentation shows runs as it stands there.
func TestTheApplicationOfTheDocumentationRuns(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not on PATH")
	}
	doc, err := os.ReadFile("../../docs/tabs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, found := strings.Cut(string(doc), "```js\n// backend.mjs\n")
	code, _, ended := strings.Cut(code, "\n```\n")
	dir := t.TempDir()
	if !found || !ended || os.WriteFile(filepath.Join(dir, "backend.mjs"), []byte(code), 0o600) != nil {
		t.Fatal("docs/tabs.md shows no backend.mjs")
	}
	port, err := harness.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("http://localhost:%d", port) // another site than the server's
	c := start(t, "STARK_EMBED_ORIGINS="+address)
	_, session := c.user("shop@example.com", api.RoleDeveloper)
	if _, err := c.Client.CreateNamespace(t.Context(), api.CreateNamespaceRequest{Name: "render-farm"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client.SetMember(t.Context(), "render-farm", session.User.ID, api.RoleDeveloper); err != nil {
		t.Fatal(err)
	}
	backend, err := harness.Launch(harness.Spec{
		Name: "backend", Path: node, Args: []string{"backend.mjs"}, Dir: dir,
		Env: []string{"STARK=" + c.URL, "EMAIL=shop@example.com", "PASSWORD=" + harness.AdminPassword, fmt.Sprintf("PORT=%d", port)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Kill)
	c.until("the backend to listen", func() bool {
		client := http.Client{Timeout: time.Second}
		r, err := client.Get(address)
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	tb.do(chromedp.Navigate(address))
	inside := tb.frame(c.URL + "/node/embed")
	inside.state("asking")
	inside.press("#join-form button.main")
	inside.state("online")
	n := c.nodeOf(inside)
	if len(n.Namespaces) != 1 || n.Namespaces[0] != "render-farm" || n.Labels["app"] != "shop" {
		t.Errorf("the node serves %v, labels %v\n%s", n.Namespaces, n.Labels, backend.Output())
	}
}
