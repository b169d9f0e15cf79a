package migrate

import "strings"

// statement is one SQL statement of a file, without its semicolon.
type statement struct {
	text  string // with the comments before it
	begin int    // line of the file where the text begins, from 1
	line  int    // line where the statement itself begins
}

// split cuts a script at the semicolons that end statements: those outside of
// quotes, dollar quotes, comments and parentheses. Comments before a statement
// stay with it; a rest without any statement is dropped.
func split(script string) []statement {
	var out []statement
	start, depth, code := 0, 0, -1
	for i := 0; i < len(script); {
		next := skip(script, i)
		switch {
		case next > i: // a comment or a quoted stretch
			if code < 0 && !comment(script[i:]) {
				code = i
			}
			i = next
			continue
		case script[i] == '(':
			depth++
		case script[i] == ')':
			depth--
		case script[i] == ';' && depth <= 0:
			if code >= 0 {
				out = append(out, cut(script, start, code, i))
			}
			start, code, depth = i+1, -1, 0
			i++
			continue
		}
		if code < 0 && !strings.ContainsRune(" \t\r\n", rune(script[i])) {
			code = i
		}
		i++
	}
	if code >= 0 {
		out = append(out, cut(script, start, code, len(script)))
	}
	return out
}

func cut(script string, start, code, end int) statement {
	text := strings.TrimLeft(script[start:end], " \t\r\n")
	return statement{
		text:  strings.TrimRight(text, " \t\r\n"),
		begin: 1 + strings.Count(script[:end-len(text)], "\n"),
		line:  1 + strings.Count(script[:code], "\n"),
	}
}

func comment(s string) bool { return strings.HasPrefix(s, "--") || strings.HasPrefix(s, "/*") }

// skip returns where the comment or quoted stretch that begins at i ends, or i
// where none begins.
func skip(script string, i int) int {
	rest := script[i:]
	switch {
	case strings.HasPrefix(rest, "--"):
		return i + through(rest, 2, "\n")
	case strings.HasPrefix(rest, "/*"):
		return i + blockComment(rest)
	case rest[0] == '\'':
		return i + quoted(rest, '\'', i > 0 && (script[i-1] == 'E' || script[i-1] == 'e') && !wordBefore(script, i-1))
	case rest[0] == '"':
		return i + quoted(rest, '"', false)
	case rest[0] == '$' && !wordBefore(script, i):
		if tag := dollarTag(rest); tag != "" {
			return i + through(rest, len(tag), tag)
		}
	}
	return i
}

// through returns the end of the first occurrence of mark in s after from, or
// the length of s.
func through(s string, from int, mark string) int {
	if n := strings.Index(s[from:], mark); n >= 0 {
		return from + n + len(mark)
	}
	return len(s)
}

// blockComment returns the length of the comment that s begins with; they nest.
func blockComment(s string) int {
	depth := 0
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(s[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(s)
}

// quoted returns the length of the quoted stretch that s begins with. A doubled
// quote ends it and begins the next one, which comes to the same.
func quoted(s string, quote byte, backslash bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case backslash && s[i] == '\\':
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return len(s)
}

// dollarTag returns the opening tag of a dollar quote, such as $$ or $body$.
func dollarTag(s string) string {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '$':
			return s[:i+1]
		case c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 1 && c >= '0' && c <= '9':
		default:
			return ""
		}
	}
	return ""
}

// wordBefore reports whether the character before i belongs to a word, so that
// what begins at i goes on with it.
func wordBefore(s string, i int) bool {
	if i == 0 {
		return false
	}
	c := s[i-1]
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
