package api

import (
	"strings"

	"github.com/google/uuid"
)

// NewID makes a UUID of version 7, so that keys sort by time.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// ValidID reports whether s is a UUID of any version in its usual form.
func ValidID(s string) bool {
	const canonical = 36
	if len(s) != canonical { // Parse also takes braces and URNs
		return false
	}
	_, err := uuid.Parse(s)
	return err == nil
}

// ReservedNamespace reports whether name belongs to Stark itself.
func ReservedNamespace(name string) bool {
	return name == NamespaceDefault || name == NamespaceSystem || name == NamespacePublic
}

// Hand-written rather than regular expressions: the program of a browser tab
// carries this package, and package regexp weighs more than all of it.

func isLower(b byte) bool  { return b >= 'a' && b <= 'z' }
func isUpper(b byte) bool  { return b >= 'A' && b <= 'Z' }
func isLetter(b byte) bool { return isLower(b) || isUpper(b) }
func isDigit(b byte) bool  { return b >= '0' && b <= '9' }
func isAlnum(b byte) bool  { return isLetter(b) || isDigit(b) }

func isNameByte(b byte) bool  { return isAlnum(b) || b == '-' || b == '_' }
func isLabelByte(b byte) bool { return isNameByte(b) || b == '.' }

func allBytes(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func dnsLabel(s string) bool {
	if s == "" || len(s) > maxNamespaceName || !isLower(s[0]) || s[len(s)-1] == '-' {
		return false
	}
	return allBytes(s, func(b byte) bool { return isLower(b) || isDigit(b) || b == '-' })
}

func labelPart(s string) bool {
	return s != "" && isAlnum(s[0]) && isAlnum(s[len(s)-1]) && allBytes(s, isLabelByte)
}

func validLabelKey(k string) bool {
	if prefix, name, ok := strings.Cut(k, "/"); ok {
		return labelPart(prefix) && labelPart(name)
	}
	return labelPart(k)
}

func validLabelValue(v string) bool {
	return v == "" || labelPart(v)
}

func validEnvName(s string) bool {
	if s == "" || isDigit(s[0]) {
		return false
	}
	return allBytes(s, func(b byte) bool { return isAlnum(b) || b == '_' })
}
