package rest

import (
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// statement is SQL in the making. Its text consists of this package's own words, quoted names and
// placeholders; values stand beside it.
type statement struct {
	text   strings.Builder
	values [][]byte
}

// sql adds words of this package, or a type as the catalog prints it. Nothing from a request comes this way.
func (s *statement) sql(words string) *statement {
	s.text.WriteString(words)
	return s
}

// name adds a quoted identifier, with its qualifiers before it.
func (s *statement) name(parts ...string) *statement {
	return s.sql(pgx.Identifier(parts).Sanitize())
}

// value adds a placeholder. Postgres finds its type by the context.
func (s *statement) value(v string) *statement {
	s.values = append(s.values, []byte(v))
	return s.sql("$" + strconv.Itoa(len(s.values)))
}

// join calls add for each index below n, with a separator in between.
func (s *statement) join(separator string, n int, add func(i int)) *statement {
	for i := range n {
		if i > 0 {
			s.sql(separator)
		}
		add(i)
	}
	return s
}

// names adds quoted names, each below a qualifier unless that is empty.
func (s *statement) names(qualifier string, names []string) *statement {
	return s.join(", ", len(names), func(i int) {
		if qualifier == "" {
			s.name(names[i])
		} else {
			s.name(qualifier, names[i])
		}
	})
}
