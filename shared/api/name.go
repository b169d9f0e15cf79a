package api

import "strings"

// ValidID reports whether s is a UUID of any version in its usual form.
func ValidID(s string) bool {
	const canonical = 36
	if len(s) != canonical {
		return false
	}
	for i := range len(s) {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
		default:
			if !isHex(s[i]) {
				return false
			}
		}
	}
	return true
}

// ReservedNamespace reports whether name belongs to Stark itself.
func ReservedNamespace(name string) bool {
	return name == NamespaceDefault || name == NamespaceSystem || name == NamespacePublic
}

// ValidNamespaceName reports whether name can be that of a namespace.
func ValidNamespaceName(name string) bool {
	return len(name) <= maxNamespaceName && dnsLabel(name)
}

// Hand-written rather than regular expressions: the program of a browser tab
// carries this package, and package regexp weighs more than all of it.

func isLower(b byte) bool  { return b >= 'a' && b <= 'z' }
func isUpper(b byte) bool  { return b >= 'A' && b <= 'Z' }
func isLetter(b byte) bool { return isLower(b) || isUpper(b) }
func isDigit(b byte) bool  { return b >= '0' && b <= '9' }
func isHex(b byte) bool    { return isDigit(b) || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F' }
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
