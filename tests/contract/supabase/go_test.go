package supabase_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/supabase-community/gotrue-go"
	"github.com/supabase-community/gotrue-go/types"
	storage "github.com/supabase-community/storage-go"
	supabase "github.com/supabase-community/supabase-go"
)

func authClient(key string) gotrue.Client {
	return gotrue.New("local", key).WithCustomGoTrueURL(stack.URL + "/auth/v1")
}

// storageClient is made for one call each: its options stick to it.
func storageClient(token string) *storage.Client {
	return storage.NewClient(stack.URL+"/storage/v1", token, map[string]string{"apikey": stack.AnonKey})
}

// wantError looks for a code in the text, which is all that these clients keep.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want one with %q", err, text)
	}
}

func signUp(t *testing.T, name string) *types.SignupResponse {
	t.Helper()
	got, err := authClient(stack.AnonKey).Signup(types.SignupRequest{
		Email: mail(name), Password: password, Data: map[string]any{"display_name": name},
	})
	if err != nil {
		t.Fatalf("sign up: %v", err)
	}
	if got.AccessToken == "" || got.RefreshToken == "" {
		t.Fatal("sign-up answered without a session")
	}
	return got
}

func TestGoTrueGo(t *testing.T) {
	t.Parallel()
	client := authClient(stack.AnonKey)
	if _, err := client.HealthCheck(); err != nil {
		t.Errorf("health: %v", err)
	}
	settings, err := client.GetSettings()
	if err != nil || settings.DisableSignup || !settings.MailerAutoconfirm {
		t.Errorf("settings: got %+v %v", settings, err)
	}
	session := signUp(t, "gina").Session
	_, err = client.SignInWithEmailPassword(session.User.Email, "wrong password")
	wantError(t, err, "invalid_credentials")
	token, err := client.SignInWithEmailPassword(session.User.Email, password)
	if err != nil || token.User.ID != session.User.ID {
		t.Fatalf("sign in: got %+v %v", token, err)
	}
	refreshed, err := client.RefreshToken(token.RefreshToken)
	if err != nil || refreshed.RefreshToken == token.RefreshToken {
		t.Fatalf("refresh: got %+v %v", refreshed, err)
	}
	user, err := client.WithToken(refreshed.AccessToken).GetUser()
	if err != nil || user.Email != session.User.Email || user.UserMetadata["display_name"] != "gina" {
		t.Fatalf("user: got %+v %v", user, err)
	}
	// This client knows no scope, so it leaves everywhere.
	if err := client.WithToken(refreshed.AccessToken).Logout(); err != nil {
		t.Fatalf("log out: %v", err)
	}
	_, err = client.WithToken(session.AccessToken).GetUser()
	wantError(t, err, "session_not_found")
	_, err = client.RefreshToken(refreshed.RefreshToken)
	wantError(t, err, "refresh_token_not_found")
}

func TestGoTrueGoAdmin(t *testing.T) {
	t.Parallel()
	request := types.AdminCreateUserRequest{Email: mail("made"), Password: new(password), EmailConfirm: true}
	_, err := authClient(stack.AnonKey).WithToken(stack.AnonKey).AdminCreateUser(request)
	wantError(t, err, "not_admin")
	admin := authClient(stack.ServiceRoleKey).WithToken(stack.ServiceRoleKey)
	made, err := admin.AdminCreateUser(request)
	if err != nil || made.Email != request.Email {
		t.Fatalf("create user: got %+v %v", made, err)
	}
	_, err = admin.AdminCreateUser(request)
	wantError(t, err, "email_exists")
	if _, err := authClient(stack.AnonKey).SignInWithEmailPassword(request.Email, password); err != nil {
		t.Errorf("sign in: %v", err)
	}
}

func TestStorageGo(t *testing.T) {
	t.Parallel()
	me, other := signUp(t, "sam"), signUp(t, "olga")
	path := me.Session.User.ID.String() + "/dir/file.txt"
	options := storage.FileOptions{ContentType: new("text/plain"), CacheControl: new("max-age=60"), Upsert: new(false)}
	mine := func() *storage.Client { return storageClient(me.AccessToken) }
	got, err := mine().UploadFile(bucket, path, strings.NewReader("content"), options)
	if err != nil || got.Key != bucket+"/"+path {
		t.Fatalf("upload: got %+v %v", got, err)
	}
	_, err = mine().UploadFile(bucket, path, strings.NewReader("again"), options)
	wantError(t, err, "already exists")
	if text, err := mine().DownloadFile(bucket, path); err != nil || string(text) != "content" {
		t.Fatalf("download: got %q %v", text, err)
	}
	list, err := mine().ListFiles(bucket, me.Session.User.ID.String()+"/dir", storage.FileSearchOptions{Limit: 10})
	if err != nil || len(list) != 1 || list[0].Name != "file.txt" {
		t.Errorf("list: got %+v %v", list, err)
	}
	link, err := mine().CreateSignedUrl(bucket, path, 60)
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	if text := fetch(t, link.SignedURL); text != "content" {
		t.Errorf("signed URL: got %q", text)
	}
	strange := func() *storage.Client { return storageClient(other.AccessToken) }
	_, err = strange().UploadFile(bucket, me.Session.User.ID.String()+"/evil", strings.NewReader("x"), options)
	wantError(t, err, "row-level security")
	_, err = strange().CreateSignedUrl(bucket, path, 60)
	wantError(t, err, "Object not found")
	if _, err := strange().RemoveFile(bucket, []string{path}); err != nil {
		t.Errorf("remove of another's object answers without an error: %v", err)
	}
	if _, err := mine().MoveFile(bucket, path, path+".moved"); err != nil {
		t.Errorf("another's remove had an effect: move: %v", err)
	}
	if _, err := mine().RemoveFile(bucket, []string{path + ".moved"}); err != nil {
		t.Errorf("remove: %v", err)
	}
	_, err = mine().CreateSignedUrl(bucket, path+".moved", 60)
	wantError(t, err, "Object not found")
}

