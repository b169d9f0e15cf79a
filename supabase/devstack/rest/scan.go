package rest

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// deepest bounds how far lists may be nested in a request.
const deepest = 20

// scanner reads one value of a query string.
type scanner struct {
	text string
	at   int
}

func (s *scanner) rest() string { return s.text[s.at:] }
func (s *scanner) done() bool   { return s.at >= len(s.text) }

func (s *scanner) sees(token string) bool { return strings.HasPrefix(s.rest(), token) }

// take moves past the token when it comes next.
func (s *scanner) take(token string) bool {
	if !s.sees(token) {
		return false
	}
	s.at += len(token)
	return true
}

func (s *scanner) spaces() {
	for s.take(" ") {
		continue
	}
}

// quoted reads "text", in which a backslash makes the next character an ordinary one.
func (s *scanner) quoted() (text string, ok bool) {
	if !s.sees(`"`) {
		return "", false
	}
	var b strings.Builder
	for i := s.at + 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.at = i + 1
			return b.String(), true
		case c == '\\' && i+1 < len(s.text):
			i++
			b.WriteByte(s.text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// until reads up to one of the stop characters or to the end.
func (s *scanner) until(stops string) string {
	n := strings.IndexAny(s.rest(), stops)
	if n < 0 {
		n = len(s.rest())
	}
	word := s.rest()[:n]
	s.at += n
	return word
}

// name reads an identifier, quoted or of letters, digits, blanks and _ $ -, where -> is no part of it.
func (s *scanner) name() (string, bool) {
	s.spaces()
	if s.sees(`"`) {
		name, ok := s.quoted()
		return name, ok && name != ""
	}
	start := s.at
	for !s.done() && !s.sees("->") {
		r, size := utf8.DecodeRuneInString(s.rest())
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_$- ", r) {
			break
		}
		s.at += size
	}
	name := strings.TrimRight(s.text[start:s.at], " ")
	return name, name != ""
}

// step is one arrow into a JSON document.
type step struct {
	key    string
	index  bool
	asText bool // ->>
}

// field is a column or something inside of it.
type field struct {
	column string
	path   []step
}

// last is the name under which the field is shown when it has no alias.
func (f field) last() string {
	for _, p := range slices.Backward(f.path) {
		if !p.index {
			return p.key
		}
	}
	return f.column
}

func (s *scanner) field() (f field, ok bool) {
	if f.column, ok = s.name(); !ok {
		return f, false
	}
	f.path, ok = s.path()
	return f, ok
}

func (s *scanner) path() (path []step, ok bool) {
	for s.take("->") {
		p := step{asText: s.take(">")}
		if s.sees(`"`) {
			if p.key, ok = s.quoted(); !ok {
				return nil, false
			}
		} else {
			p.key, p.index = s.key()
		}
		if p.key == "" {
			return nil, false
		}
		path = append(path, p)
	}
	return path, true
}

// key reads an unquoted key of a JSON document; a whole number is an index.
func (s *scanner) key() (key string, index bool) {
	start := s.at
	for !s.done() && !s.sees("->") && !strings.ContainsRune(".,:()", rune(s.text[s.at])) {
		s.at++
	}
	key = s.text[start:s.at]
	digits := strings.TrimPrefix(key, "-")
	index = digits != "" && len(digits) < 10 && strings.Trim(digits, "0123456789") == ""
	return key, index
}

// list reads (a,b,"c") behind its opening bracket, to behind the closing one.
func (s *scanner) list() (values []string, ok bool) {
	if s.take(")") {
		return nil, true
	}
	for {
		s.spaces()
		if text, isQuoted := s.quoted(); isQuoted {
			values = append(values, text)
			s.spaces()
		} else {
			values = append(values, strings.TrimRight(s.until(",)"), " "))
		}
		switch {
		case s.take(")"):
			return values, true
		case !s.take(","):
			return nil, false
		}
	}
}
