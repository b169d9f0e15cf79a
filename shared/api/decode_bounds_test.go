package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// What a request of a few megabytes costs is bounded before it is decoded.
func TestTooManyItemsAreRefusedBeforeTheyAreDecoded(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":       `{"items":[` + strings.Repeat(`{},`, 1<<20) + `{}]}`,
		"escaped key": `{"\u0069tems":[` + strings.Repeat(`{},`, 1<<20) + `{}]}`,
		"other case":  `{"ITEMS" : [ ` + strings.Repeat(`null , `, 1<<20) + `{}]}`,
		"no JSON":     `{"items":[` + strings.Repeat(`{},`, 1<<20),
		"second":      `{"items":[],"items":[` + strings.Repeat(`0,`, 1<<20) + `0]}`,
		"one more":    `{"items":[` + strings.Repeat(`{},`, api.MaxBulkPods) + `{}]}`,
	} {
		var r api.CreatePodsRequest
		err := api.Decode([]byte(text), &r)
		if cap(r.Items) > 0 {
			t.Errorf("%s: %d items are decoded", name, len(r.Items))
		}
		if fault.CodeOf(err) != fault.Validation || !strings.Contains(err.Error(), fmt.Sprintf("items: must have at most %d entries", api.MaxBulkPods)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"most":    `{"items":[` + strings.Repeat(`{},`, api.MaxBulkPods-1) + `{}]}`,
		"quotes":  `{"items":[{"packName":"a,\",,,` + strings.Repeat(",", 2*api.MaxBulkPods) + `"}]}`,
		"below":   `{"items":[{"metadata":{"a":[` + strings.Repeat("1,", 2*api.MaxBulkPods) + `1]}}]}`,
		"strange": `]]]][[{{"`,
	} {
		var r api.CreatePodsRequest
		if err := api.Decode([]byte(text), &r); err != nil && strings.Contains(err.Error(), "entries") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
