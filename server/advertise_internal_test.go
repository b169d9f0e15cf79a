package server

import "testing"

func TestAdvertised(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ told, listens, database, want string }{
		"as it was told":         {"https://one.example.com", "http://[::]:8480", "postgres://127.0.0.1/postgres", "https://one.example.com"},
		"where it listens":       {"", "http://10.1.2.3:8480", "postgres://127.0.0.1/postgres", "http://10.1.2.3:8480"},
		"on the way to Postgres": {"", "http://[::]:8480", "postgres://127.0.0.1/postgres", "http://127.0.0.1:8480"},
		"with a port":            {"", "http://0.0.0.0:8480", "postgres://u:p@127.0.0.1:6543/postgres", "http://127.0.0.1:8480"},
	} {
		s := &Server{config: Config{AdvertiseURL: tc.told, DatabaseURL: tc.database}}
		s.url.Store(&tc.listens)
		if got := s.advertised(t.Context()); got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}
