package migrate

import (
	"slices"
	"testing"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, script string
		want         []string
		lines        []int
	}{
		{"empty", " \n-- nothing\n/* at all */", nil, nil},
		{"two", "select 1;\nselect 2", []string{"select 1", "select 2"}, []int{1, 2}},
		{"comment before", "-- why;\nselect 1;\n\n-- more\nselect 2;", []string{"-- why;\nselect 1", "-- more\nselect 2"}, []int{2, 5}},
		{"quotes", `select ';', "a;b", 'it''s;'; select 2`, []string{`select ';', "a;b", 'it''s;'`, `select 2`}, []int{1, 1}},
		{"escapes", `select E'\';'; select '\'; select 3`, []string{`select E'\';'`, `select '\'`, `select 3`}, []int{1, 1, 1}},
		{"dollars", "do $$ begin; end $$; do $x$ $$; $x$;\nselect a$b, $1;", []string{"do $$ begin; end $$", "do $x$ $$; $x$", "select a$b, $1"}, []int{1, 1, 2}},
		{"nested comment", "select /* ; /* ; */ ; */ 1; select 2", []string{"select /* ; /* ; */ ; */ 1", "select 2"}, []int{1, 1}},
		{"parentheses", "create rule r as on insert to t do (select 1; select 2); select 3", []string{"create rule r as on insert to t do (select 1; select 2)", "select 3"}, []int{1, 1}},
		{"unfinished", "select 'open; select 2", []string{"select 'open; select 2"}, []int{1}},
		{"empty statements", ";;select 1;;", []string{"select 1"}, []int{1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var texts []string
			var lines []int
			for _, s := range split(test.script) {
				texts = append(texts, s.text)
				lines = append(lines, s.line)
			}
			if !slices.Equal(texts, test.want) || !slices.Equal(lines, test.lines) {
				t.Errorf("split(%q) = %q at %v, want %q at %v", test.script, texts, lines, test.want, test.lines)
			}
		})
	}
}
