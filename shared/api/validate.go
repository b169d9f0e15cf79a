package api

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// Bounds on collections and texts of requests.
const (
	maxLabels        = 100
	maxLabelKey      = 253
	maxLabelValue    = 63
	maxListEntries   = 50
	maxMetadataKeys  = 50
	maxPackName      = 64
	maxDescription   = 1000
	maxNodeName      = 253
	maxNamespaceName = 63
	maxDisplayName   = 100
	maxCPU           = Millicores(1_000_000)
	maxBytes         = Mebibytes(16 << 20)
	maxPods          = 100_000
)

// Bounds on what an answer repeats of a request: it goes into one frame of a socket too.
const (
	maxFaults    = 100 // further ones are counted
	maxFaultPath = 300 // bytes; keys of maps, which anybody may choose, are in paths
)

// checker gathers the faults of one request by the path of their fields.
type checker struct {
	fields map[string]any
	more   int // faults beyond maxFaults
}

// add records a fault; the first one on a field stays.
func (c *checker) add(path, code, format string, args ...any) {
	if c.fields == nil {
		c.fields = map[string]any{}
	}
	if len(path) > maxFaultPath {
		path = strings.ToValidUTF8(path[:maxFaultPath], "") + "..."
	}
	if _, ok := c.fields[path]; ok {
		return
	}
	if len(c.fields) == maxFaults {
		c.more++
		return
	}
	c.fields[path] = fault.Field{Code: code, Message: fmt.Sprintf(format, args...)}
}

// err gives nil or one fault.Error with all faults; its message names the first
// few in a stable order.
func (c *checker) err() error {
	if len(c.fields) == 0 {
		return nil
	}
	const shown = 3
	var parts []string
	for i, path := range slices.Sorted(maps.Keys(c.fields)) {
		if i == shown {
			parts = append(parts, fmt.Sprintf("and %d more", len(c.fields)-shown+c.more))
			break
		}
		field, _ := c.fields[path].(fault.Field)
		parts = append(parts, path+": "+field.Message)
	}
	e := fault.New(fault.Validation, "%s", strings.Join(parts, "; "))
	e.Details = c.fields
	return e
}

// InvalidField makes the fault of a request with one wrong field.
func InvalidField(path, code, format string, args ...any) error {
	var c checker
	c.add(path, code, format, args...)
	return c.err()
}

func (c *checker) required(path, value string) bool {
	if value == "" {
		c.add(path, fault.FieldRequired, "is required")
		return false
	}
	return true
}

func (c *checker) tooLong(path, value string, limit int) bool {
	if len(value) <= limit {
		return false
	}
	c.add(path, fault.FieldTooLong, "must be at most %d characters", limit)
	return true
}

func (c *checker) intRange(path string, v, low, high int64) {
	if v < low || v > high {
		c.add(path, fault.FieldOutOfRange, "must be from %d to %d", low, high)
	}
}

