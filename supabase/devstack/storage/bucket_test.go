package storage_test

import (
	"strings"
	"testing"
)

func TestBucketLifeCycle(t *testing.T) {
	t.Parallel()
	r := bare(t, pool)
	got := r.json(t, "POST", "/bucket", service(), `{"name":"`+r.bucket+`","public":true,"file_size_limit":"3KB","allowed_mime_types":["text/plain"]}`)
	if got.status != 200 || got.body != `{"name":"`+r.bucket+`"}`+"\n" {
		t.Fatalf("create: got %d %s", got.status, got.body)
	}
	var list []map[string]any
	r.get(t, "/bucket?search="+r.bucket+"&limit=5&offset=0&sortColumn=created_at&sortOrder=desc", service()).decode(t, &list)
	if len(list) != 1 || list[0]["type"] != "STANDARD" || list[0]["owner"] != "" || list[0]["file_size_limit"] != float64(3000) {
		t.Fatalf("list: got %v", list)
	}
	r.want(t, r.json(t, "PUT", "/bucket/"+r.bucket, service(), `{"public":false}`), 200, "")
	var one map[string]any
	r.get(t, "/bucket/"+r.bucket, service()).decode(t, &one)
	if _, hasType := one["type"]; hasType || one["public"] != false || one["file_size_limit"] != float64(3000) {
		t.Fatalf("an update must keep absent fields: got %v", one)
	}
	r.want(t, r.json(t, "PUT", "/bucket/"+r.bucket, service(), `{"file_size_limit":null,"allowed_mime_types":null}`), 200, "")
	one = nil
	r.get(t, "/bucket/"+r.bucket, service()).decode(t, &one)
	if one["file_size_limit"] != nil || one["allowed_mime_types"] != nil {
		t.Fatalf("null must lift the limits: got %v", one)
	}
	r.put(t, "a", "1")
	r.put(t, "b/c", "2")
	got = r.json(t, "POST", "/bucket/"+r.bucket+"/empty", service(), `{}`)
	if got.status != 200 || !strings.Contains(got.field(t, "message"), "queued") {
		t.Fatalf("empty: got %d %s", got.status, got.body)
	}
	r.want(t, r.do(t, "DELETE", "/bucket/"+r.bucket, service(), nil), 200, "")
	r.refused(t, r.do(t, "DELETE", "/bucket/"+r.bucket, service(), nil), "404", "Bucket not found", "NoSuchBucket")
}

func TestBucketInput(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for body, code := range map[string]string{
		`{"name":"z","file_size_limit":"lots"}`:         "InvalidRequest",
		`{"name":"z","file_size_limit":-1}`:             "InvalidRequest",
		`{"name":"z","file_size_limit":"9999999999GB"}`: "EntityTooLarge",
		`{"name":"z","allowed_mime_types":"x"}`:         "InvalidRequest",
		`{"name":"z","allowed_mime_types":["x"]}`:       "InvalidMimeType",
		`{"name":"z","type":"ANALYTICS"}`:               "FeatureNotEnabled",
	} {
		r.want(t, r.json(t, "POST", "/bucket", service(), body), 400, code)
	}
	for _, query := range []string{"limit=x", "offset=-1", "sortColumn=owner", "sortOrder=up"} {
		r.want(t, r.get(t, "/bucket?"+query, service()), 400, "InvalidRequest")
	}
	r.want(t, r.json(t, "PUT", "/bucket/none", service(), `{"public":true}`), 400, "NoSuchBucket")
	r.want(t, r.json(t, "POST", "/bucket/none/empty", service(), `{}`), 400, "NoSuchBucket")
	r.want(t, r.json(t, "PUT", "/bucket/"+r.bucket, service(), `{"file_size_limit":0}`), 200, "")
}

func TestBucketPolicies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(t, "x", "1")
	execute(t, `create policy "`+r.bucket+` see" on storage.buckets for select to authenticated using (id = '`+r.bucket+`')`)
	if got := r.get(t, "/bucket/"+r.bucket, user(alice)); got.status != 200 {
		t.Errorf("a policy on buckets shows the bucket: got %d %s", got.status, got.body)
	}
	// What the caller cannot see is not emptied, and says nothing.
	r.want(t, r.json(t, "POST", "/bucket/"+r.bucket+"/empty", user(alice), `{}`), 200, "")
	r.want(t, r.get(t, r.object("x"), service()), 200, "")
	// What the caller sees and may not delete is refused.
	r.allow(t, "select")
	r.want(t, r.json(t, "POST", "/bucket/"+r.bucket+"/empty", user(alice), `{}`), 400, "AccessDenied")
	r.allow(t, "delete")
	r.want(t, r.json(t, "POST", "/bucket/"+r.bucket+"/empty", user(alice), `{}`), 200, "")
	r.want(t, r.get(t, r.object("x"), service()), 400, "NoSuchKey")
}
