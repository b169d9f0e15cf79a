package auth

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
)

func TestATokenIsBelievedForAWhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token   string
		lasts   time.Duration // until the token expires
		passes  time.Duration
		fetches uint64 // of the keys, after the verification
		before  uint64 // while it was under way
		want    bool
	}{
		"at once":                          {token: "t", lasts: time.Hour, want: true},
		"before its age":                   {token: "t", lasts: time.Hour, passes: believedAge - 1, want: true},
		"at its age":                       {token: "t", lasts: time.Hour, passes: believedAge},
		"before it expires":                {token: "t", lasts: time.Second, passes: time.Second - 1, want: true},
		"when it has expired":              {token: "t", lasts: time.Second, passes: time.Second},
		"after a fetch of the keys":        {token: "t", lasts: time.Hour, fetches: 1},
		"verified while keys were fetched": {token: "t", lasts: time.Hour, before: 1},
		"as long as what is remembered":    {token: strings.Repeat("t", believedSize), lasts: time.Hour, want: true},
		"longer than what is remembered":   {token: strings.Repeat("t", believedSize+1), lasts: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var keys atomic.Uint64
				b, err := newBelieved(&keys, time.Now)
				if err != nil {
					t.Fatal(err)
				}
				seen := keys.Load()
				keys.Add(c.before)
				b.put(c.token, access.Identity{UserID: "u", ExpiresAt: time.Now().Add(c.lasts)}, seen)
				keys.Add(c.fetches)
				time.Sleep(c.passes)
				id, ok := b.get(c.token)
				if ok != c.want || ok != (id.UserID == "u") {
					t.Errorf("believed %v as %q, want %v", ok, id.UserID, c.want)
				}
				if _, ok := b.get(c.token + "x"); ok {
					t.Error("another token is believed too")
				}
			})
		})
	}
}

func TestWhatIsBelievedIsBounded(t *testing.T) {
	t.Parallel()
	var keys atomic.Uint64
	b, err := newBelieved(&keys, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range believedTokens + 10 {
		b.put(strings.Repeat("x", i%believedSize)+string(rune('a'+i/believedSize)), access.Identity{ExpiresAt: time.Now().Add(time.Hour)}, 0)
	}
	if n := b.tokens.Len(); n > believedTokens {
		t.Errorf("%d tokens are remembered", n)
	}
}
