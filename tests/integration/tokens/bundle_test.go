package tokens

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func aBundle(code string) client.Bundle {
	return client.Bundle{Size: int64(len(code)), Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(code)), nil }}
}

func digestOf(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

// put uploads code as supabase-js does, with the user's own token.
func (p *project) put(token, path string) int {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.stack.URL+"/storage/v1/object/"+api.BundleBucket+"/"+path, bytes.NewBufferString(code))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("apikey", p.stack.PublishableKey)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/javascript")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestABundleIsUploadedFirstAndRegisteredByItsDigest(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	adaSession, eveSession := p.user("ada@example.com", api.RoleDeveloper), p.user("eve@example.com", api.RoleDeveloper)
	ada, eve := p.client(adaSession.AccessToken, p.a), p.client(eveSession.AccessToken, p.a)
	request := func(name, code string) api.CreatePackRequest {
		return api.CreatePackRequest{Name: name, Version: "1.0.0", RuntimeTag: api.TagNode, BundleSHA256: digestOf(code)}
	}
	path := func(s api.Session, name, digest string) string {
		return s.User.ID + "/" + name + "/1.0.0/" + digest + ".js"
	}
	refused := func(what, field string, err error) {
		t.Helper()
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.Validation || f.Details[field] == nil {
			t.Errorf("%s: %v, want a fault of %s", what, err, field)
		}
	}
	_, err := ada.RegisterPack(t.Context(), request("hello", code))
	refused("without the object", "bundleSha256", err)
	if status := p.put(adaSession.AccessToken, path(adaSession, "hello", digestOf(code))); status != http.StatusOK {
		t.Fatalf("upload: %d", status)
	}
	wrong := request("hello", code)
	wrong.BundleSize = 1
	_, err = ada.RegisterPack(t.Context(), wrong)
	refused("with another size", "bundleSize", err)
	wrong = request("hello", code)
	wrong.BundlePath = path(eveSession, "hello", digestOf(code))
	_, err = ada.RegisterPack(t.Context(), wrong)
	refused("with another owner's path", "bundlePath", err)
	_, err = eve.RegisterPack(t.Context(), request("hello", code))
	refused("by somebody else", "bundleSha256", err)

	good := request("hello", code)
	good.BundleSize, good.BundlePath = int64(len(code)), path(adaSession, "hello", digestOf(code))
	pack, err := ada.RegisterPack(t.Context(), good)
	if err != nil || pack.Status != api.PackReady || pack.BundleSHA256 != digestOf(code) || pack.BundleSize != int64(len(code)) || pack.BundlePath != good.BundlePath {
		t.Fatalf("got %+v, %v", pack, err)
	}
	if _, err := ada.RegisterPack(t.Context(), good); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("twice: %v", err)
	}
	if _, err := ada.CreatePod(t.Context(), api.CreatePodRequest{PackID: pack.ID}); err != nil {
		t.Errorf("deploy: %v", err)
	}

	// The key says one thing and the object is another.
	forged := strings.Repeat("ab", 32)
	if status := p.put(adaSession.AccessToken, path(adaSession, "forged", forged)); status != http.StatusOK {
		t.Fatalf("upload: %d", status)
	}
	lie := request("forged", code)
	lie.BundleSHA256 = forged
	_, err = ada.RegisterPack(t.Context(), lie)
	refused("with a forged digest", "bundleSha256", err)
	if list, err := ada.ListPacks(t.Context(), api.PackQuery{Name: "forged"}); err != nil || len(list.Items) != 0 {
		t.Errorf("a row stays behind: %+v, %v", list.Items, err)
	}
	if status := p.put(eveSession.AccessToken, path(adaSession, "planted", digestOf(code))); status < http.StatusBadRequest {
		t.Errorf("another user writes below the owner's id: %d", status)
	}
}

// Row, object, registration: the order in which supabase-js does it.
func TestARowThatWaitsForItsBundleIsCompleted(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	session := p.user("ada@example.com", api.RoleDeveloper)
	ada := p.client(session.AccessToken, p.a)
	p.sql(`insert into public.packs (name, version, runtime_tag, owner_id) values ('direct', '1.0.0', 'universal', $1)`, session.User.ID)
	r := api.CreatePackRequest{Name: "direct", Version: "1.0.0", RuntimeTag: api.TagUniversal, BundleSHA256: digestOf(code)}
	if _, err := ada.RegisterPack(t.Context(), r); fault.CodeOf(err) != fault.Validation {
		t.Errorf("without the object: %v", err)
	}
	if status := p.put(session.AccessToken, session.User.ID+"/direct/1.0.0/"+digestOf(code)+".js"); status != http.StatusOK {
		t.Fatalf("upload: %d", status)
	}
	other := r
	other.RuntimeTag = api.TagNode
	if _, err := ada.RegisterPack(t.Context(), other); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("as another kind of pack: %v", err)
	}
	// What a bundle holds the server alone can say, whatever the owner writes into the row.
	lie := `{"status":"ready","bundle_sha256":"` + strings.Repeat("f", 64) + `","bundle_size":1}`
	if status := p.patch(session.AccessToken, "packs?name=eq.direct", lie); status != http.StatusForbidden {
		t.Errorf("the owner calls the pack ready: %d", status)
	}
	if pack, err := ada.RegisterPack(t.Context(), r); err != nil || pack.Status != api.PackReady {
		t.Errorf("got %+v, %v", pack, err)
	}
}

// patch changes rows as supabase-js does.
func (p *project) patch(token, path, body string) int {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPatch, p.stack.URL+"/rest/v1/"+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("apikey", p.stack.PublishableKey)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
