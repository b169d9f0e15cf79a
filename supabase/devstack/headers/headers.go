// Package headers prints the headers of a request for the database, where policies and functions read them as
// the setting request.headers.
package headers

import (
	"encoding/json"
	"net/http"
	"strings"
)

// JSON is an object of lower-case names and values, without those that hold secrets or whole documents.
func JSON(h http.Header) string {
	all := make(map[string]string, len(h))
	for name, values := range h {
		switch name {
		case "Authorization", "Apikey", "Cookie", "X-Metadata":
		default:
			all[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return "{}"
	}
	return string(text)
}