func oneOf[T ~string](c *checker, path string, v T, allowed ...T) {
	if slices.Contains(allowed, v) {
		return
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	c.add(path, fault.FieldInvalidValue, "must be one of %s", strings.Join(names, ", "))
}

func (c *checker) uuid(path, v string) {
	if !ValidID(v) {
		c.add(path, fault.FieldInvalidFormat, "must be a UUID")
	}
}

func (c *checker) packName(path, v string) {
	if !c.required(path, v) || c.tooLong(path, v, maxPackName) {
		return
	}
	if !isLetter(v[0]) || !allBytes(v, isNameByte) {
		c.add(path, fault.FieldInvalidFormat, "must start with a letter and hold only letters, digits, hyphens and underscores")
	}
}

func (c *checker) semver(path, v string) {
	if !c.required(path, v) || c.tooLong(path, v, maxVersion) {
		return
	}
	if !ValidVersion(v) {
		c.add(path, fault.FieldInvalidFormat, "must be a semantic version such as 1.2.3 or 1.2.3-beta.1")
	}
}

func (c *checker) nodeName(path, v string) {
	if !c.required(path, v) || c.tooLong(path, v, maxNodeName) {
		return
	}
	if !isLetter(v[0]) || !isAlnum(v[len(v)-1]) || !allBytes(v, isNameByte) {
		c.add(path, fault.FieldInvalidFormat, "must start with a letter, end with a letter or digit, and hold only letters, digits, hyphens and underscores")
	}
}

func (c *checker) namespaceName(path, v string) {
	if !c.required(path, v) || c.tooLong(path, v, maxNamespaceName) {
		return
	}
	if !dnsLabel(v) {
		c.add(path, fault.FieldInvalidFormat, "must start with a small letter, end with a letter or digit, and hold only small letters, digits and hyphens")
	}
}

func (c *checker) labels(path string, m map[string]string) {
	c.entries(path, len(m), maxLabels)
	for k, v := range m {
		at := path + "." + k
		c.labelKey(at, k)
		c.labelValue(at, v)
	}
}

func (c *checker) annotations(m map[string]string) {
	const path, maxAnnotationBytes = "annotations", 256 << 10
	c.entries(path, len(m), maxLabels)
	size := 0
	for k, v := range m {
		c.labelKey(path+"."+k, k)
		size += len(k) + len(v)
	}
	if size > maxAnnotationBytes {
		c.add(path, fault.FieldTooLarge, "must hold at most %d bytes in all", maxAnnotationBytes)
	}
}

func (c *checker) entries(path string, n, limit int) {
	if n > limit {
		c.add(path, fault.FieldTooManyEntries, "must have at most %d entries", limit)
	}
}

func (c *checker) labelKey(path, k string) {
	switch {
	case len(k) > maxLabelKey:
		c.add(path, fault.FieldKeyTooLong, "the key must be at most %d characters", maxLabelKey)
	case !validLabelKey(k):
		c.add(path, fault.FieldInvalidKeyFormat, `the key must be letters, digits, "-", "_" and ".", with letters or digits at its ends, optionally behind a prefix and "/"`)
	}
}

func (c *checker) labelValue(path, v string) {
	switch {
	case len(v) > maxLabelValue:
		c.add(path, fault.FieldValueTooLong, "the value must be at most %d characters", maxLabelValue)
	case !validLabelValue(v):
		c.add(path, fault.FieldInvalidValue, `the value must be letters, digits, "-", "_" and ".", with letters or digits at its ends`)
	}
}

func (c *checker) metadata(path string, m map[string]any) {
	if len(m) > maxMetadataKeys {
		c.add(path, fault.FieldTooManyKeys, "must have at most %d keys", maxMetadataKeys)
	}
}

func (c *checker) resources(path string, r *ResourceInput) {
	if r == nil {
		return
	}
	cpuBounded(c, path+".cpu", r.CPU)
	bytesBounded(c, path+".memory", r.Memory)
	bytesBounded(c, path+".storage", r.Storage)
}

// cpuBounded and bytesBounded check optional figures. People give them in cores and GiB
// and read them in the units of the API, so that the fault names both.
func cpuBounded(c *checker, path string, v *Millicores) {
	bounded(c, path, v, maxCPU, " millicores, which is 1000 cores")
}

func bytesBounded(c *checker, path string, v *Mebibytes) {
	bounded(c, path, v, maxBytes, " MiB, which is 16Ti")
}

// bounded checks an optional figure: 0 to high, in a unit.
func bounded[T ~int | ~int64](c *checker, path string, v *T, high T, unit string) {
	if v != nil && (*v < 0 || *v > high) {
		c.add(path, fault.FieldInvalidValue, "must be from 0 to %d%s", int64(high), unit)
	}
}

// ordered checks that figure by figure low is at most high, where both are given.
func (c *checker) ordered(path, code, message string, low, high *ResourceInput) {
	if low == nil || high == nil {
		return
	}
	above(c, path+".cpu", code, message, low.CPU, high.CPU)
	above(c, path+".memory", code, message, low.Memory, high.Memory)
	above(c, path+".storage", code, message, low.Storage, high.Storage)
}

func above[T ~int64](c *checker, path, code, message string, low, high *T) {
	if low != nil && high != nil && *low > *high {
		c.add(path, code, "%s", message)
	}
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// maxResourceVersion bounds a resource version, in bytes: that of a user has a part
// for each role.
const maxResourceVersion = 256

// ValidResourceVersion reports whether s can be a resource version. They are opaque:
// only what a header can carry is asked for.
func ValidResourceVersion(s string) bool {
	return s != "" && len(s) <= maxResourceVersion && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || r == '"' || r == ','
	}) < 0
}

func (c *checker) resourceVersion(v string) {
	if v != "" && !ValidResourceVersion(v) {
		c.add("resourceVersion", fault.FieldInvalidFormat, "must be the resourceVersion of an answer, as it stands there")
	}
}
