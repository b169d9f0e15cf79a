package api

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestEntriesAreLeftOutWhereTheyStandAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, short string
		counts      []int
	}{
		{`{"items":[{"a":1},{"a":1},{"a":1}]}`, `{"items":[{"a":1}]}`, []int{3}},
		{`{"items": [ {"a":1} ,` + "\n" + `{"a":1}, {"b":[1,1]},{"b":[1,1]} , {"a":1} ] }`, `{"items": [ {"a":1} , {"b":[1,1]}, {"a":1} ] }`, []int{2, 2, 1}},
		{`{"items":["a,b]","a,b]","\"","\"","\\","\\"]}`, `{"items":["a,b]","\"","\\"]}`, []int{2, 2, 2}},
		{`{"items":[{"a":1},{"a": 1}]}`, "", nil},
		{`{"items":[]}`, "", nil},
		{`{"items":[,,]}`, "", nil},
		{`{"x":[1,1],"items":[1]}`, "", nil}, // whose they are would have to be told
		{`{"items":[1,1],"items":[1]}`, "", nil},
		{`{"items":{"a":[1,1]}}`, "", nil},
		{`[1,1]`, "", nil},
		{`{"items":[1,1`, "", nil}, // the last has no end
		{`{"items":[1,1,1`, `{"items":[1,1`, []int{2}},
	} {
		short, counts := withoutRepeats([]byte(c.text))
		if string(short) != c.short || !slices.Equal(counts, c.counts) {
			t.Errorf("%s: %s %v, want %s %v", c.text, short, counts, c.short, c.counts)
		}
	}
}

// agree holds what is decoded with repetitions left out to what the whole text says.
func agree(t *testing.T, text string) {
	t.Helper()
	var once, whole CreatePodsRequest
	got := Decode([]byte(text), &once)
	if trimmed := strings.TrimSpace(text); trimmed == "" || trimmed == "null" || whole.bounds([]byte(trimmed)) != nil {
		return // nothing is decoded
	}
	want := decodeWhole([]byte(strings.TrimSpace(text)), &whole)
	if (got == nil) != (want == nil) || got != nil && got.Error() != want.Error() {
		t.Fatalf("%s: %v, want %v", text, got, want)
	}
	if want != nil {
		return
	}
	if !reflect.DeepEqual(once.Items, whole.Items) {
		t.Fatalf("%s: %+v, want %+v", text, once.Items, whole.Items)
	}
	for i := range once.Items {
		if once.Repeats(i) && !reflect.DeepEqual(once.Items[i], once.Items[i-1]) {
			t.Fatalf("%s: item %d is not the one before it", text, i)
		}
	}
	got, want = once.Validate(), whole.Validate()
	if (got == nil) != (want == nil) || got != nil && got.Error() != want.Error() {
		t.Fatalf("%s is valid: %v, want %v", text, got, want)
	}
}

var repeating = []string{
	`{"items":[{"packName":"a"},{"packName":"a"},{"packName":"b","labels":{"x":"y"}},{"packName":"b","labels":{"x":"y"}}]}`,
	`{"items":[{"packName":5},{"packName":5},{"packName":"a","more":1}]}`,
	`{"items":[{"packName":"a"},{"packName":"a","packName":"b"},{"packName":"a","packName":"b"}]}`,
	`{"items":[{"packName":"a"},{"packName":"a"}],"items":[{"packName":"a"}]}`,
	`{"items":[{"packName":"a"},{"packName":"a"}]} {}`,
	`{"items":[{"packName":"a"},{"packName":"a"}`,
	`{"items":[{"packName":"a"},{"packName":"a"},]}`,
	`{"items":[{},{},{"packName":"A b"},{"packName":"A b"},null,null]}`,
	`{"items":[{"env":{"A":"1"}},{"env":{"A":"1"}},{"metadata":{"a":[1,1]}}]}`,
	"{\"items\":[{\"packName\":\"a\"},\v{\"packName\":\"a\"}]}", // no space to JSON, nor are the next ones
	"{\"items\":[{\"packName\":\"a\"},\u00a0{\"packName\":\"a\"}]}",
	"{\"items\":[{\"packName\":\"a\"},{\"packName\":\"a\"}\u2003]}",
	"{\"items\":[{\"packName\":\"a\"},{\"packName\":\"a\"}\f,{\"packName\":\"b\"}]}",
	`{"items":null}`, `{"items":["a","a"]}`, `["a","a"]`, `{"items":[1,1}`, `{"items":[{"a":"]},{"a":"]}`,
}

func TestRepeatedItemsAreDecodedAsTheyStand(t *testing.T) {
	t.Parallel()
	for _, text := range repeating {
		agree(t, text)
	}
	var r CreatePodsRequest
	if err := Decode([]byte(repeating[0]), &r); err != nil || len(r.Items) != 4 || !r.Repeats(1) || r.Repeats(2) || !r.Repeats(3) {
		t.Errorf("%d items, %v, %v", len(r.Items), r.repeats, err)
	}
	r.Items = r.Items[:2]
	if r.Repeats(1) {
		t.Error("what became of the items is taken for what was decoded")
	}
}

func FuzzRepeatedItems(f *testing.F) {
	for _, text := range repeating {
		f.Add(text)
	}
	f.Fuzz(agree)
}
