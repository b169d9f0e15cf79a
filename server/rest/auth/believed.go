package auth

import (
	"crypto/sha256"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/stark-orchestrator/stark/core/access"
)

const (
	// believedTokens and believedSize bound what is remembered to 16 MiB at worst.
	believedTokens = 4096
	believedSize   = 4 << 10 // bytes of one token; longer ones are verified each time
	believedAge    = 30 * time.Second
)

// believed remembers tokens whose signature has been verified: a signature of ES256
// costs the server more than all else that it does for a read. Only what was believed
// is kept, so a flood of forged tokens fills nothing, under the token's hash, so the
// token itself is nowhere. A fetch of the keys forgets all of it, as a key may be gone;
// the age bounds what was verified between the answer of that fetch and its use.
type believed struct {
	tokens *lru.Cache[[sha256.Size]byte, belief]
	keys   *atomic.Uint64 // counts the fetches of the key set
	now    func() time.Time
}

type belief struct {
	id   access.Identity
	keys uint64
	at   time.Time
}

func newBelieved(keys *atomic.Uint64, now func() time.Time) (*believed, error) {
	tokens, err := lru.New[[sha256.Size]byte, belief](believedTokens)
	return &believed{tokens: tokens, keys: keys, now: now}, err
}

// get gives who a token speaks for, if it was believed by the keys that are known now
// and has not expired; the leeway of expiry is left to a verification.
func (b *believed) get(token string) (access.Identity, bool) {
	if len(token) > believedSize {
		return access.Identity{}, false
	}
	hash := sha256.Sum256([]byte(token))
	known, ok := b.tokens.Get(hash)
	if !ok {
		return access.Identity{}, false
	}
	if known.keys != b.keys.Load() || time.Since(known.at) >= believedAge || !b.now().Before(known.id.ExpiresAt) {
		b.tokens.Remove(hash)
		return access.Identity{}, false
	}
	return known.id, true
}

// put takes note of a token that was verified with the keys of that count, read
// before the verification.
func (b *believed) put(token string, id access.Identity, keys uint64) {
	if len(token) <= believedSize && keys == b.keys.Load() {
		b.tokens.Add(sha256.Sum256([]byte(token)), belief{id: id, keys: keys, at: time.Now()})
	}
}
