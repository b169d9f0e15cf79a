// Package idempotency knows what makes two requests one: the same caller, the same
// Idempotency-Key and the same content. It makes what is stored of a key and of the
// answer, and refuses to know where that is kept.
//
// Neither the key nor the answer can be read where they are stored. The key is hashed,
// and the answer is sealed by a secret that follows from the key, which only the caller
// has: answers hold secrets that are shown once, such as join tokens.
package idempotency

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Header carries the key of a request.
const Header = "Idempotency-Key"

// Retention is how long an answer is given again. After that the key is a new one.
const Retention = 24 * time.Hour

// MaxKey bounds a key, in bytes.
const MaxKey = 255

// MaxAnswer bounds what is kept of one answer, in bytes. A longer one is not kept: its
// request can be made again only when its object tells that it is there.
const MaxAnswer = 768 << 10

// Write is a request that changes something at most once.
type Write struct {
	Owner       string        // id of the user
	Hash        []byte        // of owner and key
	Fingerprint []byte        // of what is asked
	Claim       string        // of this very request, among those with the same key
	Hold        time.Duration // how long nobody else may take it over

	key string
}

// Claim is what is known of a write after it was asked for.
type Claim struct {
	Mine     bool   // this request is the one that makes it
	Other    bool   // the key was used for something else
	Again    bool   // another request has tried before, and has not said how it ended
	ObjectID string // of what the write makes, the same at each try
	Sealed   []byte // the answer, once there is one
}

// Answer is what is given again.
type Answer struct {
	Status      int    `json:"status"`
	ContentType string `json:"contentType"`
	ETag        string `json:"etag,omitempty"`
	Body        []byte `json:"body"`
}

// New makes the write of one request. The parts of what is asked are told apart by
// their lengths, so that no two requests look alike.
func New(owner, key string, hold time.Duration, asked ...[]byte) (Write, error) {
	if key == "" || len(key) > MaxKey {
		return Write{}, api.InvalidField(Header, fault.FieldTooLong, "must have 1 to %d characters", MaxKey)
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return Write{}, api.InvalidField(Header, fault.FieldInvalidFormat, "must be visible ASCII characters without spaces, such as a UUID")
		}
	}
	return Write{
		Owner: owner, Hash: digest([]byte(owner), []byte(key)), Fingerprint: digest(asked...),
		Claim: api.NewID(), Hold: hold, key: key,
	}, nil
}

func digest(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:", len(p)) // a hash takes everything
		_, _ = h.Write(p)
	}
	return h.Sum(nil)
}

// Seal makes what may be stored of an answer; nil when it is too long to be kept.
func (w Write) Seal(a Answer) ([]byte, error) {
	plain, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	if len(plain) > MaxAnswer {
		return nil, nil
	}
	aead, err := w.aead()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(rand.Reader, nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, plain, w.Fingerprint), nil
}

// Open reads a stored answer.
func (w Write) Open(sealed []byte) (Answer, error) {
	aead, err := w.aead()
	if err != nil {
		return Answer{}, err
	}
	if len(sealed) < aead.NonceSize() {
		return Answer{}, errors.New("the stored answer is cut")
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], w.Fingerprint)
	if err != nil {
		return Answer{}, fmt.Errorf("open the stored answer: %w", err)
	}
	var a Answer
	if err := json.Unmarshal(plain, &a); err != nil {
		return Answer{}, fmt.Errorf("decode the stored answer: %w", err)
	}
	return a, nil
}

func (w Write) aead() (cipher.AEAD, error) {
	const keySize = 32
	secret, err := hkdf.Key(sha256.New, []byte(w.key), []byte(w.Owner), "stark idempotent answer", keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Reused is the refusal of a key that was used for something else.
func Reused() error {
	return fault.New(fault.KeyReused, "this %s was used for another request: use a new one for each thing that you ask for", Header)
}

// InProgress is the refusal to wait longer for the request that came first.
func InProgress() error {
	e := fault.New(fault.InProgress, "the first request with this %s has not ended yet", Header)
	e.RetryAfter = time.Second
	return e
}
