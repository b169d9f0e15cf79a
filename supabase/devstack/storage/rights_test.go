package storage_test

import (
	"strings"
	"testing"
)

// operation is one row of the table of rights: which policies it needs, and
// what it answers when any of them is missing.
type operation struct {
	name  string
	needs []string
	do    func(r *rig) request
	// refusal names the code for each missing policy; "" stands for 200 without effect.
	refusal map[string]string
}

func operations() []operation {
	as := user(alice)
	text := "Content-Type: text/plain"
	upload := func(method, key string, headers ...string) func(*rig) request {
		return func(r *rig) request {
			return send(method, r.object(key), as, strings.NewReader("new"), append(headers, text)...)
		}
	}
	transfer := func(verb string) func(*rig) request {
		return func(r *rig) request {
			return sendJSON("POST", "/object/"+verb, as, `{"bucketId":"`+r.bucket+`","sourceKey":"there","destinationKey":"target"}`)
		}
	}
	denied := map[string]string{"insert": "AccessDenied", "select": "AccessDenied", "update": "AccessDenied", "delete": "AccessDenied"}
	hidden := map[string]string{"select": "NoSuchKey"}
	return []operation{
		{"upload", []string{"insert"}, upload("POST", "new"), denied},
		{"upsert of a new key", []string{"insert", "select", "update"}, upload("POST", "new", "X-Upsert: true"), denied},
		{"upsert of a present key", []string{"insert", "select", "update"}, upload("POST", "there", "X-Upsert: true"), denied},
		{"put of a new key", []string{"insert", "select", "update"}, upload("PUT", "new"), denied},
		{"signed upload", []string{"insert"}, func(r *rig) request {
			return sendJSON("POST", "/object/upload/sign/"+r.bucket+"/new", as, `{}`)
		}, denied},
		{"download", []string{"select"}, func(r *rig) request { return get(r.object("there"), as) }, hidden},
		{"info", []string{"select"}, func(r *rig) request { return get("/object/info/"+r.bucket+"/there", as) }, hidden},
		{"sign", []string{"select"}, func(r *rig) request {
			return sendJSON("POST", "/object/sign/"+r.bucket+"/there", as, `{"expiresIn":60}`)
		}, hidden},
		{"list", []string{"select"}, func(r *rig) request {
			return sendJSON("POST", "/object/list/"+r.bucket, as, `{"prefix":""}`)
		}, map[string]string{"select": ""}},
		{"copy", []string{"select", "insert"}, transfer("copy"), map[string]string{"select": "NoSuchKey", "insert": "AccessDenied"}},
		{"move", []string{"select", "update"}, transfer("move"), map[string]string{"select": "NoSuchKey", "update": "NoSuchKey"}},
		{"delete", []string{"select", "delete"}, func(r *rig) request { return send("DELETE", r.object("there"), as, nil) }, denied},
		{"delete many", []string{"select", "delete"}, func(r *rig) request {
			return sendJSON("DELETE", "/object/"+r.bucket, as, `{"prefixes":["there"]}`)
		}, map[string]string{"select": "", "delete": ""}},
	}
}

func TestRightsOfEachOperation(t *testing.T) {
	t.Parallel()
	for _, op := range operations() {
		for _, missing := range append([]string{"nothing"}, op.needs...) {
			t.Run(op.name+" without "+missing, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				r.put(t, "there", "old")
				for _, verb := range op.needs {
					if verb != missing {
						r.allow(t, verb)
					}
				}
				got := r.send(t, op.do(r))
				switch code := op.refusal[missing]; {
				case missing == "nothing":
					r.want(t, got, 200, "")
					if got.body == "[]\n" {
						t.Error("the operation had no effect")
					}
				case code == "":
					if got.status != 200 || got.body != "[]\n" {
						t.Errorf("got %d %s, want an empty list", got.status, got.body)
					}
				default:
					r.want(t, got, 400, code)
				}
				if missing != "nothing" && r.get(t, r.object("there"), service()).body != "old" {
					t.Error("a refused operation changed the object")
				}
			})
		}
	}
}

func TestUsersAreKeptApart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	own := `bucket_id = '` + r.bucket + `' and (storage.foldername(name))[1] = (select auth.uid())::text`
	for verb, clause := range map[string]string{"insert": "with check", "select": "using", "delete": "using"} {
		execute(t, `create policy "`+r.bucket+verb+`" on storage.objects for `+verb+` to authenticated `+clause+` (`+own+`)`)
	}
	r.want(t, r.do(t, "POST", r.object(alice+"/k"), user(alice), strings.NewReader("mine")), 200, "")
	r.want(t, r.do(t, "POST", r.object(alice+"/l"), user(bob), strings.NewReader("no")), 400, "AccessDenied")
	r.want(t, r.get(t, r.object(alice+"/k"), user(bob)), 400, "NoSuchKey")
	r.want(t, r.do(t, "DELETE", r.object(alice+"/k"), user(bob), nil), 400, "AccessDenied")
	r.want(t, r.get(t, r.object(alice+"/k"), anon()), 400, "NoSuchKey")
	r.want(t, r.do(t, "DELETE", r.object(alice+"/k"), user(alice), nil), 200, "")
	r.want(t, r.do(t, "DELETE", r.object(alice+"/k"), user(alice), nil), 400, "NoSuchKey")
}

// TestWhatPoliciesSee records a trial row through a policy that only lets the
// measured shape pass.
func TestWhatPoliciesSee(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	execute(t, `create policy "`+r.bucket+`" on storage.objects for insert to authenticated with check (
		bucket_id = '`+r.bucket+`' and version = '1' and owner_id = (select auth.uid())::text and owner = auth.uid()
		and metadata = '{"mimetype":"text/plain","contentLength":3}'::jsonb
		and storage.operation() = 'storage.object.upload'
		and current_setting('request.method') = 'POST'
		and current_setting('request.path') like '/object/%'
		and current_setting('request.jwt.claim.sub') = '`+alice+`'
		and current_setting('request.jwt.claim.role') = 'authenticated'
		and current_setting('request.jwt.claims')::jsonb ->> 'sub' = '`+alice+`'
		and current_setting('request.jwt') <> ''
		and current_setting('request.headers')::jsonb ->> 'x-test' = 'seen'
		and not current_setting('request.headers')::jsonb ? 'authorization'
		and current_setting('statement_timeout') = '30s')`)
	r.want(t, r.do(t, "POST", r.object("k"), user(alice), strings.NewReader("abc"), "Content-Type: text/plain", "X-Test: seen"), 200, "")
	r.want(t, r.do(t, "POST", r.object("l"), user(alice), strings.NewReader("abc"), "Content-Type: text/plain"), 400, "AccessDenied")
	var owner, version string
	err := admin.QueryRow(t.Context(), `select owner_id, version from storage.objects where bucket_id = $1 and metadata ? 'eTag'`, r.bucket).Scan(&owner, &version)
	if err != nil || owner != alice || version == "1" {
		t.Errorf("the real row: got owner %q version %q %v", owner, version, err)
	}
	// Settings end with the transaction, so a pooled connection is anonymous again.
	var role, claims string
	if err := pool.QueryRow(t.Context(), `select current_user, coalesce(current_setting('request.jwt.claims', true), '')`).Scan(&role, &claims); err != nil || role != "supabase_storage_admin" || claims != "" {
		t.Errorf("left on the connection: %q %q %v", role, claims, err)
	}
}
