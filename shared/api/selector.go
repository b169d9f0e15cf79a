package api

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// FieldMetadataName is the one field of a node that MatchFields may name, as in
// Kubernetes.
const FieldMetadataName = "metadata.name"

const (
	maxSelector             = 4096 // bytes
	maxSelectorRequirements = 100
)

// Selector is a list of requirements that must all hold; the empty one selects
// everything.
type Selector []Requirement

// ParseSelector reads Kubernetes' syntax, equality and set-based:
// "a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1,j<2".
func ParseSelector(s string) (Selector, error) {
	if len(s) > maxSelector {
		return nil, fmt.Errorf("label selector is longer than %d characters", maxSelector)
	}
	p := &selectorParser{text: s}
	p.skipSpace()
	if p.done() {
		return nil, nil
	}
	var out Selector
	for {
		r, err := p.requirement()
		if err != nil {
			return nil, fmt.Errorf("label selector, at character %d: %w", p.pos+1, err)
		}
		out = append(out, r)
		if len(out) > maxSelectorRequirements {
			return nil, fmt.Errorf("label selector has more than %d requirements", maxSelectorRequirements)
		}
		p.skipSpace()
		if p.done() {
			return out, nil
		}
		if !p.take(",") {
			return nil, fmt.Errorf("label selector, at character %d: want a comma", p.pos+1)
		}
	}
}

// Matches reports whether every requirement holds.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s {
		if !r.Matches(labels) {
			return false
		}
	}
	return true
}

// String writes the selector so that ParseSelector reads the same again.
func (s Selector) String() string {
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// String writes one requirement in the selector's syntax.
func (r Requirement) String() string {
	switch r.Operator {
	case OpIn, OpNotIn:
		if len(r.Values) == 1 {
			return r.Key + map[SelectorOperator]string{OpIn: "=", OpNotIn: "!="}[r.Operator] + r.Values[0]
		}
		return r.Key + " " + strings.ToLower(string(r.Operator)) + " (" + strings.Join(r.Values, ",") + ")"
	case OpDoesNotExist:
		return "!" + r.Key
	case OpGt:
		return r.Key + ">" + strings.Join(r.Values, ",")
	case OpLt:
		return r.Key + "<" + strings.Join(r.Values, ",")
	default:
		return r.Key
	}
}

// Matches reports whether the requirement holds of labels. As in Kubernetes an
// absent label meets NotIn and DoesNotExist; Gt and Lt compare integers, and
// nothing else meets them.
func (r Requirement) Matches(labels map[string]string) bool {
	v, ok := labels[r.Key]
	switch r.Operator {
	case OpIn:
		return ok && slices.Contains(r.Values, v)
	case OpNotIn:
		return !ok || !slices.Contains(r.Values, v)
	case OpExists:
		return ok
	case OpDoesNotExist:
		return !ok
	case OpGt, OpLt:
		if !ok || len(r.Values) != 1 {
			return false
		}
		have, errHave := strconv.ParseInt(v, 10, 64)
		want, errWant := strconv.ParseInt(r.Values[0], 10, 64)
		if errHave != nil || errWant != nil {
			return false
		}
		return (r.Operator == OpGt && have > want) || (r.Operator == OpLt && have < want)
	default:
		return false
	}
}

// Selector gives the same conditions as one list.
func (s LabelSelector) Selector() Selector {
	out := make(Selector, 0, len(s.MatchLabels)+len(s.MatchExpressions))
	for _, k := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		out = append(out, Requirement{Key: k, Operator: OpIn, Values: []string{s.MatchLabels[k]}})
	}
	return append(out, s.MatchExpressions...)
}

// Matches reports whether labels meet all conditions; none means all labels do.
func (s LabelSelector) Matches(labels map[string]string) bool {
	for k, want := range s.MatchLabels {
		if have, ok := labels[k]; !ok || have != want {
			return false
		}
	}
	return Selector(s.MatchExpressions).Matches(labels)
}

