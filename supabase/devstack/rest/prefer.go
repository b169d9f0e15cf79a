package rest

import (
	"net/http"
	"strconv"
	"strings"
)

// preferences are what the header Prefer asks for.
type preferences struct {
	representation string // minimal, representation, headers-only
	resolution     string // merge-duplicates, ignore-duplicates
	count          string // exact, planned, estimated
	missing        string // default, null
	handling       string // strict, lenient
	maxAffected    int64  // negative without
	applied        []string
}

func parsePrefer(h http.Header) (p preferences, err error) {
	p.maxAffected = -1
	var unknown []string
	for _, line := range h.Values("Prefer") {
		for token := range strings.SplitSeq(line, ",") {
			token = strings.TrimSpace(token)
			if token == "" {
				continue
			}
			if p.set(token) {
				p.applied = append(p.applied, token)
			} else {
				unknown = append(unknown, shorten(token))
			}
		}
	}
	if p.handling == "strict" && len(unknown) > 0 {
		return p, refuse(http.StatusBadRequest, "PGRST122", "Invalid preferences given with handling=strict").
			because("Invalid preferences: %s", strings.Join(unknown, ", "))
	}
	if p.handling != "strict" {
		p.maxAffected = -1
	}
	return p, nil
}

func (p *preferences) set(token string) bool {
	name, value, _ := strings.Cut(token, "=")
	switch token {
	case "return=minimal", "return=representation", "return=headers-only":
		p.representation = value
	case "resolution=merge-duplicates", "resolution=ignore-duplicates":
		p.resolution = value
	case "count=exact", "count=planned", "count=estimated":
		p.count = value
	case "missing=default", "missing=null":
		p.missing = value
	case "handling=strict", "handling=lenient":
		p.handling = value
	case "tx=commit":
	default:
		n, err := strconv.ParseInt(value, 10, 32)
		if name != "max-affected" || err != nil || n < 0 {
			return false
		}
		p.maxAffected = n
	}
	return true
}

const (
	jsonType   = "application/json; charset=utf-8"
	objectType = "application/vnd.pgrst.object+json"
	arrayType  = "application/vnd.pgrst.array+json"
	openType   = "application/openapi+json"
)

// media is the form of an answer.
type media struct {
	contentType string
	object      bool // one row, not a list of them
	stripped    bool // without nulls
	csv         bool
}

// parseAccept takes the first form that it knows. The description of a schema has forms of its own.
func parseAccept(h http.Header, root bool) (media, error) {
	accept := strings.Join(h.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		accept = "*/*"
	}
	for entry := range strings.SplitSeq(accept, ",") {
		kind, parameters, _ := strings.Cut(strings.ToLower(strings.ReplaceAll(entry, " ", "")), ";")
		stripped := strings.Contains(";"+parameters+";", ";nulls=stripped;")
		suffix := "; charset=utf-8"
		if stripped {
			suffix = ";nulls=stripped" + suffix
		}
		if root {
			switch kind {
			case "*/*", "application/*", openType:
				return media{contentType: openType + "; charset=utf-8"}, nil
			case "application/json":
				return media{contentType: jsonType}, nil
			}
			continue
		}
		switch kind {
		case "*/*", "application/*", "application/json":
			return media{contentType: jsonType}, nil
		case objectType, "application/vnd.pgrst.object":
			return media{contentType: objectType + suffix, object: true, stripped: stripped}, nil
		case arrayType, "application/vnd.pgrst.array":
			return media{contentType: arrayType + suffix, stripped: stripped}, nil
		case "text/csv":
			return media{contentType: "text/csv; charset=utf-8", csv: true}, nil
		}
	}
	return media{contentType: jsonType}, refuse(http.StatusNotAcceptable, "PGRST107",
		"None of these media types are available: "+shorten(accept))
}

// body adds the expression that turns the rows of source, named _pgrst_row, into the answer's text. scalar
// stands for a function without columns, single for one that returns no set.
func (m media) body(s *statement, source string, scalar, single bool) {
	if m.csv {
		s.sql(`(select coalesce(string_agg('"' || replace(k, '"', '""') || '"', ','), '') from (
			select json_object_keys(row_to_json(h)) as k from (select * from ` + source + ` limit 1) h) k)
			|| coalesce(string_agg(E'\n' || substr(_pgrst_row::text, 2, length(_pgrst_row::text) - 2), ''), '')`)
		return
	}
	row := "_pgrst_row"
	if scalar {
		row = "_pgrst_row.pgrst_scalar"
	}
	list := "coalesce(json_agg(" + row + "), '[]')"
	if m.object || single {
		list = "coalesce(json_agg(" + row + ")->0, 'null')"
	}
	if m.stripped {
		list = "json_strip_nulls(" + list + ")"
	}
	s.sql(list + "::text")
}