func TestStorageGoBuckets(t *testing.T) {
	t.Parallel()
	id := strings.TrimSuffix(mail("go"), "@example.com")
	admin := func() *storage.Client { return storageClient(stack.ServiceRoleKey) }
	if _, err := admin().CreateBucket(id, storage.BucketOptions{FileSizeLimit: "1KB", AllowedMimeTypes: []string{"text/plain"}}); err != nil {
		t.Fatalf("create: %v", err)
	}
	found, err := admin().GetBucket(id)
	if err != nil || found.Public || found.FileSizeLimit == nil || *found.FileSizeLimit != 1000 {
		t.Errorf("get: got %+v %v", found, err)
	}
	plain := storage.FileOptions{ContentType: new("text/plain")}
	_, err = admin().UploadFile(id, "big", strings.NewReader(strings.Repeat("x", 1001)), plain)
	wantError(t, err, "exceeded the maximum allowed size") // although this client sends chunks
	_, err = admin().UploadFile(id, "x", strings.NewReader("x"), storage.FileOptions{ContentType: new("image/png")})
	wantError(t, err, "not supported")
	if _, err := admin().UploadFile(id, "x", strings.NewReader("x"), plain); err != nil {
		t.Errorf("upload: %v", err)
	}
	_, err = admin().DeleteBucket(id)
	wantError(t, err, "not empty")
	if _, err := admin().EmptyBucket(id); err != nil {
		t.Errorf("empty: %v", err)
	}
	if _, err := admin().DeleteBucket(id); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// TestBundleBucket holds the application's own policies to their purpose: a
// developer's bundle is written once, under the developer's own name.
func TestBundleBucket(t *testing.T) {
	t.Parallel()
	const bundles = "pack-bundles"
	dev, other := signUp(t, "dev"), signUp(t, "other")
	id := dev.Session.User.ID.String()
	path := id + "/hello/1.0.0/abc.js"
	options := storage.FileOptions{ContentType: new("text/javascript"), CacheControl: new("no-cache"), Upsert: new(false)}
	upload := func(token, path string, o storage.FileOptions) error {
		_, err := storageClient(token).UploadFile(bundles, path, strings.NewReader("exports.default = () => {}"), o)
		return err
	}
	wantError(t, upload(dev.AccessToken, path, options), "row-level security")
	grant(t, id, "developer")
	if err := upload(dev.AccessToken, path, options); err != nil {
		t.Fatalf("upload as developer: %v", err)
	}
	wantError(t, upload(dev.AccessToken, path, options), "already exists")
	again := options
	again.Upsert = new(true)
	wantError(t, upload(dev.AccessToken, path, again), "row-level security")
	wantError(t, upload(dev.AccessToken, other.Session.User.ID.String()+"/hello/1.0.0/abc.js", options), "row-level security")
	plain := options
	plain.ContentType = new("text/plain")
	wantError(t, upload(dev.AccessToken, path+"2", plain), "not supported")
	_, err := storageClient(other.AccessToken).CreateSignedUrl(bundles, path, 60)
	wantError(t, err, "Object not found")
	link, err := storageClient(stack.ServiceRoleKey).CreateSignedUrl(bundles, path, 60)
	if err != nil {
		t.Fatalf("sign as the service: %v", err)
	}
	if text := fetch(t, link.SignedURL); text != "exports.default = () => {}" {
		t.Errorf("got %q", text)
	}
}

// TestSupabaseGo has a client for each user and call, as its authors' shared
// state demands.
func TestSupabaseGo(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for _, name := range []string{"una", "udo"} {
		email := signUp(t, name).Session.User.Email
		wg.Go(func() {
			client, err := supabase.NewClient(stack.URL, stack.AnonKey, nil)
			if err != nil {
				t.Errorf("client: %v", err)
				return
			}
			session, err := client.SignInWithEmailPassword(email, password)
			if err != nil {
				t.Errorf("sign in: %v", err)
				return
			}
			path := session.User.ID.String() + "/own"
			if _, err := client.Storage.UploadFile(bucket, path, strings.NewReader(name), storage.FileOptions{ContentType: new("text/plain")}); err != nil {
				t.Errorf("upload: %v", err)
			}
			if text, err := client.Storage.DownloadFile(bucket, path); err != nil || string(text) != name {
				t.Errorf("download: got %q %v", text, err)
			}
			if _, err := client.RefreshToken(session.RefreshToken); err != nil {
				t.Errorf("refresh: %v", err)
			}
		})
	}
	wg.Wait()
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
