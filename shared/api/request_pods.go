package api

import (
	"errors"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// Bounds of CreatePodsRequest.
const (
	MaxBulkPods  = 5000    // items
	MaxBulkBytes = 8 << 20 // of the JSON
	// maxBulkFaults bounds how many faulty items one answer tells of.
	maxBulkFaults = 20
)

// CreatePodsRequest is the body of POST /api/pods/bulk: all of the pods are made, or
// none.
type CreatePodsRequest struct {
	// ID names the request, so that the pods of one that is repeated are made once; ""
	// for a new one. It comes from the server and never from a body.
	ID string `json:"-"`

	// Items are 1 to MaxBulkPods. Those that a body repeats share what they point to, and
	// nobody may change it.
	Items []CreatePodRequest `json:"items"`

	repeats []bool // of each item, whether it is known to be the one before it
}

// Repeats reports whether an item is known to be the same as the one before it: it is where
// both were decoded from the same text. The items must be as they were decoded.
func (r *CreatePodsRequest) Repeats(i int) bool {
	return i > 0 && len(r.repeats) == len(r.Items) && r.repeats[i]
}

// repeat satisfies repetitive.
func (r *CreatePodsRequest) repeat(counts []int) bool {
	if len(counts) != len(r.Items) {
		return false
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	all := make([]CreatePodRequest, 0, total)
	r.repeats = make([]bool, 0, total)
	for i, n := range counts {
		for copied := range n {
			all = append(all, r.Items[i])
			r.repeats = append(r.repeats, copied > 0)
		}
	}
	r.Items = all
	return true
}

// bounds refuses too many items before they are decoded.
func (r *CreatePodsRequest) bounds(text []byte) error {
	if entriesWithin(text, MaxBulkPods) {
		return nil
	}
	var c checker
	c.entries("items", MaxBulkPods+1, MaxBulkPods)
	return c.err()
}

// Validate reports the faults of the first few faulty items, as items[17].labels.
func (r *CreatePodsRequest) Validate() error {
	var c checker
	switch n := len(r.Items); {
	case n == 0:
		c.add("items", fault.FieldRequired, "at least one pod is required")
	case n > MaxBulkPods:
		c.entries("items", n, MaxBulkPods)
		return c.err()
	}
	faulty := 0
	var err error
	for i := range r.Items {
		if !r.Repeats(i) {
			err = r.Items[i].Validate()
		}
		if err == nil {
			continue
		}
		c.nested(index("items", i), err)
		if faulty++; faulty == maxBulkFaults {
			break
		}
	}
	return c.err()
}

// nested takes in the faults of a part of the request.
func (c *checker) nested(at string, err error) {
	if f, ok := errors.AsType[*fault.Error](AtItem(at, err)); ok {
		for path, detail := range f.Details {
			if field, ok := detail.(fault.Field); ok {
				c.add(path, field.Code, "%s", field.Message)
			}
		}
	}
}

// AtItem says of a refusal which part of a request it is about, such as items[17]: in
// its message and in the paths of its fields.
func AtItem(at string, err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	one := *f
	one.Message = at + ": " + f.Message
	one.Details = map[string]any{}
	for path, detail := range f.Details {
		if _, ok := detail.(fault.Field); ok {
			path = at + "." + path
		}
		one.Details[path] = detail
	}
	return &one
}

// CreatedPods is the answer to CreatePodsRequest.
type CreatedPods struct {
	PodIDs []string `json:"podIds"` // in the order of the items
}
