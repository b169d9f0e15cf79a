package storage_test

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestSignedDownload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(t, "dir/a b", "signed content")
	got := r.json(t, "POST", "/object/sign/"+r.bucket+"/dir/a%20b", service(), `{"expiresIn":60}`)
	link := got.field(t, "signedURL")
	if got.status != 200 || !strings.HasPrefix(link, "/object/sign/"+r.bucket+"/dir/a b?token=") {
		t.Fatalf("sign: got %d %s", got.status, got.body)
	}
	got = r.get(t, link, "")
	if got.status != 200 || got.body != "signed content" || got.header.Get("Expires") == "" {
		t.Fatalf("GET signed: got %d %q %v", got.status, got.body, got.header)
	}
	if got := r.get(t, link+"&download=x.txt", "", "Range: bytes=0-5"); got.status != 206 || got.body != "signed" {
		t.Errorf("signed range: got %d %q", got.status, got.body)
	}
	_, query, _ := strings.Cut(link, "?")
	r.want(t, r.get(t, "/object/sign/"+r.bucket+"/other?"+query, ""), 400, "InvalidSignature")
	r.want(t, r.get(t, "/object/sign/"+r.bucket+"/dir/a%20b", ""), 400, "InvalidRequest")
	upload := r.do(t, "PUT", "/object/upload/sign/"+r.bucket+"/dir/a%20b?"+query, "", strings.NewReader("x"))
	r.want(t, upload, 400, "InvalidSignature")
	old := token(map[string]any{"url": r.bucket + "/dir/a b", "scope": "download", "exp": time.Now().Add(-time.Second).Unix()})
	r.want(t, r.get(t, "/object/sign/"+r.bucket+"/dir/a%20b?token="+old, ""), 400, "InvalidJWT")
	r.want(t, r.get(t, "/object/sign/"+r.bucket+"/dir/a%20b?token="+service(), ""), 400, "InvalidSignature")
}

func TestSignInput(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(t, "k", "x")
	for body, code := range map[string]string{
		`{}`: "InvalidRequest", `{"expiresIn":0}`: "InvalidRequest", `{"expiresIn":1.5}`: "InvalidRequest",
		`{"expiresIn":99999999999}`:                 "InvalidRequest",
		`{"expiresIn":60,"transform":{"width":10}}`: "FeatureNotEnabled",
	} {
		r.want(t, r.json(t, "POST", "/object/sign/"+r.bucket+"/k", service(), body), 400, code)
	}
	r.want(t, r.json(t, "POST", "/object/sign/"+r.bucket+"/none", service(), `{"expiresIn":60}`), 400, "NoSuchKey")
	r.want(t, r.json(t, "POST", "/object/sign/none/k", service(), `{"expiresIn":60}`), 400, "NoSuchBucket")
	r.want(t, r.json(t, "POST", "/object/sign/"+r.bucket, service(), `{"expiresIn":60,"paths":[]}`), 400, "InvalidRequest")
}

func TestSignMany(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(t, "k", "x")
	var list []struct {
		Path             string
		Error, SignedURL *string
	}
	r.json(t, "POST", "/object/sign/"+r.bucket, service(), `{"expiresIn":60,"paths":["k","none"]}`).decode(t, &list)
	if len(list) != 2 || list[0].Error != nil || list[0].SignedURL == nil || list[1].Error == nil || list[1].SignedURL != nil {
		t.Fatalf("got %+v", list)
	}
	r.want(t, r.get(t, *list[0].SignedURL, ""), 200, "")
}

func TestSignedUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t, `"file_size_limit":10`)
	r.want(t, r.json(t, "POST", "/object/upload/sign/"+r.bucket+"/k", user(alice), `{}`), 400, "AccessDenied")
	r.allow(t, "insert")
	got := r.json(t, "POST", "/object/upload/sign/"+r.bucket+"/k", user(alice), `{}`)
	link, tok := got.field(t, "url"), got.field(t, "token")
	if got.status != 200 || !strings.HasSuffix(link, url.QueryEscape(tok)) {
		t.Fatalf("sign: got %d %s", got.status, got.body)
	}
	r.want(t, r.do(t, "PUT", link, "", strings.NewReader("much too long")), 400, "EntityTooLarge")
	got = r.do(t, "PUT", link, "", strings.NewReader("one"))
	if got.status != 200 || got.body != `{"Key":"`+r.bucket+`/k"}`+"\n" {
		t.Fatalf("PUT: got %d %s", got.status, got.body)
	}
	r.want(t, r.do(t, "PUT", link, "", strings.NewReader("two"), "X-Upsert: true"), 400, "KeyAlreadyExists")
	var owner string
	if err := admin.QueryRow(t.Context(), `select owner_id from storage.objects where bucket_id = $1`, r.bucket).Scan(&owner); err != nil || owner != alice {
		t.Errorf("owner: got %q %v, want the one who signed", owner, err)
	}
	got = r.json(t, "POST", "/object/upload/sign/"+r.bucket+"/k", service(), `{}`, "X-Upsert: true")
	for _, content := range []string{"two", "three"} {
		r.want(t, r.do(t, "PUT", got.field(t, "url"), "", strings.NewReader(content)), 200, "")
	}
	r.want(t, r.get(t, r.object("k")+"?token="+tok, ""), 400, "InvalidRequest")
	r.want(t, r.get(t, "/object/sign/"+r.bucket+"/k?token="+tok, ""), 400, "InvalidSignature")
}