// Matches reports whether a node of this name and labels meets the term. An
// empty term is met by no node, as in Kubernetes.
func (t NodeSelectorTerm) Matches(name string, labels map[string]string) bool {
	if len(t.MatchExpressions) == 0 && len(t.MatchFields) == 0 {
		return false
	}
	return Selector(t.MatchExpressions).Matches(labels) &&
		Selector(t.MatchFields).Matches(map[string]string{FieldMetadataName: name})
}

// Matches reports whether any term is met.
func (s NodeSelector) Matches(name string, labels map[string]string) bool {
	return slices.ContainsFunc(s.NodeSelectorTerms, func(t NodeSelectorTerm) bool { return t.Matches(name, labels) })
}

// MatchesLabels reports whether labels hold every pair of want.
func MatchesLabels(want, labels map[string]string) bool {
	return LabelSelector{MatchLabels: want}.Matches(labels)
}

var (
	errWantKey    = errors.New("want a label key")
	errWantValues = errors.New(`want values in parentheses, such as "(x,y)"`)
)

// selectorParser walks over one selector.
type selectorParser struct {
	text string
	pos  int
}

func (p *selectorParser) done() bool { return p.pos == len(p.text) }

func (p *selectorParser) skipSpace() {
	for !p.done() && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

// take skips white space and then token, if it is next.
func (p *selectorParser) take(token string) bool {
	p.skipSpace()
	if !strings.HasPrefix(p.text[p.pos:], token) {
		return false
	}
	p.pos += len(token)
	return true
}

// word reads as far as letters, digits and "-_./" go; it may be empty.
func (p *selectorParser) word() string {
	p.skipSpace()
	start := p.pos
	for !p.done() && (isLabelByte(p.text[p.pos]) || p.text[p.pos] == '/') {
		p.pos++
	}
	return p.text[start:p.pos]
}

func (p *selectorParser) key() (string, error) {
	k := p.word()
	if k == "" {
		return "", errWantKey
	}
	if len(k) > maxLabelKey || !validLabelKey(k) {
		return "", fmt.Errorf("%q is not a label key", k)
	}
	return k, nil
}

func (p *selectorParser) requirement() (Requirement, error) {
	if p.take("!") {
		k, err := p.key()
		return Requirement{Key: k, Operator: OpDoesNotExist}, err
	}
	k, err := p.key()
	if err != nil {
		return Requirement{}, err
	}
	for _, op := range []struct {
		token string
		op    SelectorOperator
	}{{"==", OpIn}, {"=", OpIn}, {"!=", OpNotIn}, {">", OpGt}, {"<", OpLt}} {
		if p.take(op.token) {
			return p.single(k, op.op)
		}
	}
	p.skipSpace()
	if p.done() || p.text[p.pos] == ',' {
		return Requirement{Key: k, Operator: OpExists}, nil
	}
	switch w := p.word(); w {
	case "in":
		return p.set(k, OpIn)
	case "notin":
		return p.set(k, OpNotIn)
	default:
		return Requirement{}, errors.New(`want "=", "==", "!=", "in", "notin", ">", "<" or a comma`)
	}
}

func (p *selectorParser) single(key string, op SelectorOperator) (Requirement, error) {
	v, err := p.value()
	if err != nil {
		return Requirement{}, err
	}
	if op == OpGt || op == OpLt {
		if _, err := strconv.ParseInt(v, 10, 64); err != nil {
			return Requirement{}, fmt.Errorf("%q is not an integer", v)
		}
	}
	return Requirement{Key: key, Operator: op, Values: []string{v}}, nil
}

func (p *selectorParser) value() (string, error) {
	v := p.word()
	if len(v) > maxLabelValue || !validLabelValue(v) {
		return "", fmt.Errorf("%q is not a label value", v)
	}
	return v, nil
}

func (p *selectorParser) set(key string, op SelectorOperator) (Requirement, error) {
	if !p.take("(") || p.take(")") {
		return Requirement{}, errWantValues
	}
	r := Requirement{Key: key, Operator: op}
	for {
		v, err := p.value()
		if err != nil {
			return Requirement{}, err
		}
		if !slices.Contains(r.Values, v) {
			r.Values = append(r.Values, v)
		}
		if p.take(")") {
			return r, nil
		}
		if !p.take(",") {
			return Requirement{}, errWantValues
		}
	}
}
