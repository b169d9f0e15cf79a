package api

import (
	"encoding/base64"
	"strings"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// CredentialBytes is how many random bytes stand in the credential of a node.
const CredentialBytes = 32

// NewCredential spells random bytes as the credential of a node. They come from the
// caller, who has a generator that is fit for secrets.
func NewCredential(random [CredentialBytes]byte) string {
	return NodeCredentialPrefix + base64.RawURLEncoding.EncodeToString(random[:])
}

// ValidateCredential checks a credential that an agent has made itself. The fault does
// not repeat it.
func ValidateCredential(field, credential string) error {
	text, ok := strings.CutPrefix(credential, NodeCredentialPrefix)
	if ok && len(text) == base64.RawURLEncoding.EncodedLen(CredentialBytes) {
		// The decoder skips line breaks, so that the length of what it gives counts too.
		if b, err := base64.RawURLEncoding.Strict().DecodeString(text); err == nil && len(b) == CredentialBytes {
			return nil
		}
	}
	return InvalidField(field, fault.FieldInvalidFormat,
		"must be %s and %d random bytes as base64url without padding; leave it out to be given one", NodeCredentialPrefix, CredentialBytes)
}
